package mls

import (
	"bytes"
	"errors"
)

// RatchetTree is the public tree as exchanged: optional<Node> ratchet_tree<V>, which is the body of the ratchet_tree
// extension.
type RatchetTree []byte

// Member is one member of a group.
type Member struct {
	Index LeafIndex
	Leaf  *LeafNode
}

// Received is the outcome of Process: exactly one of Application, Proposal and Commit is set.
type Received struct {
	Sender      Sender
	Epoch       uint64
	AAD         []byte
	Credential  *Credential // of the sender, at that epoch
	Application []byte      // content type application
	Generation  uint32      // of Application, for an AppAck
	Proposal    *Proposal   // stored as pending
	Ref         ProposalRef // of Proposal
	Commit      *StagedCommit
}

// PublicGroup follows a group from its public handshake messages, as a hub does. Not safe for concurrent use.
type PublicGroup struct {
	view
	info *GroupInfo
}

// NewPublicGroup verifies a GroupInfo and its ratchet tree and follows the group from there. tree may be nil only if
// the GroupInfo carries ratchet_tree.
func NewPublicGroup(cfg Config, gi *GroupInfo, tree RatchetTree) (*PublicGroup, error) {
	s, err := publicStateFromInfo(&cfg, gi, tree)
	if err != nil {
		return nil, err
	}
	return &PublicGroup{view: view{cfg: cfg, state: s}, info: gi}, nil
}

// Clone is an independent copy; it is cheap, as epochs are immutable.
func (p *PublicGroup) Clone() *PublicGroup {
	c := *p
	return &c
}

// GroupInfo returns the GroupInfo of the current epoch as its committer signed it. It must not be modified.
func (p *PublicGroup) GroupInfo() *GroupInfo { return p.info }

// Process verifies a PublicMessage. Membership tags are beyond a verifier without secrets. A proposal is kept as
// pending, a commit changes nothing before Merge.
func (p *PublicGroup) Process(m *Message) (*Received, error) {
	if m.Public == nil {
		return nil, errors.New("mls: not a public message")
	}
	// RFC 9420, Section 12.4.2: after a ReInit nothing is sent any more
	if p.state.reInit != nil {
		return nil, ErrInactive
	}
	c := &m.Public.content
	key, err := p.open(c)
	if err != nil {
		return nil, err
	}
	ac, err := p.state.framing.verifyPublic(key, m.Public)
	if err != nil {
		return nil, err
	}
	r := p.received(c)
	if c.contentType == ContentTypeProposal {
		err = p.receive(r, ac)
	} else {
		r.Commit, err = p.stage(ac)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// open finds the key for a public content of the current epoch.
func (v *view) open(c *framedContent) (SignaturePublicKey, error) {
	if err := v.checkFrame(c.groupID, c.epoch); err != nil {
		return nil, err
	}
	if err := v.checkAAD(c.authenticatedData); err != nil {
		return nil, err
	}
	return v.state.senderKey(c)
}

// checkAAD verifies the form of authenticated_data.
//
// draft-ietf-mls-extensions, Section 4.9: with the safe_aad component in the GroupContext it is one SafeAAD
func (v *view) checkAAD(aad []byte) error {
	if _, ok := v.AppData().Get(ComponentSafeAAD); !ok {
		return nil
	}
	_, err := UnmarshalSafeAAD(aad)
	return err
}

func (v *view) received(c *framedContent) *Received {
	return &Received{
		Sender:     c.sender,
		Epoch:      c.epoch,
		AAD:        c.authenticatedData,
		Credential: v.state.senderCredential(c),
	}
}

// receive completes r with a proposal.
func (v *view) receive(r *Received, ac *authenticatedContent) error {
	p, err := v.receiveProposal(ac, v.receivedAt())
	if err != nil {
		return err
	}
	r.Proposal, r.Ref = &p.Proposal, p.Ref
	return nil
}

// stage verifies a commit as far as that goes without secrets.
func (v *view) stage(ac *authenticatedContent) (*StagedCommit, error) {
	p, err := v.verifyCommit(ac)
	if err != nil {
		return nil, err
	}
	return p.seal(ac)
}

// seal makes the next epoch of a provisional state and the signed commit with its confirmation tag.
func (p *provisional) seal(ac *authenticatedContent) (*StagedCommit, error) {
	if len(ac.auth.confirmationTag) != p.old.suite.hashSize {
		return nil, errors.New("mls: invalid confirmation tag")
	}
	confirmed, err := p.old.suite.confirmedTranscriptHash(p.old.interim, ac)
	if err != nil {
		return nil, err
	}
	context, err := p.context(confirmed)
	if err != nil {
		return nil, err
	}
	next, err := p.next(context, bytes.Clone(ac.auth.confirmationTag))
	if err != nil {
		return nil, err
	}
	return p.staged(next), nil
}

// CheckGroupInfo verifies that gi is the signed GroupInfo of the epoch after s, with external_pub and without
// ratchet_tree.
func (p *PublicGroup) CheckGroupInfo(s *StagedCommit, gi *GroupInfo) error {
	return s.next.checkInfo(gi, s.leaf)
}

// Merge enters the epoch of s and keeps gi as its GroupInfo.
func (p *PublicGroup) Merge(s *StagedCommit, gi *GroupInfo) error {
	if s.base != p.state {
		return ErrStaleCommit
	}
	if err := p.CheckGroupInfo(s, gi); err != nil {
		return err
	}
	p.state, p.pending, p.info = s.next, nil, gi
	return nil
}
