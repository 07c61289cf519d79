// The host of the engine. Every tab runs one of these workers; the one that
// holds the Web Lock owns the keys, the store and the websocket of this
// browser profile, and answers all tabs. The others wait for the lock and take
// over when it is freed, which the browser does even if a tab is killed.
//
// The build puts Go's wasm_exec.js and x25519.js in front of this file.
(() => {
  'use strict';

  const wasmURL = 'asset:kith.wasm';
  const lockName = 'kith-engine';

  /** Tells the page of this tab that its worker has come to an end. */
  const stop = (code) => {
    self.postMessage({ t: 'stopped', code });
    self.close(); // frees the lock, the websocket and the memory
  };

  if (!self.isSecureContext) return stop('insecure');
  if (!self.BroadcastChannel || !self.indexedDB || !navigator.locks || !self.WebAssembly?.compileStreaming) return stop('unsupported');

  const channel = new BroadcastChannel('kith');
  const engine = crypto.randomUUID();
  let startMs = 0;

  // --- Store: one IndexedDB object store with string keys -----------------

  /** @type {Promise<IDBDatabase>|undefined} */
  let database;

  /** @returns {Promise<IDBDatabase>} */
  function openDatabase() {
    database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open('kith', 1);
      request.onupgradeneeded = () => request.result.createObjectStore('kv');
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const db = request.result;
        db.onclose = () => { database = undefined; };
        db.onversionchange = () => { db.close(); stop('storage'); };
        resolve(db);
      };
    });
    database.catch(() => { database = undefined; });
    return database;
  }

  /** @param {IDBRequest} request */
  const answer = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  /** storeGet(key string) → Promise<Uint8Array|undefined> */
  async function storeGet(key) {
    const db = await openDatabase();
    return answer(db.transaction('kv').objectStore('kv').get(key));
  }

  /**
   * storeRange(prefix, from, to string, limit int, reverse bool) → Promise<[[key, Uint8Array], …]>: the keys that
   * start with prefix and whose rest r satisfies from <= r < to; an empty bound is open, limit 0 means all.
   */
  async function storeRange(prefix, from, to, limit, reverse) {
    const lower = prefix + from;
    const upper = prefix + (to || '\uffff');
    if (lower >= upper) return [];
    const store = (await openDatabase()).transaction('kv').objectStore('kv');
    const keys = IDBKeyRange.bound(lower, upper, false, true);
    if (!reverse) {
      const [k, v] = await Promise.all([answer(store.getAllKeys(keys, limit || undefined)), answer(store.getAll(keys, limit || undefined))]);
      return k.map((key, i) => [key, v[i]]);
    }
    return new Promise((resolve, reject) => {
      const found = [];
      const request = store.openCursor(keys, 'prev');
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || (limit && found.length >= limit)) return resolve(found);
        found.push([cursor.key, cursor.value]);
        cursor.continue();
      };
    });
  }

  /**
   * storeCommit([[key, Uint8Array|null], …]) → Promise: all of it or nothing, on the disk when it resolves. A key of
   * MLS that was used must never be used again, hence strict.
   */
  async function storeCommit(ops) {
    const db = await openDatabase();
    return new Promise((resolve, reject) => {
      const tx = db.transaction('kv', 'readwrite', { durability: 'strict' });
      tx.oncomplete = () => resolve();
      tx.onabort = () => reject(tx.error ?? new Error('aborted'));
      const store = tx.objectStore('kv');
      for (const [key, value] of ops) {
        if (value == null) store.delete(key);
        else store.put(value, key);
      }
      tx.commit();
    });
  }

  // --- Websocket -----------------------------------------------------------

  const sockets = new Map();
  let nextSocket = 1;

  /** socketOpen(onMessage(Uint8Array), onClose(code int, reason string)) → handle int */
  function socketOpen(onMessage, onClose) {
    const handle = nextSocket++;
    const url = new URL('/api/socket', self.location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    const entry = { socket, waiting: [] };
    let opened = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      opened = true;
      for (const data of entry.waiting.splice(0)) socket.send(data);
    };
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) onMessage(new Uint8Array(data));
    };
    socket.onclose = async ({ code, reason }) => {
      // A refused upgrade does not tell its reason: ask whether we are still signed in.
      const refused = !opened && await signedOut();
      if (!sockets.delete(handle)) return; // closed by the engine meanwhile
      if (refused) onClose(4001, 'signed_out');
      else onClose(code, reason);
    };
    sockets.set(handle, entry);
    return handle;
  }

  /** socketSend(handle int, data Uint8Array) */
  function socketSend(handle, data) {
    const entry = sockets.get(handle);
    if (!entry) return;
    if (entry.socket.readyState === WebSocket.CONNECTING) entry.waiting.push(data);
    else if (entry.socket.readyState === WebSocket.OPEN) entry.socket.send(data);
  }

  /** socketClose(handle int): from now on nothing is reported of it. */
  function socketClose(handle) {
    const socket = sockets.get(handle)?.socket;
    if (!socket) return;
    sockets.delete(handle);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  async function signedOut() {
    try {
      const response = await fetch('/api/me', { cache: 'no-store' });
      if (response.status === 401) return true;
      return response.ok && (await response.json()).signedIn === false;
    } catch {
      return false; // not reachable: that is another thing
    }
  }

  /** post(message {t, …}): to every tab. The first readiness says how long the worker took to get there, in ms. */
  function post(message) {
    if (!startMs && message.kind === 'state' && message.value.state === 'ready') {
      startMs = Math.round(performance.now());
      message = { ...message, value: { ...message.value, startMs } };
    }
    channel.postMessage({ ...message, engine });
  }

  /** What the owner of several browsers may call this one, as far as it tells. */
  function deviceName() {
    const agent = navigator.userAgent;
    const browser = ['Edg', 'OPR', 'Firefox', 'Chrome', 'Safari'].find((name) => agent.includes(name + '/')) ?? 'Browser';
    const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS X', 'CrOS', 'Linux'].find((name) => agent.includes(name));
    const names = { Edg: 'Edge', OPR: 'Opera', 'Mac OS X': 'Mac', CrOS: 'ChromeOS' };
    return [browser, system].filter(Boolean).map((name) => names[name] ?? name).join(', ');
  }

  globalThis.kithHost = { storeGet, storeRange, storeCommit, socketOpen, socketSend, socketClose, post, deviceName: deviceName() };

  // --- Engine ----------------------------------------------------------------

  /** @param {unknown} e @returns {{code: string, text: string}} */
  function errorOf(e) {
    const code = typeof e?.code === 'string' ? e.code : 'internal';
    return { code, text: typeof e?.text === 'string' ? e.text : '' };
  }

  /** Reports the end to every tab, for the page shows it until somebody takes over. */
  function fail(code) {
    post({ t: 'view', kind: 'state', value: { state: 'error', online: false, connecting: false, me: {}, error: { code, text: '' } } });
    stop(code);
  }

  /** The last calls taken: a page may send one twice while engines change. */
  const taken = new Set();

  async function answerCall({ tab, id, op, args }) {
    const name = `${tab}:${id}`;
    if (taken.has(name)) return;
    taken.add(name);
    if (taken.size > 2000) taken.delete(taken.values().next().value);
    post({ t: 'got', tab, id });
    try {
      const value = await globalThis.kithEngine.call(op, args ?? {});
      post({ t: 'result', tab, id, ok: true, value });
    } catch (e) {
      post({ t: 'result', tab, id, ok: false, error: errorOf(e) });
    }
  }

  // Compiling begins at once: it takes longest, and a tab that waits for the lock can then take over without it.
  const compiled = WebAssembly.compileStreaming(fetch(wasmURL));
  compiled.catch(() => {}); // awaited in run

  /** Runs the engine until the tab is closed. */
  async function run() {
    try {
      await openDatabase();
    } catch {
      return fail('storage');
    }
    const go = new Go();
    let instance;
    try {
      instance = await WebAssembly.instantiate(await compiled, go.importObject);
    } catch {
      return fail('engine_load');
    }
    // run starts main and returns when it waits; the promise ends with the program, which never does by itself.
    const ended = go.run(instance).then(() => fail('engine_stopped'), () => fail('engine_stopped'));
    if (!globalThis.kithEngine) return fail('engine_stopped');
    channel.onmessage = ({ data }) => {
      if (data?.t === 'call') answerCall(data);
    };
    // The tabs send again what nobody has taken yet.
    post({ t: 'engine' });
    try {
      await globalThis.kithEngine.start();
    } catch (e) {
      return fail(errorOf(e).code);
    }
    return ended;
  }

  navigator.locks.request(lockName, run).catch(() => stop('unsupported'));
})();
