/** The chat page: joins the engine's views to what is on the screen. It holds no key and decides nothing. */
import { Engine } from './channel.js';
import { Composer } from './composer.js';
import { joinByLink, newChat, newGroup } from './dialogs.js';
import { byId, paintAvatar, setText } from './dom.js';
import { count, sentence, setLanguage, t } from './i18n.js';
import { RoomInfo } from './info.js';
import { keepLink } from './link.js';
import { MessageMenu } from './report.js';
import { Requests } from './requests.js';
import { RoomList, roomHash, roomName, roomOfHash } from './rooms.js';
import { Settings } from './settings.js';
import { Timeline } from './timeline.js';

/** @typedef {import('./channel.js').Room} Room */
/** @typedef {import('./channel.js').State} State */

setLanguage();
keepLink();

const engine = new Engine();
const list = new RoomList();
const requests = new Requests(engine);
const menu = new MessageMenu(engine);
const timeline = new Timeline(engine, (message, button) => menu.open(message, button));
const composer = new Composer(engine, () => {
  timeline.toEnd();
  navigator.storage?.persist?.();
});

/** @type {State} */
let state = { state: 'loading', online: false, connecting: true, me: /** @type {any} */ ({}) };
/** @type {Room[]} */
let rooms = [];
let roomsKnown = false;
let cameFromList = false;
let held = false;
/** @type {Room[]|null} */
let heldRooms = null;

const current = () => rooms.find((r) => r.id === timeline.room);
const info = new RoomInfo(engine, current);
const settings = new Settings(engine, () => state.me, retell);
newChat(engine, hold, release);
newGroup(engine, hold, release);
const askToJoin = joinByLink(engine, hold, release);

// --- What the engine says -----------------------------------------------------

engine.addEventListener('state', ({ detail }) => showState(detail));
engine.addEventListener('rooms', ({ detail }) => {
  if (held) heldRooms = detail;
  else showRooms(detail);
});
engine.addEventListener('requests', ({ detail }) => requests.show(detail));
engine.addEventListener('members', ({ detail }) => info.refresh(detail.room));
engine.addEventListener('timeline', ({ detail }) => {
  if (detail.room === timeline.room) timeline.reload();
});
engine.addEventListener('message', ({ detail }) => {
  const { room, message } = detail;
  const here = room === timeline.room;
  const fresh = here ? timeline.put(message) : message.state === 'received';
  const known = rooms.find((r) => r.id === room);
  // Old messages that are delivered late are news too, but not all of them aloud.
  if (fresh && !message.mine && known && Date.now() - message.time < 60_000) timeline.announce(message, known, here || known.kind === 'direct');
});
engine.addEventListener('engine', sync);
engine.addEventListener('stopped', ({ detail }) => {
  // Another tab's engine may well be alive.
  if (state.state !== 'ready') showState({ ...state, state: 'error', error: { code: detail } });
});

/** Asks for everything that is shown. */
async function sync() {
  try {
    showState(await engine.call('state'));
    showRooms(await engine.call('rooms'));
    requests.show(await engine.call('requests'));
    if (timeline.room) await timeline.reload();
  } catch (e) {
    if (state.state !== 'ready') showState({ ...state, state: 'error', error: e });
  }
}

/** @param {State} next */
function showState(next) {
  if (!next) return;
  state = next;
  const words = { loading: t('chat.loading'), ready: t('chat.encrypted'), error: t('chat.failed') };
  const element = byId('engine');
  if (next.startMs) element.dataset.startMs = String(next.startMs);
  if (next.state === 'ready' && !performance.getEntriesByName('kith-ready').length) performance.mark('kith-ready');
  element.dataset.state = state.state;
  element.dataset.online = String(!!state.online);
  const text = byId('engine-text');
  delete text.dataset.i18n;
  setText(text, words[state.state] ?? '');
  if (state.error?.code === 'signed_out') {
    if (!settings.leaving) location.replace('/signin');
    return;
  }
  if (state.state === 'ready' && roomsKnown) askToJoin();
  showBanner();
}

let bannerTimer;
let bannerShown = ''; // or about to be

/** A short interruption is nobody's business: the banner waits a moment. */
function showBanner() {
  const kind = bannerKind();
  const wanted = [kind, state.error?.code, state.changedIdentities?.[0], kind === 'away' && current().hub].join(' ');
  if (wanted === bannerShown) return;
  bannerShown = wanted;
  clearTimeout(bannerTimer);
  const patience = kind === '' || state.state === 'error' ? 0 : 1200;
  bannerTimer = setTimeout(() => {
    const banner = byId('banner');
    banner.hidden = kind === '';
    if (kind) banner.dataset.kind = kind;
    else delete banner.dataset.kind;
    const texts = {
      offline: t('chat.offline'), reconnecting: t('chat.reconnecting'), error: sentence(state.error), '': '',
      identity: t('chat.identity_changed', { domain: state.changedIdentities?.[0] ?? '' }),
      away: t('chat.hub_away', { domain: current()?.hub ?? '' }), held: t('chat.held'),
    };
    setText(byId('banner-text'), texts[kind]);
    byId('banner-reload').hidden = kind !== 'error';
    byId('banner-accept').hidden = kind !== 'identity';
  }, patience);
}

