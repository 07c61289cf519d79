package mls

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// benchSizes are the group sizes of the benchmarks.
var benchSizes = []int{2, 10, 100, 500, 1000}

// bigWorld is a group of n members in which everybody has committed once, so that no parent is blank. The members
// with the given indices are there as groups, named m0, m1, …; the others only as leaves. It is put together from
// the tree's own operations: n real commits would take minutes.
func bigWorld(t testing.TB, n int, present ...int) *world {
	t.Helper()
	r := newRandom(uint64(n))
	w := &world{t: t, r: r, cfg: Config{Application: testApp{}, Rand: r}, members: map[string]*Group{}}
	groupID := []byte("big group")
	clients := make([]*Client, n)
	keys := treeKeys{}
	var tree *ratchetTree
	for i := range n {
		clients[i] = w.client(fmt.Sprint("m", i))
		key := must[*HPKEPrivateKey](t)(suite1.generateKeyPair(r))
		leaf := clients[i].leafNode(key.Public())
		leaf.Source, leaf.Lifetime = LeafNodeSourceKeyPackage, Lifetime{0, 1 << 40}
		if err := leaf.sign(clients[i].SignatureKey, nil, 0); err != nil {
			t.Fatal(err)
		}
		if tree == nil {
			tree = newRatchetTree(suite1, &leaf)
		} else {
			must[LeafIndex](t)(tree.addLeaf(&leaf))
		}
	}
	for i := range LeafIndex(n) {
		path := must[*newPath](t)(tree.generatePath(r, i))
		leaf := *tree.leaf(i)
		leaf.Source, leaf.EncryptionKey = LeafNodeSourceCommit, path.leafKey.Public()
		leaf.ParentHash = must[[]byte](t)(tree.mergeKeys(i, path.publicKeys()))
		if err := leaf.sign(clients[i].SignatureKey, groupID, i); err != nil {
			t.Fatal(err)
		}
		tree.setLeaf(i, &leaf)
		keys = path.apply(keys, tree, i)
	}
	context := &GroupContext{
		CipherSuite: suite1.id, GroupID: groupID, Epoch: 1,
		TreeHash: must[[]byte](t)(tree.rootHash()), ConfirmedTranscriptHash: make([]byte, 32),
	}
	epochSecret := r.octets(32)
	tag := suite1.epochSecretsOf(bytes.Clone(epochSecret), tree.leafCount()).confirmationTag(context.ConfirmedTranscriptHash)
	state := must[*publicState](t)(newPublicState(suite1, context, tree, tag))
	for _, i := range append([]int{0}, present...) {
		own := treeKeys{}
		leaf := LeafIndex(i)
		for _, x := range append(directPath(leaf.node(), tree.leafCount()), leaf.node()) {
			if key := keys[x]; key != nil {
				own[x] = key
			}
		}
		w.members[fmt.Sprint("m", i)] = &Group{
			view:        view{cfg: w.cfg, state: state, member: true},
			client:      clients[i],
			memberEpoch: memberEpoch{leaf: leaf, keys: own, secrets: suite1.epochSecretsOf(bytes.Clone(epochSecret), tree.leafCount())},
		}
	}
	info := must[*GroupInfo](t)(w.members["m0"].GroupInfo())
	w.hub = must[*PublicGroup](t)(NewPublicGroup(w.cfg, info, must[RatchetTree](t)(tree.marshal())))
	w.check()
	return w
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := bigWorld(b, n).members["m0"]
			for b.Loop() {
				must[*CommitBundle](b)(g.Commit(CommitOptions{}))
				g.DiscardPending()
			}
		})
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := bigWorld(b, n, n-1)
			m := wire(b, must[*CommitBundle](b)(w.members["m0"].Commit(CommitOptions{})).Commit)
			g := w.members[fmt.Sprint("m", n-1)]
			for b.Loop() {
				must[*Received](b)(g.Process(m))
			}
		})
	}
}

func BenchmarkHubProcess(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := bigWorld(b, n)
			m := wire(b, must[*CommitBundle](b)(w.members["m0"].Commit(CommitOptions{})).Commit)
			for b.Loop() {
				must[*Received](b)(w.hub.Process(m))
			}
		})
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := bigWorld(b, n)
			c, key := w.keyPackage("new")
			bundle := must[*CommitBundle](b)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
			tree := must[RatchetTree](b)(bundle.Staged.RatchetTree())
			for b.Loop() {
				must[*Group](b)(JoinWelcome(w.cfg, c, bundle.Welcome, tree, key))
			}
		})
	}
}

func BenchmarkState(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := bigWorld(b, n).members["m0"]
			for b.Loop() {
				must[[]byte](b)(g.State())
			}
		})
	}
}

// A commit to a populated tree costs what a path costs, which grows with the tree's height. Time is compared here
// with a wide margin, as the machine may be busy; the benchmarks give the figures.
func TestLesson28CommitCostGrowsWithHeight(t *testing.T) {
	few, many := bigWorld(t, 100).members["m0"], bigWorld(t, 1000).members["m0"]
	least := func(best time.Duration, g *Group) time.Duration {
		for range 15 {
			start := time.Now()
			must[*CommitBundle](t)(g.Commit(CommitOptions{}))
			best = min(best, time.Since(start))
			g.DiscardPending()
		}
		return best
	}
	small, large := time.Hour, time.Hour
	// the machine does other things too: what counts is the best of a few attempts
	for range 6 {
		small, large = least(small, few), least(large, many)
		if large <= 5*small {
			t.Logf("commit: %v with 100 members, %v with 1000", small, large)
			return
		}
	}
	t.Errorf("1000 members cost %v, 100 members %v", large, small)
}

// The state of a large group is hardly more than its tree, also with five past epochs.
func TestStateSize(t *testing.T) {
	w := bigWorld(t, 1000, 999)
	for range 6 {
		w.commit("m0", CommitOptions{})
		w.say("m999", "something")
	}
	g := w.members["m999"]
	tree, state := must[RatchetTree](t)(g.RatchetTree()), must[[]byte](t)(g.State())
	ratchets := must[[]byte](t)(g.RatchetState())
	t.Logf("tree %d, state %d, ratchets %d bytes", len(tree), len(state), len(ratchets))
	if float64(len(state)) > 1.2*float64(len(tree)) {
		t.Errorf("state of %d bytes for a tree of %d", len(state), len(tree))
	}
	w.members["m999"] = saveRestore(t, w.cfg, g)
	w.commit("m999", CommitOptions{})
	w.say("m0", "and on")
}
