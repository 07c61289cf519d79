package client_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/mimi"
	rooms "kith/mimi/room"
	"kith/web/api"
	"kith/web/client"
)

// hubAway makes the provider a.example unreachable for everybody of others, or not.
func (h *hub) hubAway(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = func(op api.Op, target string) bool {
		return away && op != api.OpIdentityRoots && strings.HasPrefix(target, "mimi://a.example/")
	}
}

// TestHubAwayForDays takes the hub of a room away for three days. Nothing fails, the page is told, the browser is started
// anew meanwhile, and as soon as the hub is back everything goes out in the order in which it was written.
func TestHubAwayForDays(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Club")
		h.mu.Lock()
		h.answers = map[string][]byte{}
		h.mu.Unlock()
		h.hubAway(true)
		var want []string
		say := func(text string) {
			bob.send(r.ID, text)
			want = append(want, "Bob: "+text)
		}
		say("1")
		say("2")
		bob.until("told", func() bool { return bob.view(r.ID).HubAway })
		time.Sleep(36 * time.Hour)
		bob.restart()
		say("3")
		bob.until("told again", func() bool { return bob.view(r.ID).HubAway })
		attempts := 0
		h.mu.Lock()
		away := h.away
		h.away = func(op api.Op, target string) bool {
			if op == api.OpSubmitMessage {
				attempts++
			}
			return away(op, target)
		}
		h.mu.Unlock()
		time.Sleep(36 * time.Hour)
		h.mu.Lock()
		tried := attempts
		h.mu.Unlock()
		if tried < 36*12-36 || tried > 36*24+36 {
			t.Errorf("%d attempts in 36 hours", tried)
		}
		for _, m := range bob.messages(r.ID) {
			if m.Kind == "message" && m.State != client.MessageSending {
				t.Errorf("%q is %s", m.Text, m.State)
			}
		}
		h.hubAway(false)
		time.Sleep(5 * time.Minute) // the longest pause
		alice.sees(r.ID, want...)
		bob.sees(r.ID, want...)
		bob.settled(r.ID)
		if bob.view(r.ID).HubAway {
			t.Error("still told")
		}
	})
}

// TestHubIsBackWithNews: an event of the room tells that its hub is there, so that what waits goes out at once.
func TestHubIsBackWithNews(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Club")
		h.mu.Lock()
		h.away = func(op api.Op, target string) bool { return op == api.OpSubmitMessage && !h.allowed }
		h.mu.Unlock()
		bob.send(r.ID, "kept")
		time.Sleep(12 * time.Hour)
		h.mu.Lock()
		h.allowed = true
		h.mu.Unlock()
		alice.send(r.ID, "we are back")
		start := time.Now()
		alice.until("both", func() bool { return len(alice.lines(r.ID)) == 2 })
		if took := time.Since(start); took > time.Second {
			t.Errorf("Bob's message waited %v after the hub was back", took)
		}
	})
}

// TestHubAwayDuringChanges: a change of the room is told as what it is, and still comes about; so does a device's joining.
func TestHubAwayDuringChanges(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		ctx := context.Background()
		r, err := bob.session.NewGroup(ctx, "Club", []string{"alice@a.example"})
		must(t, err)
		alice.awaitRoom("Club")
		h.mu.Lock()
		h.away = func(op api.Op, target string) bool { return strings.HasPrefix(target, "mimi://b.example/r/") }
		h.mu.Unlock()
		if err := bob.session.Rename(ctx, r.ID, "Klub"); codeOf(err) != client.CodeHubUnreachable {
			t.Errorf("rename without a hub: %v", err)
		}
		second := h.device("alice")
		time.Sleep(2 * 24 * time.Hour)
		if second.room("Club") != "" || bob.room("Klub") != "" {
			t.Error("something came about without a hub")
		}
		h.hubAway(false)
		time.Sleep(5 * time.Minute)
		alice.awaitRoom("Klub")
		second.awaitRoom("Klub")
		second.send(r.ID, "hello")
		bob.sees(r.ID, "Alice: hello")
	})
}

// TestPeerUnreachable: whoever cannot be reached cannot be invited, and that is said.
func TestPeerUnreachable(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		h.rootsAway("b.example")
		_, err := alice.session.NewChat(context.Background(), "bob@b.example")
		if codeOf(err) != client.CodeHubUnreachable || len(alice.rooms()) != 0 {
			t.Errorf("chat with somebody whose provider is away: %v", err)
		}
		h.mu.Lock()
		h.away = nil
		h.mu.Unlock()
		if _, err := alice.session.NewChat(context.Background(), "bob@c.example"); codeOf(err) != client.CodeNotFound {
			t.Errorf("chat with somebody of no provider: %v", err)
		}
	})
}

