package client_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/web/api"
	"kith/web/client"
)

// trioOf is a group of alice, bob and carol, of which alice is the administrator.
func trioOf(t *testing.T, h *hub) (alice, bob, carol *agent, room string) {
	alice, bob, carol = h.join("alice"), h.join("bob"), h.join("carol")
	r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob", "carol"})
	must(t, err)
	bob.awaitRoom("Club")
	carol.awaitRoom("Club")
	return alice, bob, carol, r.ID
}

func removal(u mimi.UserID) func(v *rooms.View) ([]mls.Proposal, error) {
	return func(v *rooms.View) ([]mls.Proposal, error) { return rooms.RemoveUser(v, u) }
}

// countUpdates counts the commits and proposals that reach the hub.
func (h *hub) countUpdates() *int {
	n := new(int)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = func(op api.Op) uint16 {
		if op == api.OpUpdate {
			*n++
		}
		return 0
	}
	return n
}

// TestSM6ProposalsAreCommittedSoon proposes a removal and leaves it at that: some member commits it within seconds,
// though nobody says anything.
func TestSM6ProposalsAreCommittedSoon(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		updates := h.countUpdates()
		must(t, alice.session.Propose(context.Background(), room, removal(carol.user)))
		time.Sleep(5 * time.Second)
		carol.until("removed", func() bool { return carol.view(room).Removed })
		for _, a := range []*agent{alice, bob} {
			a.until("without Carol", func() bool { return a.view(room).Members == 2 })
			if got := a.notices(room); !slices.ContainsFunc(got, func(n string) bool { return n == "removed Bob Carol" || n == "removed Alice Carol" }) {
				t.Errorf("%s is told %q", a.user.Name(), got)
			}
		}
		if *updates > 3 { // the proposal, a commit, and at most one that lost against it
			t.Errorf("%d updates for one removal", *updates)
		}
	})
}

// TestSM6ProposalsGoBeforeMessages has people write at once behind proposals: the commit goes first, all messages come.
func TestSM6ProposalsGoBeforeMessages(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		id, err := mimi.ParseRoomID(room)
		must(t, err)
		before := epochOf(h, id)
		must(t, alice.session.Propose(context.Background(), room, removal(carol.user)))
		bob.until("has the proposals", func() bool { return proposalsKept(t, bob, room) })
		start := time.Now()
		bob.send(room, "b1")
		bob.send(room, "b2")
		alice.send(room, "a1")
		bob.settled(room)
		if took := time.Since(start); took > time.Second {
			t.Errorf("messages waited %v for the commit", took)
		}
		if epochOf(h, id) == before {
			t.Error("messages went out before the commit")
		}
		alice.settled(room)
		time.Sleep(time.Minute)
		agree(t, room, []*agent{alice, bob}, "Alice: a1", "Bob: b1", "Bob: b2")
		if lines := carol.lines(room); len(lines) != 0 {
			t.Errorf("Carol read %q after her removal was accepted", lines)
		}
	})
}

// proposalsKept looks into the store for the note that proposals wait.
func proposalsKept(t *testing.T, a *agent, room string) bool {
	data, err := a.store.Range(context.Background(), "u|"+a.user.String()+"|pending|"+room, "", "", 0, false)
	must(t, err)
	return len(data) > 0
}

// TestSM6ChangesAfterProposals: what a person wants of a room comes about though a proposal that concerns the same waits.
func TestSM6ChangesAfterProposals(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		ctx := context.Background()
		must(t, alice.session.Propose(ctx, room, removal(carol.user)))
		must(t, alice.session.RemoveMember(ctx, room, carol.user.String()))
		must(t, alice.session.Propose(ctx, room, func(v *rooms.View) ([]mls.Proposal, error) { return rooms.Rename(v, "Proposed") }))
		must(t, alice.session.Rename(ctx, room, "Wanted"))
		for _, a := range []*agent{alice, bob} {
			a.until("name", func() bool { v := a.view(room); return v.Name == "Wanted" && v.Members == 2 })
		}
		bob.send(room, "fine")
		alice.sees(room, "Bob: fine")
	})
}

// TestSM6AfterRestart: a browser that is closed right after a proposal came commits it when it is opened again.
func TestSM6AfterRestart(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		must(t, alice.session.Propose(context.Background(), room, removal(carol.user)))
		bob.until("has the proposals", func() bool { return proposalsKept(t, bob, room) })
		for _, a := range h.agents {
			a.stop()
		}
		time.Sleep(time.Hour)
		if n := len(h.rooms); n != 1 {
			t.Fatalf("%d rooms", n)
		}
		bob.start()
		bob.until("committed", func() bool { return bob.view(room).Members == 2 })
		if proposalsKept(t, bob, room) {
			t.Error("proposals still wait")
		}
		alice.start()
		carol.start()
		alice.until("without Carol", func() bool { return alice.view(room).Members == 2 })
		carol.until("removed", func() bool { return carol.view(room).Removed })
	})
}

