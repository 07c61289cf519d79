/** Language, appearance, who one is and where, and the way out. */
import { attempt, closable, confirm } from './dialogs.js';
import { byId, clone, paintAvatar, setFault, setText } from './dom.js';
import { full, lang, sentence, setLanguage, setTheme, short, t, theme } from './i18n.js';

/** @typedef {import('./channel.js').Engine} Engine */
/** @typedef {import('./channel.js').Device} Device */

// The rooms are told first; longer than this nobody waits for them.
const farewell = 6000;

export class Settings {
  #dialog = byId('dialog-settings');
  #engine;
  /** Whether this page is signing out, and so needs nobody to tell it. */
  leaving = false;

  /** @param {Engine} engine @param {() => import('./channel.js').Me|undefined} me @param {() => void} retell after the language changed */
  constructor(engine, me, retell) {
    this.#engine = engine;
    closable(this.#dialog);
    const language = byId('language');
    const look = byId('theme');
    byId('settings').addEventListener('click', () => {
      language.value = lang;
      look.value = theme();
      const user = me();
      paintAvatar(byId('me-avatar'), user?.uri ?? '', user?.displayName || user?.name || '');
      setText(byId('me-name'), user?.displayName ?? '');
      setText(byId('me-address'), user?.name ?? '');
      this.#dialog.showModal();
      this.#loadDevices();
    });
    language.addEventListener('change', () => {
      setLanguage(language.value);
      retell();
      this.#loadDevices();
    });
    look.addEventListener('change', () => setTheme(look.value));
    byId('signout').addEventListener('click', () => this.#signOut());
  }

  async #loadDevices() {
    const fault = this.#dialog.querySelector('.fault');
    try {
      const list = (await this.#engine.call('devices')) ?? [];
      setFault(fault, '');
      byId('devices').replaceChildren(...list.map((d) => this.#device(d)));
    } catch (e) {
      setFault(fault, sentence(e));
    }
  }

  /** @param {Device} device */
  #device(device) {
    const item = clone('t-device');
    const name = device.name || t('chat.device');
    item.dataset.this = String(device.me);
    item.dataset.client = device.client;
    setText(item.querySelector('.member-name'), name);
    const seen = item.querySelector('.member-user');
    setText(seen, device.me ? t('chat.device_since', { when: short(device.created) }) : t('chat.device_seen', { when: short(device.seen) }));
    seen.title = full(device.me ? device.created : device.seen);
    item.querySelector('.device-this').hidden = !device.me;
    const remove = item.querySelector('[data-testid=device-remove]');
    if (device.me) {
      remove.remove();
      return item;
    }
    remove.setAttribute('aria-label', t('chat.device_remove', { name }));
    remove.addEventListener('click', async () => {
      if (!await confirm(t('chat.device_ask', { name }), t('chat.device_body'), t('chat.remove'))) return;
      await attempt(this.#dialog, remove, () => this.#engine.call('removeDevice', { client: device.client }));
      await this.#loadDevices();
    });
    return item;
  }

  async #signOut() {
    if (!await confirm(t('chat.signout_ask'), t('chat.signout_body'), t('chat.signout'))) return;
    this.leaving = true;
    byId('signout').disabled = true;
    setText(byId('signout'), t('chat.signing_out'));
    // The engine says goodbye if it can; the session ends in any case.
    await Promise.race([this.#engine.call('signOut').catch(() => {}), new Promise((resolve) => setTimeout(resolve, farewell))]);
    const form = document.createElement('form');
    form.method = 'post';
    form.action = '/signout';
    document.body.append(form);
    form.submit();
  }
}
