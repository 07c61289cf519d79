package room

import (
	"bytes"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// UpdateOutcome is the decision about an UpdateRequest.
type UpdateOutcome struct {
	Response wire.UpdateRoomResponse
	// Next is the room afterwards, nil if the request is refused. It replaces the Hub once everything is stored.
	Next *Hub
	// Events are to be stored and distributed, in this order.
	Events []Event
	// Added are the KeyPackages of the Welcome, in the order of its secrets.
	Added []mls.KeyPackageRef
	// Joined is the client that joined by an external commit, in case with a new leaf for its old one.
	Joined []mimi.ClientID
	// Removed are the clients that are no longer in the group.
	Removed []mimi.ClientID
	// Listed are the users that somebody has put into the list of participants, other than himself: as soon as that is
	// proposed. Whether they have consented is for the caller to say.
	Listed []Listing
	// Refusal is the reason for a refusal other than a wrong epoch.
	Refusal *policy.Refusal
}

// Listing is that one user makes another a participant.
type Listing struct{ By, User mimi.UserID }

// listings are those of a proposal. A ban needs nobody's consent.
func listings(p *mls.Proposal, by mimi.UserID) (list []Listing) {
	if p.AppDataUpdate == nil || p.AppDataUpdate.Component != policy.ParticipantList {
		return nil
	}
	u, err := policy.UnmarshalParticipantsUpdate(p.AppDataUpdate.Update)
	if err != nil {
		return nil // policy has refused it
	}
	for _, added := range u.AddedParticipants {
		if user, err := mimi.ParseUserID(added.User); err == nil && user != by && added.RoleIndex != policy.RoleBanned {
			list = append(list, Listing{by, user})
		}
	}
	return list
}

func refused(r *policy.Refusal) *UpdateOutcome {
	return &UpdateOutcome{Response: *notAllowed(r), Refusal: r}
}

// Update decides about a commit or proposals. h does not change.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func (h *Hub) Update(now uint64, from Origin, req *wire.UpdateRequest) (*UpdateOutcome, error) {
	if h.closed {
		return refused(refusal("RP-10", "room is closed")), nil
	}
	messages := append([]wire.MLSMessage{req.ProposalOrCommit}, req.MoreProposals...)
	for i := range messages {
		m := &messages[i]
		if m.Message == nil || m.Public == nil || !bytes.Equal(m.GroupID(), h.groupID) {
			return refused(refusal("UP-15", "not a public message of this group")), nil
		}
		// draft-ietf-mimi-protocol-06, Section 5.3: one commit per epoch; the loser learns the current one
		if m.Epoch() != h.view.Epoch() {
			return &UpdateOutcome{Response: wire.UpdateRoomResponse{
				ResponseCode: wire.UpdateWrongEpoch, CurrentEpoch: h.view.Epoch(),
			}}, nil
		}
		if r := h.view.CheckAAD(m.AuthenticatedData()); r != nil {
			return refused(r), nil
		}
	}
	if req.IsCommit() {
		return h.commit(now, from, req)
	}
	return h.propose(now, from, messages)
}

// commit is the way of a commit: verify, compare with what is pending, ask policy, check what comes with it, merge.
func (h *Hub) commit(now uint64, from Origin, req *wire.UpdateRequest) (*UpdateOutcome, error) {
	n := h.next(h.stamp(now))
	received, err := n.group.Process(req.ProposalOrCommit.Message)
	if err != nil || received.Commit == nil {
		return refused(refusal("UP-3", "commit does not verify")), nil
	}
	staged := received.Commit
	// draft-ietf-mimi-protocol-06, Section 5.3: whoever is being removed commits nothing more
	if m, ok := h.view.Member(staged.Sender().Leaf); ok && staged.Sender().Type == mls.SenderMember && h.gone[m.User.String()] {
		return refused(refusal("UP-6", "committer is being removed")), nil
	}
	if r := h.checkPending(staged); r != nil {
		return refused(r), nil
	}
	after, r := CheckCommit(h.view, staged, n.last)
	if r != nil {
		return refused(r), nil
	}
	for _, check := range []func() *policy.Refusal{
		func() *policy.Refusal { return h.checkCommitter(now, from, staged, after) },
		func() *policy.Refusal { return h.checkSenders(staged) },
		func() *policy.Refusal { return h.checkParent(after.state) },
		func() *policy.Refusal { return checkWelcome(staged, req.Welcome) },
		func() *policy.Refusal { return checkTree(staged, &req.RatchetTreeOption) },
	} {
		if r := check(); r != nil {
			return refused(r), nil
		}
	}
	info := rebuildGroupInfo(staged, &req.GroupInfoOption)
	if info == nil {
		return refused(refusal("UP-10", "GroupInfo needs a form without ratchet_tree")), nil
	}
	if err := n.group.Merge(staged, info); err != nil {
		return refused(refusal("UP-10", "GroupInfo does not match the commit")), nil
	}
	n.adopt(after)
	if err := n.findSender(); err != nil {
		return nil, err
	}
	return h.accepted(n, staged, req)
}

