package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"kith/mimi"
	"kith/web/api"
	"kith/web/client"
)

// destroy closes a room as the real server does.
func (h *hub) destroy(c *hubConn, req *api.Request) error {
	id, err := mimi.ParseRoomID(req.Target)
	if err != nil || h.rooms[id] == nil {
		return errors.New("no room")
	}
	next, refused := h.rooms[id].Destroy(c.user)
	if refused != nil {
		return errors.New("not allowed")
	}
	h.rooms[id] = next
	for o := range h.conns {
		if next.IsParticipant(o.user) && o.hello {
			go o.send(&api.Hint{What: api.HintRooms})
		}
	}
	return nil
}

// An admin takes and gives what everybody may: the others see it, are told, and the hub and their own clients hold them to
// it. Nobody else changes it, and a restart in the middle loses nothing.
func TestRP9RulesAreChanged(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		h.join("dave")
		room := group(t, "Club", alice, bob, carol)
		if r := bob.details(room).Rules; !r.Write || !r.Invite || !r.Links || r.CanChange || r.CanExpire {
			t.Errorf("rules for a member of a family at first: %+v", r)
		}
		for _, rule := range []string{"write", "invite", "links", "expire"} {
			if err := bob.session.SetRule(ctx, room, rule, 0); codeOf(err) != client.CodeNotAllowed {
				t.Errorf("a member changes %s: %v", rule, err)
			}
		}
		for _, bad := range []struct {
			rule  string
			value int
		}{{"write", 2}, {"write", -1}, {"paint", 1}, {"expire", -1}, {"expire", 1 << 30}} {
			if err := alice.session.SetRule(ctx, room, bad.rule, bad.value); codeOf(err) != client.CodeNotAllowed {
				t.Errorf("%s %d: %v", bad.rule, bad.value, err)
			}
		}

		must(t, alice.session.SetRule(ctx, room, "write", 0))
		bob.told(room, "policy Alice")
		bob.until("silence", func() bool { return !bob.view(room).CanSend && !bob.details(room).Rules.Write })
		if _, err := bob.session.Send(ctx, room, "x"); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("writing where nobody writes: %v", err)
		}
		alice.send(room, "news")
		bob.sees(room, "Alice: news")

		alice.restart()
		alice.until("the room", func() bool { return alice.view(room).ID != "" })
		alice.insist("write", func() error { return alice.session.SetRule(ctx, room, "write", 1) })
		bob.until("the word", func() bool { return bob.view(room).CanSend })
		bob.send(room, "thanks")
		alice.sees(room, "Alice: news", "Bob: thanks")

		must(t, alice.session.SetRule(ctx, room, "invite", 0))
		bob.until("no inviting", func() bool { return !bob.details(room).CanAdd })
		if err := bob.session.AddMembers(ctx, room, []string{"dave"}); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("inviting where nobody invites: %v", err)
		}
		must(t, alice.session.AddMembers(ctx, room, []string{"dave"}))
		must(t, alice.session.SetRule(ctx, room, "invite", 0)) // so it is already
	})
}

// Where links are turned off the old ones let in nobody, and on again they do.
func TestRP9LinksAreTurnedOff(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob, dave := h.join("alice"), h.join("bob"), h.join("dave")
		room := group(t, "Club", alice, bob)
		offer, err := alice.session.MakeLink(ctx, room)
		must(t, err)
		must(t, alice.session.SetRule(ctx, room, "links", 0))
		if d := alice.details(room); d.CanLink || d.Rules.Links {
			t.Errorf("links after they were turned off: %+v", d)
		}
		if _, err := dave.session.Join(ctx, offer); codeOf(err) != client.CodeLinkGone {
			t.Errorf("joining where links are off: %v", err)
		}
		must(t, alice.session.SetRule(ctx, room, "links", 1))
		_, err = dave.session.Join(ctx, offer)
		must(t, err)
		dave.awaitRoom("Club")
	})
}

// Who may closes a room: it is over for all, also for who was not there, and nothing more is said in it.
func TestRP10ClosedRoomIsOver(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		room := group(t, "Club", alice, bob, carol)
		alice.send(room, "hello")
		for _, a := range []*agent{bob, carol} {
			a.sees(room, "Alice: hello")
		}
		if bob.details(room).CanClose || !alice.details(room).CanClose {
			t.Error("who may close the room is not who should")
		}
		if err := bob.session.CloseRoom(ctx, room); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("a member closes the room: %v", err)
		}
		carol.stop()
		must(t, alice.session.CloseRoom(ctx, room))
		carol.start()
		for a, notice := range map[*agent]string{alice: "closed Alice", bob: "closed", carol: "closed"} {
			a.told(room, notice)
			a.until("closed", func() bool { v := a.view(room); return v.Removed && !v.CanSend })
			if _, err := a.session.Send(ctx, room, "x"); codeOf(err) != client.CodeNotAllowed {
				t.Errorf("sending into a closed room: %v", err)
			}
			if n := slices.Index(a.lines(room), "Alice: hello"); n < 0 {
				t.Error("what was written is gone")
			}
		}
		must(t, bob.session.DeleteRoom(ctx, room))
		time.Sleep(time.Minute) // of the world's clock: nobody comes back
		if bob.room("Club") != "" {
			t.Error("the room came back")
		}
	})
}

// Where no hint comes, as to people of other providers, the first refusal tells.
func TestRP10RefusalTellsOfAClosedRoom(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		id, err := mimi.ParseRoomID(room)
		must(t, err)
		h.mu.Lock()
		next, refused := h.rooms[id].Destroy(alice.user)
		h.rooms[id] = next
		h.mu.Unlock()
		if refused != nil {
			t.Fatal(refused)
		}
		if _, err := bob.session.Send(context.Background(), room, "x"); err != nil {
			t.Fatal(err)
		}
		bob.told(room, "closed")
		if err := alice.session.Rename(context.Background(), room, "Choir"); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("renaming a closed room: %v", err)
		}
		alice.told(room, "closed")
	})
}

// A change of rules that is under way survives lost answers and the death of the browser.
func TestRP9RuleSurvivesTheBrowser(t *testing.T) {
	for n := 1; n <= 3; n++ {
		world(t, func(h *hub) {
			alice, bob := h.join("alice"), h.join("bob")
			room := group(t, "Club", alice, bob)
			lost := false
			h.mu.Lock()
			h.loseAnswer = func(op api.Op) bool {
				first := op == api.OpUpdate && !lost
				lost = lost || first
				return first
			}
			h.mu.Unlock()
			alice.store.FailAt(n, true)
			// Whoever asked does not hear what became of it, and asks no more.
			if err := alice.session.SetRule(context.Background(), room, "write", 0); err == nil || !alice.store.Dead() {
				t.Errorf("round %d: the store did not fail: %v", n, err)
			}
			alice.revive()
			bob.until("the rule", func() bool { return !bob.details(room).Rules.Write })
			alice.until("the rule", func() bool { return !alice.details(room).Rules.Write })
			if got := bob.notices(room); len(got) == 0 || got[len(got)-1] != "policy Alice" {
				t.Errorf("round %d: notices: %q", n, got)
			}
		})
	}
}
