package mls

import (
	"bytes"
	"errors"
	"slices"
)

// CommitBundle is what goes to the hub: the commit as PublicMessage, the Welcome (nil if nobody was added) and the
// GroupInfo of the new epoch with external_pub and without ratchet_tree.
type CommitBundle struct {
	Commit    *Message
	Welcome   *Welcome
	GroupInfo *GroupInfo
	// Dropped are the proposals that were left out because others made them invalid, such as the second Remove of
	// one leaf.
	Dropped []StagedProposal
	// Staged shows the group after the commit.
	Staged *StagedCommit
}

// CommitOptions says what a commit is to contain.
type CommitOptions struct {
	Proposals []Proposal // by value, besides all valid pending ones by reference
	ForcePath bool       // a path is made anyway when RFC 9420, Section 12.4 demands one
	// RenewLeaf takes credential, capabilities and leaf extensions from Client, and makes a path for them. Otherwise
	// they stay as they are in the tree.
	RenewLeaf bool
	AAD       []byte
}

// Commit stages a commit of our own. It stays pending, is part of State, and does not change the epoch before
// MergePending; DiscardPending forgets it. While one is pending there is no second one: ErrPendingCommit.
//
// RFC 9420, Section 12.4.1
func (g *Group) Commit(o CommitOptions) (*CommitBundle, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	if g.outgoing != nil {
		return nil, ErrPendingCommit
	}
	if err := g.checkAAD(o.AAD); err != nil {
		return nil, err
	}
	p, dropped, err := g.assemble(o.Proposals)
	if err != nil {
		return nil, err
	}
	b := g.committer(p)
	b.aad = o.AAD
	if b.psks, err = g.findPSKs(p.list.pskIDs()); err != nil {
		return nil, err
	}
	if o.ForcePath || o.RenewLeaf || p.list.pathRequired() {
		if b.newLeaf, err = g.nextLeaf(o.RenewLeaf); err != nil {
			return nil, err
		}
	}
	bundle, err := b.build()
	if err != nil {
		return nil, err
	}
	bundle.Dropped = dropped
	g.outgoing = bundle.Staged
	return bundle, nil
}

// committer begins a commit of ours that leads to p.
func (g *Group) committer(p *provisional) *committer {
	return &committer{
		cfg:        &g.cfg,
		client:     g.client,
		p:          p,
		keys:       g.keys.without(p.tree),
		initSecret: g.secrets.init,
		secrets:    g.secrets,
	}
}

// nextLeaf is our leaf for a path, without keys and signature.
func (g *Group) nextLeaf(renew bool) (*LeafNode, error) {
	if renew {
		return g.cfg.leafNode(g.client, nil)
	}
	old := g.state.tree.leaf(g.leaf)
	return &LeafNode{
		SignatureKey: old.SignatureKey,
		Credential:   old.Credential,
		Capabilities: old.Capabilities,
		Extensions:   old.Extensions,
	}, nil
}

// MergePending enters the epoch of our own pending commit, or makes an external join final.
func (g *Group) MergePending() error {
	switch {
	case g.joining:
		g.joining = false
	case g.outgoing == nil:
		return errors.New("mls: no commit is pending")
	case g.outgoing.base != g.state:
		return ErrStaleCommit
	default:
		g.enter(g.outgoing)
	}
	return nil
}

// DiscardPending forgets our own pending commit. An external join that was refused is dropped with its Group.
func (g *Group) DiscardPending() { g.outgoing = nil }

// PendingCommit shows the group after our own pending commit, nil if there is none.
func (g *Group) PendingCommit() *StagedCommit { return g.outgoing }

