/** The dialogs: new chat, new group, about this chat, settings, and "are you sure?". */
import { byId, clone, paintAvatar, setFault, setText } from './dom.js';
import { count, lang, sentence, setLanguage, setTheme, t, theme } from './i18n.js';
import { PeopleInput } from './people.js';
import { roomName } from './rooms.js';

/** @typedef {import('./channel.js').Engine} Engine */
/** @typedef {import('./channel.js').Room} Room */

/** Wires what every dialog has: its close buttons, and a click beside it. @param {HTMLDialogElement} dialog */
export function closable(dialog) {
  for (const button of dialog.querySelectorAll('[data-close]')) button.addEventListener('click', () => dialog.close());
  dialog.addEventListener('pointerdown', (e) => {
    if (e.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = e.clientX >= box.left && e.clientX <= box.right && e.clientY >= box.top && e.clientY <= box.bottom;
    if (!inside && dialog.ariaBusy !== 'true') dialog.close();
  });
  dialog.addEventListener('cancel', (e) => {
    if (dialog.ariaBusy === 'true') e.preventDefault();
  });
}

/** Runs an action of a form: one at a time, with its fault shown in the dialog. */
export async function attempt(dialog, button, action) {
  const fault = dialog.querySelector('.fault');
  setFault(fault, '');
  button.disabled = true;
  dialog.setAttribute('aria-busy', 'true');
  try {
    return await action();
  } catch (e) {
    setFault(fault, sentence(e));
    return undefined;
  } finally {
    button.disabled = false;
    dialog.removeAttribute('aria-busy');
  }
}

/** The id of a room in an answer. */
const roomOf = (answer) => (typeof answer === 'string' ? answer : (answer?.id ?? answer?.room ?? ''));

/** Asks before something that cannot be taken back. @returns {Promise<boolean>} */
function confirm(title, body, action) {
  const dialog = byId('dialog-confirm');
  setText(byId('confirm-title'), title);
  setText(byId('confirm-body'), body);
  setText(byId('confirm-yes'), action);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}

/** @param {Engine} engine @param {() => void} hold @param {(id?: string) => void} release */
export function newChat(engine, hold, release) {
  const dialog = byId('dialog-new-chat');
  const who = new PeopleInput(dialog.querySelector('.people'), engine, false);
  closable(dialog);
  byId('new-chat').addEventListener('click', () => {
    setFault(dialog.querySelector('.fault'), '');
    who.reset();
    dialog.showModal();
    who.focus();
  });
  dialog.querySelector('form').addEventListener('submit', async (e) => {
    e.preventDefault();
    hold();
    const answer = await attempt(dialog, dialog.querySelector('[data-testid=new-chat-start]'), async () => {
      const [to] = await who.values();
      if (!to) throw { code: 'empty' };
      return engine.call('newChat', { address: to });
    });
    if (answer !== undefined) dialog.close();
    release(answer?.waiting ? '' : roomOf(answer)); // who was asked first is in the list of those
  });
}

/** @param {Engine} engine @param {() => void} hold @param {(id?: string) => void} release */
export function newGroup(engine, hold, release) {
  const dialog = byId('dialog-new-group');
  const name = byId('new-group-name');
  const members = new PeopleInput(dialog.querySelector('.people'), engine, true);
  closable(dialog);
  byId('new-group').addEventListener('click', () => {
    setFault(dialog.querySelector('.fault'), '');
    name.value = '';
    members.reset();
    dialog.showModal();
    name.focus();
  });
  dialog.querySelector('form').addEventListener('submit', async (e) => {
    e.preventDefault();
    hold();
    const answer = await attempt(dialog, dialog.querySelector('[data-testid=new-group-create]'), async () => {
      if (!name.value.trim()) throw { code: 'empty' };
      return engine.call('newGroup', { name: name.value.trim(), members: await members.values() });
    });
    if (answer !== undefined) dialog.close();
    release(roomOf(answer));
  });
}

/** About the open room: its name and its people. */
export class RoomInfo {
  #dialog = byId('dialog-info');
  #engine;
  #add;
  /** @type {Room|null} */
  #room = null;
  /** @type {import('./channel.js').Person[]} */
  #members = [];

  /** @param {Engine} engine @param {() => Room|undefined} current */
  constructor(engine, current) {
    this.#engine = engine;
    this.#add = new PeopleInput(this.#dialog.querySelector('.people'), engine, true);
    closable(this.#dialog);
    byId('room-info').addEventListener('click', () => {
      const room = current();
      if (room) this.#open(room);
    });
    byId('info-rename').addEventListener('submit', (e) => this.#rename(e));
    byId('info-add').addEventListener('submit', (e) => this.#addMembers(e));
  }

  #open(room) {
    this.#members = [];
    byId('info-members').replaceChildren();
    setFault(this.#dialog.querySelector(':scope > .fault'), '');
    this.#room = room;
    byId('room-rename').value = room.name;
    this.#head();
    this.#dialog.showModal();
    this.#load(true);
  }

  /** Follows changes of the room while it is shown. @param {Room|undefined} room */
  update(room) {
    if (!this.#dialog.open || room?.id !== this.#room?.id) return;
    this.#room = room;
    this.#head();
  }

  /** Loads the members again if this room is shown. @param {string} id */
  refresh(id) {
    if (this.#dialog.open && this.#room?.id === id) this.#load(false);
  }

  #head() {
    const room = this.#room;
    setText(byId('info-name'), roomName(room));
    paintAvatar(byId('info-avatar'), room.peer || room.id, roomName(room), room.kind === 'group');
    const manage = room.kind === 'group' && room.canManage;
    byId('info-rename').hidden = !manage;
    byId('info-add').hidden = !manage;
  }

  async #load(fresh) {
    const room = this.#room.id;
    try {
      const members = (await this.#engine.call('members', { room })) ?? [];
      if (this.#room?.id !== room) return;
      this.#members = members;
      this.#show();
      if (fresh && this.#room.canManage) this.#add.reset(members.map((m) => m.user));
    } catch (e) {
      setFault(this.#dialog.querySelector(':scope > .fault'), sentence(e));
    }
  }

  #show() {
    setText(byId('info-count'), count('chat.members', this.#members.length));
    byId('info-members').replaceChildren(...this.#members.map((member) => {
      const item = clone('t-member');
      const name = member.displayName || member.name;
      item.dataset.user = member.user;
      item.dataset.role = member.role ?? '';
      paintAvatar(item.querySelector('.avatar'), member.user, name);
      setText(item.querySelector('.member-name'), name);
      setText(item.querySelector('.member-user'), member.me ? `${member.name} · ${t('chat.you')}` : member.name);
      const role = item.querySelector('.member-role');
      role.hidden = !['admin', 'owner', 'super_admin'].includes(member.role ?? '') || this.#room.kind !== 'group';
      setText(role, t('chat.role_admin'));
      const remove = item.querySelector('[data-testid=member-remove]');
      if (!member.canRemove) remove.remove();
      else {
        remove.setAttribute('aria-label', t('chat.remove_name', { name }));
        remove.addEventListener('click', () => this.#remove(member, name, remove));
      }
      return item;
    }));
  }

  async #remove(member, name, button) {
    if (!await confirm(t('chat.remove_ask', { name }), t('chat.remove_body'), t('chat.remove'))) return;
    await attempt(this.#dialog, button, () => this.#engine.call('removeMember', { room: this.#room.id, user: member.user }));
    if (this.#dialog.open) await this.#load(false);
  }

  async #rename(e) {
    e.preventDefault();
    const name = byId('room-rename').value.trim();
    await attempt(this.#dialog, e.submitter ?? byId('info-rename').querySelector('button'), async () => {
      if (!name) throw { code: 'empty' };
      if (name !== this.#room.name) await this.#engine.call('rename', { room: this.#room.id, name });
    });
  }

  async #addMembers(e) {
    e.preventDefault();
    const button = byId('info-add').querySelector('[type=submit]');
    const done = await attempt(this.#dialog, button, async () => {
      const members = await this.#add.values();
      if (members.length === 0) {
        this.#add.focus();
        return false;
      }
      await this.#engine.call('addMembers', { room: this.#room.id, members });
      return true;
    });
    if (done && this.#dialog.open) await this.#load(true);
  }
}

/** Language, appearance, who one is, and the way out. */
export class Settings {
  #dialog = byId('dialog-settings');
  /** Whether this page is signing out, and so needs nobody to tell it. */
  leaving = false;

  /** @param {Engine} engine @param {() => import('./channel.js').Me|undefined} me @param {() => void} retell after the language changed */
  constructor(engine, me, retell) {
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
    });
    language.addEventListener('change', () => {
      setLanguage(language.value);
      retell();
    });
    look.addEventListener('change', () => setTheme(look.value));
    byId('signout').addEventListener('click', () => this.#signOut(engine));
  }

  async #signOut(engine) {
    if (!await confirm(t('chat.signout_ask'), t('chat.signout_body'), t('chat.signout'))) return;
    this.leaving = true;
    // The engine says goodbye if it can; the session ends in any case.
    await Promise.race([engine.call('signOut').catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))]);
    const form = document.createElement('form');
    form.method = 'post';
    form.action = '/signout';
    document.body.append(form);
    form.submit();
  }
}
