package mls

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// The difference of two texts that were chosen to make it long or slow.
func TestComplexityDelta(t *testing.T) {
	fill := func(n int) []byte {
		out := make([]byte, n)
		_, _ = newRandom(71).Read(out)
		return out
	}
	for name, input := range map[string]func(n int) (ref, target []byte){
		"zeros":     func(n int) ([]byte, []byte) { return make([]byte, n), make([]byte, n+1) },
		"repeated":  func(n int) ([]byte, []byte) { return bytes.Repeat([]byte("0123456789abcdef"), n/16), make([]byte, n) },
		"ten times": func(n int) ([]byte, []byte) { ref := fill(n); return ref, bytes.Repeat(ref, 10) },
		"backwards": func(n int) ([]byte, []byte) {
			ref := fill(n)
			var target []byte
			for i := len(ref) / deltaBlock; i > 0; i-- {
				target = append(target, ref[(i-1)*deltaBlock:i*deltaBlock]...)
			}
			return ref, target
		},
		"holes": func(n int) ([]byte, []byte) {
			ref := make([]byte, n)
			target := make([]byte, n)
			for i := 0; i < n; i += 40 {
				target[i] = 1
			}
			return ref, target
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkGrowth(t, 1<<15, func(t testing.TB, n int) (int, func()) {
				ref, target := input(n)
				return len(ref) + len(target), func() {
					var b cryptobyte.Builder
					addDelta(&b, ref, target)
					data := b.BytesOrPanic()
					if len(data) > 2*(len(ref)+len(target))+64 {
						t.Fatalf("%d octets for %d and %d", len(data), len(ref), len(target))
					}
					in := cryptobyte.String(data)
					if again := must[[]byte](t)(readDelta(&in, ref)); !bytes.Equal(again, target) {
						t.Fatal("another target")
					}
				}
			})
		})
	}
	// nor can a damaged one ask for more than there is
	var b cryptobyte.Builder
	ref := make([]byte, 1<<10)
	for range 100 {
		addDeltaPiece(&b, 0, len(ref), nil)
	}
	var list cryptobyte.Builder
	syntax.AddVector(&list, b.BytesOrPanic())
	in := cryptobyte.String(list.BytesOrPanic())
	if _, err := readDelta(&in, ref); err == nil {
		t.Error("a difference of many times its reference")
	}
}

// Saving and restoring a member: in proportion to the members, also where each has sent and left out messages.
func TestComplexityState(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a large group")
	}
	checkGrowth(t, 32, func(t testing.TB, n int) (int, func()) {
		w := bigWorld(t, n, 1)
		g := w.members["m1"]
		for i := range n {
			use := must[*keyUse](t)(g.secrets.tree.find(LeafIndex(i), applicationRatchet, 30))
			use.consume()
		}
		state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
		return len(state) + len(ratchets), func() {
			again := must[*Group](t)(RestoreGroup(w.cfg, g.client, state, ratchets))
			equal(t, "state", must[[]byte](t)(again.State()), state)
			equal(t, "ratchets", must[[]byte](t)(again.RatchetState()), ratchets)
		}
	})
}

// countingApp counts the credentials that it is asked about.
type countingApp struct {
	testApp
	asked *int
}

func (a countingApp) ValidateCredential(c Credential, key SignaturePublicKey, old *Credential) error {
	*a.asked++
	return a.testApp.ValidateCredential(c, key, old)
}

// Many good proposals and some that a commit cannot hold: who commits drops these without verifying the others again
// and again.
func TestLesson15BadProposalsCostLittle(t *testing.T) {
	w := newWorld(t, 72, nil)
	w.add("m0", "a")
	asked := 0
	g := w.members["a"]
	g.cfg.Application = countingApp{asked: &asked}
	const adds, bad = 60, 20
	for i := range adds {
		_, key := w.keyPackage(fmt.Sprint("k", i))
		must[*Received](t)(g.Process(wire(t, must[*Message](t)(w.members["m0"].Propose(AddProposal(key.KeyPackage), nil)))))
		if i%(adds/bad) == 0 {
			m := must[*Message](t)(w.members["m0"].Propose(AppDataUpdateProposal(1, []byte("no")), []byte{byte(i)}))
			must[*Received](t)(g.Process(wire(t, m)))
		}
	}
	if asked != adds {
		t.Errorf("asked about %d credentials for %d proposals", asked, adds)
	}
	b := must[*CommitBundle](t)(g.Commit(CommitOptions{}))
	if len(b.Dropped) != bad || len(b.Staged.AddedLeaves()) != adds {
		t.Errorf("%d dropped, %d added", len(b.Dropped), len(b.Staged.AddedLeaves()))
	}
	if asked != adds {
		t.Errorf("asked about %d credentials in all", asked)
	}
}

// What no group of ours has is not restored: more past than is kept, a tree larger than its leaves make it, flags of
// no meaning, keys out of order.
func TestRestoreRefusesWhatNobodyStored(t *testing.T) {
	w := newWorld(t, 73, nil)
	w.add("m0", "a")
	for range maxResumption + 1 {
		w.commit("a", CommitOptions{})
	}
	g := w.members["a"]
	refused := func(name string, state []byte) {
		t.Helper()
		if _, err := RestoreGroup(w.cfg, g.client, state, must[[]byte](t)(g.RatchetState())); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	good := must[[]byte](t)(g.State())
	for _, flags := range []byte{0x08, 0x80, flagJoining | flagOut, flagOut | flagOutgoing} {
		bad := bytes.Clone(good)
		bad[1] = flags
		refused(fmt.Sprint("flags ", flags), bad)
	}
	longer := *g
	longer.resumption = append(slices.Clone(g.resumption), g.resumption[0])
	refused("resumption PSKs", must[[]byte](t)(longer.State()))
	g.past = append(slices.Clone(g.past), g.past[0])
	refused("past epochs", must[[]byte](t)(g.State()))

	in := cryptobyte.String(append([]byte{0, 1, 0, 0}, 0)) // 2^16 leaves, none of them listed
	if _, err := readTreeDifference(&in, newRatchetTree(suite1, plainLeaf(0))); err == nil {
		t.Error("a large tree of nothing")
	}
	var list, b cryptobyte.Builder
	for _, x := range []uint32{2, 0} {
		list.AddUint32(x)
		addKey(&list, g.keys[g.leaf.node()])
	}
	b.AddUint32(0)
	syntax.AddVector(&b, list.BytesOrPanic())
	in = cryptobyte.String(b.BytesOrPanic())
	if _, err := readMemberEpoch(&in, suite1, false, stateVersion); err == nil {
		t.Error("keys out of order")
	}
}