// assemble makes a valid list of the pending proposals and of ours by value, and says what it had to leave out.
//
// RFC 9420, Section 12.2
func (g *Group) assemble(values []Proposal) (*provisional, []StagedProposal, error) {
	self := Sender{Type: SenderMember, Leaf: g.leaf}
	byValue := make([]StagedProposal, len(values))
	for i, p := range values {
		byValue[i] = StagedProposal{Proposal: p, Sender: self}
	}
	list, dropped := selectProposals(g.PendingProposals(), byValue, g.leaf)
	p, err := g.applicable(list, self)
	if err == nil {
		return p, dropped, nil
	}
	// something is wrong with one of them: ours must be right, of the pending ones those stay that fit together
	isRef := func(x StagedProposal) bool { return x.Ref != nil }
	ours := slices.DeleteFunc(slices.Clone(list), isRef)
	if p, err = g.applicable(ours, self); err != nil {
		return nil, nil, err
	}
	s := &selection{ours: ours, p: p, dropped: dropped, apply: func(l []StagedProposal) (*provisional, error) { return g.applicable(l, self) }}
	s.add(slices.DeleteFunc(list, func(x StagedProposal) bool { return !isRef(x) }))
	return s.p, s.dropped, nil
}

// selection is a list that grows by what fits to it.
type selection struct {
	apply      func([]StagedProposal) (*provisional, error)
	kept, ours []StagedProposal
	p          *provisional // of kept and ours
	dropped    []StagedProposal
}

// add adds as much of a list as fits, and finds what does not by halving: others' proposals are many and few are bad.
func (s *selection) add(list []StagedProposal) {
	if len(list) == 0 {
		return
	}
	if p, err := s.apply(slices.Concat(s.kept, list, s.ours)); err == nil {
		s.kept, s.p = slices.Concat(s.kept, list), p
		return
	}
	if len(list) == 1 {
		s.dropped = append(s.dropped, list[0])
		return
	}
	s.add(list[:len(list)/2])
	s.add(list[len(list)/2:])
}

// ProposalsToCommit lists the pending proposals that a commit of ours would contain, which are those that are valid
// and that a member may commit: others', not our own Update or SelfRemove. While there are any, the next thing to send
// is that commit. Encrypt insists on it with Config.CommitFirst.
//
// RFC 9420, Section 12.4
func (g *Group) ProposalsToCommit() []StagedProposal {
	if len(g.pending) == 0 || g.ready() != nil {
		return nil
	}
	p, _, err := g.assemble(nil)
	if err != nil {
		return nil
	}
	return slices.Clone(p.list.all)
}

// applicable applies a list and checks that its PSKs are there.
func (g *Group) applicable(list []StagedProposal, self Sender) (*provisional, error) {
	p, err := g.state.applyProposals(&g.cfg, list, self, g.cfg.now())
	if err != nil {
		return nil, err
	}
	if _, err := g.findPSKs(p.list.pskIDs()); err != nil {
		return nil, err
	}
	return p, nil
}

// selectProposals resolves the ordinary conflicts between proposals: of those for one leaf a SelfRemove goes first,
// then a Remove, then the last Update.
//
// RFC 9420, Section 12.2; draft-ietf-mls-extensions, Section 6.3
func selectProposals(pending, values []StagedProposal, own LeafIndex) (list, dropped []StagedProposal) {
	all := slices.Concat(pending, values)
	drop := make([]bool, len(all))
	forLeaf := make(map[LeafIndex]int) // the best so far, by position
	single := make(map[string]int)     // one of a kind, by kind and subject
	for i, p := range all {
		leaf, rank := targetLeaf(p)
		if rank > 0 {
			if leaf == own && p.Ref != nil {
				drop[i] = true
				continue
			}
			best, ok := forLeaf[leaf]
			switch {
			case !ok:
				forLeaf[leaf] = i
			// nobody evades a Remove by sending an Update after it
			case rank > targetRank(all[best]) || rank == 1 && targetRank(all[best]) == 1:
				drop[best] = true
				forLeaf[leaf] = i
			default:
				drop[i] = true
			}
			continue
		}
		if key := singleKey(p); key != "" {
			if j, ok := single[key]; ok {
				// RFC 9420, Section 12.2: one GroupContextExtensions; ours goes before others'
				if p.Proposal.Type == ProposalGroupContextExtensions {
					drop[j] = true
				} else {
					drop[i] = true
					continue
				}
			}
			single[key] = i
		}
	}
	dropReInit(all, drop)
	for i, p := range all {
		if drop[i] {
			dropped = append(dropped, p)
		} else {
			list = append(list, p)
		}
	}
	return list, dropped
}

