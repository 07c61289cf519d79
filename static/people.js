/** An input that finds people by name: one of them, or several as chips. */
import { clone, debounce, paintAvatar, setText } from './dom.js';
import { count, t } from './i18n.js';

/** @typedef {import('./channel.js').Person} Person */

/** What can only be an address: nobody needs to be looked up for it. */
const address = /^[a-z0-9][a-z0-9._-]*(@[^\s@]+)?$|^mimi:/;

export class PeopleInput {
  #root;
  #input;
  #list;
  #chips;
  #engine;
  #multiple;
  /** @type {Person[]} */
  #found = [];
  #active = -1;
  /** @type {{text: string, address: string}[]} */
  #picked = [];
  /** The last person taken from the list, if one only is wanted. */
  #single = { text: '', address: '' };
  #without = new Set();
  #search = debounce((text) => this.#find(text), 150);

  /**
   * @param {HTMLElement} root the .field.people
   * @param {import('./channel.js').Engine} engine
   * @param {boolean} multiple
   */
  constructor(root, engine, multiple) {
    this.#root = root;
    this.#engine = engine;
    this.#multiple = multiple;
    this.#input = root.querySelector('input');
    this.#list = root.querySelector('.suggestions');
    this.#chips = root.querySelector('.chips');
    this.#input.addEventListener('input', () => this.#typed());
    this.#input.addEventListener('keydown', (e) => this.#key(e));
    // Before the input loses the focus: a tap on a suggestion keeps it there.
    this.#list.addEventListener('pointerdown', (e) => e.preventDefault());
    this.#list.addEventListener('click', (e) => {
      const item = e.target.closest('.suggestion');
      if (item) this.#pick(this.#found[[...this.#list.children].indexOf(item)]);
    });
  }

  /** Empties it. @param {Iterable<string>} [without] users not to suggest */
  reset(without = []) {
    this.#input.value = '';
    this.#picked = [];
    this.#single = { text: '', address: '' };
    this.#without = new Set(without);
    this.#showChips();
    this.#show([]);
    if (this.#input.value === '') this.#find('');
  }

  focus() {
    this.#input.focus();
  }

  /** What is typed. */
  get text() {
    return this.#input.value.trim();
  }

  /** Who was named, as addresses; a full name typed by hand is looked up. @returns {Promise<string[]>} */
  async values() {
    const text = this.#input.value.trim();
    if (!this.#multiple) return text ? [await this.#resolve(text)] : [];
    const typed = await Promise.all(this.#split(text).map((part) => this.#resolve(part)));
    return [...new Set([...this.#picked.map((p) => p.address), ...typed])];
  }

  async #resolve(text) {
    if (text === this.#single.text) return this.#single.address;
    if (address.test(text)) return text;
    const found = await this.#engine.call('search', { text }).catch(() => []);
    const same = (name) => name?.toLocaleLowerCase() === text.toLocaleLowerCase();
    const exact = (found ?? []).filter((p) => same(p.displayName) || same(p.name));
    return exact.length === 1 ? exact[0].user : text;
  }

  #split(text) {
    return text.split(/[,;\n]+/).map((part) => part.trim()).filter(Boolean);
  }

  #typed() {
    const text = this.#input.value;
    if (this.#multiple && /[,;]/.test(text)) {
      const parts = text.split(/[,;]+/);
      this.#input.value = parts.pop().trimStart();
      for (const part of parts.map((p) => p.trim()).filter(Boolean)) this.#addTyped(part);
    }
    this.#search(this.#input.value.trim());
  }

  async #addTyped(text) {
    this.#addChip(text, await this.#resolve(text));
  }

  async #find(text) {
    const found = await this.#engine.call('search', { text }).catch(() => []);
    if (text !== this.#input.value.trim()) return;
    const taken = new Set(this.#picked.map((p) => p.address));
    this.#show((found ?? []).filter((p) => !p.me && !this.#without.has(p.user) && !taken.has(p.user)).slice(0, 20));
  }

  #show(found) {
    this.#found = found;
    this.#list.replaceChildren(...found.map((person, i) => {
      const item = clone('t-suggestion');
      item.id = `${this.#list.id}-${i}`;
      paintAvatar(item.querySelector('.avatar'), person.user, person.displayName || person.name);
      setText(item.querySelector('.member-name'), person.displayName || person.name);
      setText(item.querySelector('.member-user'), person.name);
      return item;
    }));
    this.#mark(-1);
    this.#input.setAttribute('aria-expanded', String(found.length > 0));
    setText(this.#root.querySelector('[data-count]'), found.length && this.#input.value ? count('chat.suggested', found.length) : '');
  }

  #mark(index) {
    this.#active = index;
    [...this.#list.children].forEach((item, i) => {
      item.setAttribute('aria-selected', String(i === index));
      if (i === index) item.scrollIntoView({ block: 'nearest' });
    });
    if (index >= 0) this.#input.setAttribute('aria-activedescendant', `${this.#list.id}-${index}`);
    else this.#input.removeAttribute('aria-activedescendant');
  }

  #pick(person) {
    if (!person) return;
    const text = person.displayName || person.name;
    if (this.#multiple) {
      this.#input.value = '';
      this.#addChip(text, person.user);
      this.#find('');
    } else {
      this.#input.value = text;
      this.#single = { text, address: person.user };
      this.#show([]);
    }
    this.#input.focus();
  }

  #addChip(text, to) {
    if (!this.#picked.some((p) => p.address === to)) this.#picked.push({ text, address: to });
    this.#showChips();
  }

  #showChips() {
    this.#chips.hidden = this.#picked.length === 0;
    this.#chips.replaceChildren(...this.#picked.map((p) => {
      const chip = clone('t-chip');
      setText(chip.firstElementChild, p.text);
      const button = chip.querySelector('button');
      button.setAttribute('aria-label', t('chat.remove_chip', { name: p.text }));
      button.addEventListener('click', () => {
        this.#picked = this.#picked.filter((other) => other !== p);
        this.#showChips();
        this.#input.focus();
      });
      return chip;
    }));
  }

  #key(e) {
    if (e.isComposing) return;
    const last = this.#found.length - 1;
    switch (e.key) {
      case 'ArrowDown':
        this.#mark(this.#active < last ? this.#active + 1 : 0);
        break;
      case 'ArrowUp':
        this.#mark(this.#active > 0 ? this.#active - 1 : last);
        break;
      case 'Enter':
        if (this.#active >= 0) this.#pick(this.#found[this.#active]);
        else if (this.#multiple && this.#input.value.trim()) {
          const text = this.#input.value.trim();
          this.#input.value = '';
          this.#addTyped(text);
        } else return;
        break;
      case 'Escape':
        if (this.#active < 0) return; // the dialog closes
        this.#mark(-1);
        break;
      case 'Backspace':
        if (this.#input.value !== '' || this.#picked.length === 0) return;
        this.#picked.pop();
        this.#showChips();
        break;
      default:
        return;
    }
    e.preventDefault();
    e.stopPropagation();
  }
}
