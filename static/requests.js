/** Requests: who asks to write to the user, whom the user has asked, and whom the user has blocked. */
import { byId, clone, setFault, setText } from './dom.js';
import { sentence, t } from './i18n.js';

/** @typedef {{user: string, address: string, room: string, roomName: string, time: number}} Request */
/** @typedef {{incoming: Request[], outgoing: Request[], blocked: Request[]}} RequestsView */

/** What each button asks the engine for. */
const operations = { accept: 'acceptRequest', decline: 'declineRequest', block: 'blockUser', cancel: 'cancelRequest', unblock: 'unblockUser' };

/** The name that a button is read out by. */
const labels = { accept: 'chat.request_accept_of', decline: 'chat.request_decline_of', block: 'chat.request_block_of', cancel: 'chat.waiting_cancel', unblock: 'chat.unblock_of' };

/** Shows an address: where it does not fit into a line, it breaks before the domain. @param {HTMLElement} element @param {string} address */
function showAddress(element, address) {
  if (element.textContent === address) return;
  const at = address.lastIndexOf('@');
  element.replaceChildren(address.slice(0, at), document.createElement('wbr'), address.slice(at));
}

/** As many are shown at once; the others on demand: a flood of requests must not push the chats away. */
const few = 3;

export class Requests {
  #engine;
  /** @type {RequestsView} */
  #view = { incoming: [], outgoing: [], blocked: [] };
  #known = new Set();
  #first = true;
  #lists;

  /** @param {import('./channel.js').Engine} engine */
  constructor(engine) {
    this.#engine = engine;
    this.#lists = [
      new List('requests', 'request-list', 't-request', (r, item) => {
        item.dataset.from = r.user;
        showAddress(item.querySelector('.request-address'), r.address);
        setText(item.querySelector('.request-text'), t(r.room ? 'chat.request_room' : 'chat.request_chat'));
      }),
      new List('waiting', 'waiting-list', 't-waiting', (r, item) => {
        item.dataset.to = r.user;
        item.dataset.room = r.room;
        const group = r.room && r.roomName;
        setText(item.querySelector('.request-text'), t(group ? 'chat.waiting_room' : 'chat.waiting_for', { address: r.address, room: r.roomName }));
      }),
      new List('blocked', 'blocked-list', 't-blocked', (r, item) => {
        item.dataset.user = r.user;
        showAddress(item.querySelector('.request-address'), r.address);
      }),
    ];
    for (const list of this.#lists) list.onAct = (act, request, button) => this.#act(list, act, request, button);
  }

  /** @param {RequestsView|null} view */
  show(view) {
    const sorted = (list) => (list ?? []).toSorted((a, b) => b.time - a.time || a.address.localeCompare(b.address) || a.room.localeCompare(b.room));
    this.#view = { incoming: sorted(view?.incoming), outgoing: sorted(view?.outgoing), blocked: sorted(view?.blocked) };
    this.#announce();
    const [incoming, outgoing, blocked] = this.#lists;
    incoming.show(this.#view.incoming);
    outgoing.show(this.#view.outgoing);
    blocked.show(this.#view.blocked);
  }

  /** Says everything again, after the language has changed. */
  retell() {
    for (const list of this.#lists) list.clear();
    this.show(this.#view);
  }

  /** Tells those who do not see the list that somebody new asks. */
  #announce() {
    const fresh = this.#view.incoming.filter((r) => !this.#known.has(keyOf(r)));
    for (const r of fresh) this.#known.add(keyOf(r));
    const first = this.#first;
    this.#first = false;
    if (first || fresh.length === 0) return;
    const line = document.createElement('p');
    line.textContent = t('chat.request_announce', { address: fresh[0].address });
    byId('announce').append(line);
    setTimeout(() => line.remove(), 10_000);
  }

  async #act(list, act, request, button) {
    setFault(list.fault, '');
    const buttons = button.parentElement.querySelectorAll('button');
    for (const b of buttons) b.disabled = true;
    const next = list.neighbour(request);
    try {
      await this.#engine.call(operations[act], { user: request.user, room: request.room });
      // The answer is on its way to the list; the keyboard's place in it is kept.
      list.remove(request);
      if (next?.isConnected) next.focus();
      else list.title.focus();
    } catch (e) {
      for (const b of buttons) b.disabled = false;
      setFault(list.fault, sentence(e));
      button.focus();
    }
  }
}

/** @param {Request} r */
const keyOf = (r) => `${r.user} ${r.room}`;

/** One of the three lists, whose items stay while they are shown: a button does not vanish under the finger. */
class List {
  #section;
  #list;
  #template;
  #fill;
  #more;
  #all = false;
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {(act: string, request: Request, button: HTMLButtonElement) => void} */
  onAct = () => {};

  constructor(section, list, template, fill) {
    this.#section = byId(section);
    this.#list = byId(list);
    this.#template = template;
    this.#fill = fill;
    this.fault = this.#section.querySelector('.fault');
    this.title = byId(section + '-title');
    this.#more = this.#section.querySelector('.more');
    this.#more?.addEventListener('click', () => {
      this.#all = !this.#all;
      this.#limit();
    });
  }

  /** @param {Request[]} requests */
  show(requests) {
    const wanted = new Map(requests.map((r) => [keyOf(r), r]));
    for (const key of [...this.#items.keys()]) {
      if (!wanted.has(key)) this.#drop(key);
    }
    let at = this.#list.firstElementChild;
    for (const [key, request] of wanted) {
      let item = this.#items.get(key);
      if (!item) {
        item = this.#make(request);
        this.#items.set(key, item);
      }
      this.#fill(request, item);
      if (item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(item, at);
    }
    this.#limit();
  }

  clear() {
    for (const key of [...this.#items.keys()]) this.#drop(key);
  }

  /** @param {Request} request */
  remove(request) {
    this.#drop(keyOf(request));
    this.#limit();
  }

  /** The first button of the item that will stand where this one stands. @param {Request} request @returns {HTMLElement|null|undefined} */
  neighbour(request) {
    const item = this.#items.get(keyOf(request));
    return (item?.nextElementSibling ?? item?.previousElementSibling)?.querySelector('button');
  }

  /** Hides what is too much, and the section when it is empty. */
  #limit() {
    const { children } = this.#list;
    const over = this.#more ? children.length - few : 0;
    [...children].forEach((item, i) => { item.hidden = over > 0 && !this.#all && i >= few; });
    this.#section.hidden = children.length === 0;
    if (!this.#more) return;
    this.#more.hidden = over <= 0;
    this.#more.setAttribute('aria-expanded', String(this.#all));
    setText(this.#more, this.#all ? t('chat.show_fewer') : t('chat.show_all', { n: children.length }));
  }

  #drop(key) {
    this.#items.get(key)?.remove();
    this.#items.delete(key);
  }

  #make(request) {
    const item = clone(this.#template);
    for (const button of item.querySelectorAll('button')) {
      const { act } = button.dataset;
      button.setAttribute('aria-label', t(labels[act], { address: request.address }));
      button.addEventListener('click', () => this.onAct(act, request, button));
    }
    return item;
  }
}
