//go:build !js

package interop

import (
	"fmt"
	"slices"
)

// flow is one thing that two implementations do together: x acts first, y reacts; both orders are run.
type flow struct {
	name string
	run  func(w *world, x, y *implementation) error
}

// flows are run for every pair of implementations and every suite that both have.
var flows = []flow{
	{"Welcome, tree beside", welcomeBeside},
	{"Welcome, tree inside", welcomeInside},
	{"generated signature key", generatedKey},
	{"external join", externalJoin},
	{"external join of a third", externalJoinOfThird},
	{"resync", resync},
	{"resync of a third", resyncOfThird},
	{"add by commit", addByCommit},
	{"add by proposal", addByProposal},
	{"add several", addSeveral},
	{"update", update},
	{"remove by commit", removeByCommit},
	{"remove by proposal", removeByProposal},
	{"being removed", beingRemoved},
	{"commit with path", commitWithPath},
	{"commit without path", commitWithoutPath},
	{"external PSK", externalPSK},
	{"external PSK by proposal", externalPSKByProposal},
	{"external PSKs both ways", externalPSKsBothWays},
	{"application messages", applicationMessages},
	{"message of a past epoch", pastEpoch},
	{"losing a race", losingRace},
	{"PrivateMessage handshake", privateHandshake},
	{"self-remove", selfRemove},
	{"life of a group of six", longLife},
	{"unmerged leaves", unmergedLeaves},
}

// RFC 9420, Section 12.4.3.1
func welcomeBeside(w *world, x, y *implementation) error { return welcome(w, x, y, false) }

func welcomeInside(w *world, x, y *implementation) error { return welcome(w, x, y, true) }

func welcome(w *world, x, y *implementation, inside bool) error {
	a, err := w.create(x)
	if err != nil {
		return err
	}
	b, err := w.client(y)
	if err != nil {
		return err
	}
	if err := w.add(a, request{Op: "commit", TreeInWelcome: inside}, b); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 5.1.1: the encoding of signature keys is that of the suite.
func generatedKey(w *world, x, y *implementation) error {
	w.genKey = true
	if _, _, err := w.pair(x, y); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 12.4.3.2
func externalJoin(w *world, x, y *implementation) error {
	a, err := w.create(x)
	if err != nil {
		return err
	}
	b, err := w.client(y)
	if err != nil {
		return err
	}
	if err := w.joinExternal(a, b, nil); err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.commit(b, request{Op: "commit", Path: true})
}

// x joins with a GroupInfo of its own kind; y, a member already, processes the external commit.
func externalJoinOfThird(w *world, x, y *implementation) error {
	a, _, err := w.pair(x, y)
	if err != nil {
		return err
	}
	c, err := w.client(x)
	if err != nil {
		return err
	}
	if err := w.joinExternal(a, c, nil); err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.everybodyCommits()
}

func resyncOfThird(w *world, x, y *implementation) error {
	a, _, err := w.pair(x, y)
	if err != nil {
		return err
	}
	c, err := w.enter(a, x)
	if err != nil {
		return err
	}
	old, err := w.leaf(c)
	if err != nil {
		return err
	}
	if err := w.joinExternal(a, c, &old); err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.everybodyCommits()
}

// RFC 9420, Section 12.4.3.2: a member that lost its state removes its old leaf as it joins.
func resync(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if _, err := w.enter(a, x); err != nil {
		return err
	}
	old, err := w.leaf(b)
	if err != nil {
		return err
	}
	if err := w.joinExternal(a, b, &old); err != nil {
		return err
	}
	return w.talk()
}

// Newcomers of both kinds join a group of both kinds, added by either.
func addByCommit(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	for i, impl := range []*implementation{x, y, x} {
		by := []*member{a, b}[(i+1)%2]
		if _, err := w.enter(by, impl); err != nil {
			return err
		}
	}
	return w.talk()
}

func addByProposal(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if err := w.addByProposal(a, b, y); err != nil {
		return err
	}
	return w.talk()
}

// One Welcome for newcomers of both kinds.
func addSeveral(w *world, x, y *implementation) error {
	a, _, err := w.pair(x, y)
	if err != nil {
		return err
	}
	inside := !y.has("join.tree") || !x.has("join.tree")
	var newcomers []*member
	for _, impl := range []*implementation{y, x, y} {
		m, err := w.client(impl)
		if err != nil {
			return err
		}
		newcomers = append(newcomers, m)
	}
	if err := w.add(a, request{Op: "commit", TreeInWelcome: inside}, newcomers...); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 12.1.2: x proposes, y commits.
func update(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if _, err := w.enter(a, x); err != nil {
		return err
	}
	if err := w.propose(a, request{Kind: "update"}); err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit"}); err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.commit(a, request{Op: "commit", Path: true})
}

// x removes one of its own kind; y follows, and a newcomer takes the place.
func removeByCommit(w *world, x, y *implementation) error {
	a, _, err := w.pair(x, y)
	if err != nil {
		return err
	}
	c, err := w.enter(a, x)
	if err != nil {
		return err
	}
	leaf, err := w.leaf(c)
	if err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit", Removes: []uint32{leaf}}); err != nil {
		return err
	}
	if len(w.in) != 2 {
		return c.fail("does not know that it was removed")
	}
	if err := w.talk(); err != nil {
		return err
	}
	if _, err := w.enter(a, y); err != nil {
		return err
	}
	return w.talk()
}

// x proposes the removal, y commits it.
func removeByProposal(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	c, err := w.enter(a, x)
	if err != nil {
		return err
	}
	leaf, err := w.leaf(c)
	if err != nil {
		return err
	}
	if err := w.propose(a, request{Kind: "remove", Leaf: leaf}); err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit"}); err != nil {
		return err
	}
	if len(w.in) != 2 {
		return c.fail("does not know that it was removed")
	}
	return w.talk()
}

// x removes y.
func beingRemoved(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if _, err := w.enter(a, x); err != nil {
		return err
	}
	leaf, err := w.leaf(b)
	if err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit", Removes: []uint32{leaf}}); err != nil {
		return err
	}
	if len(w.in) != 2 {
		return b.fail("does not know that it was removed")
	}
	return w.talk()
}

