package mls

import (
	"bytes"
	"errors"
	"slices"
)

// ClientIdentifier is an Application that knows which client a credential presents, whatever its key. Without it every
// credential is a client of its own.
type ClientIdentifier interface {
	// ClientOf is asked about a group and the one that follows from it, and about an Add and the members of its group:
	// two credentials are the same client's if the answers are equal. With another suite a client has another key and
	// mostly another credential in the second group.
	ClientOf(Credential) string
}

// clientOf names the client of a credential.
func clientOf(app Application, c Credential) string {
	if known, ok := app.(ClientIdentifier); ok {
		return known.ClientOf(c)
	}
	data, err := marshal(c)
	if err != nil {
		return "" // only a credential that was never decoded
	}
	return string(data)
}

// clientsOf names the clients of leaves, blank ones left out.
func clientsOf(app Application, leaves []*LeafNode) map[string]bool {
	out := make(map[string]bool, len(leaves))
	for _, l := range leaves {
		if l != nil {
			out[clientOf(app, l.Credential)] = true
		}
	}
	return out
}

// Reinitialize makes the group that a committed ReInit asks for and adds everybody else to it, with one KeyPackage of
// the new suite for each. c is our own client, with a key of that suite. The new group is at epoch 1; its Welcome goes
// to the others, with its ratchet tree beside. Several members may do this at once: whoever delivers messages says
// whose group stands, the others drop theirs and join by JoinReinitialized. Then Retire ends the old group.
//
// RFC 9420, Section 11.2
func (g *Group) Reinitialize(c *Client, keyPackages []*KeyPackage) (*Group, *Welcome, error) {
	r := g.state.reInit
	if r == nil || g.out || g.secrets == nil {
		return nil, nil, errNoReInit
	}
	if r.Version != VersionMLS10 || r.CipherSuite != c.SignatureKey.suite.id {
		return nil, nil, errors.New("mls: client is not of the version and suite of the ReInit")
	}
	next, welcome, err := g.found(c, r.GroupID, r.Extensions, keyPackages, ResumptionReInit)
	if err != nil {
		return nil, nil, err
	}
	// RFC 9420, Section 12.4.1: the same members as the original group
	if err := g.state.checkReinitialized(g.cfg.Application, next.state); err != nil {
		return nil, nil, err
	}
	if err := subset(g.cfg.Application, next.state.tree.leaves(), g.state.tree.leaves()); err != nil {
		return nil, nil, err
	}
	return next, welcome, nil
}

// Branch makes a group of some members of this one, with the version and suite of this one. c is our own client,
// keyPackages are those of the other members. The new group is at epoch 1; see Reinitialize for its Welcome.
//
// RFC 9420, Section 11.3
func (g *Group) Branch(c *Client, groupID []byte, ext Extensions, keyPackages []*KeyPackage) (*Group, *Welcome, error) {
	if err := g.ready(); err != nil {
		return nil, nil, err
	}
	if c.SignatureKey.suite != g.state.suite {
		return nil, nil, errors.New("mls: client is not of the suite of the group")
	}
	next, welcome, err := g.found(c, groupID, ext, keyPackages, ResumptionBranch)
	if err != nil {
		return nil, nil, err
	}
	if err := subset(g.cfg.Application, next.state.tree.leaves(), g.state.tree.leaves()); err != nil {
		return nil, nil, err
	}
	return next, welcome, nil
}

// found makes a group that is linked to the current epoch of g by its resumption PSK.
func (g *Group) found(c *Client, groupID []byte, ext Extensions, keyPackages []*KeyPackage, usage ResumptionPSKUsage) (*Group, *Welcome, error) {
	if bytes.Equal(groupID, g.state.context.GroupID) {
		return nil, nil, errors.New("mls: group that follows has the same group id")
	}
	next, err := NewGroup(g.cfg, c, groupID, ext)
	if err != nil {
		return nil, nil, err
	}
	psk, err := NewPSKProposal(g.cfg, c.SignatureKey.suite.id, PreSharedKeyID{
		Type: PSKResumption, Usage: usage, GroupID: g.GroupID(), Epoch: g.Epoch(),
	})
	if err != nil {
		return nil, nil, err
	}
	proposals := []Proposal{psk}
	for _, kp := range keyPackages {
		proposals = append(proposals, AddProposal(kp))
	}
	bundle, err := next.commitFirst(proposals, usage, preSharedKey{*psk.PSK, g.secrets.resumption})
	if err != nil {
		return nil, nil, err
	}
	next.enter(bundle.Staged)
	next.past, next.resumption = nil, nil // nobody else was in epoch 0
	return next, bundle.Welcome, nil
}

// commitFirst makes the initial commit of a group that follows another, which alone may hold a PSK of that usage.
//
// RFC 9420, Sections 11.2, 11.3 and 12.1.4
func (g *Group) commitFirst(proposals []Proposal, usage ResumptionPSKUsage, psk preSharedKey) (*CommitBundle, error) {
	self := Sender{Type: SenderMember, Leaf: g.leaf}
	list := make([]StagedProposal, len(proposals))
	for i, p := range proposals {
		list[i] = StagedProposal{Proposal: p, Sender: self}
	}
	p, err := g.state.applyLinked(&g.cfg, list, self, g.cfg.now(), usage)
	if err != nil {
		return nil, err
	}
	leaf, err := g.nextLeaf(false)
	if err != nil {
		return nil, err
	}
	b := g.committer(p)
	b.psks, b.newLeaf = []preSharedKey{psk}, leaf
	// nobody sees the commit: with safe_aad it carries an empty list
	if _, ok := g.AppData().Get(ComponentSafeAAD); ok {
		b.aad = []byte{0}
	}
	return b.build()
}

