package mls

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"
)

// privateCommit is Group.Commit with a PrivateMessage.
func (g *Group) privateCommit(o CommitOptions) (*CommitBundle, *Commit, error) {
	p, dropped, err := g.assemble(o.Proposals)
	if err != nil {
		return nil, nil, err
	}
	c := g.committer(p)
	c.aad = o.AAD
	if c.psks, err = g.findPSKs(p.list.pskIDs()); err != nil {
		return nil, nil, err
	}
	commit := &Commit{Proposals: p.list.references()}
	secret := p.old.suite.zero()
	if o.ForcePath || o.RenewLeaf || p.list.pathRequired() {
		if c.newLeaf, err = g.nextLeaf(o.RenewLeaf); err != nil {
			return nil, nil, err
		}
		if err := c.makePath(commit); err != nil {
			return nil, nil, err
		}
		secret, c.keys = c.path.commitSecret, c.path.apply(c.keys, p.tree, p.leaf)
	}
	content := g.content(ContentTypeCommit, o.AAD)
	content.commit = commit
	ac, err := g.state.framing.signContent(g.client.SignatureKey, WireFormatPrivateMessage, content)
	if err != nil {
		return nil, nil, err
	}
	staged, joiner, pskSecret, err := c.schedule(ac, secret)
	if err != nil {
		return nil, nil, err
	}
	msg, err := g.state.framing.protectPrivate(g.secrets, g.cfg.rand(), ac)
	if err != nil {
		return nil, nil, err
	}
	info, err := g.cfg.signGroupInfo(g.client.SignatureKey, staged.next, staged.member.secrets, p.leaf)
	if err != nil {
		return nil, nil, err
	}
	welcome, err := c.welcome(info, joiner, pskSecret)
	g.outgoing = staged
	return &CommitBundle{
		Commit: &Message{WireFormat: WireFormatPrivateMessage, Private: msg}, Welcome: welcome, GroupInfo: info,
		Dropped: dropped, Staged: staged,
	}, commit, err
}

// reframe makes a PrivateMessage of the proposal that we have just made.
func (g *Group) reframe(aad []byte) (*Message, error) {
	own := &g.pending[len(g.pending)-1]
	content := g.content(ContentTypeProposal, aad)
	content.proposal = &own.Proposal
	ac, err := g.state.framing.signContent(g.client.SignatureKey, WireFormatPrivateMessage, content)
	if err != nil {
		return nil, err
	}
	if own.Ref, err = g.state.suite.proposalRef(ac); err != nil {
		return nil, err
	}
	msg, err := g.state.framing.protectPrivate(g.secrets, g.cfg.rand(), ac)
	return &Message{WireFormat: WireFormatPrivateMessage, Private: msg}, err
}

// An encrypted commit that comes before one of its proposals is processed again when that is there; one that was not
// merged is processed again after a restart; one that was merged is gone for good.
func TestPrivateCommitIsConsumedByMerge(t *testing.T) {
	w := newWorld(t, 40, nil)
	w.add("m0", "a", "b")
	a, b, m0 := w.members["a"], w.members["b"], w.members["m0"]
	must[*Message](t)(b.Propose(AppDataUpdateProposal(7, []byte("x")), nil))
	proposal := wire(t, must[*Message](t)(b.reframe(nil)))
	must[*Received](t)(a.Process(proposal))
	if _, err := a.Process(proposal); err != ErrReplayed {
		t.Errorf("proposal again: %v", err)
	}
	bundle, _, err := a.privateCommit(CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	commit := wire(t, bundle.Commit)
	before := must[[]byte](t)(m0.RatchetState())
	for range 2 {
		if _, err := m0.Process(commit); err == nil || err.Error() != "mls: commit refers to an unknown proposal" {
			t.Fatalf("early commit: %v", err)
		}
	}
	equal(t, "ratchets", must[[]byte](t)(m0.RatchetState()), before)
	must[*Received](t)(m0.Process(proposal))
	must[*Received](t)(m0.Process(commit))
	m0 = saveRestore(t, w.cfg, m0)
	key := bytes.Clone(must[*keyUse](t)(m0.secrets.tree.find(a.leaf, handshakeRatchet, 0)).key)
	r := must[*Received](t)(m0.Process(commit))
	if err := m0.Merge(r.Commit); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(must[[]byte](t)(m0.RatchetState()), key) {
		t.Error("the key of the commit is stored")
	}
	if _, err := m0.Process(commit); err != ErrPastEpoch {
		t.Errorf("commit again: %v", err)
	}
	must[*Received](t)(b.Process(commit)) // b's own proposal is in it
}

// A member that encrypts its handshakes proposes and commits as others do; only what must be public is.
func TestEncryptHandshakes(t *testing.T) {
	w := newWorld(t, 42, nil)
	w.add("m0", "a", "b")
	for _, g := range w.members {
		g.cfg.EncryptHandshakes = true
	}
	a, b, m0 := w.members["a"], w.members["b"], w.members["m0"]
	share := func(from *Group, m *Message) {
		t.Helper()
		for _, g := range w.members {
			if g != from {
				must[*Received](t)(g.Process(m))
			}
		}
	}
	update := wire(t, must[*Message](t)(b.ProposeUpdate(nil)))
	data := wire(t, must[*Message](t)(m0.Propose(AppDataUpdateProposal(7, []byte("x")), nil)))
	for _, m := range []*Message{update, data} {
		if m.Private == nil {
			t.Fatal("a proposal is public")
		}
	}
	share(b, update)
	share(m0, data)
	c, k := w.keyPackage("c")
	bundle := must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{AddProposal(k.KeyPackage)}}))
	commit := wire(t, bundle.Commit)
	if commit.Private == nil || len(bundle.Staged.Proposals()) != 3 {
		t.Fatalf("public, or %d proposals", len(bundle.Staged.Proposals()))
	}
	if _, err := w.hub.Process(commit); err == nil {
		t.Error("the verifier without secrets took a PrivateMessage")
	}
	a = saveRestore(t, a.cfg, a)
	if _, err := a.Process(commit); err != ErrOwnMessage {
		t.Errorf("our own commit: %v", err)
	}
	if err := a.MergePending(); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*Group{b, m0} {
		r := must[*Received](t)(g.Process(commit))
		if err := g.Merge(r.Commit); err != nil {
			t.Fatal(err)
		}
	}
	joined := must[*Group](t)(JoinWelcome(w.cfg, c, bundle.Welcome, must[RatchetTree](t)(a.RatchetTree()), k))
	for _, g := range []*Group{b, m0, joined} {
		equal(t, "epoch authenticator", g.EpochAuthenticator(), a.EpochAuthenticator())
	}
	if m := must[*Message](t)(b.SelfRemove(nil)); m.Public == nil {
		t.Error("a SelfRemove is encrypted")
	}
}

// A proposal that cannot be encrypted is not kept: a commit with it would be of no use to the others.
func TestProposalThatCannotBeEncrypted(t *testing.T) {
	w := newWorld(t, 43, nil)
	w.add("m0", "a")
	a := w.members["a"]
	a.cfg.EncryptHandshakes, a.cfg.Rand = true, iotest.ErrReader(errors.New("test: no randomness"))
	if _, err := a.Propose(AppDataUpdateProposal(7, []byte("x")), nil); err == nil || len(a.pending) != 0 {
		t.Errorf("%d proposals are kept, %v", len(a.pending), err)
	}
}
