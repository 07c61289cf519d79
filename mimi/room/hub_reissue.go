package room

import (
	"slices"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// reissue makes anew, as proposals of the hub in the epoch that an external commit has begun, what that commit has
// voided: h is the room after it, old the one before. What the hub's role does not cover, such as a new name, is lost;
// its proposer sees that and asks again. A join link for one user that has let somebody in is revoked along the way;
// if that cannot be, the join is refused.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (h *Hub) reissue(old *Hub, s *mls.StagedCommit) ([]wire.MLSMessage, *policy.Refusal, error) {
	revoked, r, err := h.revokeUsed(old, s)
	if err != nil || r != nil {
		return nil, r, err
	}
	groups, err := h.voided(old, s)
	if err != nil {
		return nil, nil, err
	}
	messages, _, err := h.issue(groups)
	return append(revoked, messages...), nil, err
}

// revokeUsed revokes the join link by which the joiner has come in, unless others may use it, too.
func (h *Hub) revokeUsed(old *Hub, s *mls.StagedCommit) ([]wire.MLSMessage, *policy.Refusal, error) {
	leaf, _ := s.AddedLeaf()
	joiner, _ := h.view.Member(leaf)
	code := old.joins.byClient[joiner.Client].code
	l, ok := old.now.Link(code, h.last)
	if code == nil || !ok || l.Multiuser || old.view.state.IsListed(joiner.User.String()) {
		return nil, nil, nil
	}
	list, err := RevokeJoinLink(h.view, l)
	if err != nil {
		return nil, refusal("GI-2", "join link is revoked"), nil
	}
	return h.issue([][]mls.Proposal{list})
}

// voided lists what an external commit has left over of the pending proposals, in the terms of the new epoch. Each
// group belongs together.
func (h *Hub) voided(old *Hub, s *mls.StagedCommit) ([][]mls.Proposal, error) {
	covered := make(map[string]bool)
	for _, p := range s.Proposals() {
		covered[string(p.Ref)] = true
	}
	var list []mls.StagedProposal
	for _, p := range old.group.PendingProposals() {
		if !covered[string(p.Ref)] && p.Proposal.Type != mls.ProposalSelfRemove {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	groups, err := h.voidedRoles(old)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		again, err := h.voidedProposal(old, &p.Proposal)
		if err != nil {
			return nil, err
		}
		if again != nil {
			groups = append(groups, []mls.Proposal{*again})
		}
	}
	return groups, nil
}

// voidedRoles lists the changes of role, removals and bans that were accepted: each with all clients that its user has
// now. Additions other than bans are not the hub's to make.
func (h *Hub) voidedRoles(old *Hub) ([][]mls.Proposal, error) {
	var groups [][]mls.Proposal
	for _, p := range old.view.state.Participants {
		user, err := mimi.ParseUserID(p.User)
		if err != nil {
			continue // the hub
		}
		role := policy.RoleNone
		if old.now.IsListed(p.User) {
			role = old.now.RoleOf(p.User).RoleIndex
		}
		if role == p.RoleIndex || !h.view.state.IsListed(p.User) {
			continue
		}
		list, err := RemoveUser(h.view, user)
		if role != policy.RoleNone {
			list, err = ChangeRole(h.view, user, role)
		}
		if err != nil {
			return nil, err
		}
		groups = append(groups, list)
	}
	for _, p := range old.now.Participants {
		user, err := mimi.ParseUserID(p.User)
		if err != nil || old.view.state.IsListed(p.User) || !old.now.IsBanned(p.User) {
			continue
		}
		list, err := Ban(h.view, user)
		if err != nil {
			return nil, err
		}
		groups = append(groups, list)
	}
	return groups, nil
}

// voidedProposal is a proposal other than a change of the participant list, as the hub would make it now; nil if the
// hub has no part in it.
func (h *Hub) voidedProposal(old *Hub, p *mls.Proposal) (*mls.Proposal, error) {
	switch p.Type {
	case mls.ProposalRemove:
		before, _ := old.view.Member(p.Remove)
		now, ok := h.view.Client(before.Client)
		if !ok || old.gone[before.User.String()] {
			return nil, nil // it is gone, or goes with its user
		}
		again := mls.RemoveProposal(now.Leaf)
		return &again, nil
	case mls.ProposalAppDataUpdate:
		u := p.AppDataUpdate
		if u.Component == policy.ParticipantList || u.Remove {
			return nil, nil
		}
		// An external commit has changed no component but the participant list: updates mean what they meant.
		again := mls.AppDataUpdateProposal(u.Component, slices.Clone(u.Update))
		return &again, nil
	case mls.ProposalGroupContextExtensions:
		data, _ := p.GroupContextExtensions.Get(mls.ExtensionExternalSenders)
		list, err := mls.UnmarshalExternalSenders(data)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if id, err := identify(s.Credential); err == nil && id.hub == h.view.Hub() {
				return h.rotation(s)
			}
		}
	}
	return nil, nil
}
