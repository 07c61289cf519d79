package client_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"kith/web/client"
)

// TestCrashAtEveryCommit kills the browser of one user at its N-th commit, for every N of a scenario, once before and
// once after the commit reached the disk. Afterwards all agree, nothing is lost and nothing is there twice.
func TestCrashAtEveryCommit(t *testing.T) {
	for _, victim := range []string{"alice", "bob"} {
		t.Run(victim, func(t *testing.T) {
			commits := 0
			world(t, func(h *hub) {
				scenario(t, h, victim, 0, false)
				commits = h.agents[0].store.Commits()
			})
			if commits < 20 {
				t.Fatalf("only %d commits", commits)
			}
			step := 1
			if testing.Short() {
				step = 5
			}
			for n := 1; n <= commits && !t.Failed(); n += step {
				for _, applied := range []bool{false, true} {
					t.Run(fmt.Sprintf("%d/%v", n, applied), func(t *testing.T) {
						world(t, func(h *hub) { scenario(t, h, victim, n, applied) })
					})
				}
			}
		})
	}
}

// scenario: two people chat, a group of three is made, renamed, loses a member and gets it back, with messages all
// the way. The victim is the first agent.
func scenario(t *testing.T, h *hub, victim string, failAt int, applied bool) {
	for _, name := range []string{"alice", "bob", "carol"} {
		h.account(name)
	}
	v := h.agent(victim)
	v.store.FailAt(failAt, applied)
	v.start()
	v.until("ready", func() bool { s := v.state(); return s.Online && s.State == client.StateReady })
	other := map[string]string{"alice": "bob", "bob": "alice"}[victim]
	alice, bob, carol := v, h.device(other), h.device("carol")
	if victim == "bob" {
		alice, bob = bob, alice
	}
	ctx := context.Background()

	var ab string
	alice.insist("chat", func() error {
		r, err := alice.session.NewChat(ctx, "bob")
		ab = r.ID
		return err
	})
	bob.awaitRoom("Alice")
	alice.says(ab, "a1")
	bob.says(ab, "b1")
	alice.says(ab, "a2")
	bob.says(ab, "b2")

	alice.insist("group", func() error {
		if alice.room("Group") != "" {
			return nil
		}
		_, err := alice.session.NewGroup(ctx, "Group", []string{"bob", "carol"})
		return err
	})
	group := alice.awaitRoom("Group")
	bob.awaitRoom("Group")
	carol.awaitRoom("Group")
	bob.says(group, "g1")
	alice.says(group, "g2")
	alice.insist("rename", func() error { return alice.session.Rename(ctx, group, "Club") })
	bob.says(group, "g3")
	alice.insist("remove", func() error { return alice.session.RemoveMember(ctx, group, carol.user.String()) })
	carol.until("removed", func() bool { return carol.view(group).Removed })
	alice.says(group, "g4")
	bob.until("g4", func() bool { return slices.Contains(bob.lines(group), "Alice: g4") })
	alice.insist("add", func() error { return alice.session.AddMembers(ctx, group, []string{"carol"}) })
	carol.until("back", func() bool { return !carol.view(group).Removed })
	carol.says(group, "g5")
	alice.says(group, "g6")

	agree(t, ab, []*agent{alice, bob}, "Alice: a1", "Alice: a2", "Bob: b1", "Bob: b2")
	agree(t, group, []*agent{alice, bob}, "Alice: g2", "Alice: g4", "Alice: g6", "Bob: g1", "Bob: g3", "Carol: g5")
	carol.until("g6", func() bool { return slices.Contains(carol.lines(group), "Alice: g6") })
	if slices.Contains(carol.lines(group), "Alice: g4") {
		t.Error("carol read what was said without her")
	}
}

// agree waits until all have exactly these lines, sent, and checks that all show the same order.
func agree(t *testing.T, room string, agents []*agent, want ...string) {
	t.Helper()
	for _, a := range agents {
		a.until(fmt.Sprintf("all of %q", want), func() bool {
			return slices.Equal(slices.Sorted(slices.Values(a.lines(room))), want)
		})
		a.settled(room)
	}
	time.Sleep(time.Minute) // nothing more comes
	first := agents[0].lines(room)
	for _, a := range agents {
		if got := a.lines(room); !slices.Equal(got, first) || len(got) != len(want) {
			t.Errorf("%s sees %q, %s sees %q", agents[0].user.Name(), first, a.user.Name(), got)
		}
	}
}
