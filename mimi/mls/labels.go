package mls

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

const labelPrefix = "MLS 1.0 "

// KeyPackageRef identifies a KeyPackage by hash.
type KeyPackageRef []byte

// ProposalRef identifies a proposal by the hash of the AuthenticatedContent that carried it.
type ProposalRef []byte

// refHash computes a hash reference.
//
// RFC 9420, Section 5.2: labels of references carry the prefix in full.
func (s *suite) refHash(label string, value []byte) ([]byte, error) {
	data, err := labelled(label, value)
	if err != nil {
		return nil, err
	}
	return s.hash(data), nil
}

// labelled encodes { opaque label<V>; opaque content<V>; }, the input of references, signatures and encryption.
func labelled(label string, content []byte) ([]byte, error) {
	buf := make([]byte, 0, syntax.VectorSize(len(label))+syntax.VectorSize(len(content)))
	b := cryptobyte.NewBuilder(buf)
	syntax.AddVector(b, []byte(label))
	syntax.AddVector(b, content)
	return b.Bytes()
}

// SignWithLabel signs content under a label, to which "MLS 1.0 " is prepended.
//
// RFC 9420, Section 5.1.2
func (k *SignatureKey) SignWithLabel(label string, content []byte) ([]byte, error) {
	data, err := labelled(labelPrefix+label, content)
	if err != nil {
		return nil, err
	}
	signature, err := k.sign(data)
	if err != nil {
		return nil, errSignatureKey
	}
	return signature, nil
}

// VerifyWithLabel verifies what SignWithLabel made.
//
// RFC 9420, Section 5.1.2
func VerifyWithLabel(cs CipherSuite, pub SignaturePublicKey, label string, content, signature []byte) error {
	s, err := suiteOf(cs)
	if err != nil {
		return err
	}
	return s.verifyWithLabel(pub, label, content, signature)
}

func (s *suite) verifyWithLabel(pub SignaturePublicKey, label string, content, signature []byte) error {
	data, err := labelled(labelPrefix+label, content)
	if err != nil {
		return err
	}
	if !s.signature.verify(pub, data, signature) {
		return errSignature
	}
	return nil
}

// expandWithLabel derives length octets from secret.
//
// RFC 9420, Section 8
func (s *suite) expandWithLabel(secret []byte, label string, context []byte, length int) []byte {
	buf := make([]byte, 0, 2+syntax.VectorSize(len(labelPrefix)+len(label))+syntax.VectorSize(len(context)))
	b := cryptobyte.NewBuilder(buf)
	b.AddUint16(uint16(length))
	syntax.AddVarint(b, len(labelPrefix)+len(label))
	b.AddBytes([]byte(labelPrefix))
	b.AddBytes([]byte(label))
	syntax.AddVector(b, context)
	return s.expand(secret, mustBytes(b), length)
}

// deriveSecret is expandWithLabel with no context and Nh octets.
//
// RFC 9420, Section 8
func (s *suite) deriveSecret(secret []byte, label string) []byte {
	return s.expandWithLabel(secret, label, nil, s.hashSize)
}

// deriveTreeSecret derives a value of one generation of a ratchet.
//
// RFC 9420, Section 9.1
func (s *suite) deriveTreeSecret(secret []byte, label string, generation uint32, length int) []byte {
	var context [4]byte
	binary.BigEndian.PutUint32(context[:], generation)
	return s.expandWithLabel(secret, label, context[:], length)
}

// HPKECiphertext is a single message encrypted to an HPKE key (RFC 9420, Section 7.6).
type HPKECiphertext struct{ KEMOutput, Ciphertext []byte }

// Marshal writes c.
func (c HPKECiphertext) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, c.KEMOutput)
	syntax.AddVector(b, c.Ciphertext)
	return nil
}

// Unmarshal reads c from the front of s.
func (c *HPKECiphertext) Unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, &c.KEMOutput) || !syntax.ReadVector(s, &c.Ciphertext) {
		return errors.New("mls: malformed HPKE ciphertext")
	}
	return nil
}

// EncryptWithLabel encrypts plaintext to pub. The ephemeral key comes from the platform's generator, which is what
// crypto/hpke uses; rand is there for suites whose KEM takes it.
//
// RFC 9420, Section 5.1.3
func EncryptWithLabel(cs CipherSuite, rand io.Reader, pub HPKEPublicKey, label string, context, plaintext []byte) (HPKECiphertext, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return HPKECiphertext{}, err
	}
	return s.encryptWithLabel(pub, label, context, plaintext)
}

func (s *suite) encryptWithLabel(pub HPKEPublicKey, label string, context, plaintext []byte) (HPKECiphertext, error) {
	public, err := s.kem.NewPublicKey(pub)
	if err != nil {
		return HPKECiphertext{}, errHPKEKey
	}
	info, err := labelled(labelPrefix+label, context)
	if err != nil {
		return HPKECiphertext{}, err
	}
	kemOutput, sender, err := newHPKESender(public, s.kdf, s.aead, info)
	if err != nil {
		return HPKECiphertext{}, errHPKEKey
	}
	ciphertext, err := sender.Seal(nil, plaintext)
	if err != nil {
		return HPKECiphertext{}, errors.New("mls: encryption failed")
	}
	return HPKECiphertext{KEMOutput: kemOutput, Ciphertext: ciphertext}, nil
}

// DecryptWithLabel decrypts what EncryptWithLabel made for k.
//
// RFC 9420, Section 5.1.3
func (k *HPKEPrivateKey) DecryptWithLabel(label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	info, err := labelled(labelPrefix+label, context)
	if err != nil {
		return nil, err
	}
	r, err := newHPKERecipient(ct.KEMOutput, k.key, k.suite.kdf, k.suite.aead, info)
	if err != nil {
		return nil, errDecrypt
	}
	plaintext, err := r.Open(nil, ct.Ciphertext)
	if err != nil {
		return nil, errDecrypt
	}
	return plaintext, nil
}
