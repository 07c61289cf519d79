package mls

import (
	"bytes"
	"testing"
)

// fuzzWorld is a small group with pending proposals, and messages of all kinds to start from.
func fuzzWorld(f *testing.F) (*world, [][]byte) {
	f.Helper()
	w := newWorld(f, 99, nil)
	w.add("m0", "a", "b", "c")
	w.tell("b", must[*Message](f)(w.members["b"].Propose(RemoveProposal(w.members["c"].OwnLeaf()), nil)))
	_, key := w.keyPackage("d")
	b := must[*CommitBundle](f)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{
		AddProposal(key.KeyPackage), AppDataUpdateProposal(1, []byte("x")),
	}}))
	_, x, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), must[RatchetTree](f)(w.hub.RatchetTree()), nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][]byte
	for _, m := range []*Message{
		b.Commit, x.Commit, must[*Message](f)(w.members["b"].ProposeUpdate(nil)), must[*Message](f)(w.members["c"].SelfRemove(nil)),
		must[*Message](f)(w.members["b"].Encrypt(nil, []byte("text"))), {WireFormat: WireFormatWelcome, Welcome: b.Welcome},
	} {
		seeds = append(seeds, must[[]byte](f)(m.Bytes()))
	}
	return w, seeds
}

// Whatever a hub receives: no panic, and nothing changes but a pending proposal.
func FuzzPublicGroupProcess(f *testing.F) {
	w, seeds := fuzzWorld(f)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := UnmarshalMessage(data)
		if err != nil {
			return
		}
		hub := w.hub.Clone()
		if r, err := hub.Process(m); err == nil && r.Commit != nil {
			_ = r.Commit.Members()
		}
		if hub.state != w.hub.state {
			t.Error("the epoch changed")
		}
	})
}

// The same for a member.
func FuzzGroupProcess(f *testing.F) {
	w, seeds := fuzzWorld(f)
	for _, s := range seeds {
		f.Add(s)
	}
	g := w.members["m0"]
	state := must[[]byte](f)(g.State())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := UnmarshalMessage(data)
		if err != nil {
			return
		}
		member := *g
		if r, err := member.Process(m); err == nil && r.Commit != nil {
			_ = r.Commit.Members()
		}
		if after, err := g.State(); err != nil || !bytes.Equal(after, state) {
			t.Error("the state changed")
		}
	})
}

// A member that follows no rules signs whatever commit there is: no panic, and hub and members agree on which
// commits break a rule that both can see.
func FuzzForgedCommit(f *testing.F) {
	w, seeds := fuzzWorld(f)
	for _, s := range seeds[:2] {
		m := must[*Message](f)(UnmarshalMessage(s))
		f.Add(must[[]byte](f)(marshal(m.Public.content.commit)), false)
		f.Add(must[[]byte](f)(marshal(m.Public.content.commit)), true)
	}
	signer := w.members["a"]
	f.Fuzz(func(t *testing.T, data []byte, resignLeaf bool) {
		commit := new(Commit)
		if unmarshalAll(data, commit) != nil {
			return
		}
		if resignLeaf && commit.Path != nil {
			l := &commit.Path.LeafNode
			l.SignatureKey = signer.client.SignatureKey.Public()
			if l.sign(signer.client.SignatureKey, []byte("group"), signer.leaf) != nil {
				return
			}
		}
		c := signer.content(ContentTypeCommit, nil)
		c.commit = commit
		ac, err := w.hub.state.framing.signContent(signer.client.SignatureKey, WireFormatPublicMessage, c)
		if err != nil {
			return
		}
		ac.auth.confirmationTag = make([]byte, 32)
		p := must[*PublicMessage](t)(w.hub.state.framing.protectPublic(signer.secrets.membership, ac))
		m := wire(t, &Message{WireFormat: WireFormatPublicMessage, Public: p})
		_, hubErr := w.hub.Clone().Process(m)
		member := *w.members["m0"]
		r, memberErr := member.Process(m)
		if hubErr != nil && (memberErr == nil || memberErr.Error() != hubErr.Error()) {
			t.Errorf("hub: %v, member: %v", hubErr, memberErr)
		}
		if hubErr == nil && memberErr == nil && !r.Commit.Removed() {
			t.Error("a member accepted a wrong confirmation tag")
		}
	})
}

// A ratchet tree: what decodes has one encoding, and validation never panics.
func FuzzRatchetTree(f *testing.F) {
	w, _ := fuzzWorld(f)
	f.Add([]byte(must[RatchetTree](f)(w.hub.RatchetTree())))
	w.members["a"].DiscardPending()
	w.commit("m0", CommitOptions{})
	f.Add([]byte(must[RatchetTree](f)(w.hub.RatchetTree())))
	w.commit("a", CommitOptions{})
	f.Add([]byte(must[RatchetTree](f)(w.hub.RatchetTree())))
	rules := must[*groupRules](f)(newGroupRules(&Config{}, suite1, []byte("group"), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tree *ratchetTree
		var err error
		checkAllocation(t, len(data), func() { tree, err = unmarshalRatchetTree(suite1, data) })
		if err != nil {
			return
		}
		again, err := tree.marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x re-encodes to %x", data, again)
		}
		_ = tree.validate(rules, &Config{Application: testApp{}})
		_ = tree.checkUnmergedLeaves()
		_ = tree.verifyParentHashes()
		_, _ = tree.rootHash()
	})
}

// Pieces of the ratchet state, too.
func FuzzRestoreGroupFrom(f *testing.F) {
	w := bigWorld(f, 20, 19)
	w.say("m0", "something")
	g := w.members["m19"]
	state := must[[]byte](f)(g.State())
	for _, p := range must[[]RatchetPiece](f)(g.RatchetChanges()) {
		f.Add(p.Epoch, p.Part, p.Data)
	}
	f.Fuzz(func(t *testing.T, epoch uint64, part uint32, data []byte) {
		again, err := RestoreGroupFrom(w.cfg, g.client, state, []RatchetPiece{{epoch, part, data}})
		if err != nil {
			return
		}
		if changed := must[[]RatchetPiece](t)(again.RatchetChanges()); len(changed) != 0 {
			t.Fatalf("%d pieces changed by restoring", len(changed))
		}
		if written := must[[]byte](t)(marshal(again.secrets.tree.part(part))); !bytes.Equal(written, data) {
			t.Fatalf("%x re-encodes to %x", data, written)
		}
	})
}