// checkCommitter: the committer is where the request comes from, and is not about to be removed.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func (h *Hub) checkCommitter(now uint64, from Origin, s *mls.StagedCommit, after *View) *policy.Refusal {
	var m Member
	if s.Sender().Type == mls.SenderNewMemberCommit {
		leaf, _ := s.AddedLeaf()
		m, _ = after.Member(leaf)
		node, _ := s.Leaf(leaf)
		// draft-ietf-mimi-protocol-06, Section 5.6: the hub correlates the commit with the request before it
		if node == nil || !h.joins.matches(m.Client, node.SignatureKey, now) {
			return refusal("GI-8", "no GroupInfo was requested for this join")
		}
	} else {
		m, _ = h.view.Member(s.Sender().Leaf)
	}
	if m.Client.IsZero() || !from.Is(m.Client) {
		return from.foreign("commit of another client")
	}
	name := m.User.String()
	if h.gone[name] {
		return refusal("UP-6", "committer is being removed")
	}
	if s.Sender().Type == mls.SenderNewMemberCommit && !h.view.state.IsListed(name) {
		return h.checkEntry(now, m, after)
	}
	// draft-ietf-mimi-protocol-06, Section 7.1: an accepted change of role counts before it is committed
	if s.Sender().Type == mls.SenderMember && !sameRole(h.now.RoleOf(name), h.view.state.RoleOf(name)) {
		for _, p := range s.Proposals() {
			if p.Ref == nil {
				return refusal("UP-8", "role of the committer is changing")
			}
		}
	}
	return nil
}

// sameRole tells whether two roles are the same and allow the same.
func sameRole(a, b *policy.Role) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	x, errX := policy.Roles{*a}.Bytes()
	y, errY := policy.Roles{*b}.Bytes()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// checkPending: a member's commit covers every pending proposal that is still valid. An external commit can only
// refer to SelfRemoves and voids the rest.
//
// draft-ietf-mimi-protocol-06, Section 7.3; draft-ietf-mls-extensions, Section 6.3
func (h *Hub) checkPending(s *mls.StagedCommit) *policy.Refusal {
	covered := make(map[string]bool)
	for _, p := range s.Proposals() {
		covered[string(p.Ref)] = true
	}
	gone := make(map[mls.LeafIndex]bool)
	for _, leaf := range s.RemovedLeaves() {
		gone[leaf] = true
	}
	for _, p := range h.group.PendingProposals() {
		if covered[string(p.Ref)] {
			continue
		}
		byMember := p.Sender.Type == mls.SenderMember
		switch {
		case s.Sender().Type == mls.SenderNewMemberCommit && p.Proposal.Type != mls.ProposalSelfRemove:
			continue
		case p.Proposal.Type == mls.ProposalSelfRemove && gone[p.Sender.Leaf]:
			continue // the leaf goes, by whichever proposal
		case p.Proposal.Type == mls.ProposalRemove && gone[p.Proposal.Remove]:
			continue
		case p.Proposal.Type == mls.ProposalUpdate && byMember && (gone[p.Sender.Leaf] || p.Sender == s.Sender()):
			continue // void, or the committer's own, which its path replaces
		}
		return refusal("UP-7", "commit leaves out a pending proposal")
	}
	return nil
}

// checkWelcome: exactly the added KeyPackages find their secrets in the Welcome.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func checkWelcome(s *mls.StagedCommit, w *mls.Welcome) *policy.Refusal {
	expected := make(map[string]bool)
	for _, p := range s.Proposals() {
		if p.Proposal.Type != mls.ProposalAdd {
			continue
		}
		ref, err := p.Proposal.Add.Ref()
		if err != nil {
			return refusal("UP-14", "added KeyPackage has no reference")
		}
		expected[string(ref)] = true
	}
	if w == nil {
		if len(expected) > 0 {
			return refusal("UP-14", "Welcome missing")
		}
		return nil
	}
	if len(expected) == 0 || w.CipherSuite != s.Context().CipherSuite {
		return refusal("UP-14", "Welcome does not belong to this commit")
	}
	for _, secret := range w.Secrets {
		if !expected[string(secret.NewMember)] {
			return refusal("UP-14", "Welcome for a client that is not added")
		}
		delete(expected, string(secret.NewMember))
	}
	if len(expected) > 0 {
		return refusal("UP-14", "added client missing from the Welcome")
	}
	return nil
}

