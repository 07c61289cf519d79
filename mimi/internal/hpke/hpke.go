// Package hpke is Hybrid Public Key Encryption (RFC 9180) in base mode with the algorithms of MLS cipher suite 0x0001
// and no others: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM.
//
// It offers what package mls uses of crypto/hpke, under the same names, to programs that shall be small. crypto/hpke
// has all its KEMs linked as soon as one is used: the NIST curves with their tables and ML-KEM, more than a tenth of
// the chat client's engine.
package hpke

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"slices"
)

// Of RFC 9180, Section 7.
const (
	kemID     = 0x0020
	kdfID     = 0x0001
	aeadID    = 0x0001
	keySize   = 16 // Nk
	nonceSize = 12 // Nn

	kemSuite  = "KEM\x00\x20"
	hpkeSuite = "HPKE\x00\x20\x00\x01\x00\x01"
)

var (
	errExported = errors.New("hpke: exported secret too long")
	errMessages = errors.New("hpke: too many messages")
)

// KEM is DHKEM(X25519, HKDF-SHA256).
type KEM struct{}

// KDF is HKDF-SHA256.
type KDF struct{}

// AEAD is AES-128-GCM.
type AEAD struct{}

// ID returns the number of the KEM.
func (KEM) ID() uint16 { return kemID }

// ID returns the number of the KDF.
func (KDF) ID() uint16 { return kdfID }

// ID returns the number of the AEAD.
func (AEAD) ID() uint16 { return aeadID }

// PublicKey is the key of a recipient.
type PublicKey struct{ key *ecdh.PublicKey }

// PrivateKey is the private key of a recipient.
type PrivateKey struct{ key *ecdh.PrivateKey }

// NewPublicKey is DeserializePublicKey.
func (KEM) NewPublicKey(octets []byte) (PublicKey, error) {
	key, err := ecdh.X25519().NewPublicKey(octets)
	return PublicKey{key}, err
}

// NewPrivateKey is DeserializePrivateKey.
func (KEM) NewPrivateKey(octets []byte) (PrivateKey, error) {
	key, err := ecdh.X25519().NewPrivateKey(octets)
	return PrivateKey{key}, err
}

// DeriveKeyPair makes the key pair that belongs to key material.
//
// RFC 9180, Section 7.1.3
func (k KEM) DeriveKeyPair(ikm []byte) (PrivateKey, error) {
	prk, err := extract(kemSuite, nil, "dkp_prk", ikm)
	if err != nil {
		return PrivateKey{}, err
	}
	defer clear(prk)
	secret, err := expand(kemSuite, prk, "sk", nil, 32)
	if err != nil {
		return PrivateKey{}, err
	}
	defer clear(secret)
	return k.NewPrivateKey(secret)
}

// Bytes is SerializePublicKey.
func (k PublicKey) Bytes() []byte { return k.key.Bytes() }

// PublicKey returns the public key.
func (k PrivateKey) PublicKey() PublicKey { return PublicKey{k.key.PublicKey()} }

// Bytes is SerializePrivateKey.
func (k PrivateKey) Bytes() ([]byte, error) {
	b := k.key.Bytes()
	// RFC 9180, Section 7.1.2: the scalar is clamped
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return b, nil
}

// extract is LabeledExtract.
//
// RFC 9180, Section 4
func extract(suite string, salt []byte, label string, ikm []byte) ([]byte, error) {
	labeled := slices.Concat([]byte("HPKE-v1"+suite+label), ikm)
	defer clear(labeled)
	return hkdf.Extract(newHash, labeled, salt)
}

// expand is LabeledExpand.
//
// RFC 9180, Section 4
func expand(suite string, prk []byte, label string, info []byte, length int) ([]byte, error) {
	labeled := binary.BigEndian.AppendUint16(nil, uint16(length))
	labeled = append(append(labeled, "HPKE-v1"+suite+label...), info...)
	return hkdf.Expand(newHash, prk, string(labeled), length)
}

func newHash() hash.Hash { return sha256.New() }

// agree is what Encap and Decap share: the exchange, and ExtractAndExpand. A result of zero is an error.
//
// RFC 9180, Sections 4.1 and 7.1.4
func agree(own *ecdh.PrivateKey, other *ecdh.PublicKey, context []byte) ([]byte, error) {
	dh, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	defer clear(dh)
	prk, err := extract(kemSuite, nil, "eae_prk", dh)
	if err != nil {
		return nil, err
	}
	defer clear(prk)
	return expand(kemSuite, prk, "shared_secret", context, sha256.Size)
}

