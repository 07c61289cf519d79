//go:build !mls_suite1

package mls

import (
	"crypto/ecdh"
	"crypto/hpke"
)

// otherSuites are the rows of the table beside suite1. It is never modified.
var otherSuites = [...]*suite{suite2, suite3, suite5, suite7, suiteXWing}

// HPKE is that of the library.
type (
	hpkeKEM        = hpke.KEM
	hpkeKDF        = hpke.KDF
	hpkeAEAD       = hpke.AEAD
	hpkePublicKey  = hpke.PublicKey
	hpkePrivateKey = hpke.PrivateKey
	hpkeSender     = hpke.Sender
	hpkeRecipient  = hpke.Recipient
)

// HPKE of suite1.
var (
	kemOfSuite1  = hpke.DHKEM(ecdh.X25519())
	kdfOfSuite1  = hpke.HKDFSHA256()
	aeadOfSuite1 = hpke.AES128GCM()
)

func newHPKESender(to hpkePublicKey, kdf hpkeKDF, aead hpkeAEAD, info []byte) ([]byte, *hpkeSender, error) {
	return hpke.NewSender(to, kdf, aead, info)
}

func newHPKERecipient(kemOutput []byte, key hpkePrivateKey, kdf hpkeKDF, aead hpkeAEAD, info []byte) (*hpkeRecipient, error) {
	return hpke.NewRecipient(kemOutput, key, kdf, aead, info)
}
