//go:build !mls_suite1

package mls

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite3 is never modified.
//
// RFC 9420, Section 17.1
var suite3 = &suite{
	id:        X25519ChaCha20Poly1305SHA256Ed25519,
	kem:       hpke.DHKEM(ecdh.X25519()),
	kdf:       hpke.HKDFSHA256(),
	aead:      hpke.ChaCha20Poly1305(),
	newHash:   sha256.New,
	hashSize:  sha256.Size,
	keySize:   chacha20poly1305.KeySize,
	nonceSize: chacha20poly1305.NonceSize,
	newAEAD:   chacha20poly1305.New,
	weakKey:   lowOrderX25519,
	x25519:    true,
	signature: schemeEd25519,
}