// checkTree: a tree that comes along is the tree we have computed. Other ways to convey it we do not follow.
//
// draft-mahy-mls-ratchet-tree-options-03, Section 3
func checkTree(s *mls.StagedCommit, o *wire.RatchetTreeOption) *policy.Refusal {
	switch o.Representation {
	case wire.TreeDistributionService:
		return nil
	case wire.TreeFull:
		tree, err := s.RatchetTree()
		if err == nil && bytes.Equal(tree, o.RatchetTree) {
			return nil
		}
		return refusal("UP-10", "ratchet tree differs from the commit's")
	}
	return refusal("UP-10", "ratchet tree is conveyed in an unsupported way")
}

// rebuildGroupInfo returns the full GroupInfo of the epoch after s, nil if it is in a form we do not take. Its
// signature is verified on Merge.
//
// draft-mahy-mls-ratchet-tree-options-03, Section 4
func rebuildGroupInfo(s *mls.StagedCommit, o *wire.GroupInfoOption) *mls.GroupInfo {
	if o.GroupInfo != nil {
		return o.GroupInfo
	}
	if o.Partial == nil || o.Partial.RatchetTreePresence != wire.TreeExtensionNone {
		return nil
	}
	signer := s.Sender().Leaf
	if leaf, ok := s.AddedLeaf(); ok && s.Sender().Type == mls.SenderNewMemberCommit {
		signer = leaf
	}
	return &mls.GroupInfo{
		GroupContext:    *s.Context(),
		Extensions:      o.Partial.GroupInfoExtensions,
		ConfirmationTag: s.ConfirmationTag(),
		Signer:          signer,
		Signature:       o.Partial.Signature,
	}
}

// accepted makes the outcome of a commit: n is the room after it.
//
// draft-ietf-mimi-protocol-06, Section 5.5: the commit goes before the Welcome.
func (h *Hub) accepted(n *Hub, s *mls.StagedCommit, req *wire.UpdateRequest) (*UpdateOutcome, error) {
	out := &UpdateOutcome{
		Response: wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: n.last},
		Next:     n,
	}
	commit := wire.FanoutMessage{Timestamp: n.last, Message: req.ProposalOrCommit}
	if s.Sender().Type == mls.SenderNewMemberCommit {
		var r *policy.Refusal
		var err error
		if commit.ExternalProposals, r, err = n.reissue(h, s); err != nil {
			return nil, err
		}
		if r != nil {
			return refused(r), nil
		}
	}
	body, err := commit.Bytes()
	if err != nil {
		return nil, err
	}
	out.Events = append(out.Events, Event{Kind: EventCommit, Timestamp: n.last, Body: body})
	if req.Welcome != nil {
		event, err := n.welcome(req.Welcome)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, event)
		for _, secret := range req.Welcome.Secrets {
			out.Added = append(out.Added, secret.NewMember)
		}
	}
	if leaf, ok := s.AddedLeaf(); ok && s.Sender().Type == mls.SenderNewMemberCommit {
		m, _ := n.view.Member(leaf)
		out.Joined = append(out.Joined, m.Client)
	}
	if by, ok := h.view.Member(s.Sender().Leaf); ok && s.Sender().Type == mls.SenderMember {
		for _, p := range s.Proposals() {
			if p.Ref == nil { // the others were looked at when they were proposed, and have to be committed
				out.Listed = append(out.Listed, listings(&p.Proposal, by.User)...)
			}
		}
	}
	for _, m := range h.view.members {
		if _, ok := n.view.Client(m.Client); !ok {
			out.Removed = append(out.Removed, m.Client)
		}
	}
	return out, nil
}

// welcome makes the event of a Welcome, which carries the tree.
func (h *Hub) welcome(w *mls.Welcome) (Event, error) {
	message, err := wire.NewMLSMessage(&mls.Message{WireFormat: mls.WireFormatWelcome, Welcome: w})
	if err != nil {
		return Event{}, err
	}
	tree, err := h.group.RatchetTree()
	if err != nil {
		return Event{}, err
	}
	fanout := wire.FanoutMessage{Timestamp: h.last, Message: message, RatchetTreeOption: wire.FullTree(tree)}
	body, err := fanout.Bytes()
	return Event{Kind: EventWelcome, Timestamp: h.last, Body: body}, err
}