// RFC 9420, Section 12.4: both commit with a path, several times.
func commitWithPath(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	for _, by := range []*member{a, b, b, a} {
		if err := w.commit(by, request{Op: "commit", Path: true}); err != nil {
			return err
		}
	}
	return w.talk()
}

// An Add does not demand a path; the newcomers stay unmerged until somebody makes one.
func commitWithoutPath(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit", Path: true}); err != nil {
		return err
	}
	for range 2 {
		c, err := w.client(x)
		if err != nil {
			return err
		}
		if err := w.add(a, request{Op: "commit", TreeInWelcome: !x.has("join.tree")}, c); err != nil {
			return err
		}
		if err := checkPath(a, w.last, false); err != nil {
			return err
		}
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.commit(b, request{Op: "commit", Path: true})
}

// RFC 9420, Section 8.4: a PSK in a commit by value, then one in a commit that adds a newcomer.
func externalPSK(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	c, inside, err := w.newcomer(a, y)
	if err != nil {
		return err
	}
	if err := sharePSK(a, b, c); err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit", PSKs: [][]byte{[]byte("psk 1")}}); err != nil {
		return err
	}
	r := request{Op: "commit", PSKs: [][]byte{[]byte("psk 1"), []byte("psk 2")}, TreeInWelcome: inside}
	if err := w.add(a, r, c); err != nil {
		return err
	}
	return w.talk()
}

