// A peer of the interoperability tests of kith/mimi/mls: it speaks their protocol over the library ts-mls.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import {
  acceptAll, ciphersuites, createApplicationMessage, createCommit, createGroup, createGroupInfoWithExternalPub,
  createProposal, decodeMlsMessage, encodeMlsMessage, generateKeyPackageWithKey, getCiphersuiteFromName,
  getCiphersuiteImpl, joinGroup, joinGroupExternal, makePskIndex, mlsExporter, processPrivateMessage,
  processPublicMessage,
} from "ts-mls";
import { decodeRatchetTree, encodeRatchetTree } from "ts-mls/ratchetTree.js";

const version = JSON.parse(readFileSync(new URL("./node_modules/ts-mls/package.json", import.meta.url))).version;

// The suites of RFC 9420 that run on what package.json installs.
const suites = [1, 2, 3, 5, 7, 0x004d];

// The library numbers its post-quantum suites by itself. 0x004D is here what other libraries mean by it.
const xWing = {
  name: "MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519", hash: "SHA-256", signature: "Ed25519",
  hpke: { kem: "X-Wing", aead: "CHACHA20POLY1305", kdf: "HKDF-SHA256" },
};
for (const [name, id] of Object.entries(ciphersuites)) {
  if (id === 0x004d) delete ciphersuites[name];
}
ciphersuites[xWing.name] = 0x004d;

class Unsupported extends Error {}

const octets = (text) => new Uint8Array(Buffer.from(text ?? "", "base64"));
const text = (data) => Buffer.from(data).toString("base64");
const encoded = (wireformat, body) => text(encodeMlsMessage({ version: "mls10", wireformat, ...body }));

// decoded reads an MLSMessage of one of the given wire formats that fills its input.
function decoded(data, ...wireformats) {
  const input = octets(data);
  const result = decodeMlsMessage(input, 0);
  if (result === undefined || result[1] !== input.length) throw new Error("message cannot be decoded");
  if (!wireformats.includes(result[0].wireformat)) throw new Error(`unexpected ${result[0].wireformat}`);
  return result[0];
}

function decodedTree(data) {
  if (data === undefined || data === null) return undefined;
  const result = decodeRatchetTree(octets(data), 0);
  if (result === undefined) throw new Error("ratchet tree cannot be decoded");
  return result[0];
}

// newKey makes a signature key. The library's own keygen compresses ECDSA keys, against RFC 9420, Section 5.1.1; it takes
// keys from elsewhere, so that all but that can be tested.
async function newKey(suite, generatedKey) {
  const curve = { 2: p256, 5: p521, 7: p384 }[ciphersuites[suite.name]];
  if (curve === undefined || generatedKey) return suite.signature.keygen();
  const signKey = curve.utils.randomSecretKey();
  return { signKey, publicKey: curve.getPublicKey(signKey, false) };
}

// One client in at most one group. A state of the library is never changed: a commit makes another one.
let me;
const group = () => {
  if (me?.state === undefined) throw new Error("no group");
  return me.state;
};
const psks = () => makePskIndex(me.state, me.psks);

async function newKeyPackage() {
  const now = BigInt(Math.floor(Date.now() / 1000));
  return generateKeyPackageWithKey(
    { credentialType: "basic", identity: new TextEncoder().encode(me.name) },
    { versions: ["mls10"], ciphersuites: [me.suite.name], extensions: [], proposals: [], credentials: ["basic"] },
    { notBefore: now - 3600n, notAfter: now + 86400n }, [], me.key, me.suite);
}

const proposalAdd = (keyPackage) => ({
  proposalType: "add", add: { keyPackage: decoded(keyPackage, "mls_key_package").keyPackage },
});
const proposalRemove = (removed) => ({ proposalType: "remove", remove: { removed } });
const proposalPSK = (id) => ({
  proposalType: "psk",
  psk: { preSharedKeyId: { psktype: "external", pskId: octets(id), pskNonce: me.suite.rng.randomBytes(me.suite.kdf.size) } },
});

