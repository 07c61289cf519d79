package mls

import "errors"

// JoinExternal makes an external commit. proposals may hold PSK, AppDataUpdate, AppEphemeral and at most one Remove
// of the joiner's own old leaf. The group is at the new epoch with the commit pending: it can be used after
// MergePending, when the commit was accepted, and is dropped otherwise.
//
// RFC 9420, Section 12.4.3.2
func JoinExternal(cfg Config, c *Client, gi *GroupInfo, tree RatchetTree, proposals []Proposal, aad []byte) (*Group, *CommitBundle, error) {
	return JoinExternalWith(cfg, c, gi, tree, proposals, nil, aad)
}

// JoinExternalWith is JoinExternal with the SelfRemove proposals that are pending in the group, which the joiner
// must commit.
//
// draft-ietf-mls-extensions, Section 6.3
func JoinExternalWith(cfg Config, c *Client, gi *GroupInfo, tree RatchetTree, proposals []Proposal, pending []*Message, aad []byte) (*Group, *CommitBundle, error) {
	state, err := publicStateFromInfo(&cfg, gi, tree)
	if err != nil {
		return nil, nil, err
	}
	if c.SignatureKey.suite.id != state.suite.id {
		return nil, nil, errOtherSuite
	}
	v := view{cfg: cfg, state: state}
	if err := v.checkAAD(aad); err != nil {
		return nil, nil, err
	}
	external, ok := gi.ExternalPub()
	if !ok {
		return nil, nil, errors.New("mls: group info lacks external_pub")
	}
	kemOutput, initSecret, err := state.suite.externalInitSend(external)
	if err != nil {
		return nil, nil, err
	}
	sender := Sender{Type: SenderNewMemberCommit}
	list := []StagedProposal{{Proposal: Proposal{Type: ProposalExternalInit, ExternalInit: kemOutput}, Sender: sender}}
	for _, p := range proposals {
		list = append(list, StagedProposal{Proposal: p, Sender: sender})
	}
	for _, m := range pending {
		p, err := v.receiveSelfRemove(m)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, *p)
	}
	p, err := state.applyProposals(&cfg, list, sender, cfg.now())
	if err != nil {
		return nil, nil, err
	}
	leaf, err := cfg.leafNode(c, nil)
	if err != nil {
		return nil, nil, err
	}
	b := &committer{cfg: &cfg, client: c, p: p, keys: treeKeys{}, initSecret: initSecret, aad: aad, newLeaf: leaf}
	if b.psks, err = findPSKs(&cfg, p.list.pskIDs(), nil); err != nil {
		return nil, nil, err
	}
	bundle, err := b.build()
	if err != nil {
		return nil, nil, err
	}
	g := &Group{
		view:        view{cfg: cfg, state: bundle.Staged.next, member: true},
		client:      c,
		memberEpoch: *bundle.Staged.member,
		joining:     true,
	}
	return g, bundle, nil
}

// receiveSelfRemove verifies a pending SelfRemove, all but its membership tag.
//
// draft-ietf-mls-extensions, Section 6.3
func (v *view) receiveSelfRemove(m *Message) (*StagedProposal, error) {
	if m.Public == nil || m.ContentType() != ContentTypeProposal || m.Public.content.proposal.Type != ProposalSelfRemove {
		return nil, errors.New("mls: not a SelfRemove")
	}
	key, err := v.open(&m.Public.content)
	if err != nil {
		return nil, err
	}
	ac, err := v.state.framing.verifyPublic(key, m.Public)
	if err != nil {
		return nil, err
	}
	return v.receiveProposal(ac, v.receivedAt())
}

// ProposeExternal makes a proposal of a party outside of the group, which is the entry with the given index of the
// external_senders extension of c. The members and the hub process it like any other proposal.
//
// RFC 9420, Section 12.1.8
func ProposeExternal(c *GroupContext, index uint32, key *SignatureKey, p Proposal, aad []byte) (*Message, error) {
	if !p.Type.allowedExternally() || !p.complete() {
		return nil, errors.New("mls: proposal type is not for external senders")
	}
	return signOutside(c, Sender{Type: SenderExternal, External: index}, key, p, aad)
}

// ProposeJoin makes a proposal of a client to add itself with a KeyPackage of its own.
//
// RFC 9420, Section 12.1.8
func ProposeJoin(c *GroupContext, key *SignatureKey, kp *KeyPackage, aad []byte) (*Message, error) {
	return signOutside(c, Sender{Type: SenderNewMemberProposal}, key, AddProposal(kp), aad)
}

func signOutside(c *GroupContext, sender Sender, key *SignatureKey, p Proposal, aad []byte) (*Message, error) {
	f, err := newFraming(c)
	if err != nil {
		return nil, err
	}
	ac, err := f.signContent(key, WireFormatPublicMessage, framedContent{
		groupID:           c.GroupID,
		epoch:             c.Epoch,
		sender:            sender,
		authenticatedData: aad,
		contentType:       ContentTypeProposal,
		proposal:          &p,
	})
	if err != nil {
		return nil, err
	}
	return f.protect(nil, nil, ac)
}
