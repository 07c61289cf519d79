package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Commit begins a new epoch (RFC 9420, Section 12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // optional
}

// ProposalOrRef is a proposal by value or, if Proposal is nil, by reference.
type ProposalOrRef struct {
	Proposal  *Proposal
	Reference ProposalRef
}

// UpdatePath replaces a leaf and the keys above it (RFC 9420, Section 7.6).
type UpdatePath struct {
	LeafNode LeafNode
	Nodes    []UpdatePathNode
}

// UpdatePathNode is one parent of an UpdatePath with the path secret for each node below the other child.
type UpdatePathNode struct {
	EncryptionKey       HPKEPublicKey
	EncryptedPathSecret []HPKECiphertext
}

const (
	proposalByValue     uint8 = 1
	proposalByReference uint8 = 2
)

var errCommit = errors.New("mls: malformed commit")

// Marshal writes c.
func (c *Commit) Marshal(b *cryptobyte.Builder) error {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range c.Proposals {
			b.AddValue(&c.Proposals[i])
		}
	})
	syntax.AddOptional(b, c.Path != nil)
	if c.Path != nil {
		return c.Path.Marshal(b)
	}
	return nil
}

// Unmarshal reads c from the front of s.
func (c *Commit) Unmarshal(s *cryptobyte.String) error {
	*c = Commit{}
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errCommit
	}
	for !list.Empty() {
		var p ProposalOrRef
		if err := p.Unmarshal(&list); err != nil {
			return err
		}
		c.Proposals = append(c.Proposals, p)
	}
	var hasPath bool
	if !syntax.ReadOptional(s, &hasPath) {
		return errCommit
	}
	if !hasPath {
		return nil
	}
	c.Path = new(UpdatePath)
	return c.Path.Unmarshal(s)
}

// Marshal writes p.
func (p *ProposalOrRef) Marshal(b *cryptobyte.Builder) error {
	if p.Proposal != nil {
		b.AddUint8(proposalByValue)
		return p.Proposal.Marshal(b)
	}
	b.AddUint8(proposalByReference)
	syntax.AddVector(b, p.Reference)
	return nil
}

// Unmarshal reads p from the front of s.
func (p *ProposalOrRef) Unmarshal(s *cryptobyte.String) error {
	*p = ProposalOrRef{}
	var kind uint8
	if !s.ReadUint8(&kind) {
		return errCommit
	}
	switch kind {
	case proposalByValue:
		p.Proposal = new(Proposal)
		return p.Proposal.Unmarshal(s)
	case proposalByReference:
		if !syntax.ReadVector(s, (*[]byte)(&p.Reference)) {
			return errCommit
		}
		return nil
	default:
		return errCommit
	}
}

// Marshal writes u.
func (u *UpdatePath) Marshal(b *cryptobyte.Builder) error {
	if err := u.LeafNode.Marshal(b); err != nil {
		return err
	}
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range u.Nodes {
			b.AddValue(&u.Nodes[i])
		}
	})
	return nil
}

// Unmarshal reads u from the front of s.
func (u *UpdatePath) Unmarshal(s *cryptobyte.String) error {
	*u = UpdatePath{}
	if err := u.LeafNode.Unmarshal(s); err != nil {
		return err
	}
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errCommit
	}
	for !list.Empty() {
		var n UpdatePathNode
		if err := n.Unmarshal(&list); err != nil {
			return err
		}
		u.Nodes = append(u.Nodes, n)
	}
	return nil
}

// Marshal writes n.
func (n *UpdatePathNode) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, n.EncryptionKey)
	size := 0
	for i := range n.EncryptedPathSecret {
		c := &n.EncryptedPathSecret[i]
		size += syntax.VectorSize(len(c.KEMOutput)) + syntax.VectorSize(len(c.Ciphertext))
	}
	syntax.AddVarint(b, size)
	for i := range n.EncryptedPathSecret {
		b.AddValue(n.EncryptedPathSecret[i])
	}
	return nil
}

// Unmarshal reads n from the front of s.
func (n *UpdatePathNode) Unmarshal(s *cryptobyte.String) error {
	*n = UpdatePathNode{}
	var list cryptobyte.String
	if !syntax.ReadVector(s, (*[]byte)(&n.EncryptionKey)) || !syntax.ReadList(s, &list) {
		return errCommit
	}
	for !list.Empty() {
		var c HPKECiphertext
		if err := c.Unmarshal(&list); err != nil {
			return err
		}
		n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
	}
	return nil
}
