package client_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/web/api"
	"kith/web/client"
)

// verifyEd25519 is what a browser offers the session.
func (a *agent) verifyEd25519(checks []client.SignatureCheck) error {
	a.mu.Lock()
	a.verified += len(checks)
	a.mu.Unlock()
	for _, c := range checks {
		if !ed25519.Verify(c.PublicKey, c.Message, c.Signature) {
			return errors.New("not verified")
		}
	}
	return nil
}

// ratchets are the stored records of a room's ratchet state, by what follows "ratchet|<room>" in their keys.
func (a *agent) ratchets(room string) map[string][]byte {
	a.t.Helper()
	list, err := a.store.Range(context.Background(), a.key("ratchet|"+room), "", "", 0, false)
	a.check(err)
	found := map[string][]byte{}
	for _, kv := range list {
		found[strings.TrimPrefix(kv.Key, a.key("ratchet|"+room))] = kv.Value
	}
	return found
}

func (a *agent) key(rest string) string { return "u|" + a.user.String() + "|" + rest }

// A message writes pieces of the ratchet state, and nothing of it stays behind for who has been removed.
func TestRatchetsAreStoredInPieces(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob", "carol"})
		must(t, err)
		bob.awaitRoom("Club")
		carol.awaitRoom("Club")
		alice.send(r.ID, "one")
		bob.sees(r.ID, "Alice: one")
		carol.sees(r.ID, "Alice: one")
		for _, a := range h.agents {
			pieces := a.ratchets(r.ID)
			if _, whole := pieces[""]; whole || len(pieces) == 0 {
				t.Errorf("%s has %d records, in one %v", a.user, len(pieces), whole)
			}
		}
		if bob.verified == 0 {
			t.Error("bob joined without the browser's help")
		}
		must(t, alice.session.RemoveMember(context.Background(), r.ID, carol.user.String()))
		carol.until("removed", func() bool { return carol.view(r.ID).Removed })
		if left := carol.ratchets(r.ID); len(left) != 0 {
			t.Errorf("%d records left", len(left))
		}
	})
}

type anyApplication struct{}

func (anyApplication) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (anyApplication) UpdateComponent(_ mls.ComponentID, old []byte, _ [][]byte) ([]byte, error) {
	return old, nil
}

// A profile whose ratchet state is in one record, as it once was, goes on, and the record goes with the first message.
func TestRatchetsInOneRecord(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(room, "one")
		bob.sees(room, "Alice: one")
		bob.stop()
		bob.join(room)
		bob.start()
		bob.until("ready", func() bool { return bob.state().Online })
		alice.send(room, "two")
		bob.sees(room, "Alice: one", "Alice: two")
		pieces := bob.ratchets(room)
		if _, whole := pieces[""]; whole || len(pieces) == 0 {
			t.Errorf("after a message: %d records, in one %v", len(pieces), whole)
		}
		bob.restart()
		bob.send(room, "three")
		alice.sees(room, "Alice: one", "Alice: two", "Bob: three")
	})
}

// The record goes too when the group in it is of no use, and is replaced without having been looked at.
func TestRatchetsInOneRecordOfABrokenRoom(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob"})
		must(t, err)
		bob.awaitRoom("Club")
		taken, asked := 0, 0
		h.mu.Lock()
		h.tamper = func(e *hubEvent, _ uint64, device mimi.ClientID) [][]byte {
			if user, _ := device.User(); e.kind == rooms.EventCommit && user == bob.user && taken == 0 {
				taken++
				return nil
			}
			return [][]byte{e.body}
		}
		h.refuse = func(op api.Op) uint16 {
			if op == api.OpGroupInfo {
				asked++
				return 503
			}
			return 0
		}
		h.mu.Unlock()
		must(t, alice.session.Rename(ctx, r.ID, "Klub"))
		alice.send(r.ID, "lost for Bob")
		bob.until("broken", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return asked > 0 })
		bob.stop()
		bob.join(r.ID)
		h.mu.Lock()
		h.refuse = nil
		h.mu.Unlock()
		bob.start()
		bob.until("rejoined", func() bool { return slices.Contains(bob.notices(r.ID), client.NoticeRejoined+" Bob") })
		pieces := bob.ratchets(r.ID)
		if _, whole := pieces[""]; whole || len(pieces) == 0 {
			t.Errorf("after the repair: %d records, in one %v", len(pieces), whole)
		}
		bob.restart()
		bob.send(r.ID, "I am back")
		alice.sees(r.ID, "Alice: lost for Bob", "Bob: I am back")
	})
}

// join puts the pieces of a room into one record.
func (a *agent) join(room string) {
	a.t.Helper()
	ctx := context.Background()
	var pieces []mls.RatchetPiece
	var ops []client.Op
	for rest, data := range a.ratchets(room) {
		p := mls.RatchetPiece{Data: data}
		if _, err := fmt.Sscanf(rest, "|%x-%x", &p.Epoch, &p.Part); err != nil {
			a.t.Fatal(rest, err)
		}
		pieces = append(pieces, p)
		ops = append(ops, client.Op{Key: a.key("ratchet|" + room + rest)})
	}
	state, err := a.store.Get(ctx, a.key("group|"+room))
	a.check(err)
	key, err := mls.GenerateSignatureKey(mls.X25519AES128GCMSHA256Ed25519, nil)
	a.check(err)
	g, err := mls.RestoreGroupFrom(mls.Config{Application: anyApplication{}}, &mls.Client{SignatureKey: key}, state, pieces)
	a.check(err)
	whole, err := g.RatchetState()
	a.check(err)
	a.check(a.store.Commit(ctx, append(ops, client.Op{Key: a.key("ratchet|" + room), Value: whole})))
}
