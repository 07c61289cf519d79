package client_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/web/client"
)

// TestForgedDuplicatedReordered has the hub send rubbish, altered copies, duplicates and old events between the real
// ones. The timelines stay right, and the rubbish is counted.
func TestForgedDuplicatedReordered(t *testing.T) {
	world(t, func(h *hub) {
		random := seeded(t)
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		h.mu.Lock()
		var old [][]byte
		h.tamper = func(e *hubEvent, _ uint64, device mimi.ClientID) [][]byte {
			out := [][]byte{e.body, e.body} // each event twice
			if user, _ := device.User(); e.kind != rooms.EventMessage || user != bob.user {
				return out
			}
			forged := bytes.Clone(e.body)
			forged[len(forged)-len(frankOf(t, e.body))-2-random.intN(40)] ^= 1 << random.intN(8)
			out = slices.Insert(out, 0, []byte("rubbish"), forged, e.body[:random.intN(len(e.body))])
			for range min(3, len(old)) {
				out = append(out, old[random.intN(len(old))])
			}
			old = append(old, e.body)
			return out
		}
		h.mu.Unlock()
		var want []string
		for i := range 30 {
			text := strings.Repeat("t", i+1)
			alice.send(ab, text)
			want = append(want, "Alice: "+text)
			time.Sleep(time.Second)
		}
		bob.sees(ab, want...)
		alice.sees(ab, want...)
		bob.send(ab, "still fine")
		alice.sees(ab, append(want, "Bob: still fine")...)
		dropped, err := bob.session.Dropped(context.Background())
		must(t, err)
		if dropped["malformed event"] == 0 || dropped["does not decrypt or verify"] == 0 || dropped["replayed"] == 0 {
			t.Errorf("dropped: %v", dropped)
		}
	})
}

// TestHealAfterMissedCommit takes a commit away from one device: it notices, rejoins by an external commit, says so
// in one notice, and goes on (D15).
func TestHealAfterMissedCommit(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob", "carol"})
		must(t, err)
		bob.awaitRoom("Club")
		carol.awaitRoom("Club")
		taken := 0
		h.mu.Lock()
		h.tamper = func(e *hubEvent, _ uint64, device mimi.ClientID) [][]byte {
			if user, _ := device.User(); e.kind == rooms.EventCommit && user == bob.user && taken == 0 {
				taken++
				return nil
			}
			return [][]byte{e.body}
		}
		h.mu.Unlock()
		must(t, alice.session.Rename(ctx, r.ID, "Klub"))
		alice.send(r.ID, "lost for Bob")
		bob.until("rejoined", func() bool { return slices.Contains(bob.notices(r.ID), client.NoticeRejoined+" Bob") })
		bob.awaitRoom("Klub")
		bob.send(r.ID, "I am back")
		alice.sees(r.ID, "Alice: lost for Bob", "Bob: I am back")
		carol.sees(r.ID, "Alice: lost for Bob", "Bob: I am back")
		alice.send(r.ID, "welcome")
		bob.sees(r.ID, "Bob: I am back", "Alice: welcome")
		if n := len(slices.DeleteFunc(bob.notices(r.ID), func(s string) bool { return !strings.HasPrefix(s, client.NoticeRejoined) })); n != 1 {
			t.Errorf("%d notices about one repair", n)
		}
		if got := alice.view(r.ID).Members; got != 3 {
			t.Errorf("%d members", got)
		}
	})
}

// TestCR5CertificateIsRenewed lets two thirds of a certificate's life pass: the device gets another one, and its leaf
// in a room that is active too.
func TestCR5CertificateIsRenewed(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob"})
		must(t, err)
		bob.awaitRoom("Club")
		room, err := mimi.ParseRoomID(r.ID)
		must(t, err)
		before := epochOf(h, room)
		alice.transport.setDown(true)
		bob.transport.setDown(true)
		time.Sleep(65 * 24 * time.Hour)
		alice.transport.setDown(false)
		bob.transport.setDown(false)
		alice.until("online", func() bool { return alice.state().Online })
		bob.until("online", func() bool { return bob.state().Online })
		alice.send(r.ID, "after two months")
		bob.sees(r.ID, "Alice: after two months")
		bob.send(r.ID, "indeed")
		alice.sees(r.ID, "Alice: after two months", "Bob: indeed")
		alice.until("renewed leaves", func() bool { return epochOf(h, room) >= before+2 })
		alice.send(r.ID, "and on")
		bob.sees(r.ID, "Alice: after two months", "Bob: indeed", "Alice: and on")
	})
}

func epochOf(h *hub, room mimi.RoomID) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[room].Epoch()
}

// TestML13PackagesAreRefilled makes many rooms with one person: the pool never runs dry.
func TestML13PackagesAreRefilled(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		for i := range 70 {
			name := strings.Repeat("r", i+1)
			_, err := alice.session.NewGroup(context.Background(), name, []string{"bob"})
			must(t, err)
			bob.awaitRoom(name)
		}
	})
}

// TestML3PackagesAreGreased looks for reserved values in what a device publishes: whoever chokes on them is found out
// before a real extension comes.
func TestML3PackagesAreGreased(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		alice.until("packages", func() bool { return len(h.published(alice)) > 0 })
		for _, kp := range h.published(alice) {
			reserved := func(e mls.ExtensionType) bool { return e&0x0F0F == 0x0A0A && e>>8 == e&0xFF }
			if !slices.ContainsFunc(kp.LeafNode.Capabilities.Extensions, reserved) {
				t.Fatal("a leaf without GREASE")
			}
		}
	})
}

// TestTwoPeopleOneBrowser signs somebody else in on the same profile: neither sees what belongs to the other.
func TestTwoPeopleOneBrowser(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		h.account("carol")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "private")
		alice.settled(ab)
		become := func(name string) {
			alice.transport.setDown(true)
			alice.transport.mu.Lock()
			alice.transport.user = h.user(name)
			alice.transport.mu.Unlock()
			alice.transport.setDown(false)
			alice.until("is "+name, func() bool { s := alice.state(); return s.Online && s.Me.Name == name })
		}
		become("carol")
		if len(alice.rooms()) != 0 {
			t.Error("Carol sees Alice's rooms")
		}
		become("alice")
		alice.sees(ab, "Alice: private")
		bob.send(ab, "hi")
		alice.sees(ab, "Alice: private", "Bob: hi")
	})
}

// TestCR2ChangedRootIsRefused: a provider whose identity root is another one is not the provider.
func TestCR2ChangedRootIsRefused(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		h.ca = newAuthority(t, "a.example", time.Now())
		alice.restart()
		alice.until("refused", func() bool {
			s := alice.state()
			return s.State == client.StateError && s.Error.Code == client.CodeIdentityChanged && !s.Online
		})
	})
}
