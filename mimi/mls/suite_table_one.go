//go:build mls_suite1

package mls

import "kith/mimi/internal/hpke"

// otherSuites is empty: a program that has only ever groups of suite 0x0001, such as the chat client's engine, does
// without the code of the other rows.
var otherSuites [0]*suite

// HPKE is our own, because with that of the library every suite's is linked.
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
	kemOfSuite1  hpkeKEM
	kdfOfSuite1  hpkeKDF
	aeadOfSuite1 hpkeAEAD
)

func newHPKESender(to hpkePublicKey, kdf hpkeKDF, aead hpkeAEAD, info []byte) ([]byte, *hpkeSender, error) {
	return hpke.NewSender(to, kdf, aead, info)
}

func newHPKERecipient(kemOutput []byte, key hpkePrivateKey, kdf hpkeKDF, aead hpkeAEAD, info []byte) (*hpkeRecipient, error) {
	return hpke.NewRecipient(kemOutput, key, kdf, aead, info)
}
