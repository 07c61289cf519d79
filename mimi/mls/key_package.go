package mls

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// KeyPackage lets others add a client to a group while it is away (RFC 9420, Section 10).
type KeyPackage struct {
	Version     uint16
	CipherSuite CipherSuite
	InitKey     HPKEPublicKey
	LeafNode    LeafNode
	Extensions  Extensions
	Signature   []byte
}

var (
	errKeyPackage = errors.New("mls: malformed key package")
	errLifetime   = errors.New("mls: key package outside its lifetime")
)

// UnmarshalKeyPackage decodes a KeyPackage that fills data. It verifies nothing.
func UnmarshalKeyPackage(data []byte) (*KeyPackage, error) {
	k := new(KeyPackage)
	if err := unmarshalAll(data, k); err != nil {
		return nil, err
	}
	return k, nil
}

// Bytes encodes k.
func (k *KeyPackage) Bytes() ([]byte, error) { return marshalSized(k, 512) }

// Marshal writes k.
func (k *KeyPackage) Marshal(b *cryptobyte.Builder) error {
	if err := k.marshalUnsigned(b); err != nil {
		return err
	}
	syntax.AddVector(b, k.Signature)
	return nil
}

func (k *KeyPackage) marshalUnsigned(b *cryptobyte.Builder) error {
	b.AddUint16(k.Version)
	b.AddUint16(uint16(k.CipherSuite))
	syntax.AddVector(b, k.InitKey)
	if err := k.LeafNode.Marshal(b); err != nil {
		return err
	}
	return k.Extensions.Marshal(b)
}

// Unmarshal reads k from the front of s.
func (k *KeyPackage) Unmarshal(s *cryptobyte.String) error {
	*k = KeyPackage{}
	if !s.ReadUint16(&k.Version) || !s.ReadUint16((*uint16)(&k.CipherSuite)) ||
		!syntax.ReadVector(s, (*[]byte)(&k.InitKey)) {
		return errKeyPackage
	}
	if err := k.LeafNode.Unmarshal(s); err != nil {
		return err
	}
	if err := k.Extensions.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &k.Signature) {
		return errKeyPackage
	}
	return nil
}

// Ref returns the KeyPackageRef by which a Welcome names k.
//
// RFC 9420, Section 5.2
func (k *KeyPackage) Ref() (KeyPackageRef, error) {
	s, err := suiteOf(k.CipherSuite)
	if err != nil {
		return nil, err
	}
	data, err := k.Bytes()
	if err != nil {
		return nil, err
	}
	return s.refHash("MLS 1.0 KeyPackage Reference", data)
}

// Verify checks everything about k that does not depend on a group: version, suite, keys, both signatures, the leaf's
// capabilities and, unless now is the zero time, the lifetime.
//
// RFC 9420, Section 10.1
func (k *KeyPackage) Verify(now time.Time) error { return k.verify(now, false) }

// verify is Verify; signed says that both signatures are known to be valid.
func (k *KeyPackage) verify(now time.Time, signed bool) error {
	s, err := suiteOf(k.CipherSuite)
	if err != nil {
		return err
	}
	if k.Version != VersionMLS10 {
		return errors.New("mls: unsupported protocol version")
	}
	if k.LeafNode.Source != LeafNodeSourceKeyPackage {
		return errors.New("mls: leaf node of a key package has another source")
	}
	if err := s.checkPublicKey(k.InitKey); err != nil {
		return err
	}
	if bytes.Equal(k.InitKey, k.LeafNode.EncryptionKey) {
		return errors.New("mls: init key and encryption key are the same")
	}
	if err := k.LeafNode.checkContents(s); err != nil {
		return err
	}
	if !now.IsZero() && !k.LeafNode.Lifetime.Contains(now) {
		return errLifetime
	}
	if signed {
		return nil
	}
	return k.verifySignatures(s)
}

func (k *KeyPackage) verifySignatures(s *suite) error {
	if err := k.LeafNode.verifySignature(s, nil, 0); err != nil {
		return err
	}
	tbs, err := k.toBeSigned()
	if err != nil {
		return err
	}
	if s.verifyWithLabel(k.LeafNode.SignatureKey, "KeyPackageTBS", tbs, k.Signature) != nil {
		return errors.New("mls: invalid key package signature")
	}
	return nil
}

func (k *KeyPackage) toBeSigned() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	if err := k.marshalUnsigned(b); err != nil {
		return nil, err
	}
	return b.Bytes()
}

// sign sets the signature.
func (k *KeyPackage) sign(key *SignatureKey) error {
	tbs, err := k.toBeSigned()
	if err != nil {
		return err
	}
	k.Signature, err = key.SignWithLabel("KeyPackageTBS", tbs)
	return err
}

// KeyPackageSecrets is a KeyPackage with its private keys. The client stores it until the KeyPackage has been used,
// then deletes it; one of last resort it keeps until it has published another, or the lifetime is over.
type KeyPackageSecrets struct {
	KeyPackage *KeyPackage
	initKey    *HPKEPrivateKey
	leafKey    *HPKEPrivateKey
}

