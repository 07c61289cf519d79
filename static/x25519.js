// Key exchanges for the engine. WebCrypto does them in parallel and many times as fast as WebAssembly; one call for all
// spares the engine a thousand crossings.
(() => {
  'use strict';

  const size = 32; // of public keys and shared secrets

  /**
   * Makes a fresh key pair, whose private key never leaves WebCrypto, and the exchange with one public key.
   * @param {Uint8Array} publicKey 32 octets
   * @param {Uint8Array} result 64 octets: takes the ephemeral public key and the shared secret
   */
  async function exchange(publicKey, result) {
    const { subtle } = crypto;
    const [ephemeral, recipient] = await Promise.all([
      subtle.generateKey('X25519', false, ['deriveBits']),
      subtle.importKey('raw', publicKey, 'X25519', false, []),
    ]);
    const [encoded, secret] = await Promise.all([
      subtle.exportKey('raw', ephemeral.publicKey),
      subtle.deriveBits({ name: 'X25519', public: recipient }, ephemeral.privateKey, 8 * size),
    ]);
    const shared = new Uint8Array(secret);
    result.set(new Uint8Array(encoded));
    result.set(shared, size);
    shared.fill(0);
  }

  /**
   * @param {Uint8Array} publicKeys 32 octets each
   * @returns {Promise<Uint8Array>} in the same order 64 octets each, which the engine clears
   */
  globalThis.kithExchangeX25519 = async (publicKeys) => {
    const results = new Uint8Array(2 * publicKeys.length);
    const all = [];
    for (let at = 0; at < publicKeys.length; at += size) {
      all.push(exchange(publicKeys.subarray(at, at + size), results.subarray(2 * at, 2 * (at + size))));
    }
    await Promise.all(all);
    return results;
  };
})();