// TestSM6WhoIsRemovedDoesNotCommit: the one whose removal is proposed leaves the commit to others.
func TestSM6WhoIsRemovedDoesNotCommit(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		must(t, alice.session.Propose(context.Background(), room, removal(carol.user)))
		carol.until("has the proposals", func() bool { return proposalsKept(t, carol, room) || carol.view(room).Removed })
		alice.stop()
		bob.stop()
		updates := h.countUpdates()
		if !carol.view(room).Removed {
			_, _ = carol.session.Send(context.Background(), room, "may I?")
		}
		time.Sleep(time.Minute)
		if *updates != 0 {
			t.Errorf("%d updates of somebody who is being removed", *updates)
		}
		bob.start()
		alice.start()
		carol.until("removed", func() bool { return carol.view(room).Removed })
		for _, m := range carol.messages(room) {
			if m.State == client.MessageSending {
				t.Errorf("a message is on its way out of a room: %+v", m)
			}
		}
	})
}

// evict has the hub propose the removal of somebody, as for a deleted account.
func (h *hub) evict(room string, u mimi.UserID) {
	h.t.Helper()
	id, err := mimi.ParseRoomID(room)
	must(h.t, err)
	h.mu.Lock()
	out, err := h.rooms[id].Evict(uint64(time.Now().UnixMilli()), []mimi.UserID{u}, nil)
	if err != nil || out == nil || out.Next == nil {
		h.t.Fatalf("the hub cannot propose a removal: %v", err)
	}
	h.rooms[id] = out.Next
	h.distribute(id, out)
	h.mu.Unlock()
	h.ring()
}

// TestSM6HubProposalsTakeEffect: whom the hub removes is out within seconds, by a commit of any member.
func TestSM6HubProposalsTakeEffect(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		h.evict(room, carol.user)
		time.Sleep(5 * time.Second)
		for _, a := range []*agent{alice, bob} {
			if n := a.view(room).Members; n != 2 {
				t.Errorf("%s sees %d members", a.user.Name(), n)
			}
		}
		if !carol.view(room).Removed {
			t.Error("Carol is not out")
		}
		bob.send(room, "fine")
		alice.sees(room, "Bob: fine")
	})
}

// TestNT10StapledProposalsAreCommitted: a new device joins while a removal of the hub waits for a commit that nobody
// makes. The hub makes it anew with the join, and the device commits it.
func TestNT10StapledProposalsAreCommitted(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		alice.transport.setDown(true)
		bob.transport.setDown(true)
		h.evict(room, carol.user)
		second := h.device("bob")
		second.awaitRoom("Club")
		carol.until("out", func() bool { return carol.view(room).Removed })
		second.send(room, "fine")
		alice.transport.setDown(false)
		bob.transport.setDown(false)
		for _, a := range []*agent{alice, bob, second} {
			a.sees(room, "Bob: fine")
			a.until("without Carol", func() bool { return a.view(room).Members == 2 })
			if got := a.notices(room); slices.Contains(got, client.NoticeRejoined+" "+a.state().Me.DisplayName) {
				t.Errorf("%s had to rejoin: %q", a.user.Name(), got)
			}
		}
	})
}

// TestUP7ProposalsOvertakeACommit: while a commit is on its way the hub accepts proposals that it does not contain, and so
// refuses it. What the person wanted comes about all the same.
func TestUP7ProposalsOvertakeACommit(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol, room := trioOf(t, h)
		id, err := mimi.ParseRoomID(room)
		must(t, err)
		raced := false
		h.mu.Lock()
		h.refuse = func(op api.Op) uint16 { // with the lock held
			if op == api.OpUpdate && !raced {
				raced = true
				out, err := h.rooms[id].Evict(uint64(time.Now().UnixMilli()), []mimi.UserID{carol.user}, nil)
				must(t, err)
				h.rooms[id] = out.Next
				h.distribute(id, out)
			}
			return 0
		}
		h.mu.Unlock()
		must(t, alice.session.Rename(context.Background(), room, "Wanted"))
		if !raced {
			t.Fatal("no race")
		}
		for _, a := range []*agent{alice, bob} {
			a.until("both", func() bool { v := a.view(room); return v.Name == "Wanted" && v.Members == 2 })
		}
	})
}
