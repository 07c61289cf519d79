package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/mimi"
	"kith/web/api"
	"kith/web/client"
)

// rootsAway makes the identity roots of some domains unreachable.
func (h *hub) rootsAway(domains ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = func(op api.Op, target string) bool {
		return op == api.OpIdentityRoots && slices.Contains(domains, strings.TrimPrefix(target, "mimi://"))
	}
}

func domain(t testing.TB, host string) mimi.ProviderID {
	p, err := mimi.NewProviderID(host)
	must(t, err)
	return p
}

// TestCR2PeopleOfThreeProviders lets people of three providers share a room: each pins the roots of the others when it
// meets them, and knows them after a restart.
func TestCR2PeopleOfThreeProviders(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, cathy := h.join("alice"), h.join("bob@b.example"), h.join("cathy@c.example")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Club")
		must(t, alice.session.AddMembers(context.Background(), r.ID, []string{"mimi://c.example/u/cathy"}))
		cathy.awaitRoom("Club")
		cathy.send(r.ID, "hello")
		alice.sees(r.ID, "Cathy: hello")
		bob.sees(r.ID, "Cathy: hello")
		h.rootsAway("a.example", "b.example", "c.example")
		bob.restart()
		bob.send(r.ID, "again")
		alice.sees(r.ID, "Cathy: hello", "Bob: again")
		cathy.sees(r.ID, "Cathy: hello", "Bob: again")
		if v := bob.view(r.ID); v.Hub != "a.example" || v.HubAway {
			t.Errorf("room at Bob's: %+v", v)
		}
	})
}

// TestCR2EventsWaitForRoots keeps the root of one provider from a member: the commit that adds somebody of that provider
// waits and everything after it, over a restart, while other rooms go on. When the root comes, everything is there once,
// in order.
func TestCR2EventsWaitForRoots(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, cathy := h.join("alice"), h.join("bob@b.example"), h.join("cathy@c.example")
		ctx := context.Background()
		club, err := alice.session.NewGroup(ctx, "Club", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Club")
		ab := alice.chat("bob@b.example")
		bob.awaitRoom("Alice")
		alice.until("has Cathy's roots", func() bool {
			_, err := alice.session.NewGroup(ctx, "With Cathy", []string{"cathy@c.example"})
			return err == nil
		})
		cathy.awaitRoom("With Cathy")
		h.rootsAway("c.example")
		must(t, alice.session.AddMembers(ctx, club.ID, []string{"cathy@c.example"}))
		cathy.awaitRoom("Club")
		var want []string
		for i := range 5 {
			cathy.send(club.ID, strings.Repeat("c", i+1))
			alice.send(club.ID, strings.Repeat("a", i+1))
			want = append(want, "Cathy: "+strings.Repeat("c", i+1), "Alice: "+strings.Repeat("a", i+1))
			time.Sleep(time.Second)
		}
		must(t, alice.session.Rename(ctx, club.ID, "Klub"))
		alice.send(ab, "other rooms go on")
		bob.sees(ab, "Alice: other rooms go on")
		late := bob.send(club.ID, "mine")
		if late.State != client.MessageSending {
			t.Errorf("message to a room that waits: %+v", late)
		}
		time.Sleep(time.Hour)
		if lines := bob.lines(club.ID); len(lines) != 1 || bob.room("Klub") != "" {
			t.Errorf("Bob's room went on without the root: %q", lines)
		}
		if v := bob.view(club.ID); !v.Held || bob.view(ab).Held {
			t.Errorf("it is not told that the room waits: %+v", v)
		}
		if lines := alice.lines(club.ID); slices.Contains(lines, "Bob: mine") {
			t.Error("a message of an epoch before was accepted")
		}
		bob.restart()
		bob.send(club.ID, "mine too")
		time.Sleep(time.Hour)
		h.rootsAway()
		want = append(want, "Bob: mine", "Bob: mine too")
		alice.until("all", func() bool { return len(alice.lines(club.ID)) == len(want) })
		slices.Sort(want)
		agree(t, club.ID, []*agent{alice, bob, cathy}, want...)
		bob.awaitRoom("Klub")
		if bob.view(club.ID).Held {
			t.Error("it is told that the room waits when nothing does")
		}
		left, err := bob.store.Range(ctx, "u|"+bob.user.String()+"|held|", "", "", 0, false)
		must(t, err)
		if len(left) != 0 {
			t.Errorf("%d events are still held", len(left))
		}
	})
}

