package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// GroupContext is the state on which all members of an epoch agree (RFC 9420, Section 8.1).
type GroupContext struct {
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

var errGroupContext = errors.New("mls: malformed group context")

// Bytes encodes g.
func (g *GroupContext) Bytes() ([]byte, error) { return marshalSized(g, 512) }

// Marshal writes g.
func (g *GroupContext) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(VersionMLS10)
	b.AddUint16(uint16(g.CipherSuite))
	syntax.AddVector(b, g.GroupID)
	b.AddUint64(g.Epoch)
	syntax.AddVector(b, g.TreeHash)
	syntax.AddVector(b, g.ConfirmedTranscriptHash)
	return g.Extensions.Marshal(b)
}

// Unmarshal reads g from the front of s.
func (g *GroupContext) Unmarshal(s *cryptobyte.String) error {
	*g = GroupContext{}
	var version uint16
	if !s.ReadUint16(&version) || version != VersionMLS10 ||
		!s.ReadUint16((*uint16)(&g.CipherSuite)) || !syntax.ReadVector(s, &g.GroupID) || !s.ReadUint64(&g.Epoch) ||
		!syntax.ReadVector(s, &g.TreeHash) || !syntax.ReadVector(s, &g.ConfirmedTranscriptHash) {
		return errGroupContext
	}
	return g.Extensions.Unmarshal(s)
}
