package mls

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/cryptobyte"
)

// encrypting does something with a group that encrypts its handshakes.
func (g *Group) encrypting(do func()) {
	before := g.cfg.EncryptHandshakes
	g.cfg.EncryptHandshakes = true
	do()
	g.cfg.EncryptHandshakes = before
}

// privateCommit is Group.Commit with a PrivateMessage, of which it shows the content, too.
func (g *Group) privateCommit(o CommitOptions) (b *CommitBundle, c *Commit, err error) {
	tree, err := marshal(g.secrets.tree)
	if err != nil {
		return nil, nil, err
	}
	if g.encrypting(func() { b, err = g.Commit(o) }); err != nil {
		return nil, nil, err
	}
	// what we have encrypted is read with the key as it was before
	e, in := *g.secrets, cryptobyte.String(tree)
	if e.tree, err = g.state.suite.unmarshalSecretTree(&in); err != nil {
		return nil, nil, err
	}
	ac, _, err := g.state.framing.openPrivate(&e, b.Commit.Private, func(LeafIndex) (SignaturePublicKey, error) {
		return g.client.SignatureKey.Public(), nil
	})
	if err != nil {
		return nil, nil, err
	}
	return b, ac.content.commit, nil
}

// privately is Group.Propose with a PrivateMessage.
func (g *Group) privately(p Proposal, aad []byte) (m *Message, err error) {
	g.encrypting(func() { m, err = g.Propose(p, aad) })
	return m, err
}

// An encrypted commit that comes before one of its proposals is processed again when that is there; one that was not
// merged is processed again after a restart; one that was merged is gone for good.
func TestPrivateCommitIsConsumedByMerge(t *testing.T) {
	w := newWorld(t, 40, nil)
	w.add("m0", "a", "b")
	a, b, m0 := w.members["a"], w.members["b"], w.members["m0"]
	proposal := wire(t, must[*Message](t)(b.privately(AppDataUpdateProposal(7, []byte("x")), nil)))
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
