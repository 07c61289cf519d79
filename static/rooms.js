/** The list of rooms at the side. */
import { byId, clone, paintAvatar, setText } from './dom.js';
import { count, full, known, short, t } from './i18n.js';

/** @typedef {import('./channel.js').Room} Room */

/** The address of a room within the page. @param {string} id */
export const roomHash = (id) => '#' + encodeURIComponent(id);

/** @returns {string} the room that the address names, or "" */
export function roomOfHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

/** @param {Room} room */
export const roomName = (room) => room.name || t('chat.unnamed');

/** What people call a role; those of other servers' rooms go by the name they have. @param {import('./channel.js').Role|undefined} role */
export function roleName(role) {
  if (!role?.name) return '';
  const key = `chat.role_${role.name}`;
  const name = known(key) ? t(key) : role.name;
  return role.organisation ? t('chat.role_of', { role: name, organisation: role.organisation }) : name;
}

export class RoomList {
  #list = byId('room-list');
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();

  /** Shows the rooms, newest first. @param {Room[]} rooms @param {string} current @param {import('./channel.js').Me} me */
  show(rooms, current, me) {
    const sorted = rooms.toSorted((a, b) => b.lastTime - a.lastTime || a.id.localeCompare(b.id));
    const ids = new Set(sorted.map((r) => r.id));
    for (const [id, item] of this.#items) {
      if (ids.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    let at = this.#list.firstElementChild;
    for (const room of sorted) {
      let item = this.#items.get(room.id);
      if (!item) {
        item = clone('t-room');
        this.#items.set(room.id, item);
      }
      this.#fill(item.firstElementChild, room, room.id === current, me);
      if (item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(item, at);
    }
  }

  #fill(link, room, current, me) {
    const part = (name) => link.querySelector('.room-item-' + name);
    const name = roomName(room);
    link.href = roomHash(room.id);
    link.dataset.room = room.id;
    link.dataset.name = name;
    link.dataset.unread = String(room.unread);
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    link.classList.toggle('removed', room.removed);
    paintAvatar(link.querySelector('.avatar'), room.peer || room.id, name, room.kind === 'group');
    setText(part('name'), name);
    const time = part('time');
    setText(time, room.lastTime ? short(room.lastTime) : '');
    if (room.lastTime) {
      time.dateTime = new Date(room.lastTime).toISOString();
      time.title = full(room.lastTime);
    }
    setText(part('last'), this.#preview(room, me));
    const badge = link.querySelector('.badge');
    badge.hidden = room.unread === 0;
    setText(badge.firstElementChild, room.unread > 99 ? '99+' : String(room.unread));
    setText(badge.lastElementChild, count('chat.unread', room.unread));
  }

  #preview(room, me) {
    if (!room.lastText) return t('chat.no_messages');
    const text = room.lastText.replace(/\s+/g, ' ').slice(0, 200);
    const mine = room.lastSender !== '' && (room.lastSender === me?.uri || room.lastSender === me?.displayName);
    if (mine) return t('chat.preview', { name: t('chat.you'), text });
    return room.kind === 'group' && room.lastSender ? t('chat.preview', { name: room.lastSender, text }) : text;
  }

  /** Puts the focus on a room of the list. @param {string} id */
  focus(id) {
    this.#items.get(id)?.firstElementChild.focus();
  }
}