const operations = {
  async hello() {
    return {
      peer: "ts-mls", version, suites,
      ops: ["join.tree", "commit.treeInWelcome", "commit.psk", "commit.noPath", "propose.add", "propose.remove",
        "propose.psk", "joinExternal.resync", "encryptHandshake"],
    };
  },

  async client({ suite, name, encryptHandshake, generatedKey }) {
    const found = Object.entries(ciphersuites).find(([, id]) => id === suite);
    if (found === undefined || !suites.includes(suite)) throw new Unsupported("cipher suite");
    const impl = await getCiphersuiteImpl(suite === 0x004d ? xWing : getCiphersuiteFromName(found[0]));
    me = { suite: impl, name, public: !encryptHandshake, key: await newKey(impl, generatedKey), psks: {} };
  },

  async keyPackage() {
    me.keys = await newKeyPackage();
    return { keyPackage: encoded("mls_key_package", { keyPackage: me.keys.publicPackage }) };
  },

  async psk({ id, secret }) { me.psks[id] = octets(secret); },

  async create({ groupId }) {
    const keys = await newKeyPackage();
    me.state = await createGroup(octets(groupId), keys.publicPackage, keys.privatePackage, [], me.suite);
  },

  async join({ welcome, tree }) {
    const message = decoded(welcome, "mls_welcome");
    me.state = await joinGroup(message.welcome, me.keys.publicPackage, me.keys.privatePackage,
      makePskIndex(undefined, me.psks), me.suite, decodedTree(tree));
  },

  async groupInfo() {
    const groupInfo = await createGroupInfoWithExternalPub(group(), [], me.suite);
    return { groupInfo: encoded("mls_group_info", { groupInfo }), tree: text(encodeRatchetTree(group().ratchetTree)) };
  },

  async joinExternal({ groupInfo, tree, removeLeaf }) {
    const message = decoded(groupInfo, "mls_group_info");
    const keys = await newKeyPackage();
    const resync = removeLeaf !== undefined && removeLeaf !== null;
    const joined = await joinGroupExternal(message.groupInfo, keys.publicPackage, keys.privatePackage, resync, me.suite,
      decodedTree(tree));
    me.state = joined.newState;
    me.next = undefined;
    return { commit: encoded("mls_public_message", { publicMessage: joined.publicMessage }) };
  },

  async commit({ adds = [], removes = [], psks: ids = [], path, treeInWelcome = false, aad }) {
    const extraProposals = [...adds.map(proposalAdd), ...removes.map(proposalRemove), ...ids.map(proposalPSK)];
    const result = await createCommit({ state: group(), cipherSuite: me.suite, pskIndex: psks() }, {
      wireAsPublicMessage: me.public, extraProposals, ratchetTreeExtension: treeInWelcome, authenticatedData: octets(aad),
    });
    if (path && me.public && result.commit.publicMessage.content.commit.path === undefined) {
      throw new Unsupported("a path where none is demanded");
    }
    me.next = result.newState;
    return {
      commit: text(encodeMlsMessage(result.commit)),
      welcome: result.welcome === undefined ? null : encoded("mls_welcome", { welcome: result.welcome }),
      tree: text(encodeRatchetTree(me.next.ratchetTree)),
    };
  },

  async merge() {
    if (me.next === undefined) throw new Error("no commit is pending");
    me.state = me.next;
    me.next = undefined;
  },

  async discard() { me.next = undefined; },

  async propose({ kind, keyPackage, leaf, id, aad }) {
    const make = {
      add: () => proposalAdd(keyPackage), remove: () => proposalRemove(leaf), psk: () => proposalPSK(id),
    }[kind];
    if (make === undefined) throw new Unsupported(`proposal ${kind}`);
    const result = await createProposal(group(), me.public, make(), me.suite, octets(aad));
    me.state = result.newState;
    return { message: text(encodeMlsMessage(result.message)) };
  },

  async encrypt({ data, aad }) {
    const result = await createApplicationMessage(group(), octets(data), me.suite, octets(aad));
    me.state = result.newState;
    return { message: encoded("mls_private_message", { privateMessage: result.privateMessage }) };
  },

  async process({ message: data }) {
    const message = decoded(data, "mls_public_message", "mls_private_message");
    let kind;
    const note = (incoming) => { kind = incoming.kind; return acceptAll(incoming); };
    if (message.wireformat === "mls_public_message") {
      me.state = (await processPublicMessage(group(), message.publicMessage, psks(), me.suite, note)).newState;
    } else {
      const result = await processPrivateMessage(group(), message.privateMessage, psks(), me.suite, note);
      me.state = result.newState;
      if (result.kind === "applicationMessage") {
        return { kind: "application", data: text(result.message), aad: text(message.privateMessage.authenticatedData) };
      }
    }
    return { kind, removed: me.state.groupActiveState.kind === "removedFromGroup" };
  },

  async state() {
    const { groupContext, keySchedule, ratchetTree, privatePath } = group();
    const context = new TextEncoder().encode("context");
    const members = [];
    ratchetTree.forEach((node, i) => { if (i % 2 === 0 && node !== undefined) members.push(i / 2); });
    return {
      epoch: Number(groupContext.epoch),
      treeHash: text(groupContext.treeHash),
      authenticator: text(keySchedule.epochAuthenticator),
      exporter: text(await mlsExporter(keySchedule.exporterSecret, "interop", context, 32, me.suite)),
      members,
      leaf: privatePath.leafIndex,
    };
  },
};

// answer carries out one request; whatever the library throws is the error of that request.
async function answer(line) {
  try {
    const request = JSON.parse(line);
    const run = Object.hasOwn(operations, request.op) ? operations[request.op] : undefined;
    if (run === undefined) return { error: "unsupported" };
    return { ok: (await run(request)) ?? {} };
  } catch (error) {
    if (error instanceof Unsupported) return { error: `unsupported: ${error.message}` };
    return { error: `${error?.name}: ${error?.message}` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(line)) + "\n");
}