// TestCR2WelcomeWaitsForRoots invites somebody into a room of a provider whose root cannot be had for a while.
func TestCR2WelcomeWaitsForRoots(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		h.rootsAway("a.example")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob@b.example"})
		must(t, err)
		alice.send(r.ID, "one")
		alice.settled(r.ID)
		time.Sleep(10 * time.Minute)
		bob.restart()
		time.Sleep(10 * time.Minute)
		alice.send(r.ID, "two")
		if rooms := bob.rooms(); len(rooms) != 0 {
			t.Errorf("Bob is in a room whose members he cannot verify: %+v", rooms)
		}
		h.rootsAway()
		bob.awaitRoom("Club")
		bob.sees(r.ID, "Alice: one", "Alice: two")
		bob.send(r.ID, "three")
		alice.sees(r.ID, "Alice: one", "Alice: two", "Bob: three")
		if n := slices.Index(bob.notices(r.ID), client.NoticeRejoined+" Bob"); n >= 0 {
			t.Error("Bob joined by himself although he was invited")
		}
	})
}

// TestCR2CrashWhileEventsWait kills Bob's browser at every commit of a time in which events are held and released.
func TestCR2CrashWhileEventsWait(t *testing.T) {
	scene := func(t *testing.T, h *hub, failAt int, applied bool) (commits int) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		cathy := h.join("cathy@c.example")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Club")
		synctest.Wait()
		before := bob.store.Commits()
		bob.store.FailAt(failAt, applied)
		h.rootsAway("c.example")
		h.mu.Lock()
		away := h.away
		h.away = func(op api.Op, target string) bool { return away(op, target) && !h.allowed }
		h.allowed = true
		h.mu.Unlock()
		must(t, alice.session.AddMembers(ctx, r.ID, []string{"cathy@c.example"}))
		cathy.awaitRoom("Club")
		h.mu.Lock()
		h.allowed = false
		h.mu.Unlock()
		cathy.send(r.ID, "c1")
		alice.send(r.ID, "a1")
		time.Sleep(time.Second)
		bob.revive()
		bob.says(r.ID, "b1")
		cathy.send(r.ID, "c2")
		time.Sleep(time.Minute)
		bob.revive()
		h.rootsAway()
		agree(t, r.ID, []*agent{alice, bob, cathy}, "Alice: a1", "Bob: b1", "Cathy: c1", "Cathy: c2")
		return bob.store.Commits() - before
	}
	commits := 0
	world(t, func(h *hub) { commits = scene(t, h, 0, false) })
	if commits < 8 {
		t.Fatalf("only %d commits", commits)
	}
	for n := 1; n <= commits && !t.Failed(); n++ {
		for _, applied := range []bool{false, true} {
			world(t, func(h *hub) { scene(t, h, n, applied) })
		}
	}
}

// TestCR2ChangedRootIsShownAndAccepted: another provider gets another identity authority. Nobody takes it without asking;
// the user is told, and when he accepts, what was held comes in.
func TestCR2ChangedRootIsShownAndAccepted(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob@b.example"), h.join("carol")
		ctx := context.Background()
		alice.chat("bob@b.example") // both know the old authority
		carol.chat("bob@b.example")
		bob.awaitRoom("Alice")
		club, err := carol.session.NewGroup(ctx, "Club", []string{"alice"})
		must(t, err)
		alice.awaitRoom("Club")
		time.Sleep(time.Hour)
		h.mu.Lock()
		b := h.others[domain(t, "b.example")]
		old := b.ca
		b.ca = newAuthority(t, "b.example", time.Now())
		b.roots = [][]byte{old.cert.Raw, b.ca.cert.Raw} // both, while the devices get new certificates
		h.mu.Unlock()
		if v := alice.state().ChangedIdentities; len(v) != 0 {
			t.Errorf("changed already: %q", v)
		}
		dave := h.join("dave@b.example") // of the new authority
		// Carol accepts, and adds Dave; Alice does not.
		carol.restart()
		carol.until("told", func() bool { return slices.Equal(carol.state().ChangedIdentities, []string{"b.example"}) })
		if err := carol.session.AcceptIdentity(ctx, "a.example"); codeOf(err) != client.CodeNotFound {
			t.Errorf("accepting what has not changed: %v", err)
		}
		must(t, carol.session.AcceptIdentity(ctx, "b.example"))
		if v := carol.state().ChangedIdentities; len(v) != 0 {
			t.Errorf("still told after accepting: %q", v)
		}
		must(t, carol.session.AddMembers(ctx, club.ID, []string{"dave@b.example"}))
		dave.awaitRoom("Club")
		dave.send(club.ID, "hello")
		carol.sees(club.ID, "Dave: hello")
		alice.until("told", func() bool { return slices.Equal(alice.state().ChangedIdentities, []string{"b.example"}) })
		time.Sleep(time.Hour)
		alice.restart()
		alice.until("told again", func() bool { return slices.Equal(alice.state().ChangedIdentities, []string{"b.example"}) })
		if lines := alice.lines(club.ID); len(lines) != 0 {
			t.Errorf("Alice reads on with people she cannot verify: %q", lines)
		}
		must(t, alice.session.AcceptIdentity(ctx, "b.example"))
		alice.sees(club.ID, "Dave: hello")
		alice.send(club.ID, "welcome")
		dave.sees(club.ID, "Dave: hello", "Alice: welcome")
	})
}