// TestNT12ProviderIsTold: the provider of a device learns that it is no longer in a room of another one, however long
// that takes to say, and is told nothing about its own rooms.
func TestNT12ProviderIsTold(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob@b.example"), h.join("carol")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob@b.example", "carol"})
		must(t, err)
		bob.awaitRoom("Club")
		carol.awaitRoom("Club")
		h.mu.Lock()
		h.refuse = func(op api.Op) uint16 {
			if op == api.OpLeft {
				return api.StatusUnavailable
			}
			return 0
		}
		h.mu.Unlock()
		must(t, alice.session.RemoveMember(ctx, r.ID, bob.user.String()))
		must(t, alice.session.RemoveMember(ctx, r.ID, carol.user.String()))
		bob.until("removed", func() bool { return bob.view(r.ID).Removed })
		carol.until("removed", func() bool { return carol.view(r.ID).Removed })
		time.Sleep(time.Hour)
		bob.restart()
		h.mu.Lock()
		h.refuse = nil
		h.mu.Unlock()
		time.Sleep(10 * time.Minute)
		h.mu.Lock()
		left := slices.Clone(h.left)
		h.mu.Unlock()
		if len(left) != 1 || !strings.HasPrefix(left[0], "mimi://b.example/d/bob/") || !strings.HasSuffix(left[0], " "+r.ID) {
			t.Errorf("told: %q", left)
		}
		bob.restart()
		must(t, alice.session.AddMembers(ctx, r.ID, []string{"bob@b.example"}))
		bob.until("back", func() bool { return !bob.view(r.ID).Removed })
		time.Sleep(time.Hour)
		if len(h.left) != 1 {
			t.Errorf("told again: %q", h.left)
		}
	})
}

// TestNamesOfOthers shows people of other providers by their whole address as long as nobody knows their name.
func TestNamesOfOthers(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		h.mu.Lock()
		h.nameless = true
		h.mu.Unlock()
		ctx := context.Background()
		carol := h.join("carol")
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob@b.example", "carol"})
		must(t, err)
		carol.awaitRoom("Club")
		bob.awaitRoom("Club")
		bob.send(r.ID, "hi")
		carol.sees(r.ID, "bob@b.example: hi")
		list, err := carol.session.Members(ctx, r.ID)
		must(t, err)
		names := map[string]string{}
		for _, m := range list {
			names[m.User] = m.Name
		}
		if names[bob.user.String()] != "bob@b.example" || names[alice.user.String()] != "alice" {
			t.Errorf("members: %v", names)
		}
		h.mu.Lock()
		h.nameless = false
		h.mu.Unlock()
		carol.restart()
		carol.sees(r.ID, "Bob: hi")
	})
}

// TestNT13MessagesOvertakeACommit delivers a commit after the messages of the epoch it leads to, as a provider between
// may: they wait for it, and nobody rejoins.
func TestNT13MessagesOvertakeACommit(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, _, room := trioOf(t, h)
		late := newLateCommits(h, bob, 2)
		must(t, alice.session.Rename(context.Background(), room, "Klub"))
		alice.send(room, "one")
		alice.send(room, "two")
		bob.sees(room, "Alice: one", "Alice: two")
		if late.held == 0 {
			t.Error("nothing was reordered")
		}
		bob.awaitRoom("Klub")
		time.Sleep(time.Minute)
		if got := bob.notices(room); slices.Contains(got, client.NoticeRejoined+" Bob") {
			t.Errorf("Bob rejoined: %q", got)
		}
		bob.send(room, "three")
		alice.sees(room, "Alice: one", "Alice: two", "Bob: three")
	})
}

// TestNT13OwnJoinIsOvertaken: the same with the external commit of a new device.
func TestNT13OwnJoinIsOvertaken(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, _, room := trioOf(t, h)
		second := h.agent("bob")
		late := newLateCommits(h, second, 1)
		second.start()
		alice.until("Bob's second device", func() bool {
			id, err := mimi.ParseRoomID(room)
			must(t, err)
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.rooms[id].Members()) == 4
		})
		alice.send(room, "one")
		second.awaitRoom("Club")
		second.sees(room, "Alice: one")
		bob.sees(room, "Alice: one")
		if late.held == 0 {
			t.Error("nothing was reordered")
		}
	})
}

