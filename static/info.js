/** About the open room: what it is, who is in it, and what one may do about that. */
import { attempt, closable, confirm } from './dialogs.js';
import { byId, clone, paintAvatar, setFault, setText } from './dom.js';
import { count, day, sentence, t } from './i18n.js';
import { linkTo } from './link.js';
import { PeopleInput } from './people.js';
import { roleName, roomName } from './rooms.js';
import { RoomRules } from './rules.js';

/** @typedef {import('./channel.js').Engine} Engine */
/** @typedef {import('./channel.js').Room} Room */
/** @typedef {import('./channel.js').Member} Member */
/** @typedef {import('./channel.js').Details} Details */

export class RoomInfo {
  #dialog = byId('dialog-info');
  #fault = this.#dialog.querySelector(':scope > .fault');
  #engine;
  #add;
  #rules;
  /** @type {Room|null} */
  #room = null;
  /** @type {Details|null} */
  #details = null;
  /** @type {Member[]} */
  #members = [];
  #open = '';

  /** @param {Engine} engine @param {() => Room|undefined} current */
  constructor(engine, current) {
    this.#engine = engine;
    this.#add = new PeopleInput(this.#dialog.querySelector('.people'), engine, true);
    this.#rules = new RoomRules(engine, () => this.#load(false));
    closable(this.#dialog);
    byId('room-info').addEventListener('click', () => {
      const room = current();
      if (room) this.#show(room);
    });
    byId('info-rename').addEventListener('submit', (e) => this.#rename(e));
    byId('info-describe').addEventListener('submit', (e) => this.#describe(e));
    byId('info-add').addEventListener('submit', (e) => this.#addMembers(e));
    byId('room-leave').addEventListener('click', () => this.#leave());
    byId('room-block').addEventListener('click', () => this.#block());
    byId('room-link-create').addEventListener('click', () => this.#makeLink());
    byId('read-only-delete').addEventListener('click', () => this.#delete(current()));
  }

  #show(room) {
    this.#members = [];
    this.#details = null;
    this.#open = '';
    byId('info-members').replaceChildren();
    setFault(this.#fault, '');
    this.#room = room;
    byId('info-edit').open = false;
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

  /** Says everything again, after the language has changed. */
  retell() {
    if (!this.#room) return;
    this.#head();
    this.#showMembers();
  }

  /** What is shown of the room itself. Without details it is one this person is no longer in. */
  #head() {
    const room = this.#room;
    const d = this.#details;
    const group = room.kind === 'group';
    setText(byId('info-name'), roomName(room));
    paintAvatar(byId('info-avatar'), room.peer || room.id, roomName(room), group);
    setText(byId('info-about'), d?.description ?? '');
    byId('info-about').hidden = !d?.description;
    byId('info-host').hidden = !d;
    if (d) setText(byId('info-host-text'), t(d.hostOurs ? 'chat.host_ours' : 'chat.host', { host: d.host }));
    byId('info-logged').hidden = !d?.logged;
    byId('info-edit').hidden = !d?.canRename && !d?.canDescribe;
    byId('info-rename').hidden = !d?.canRename;
    byId('info-describe').hidden = !d?.canDescribe;
    byId('info-add').hidden = !d?.canAdd;
    byId('room-leave').hidden = !d?.canLeave;
    byId('room-block').hidden = group;
    byId('info-foot').hidden = !d?.canLeave && !d?.canClose && group;
    this.#rules.show(room, d);
    this.#showLinks();
  }

  async #load(fresh) {
    const room = this.#room.id;
    try {
      const [members, details] = await Promise.all([
        this.#engine.call('members', { room }),
        this.#room.removed ? null : this.#engine.call('details', { room }),
      ]);
      if (this.#room?.id !== room) return;
      this.#members = members ?? [];
      this.#details = details;
      this.#head();
      this.#showMembers();
      if (!fresh) return;
      byId('room-describe').value = details?.description ?? '';
      if (details?.canAdd) this.#add.reset(this.#members.map((m) => m.user));
    } catch (e) {
      setFault(this.#fault, sentence(e));
    }
  }

  // --- People ----------------------------------------------------------------

  #showMembers() {
    const inside = this.#members.filter((m) => !m.banned);
    const banned = this.#members.filter((m) => m.banned);
    setText(byId('info-count'), count('chat.members', inside.length));
    byId('info-count').hidden = inside.length === 0;
    const focused = document.activeElement?.closest?.('.member')?.dataset.user;
    const what = document.activeElement?.dataset?.testid;
    byId('info-members').replaceChildren(...inside.map((m) => this.#item(m)));
    byId('info-banned-list').replaceChildren(...banned.map((m) => this.#item(m)));
    byId('info-banned').hidden = banned.length === 0;
    // Who works with the keyboard stays where he was.
    if (focused && what) this.#dialog.querySelector(`.member[data-user="${CSS.escape(focused)}"] [data-testid="${what}"]`)?.focus();
  }

  /** @param {Member} member */
  #item(member) {
    const item = clone('t-member');
    const name = member.displayName || member.name;
    const part = (id) => item.querySelector(`[data-testid=member-${id}]`);
    item.dataset.user = member.user;
    item.dataset.role = member.role?.name ?? '';
    paintAvatar(item.querySelector('.avatar'), member.user, name);
    setText(item.querySelector('.member-name'), name);
    setText(item.querySelector('.member-user'), member.me ? `${member.name} · ${t('chat.you')}` : member.name);
    this.#role(item, member, name);
    this.#action(part('remove'), member.canRemove, 'removeMember', member, name);
    this.#action(part('unban'), member.canUnban, 'unban', member, name);
    this.#action(part('kick'), member.canKick, 'kick', member, name);
    this.#action(part('ban'), member.canBan, 'ban', member, name);
    const more = part('more');
    const extra = item.querySelector('.member-extra');
    if (!member.canKick && !member.canBan) {
      more.remove();
      extra.remove();
      return item;
    }
    more.setAttribute('aria-label', t('chat.more_about', { name }));
    const open = (yes) => {
      extra.hidden = !yes;
      more.setAttribute('aria-expanded', String(yes));
    };
    open(this.#open === member.user);
    more.addEventListener('click', () => {
      this.#open = extra.hidden ? member.user : '';
      open(extra.hidden);
    });
    return item;
  }

  /** The role: to choose where one may, else as a word, where it says anything. */
  #role(item, member, name) {
    const select = item.querySelector('.member-role');
    const tag = item.querySelector('.member-tag');
    const plain = ['member', 'user', 'banned'].includes(member.role?.name ?? '') && !member.role?.organisation;
    if (!member.roles?.length) {
      select.remove();
      tag.hidden = plain || this.#room.kind !== 'group';
      setText(tag, roleName(member.role));
      return;
    }
    tag.remove();
    select.setAttribute('aria-label', t('chat.role_for', { name }));
    for (const role of [member.role, ...member.roles].sort((a, b) => a.index - b.index)) {
      select.append(new Option(roleName(role), String(role.index), false, role.index === member.role.index));
    }
    select.addEventListener('change', async () => {
      const role = Number(select.value);
      await attempt(this.#dialog, select, () => this.#engine.call('setRole', { room: this.#room.id, user: member.user, role }));
      if (this.#dialog.open) await this.#load(false);
    });
  }

  /** A button about a member, gone where it cannot work. Each asks first, but for what is easily undone. */
  #action(button, may, op, member, name) {
    if (!may) {
      button.remove();
      return;
    }
    const words = { removeMember: 'remove', kick: 'kick', ban: 'ban', unban: 'unban' }[op];
    button.setAttribute('aria-label', t(`chat.${words}_name`, { name }));
    button.title = t(`chat.${words}_name`, { name });
    button.addEventListener('click', async () => {
      const sure = op === 'unban' || await confirm(t(`chat.${words}_ask`, { name }), t(`chat.${words}_body`), t(`chat.${words}`));
      if (!sure) return;
      await attempt(this.#dialog, button, () => this.#engine.call(op, { room: this.#room.id, user: member.user }));
      if (this.#dialog.open) await this.#load(false);
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

  // --- The room itself ---------------------------------------------------------

  async #rename(e) {
    e.preventDefault();
    const name = byId('room-rename').value.trim();
    await attempt(this.#dialog, byId('info-rename').querySelector('[type=submit]'), async () => {
      if (!name) throw { code: 'empty' };
      if (name !== this.#room.name) await this.#engine.call('rename', { room: this.#room.id, name });
    });
  }

  async #describe(e) {
    e.preventDefault();
    const text = byId('room-describe').value.trim();
    await attempt(this.#dialog, byId('info-describe').querySelector('[type=submit]'), () => this.#engine.call('describe', { room: this.#room.id, text }));
    if (this.#dialog.open) await this.#load(false);
  }

  async #leave() {
    const name = roomName(this.#room);
    if (!await confirm(t('chat.leave_ask', { name }), t('chat.leave_body'), t('chat.leave'))) return;
    const done = await attempt(this.#dialog, byId('room-leave'), async () => {
      await this.#engine.call('leave', { room: this.#room.id });
      return true;
    });
    if (done) this.#dialog.close();
  }

  /** Hides the chat with somebody until the block is taken back in the settings. */
  async #block() {
    const room = this.#room;
    if (!await confirm(t('chat.block_ask', { name: roomName(room) }), t('chat.block_body'), t('chat.request_block'))) return;
    const done = await attempt(this.#dialog, byId('room-block'), async () => {
      await this.#engine.call('blockUser', { user: room.peer });
      return true;
    });
    if (done) this.#dialog.close();
  }

  /** @param {Room|undefined} room one that this person is no longer in */
  async #delete(room) {
    if (!room?.removed || !await confirm(t('chat.delete_ask', { name: roomName(room) }), t('chat.delete_body'), t('chat.delete_room'))) return;
    await this.#engine.call('deleteRoom', { room: room.id }).catch(() => {});
    location.hash = '';
  }

  // --- Links -------------------------------------------------------------------

  #showLinks() {
    const d = this.#details;
    const links = d?.links ?? [];
    byId('info-links').hidden = !d?.canLink && links.length === 0;
    byId('room-link-create').hidden = !d?.canLink || links.some((l) => l.offer);
    byId('info-links-list').replaceChildren(...links.map((link) => this.#link(link)));
  }

  #link(link) {
    const item = clone('t-link');
    const field = item.querySelector('input');
    item.querySelector('.copy').hidden = !link.offer;
    item.querySelector('.link-other').hidden = !!link.offer;
    field.value = link.offer ? linkTo(link.offer) : '';
    field.addEventListener('focus', () => field.select());
    const copy = item.querySelector('[data-testid=room-link-copy]');
    copy.addEventListener('click', async () => {
      field.select();
      await navigator.clipboard.writeText(field.value).catch(() => {}); // it is selected: copied by hand
      setText(copy, t('chat.copied'));
      setTimeout(() => setText(copy, t('chat.copy')), 2000);
    });
    setText(item.querySelector('.link-until'), link.until ? t('chat.link_until', { when: day(link.until) }) : '');
    const revoke = item.querySelector('[data-testid=room-link-revoke]');
    revoke.hidden = !this.#details.canUnlink;
    revoke.addEventListener('click', async () => {
      await attempt(this.#dialog, revoke, () => this.#engine.call('revokeLink', { room: this.#room.id, link: link.id }));
      if (this.#dialog.open) await this.#load(false);
    });
    return item;
  }

  async #makeLink() {
    await attempt(this.#dialog, byId('room-link-create'), () => this.#engine.call('makeLink', { room: this.#room.id }));
    if (this.#dialog.open) await this.#load(false);
    this.#dialog.querySelector('[data-testid=room-link]')?.focus();
  }
}
