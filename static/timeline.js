/** The messages of the open room: ordered by key, grouped by day and sender. */
import { byId, clone, debounce, isBigEmoji, paintAvatar, setLinkedText, setText } from './dom.js';
import { clock, day, full, known, sameDay, sentence, t } from './i18n.js';
import { hasActions } from './report.js';
import { roleName, roomName } from './rooms.js';

/** @typedef {import('./channel.js').Message} Message */
/** @typedef {import('./channel.js').Room} Room */
/** @typedef {{message: Message, item: HTMLElement}} Entry */

const pageSize = 80;
const together = 5 * 60_000; // messages of one sender this close are one group
const near = 120; // so many pixels from the end count as the end

export class Timeline {
  #scroller = byId('timeline');
  #list = byId('messages');
  #edge = byId('timeline-edge');
  #toBottom = byId('to-bottom');
  #engine;
  /** @type {Room|null} */
  #room = null;
  #me = null;
  /** @type {Entry[]} oldest first */
  #entries = [];
  /** @type {Map<string, Entry>} */
  #byId = new Map();
  #more = false;
  #loading = false;
  #visit = 0; // counts openings, so that a late answer is known to be late
  #stuck = true; // whether the newest message is to stay in view
  #missed = 0;
  #top = 0; // where the list stood when it last scrolled, and how long it was
  #height = 0;
  #unreadFrom = ''; // id of the first message that was unread on opening
  #markedKey = '';
  #markRead = debounce(() => this.#mark(), 100);
  #openMenu;