// dropReInit prefers other proposals over a ReInit, unless it is the committer's.
//
// RFC 9420, Section 12.2
func dropReInit(all []StagedProposal, drop []bool) {
	others, byValue := false, -1
	for i, p := range all {
		switch {
		case drop[i]:
		case p.Proposal.Type != ProposalReInit:
			others = true
		case p.Ref == nil:
			byValue = i
		}
	}
	first := true
	for i, p := range all {
		isReInit := p.Proposal.Type == ProposalReInit
		switch {
		case drop[i]:
		case byValue >= 0:
			drop[i] = i != byValue && p.Ref != nil
		case isReInit && (others || !first):
			drop[i] = true
		case isReInit:
			first = false
		}
	}
}

// targetLeaf is the leaf that a proposal replaces or removes, with the rank of its kind; 0 is no such proposal.
func targetLeaf(p StagedProposal) (LeafIndex, int) {
	switch p.Proposal.Type {
	case ProposalSelfRemove:
		return p.Sender.Leaf, 3
	case ProposalRemove:
		return p.Proposal.Remove, 2
	case ProposalUpdate:
		return p.Sender.Leaf, 1
	}
	return 0, 0
}

func targetRank(p StagedProposal) int {
	_, rank := targetLeaf(p)
	return rank
}

// singleKey names what may be only once in a list, empty for everything else.
func singleKey(p StagedProposal) string {
	switch p.Proposal.Type {
	case ProposalAdd:
		if p.Proposal.Add != nil {
			return "add " + string(p.Proposal.Add.LeafNode.SignatureKey)
		}
	case ProposalPSK:
		if p.Proposal.PSK != nil {
			if id, err := marshal(p.Proposal.PSK); err == nil {
				return "psk " + string(id)
			}
		}
	case ProposalGroupContextExtensions:
		return "extensions"
	}
	return ""
}

// committer makes a commit of a provisional state: a member's or an external one.
type committer struct {
	cfg        *Config
	client     *Client
	p          *provisional
	keys       treeKeys
	initSecret []byte
	secrets    *epochSecrets // of the old epoch; nil for an external commit
	psks       []preSharedKey
	aad        []byte
	newLeaf    *LeafNode // for the path, nil if there is none

	path *newPath
}

// build makes the commit, the Welcome and the GroupInfo.
//
// RFC 9420, Section 12.4.1
func (b *committer) build() (*CommitBundle, error) {
	commit := &Commit{Proposals: b.p.list.references()}
	commitSecret := b.p.old.suite.zero()
	if b.newLeaf != nil {
		if err := b.makePath(commit); err != nil {
			return nil, err
		}
		commitSecret = b.path.commitSecret
		b.keys = b.path.apply(b.keys, b.p.tree, b.p.leaf)
	}
	ac, err := b.sign(commit)
	if err != nil {
		return nil, err
	}
	staged, joiner, pskSecret, err := b.schedule(ac, commitSecret)
	if err != nil {
		return nil, err
	}
	m, err := b.p.old.framing.protect(b.secrets, b.cfg.rand(), ac)
	if err != nil {
		return nil, err
	}
	gi, err := b.cfg.signGroupInfo(b.client.SignatureKey, staged.next, staged.member.secrets, b.p.leaf)
	if err != nil {
		return nil, err
	}
	welcome, err := b.welcome(gi, joiner, pskSecret)
	if err != nil {
		return nil, err
	}
	return &CommitBundle{
		Commit:    m,
		Welcome:   welcome,
		GroupInfo: gi,
		Staged:    staged,
	}, nil
}

// references is the list in its wire form.
func (l *proposalList) references() []ProposalOrRef {
	list := make([]ProposalOrRef, len(l.all))
	for i := range l.all {
		if l.all[i].Ref != nil {
			list[i].Reference = l.all[i].Ref
		} else {
			list[i].Proposal = &l.all[i].Proposal
		}
	}
	return list
}

