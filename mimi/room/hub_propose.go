package room

import (
	"slices"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// propose accepts a bundle of proposals, or refuses it as a whole. An accepted one counts at once and has to be
// part of the next member's commit; so it must fit to everything that is pending.
//
// draft-ietf-mimi-protocol-06, Sections 5.3 and 7.1
func (h *Hub) propose(now uint64, from Origin, messages []wire.MLSMessage) (*UpdateOutcome, error) {
	first := messages[0].Public.Sender()
	sender, ok := h.view.Member(first.Leaf)
	if !ok || first.Type != mls.SenderMember {
		return refused(refusal("UP-3", "proposal of a client that is not a member")), nil
	}
	if !from.Is(sender.Client) {
		return refused(from.foreign("proposal of another client")), nil
	}
	var listed []Listing
	n := h.next(h.stamp(now))
	for _, m := range messages {
		s := m.Public.Sender()
		if s.Type != mls.SenderMember || s.Leaf != sender.Leaf {
			return refused(refusal("UP-3", "proposal of another client")), nil
		}
		// draft-ietf-mimi-protocol-06, Section 5.3
		if h.gone[sender.User.String()] && !h.ownRemoval(sender, m.Public.Proposal()) {
			return refused(refusal("UP-6", "proposer is being removed")), nil
		}
		received, err := n.group.Process(m.Message)
		if err != nil || received.Proposal == nil {
			return refused(refusal("UP-3", "proposal does not verify")), nil
		}
		n.pending = append(n.pending, pendingProposal{message: m, ref: received.Ref, time: n.last})
		listed = append(listed, listings(m.Public.Proposal(), sender.User)...)
	}
	if r := n.anticipate(); r != nil {
		return refused(r), nil
	}
	fanout := wire.FanoutMessage{Timestamp: n.last, Message: messages[0], MoreProposals: messages[1:]}
	body, err := fanout.Bytes()
	if err != nil {
		return nil, err
	}
	return &UpdateOutcome{
		Response: wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: n.last},
		Next:     n,
		Listed:   listed,
		Events:   []Event{{Kind: EventProposal, Timestamp: n.last, Body: body}},
	}, nil
}

// ownRemoval: what a user who is being removed may still propose.
func (h *Hub) ownRemoval(sender Member, p *mls.Proposal) bool {
	switch p.Type {
	case mls.ProposalSelfRemove:
		return true
	case mls.ProposalRemove:
		m, ok := h.view.Member(p.Remove)
		return ok && m.User == sender.User
	}
	return false
}

// anticipate computes what the pending proposals will make of the room, and refuses them if no commit could
// contain them all or if policy would refuse that commit.
func (h *Hub) anticipate() *policy.Refusal {
	pending := h.group.PendingProposals()
	if len(pending) == 0 {
		return nil
	}
	if r := h.conflicts(pending); r != nil {
		return r
	}
	c := &policy.Change{Before: h.view.state, At: h.last}
	for _, p := range pending {
		if r := h.view.translate(c, p, who{}); r != nil {
			return r
		}
	}
	after, r := h.view.after(c)
	if r != nil {
		return r
	}
	c.After = after
	if r := policy.Check(c); r != nil {
		return r
	}
	if r := h.checkParent(after); r != nil {
		return r
	}
	h.now, h.gone, h.goneClients = after, make(map[string]bool), h.view.targets(pending)
	for _, p := range h.view.state.Participants {
		if !after.IsListed(p.User) || after.IsBanned(p.User) && !h.view.state.IsBanned(p.User) {
			h.gone[p.User] = true
		}
	}
	return nil
}

// targets are the clients that proposals remove.
func (v *View) targets(list []mls.StagedProposal) map[mimi.ClientID]bool {
	out := make(map[mimi.ClientID]bool)
	for _, p := range list {
		leaf := p.Sender.Leaf
		switch p.Proposal.Type {
		case mls.ProposalRemove:
			leaf = p.Proposal.Remove
		case mls.ProposalSelfRemove:
		default:
			continue
		}
		if m, ok := v.Member(leaf); ok {
			out[m.Client] = true
		}
	}
	return out
}

// conflicts: two proposals that MLS forbids in one commit.
//
// RFC 9420, Section 12.2
func (h *Hub) conflicts(pending []mls.StagedProposal) *policy.Refusal {
	touched := make(map[mls.LeafIndex]bool)
	contexts := 0
	for _, p := range pending {
		leaf := p.Sender.Leaf
		switch p.Proposal.Type {
		case mls.ProposalRemove:
			leaf = p.Proposal.Remove
		case mls.ProposalUpdate, mls.ProposalSelfRemove:
		case mls.ProposalGroupContextExtensions:
			// the hub renews its certificate so; it has nobody to commit for it
			if contexts++; contexts > 1 || p.Sender.Type != mls.SenderExternal {
				return refusal("UP-7", "proposal has to come with its commit")
			}
			continue
		case mls.ProposalReInit, mls.ProposalPSK:
			// these ask for a commit of their own; whoever wants one makes it
			return refusal("UP-7", "proposal has to come with its commit")
		default:
			continue
		}
		if touched[leaf] {
			return refusal("UP-7", "leaf is already touched by a pending proposal")
		}
		touched[leaf] = true
	}
	return nil
}

// after is the state of the room once pending is committed.
func (v *View) after(c *policy.Change) (*policy.State, *policy.Refusal) {
	updates := make(map[uint16][][]byte)
	clients := make(map[string]int)
	for user, n := range v.state.Clients {
		clients[user] = n
	}
	for _, p := range c.Proposals {
		switch p.Kind {
		case policy.AddClient:
			clients[p.User]++
		case policy.RemoveClient:
			clients[p.User]--
		case policy.SetComponent:
			updates[p.Component] = append(updates[p.Component], p.Update)
		}
	}
	dict, err := v.context.Extensions.AppData()
	if err != nil {
		return nil, refusal("RS-1", "malformed components")
	}
	for id, list := range updates {
		old, _ := dict.Get(mls.ComponentID(id))
		data, err := policy.UpdateComponent(id, old, list)
		if err != nil {
			return nil, refusal("PL-3", err.Error())
		}
		dict = dict.Set(mls.ComponentID(id), data)
	}
	var users []string
	for user, n := range clients {
		users = append(users, slices.Repeat([]string{user}, max(n, 0))...)
	}
	state, err := policy.NewState(func(id uint16) ([]byte, bool) { return dict.Get(mls.ComponentID(id)) }, users)
	if err != nil {
		return nil, refusal("RS-1", err.Error())
	}
	return state, nil
}
