package mls

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// EncryptedGroupSecrets is the part of a Welcome for one new member.
type EncryptedGroupSecrets struct {
	NewMember KeyPackageRef
	Secrets   HPKECiphertext
}

func (x *EncryptedGroupSecrets) unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, (*[]byte)(&x.NewMember)) {
		return errWelcome
	}
	return x.Secrets.Unmarshal(s)
}

// Welcome tells new members what they need to join (RFC 9420, Section 12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

var errWelcome = errors.New("mls: malformed welcome")

// UnmarshalWelcome decodes a bare Welcome that fills data.
func UnmarshalWelcome(data []byte) (*Welcome, error) {
	w := new(Welcome)
	if err := unmarshalAll(data, w); err != nil {
		return nil, err
	}
	return w, nil
}

// Bytes encodes w.
func (w *Welcome) Bytes() ([]byte, error) { return marshalSized(w, 1024) }

// Marshal writes w.
func (w *Welcome) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(uint16(w.CipherSuite))
	size := 0
	for i := range w.Secrets {
		x := &w.Secrets[i]
		size += syntax.VectorSize(len(x.NewMember)) + syntax.VectorSize(len(x.Secrets.KEMOutput)) +
			syntax.VectorSize(len(x.Secrets.Ciphertext))
	}
	syntax.AddVarint(b, size)
	for i := range w.Secrets {
		syntax.AddVector(b, w.Secrets[i].NewMember)
		b.AddValue(w.Secrets[i].Secrets)
	}
	syntax.AddVector(b, w.EncryptedGroupInfo)
	return nil
}

// Unmarshal reads w from the front of s.
func (w *Welcome) Unmarshal(s *cryptobyte.String) error {
	*w = Welcome{}
	var list cryptobyte.String
	if !s.ReadUint16((*uint16)(&w.CipherSuite)) || !syntax.ReadList(s, &list) {
		return errWelcome
	}
	// counted first: entries are short and take many times their length, so that a list that grows is mostly copied
	var n int
	for rest := list; !rest.Empty(); n++ {
		if err := new(EncryptedGroupSecrets).unmarshal(&rest); err != nil {
			return err
		}
	}
	for w.Secrets = slices.Grow(w.Secrets, n); !list.Empty(); {
		var x EncryptedGroupSecrets
		if err := x.unmarshal(&list); err != nil {
			return err
		}
		w.Secrets = append(w.Secrets, x)
	}
	if !syntax.ReadVector(s, &w.EncryptedGroupInfo) {
		return errWelcome
	}
	return nil
}

// groupSecrets is what a Welcome encrypts to one new member.
type groupSecrets struct {
	joinerSecret []byte
	pathSecret   []byte // nil if absent
	psks         []PreSharedKeyID
}

func (g *groupSecrets) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, g.joinerSecret)
	syntax.AddOptional(b, g.pathSecret != nil)
	if g.pathSecret != nil {
		syntax.AddVector(b, g.pathSecret)
	}
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range g.psks {
			b.AddValue(&g.psks[i])
		}
	})
	return nil
}

func (g *groupSecrets) Unmarshal(s *cryptobyte.String) error {
	*g = groupSecrets{}
	var hasPath bool
	if !syntax.ReadVector(s, &g.joinerSecret) || !syntax.ReadOptional(s, &hasPath) {
		return errWelcome
	}
	if hasPath && !syntax.ReadVector(s, &g.pathSecret) {
		return errWelcome
	}
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errWelcome
	}
	for !list.Empty() {
		var p PreSharedKeyID
		if err := p.Unmarshal(&list); err != nil {
			return err
		}
		g.psks = append(g.psks, p)
	}
	return nil
}

// find returns the entry for a KeyPackage.
func (w *Welcome) find(ref KeyPackageRef) (*EncryptedGroupSecrets, bool) {
	for i := range w.Secrets {
		if bytes.Equal(w.Secrets[i].NewMember, ref) {
			return &w.Secrets[i], true
		}
	}
	return nil, false
}

// newMember is somebody for whom a Welcome is made.
type newMember struct {
	keyPackage *KeyPackage
	secrets    *groupSecrets
}

// addMembers encrypts the secrets of the new members; EncryptedGroupInfo must be set.
//
// RFC 9420, Section 12.4.3.1
func (w *Welcome) addMembers(cfg *Config, s *suite, members []newMember) error {
	to, refs := make([]recipient, len(members)), make([]KeyPackageRef, len(members))
	for i, m := range members {
		var err error
		if refs[i], err = m.keyPackage.Ref(); err != nil {
			return err
		}
		plaintext, err := marshal(m.secrets)
		if err != nil {
			return err
		}
		defer clear(plaintext)
		to[i] = recipient{m.keyPackage.InitKey, plaintext}
	}
	list, err := s.encryptToAll(cfg, to, "Welcome", w.EncryptedGroupInfo)
	if err != nil {
		return err
	}
	for i, ct := range list {
		w.Secrets = append(w.Secrets, EncryptedGroupSecrets{NewMember: refs[i], Secrets: ct})
	}
	return nil
}

// openSecrets decrypts the entry for a KeyPackage of ours.
//
// RFC 9420, Section 12.4.3.1
func (w *Welcome) openSecrets(k *KeyPackageSecrets) (*groupSecrets, error) {
	if w.CipherSuite != k.KeyPackage.CipherSuite {
		return nil, errors.New("mls: welcome of another cipher suite")
	}
	ref, err := k.KeyPackage.Ref()
	if err != nil {
		return nil, err
	}
	entry, ok := w.find(ref)
	if !ok {
		return nil, errors.New("mls: welcome is not for this key package")
	}
	plaintext, err := k.initKey.DecryptWithLabel("Welcome", w.EncryptedGroupInfo, entry.Secrets)
	if err != nil {
		return nil, err
	}
	g := new(groupSecrets)
	if err := unmarshalAll(plaintext, g); err != nil {
		return nil, err
	}
	if len(g.joinerSecret) != k.initKey.suite.hashSize {
		return nil, errWelcome
	}
	return g, nil
}

// sealGroupInfo encrypts the GroupInfo of a Welcome.
func (s *suite) sealGroupInfo(joinerSecret, pskSecret []byte, gi *GroupInfo) ([]byte, error) {
	plaintext, err := gi.Bytes()
	if err != nil {
		return nil, err
	}
	key, nonce := s.welcomeKey(joinerSecret, pskSecret)
	aead, err := s.newAEAD(key)
	if err != nil {
		return nil, errors.New("mls: encryption failed")
	}
	return aead.Seal(nil, nonce, plaintext, nil), nil
}

// openGroupInfo decrypts the GroupInfo of a Welcome. Its signature is for the caller to verify: that needs the tree.
func (w *Welcome) openGroupInfo(s *suite, joinerSecret, pskSecret []byte) (*GroupInfo, error) {
	key, nonce := s.welcomeKey(joinerSecret, pskSecret)
	aead, err := s.newAEAD(key)
	if err != nil {
		return nil, errDecrypt
	}
	plaintext, err := aead.Open(nil, nonce, w.EncryptedGroupInfo, nil)
	if err != nil {
		return nil, errDecrypt
	}
	return UnmarshalGroupInfo(plaintext)
}

func (s *suite) welcomeKey(joinerSecret, pskSecret []byte) (key, nonce []byte) {
	secret := s.deriveSecret(s.extract(joinerSecret, pskSecret), "welcome")
	return s.expandWithLabel(secret, "key", nil, s.keySize), s.expandWithLabel(secret, "nonce", nil, s.nonceSize)
}
