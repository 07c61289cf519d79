package mls

import (
	"bytes"
	"testing"
)

// storedGroups are members in all the states that are stored: with proposals pending, with a commit pending, with past
// epochs and left out messages, joining, removed.
func storedGroups(f testing.TB) (*world, []*Group) {
	w, _ := outsideWorld(f, 73)
	var list []*Group
	w.commit("a", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(1, bytes.Repeat([]byte("x"), 100))}})
	must[*Message](f)(w.members["b"].Encrypt(nil, nil))
	late := wire(f, must[*Message](f)(w.members["b"].Encrypt(nil, []byte("late"))))
	w.commit("a", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(1, []byte("y"))}})
	must[*Received](f)(w.members["c"].Process(late))
	list = append(list, w.members["c"])
	must[*Message](f)(w.members["b"].ProposeUpdate(nil))
	must[*Message](f)(w.members["b"].Propose(RemoveProposal(0), nil))
	list = append(list, w.members["b"])
	_, key := w.keyPackage("d")
	must[*CommitBundle](f)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{
		AddProposal(key.KeyPackage), RemoveProposal(w.members["c"].OwnLeaf()),
	}}))
	list = append(list, w.members["a"])
	g, _, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), must[RatchetTree](f)(w.hub.RatchetTree()), nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	list = append(list, g)
	gone := saveRestore(f, w.cfg, w.members["c"])
	b := must[*CommitBundle](f)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{RemoveProposal(gone.OwnLeaf())}}))
	if err := gone.Merge(must[*Received](f)(gone.Process(wire(f, b.Commit))).Commit); err != nil {
		f.Fatal(err)
	}
	w.members["m0"].DiscardPending()
	return w, append(list, gone)
}

// Stored state comes from our own disk, which may be damaged. What is restored has one form from then on; nearly
// always that is the form it was restored from, but there is more than one way to write a difference.
func FuzzRestoreGroup(f *testing.F) {
	w, groups := storedGroups(f)
	for _, g := range groups {
		f.Add(must[[]byte](f)(g.State()), must[[]byte](f)(g.RatchetState()))
	}
	client := groups[0].client
	f.Fuzz(func(t *testing.T, state, ratchets []byte) {
		var g *Group
		var err error
		// each past epoch has a list of leaves as long as the tree was wide
		checkAllocation(t, len(state)+len(ratchets)+maxPast*maxLeaves/8, func() { g, err = RestoreGroup(w.cfg, client, state, ratchets) })
		if err != nil {
			return
		}
		first := must[[]byte](t)(g.State())
		if again := must[[]byte](t)(g.RatchetState()); !bytes.Equal(again, ratchets) {
			t.Fatalf("ratchets %x re-encode to %x", ratchets, again)
		}
		if len(g.past) == 0 && state[0] == stateVersion && !bytes.Equal(first, state) {
			t.Fatalf("%x re-encodes to %x", state, first)
		}
		second := must[*Group](t)(RestoreGroup(w.cfg, client, first, ratchets))
		if again := must[[]byte](t)(second.State()); !bytes.Equal(again, first) {
			t.Fatalf("%x re-encodes to %x", first, again)
		}
	})
}

func FuzzRestorePublicGroup(f *testing.F) {
	w, _ := fuzzWorld(f)
	f.Add(must[[]byte](f)(w.hub.State()))
	w.members["a"].DiscardPending()
	w.commit("a", CommitOptions{})
	f.Add(must[[]byte](f)(w.hub.State()))
	f.Fuzz(func(t *testing.T, state []byte) {
		var p *PublicGroup
		var err error
		checkAllocation(t, len(state), func() { p, err = RestorePublicGroup(w.cfg, state) })
		if err != nil {
			return
		}
		if again := must[[]byte](t)(p.State()); !bytes.Equal(again, state) {
			t.Fatalf("%x re-encodes to %x", state, again)
		}
	})
}
