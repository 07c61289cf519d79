package mls

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// PrivateMessage is a signed and encrypted message (RFC 9420, Section 6.3).
type PrivateMessage struct {
	groupID             []byte
	epoch               uint64
	contentType         ContentType
	authenticatedData   []byte
	encryptedSenderData []byte
	ciphertext          []byte
}

// Marshal writes m.
func (m *PrivateMessage) Marshal(b *cryptobyte.Builder) error {
	m.marshalHeader(b)
	syntax.AddVector(b, m.authenticatedData)
	syntax.AddVector(b, m.encryptedSenderData)
	syntax.AddVector(b, m.ciphertext)
	return nil
}

// marshalHeader writes the fields that SenderDataAAD consists of.
func (m *PrivateMessage) marshalHeader(b *cryptobyte.Builder) {
	syntax.AddVector(b, m.groupID)
	b.AddUint64(m.epoch)
	b.AddUint8(uint8(m.contentType))
}

// Unmarshal reads m from the front of s.
func (m *PrivateMessage) Unmarshal(s *cryptobyte.String) error {
	*m = PrivateMessage{}
	if !syntax.ReadVector(s, &m.groupID) || !s.ReadUint64(&m.epoch) || !s.ReadUint8((*uint8)(&m.contentType)) ||
		!m.contentType.valid() || !syntax.ReadVector(s, &m.authenticatedData) ||
		!syntax.ReadVector(s, &m.encryptedSenderData) || !syntax.ReadVector(s, &m.ciphertext) {
		return errFraming
	}
	return nil
}

// senderDataAAD is SenderDataAAD and contentAAD is PrivateContentAAD.
//
// RFC 9420, Sections 6.3.1 and 6.3.2
func (m *PrivateMessage) senderDataAAD() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(m.groupID)+16))
	m.marshalHeader(b)
	return b.Bytes()
}

func (m *PrivateMessage) contentAAD() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(m.groupID)+len(m.authenticatedData)+24))
	m.marshalHeader(b)
	syntax.AddVector(b, m.authenticatedData)
	return b.Bytes()
}

// senderData is SenderData: who sent the message and with which key.
type senderData struct {
	leaf       LeafIndex
	generation uint32
	reuseGuard [4]byte
}

const senderDataSize = 12

func (d *senderData) bytes() []byte {
	out := make([]byte, senderDataSize)
	binary.BigEndian.PutUint32(out, uint32(d.leaf))
	binary.BigEndian.PutUint32(out[4:], d.generation)
	copy(out[8:], d.reuseGuard[:])
	return out
}

// senderDataKey derives the key that encrypts the sender data from a sample of the ciphertext.
//
// RFC 9420, Section 6.3.2
func (s *suite) senderDataKey(secret, ciphertext []byte) (key, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), s.hashSize)]
	return s.expandWithLabel(secret, "key", sample, s.keySize), s.expandWithLabel(secret, "nonce", sample, s.nonceSize)
}

// sealSenderData encrypts the sender data; the other fields of m must be set.
func (e *epochSecrets) sealSenderData(m *PrivateMessage, d *senderData) error {
	key, nonce := e.suite.senderDataKey(e.senderData, m.ciphertext)
	aead, err := e.suite.newAEAD(key)
	if err != nil {
		return errors.New("mls: encryption failed")
	}
	aad, err := m.senderDataAAD()
	if err != nil {
		return err
	}
	m.encryptedSenderData = aead.Seal(nil, nonce, d.bytes(), aad)
	return nil
}

// openSenderData decrypts the sender data. That the leaf is there and not blank is for the caller to check.
func (e *epochSecrets) openSenderData(m *PrivateMessage) (*senderData, error) {
	key, nonce := e.suite.senderDataKey(e.senderData, m.ciphertext)
	aead, err := e.suite.newAEAD(key)
	if err != nil {
		return nil, errDecrypt
	}
	aad, err := m.senderDataAAD()
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, nonce, m.encryptedSenderData, aad)
	if err != nil || len(data) != senderDataSize {
		return nil, errDecrypt
	}
	return &senderData{
		leaf:       LeafIndex(binary.BigEndian.Uint32(data)),
		generation: binary.BigEndian.Uint32(data[4:]),
		reuseGuard: [4]byte(data[8:]),
	}, nil
}

// guarded is the nonce of a key with the reuse guard applied.
//
// RFC 9420, Section 6.3.1
func (k *messageKey) guarded(guard [4]byte) []byte {
	nonce := append([]byte(nil), k.nonce...)
	subtle.XORBytes(nonce, nonce, guard[:])
	return nonce
}