var errNoReInit = errors.New("mls: group was not shut down by a ReInit")

// JoinReinitialized joins the group that another member made after the ReInit of this one, and retires this one.
//
// RFC 9420, Sections 11.2 and 12.4.3.1
func (g *Group) JoinReinitialized(c *Client, w *Welcome, tree RatchetTree, key *KeyPackageSecrets) (*Group, error) {
	if g.state.reInit == nil || g.out || g.secrets == nil {
		return nil, errNoReInit
	}
	next, err := joinWelcome(g.cfg, c, w, tree, key, &origin{
		usage: ResumptionReInit,
		secret: func(id *PreSharedKeyID) ([]byte, error) {
			if !bytes.Equal(id.GroupID, g.state.context.GroupID) || id.Epoch != g.state.context.Epoch {
				return nil, errors.New("mls: welcome refers to another group or epoch than that of the ReInit")
			}
			return g.secrets.resumption, nil
		},
		check: func(next *publicState, _ *PreSharedKeyID) error {
			return g.state.checkReinitialized(g.cfg.Application, next)
		},
	})
	if err != nil {
		return nil, err
	}
	g.Retire()
	return next, nil
}

// JoinBranch joins a group that another member made of some members of this one, at the current epoch or one of the
// past ones that are kept.
//
// RFC 9420, Sections 11.3 and 12.4.3.1
func (g *Group) JoinBranch(c *Client, w *Welcome, tree RatchetTree, key *KeyPackageSecrets) (*Group, error) {
	if g.out || g.secrets == nil {
		return nil, ErrInactive
	}
	return joinWelcome(g.cfg, c, w, tree, key, &origin{
		usage: ResumptionBranch,
		secret: func(id *PreSharedKeyID) ([]byte, error) {
			if secret := g.ownResumptionPSK(id); secret != nil {
				return secret, nil
			}
			return nil, ErrUnknownPSK
		},
		check: func(next *publicState, id *PreSharedKeyID) error {
			if next.suite != g.state.suite {
				return errors.New("mls: branch has another cipher suite")
			}
			leaves := g.leavesAt(id.Epoch)
			if leaves == nil {
				return ErrPastEpoch
			}
			return subset(g.cfg.Application, next.tree.leaves(), leaves)
		},
	})
}

// leavesAt are the leaves of the current epoch or of a past one that is kept, else nil.
func (g *Group) leavesAt(epoch uint64) []*LeafNode {
	if epoch == g.state.context.Epoch {
		return g.state.tree.leaves()
	}
	if i := slices.IndexFunc(g.past, func(p *pastEpoch) bool { return p.framing.epoch == epoch }); i >= 0 {
		return g.past[i].leaves
	}
	return nil
}

// Retire deletes all secrets of a group that was shut down by a ReInit, once the group that follows stands. What
// remains says who was a member. It does nothing to a running group.
//
// RFC 9420, Section 8.6: resumption PSKs are not kept for ever
func (g *Group) Retire() {
	if g.state.reInit == nil {
		return
	}
	g.forget(g.ratchetEpochs())
	g.out, g.memberEpoch = true, memberEpoch{leaf: g.leaf}
	g.pending, g.outgoing, g.past, g.resumption = nil, nil, nil, nil
}

// CheckReinitialized verifies, for a hub, that next is the group that the ReInit of this one asks for: at epoch 1, with
// the parameters of the ReInit and all members of this group.
//
// RFC 9420, Section 11.2
func (p *PublicGroup) CheckReinitialized(next *PublicGroup) error {
	return p.state.checkReinitialized(p.cfg.Application, next.state)
}

// checkReinitialized are the rules for the group that follows from a ReInit.
//
// RFC 9420, Sections 11.2 and 12.4.3.1
func (s *publicState) checkReinitialized(app Application, next *publicState) error {
	r := s.reInit
	if r == nil {
		return errNoReInit
	}
	c := next.context
	if c.Epoch != 1 {
		return errNotFirst
	}
	// a GroupContext that can be decoded is of version mls10
	if r.Version != VersionMLS10 || c.CipherSuite != r.CipherSuite || !bytes.Equal(c.GroupID, r.GroupID) {
		return errors.New("mls: new group has other parameters than the ReInit")
	}
	want, err := marshal(r.Extensions)
	if err != nil {
		return err
	}
	got, err := marshal(c.Extensions)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, got) {
		return errors.New("mls: new group has other extensions than the ReInit")
	}
	return subset(app, s.tree.leaves(), next.tree.leaves())
}

var errNotFirst = errors.New("mls: group that follows another is not at epoch 1")

// subset verifies that each leaf presents the same client as one of the others; blank leaves do not count.
//
// RFC 9420, Section 11.3: two leaves match if the application holds their identifiers for equivalent
func subset(app Application, leaves, others []*LeafNode) error {
	known := clientsOf(app, others)
	for _, l := range leaves {
		if l != nil && !known[clientOf(app, l.Credential)] {
			return errors.New("mls: members of the two groups do not match")
		}
	}
	return nil
}
