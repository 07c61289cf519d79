package room

import (
	"bytes"
	"errors"

	"kith/mimi/mls"
	"kith/mimi/wire"
)

// NewProposalRequest makes the request of a bundle of proposals, in the group's current epoch. The group keeps them as
// pending; if the hub refuses the request, they have to be forgotten by the references that come with it.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func NewProposalRequest(g *mls.Group, list []mls.Proposal) (*wire.UpdateRequest, []mls.ProposalRef, error) {
	if len(list) == 0 {
		return nil, nil, errors.New("room: nothing to propose")
	}
	before := len(g.PendingProposals())
	req, err := propose(g, list)
	var refs []mls.ProposalRef
	for _, p := range g.PendingProposals()[before:] {
		refs = append(refs, p.Ref)
	}
	if err != nil {
		for _, ref := range refs {
			g.ForgetProposal(ref)
		}
		return nil, nil, err
	}
	return req, refs, nil
}

func propose(g *mls.Group, list []mls.Proposal) (*wire.UpdateRequest, error) {
	req := new(wire.UpdateRequest)
	for i, p := range list {
		m, err := g.Propose(p, HandshakeAAD(g.Context()))
		if err != nil {
			return nil, err
		}
		message, err := wire.NewMLSMessage(m)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			req.ProposalOrCommit = message
		} else {
			req.MoreProposals = append(req.MoreProposals, message)
		}
	}
	return req, nil
}

// ReceiveExternal takes over the proposals that the hub has stapled to an external commit, after g has merged that
// commit. They have to be in the next commit of any member. v is the view after the commit.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func ReceiveExternal(g *mls.Group, v *View, m *wire.FanoutMessage) error {
	for _, x := range m.ExternalProposals {
		if x.Message == nil || x.Public == nil || !bytes.Equal(x.GroupID(), g.GroupID()) {
			return errors.New("room: stapled message is not a public one of this group")
		}
		if s := x.Public.Sender(); s.Type != mls.SenderExternal || uint64(s.External) >= uint64(len(v.senders)) ||
			v.senders[s.External] != v.Hub().String() {
			return errors.New("room: stapled proposal is not the hub's")
		}
		if _, err := g.Process(x.Message); err != nil && !errors.Is(err, mls.ErrReplayed) {
			return err
		}
	}
	return nil
}