// NewKeyPackage makes and signs a KeyPackage for c, with fresh init and encryption keys.
func NewKeyPackage(cfg Config, c *Client, lifetime Lifetime, ext Extensions) (*KeyPackageSecrets, error) {
	s, err := cfg.suiteOf(c.SignatureKey.suite.id)
	if err != nil {
		return nil, err
	}
	initKey, err := s.generateKeyPair(cfg.rand())
	if err != nil {
		return nil, err
	}
	leafKey, err := s.generateKeyPair(cfg.rand())
	if err != nil {
		return nil, err
	}
	leaf, err := cfg.leafNode(c, leafKey.Public())
	if err != nil {
		return nil, err
	}
	k := &KeyPackage{
		Version:     VersionMLS10,
		CipherSuite: s.id,
		InitKey:     initKey.Public(),
		LeafNode:    *leaf,
		Extensions:  ext,
	}
	if err := k.finish(&cfg); err != nil {
		return nil, err
	}
	k.LeafNode.Source = LeafNodeSourceKeyPackage
	k.LeafNode.Lifetime = lifetime
	if err := k.LeafNode.sign(c.SignatureKey, nil, 0); err != nil {
		return nil, err
	}
	if err := k.sign(c.SignatureKey); err != nil {
		return nil, err
	}
	return &KeyPackageSecrets{KeyPackage: k, initKey: initKey, leafKey: leafKey}, nil
}

// finish completes the extensions of a KeyPackage of ours.
//
// RFC 9420, Section 10: the capabilities list them
func (k *KeyPackage) finish(cfg *Config) error {
	for _, x := range k.Extensions {
		if !k.LeafNode.Capabilities.supportsExtension(x.Type) {
			return errors.New("mls: key package has an extension that its client does not support")
		}
	}
	if !cfg.GREASE {
		return nil
	}
	g := &greaser{rand: cfg.rand()}
	g.keyPackage(k)
	return g.err
}

// Bytes encodes k with its private keys, for storage.
func (k *KeyPackageSecrets) Bytes() ([]byte, error) {
	initKey, err := k.initKey.bytes()
	if err != nil {
		return nil, err
	}
	leafKey, err := k.leafKey.bytes()
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 640))
	b.AddValue(k.KeyPackage)
	syntax.AddVector(b, initKey)
	syntax.AddVector(b, leafKey)
	return b.Bytes()
}

// UnmarshalKeyPackageSecrets decodes what Bytes returned; the private keys must belong to the public ones.
func UnmarshalKeyPackageSecrets(data []byte) (*KeyPackageSecrets, error) {
	s := cryptobyte.String(data)
	kp := new(KeyPackage)
	if err := kp.Unmarshal(&s); err != nil {
		return nil, err
	}
	var initKey, leafKey []byte
	if !syntax.ReadVector(&s, &initKey) || !syntax.ReadVector(&s, &leafKey) || !s.Empty() {
		return nil, errKeyPackage
	}
	k, err := newKeyPackageSecrets(kp, initKey, leafKey)
	if err != nil {
		return nil, err
	}
	// X25519 ignores some bits of a private key; only the form Bytes writes is read.
	if again, err := k.Bytes(); err != nil || !bytes.Equal(again, data) {
		return nil, errHPKEKey
	}
	return k, nil
}

// newKeyPackageSecrets joins a KeyPackage with its serialised private keys.
func newKeyPackageSecrets(kp *KeyPackage, initKey, leafKey []byte) (*KeyPackageSecrets, error) {
	suite, err := suiteOf(kp.CipherSuite)
	if err != nil {
		return nil, err
	}
	k := &KeyPackageSecrets{KeyPackage: kp}
	if k.initKey, err = suite.parseHPKEKey(initKey); err != nil {
		return nil, err
	}
	if k.leafKey, err = suite.parseHPKEKey(leafKey); err != nil {
		return nil, err
	}
	if !bytes.Equal(k.initKey.public, kp.InitKey) || !bytes.Equal(k.leafKey.public, kp.LeafNode.EncryptionKey) {
		return nil, errHPKEKey
	}
	return k, nil
}

// KeyPackages is a list of KeyPackages as clients publish it: KeyPackage<V>.
type KeyPackages []*KeyPackage

// Bytes encodes the list.
func (l KeyPackages) Bytes() ([]byte, error) {
	var b cryptobyte.Builder
	syntax.AddList(&b, func(b *cryptobyte.Builder) {
		for _, kp := range l {
			b.AddValue(kp)
		}
	})
	return b.Bytes()
}

// UnmarshalKeyPackages decodes a list, which must be all of data.
func UnmarshalKeyPackages(data []byte) (KeyPackages, error) {
	var list cryptobyte.String
	s := cryptobyte.String(data)
	if !syntax.ReadList(&s, &list) || !s.Empty() {
		return nil, errors.New("mls: malformed list of key packages")
	}
	var l KeyPackages
	for !list.Empty() {
		kp := new(KeyPackage)
		if err := kp.Unmarshal(&list); err != nil {
			return nil, err
		}
		l = append(l, kp)
	}
	return l, nil
}