  /** @param {import('./channel.js').Engine} engine @param {(message: Message, button: HTMLElement) => void} openMenu shows what can be done with a message */
  constructor(engine, openMenu) {
    this.#engine = engine;
    this.#openMenu = openMenu;
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#toBottom.addEventListener('click', () => this.toEnd());
    this.#list.addEventListener('click', (e) => this.#act(e));
    document.addEventListener('visibilitychange', () => this.#markRead());
    // The window, the keyboard or the composer changed its size.
    new ResizeObserver(() => {
      if (this.#stuck) this.#jump();
    }).observe(this.#scroller);
  }

  get room() {
    return this.#room?.id ?? '';
  }

  /** Whether somebody looks at the newest message. */
  get reading() {
    return !!this.#room && this.#stuck && document.visibilityState === 'visible';
  }

  /** Shows a room from its end, or from what is unread. @param {Room} room @param {import('./channel.js').Me} me */
  async open(room, me) {
    const visit = ++this.#visit;
    this.#room = room;
    this.#me = me;
    this.#entries = [];
    this.#byId.clear();
    this.#list.replaceChildren();
    this.#more = false;
    this.#missed = 0;
    this.#stuck = true;
    this.#unreadFrom = '';
    this.#markedKey = '';
    this.#toBottom.hidden = true;
    this.#edges();
    const page = await this.#load(visit, Math.max(pageSize, Math.min(200, room.unread + 20)));
    if (!page) return;
    this.#unreadFrom = this.#firstUnread(page.messages, room.unread);
    this.#take(page.messages);
    this.#more = page.more;
    this.#edges();
    const unread = this.#byId.get(this.#unreadFrom)?.item;
    // What is unread begins a little below the upper edge.
    if (unread) this.#scroller.scrollTop = unread.offsetTop - this.#scroller.clientHeight / 4;
    this.#stuck = !unread || this.#atEnd();
    if (this.#stuck) this.toEnd();
    else this.#showMissed();
    this.#markRead();
    this.#fillUp();
  }

  /** Takes over what changed about the room. @param {Room} room @param {import('./channel.js').Me} me */
  update(room, me) {
    this.#room = room;
    this.#me = me;
    this.#list.classList.toggle('of-group', room.kind === 'group');
    if (room.unread > 0) this.#markRead();
  }

  /** Loads again, where the reader is. */
  async reload() {
    const visit = this.#visit;
    if (!this.#room) return;
    const page = await this.#load(visit, Math.max(pageSize, Math.min(200, this.#entries.length)));
    if (!page) return;
    const before = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    const first = page.messages[0]?.key ?? '';
    const ids = new Set(page.messages.map((m) => m.id));
    for (const entry of [...this.#entries]) {
      if (!ids.has(entry.message.id) && entry.message.key >= first) this.#remove(entry);
    }
    this.#take(page.messages);
    if (!this.#entries.some((e) => e.message.key < first)) this.#more = page.more;
    this.#edges();
    if (this.#stuck) this.#jump();
    else this.#scroller.scrollTop = this.#scroller.scrollHeight - before;
    this.#fillUp();
  }

  /** Forgets the room. */
  close() {
    this.#visit++;
    this.#room = null;
  }

  /** Puts in or replaces one message. @param {Message} message @returns {boolean} whether it is new here */
  put(message) {
    const fresh = !this.#byId.has(message.id);
    // What is older than everything here comes when it is scrolled to.
    if (fresh && this.#more && message.key < (this.#entries[0]?.message.key ?? '')) return false;
    this.#insert(message);
    this.#edges();
    if (fresh && message.mine && message.kind === 'message' && message.state === 'sending') this.toEnd();
    else if (this.#stuck) this.#jump();
    else if (fresh && !message.mine) this.#miss();
    if (fresh && !message.mine) this.#markRead();
    return fresh;
  }

  /** Scrolls to the newest message. */
  toEnd() {
    this.#stuck = true;
    this.#missed = 0;
    this.#jump();
    this.#showMissed();
  }

  /** Writes every message again, in another language. */
  retell() {
    for (const [i, entry] of this.#entries.entries()) {
      this.#fill(entry);
      this.#arrange(i);
    }
    this.#edges();
  }

  // --- Loading ---------------------------------------------------------------

  async #load(visit, limit, before) {
    const args = { room: this.#room.id, limit };
    if (before) args.before = before;
    try {
      const page = await this.#engine.call('timeline', args);
      return visit === this.#visit ? { messages: page.messages ?? [], more: !!page.more } : null;
    } catch (e) {
      if (visit === this.#visit) {
        this.#edge.hidden = false;
        setText(this.#edge, sentence(e));
      }
      return null;
    }
  }

  async #loadOlder() {
    if (!this.#more || this.#loading || this.#entries.length === 0) return;
    this.#loading = true;
    const visit = this.#visit;
    this.#edges();
    const page = await this.#load(visit, pageSize, this.#entries[0].message.key);
    this.#loading = false;
    if (!page) return;
    this.#more = page.more;
    const anchor = this.#entries[0].item;
    const offset = anchor.offsetTop - this.#scroller.scrollTop;
    this.#take(page.messages);
    this.#edges();
    this.#scroller.scrollTop = anchor.offsetTop - offset;
    this.#fillUp();
  }

  /** Loads on while the reader is near the beginning of what is here. */
  #fillUp() {
    if (this.#more && this.#scroller.scrollTop < this.#scroller.clientHeight) this.#loadOlder();
  }

  // --- Order -------------------------------------------------------------------

  #take(messages) {
    for (const message of messages) this.#insert(message);
  }

  /** The place of a key among the entries. */
  #place(key) {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle].message.key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(message) {
    let entry = this.#byId.get(message.id);
    if (entry && entry.message.key === message.key) {
      entry.message = message;
      this.#fill(entry);
      return;
    }
    if (entry) {
      this.#remove(entry, true);
      entry.message = message;
    } else {
      entry = { message, item: clone(message.kind === 'notice' ? 't-notice' : 't-message') };
    }
    const at = this.#place(message.key);
    this.#byId.set(message.id, entry);
    this.#list.insertBefore(entry.item, this.#entries[at]?.item ?? null);
    this.#entries.splice(at, 0, entry);
    this.#fill(entry);
    for (const i of [at - 1, at, at + 1]) this.#arrange(i);
  }

  #remove(entry, keep = false) {
    const at = this.#entries.indexOf(entry);
    this.#entries.splice(at, 1);
    this.#byId.delete(entry.message.id);
    if (!keep) entry.item.remove();
    this.#arrange(at - 1);
    this.#arrange(at);
  }

  // --- One message -----------------------------------------------------------

  #fill({ message, item }) {
    item.dataset.id = message.id;
    if (message.kind === 'notice') {
      setText(item.querySelector('.notice-text'), this.#noticeText(message));
      return;
    }
    item.dataset.mine = String(message.mine);
    item.dataset.state = message.state;
    const text = item.querySelector('.message-text');
    if (text.textContent !== message.text) (message.plain ? setText : setLinkedText)(text, message.text);
    item.classList.toggle('big', isBigEmoji(message.text));
    setText(item.querySelector('.message-sender'), message.mine ? t('chat.you') : message.senderName);
    paintAvatar(item.querySelector('.avatar'), message.sender, message.senderName);
    item.querySelector('.message-sender').dataset.tint = item.querySelector('.avatar').dataset.tint;
    const time = item.querySelector('time');
    setText(time, clock(message.time));
    time.dateTime = new Date(message.time).toISOString();
    time.title = full(message.time);
    const states = { sending: 'chat.sending', sent: 'chat.sent', failed: 'chat.not_sent' };
    setText(item.querySelector('.state-text'), message.mine && states[message.state] ? t(states[message.state]) : '');
    item.querySelector('.failed').hidden = message.state !== 'failed';
    const menu = item.querySelector('.message-menu');
    menu.hidden = !hasActions(message);
    menu.setAttribute('aria-label', t('chat.actions', { name: message.senderName || t('chat.somebody') }));
    if (message.state === 'failed') setText(item.querySelector('.failed-text'), sentence(message.error));
  }

  /** What a notice says depends on who reads it. */
  #noticeText(message) {
    const { code, who, whom, me, name } = message.notice ?? { code: 'unknown', who: '', whom: '', me: false, name: '' };
    let key = 'notice.' + (code === 'created' && (!name || this.#room?.kind === 'direct') ? 'started' : code);
    if (message.mine) key += '_you';
    else if (me && known(key.replace('.', '.you_'))) key = key.replace('.', '.you_');
    const words = { who: who || message.senderName || t('chat.somebody'), whom: whom || t('chat.somebody'), name };
    if (code === 'role') words.name = roleName({ index: 0, name, organisation: '' });
    return known(key) ? t(key, words) : t('notice.unknown');
  }

  /** Day, divider and grouping follow from the neighbours. */
  #arrange(i) {
    const entry = this.#entries[i];
    if (!entry) return;
    const { message, item } = entry;
    const previous = this.#entries[i - 1]?.message;
    const next = this.#entries[i + 1]?.message;
    const newDay = !previous || !sameDay(previous.time, message.time);
    const line = item.querySelector('.day');
    line.hidden = !newDay;
    if (newDay) setText(line, day(message.time));
    item.querySelector('.unread-line').hidden = message.id !== this.#unreadFrom;
    item.classList.toggle('follows', !newDay && message.id !== this.#unreadFrom && this.#oneGroup(previous, message));
    item.classList.toggle('last', !next || next.id === this.#unreadFrom || !this.#oneGroup(message, next));
  }

  #oneGroup(a, b) {
    return a.kind === 'message' && b.kind === 'message' && a.sender === b.sender && b.time - a.time < together && sameDay(a.time, b.time);
  }

  async #act(e) {
    const menu = e.target.closest('.message-menu');
    if (menu) {
      const entry = this.#byId.get(menu.closest('.message').dataset.id);
      if (entry) this.#openMenu(entry.message, menu);
      return;
    }
    const button = e.target.closest('[data-act]');
    if (!button) return;
    const item = button.closest('.message');
    const op = button.dataset.act;
    button.disabled = true;
    try {
      await this.#engine.call(op, { room: this.#room.id, id: item.dataset.id });
      const entry = this.#byId.get(item.dataset.id);
      if (op === 'discard' && entry) this.#remove(entry);
    } catch (error) {
      setText(item.querySelector('.failed-text'), sentence(error));
    } finally {
      button.disabled = false;
    }
  }

  // --- Position and reading ----------------------------------------------------

  #atEnd() {
    const s = this.#scroller;
    return s.scrollHeight - s.scrollTop - s.clientHeight < near;
  }

  #jump() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight } = this.#scroller;
    // Only who scrolls up lets go of the end. A list that grows under a scroll that was on its way does not.
    const up = scrollTop < this.#top - 1 && scrollHeight === this.#height;
    const end = this.#atEnd();
    if (this.#stuck && !end && !up) this.#jump();
    this.#stuck = end || (this.#stuck && !up);
    this.#top = this.#scroller.scrollTop;
    this.#height = scrollHeight;
    if (this.#stuck) {
      this.#missed = 0;
      this.#markRead();
    }
    this.#showMissed();
    this.#fillUp();
  }

  #miss() {
    this.#missed++;
    this.#showMissed();
  }

  #showMissed() {
    this.#toBottom.hidden = this.#stuck;
    const badge = byId('to-bottom-count');
    badge.hidden = this.#missed === 0;
    setText(badge, String(this.#missed));
  }

  /** The beginning of the list: loading, the very start, or nothing yet. */
  #edges() {
    const empty = this.#entries.length === 0;
    byId('timeline-empty').hidden = !empty || this.#more;
    this.#edge.hidden = empty || (this.#more && !this.#loading);
    setText(this.#edge, this.#more ? t('chat.older') : t('chat.beginning'));
  }

  #firstUnread(messages, unread) {
    if (unread === 0) return '';
    const others = messages.filter((m) => !m.mine && m.kind === 'message');
    return others.at(-Math.min(unread, others.length))?.id ?? '';
  }

  /** What is in view on a visible page has been read. */
  #mark() {
    if (!this.reading) return;
    const last = this.#entries.findLast((e) => e.message.state !== 'sending' && e.message.state !== 'failed');
    if (!last || (last.message.key <= this.#markedKey && this.#room.unread === 0)) return;
    this.#markedKey = last.message.key;
    this.#engine.call('markRead', { room: this.#room.id, key: last.message.key }).catch(() => {});
  }

  /** A line for those who listen. @param {Message} message @param {Room} room @param {boolean} here whether the room goes without saying */
  announce(message, room, here) {
    const line = document.createElement('p');
    if (message.kind === 'notice') line.textContent = this.#noticeText(message);
    else line.textContent = t(here ? 'chat.announce' : 'chat.announce_in', { name: message.senderName, room: roomName(room), text: message.text.slice(0, 500) });
    const log = byId('announce');
    log.append(line);
    while (log.childElementCount > 5) log.firstElementChild.remove();
  }
}
