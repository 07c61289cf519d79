//go:build !mls_suite1

package mls

import (
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/sha256"
	"crypto/sha3"

	"golang.org/x/crypto/chacha20poly1305"
)

// suiteXWing is what OpenMLS has under its number. It is never modified. Others number their suites with X-Wing
// otherwise, ts-mls among them, and give this number to another: hence it is provisional.
var suiteXWing = &suite{
	id:          XWingChaCha20Poly1305SHA256Ed25519,
	provisional: true,
	kem:         hpke.MLKEM768X25519(),
	kdf:         hpke.HKDFSHA256(),
	aead:        hpke.ChaCha20Poly1305(),
	newHash:     sha256.New,
	hashSize:    sha256.Size,
	keySize:     chacha20poly1305.KeySize,
	nonceSize:   chacha20poly1305.NonceSize,
	newAEAD:     chacha20poly1305.New,
	derive:      deriveXWing,
	weakKey:     weakXWing,
	signature:   schemeEd25519,
}

// deriveXWing is DeriveKeyPair as draft-connolly-cfrg-xwing-kem-06 has it: the seed of the key is a plain hash of the
// input. draft-ietf-hpke-pq, which crypto/hpke follows, has the same KEM with a labelled derivation instead; a suite
// that is registered one day is likely to take that.
func deriveXWing(secret []byte) (hpke.PrivateKey, error) {
	return hpke.MLKEM768X25519().NewPrivateKey(sha3.SumSHAKE256(secret, 32))
}

// weakXWing looks at the half that is an X25519 key; the other half has no keys that parse and fail.
func weakXWing(public []byte) bool {
	return lowOrderX25519(public[mlkem.EncapsulationKeySize768:])
}