// schedule is what sender and recipient both have.
type schedule struct {
	aead      cipher.AEAD
	baseNonce []byte
	exporter  []byte
	sequence  uint64
}

// newSchedule is KeySchedule in base mode. It forgets the shared secret.
//
// RFC 9180, Section 5.1
func newSchedule(sharedSecret, info []byte) (*schedule, error) {
	defer clear(sharedSecret)
	pskHash, err := extract(hpkeSuite, nil, "psk_id_hash", nil)
	if err != nil {
		return nil, err
	}
	infoHash, err := extract(hpkeSuite, nil, "info_hash", info)
	if err != nil {
		return nil, err
	}
	context := slices.Concat([]byte{0}, pskHash, infoHash) // mode_base
	secret, err := extract(hpkeSuite, sharedSecret, "secret", nil)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	var s schedule
	key, err := expand(hpkeSuite, secret, "key", context, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if s.baseNonce, err = expand(hpkeSuite, secret, "base_nonce", context, nonceSize); err != nil {
		return nil, err
	}
	if s.exporter, err = expand(hpkeSuite, secret, "exp", context, sha256.Size); err != nil {
		return nil, err
	}
	s.aead, err = newAEAD(key)
	return &s, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is ComputeNonce.
//
// RFC 9180, Section 5.2
func (s *schedule) nonce() ([]byte, error) {
	if s.sequence == 1<<64-1 {
		return nil, errMessages
	}
	nonce := make([]byte, nonceSize)
	binary.BigEndian.PutUint64(nonce[nonceSize-8:], s.sequence)
	for i, b := range s.baseNonce {
		nonce[i] ^= b
	}
	return nonce, nil
}

// Export is Context.Export.
//
// RFC 9180, Section 5.3
func (s *schedule) Export(context string, length int) ([]byte, error) {
	if length < 0 || length > 255*sha256.Size {
		return nil, errExported
	}
	return expand(hpkeSuite, s.exporter, "sec", []byte(context), length)
}

// Sender encrypts to one recipient.
type Sender struct{ schedule }

// Recipient decrypts from one sender.
type Recipient struct{ schedule }

// NewSender is SetupBaseS.
//
// RFC 9180, Section 5.1.1
func NewSender(to PublicKey, _ KDF, _ AEAD, info []byte) (enc []byte, sender *Sender, err error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	enc = ephemeral.PublicKey().Bytes()
	sender, err = newSender(ephemeral, to, info)
	return enc, sender, err
}

func newSender(ephemeral *ecdh.PrivateKey, to PublicKey, info []byte) (*Sender, error) {
	secret, err := agree(ephemeral, to.key, slices.Concat(ephemeral.PublicKey().Bytes(), to.Bytes()))
	if err != nil {
		return nil, err
	}
	s, err := newSchedule(secret, info)
	if err != nil {
		return nil, err
	}
	return &Sender{*s}, nil
}

// NewRecipient is SetupBaseR.
//
// RFC 9180, Section 5.1.1
func NewRecipient(enc []byte, key PrivateKey, _ KDF, _ AEAD, info []byte) (*Recipient, error) {
	ephemeral, err := ecdh.X25519().NewPublicKey(enc)
	if err != nil {
		return nil, err
	}
	secret, err := agree(key.key, ephemeral, slices.Concat(enc, key.PublicKey().Bytes()))
	if err != nil {
		return nil, err
	}
	s, err := newSchedule(secret, info)
	if err != nil {
		return nil, err
	}
	return &Recipient{*s}, nil
}

// Seal encrypts the next message.
func (s *Sender) Seal(aad, plaintext []byte) ([]byte, error) {
	nonce, err := s.nonce()
	if err != nil {
		return nil, err
	}
	s.sequence++
	return s.aead.Seal(nil, nonce, plaintext, aad), nil
}

// Open decrypts the next message. One that does not decrypt is not counted.
func (r *Recipient) Open(aad, ciphertext []byte) ([]byte, error) {
	nonce, err := r.nonce()
	if err != nil {
		return nil, err
	}
	plaintext, err := r.aead.Open(nil, nonce, ciphertext, aad)
	if err == nil {
		r.sequence++
	}
	return plaintext, err
}
