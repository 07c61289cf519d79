package mls

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// pieceStore is what an application keeps of the ratchet state.
type pieceStore map[pieceID][]byte

type pieceID struct {
	epoch uint64
	part  uint32
}

// save applies what changed and returns how many octets were written in how many pieces.
func (s pieceStore) save(t testing.TB, g *Group) (size, count int) {
	t.Helper()
	for _, p := range must[[]RatchetPiece](t)(g.RatchetChanges()) {
		id := pieceID{p.Epoch, p.Part}
		if _, there := s[id]; p.Data == nil && !there {
			t.Errorf("piece %v is deleted, but was never there", id)
		}
		if size, count = size+len(p.Data), count+1; p.Data == nil {
			delete(s, id)
		} else {
			s[id] = p.Data
		}
	}
	return size, count
}

func (s pieceStore) list() []RatchetPiece {
	var list []RatchetPiece
	for id, data := range s {
		list = append(list, RatchetPiece{id.epoch, id.part, data})
	}
	return list
}

// TestRatchetStateSize prints what is written after a message in a group of a thousand, a hundred with -short, from the
// best case to the worst: one member talks; everybody has sent in the current epoch; in all epochs that are kept.
func TestRatchetStateSize(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	w := bigWorld(t, n, n-1)
	g, store := w.members[fmt.Sprint("m", n-1)], pieceStore{}
	step := func(what string, limit int) {
		t.Helper()
		size, count := store.save(t, g)
		t.Logf("%-36s whole %6d bytes; changed %5d bytes in %d pieces", what, len(must[[]byte](t)(g.RatchetState())), size, count)
		if size > limit {
			t.Errorf("%d bytes written", size)
		}
	}
	step("new epoch", 2000)
	w.say("m0", "hello")
	step("the first message", 2000)
	w.say("m0", "hello again")
	step("the second one", 2000)
	for epoch := range maxPast + 1 {
		most := 0
		for i := range LeafIndex(n) {
			use := must[*keyUse](t)(g.secrets.tree.find(i, applicationRatchet, 5))
			use.apply()
			size, _ := store.save(t, g)
			most = max(most, size)
		}
		t.Logf("everybody sends: at most %d bytes for a message", most)
		if most > 8000 {
			t.Errorf("%d bytes for a message", most)
		}
		w.say("m0", "and on")
		step(fmt.Sprintf("everybody has sent in %d epochs", epoch+1), 8000)
		w.commit("m0", CommitOptions{})
		step("next epoch", 2000)
	}
	again := must[*Group](t)(RestoreGroupFrom(w.cfg, g.client, must[[]byte](t)(g.State()), store.list()))
	equal(t, "ratchet state", must[[]byte](t)(again.RatchetState()), must[[]byte](t)(g.RatchetState()))
}

// Whatever happens, the pieces make the same group as the whole, no more is written than changed, and nothing stays
// behind.
func TestRatchetPieces(t *testing.T) {
	for _, n := range []int{2, 16, 17, 70} {
		w := bigWorld(t, n, n-1)
		name := fmt.Sprint("m", n-1)
		store := pieceStore{}
		for round := range 60 {
			g := w.members[name]
			switch w.r.IntN(7) {
			case 0:
				w.commit("m0", CommitOptions{})
			case 1:
				w.commit(name, CommitOptions{})
			case 2:
				w.say(name, "from us")
			case 3, 4:
				leaf := LeafIndex(1 + w.r.IntN(max(1, n-2))) // who is not there sends, in any epoch
				epochs := g.ratchetEpochs()
				tree := epochs[w.r.IntN(len(epochs))].secrets.tree
				if leaf == g.leaf {
					continue
				}
				if use, err := tree.find(leaf, ratchetKind(w.r.IntN(2)), uint32(round)); err == nil {
					use.apply()
				}
			default:
				w.say("m0", "to us")
			}
			store.save(t, g)
			if _, count := store.save(t, g); count != 0 {
				t.Fatalf("%d members, round %d: %d pieces changed by themselves", n, round, count)
			}
			again := must[*Group](t)(RestoreGroupFrom(w.cfg, g.client, must[[]byte](t)(g.State()), store.list()))
			equal(t, "ratchet state", must[[]byte](t)(again.RatchetState()), must[[]byte](t)(g.RatchetState()))
			if _, count := store.save(t, again); count != 0 {
				t.Fatalf("%d members, round %d: %d pieces changed by restoring", n, round, count)
			}
			if round%3 == 0 {
				w.members[name] = again
			}
		}
		for piece := range store {
			if current := w.members[name].Epoch(); piece.epoch > current || piece.epoch+maxPast < current {
				t.Errorf("piece %v in epoch %d", piece, current)
			}
		}
		g := w.members[name]
		w.commit("m0", CommitOptions{Proposals: []Proposal{RemoveProposal(LeafIndex(n - 1))}})
		if store.save(t, g); len(store) != 0 {
			t.Errorf("%d pieces stay behind when we are removed", len(store))
		}
	}
}