// makePath generates a path, merges it into the provisional tree as a receiver would, and encrypts it.
//
// RFC 9420, Section 7.5
func (b *committer) makePath(commit *Commit) error {
	p := b.p
	var err error
	if b.path, err = p.tree.generatePath(b.cfg.rand(), p.leaf); err != nil {
		return err
	}
	leaf := *b.newLeaf
	leaf.EncryptionKey, leaf.Source = b.path.leafKey.Public(), LeafNodeSourceCommit
	// the parent hash comes from the path, of which the leaf is no part
	if leaf.ParentHash, err = p.tree.clone().mergeKeys(p.leaf, b.path.publicKeys()); err != nil {
		return err
	}
	if !bytes.Equal(leaf.SignatureKey, b.client.SignatureKey.public) {
		return errors.New("mls: our leaf has another signature key")
	}
	if err := leaf.sign(b.client.SignatureKey, p.old.context.GroupID, p.leaf); err != nil {
		return err
	}
	commit.Path = &UpdatePath{LeafNode: leaf, Nodes: make([]UpdatePathNode, len(b.path.keys))}
	for k, key := range b.path.publicKeys() {
		commit.Path.Nodes[k].EncryptionKey = key
	}
	if err := p.mergePath(b.cfg, commit.Path, true); err != nil {
		return err
	}
	context, err := p.pathContext()
	if err != nil {
		return err
	}
	commit.Path.Nodes, err = b.path.encrypt(b.cfg, p.tree, p.added, context)
	return err
}

// sign makes the signed content of the commit, still without confirmation tag.
func (b *committer) sign(commit *Commit) (*authenticatedContent, error) {
	c := b.p.old.context
	return b.p.old.framing.signContent(b.client.SignatureKey, b.cfg.handshakeFormat(b.p.sender, nil), framedContent{
		groupID:           c.GroupID,
		epoch:             c.Epoch,
		sender:            b.p.sender,
		authenticatedData: b.aad,
		contentType:       ContentTypeCommit,
		commit:            commit,
	})
}

// schedule runs the key schedule, sets the confirmation tag and completes the next epoch.
//
// RFC 9420, Section 12.4.1
func (b *committer) schedule(ac *authenticatedContent, commitSecret []byte) (*StagedCommit, []byte, []byte, error) {
	p := b.p
	s := p.old.suite
	confirmed, err := s.confirmedTranscriptHash(p.old.interim, ac)
	if err != nil {
		return nil, nil, nil, err
	}
	context, err := p.context(confirmed)
	if err != nil {
		return nil, nil, nil, err
	}
	data, err := context.Bytes()
	if err != nil {
		return nil, nil, nil, err
	}
	pskSecret, err := s.pskSecret(b.psks)
	if err != nil {
		return nil, nil, nil, err
	}
	secrets, joiner := s.nextEpochSecrets(b.initSecret, commitSecret, pskSecret, data, p.tree.leafCount())
	ac.auth.confirmationTag = secrets.confirmationTag(confirmed)
	next, err := p.next(context, bytes.Clone(ac.auth.confirmationTag))
	if err != nil {
		return nil, nil, nil, err
	}
	staged := p.staged(next)
	staged.member = &memberEpoch{leaf: p.leaf, keys: b.keys, secrets: secrets}
	return staged, joiner, pskSecret, nil
}

// welcome makes the Welcome for everybody whom the commit adds. The tree stays out: it travels beside.
//
// RFC 9420, Section 12.4.3.1
func (b *committer) welcome(gi *GroupInfo, joiner, pskSecret []byte) (*Welcome, error) {
	if len(b.p.added) == 0 {
		return nil, nil
	}
	s := b.p.old.suite
	sealed, err := s.sealGroupInfo(joiner, pskSecret, gi)
	if err != nil {
		return nil, err
	}
	ids := b.p.list.pskIDs()
	members := make([]newMember, len(b.p.list.adds))
	for k, add := range b.p.list.adds {
		members[k] = newMember{add.Proposal.Add, &groupSecrets{joinerSecret: joiner, psks: ids}}
		if b.path != nil {
			members[k].secrets.pathSecret = b.path.secretFor(b.p.leaf, b.p.added[k])
		}
	}
	w := &Welcome{CipherSuite: s.id, EncryptedGroupInfo: sealed}
	return w, w.addMembers(b.cfg, s, members)
}
