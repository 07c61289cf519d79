package room

import (
	"bytes"

	"kith/mimi/mls"
	"kith/mimi/policy"
)

func refusal(rule, reason string) *policy.Refusal {
	return &policy.Refusal{Rule: rule, Reason: reason}
}

// CheckCommit judges a verified commit of the epoch of before: may those who proposed its parts do so, may its
// sender commit, and is what comes out a valid room? It returns the view after the commit if so. Hub and clients
// call it between verifying a commit and merging it, with the time of the event in milliseconds since 1970, so that
// they come to the same answer however late the client is.
func CheckCommit(before *View, s *mls.StagedCommit, at uint64) (*View, *policy.Refusal) {
	after, err := newView(s.Context(), s.Members(), before.ids)
	if err != nil {
		return nil, refusal("PL-4", err.Error())
	}
	if r := checkFresh(before, after, s, at); r != nil {
		return nil, r
	}
	c := &policy.Change{Before: before.state, After: after.state, At: at}
	var joiner who
	switch sender := s.Sender(); sender.Type {
	case mls.SenderMember:
		m, ok := before.Member(sender.Leaf)
		if !ok {
			return nil, refusal("UP-3", "committer is not a member")
		}
		c.Committer = m.User.String()
	case mls.SenderNewMemberCommit:
		leaf, ok := s.AddedLeaf()
		m, found := after.Member(leaf)
		if !ok || !found {
			return nil, refusal("GI-6", "external commit without a joiner")
		}
		c.Committer, c.External, joiner = m.User.String(), true, after.id(leaf)
		if r := before.checkJoiner(m, s.Proposals()); r != nil {
			return nil, r
		}
	default:
		return nil, refusal("UP-3", "sender cannot commit")
	}
	for _, p := range s.Proposals() {
		if r := before.translate(c, p, joiner); r != nil {
			return nil, r
		}
	}
	if r := policy.Check(c); r != nil {
		return nil, r
	}
	if before.listsHub() {
		if r := after.checkHub(); r != nil {
			return nil, r
		}
	}
	return after, nil
}

// checkFresh: credentials that are new to the group are valid at the time they come in. Those that are in it may
// have expired; their clients renew them by a commit.
//
// RFC 9420, Section 5.3.2
func checkFresh(before, after *View, s *mls.StagedCommit, at uint64) *policy.Refusal {
	added := make(map[mls.LeafIndex]bool)
	for _, leaf := range s.AddedLeaves() {
		added[leaf] = true
	}
	if leaf, ok := s.AddedLeaf(); ok {
		added[leaf] = true
	}
	for _, m := range after.members {
		id := after.id(m.Leaf)
		old, ok := before.byClient[m.Client]
		same := ok && bytes.Equal(before.id(before.members[old].Leaf).cert, id.cert)
		if (!same || added[m.Leaf]) && !id.validAt(at) {
			return refusal("CR-5", "new credential is not valid at this time")
		}
	}
	return nil
}

// checkJoiner: a joiner removes nothing but the leaf that the same client had before.
//
// RFC 9420, Section 12.2
func (v *View) checkJoiner(joiner Member, list []mls.StagedProposal) *policy.Refusal {
	for _, p := range list {
		if p.Sender.Type != mls.SenderNewMemberCommit || p.Proposal.Type != mls.ProposalRemove {
			continue
		}
		if old, ok := v.Member(p.Proposal.Remove); !ok || old.Client != joiner.Client {
			return refusal("GI-6", "joiner removes the leaf of another client")
		}
	}
	return nil
}

// translate adds p to c in the words of package policy. joiner is who makes an external commit, if c is one.
func (v *View) translate(c *policy.Change, p mls.StagedProposal, joiner who) *policy.Refusal {
	by, r := v.proposer(p, c.Committer)
	if r != nil {
		return r
	}
	out := policy.Proposal{By: by}
	switch p.Proposal.Type {
	case mls.ProposalAdd:
		id, err := identify(p.Proposal.Add.LeafNode.Credential)
		if err != nil || id.client.IsZero() {
			return refusal("CR-4", "added leaf is not a client")
		}
		out.Kind, out.User = policy.AddClient, id.user.String()
	case mls.ProposalUpdate:
		out.Kind = policy.UpdateClient
	case mls.ProposalRemove:
		m, ok := v.Member(p.Proposal.Remove)
		if !ok {
			return refusal("UP-3", "removed leaf does not exist")
		}
		out.Kind, out.User = policy.RemoveClient, m.User.String()
		out.Rejoin = p.Sender.Type == mls.SenderNewMemberCommit
	case mls.ProposalSelfRemove:
		out.Kind, out.User = policy.RemoveClient, by
	case mls.ProposalAppDataUpdate:
		u := p.Proposal.AppDataUpdate
		out.Kind, out.Component, out.Update = policy.SetComponent, uint16(u.Component), u.Update
		if u.Remove {
			out.Kind = policy.RemoveComponent
		}
		if u.Component == policy.ParticipantList {
			out.Claims = v.claimsOf(p.Sender, joiner)
		}
	case mls.ProposalGroupContextExtensions:
		out.Kind = policy.SetContext
	case mls.ProposalReInit:
		out.Kind = policy.ReInit
	case mls.ProposalExternalInit:
		return nil // how an external commit works; MLS has checked that it is in one
	default:
		out.Kind = policy.Other
	}
	c.Proposals = append(c.Proposals, out)
	return nil
}

// proposer names who made a proposal, as the participant list does.
func (v *View) proposer(p mls.StagedProposal, committer string) (string, *policy.Refusal) {
	switch p.Sender.Type {
	case mls.SenderMember:
		if m, ok := v.Member(p.Sender.Leaf); ok {
			return m.User.String(), nil
		}
	case mls.SenderExternal:
		if i := p.Sender.External; uint64(i) < uint64(len(v.senders)) {
			return v.senders[i], nil
		}
	case mls.SenderNewMemberCommit:
		return committer, nil
	case mls.SenderNewMemberProposal:
		// draft-ietf-mimi-protocol-06, Section 5.6: new devices join by external commits
		return "", refusal("GI-6", "clients join by external commit")
	}
	return "", refusal("UP-3", "sender of a proposal is unknown")
}

// claimsOf are the claims that the credential of a proposal's sender makes.
//
// draft-ietf-mimi-room-policy-03, Section 4
func (v *View) claimsOf(s mls.Sender, joiner who) []policy.PreAuthClaim {
	switch s.Type {
	case mls.SenderMember:
		return v.id(s.Leaf).claims()
	case mls.SenderNewMemberCommit:
		return joiner.claims()
	}
	return nil
}