// Pieces that are missing, changed or of something else are refused.
func TestRatchetPiecesDamaged(t *testing.T) {
	w := bigWorld(t, 40, 39)
	g, store := w.members["m39"], pieceStore{}
	w.say("m0", "one")
	w.commit("m0", CommitOptions{})
	w.say("m0", "two")
	w.say("m39", "three")
	store.save(t, g)
	state := must[[]byte](t)(g.State())
	restore := func(pieces []RatchetPiece) error {
		_, err := RestoreGroupFrom(w.cfg, g.client, state, pieces)
		return err
	}
	list := store.list()
	if err := restore(list); err != nil {
		t.Fatal(err)
	}
	if restore(nil) == nil {
		t.Error("restored without pieces")
	}
	if restore(append(list, list[0])) == nil {
		t.Error("restored with a piece twice")
	}
	for i, p := range list {
		for what, bad := range map[string]RatchetPiece{
			"epoch":     {p.Epoch + 10, p.Part, p.Data},
			"part":      {p.Epoch, p.Part + 1, p.Data},
			"other":     {p.Epoch, p.Part, list[(i+1)%len(list)].Data},
			"length":    {p.Epoch, p.Part, p.Data[:len(p.Data)-1]},
			"more":      {p.Epoch, p.Part, append(slices.Clone(p.Data), 0)},
			"emptiness": {p.Epoch, p.Part, nil},
		} {
			changed := slices.Clone(list)
			changed[i] = bad
			if restore(changed) == nil {
				t.Errorf("piece %d: restored with another %s", i, what)
			}
		}
	}
}

// A piece belongs to its name: neither one beyond the tree nor a node above the leaves of the piece is taken.
func TestRatchetPiecesAreWhereTheyBelong(t *testing.T) {
	w := bigWorld(t, 64, 63)
	g, store := w.members["m63"], pieceStore{}
	w.say("m0", "hello")
	store.save(t, g)
	c := w.members["m63"].client
	state := must[[]byte](t)(g.State())
	must[*Group](t)(RestoreGroupFrom(w.cfg, c, state, store.list()))
	for _, part := range []uint32{0, topPart} {
		id := pieceID{g.Epoch(), part}
		for _, other := range []uint32{1 << 27, 4, topPart - 1, topPart + 1, 1<<27 + topPart} {
			moved := maps.Clone(store)
			delete(moved, id)
			moved[pieceID{g.Epoch(), other}] = store[id]
			if again, err := RestoreGroupFrom(w.cfg, c, state, moved.list()); err == nil || again != nil {
				t.Errorf("piece %x taken for %x", other, part)
			}
		}
	}
	tree := newSecretTree(g.state.suite, make([]byte, 32), 64)
	tree.nodes = map[uint32][]byte{30: make([]byte, 32), 31: make([]byte, 32), 32: make([]byte, 32)}
	for part, want := range map[uint32]uint32{0: 30, topPart: 31, 1: 32} {
		if p := tree.part(part); len(p.nodes) != 1 || p.nodes[want] == nil {
			t.Errorf("part %x has %d nodes", part, len(p.nodes))
		}
	}
}
