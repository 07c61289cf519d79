package mls

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// LeafIndex is the position of a leaf in the ratchet tree, counted in leaves.
type LeafIndex uint32

// How a leaf came into the tree (RFC 9420, Section 7.2).
const (
	LeafNodeSourceKeyPackage uint8 = 1
	LeafNodeSourceUpdate     uint8 = 2
	LeafNodeSourceCommit     uint8 = 3
)

// Lifetime bounds the validity of a leaf made for a KeyPackage, in seconds since 1970.
type Lifetime struct{ NotBefore, NotAfter uint64 }

// Contains reports whether now lies within the lifetime, ends included.
func (l Lifetime) Contains(now time.Time) bool {
	t := now.Unix()
	return t >= 0 && uint64(t) >= l.NotBefore && uint64(t) <= l.NotAfter
}

// exceeds reports whether the lifetime is longer than a bound. One that ends before it begins is no lifetime at all.
func (l Lifetime) exceeds(bound time.Duration) bool {
	return l.NotAfter < l.NotBefore || l.NotAfter-l.NotBefore > uint64(bound/time.Second)
}

// LeafNode describes one member (RFC 9420, Section 7.2).
type LeafNode struct {
	EncryptionKey HPKEPublicKey
	SignatureKey  SignaturePublicKey
	Credential    Credential
	Capabilities  Capabilities
	Source        uint8
	Lifetime      Lifetime // Source key_package
	ParentHash    []byte   // Source commit
	Extensions    Extensions
	Signature     []byte
}

var (
	errLeafNode      = errors.New("mls: malformed leaf node")
	errLeafSignature = errors.New("mls: invalid leaf signature")
)

// Marshal writes l.
func (l *LeafNode) Marshal(b *cryptobyte.Builder) error {
	if err := l.marshalUnsigned(b); err != nil {
		return err
	}
	syntax.AddVector(b, l.Signature)
	return nil
}

func (l *LeafNode) marshalUnsigned(b *cryptobyte.Builder) error {
	syntax.AddVector(b, l.EncryptionKey)
	syntax.AddVector(b, l.SignatureKey)
	b.AddValue(l.Credential)
	b.AddValue(l.Capabilities)
	b.AddUint8(l.Source)
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		b.AddUint64(l.Lifetime.NotBefore)
		b.AddUint64(l.Lifetime.NotAfter)
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		syntax.AddVector(b, l.ParentHash)
	default:
		return errLeafNode
	}
	return l.Extensions.Marshal(b)
}

// Unmarshal reads l from the front of s.
func (l *LeafNode) Unmarshal(s *cryptobyte.String) error {
	*l = LeafNode{}
	if !syntax.ReadVector(s, (*[]byte)(&l.EncryptionKey)) || !syntax.ReadVector(s, (*[]byte)(&l.SignatureKey)) {
		return errLeafNode
	}
	if err := l.Credential.Unmarshal(s); err != nil {
		return err
	}
	if err := l.Capabilities.Unmarshal(s); err != nil {
		return err
	}
	if !s.ReadUint8(&l.Source) || !l.unmarshalSource(s) {
		return errLeafNode
	}
	if err := l.Extensions.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &l.Signature) {
		return errLeafNode
	}
	return nil
}

func (l *LeafNode) unmarshalSource(s *cryptobyte.String) bool {
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		return s.ReadUint64(&l.Lifetime.NotBefore) && s.ReadUint64(&l.Lifetime.NotAfter)
	case LeafNodeSourceUpdate:
		return true
	case LeafNodeSourceCommit:
		return syntax.ReadVector(s, &l.ParentHash)
	default:
		return false
	}
}

// toBeSigned is LeafNodeTBS; groupID and leaf count only for leaves made within a group.
func (l *LeafNode) toBeSigned(groupID []byte, leaf LeafIndex) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	if err := l.marshalUnsigned(b); err != nil {
		return nil, err
	}
	// RFC 9420, Section 7.2: update and commit leaves are bound to their group and place.
	if l.Source != LeafNodeSourceKeyPackage {
		syntax.AddVector(b, groupID)
		b.AddUint32(uint32(leaf))
	}
	return b.Bytes()
}

// sign sets the signature. groupID and leaf are ignored for Source key_package.
func (l *LeafNode) sign(key *SignatureKey, groupID []byte, leaf LeafIndex) error {
	tbs, err := l.toBeSigned(groupID, leaf)
	if err != nil {
		return err
	}
	l.Signature, err = key.SignWithLabel("LeafNodeTBS", tbs)
	return err
}

// verifySignature checks the signature in the place where the leaf was found.
//
// RFC 9420, Section 7.3
func (l *LeafNode) verifySignature(s *suite, groupID []byte, leaf LeafIndex) error {
	tbs, err := l.toBeSigned(groupID, leaf)
	if err != nil {
		return err
	}
	if s.verifyWithLabel(l.SignatureKey, "LeafNodeTBS", tbs, l.Signature) != nil {
		return errLeafSignature
	}
	return nil
}

// checkContents verifies what a leaf says about itself: keys of the suite, and that it supports the version, the
// suite, its own credential type and its own extensions.
//
// RFC 9420, Section 7.3
func (l *LeafNode) checkContents(s *suite) error {
	if err := s.checkPublicKey(l.EncryptionKey); err != nil {
		return err
	}
	if !s.signature.check(l.SignatureKey) {
		return errSignatureKey
	}
	if !containsVersion(l.Capabilities.Versions) {
		return errors.New("mls: leaf does not support the protocol version")
	}
	if !containsSuite(l.Capabilities.CipherSuites, s.id) {
		return errors.New("mls: leaf does not support the cipher suite")
	}
	if !l.Capabilities.supportsCredential(l.Credential.Type) {
		return errors.New("mls: leaf does not support its own credential")
	}
	if !l.Capabilities.supportsExtensions(l.Extensions.types()) {
		return errors.New("mls: leaf does not support its own extension")
	}
	return nil
}

func containsVersion(list []uint16) bool {
	for _, v := range list {
		if v == VersionMLS10 {
			return true
		}
	}
	return false
}

func containsSuite(list []CipherSuite, cs CipherSuite) bool {
	for _, v := range list {
		if v == cs {
			return true
		}
	}
	return false
}

// Equal reports whether both leaves have the same encoding.
func (l *LeafNode) Equal(o *LeafNode) bool {
	a, errA := marshal(l)
	b, errB := marshal(o)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
