/**
 * The page's end of the channel to the engine, which runs in the worker of
 * this tab or of another one.
 *
 * A call is answered once. If an engine dies with its tab, the next one
 * announces itself: what nobody had taken is sent again, questions are asked
 * again, and a change that was under way is reported as "interrupted".
 */

/** @typedef {{code: string, text?: string}} EngineError */
/** @typedef {{uri: string, name: string, displayName: string, client: string}} Me */
/** @typedef {{state: 'loading'|'ready'|'error', online: boolean, connecting: boolean, me: Me, error?: EngineError, startMs?: number}} State */
/** @typedef {{id: string, name: string, kind: 'direct'|'group', peer?: string, unread: number, lastText: string, lastSender: string, lastTime: number, members: number, canSend: boolean, canManage: boolean, removed: boolean, hub: string, hubAway: boolean, held: boolean}} Room */
/** @typedef {{code: string, who: string, whom: string, me: boolean, name: string}} Notice */
/** @typedef {{id: string, key: string, room: string, mine: boolean, state: 'sending'|'sent'|'failed'|'received', sender: string, senderName: string, text: string, time: number, kind: 'message'|'notice', notice?: Notice, error?: EngineError, reportable?: boolean, plain?: boolean}} Message */
/** @typedef {{user: string, name: string, displayName: string, me?: boolean}} Person */
/** @typedef {{index: number, name: string, organisation: string}} Role */
/** @typedef {Person & {role: Role, banned: boolean, devices: number, canRemove: boolean, canKick: boolean, canBan: boolean, canUnban: boolean, roles: Role[]}} Member */
/** @typedef {{id: string, offer: string, until: number}} Link */
/** @typedef {{write: boolean, invite: boolean, links: boolean, expire: number, canChange: boolean, canExpire: boolean}} Rules */
/** @typedef {{room: string, description: string, host: string, hostOurs: boolean, logged: boolean, links: Link[], canRename: boolean, canDescribe: boolean, canAdd: boolean, canLeave: boolean, canLink: boolean, canUnlink: boolean, canClose: boolean, rules: Rules}} Details */
/** @typedef {{client: string, name: string, me: boolean, created: number, seen: number}} Device */

const questions = new Set(['state', 'rooms', 'timeline', 'members', 'details', 'devices', 'search', 'markRead', 'requests']);

// The policy lets one script become a worker, and nothing else.
const workerURL = 'asset:worker.js';
const policy = globalThis.trustedTypes?.createPolicy('app', {
  createScriptURL(url) {
    if (url !== workerURL) throw new TypeError('not a script of Kith');
    return url;
  },
});

/** Events: "engine" (a new one has begun), "stopped" (detail: code), and one per kind of view (detail: value). */
export class Engine extends EventTarget {
  #channel = new BroadcastChannel('kith');
  #tab = crypto.randomUUID();
  #next = 1;
  /** @type {Map<number, {op: string, args: object, engine: string, resolve: Function, reject: Function}>} */
  #pending = new Map();
  #restarts = 0;

  constructor() {
    super();
    this.#channel.onmessage = ({ data }) => this.#receive(data);
  }

  /** Starts the worker of this tab. */
  start() {
    let worker;
    try {
      worker = new Worker(policy ? policy.createScriptURL(workerURL) : workerURL);
    } catch {
      this.#emit('stopped', 'unsupported');
      return;
    }
    worker.onerror = () => this.#restart(worker, 'engine_load');
    worker.onmessage = ({ data }) => {
      if (data?.t === 'stopped') this.#restart(worker, data.code);
    };
  }

  /** A worker that ended is started again, later each time, unless that cannot help. */
  #restart(worker, code) {
    worker.terminate();
    this.#emit('stopped', code);
    if (['insecure', 'unsupported', 'signed_out'].includes(code)) return;
    setTimeout(() => this.start(), Math.min(30_000, 500 * 2 ** this.#restarts++));
  }

  /**
   * @param {string} op
   * @param {object} [args]
   * @returns {Promise<any>} rejected with an EngineError
   */
  call(op, args = {}) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#pending.set(id, { op, args, engine: '', resolve, reject });
      this.#send(id);
    });
  }

  #send(id) {
    const { op, args } = this.#pending.get(id);
    this.#channel.postMessage({ t: 'call', tab: this.#tab, id, op, args });
  }

  #receive(data) {
    switch (data?.t) {
      case 'engine':
        this.#adopt(data.engine);
        break;
      case 'got':
      case 'result':
        if (data.tab === this.#tab) this.#settle(data);
        break;
      case 'view':
        if (data.kind === 'state' && data.value.state === 'ready') this.#restarts = 0;
        this.#emit(data.kind, data.value);
        break;
    }
  }

  /**
   * Turns to an engine that has just begun to listen. It knows a call that it sees twice by tab and id, so sending
   * again is safe.
   */
  #adopt(engine) {
    for (const [id, call] of [...this.#pending]) {
      if (call.engine === engine) continue;
      if (call.engine === '' || questions.has(call.op)) {
        call.engine = '';
        this.#send(id);
      } else {
        this.#pending.delete(id);
        call.reject({ code: 'interrupted' });
      }
    }
    this.#emit('engine', engine);
  }

  #settle(data) {
    const call = this.#pending.get(data.id);
    if (!call) return;
    if (data.t === 'got') {
      call.engine = data.engine;
      return;
    }
    this.#pending.delete(data.id);
    if (data.ok) call.resolve(data.value);
    else call.reject(data.error ?? { code: 'internal' });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
