/** How the open room works: switches for those who may, and for others how they are set. */
import { attempt, confirm } from './dialogs.js';
import { byId } from './dom.js';
import { t } from './i18n.js';
import { roomName } from './rooms.js';

/** @typedef {import('./channel.js').Engine} Engine */
/** @typedef {import('./channel.js').Room} Room */
/** @typedef {import('./channel.js').Details} Details */

const switches = ['write', 'invite', 'links'];

export class RoomRules {
  #dialog = byId('dialog-info');
  #engine;
  /** @type {Room|null} */
  #room = null;
  #reload;

  /** @param {Engine} engine @param {() => Promise<void>} reload shows the room as it is now */
  constructor(engine, reload) {
    this.#engine = engine;
    this.#reload = reload;
    for (const rule of switches) {
      const box = byId(`rule-${rule}`);
      box.addEventListener('change', () => this.#set(box, rule, Number(box.checked)));
    }
    const expire = byId('rule-expire');
    expire.addEventListener('change', () => this.#set(expire, 'expire', Number(expire.value)));
    byId('room-close').addEventListener('click', () => this.#close());
  }

  /** @param {Room} room @param {Details|null} details */
  show(room, details) {
    this.#room = room;
    const rules = details?.rules;
    const conversation = room.kind !== 'group';
    byId('info-rules').hidden = !rules || conversation;
    byId('room-close').hidden = !details?.canClose;
    if (!rules) return;
    for (const rule of switches) {
      byId(`rule-${rule}`).checked = rules[rule];
      byId(`rule-${rule}`).disabled = !rules.canChange;
    }
    const expire = byId('rule-expire');
    expire.disabled = !rules.canExpire;
    const value = String(rules.expire);
    if (![...expire.options].some((o) => o.value === value)) {
      expire.append(new Option(t('chat.rule_expire_other'), value)); // as another client has set it
    }
    expire.value = value;
  }

  async #set(control, rule, value) {
    await attempt(this.#dialog, control, () => this.#engine.call('setRule', { room: this.#room.id, rule, value }));
    if (this.#dialog.open) await this.#reload(); // refused, it is as it was
  }

  async #close() {
    const room = this.#room;
    if (!await confirm(t('chat.close_ask', { name: roomName(room) }), t('chat.close_body'), t('chat.close_room'))) return;
    const done = await attempt(this.#dialog, byId('room-close'), async () => {
      await this.#engine.call('closeRoom', { room: room.id });
      return true;
    });
    if (done) this.#dialog.close();
  }
}