// protectPrivate encrypts signed content of a member. The key is consumed whatever happens next.
//
// RFC 9420, Section 6.3
func (f *framing) protectPrivate(e *epochSecrets, rand io.Reader, a *authenticatedContent) (*PrivateMessage, error) {
	c := &a.content
	if a.wireFormat != WireFormatPrivateMessage || c.sender.Type != SenderMember {
		return nil, errSender
	}
	plaintext, err := a.privateContent(e.suite)
	if err != nil {
		return nil, err
	}
	m := &PrivateMessage{groupID: c.groupID, epoch: c.epoch, contentType: c.contentType, authenticatedData: c.authenticatedData}
	aad, err := m.contentAAD()
	if err != nil {
		return nil, err
	}
	d := &senderData{leaf: c.sender.Leaf}
	if _, err := io.ReadFull(rand, d.reuseGuard[:]); err != nil {
		return nil, errors.New("mls: no randomness")
	}
	key, err := e.tree.next(c.sender.Leaf, ratchetOf(c.contentType))
	if err != nil {
		return nil, err
	}
	d.generation = key.generation
	aead, err := e.suite.newAEAD(key.key)
	if err != nil {
		return nil, errors.New("mls: encryption failed")
	}
	m.ciphertext = aead.Seal(plaintext[:0], key.guarded(d.reuseGuard), plaintext, aad)
	clear(key.key)
	return m, e.sealSenderData(m, d)
}

// privateContent is PrivateMessageContent: body, authentication and padding, with room for the AEAD's tag.
func (a *authenticatedContent) privateContent(s *suite) ([]byte, error) {
	if err := a.content.encodeBody(); err != nil {
		return nil, err
	}
	size := len(a.content.body) + syntax.VectorSize(len(a.auth.signature))
	if a.content.contentType == ContentTypeCommit {
		size += syntax.VectorSize(len(a.auth.confirmationTag))
	}
	padded := paddedSize(size)
	b := cryptobyte.NewBuilder(make([]byte, 0, padded+32))
	b.AddBytes(a.content.body)
	a.auth.marshal(b, a.content.contentType)
	out, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return append(out, make([]byte, padded-len(out))...), nil
}

// paddedSize rounds a length up to one of few: multiples of 32 for short messages, then numbers whose significant
// bits are as many as their exponent has (PADMÉ), which costs at most an eighth.
func paddedSize(n int) int {
	step := 32
	if n > 0 {
		exponent := bits.Len(uint(n)) - 1
		step = max(step, 1<<max(0, exponent-bits.Len(uint(exponent))))
	}
	return (n + step - 1) / step * step
}

// unprotectPrivate decrypts and verifies a PrivateMessage. keyOf returns the signature key of a leaf, or refuses it
// (blank, unknown, our own). The ratchet advances only after everything has been verified: a forged message costs
// its receiver no key.
//
// RFC 9420, Section 6.3
func (f *framing) unprotectPrivate(e *epochSecrets, m *PrivateMessage, keyOf func(LeafIndex) (SignaturePublicKey, error)) (*authenticatedContent, error) {
	a, use, err := f.openPrivate(e, m, keyOf)
	if err != nil {
		return nil, err
	}
	use.spend()
	return a, nil
}

// openPrivate is unprotectPrivate before the key is consumed, which is for the caller to do.
func (f *framing) openPrivate(e *epochSecrets, m *PrivateMessage, keyOf func(LeafIndex) (SignaturePublicKey, error)) (*authenticatedContent, *keyUse, error) {
	if err := f.check(m.groupID, m.epoch); err != nil {
		return nil, nil, err
	}
	d, err := e.openSenderData(m)
	if err != nil {
		return nil, nil, err
	}
	signatureKey, err := keyOf(d.leaf)
	if err != nil {
		return nil, nil, err
	}
	use, err := e.tree.find(d.leaf, ratchetOf(m.contentType), d.generation)
	if err != nil {
		return nil, nil, err
	}
	plaintext, err := e.openContent(m, &use.messageKey, d.reuseGuard)
	if err != nil {
		return nil, nil, err
	}
	a, err := m.decodeContent(d.leaf, plaintext)
	if err != nil {
		return nil, nil, err
	}
	tbs, err := f.toBeSigned(a.wireFormat, &a.content)
	if err != nil {
		return nil, nil, err
	}
	if err := f.verifyContent(signatureKey, tbs, a); err != nil {
		return nil, nil, err
	}
	a.content.generation = d.generation
	return a, use, nil
}

// openContent decrypts the content with a message key.
func (e *epochSecrets) openContent(m *PrivateMessage, key *messageKey, guard [4]byte) ([]byte, error) {
	aead, err := e.suite.newAEAD(key.key)
	if err != nil {
		return nil, errDecrypt
	}
	aad, err := m.contentAAD()
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, key.guarded(guard), m.ciphertext, aad)
	if err != nil {
		return nil, errDecrypt
	}
	return plaintext, nil
}

// decodeContent decodes PrivateMessageContent.
//
// RFC 9420, Section 6.3.1: padding is all zero, or the message is malformed.
func (m *PrivateMessage) decodeContent(leaf LeafIndex, plaintext []byte) (*authenticatedContent, error) {
	a := &authenticatedContent{
		wireFormat: WireFormatPrivateMessage,
		content: framedContent{
			groupID:           m.groupID,
			epoch:             m.epoch,
			sender:            Sender{Type: SenderMember, Leaf: leaf},
			authenticatedData: m.authenticatedData,
			contentType:       m.contentType,
		},
	}
	s := cryptobyte.String(plaintext)
	if err := a.content.decodeBody(&s); err != nil {
		return nil, err
	}
	if err := a.auth.unmarshal(&s, m.contentType); err != nil {
		return nil, err
	}
	if !allZero(s) {
		return nil, errors.New("mls: padding is not zero")
	}
	return a, nil
}