// sharePSK gives two external PSKs to the members.
func sharePSK(members ...*member) error {
	for _, m := range members {
		for i := range 2 {
			r := request{Op: "psk", ID: fmt.Appendf(nil, "psk %d", i+1), Secret: fmt.Appendf(nil, "a secret of 32 octets, number %04d", i)}
			if _, err := m.do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func externalPSKByProposal(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if err := sharePSK(a, b); err != nil {
		return err
	}
	if err := w.propose(a, request{Kind: "psk", ID: []byte("psk 1")}); err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit"}); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 8.4: a PSK that x proposed and one by value in the commit of y enter the key schedule in the order in
// which the commit lists them.
func externalPSKsBothWays(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if err := sharePSK(a, b); err != nil {
		return err
	}
	if err := w.propose(a, request{Kind: "psk", ID: []byte("psk 1")}); err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit", PSKs: [][]byte{[]byte("psk 2")}}); err != nil {
		return err
	}
	return w.talk()
}

// Messages both ways, in the wrong order, and each only once.
func applicationMessages(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	for _, from := range []*member{a, b} {
		to := a
		if from == a {
			to = b
		}
		var letters []*letter
		for i := range 6 {
			aad := ""
			if i%2 == 1 {
				aad = fmt.Sprint("data ", i)
			}
			l, err := w.write(from, fmt.Sprint("message ", i), aad)
			if err != nil {
				return err
			}
			letters = append(letters, l)
		}
		for _, i := range []int{0, 3, 1, 5, 2, 4} {
			if err := to.read(letters[i]); err != nil {
				return err
			}
		}
		if _, err := to.do(request{Op: "process", Message: letters[3].wire}); err == nil {
			return to.fail("read a message twice")
		}
	}
	return nil
}

// RFC 9420, Section 14: a message that was overtaken by a commit can still be read.
func pastEpoch(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	l, err := w.write(a, "late", "")
	if err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit", Path: true}); err != nil {
		return err
	}
	if err := b.read(l); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 14: x commits, but the commit of y wins; x discards its own and processes the other.
func losingRace(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if _, err := a.do(request{Op: "commit", Path: true}); err != nil {
		return err
	}
	won, err := b.do(request{Op: "commit", Path: true})
	if err != nil {
		return err
	}
	if _, err := a.do(request{Op: "discard"}); err != nil {
		return err
	}
	if err := w.deliverCommit(b, won.Commit); err != nil {
		return err
	}
	if _, err := b.do(request{Op: "merge"}); err != nil {
		return err
	}
	if err := w.agree(); err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit", Path: true}); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 6.3.1: proposals and commits as PrivateMessage.
func privateHandshake(w *world, x, y *implementation) error {
	w.private = true
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit", Path: true}); err != nil {
		return err
	}
	if err := w.commit(b, request{Op: "commit", Path: true}); err != nil {
		return err
	}
	if err := w.addByProposal(a, b, x); err != nil {
		return err
	}
	return w.talk()
}

// draft-ietf-mls-extensions, Section 6.3: y proposes to leave, x commits.
func selfRemove(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	if _, err := w.enter(a, x); err != nil {
		return err
	}
	if err := w.propose(b, request{Kind: "selfRemove"}); err != nil {
		return err
	}
	if err := w.commit(a, request{Op: "commit"}); err != nil {
		return err
	}
	if len(w.in) != 2 {
		return b.fail("does not know that it left")
	}
	return w.talk()
}

// A group of three of each kind: everybody commits, leaves in the middle go and are taken again, so that trees have
// blank and unmerged nodes in many places.
func longLife(w *world, x, y *implementation) error {
	a, b, err := w.pair(x, y)
	if err != nil {
		return err
	}
	for i, impl := range []*implementation{x, y, x, y} {
		if _, err := w.enter([]*member{a, b}[i%2], impl); err != nil {
			return err
		}
	}
	if err := w.everybodyCommits(); err != nil {
		return err
	}
	for i, gone := range []*member{w.in[2], w.in[3], a} {
		leaf, err := w.leaf(gone)
		if err != nil {
			return err
		}
		by := w.in[len(w.in)-1-i%2]
		if err := w.commit(by, request{Op: "commit", Removes: []uint32{leaf}}); err != nil {
			return err
		}
		if err := w.commit(b, request{Op: "commit", Path: true}); err != nil {
			return err
		}
		if _, err := w.enter(by, []*implementation{y, x, x}[i]); err != nil {
			return err
		}
	}
	if err := w.everybodyCommits(); err != nil {
		return err
	}
	return w.talk()
}

// RFC 9420, Section 7.9.2: x makes a tree whose parents have different unmerged leaves, all of them valid; y joins it.
func unmergedLeaves(w *world, x, y *implementation) error {
	a, err := w.create(x)
	if err != nil {
		return err
	}
	for range 6 {
		if _, err := w.enter(a, x); err != nil {
			return err
		}
	}
	if err := w.everybodyCommits(); err != nil {
		return err
	}
	// The subtree of leaves 0 to 3 loses leaf 1 and gets a new root, whose only unmerged leaf is the next leaf 1. The
	// root of all then has the leaves 1 and 7.
	if err := w.commit(a, request{Op: "commit", Removes: []uint32{1}}); err != nil {
		return err
	}
	for range 2 {
		if _, err := w.enter(a, x); err != nil {
			return err
		}
	}
	b, err := w.enter(a, y)
	if err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	return w.commit(b, request{Op: "commit", Path: true})
}

func (w *world) everybodyCommits() error {
	for _, m := range w.in {
		if err := w.commit(m, request{Op: "commit", Path: true}); err != nil {
			return err
		}
	}
	return nil
}

// everybody is the life of a group with a member of each implementation: all commit, all bring in one of ours, and
// the last one removes those.
func everybody(w *world, us *implementation, others []*implementation) error {
	a, err := w.create(us)
	if err != nil {
		return err
	}
	for _, impl := range others {
		if _, err := w.enter(a, impl); err != nil {
			return err
		}
	}
	if err := w.everybodyCommits(); err != nil {
		return err
	}
	if err := w.talk(); err != nil {
		return err
	}
	last := w.in[len(w.in)-1]
	var guests []uint32
	for _, by := range slices.Clone(w.in) {
		guest, err := w.enter(by, us)
		if err != nil {
			return err
		}
		leaf, err := w.leaf(guest)
		if err != nil {
			return err
		}
		guests = append(guests, leaf)
	}
	if err := w.everybodyCommits(); err != nil {
		return err
	}
	if err := w.commit(last, request{Op: "commit", Removes: guests}); err != nil {
		return err
	}
	if len(w.in) != len(others)+1 {
		return fmt.Errorf("%d members are left", len(w.in))
	}
	return w.talk()
}
