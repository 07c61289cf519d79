/** Where a message is written. Drafts are kept per room while the page is open. */
import { byId, setFault, setText } from './dom.js';
import { number, sentence, t } from './i18n.js';

// The limit of one message in bytes of UTF-8; the engine has the last word.
const maxBytes = 64 * 1024;

const bytes = new TextEncoder();

export class Composer {
  #form = byId('composer-form');
  #box = byId('composer');
  #fault = byId('composer-fault');
  #engine;
  #room = '';
  /** @type {Map<string, string>} */
  #drafts = new Map();
  #onSend;

  /** @param {import('./channel.js').Engine} engine @param {() => void} onSend called when a message goes off */
  constructor(engine, onSend) {
    this.#engine = engine;
    this.#onSend = onSend;
    this.#form.addEventListener('submit', (e) => {
      e.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener('input', () => this.#changed());
    this.#box.addEventListener('keydown', (e) => {
      // On a touch keyboard Enter makes a line; there the button is at hand.
      if (e.key !== 'Enter' || e.shiftKey || e.isComposing || matchMedia('(pointer: coarse)').matches) return;
      e.preventDefault();
      this.#form.requestSubmit();
    });
  }

  /** @param {import('./channel.js').Room} room @param {string} name */
  open(room, name) {
    if (room.id !== this.#room) {
      this.#drafts.set(this.#room, this.#box.value);
      this.#room = room.id;
      this.#box.value = this.#drafts.get(room.id) ?? '';
      setFault(this.#fault, '');
    }
    this.#box.placeholder = t('chat.message_to', { name });
    this.#box.setAttribute('aria-label', this.#box.placeholder);
    this.#form.hidden = !room.canSend;
    byId('read-only').hidden = room.canSend;
    byId('read-only-delete').hidden = !room.removed;
    setText(byId('read-only-text'), t(room.removed ? 'chat.read_only' : 'chat.listen_only'));
    this.#changed();
  }

  focus() {
    if (!this.#form.hidden && !matchMedia('(pointer: coarse)').matches) this.#box.focus({ preventScroll: true });
  }

  /** How many bytes too many there are. */
  #excess() {
    const text = this.#box.value;
    if (text.length * 3 <= maxBytes) return 0;
    return Math.max(0, bytes.encode(text.trim()).length - maxBytes);
  }

  #changed() {
    const over = this.#excess();
    setFault(this.#fault, over ? t('chat.too_long', { n: number(over), max: number(maxBytes) }) : '');
    this.#box.setAttribute('aria-invalid', String(over > 0));
    this.#form.classList.toggle('ready', over === 0 && this.#box.value.trim() !== '');
    if (!CSS.supports('field-sizing', 'content')) {
      this.#box.style.height = 'auto';
      this.#box.style.height = this.#box.scrollHeight + 'px';
    }
  }

  async #submit() {
    const text = this.#box.value.trim();
    const room = this.#room;
    if (!text || this.#excess()) return;
    this.#box.value = '';
    this.#changed();
    this.#onSend();
    try {
      await this.#engine.call('send', { room, text });
    } catch (e) {
      // Nothing is lost: the text comes back, unless something new stands there.
      if (this.#room === room && !this.#box.value) this.#box.value = text;
      else if (this.#room !== room && !this.#drafts.get(room)) this.#drafts.set(room, text);
      this.#changed();
      if (this.#room === room) setFault(this.#fault, sentence(e));
    }
  }
}
