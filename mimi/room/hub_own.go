package room

import (
	"bytes"
	"errors"
	"slices"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

var errNoKey = errors.New("room: key of the hub's external sender is missing")

// SetKey gives the hub the key of its external sender, with which it proposes. It is not part of the saved state, so
// it is to be called after Create and Restore. Sender tells which key is needed.
func (h *Hub) SetKey(key *mls.SignatureKey) { h.key = key }

// Sender returns the hub as it stands in the external senders of the group.
func (h *Hub) Sender() mls.ExternalSender { return h.sender }

// Propose makes proposals of the hub itself, as a bundle that is accepted or refused as a whole. What policy lets the
// hub do is what its role as policy enforcer has. The outcome is that of an accepted Update; h does not change.
//
// draft-ietf-mimi-protocol-06, Sections 5.5 and 7.4
func (h *Hub) Propose(now uint64, list []mls.Proposal) (*UpdateOutcome, error) {
	return h.proposeGroups(now, [][]mls.Proposal{list}, true)
}

// Evict proposes to remove users from the room with all their clients, such as those whose accounts were deleted, and
// single clients, such as lost devices. In a room of fixed membership users stay listed and only lose their clients.
// The same holds where a role needs its last holder. Who is gone or going already is passed over; the outcome is nil if nothing is left to do, and a refusal if nobody
// can be removed. That a removal waits for a commit does not delay its effect on messages.
//
// draft-ietf-mimi-protocol-06, Sections 5.3 and 5.5
func (h *Hub) Evict(now uint64, users []mimi.UserID, clients []mimi.ClientID) (*UpdateOutcome, error) {
	var groups [][]mls.Proposal
	evicted := make(map[mimi.UserID]bool)
	for _, user := range users {
		if evicted[user] || h.gone[user.String()] || !h.view.IsParticipant(user) {
			continue
		}
		evicted[user] = true
		list, err := h.removal(user)
		if err != nil {
			return nil, err
		}
		// where the roles need the user, its clients go at least
		groups = append(groups, list, slices.DeleteFunc(slices.Clone(list), func(p mls.Proposal) bool { return p.Type != mls.ProposalRemove }))
	}
	for _, client := range clients {
		m, ok := h.view.Client(client)
		if ok && !evicted[m.User] && !h.goneClients[client] {
			evicted[m.User] = false
			groups = append(groups, []mls.Proposal{mls.RemoveProposal(m.Leaf)})
		}
	}
	groups = slices.DeleteFunc(groups, func(list []mls.Proposal) bool { return len(list) == 0 })
	if h.closed || len(groups) == 0 {
		return nil, nil
	}
	return h.proposeGroups(now, groups, false)
}

// removal takes a user off the list, or only its clients out where the list does not change. Clients that are going
// already are left out.
//
// draft-ietf-mimi-room-policy-03, Section 5
func (h *Hub) removal(user mimi.UserID) ([]mls.Proposal, error) {
	list, err := RemoveUser(h.view, user)
	if base := &h.view.state.Base; err == nil && base.FixedMembership && !base.ParentDependant {
		list = list[1:]
	}
	return slices.DeleteFunc(list, func(p mls.Proposal) bool {
		m, ok := h.view.Member(p.Remove)
		return p.Type == mls.ProposalRemove && ok && h.goneClients[m.Client]
	}), err
}

// Rotate proposes that the group knows the hub by another certificate or key from now on. It is signed with the
// present key, and takes effect when a member has committed it; Sender tells. The outcome is nil if there is nothing
// to change.
//
// draft-ietf-mimi-protocol-06, Section 7.4
func (h *Hub) Rotate(now uint64, next mls.ExternalSender) (*UpdateOutcome, error) {
	p, err := h.rotation(next)
	if err != nil || p == nil || h.closed {
		return nil, err
	}
	return h.Propose(now, []mls.Proposal{*p})
}

// rotation replaces the hub's entry of the external senders, nil if it is next already.
func (h *Hub) rotation(next mls.ExternalSender) (*mls.Proposal, error) {
	ext := h.view.context.Extensions
	data, _ := ext.Get(mls.ExtensionExternalSenders)
	list, err := mls.UnmarshalExternalSenders(data)
	if err != nil {
		return nil, err
	}
	i, err := h.senderIndex(list)
	if err != nil {
		return nil, err
	}
	list[i] = next
	again, err := mls.MarshalExternalSenders(list)
	if err != nil || bytes.Equal(again, data) {
		return nil, err
	}
	p := mls.GroupContextExtensionsProposal(slices.Clone(ext).Set(mls.ExtensionExternalSenders, again))
	return &p, nil
}

// senderIndex finds the hub's own entry among the external senders.
func (h *Hub) senderIndex(list []mls.ExternalSender) (int, error) {
	for i, s := range list {
		if bytes.Equal(s.SignatureKey, h.sender.SignatureKey) {
			return i, nil
		}
	}
	return 0, errors.New("room: hub is not among the external senders")
}

// checkSenders: nobody but the hub changes the external senders.
//
// draft-ietf-mimi-protocol-06, Section 7.4
func (h *Hub) checkSenders(s *mls.StagedCommit) *policy.Refusal {
	before, _ := h.view.context.Extensions.Get(mls.ExtensionExternalSenders)
	after, _ := s.Context().Extensions.Get(mls.ExtensionExternalSenders)
	if bytes.Equal(before, after) {
		return nil
	}
	for _, p := range s.Proposals() {
		if p.Proposal.Type == mls.ProposalGroupContextExtensions && p.Sender.Type != mls.SenderExternal {
			return refusal("ML-11", "external senders are changed by another than the hub")
		}
	}
	return nil
}

// findSender reads the hub's entry of the external senders, which a commit may have renewed.
func (h *Hub) findSender() error {
	data, _ := h.view.context.Extensions.Get(mls.ExtensionExternalSenders)
	list, err := mls.UnmarshalExternalSenders(data)
	if err != nil {
		return err
	}
	for _, s := range list {
		id, err := identify(s.Credential)
		if err != nil {
			return err
		}
		if id.hub == h.view.Hub() {
			h.sender = s
			return nil
		}
	}
	return errors.New("room: hub is not among the external senders")
}

// proposeGroups makes an event of those groups of proposals that fit, of all or none if all must.
func (h *Hub) proposeGroups(now uint64, groups [][]mls.Proposal, all bool) (*UpdateOutcome, error) {
	if h.closed {
		return refused(refusal("RP-10", "room is closed")), nil
	}
	n := h.next(h.stamp(now))
	messages, r, err := n.issue(groups)
	if err != nil {
		return nil, err
	}
	if r != nil && (all || len(messages) == 0) {
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
		Events:   []Event{{Kind: EventProposal, Timestamp: n.last, Body: body}},
	}, nil
}

// issue signs groups of proposals and counts them as pending, each group if it fits to what is pending before it. The
// refusal is that of the last group that does not. h is a copy that nobody else has yet.
func (h *Hub) issue(groups [][]mls.Proposal) (messages []wire.MLSMessage, r *policy.Refusal, err error) {
	for _, group := range groups {
		n := h.next(h.last)
		var made []wire.MLSMessage
		for _, p := range group {
			m, err := n.sign(p)
			if err != nil {
				return nil, nil, err
			}
			received, err := n.group.Process(m.Message)
			if err != nil {
				made = nil // not valid in this epoch
				break
			}
			n.pending = append(n.pending, pendingProposal{message: m, ref: received.Ref, time: n.last})
			made = append(made, m)
		}
		if len(made) == 0 {
			r = refusal("ML-11", "proposal of the hub is not valid")
			continue
		}
		if refused := n.anticipate(); refused != nil {
			r = refused
			continue
		}
		*h = *n
		messages = append(messages, made...)
	}
	return messages, r, nil
}

// sign makes a proposal of the hub in the current epoch.
//
// RFC 9420, Section 12.1.8
func (h *Hub) sign(p mls.Proposal) (wire.MLSMessage, error) {
	if h.key == nil || !bytes.Equal(h.key.Public(), h.sender.SignatureKey) {
		return wire.MLSMessage{}, errNoKey
	}
	data, _ := h.view.context.Extensions.Get(mls.ExtensionExternalSenders)
	list, err := mls.UnmarshalExternalSenders(data)
	if err != nil {
		return wire.MLSMessage{}, err
	}
	i, err := h.senderIndex(list)
	if err != nil {
		return wire.MLSMessage{}, err
	}
	m, err := mls.ProposeExternal(h.view.context, uint32(i), h.key, p, HandshakeAAD(h.view.context))
	if err != nil {
		return wire.MLSMessage{}, err
	}
	return wire.NewMLSMessage(m)
}
