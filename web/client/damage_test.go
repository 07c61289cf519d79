package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/web/client"
)

// damage spoils what the store has under a prefix of the agent's keys; it returns how much that was.
func (a *agent) damage(prefix string, spoil func([]byte) []byte) int {
	ctx := context.Background()
	list, err := a.store.Range(ctx, "u|"+a.user.String()+"|"+prefix, "", "", 0, false)
	must(a.t, err)
	for _, kv := range list {
		must(a.t, a.store.Commit(ctx, []client.Op{{Key: kv.Key, Value: spoil(kv.Value)}}))
	}
	return len(list)
}

// TestDamagedRoomIsEnteredAnew spoils what a browser has stored of one room, piece by piece. That room is entered anew
// (D15), what was written into it goes out, and the other room does not notice.
func TestDamagedRoomIsEnteredAnew(t *testing.T) {
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b = slices.Clone(b); b[0] ^= 0xff; return b }
	empty := func([]byte) []byte { return []byte{} }
	for name, c := range map[string]struct {
		kind  string
		spoil func([]byte) []byte
	}{
		"group cut off":   {"group|", cut},
		"group of rust":   {"group|", flip},
		"group emptied":   {"group|", empty},
		"ratchet cut off": {"ratchet|", cut},
		"record cut off":  {"room|", cut},
	} {
		t.Run(name, func(t *testing.T) {
			world(t, func(h *hub) {
				alice, bob, _, room := trioOf(t, h)
				other := alice.chat("bob")
				bob.awaitRoom("Alice")
				alice.send(room, "before")
				bob.sees(room, "Alice: before")
				bob.transport.setDown(true)
				bob.until("offline", func() bool { return !bob.state().Online })
				bob.send(room, "written offline")
				bob.stop()
				if bob.damage(c.kind+room, c.spoil) == 0 {
					t.Fatal("nothing to damage")
				}
				alice.send(room, "meanwhile")
				bob.start()
				bob.transport.setDown(false)
				alice.send(other, "other rooms go on")
				bob.sees(other, "Alice: other rooms go on")
				bob.until("rejoined", func() bool { return slices.Contains(bob.notices(room), client.NoticeRejoined+" Bob") })
				alice.until("Bob's message", func() bool { return slices.Contains(alice.lines(room), "Bob: written offline") })
				alice.send(room, "after")
				bob.until("after", func() bool { return slices.Contains(bob.lines(room), "Alice: after") })
				bob.awaitRoom("Club")
				time.Sleep(time.Hour)
				if n := len(slices.DeleteFunc(bob.notices(room), func(s string) bool { return !strings.HasPrefix(s, client.NoticeRejoined) })); n != 1 {
					t.Errorf("%d repairs of one damage", n)
				}
				if s := bob.state(); s.State != client.StateReady || !s.Online {
					t.Errorf("the engine suffers: %+v", s)
				}
			})
		})
	}
}
