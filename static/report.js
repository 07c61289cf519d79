/** What can be done with one message: so far, to report it. */
import { attempt, closable } from './dialogs.js';
import { byId, setFault, setText } from './dom.js';
import { t } from './i18n.js';

/** @typedef {import('./channel.js').Message} Message */

/** Whether the menu of a message has anything in it. @param {Message} message */
export const hasActions = (message) => !!message.reportable;

/** The provider of a room. @param {string} room */
const host = (room) => /^mimi:\/\/([^/]+)/.exec(room)?.[1] ?? '';

/** The menu of a message, and the dialog behind its one entry. */
export class MessageMenu {
  #menu = byId('message-actions');
  #dialog = byId('dialog-report');
  #note = byId('report-note');
  #engine;
  /** @type {Message|null} */
  #message = null;

  /** @param {import('./channel.js').Engine} engine */
  constructor(engine) {
    this.#engine = engine;
    closable(this.#dialog);
    byId('action-report').addEventListener('click', () => this.#ask());
    this.#dialog.querySelector('form').addEventListener('submit', (e) => this.#send(e));
    byId('timeline').addEventListener('scroll', () => this.#menu.hidePopover(), { passive: true });
  }

  /** Opens the menu beside its button. @param {Message} message @param {HTMLElement} button */
  open(message, button) {
    this.#message = message;
    byId('action-report').hidden = !message.reportable;
    this.#menu.showPopover({ source: button });
    const at = button.getBoundingClientRect();
    const size = this.#menu.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8));
    const below = at.bottom + size.height + 8 <= innerHeight;
    this.#menu.style.left = `${left}px`;
    this.#menu.style.top = `${below ? at.bottom : at.top - size.height}px`;
    byId('action-report').focus();
  }

  /** Tells what a report is, before there is one. */
  #ask() {
    const message = this.#message;
    this.#menu.hidePopover();
    this.#note.value = '';
    setFault(this.#dialog.querySelector('.fault'), '');
    setText(byId('report-who'), message.senderName);
    setText(byId('report-text'), message.text.slice(0, 500));
    setText(byId('report-how'), t('chat.report_how', { site: host(message.room) }));
    this.#show(false);
    this.#dialog.showModal();
  }

  #show(done) {
    byId('report-form').hidden = done;
    byId('report-done').hidden = !done;
  }

  async #send(e) {
    e.preventDefault();
    const { room, id } = this.#message;
    const sent = await attempt(this.#dialog, byId('report-send'), async () => {
      await this.#engine.call('report', { room, ids: [id], note: this.#note.value });
      return true;
    });
    if (!sent) return;
    this.#show(true);
    byId('report-close').focus();
  }
}