// TestNT13TooManyOvertake: who sends nothing but the future does not fill the store.
func TestNT13TooManyOvertake(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, _, room := trioOf(t, h)
		newLateCommits(h, bob, 1<<30)
		must(t, alice.session.Rename(context.Background(), room, "Klub"))
		for i := range 300 {
			alice.send(room, fmt.Sprint(i))
		}
		alice.settled(room)
		h.mu.Lock()
		h.tamper = nil
		h.mu.Unlock()
		bob.until("rejoined", func() bool { return slices.Contains(bob.notices(room), client.NoticeRejoined+" Bob") })
		held, err := bob.store.Range(context.Background(), "u|"+bob.user.String()+"|held|", "", "", 0, false)
		must(t, err)
		bob.awaitRoom("Klub")
		time.Sleep(time.Minute)
		left, err := bob.store.Range(context.Background(), "u|"+bob.user.String()+"|held|", "", "", 0, false)
		must(t, err)
		if len(held) > 256 || len(left) != 0 {
			t.Errorf("%d events held, %d left over", len(held), len(left))
		}
		bob.send(room, "back")
		alice.until("back", func() bool { return slices.Contains(alice.lines(room), "Bob: back") })
	})
}

// lateCommits delivers commits to one agent only after some of the messages that follow.
type lateCommits struct {
	held, after int
	commit      []byte
}

func newLateCommits(h *hub, victim *agent, after int) *lateCommits {
	l := &lateCommits{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tamper = func(e *hubEvent, _ uint64, device mimi.ClientID) [][]byte {
		h.mu.Lock()
		defer h.mu.Unlock()
		mine := false
		for c := range h.conns {
			mine = mine || c.client == device && c.transport == victim.transport
		}
		switch {
		case !mine:
		case e.kind == rooms.EventCommit && l.commit == nil:
			l.commit, l.after = e.body, after
			l.held++
			return nil
		case l.commit != nil && e.kind == rooms.EventMessage:
			if l.after--; l.after == 0 {
				commit := l.commit
				l.commit = nil
				return [][]byte{e.body, commit}
			}
		}
		return [][]byte{e.body}
	}
	return l
}

// TestGI4HubOfAnotherAuthority: a group whose hub another authority vouches for than the one of the room's domain is not
// entered, by a Welcome or by oneself.
func TestGI4HubOfAnotherAuthority(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		h.mu.Lock()
		h.lies = newAuthority(t, "a.example", time.Now()).cert.Raw
		h.mu.Unlock()
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob@b.example"})
		must(t, err)
		second := h.device("bob@b.example")
		time.Sleep(time.Hour)
		for _, a := range []*agent{bob, second} {
			if list := a.rooms(); len(list) != 0 {
				t.Errorf("%s is in a room of a hub that nobody vouches for: %+v", a.user.Name(), list)
			}
		}
		alice.send(r.ID, "hello")
		dropped, err := second.session.Dropped(context.Background())
		must(t, err)
		if dropped["external join failed"] == 0 {
			t.Errorf("dropped: %v", dropped)
		}
	})
}

// TestIQ1SearchAsksTheProvider finds somebody of another provider by the whole address, and nobody by a part of it.
func TestIQ1SearchAsksTheProvider(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		h.join("bob@b.example")
		for text, want := range map[string]int{"bob@b.example": 1, "mimi://b.example/u/bob": 1, "bob": 0, "nobody@b.example": 0} {
			found, err := alice.session.Search(context.Background(), text)
			must(t, err)
			if len(found) != want || want == 1 && found[0].Name != "bob@b.example" {
				t.Errorf("%s: %+v", text, found)
			}
		}
		h.mu.Lock()
		h.away = func(op api.Op, target string) bool { return op == api.OpIdentifierQuery && target != "" }
		h.mu.Unlock()
		if found, err := alice.session.Search(context.Background(), "bob@b.example"); err != nil || len(found) != 0 {
			t.Errorf("a provider that is away: %v %v", found, err)
		}
	})
}

// TestMC11EqualTimes: a hub may give the same time to several messages. All are shown, to everybody in the same order.
func TestMC11EqualTimes(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob"})
		must(t, err)
		bob.awaitRoom("Club")
		time.Sleep(time.Second)
		h.mu.Lock()
		h.stopped = uint64(time.Now().UnixMilli())
		h.mu.Unlock()
		var want []string
		for i := range 6 {
			who := []*agent{alice, bob}[i%2]
			who.send(r.ID, fmt.Sprint(i))
			want = append(want, []string{"Alice", "Bob"}[i%2]+": "+fmt.Sprint(i))
		}
		shown := func(a *agent) []string { return slices.Sorted(slices.Values(a.lines(r.ID))) }
		slices.Sort(want)
		for _, a := range []*agent{alice, bob} {
			a.settled(r.ID)
			a.until("all messages", func() bool { return slices.Equal(shown(a), want) })
		}
		if a, b := alice.lines(r.ID), bob.lines(r.ID); !slices.Equal(a, b) {
			t.Errorf("Alice sees %q, Bob %q", a, b)
		}
	})
}