function bannerKind() {
  if (state.state === 'error') return 'error';
  if (state.state !== 'ready') return '';
  if (!state.online) return state.connecting && navigator.onLine ? 'reconnecting' : 'offline';
  if (state.changedIdentities?.length) return 'identity';
  const room = current()?.id === roomOfHash() ? current() : undefined;
  return room?.hubAway ? 'away' : room?.held ? 'held' : '';
}

/** @param {Room[]|null} next */
function showRooms(next) {
  rooms = next ?? [];
  roomsKnown = true;
  byId('rooms-empty').hidden = rooms.length > 0;
  byId('nothing-title').hidden = byId('nothing-body').hidden = rooms.length === 0;
  // What comes in under the reader's eyes is not news to be counted.
  const shown = rooms.map((room) => (room.id === timeline.room && timeline.reading ? { ...room, unread: 0 } : room));
  list.show(shown, timeline.room, state.me);
  const unread = shown.reduce((sum, room) => sum + room.unread, 0);
  document.title = unread ? `(${unread}) Kith` : 'Kith';
  const room = current();
  if (room && room.id === roomOfHash()) {
    showHead(room);
    timeline.update(room, state.me);
    info.update(room);
  } else route();
  showBanner();
  if (state.state === 'ready') askToJoin();
}

/** @param {Room} room */
function showHead(room) {
  const name = roomName(room);
  setText(byId('room-title'), name);
  setText(byId('room-sub'), room.kind === 'direct' ? t('chat.direct') : count('chat.members', room.members));
  paintAvatar(byId('room-avatar'), room.peer || room.id, name, room.kind === 'group');
  composer.open(room, name);
}

/** While a chat is being made it is not shown: what is written before all are in would not reach them. */
function hold() {
  held = true;
}

/** Goes on, with the new room open if there is one. @param {string} [id] */
function release(id) {
  held = false;
  if (id) location.hash = roomHash(id);
  const next = heldRooms;
  heldRooms = null;
  if (next) showRooms(next);
  else route();
}

// --- Which room is open: the address says it -----------------------------------

function route() {
  const id = roomOfHash();
  const room = rooms.find((r) => r.id === id);
  const open = !!room;
  byId('app').dataset.view = open ? 'room' : 'list';
  byId('room').hidden = !open;
  byId('nothing').hidden = open || !roomsKnown;
  if (!open) {
    const before = timeline.room;
    timeline.close();
    list.show(rooms, '', state.me);
    if (before) list.focus(before);
    showBanner();
    return;
  }
  if (timeline.room === id) return;
  timeline.open(room, state.me);
  timeline.update(room, state.me);
  showHead(room);
  list.show(rooms, id, state.me);
  composer.focus();
  showBanner();
}

addEventListener('hashchange', (e) => {
  cameFromList = !new URL(e.oldURL).hash.slice(1);
  keepLink();
  if (roomsKnown && state.state === 'ready') askToJoin();
  route();
});

// At once, so that nothing typed right after a click goes to the room before.
byId('room-list').addEventListener('click', (e) => {
  const link = e.target.closest('.room-item');
  if (!link || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  location.hash = link.hash;
  route();
});

byId('back').addEventListener('click', (e) => {
  e.preventDefault();
  if (cameFromList) history.back();
  else location.hash = '';
});

byId('banner-reload').addEventListener('click', () => location.reload());
byId('banner-accept').addEventListener('click', () => {
  const domain = state.changedIdentities?.[0];
  if (domain) engine.call('acceptIdentity', { domain }).catch(() => {}); // the banner stays as long as it is not accepted
});
addEventListener('online', showBanner);
addEventListener('offline', showBanner);

/** Says everything again, after the language has changed. */
function retell() {
  bannerShown = '';
  showState(state);
  showRooms(rooms);
  requests.retell();
  timeline.retell();
  info.retell();
}

// --- Who is signed in -------------------------------------------------------------

async function whoAmI() {
  try {
    const response = await fetch('/api/me', { cache: 'no-store' });
    if (!response.ok) return;
    const me = await response.json();
    if (me.signedIn === false) location.replace('/signin');
    for (const link of document.querySelectorAll('.admin-only')) link.hidden = !me.account?.admin;
  } catch {
    // Offline: what is stored in this browser can be read all the same.
  }
}

whoAmI();
engine.start();
sync();
