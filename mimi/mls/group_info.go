package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// GroupInfo describes an epoch to those who join it (RFC 9420, Section 12.4.3).
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

var errGroupInfo = errors.New("mls: malformed group info")

// UnmarshalGroupInfo decodes a bare GroupInfo that fills data. It verifies nothing.
func UnmarshalGroupInfo(data []byte) (*GroupInfo, error) {
	g := new(GroupInfo)
	if err := unmarshalAll(data, g); err != nil {
		return nil, err
	}
	return g, nil
}

// Bytes encodes g.
func (g *GroupInfo) Bytes() ([]byte, error) { return marshalSized(g, 1024) }

// Marshal writes g.
func (g *GroupInfo) Marshal(b *cryptobyte.Builder) error {
	if err := g.marshalUnsigned(b); err != nil {
		return err
	}
	syntax.AddVector(b, g.Signature)
	return nil
}

func (g *GroupInfo) marshalUnsigned(b *cryptobyte.Builder) error {
	if err := g.GroupContext.Marshal(b); err != nil {
		return err
	}
	if err := g.Extensions.Marshal(b); err != nil {
		return err
	}
	syntax.AddVector(b, g.ConfirmationTag)
	b.AddUint32(uint32(g.Signer))
	return nil
}

// Unmarshal reads g from the front of s.
func (g *GroupInfo) Unmarshal(s *cryptobyte.String) error {
	*g = GroupInfo{}
	if err := g.GroupContext.Unmarshal(s); err != nil {
		return err
	}
	if err := g.Extensions.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &g.ConfirmationTag) || !s.ReadUint32((*uint32)(&g.Signer)) ||
		!syntax.ReadVector(s, &g.Signature) {
		return errGroupInfo
	}
	return nil
}

// ExternalPub returns the key of the external_pub extension, with which an external commit is made.
//
// RFC 9420, Section 12.4.3.2
func (g *GroupInfo) ExternalPub() (HPKEPublicKey, bool) {
	data, ok := g.Extensions.Get(ExtensionExternalPub)
	if !ok {
		return nil, false
	}
	var key []byte
	s := cryptobyte.String(data)
	if !syntax.ReadVector(&s, &key) || !s.Empty() {
		return nil, false
	}
	return key, true
}

// setExternalPub adds the external_pub extension.
func (g *GroupInfo) setExternalPub(key HPKEPublicKey) {
	b := cryptobyte.NewBuilder(nil)
	syntax.AddVector(b, key)
	g.Extensions = g.Extensions.Set(ExtensionExternalPub, mustBytes(b))
}

func (g *GroupInfo) toBeSigned() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	if err := g.marshalUnsigned(b); err != nil {
		return nil, err
	}
	return b.Bytes()
}

// sign sets the signature.
func (g *GroupInfo) sign(key *SignatureKey) error {
	tbs, err := g.toBeSigned()
	if err != nil {
		return err
	}
	g.Signature, err = key.SignWithLabel("GroupInfoTBS", tbs)
	return err
}

// verifySignature checks the signature with the key of the leaf at Signer.
//
// RFC 9420, Section 12.4.3
func (g *GroupInfo) verifySignature(s *suite, key SignaturePublicKey) error {
	tbs, err := g.toBeSigned()
	if err != nil {
		return err
	}
	if s.verifyWithLabel(key, "GroupInfoTBS", tbs, g.Signature) != nil {
		return errors.New("mls: invalid group info signature")
	}
	return nil
}
