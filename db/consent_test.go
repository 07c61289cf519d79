package db

import (
	"fmt"
	"slices"
	"testing"
)

const (
	alice = "mimi://a.example/u/alice"
	bob   = "mimi://b.example/u/bob"
	club  = "mimi://a.example/r/club"
)

func TestConsentOfAScope(t *testing.T) {
	s := newMessageStore(t)
	s.write(t, func(tx *Tx) error {
		if err := tx.SetConsent(Consent{Requester: bob, Target: alice, Asked: 5}); err != nil {
			return err
		}
		return tx.SetConsent(Consent{Requester: bob, Target: alice, Room: club, Answer: ConsentDenied})
	})
	s.write(t, func(tx *Tx) error {
		c, err := tx.Consent(bob, alice, "")
		if err != nil || c.Asked != 5 || c.Answer != ConsentOpen || c.Changed == 0 {
			t.Errorf("general: %+v %v", c, err)
		}
		if c, err = tx.Consent(alice, bob, ""); err != nil || c.Asked != 0 || c.Changed != 0 || c.Requester != alice {
			t.Errorf("the other way round: %+v %v", c, err)
		}
		list, err := tx.ConsentsBetween(bob, alice)
		if err != nil || len(list) != 2 || list[1].Room != club || list[1].Answer != ConsentDenied {
			t.Errorf("between: %+v %v", list, err)
		}
		// neither asked for nor answered: forgotten
		if err := tx.SetConsent(Consent{Requester: bob, Target: alice}); err != nil {
			return err
		}
		if list, err = tx.ConsentsBetween(bob, alice); err != nil || len(list) != 1 {
			t.Errorf("after taking it back: %+v %v", list, err)
		}
		return nil
	})
}

func TestConsentsOfAUserWithoutTheBlocked(t *testing.T) {
	s := newMessageStore(t)
	eve := "mimi://b.example/u/eve"
	s.write(t, func(tx *Tx) error {
		for _, c := range []Consent{{Requester: bob, Target: alice, Asked: 1}, {Requester: eve, Target: alice, Asked: 1},
			{Requester: alice, Target: eve, Asked: 1}, {Requester: bob, Target: eve, Asked: 1}} {
			if err := tx.SetConsent(c); err != nil {
				return err
			}
		}
		return tx.Block(alice, eve)
	})
	s.write(t, func(tx *Tx) error {
		list, err := tx.ConsentsOf(alice, 10)
		if err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(c Consent) bool { return c.Requester == alice && c.Target == eve }) {
			t.Errorf("of alice: %+v %v", list, err)
		}
		if list, err = tx.ConsentsOf(alice, 1); err != nil || len(list) != 1 {
			t.Errorf("limit: %d %v", len(list), err)
		}
		blocks, err := tx.Blocks(alice, 10)
		if err != nil || !slices.Equal(blocks, []string{eve}) {
			t.Errorf("blocks: %v %v", blocks, err)
		}
		for _, tt := range []struct {
			user, other string
			want        bool
		}{{alice, eve, true}, {eve, alice, false}, {alice, bob, false}} {
			if got, err := tx.Blocked(tt.user, tt.other); err != nil || got != tt.want {
				t.Errorf("%s blocks %s: %t %v", tt.user, tt.other, got, err)
			}
		}
		if err := tx.Unblock(alice, eve); err != nil {
			return err
		}
		if list, err = tx.ConsentsOf(alice, 10); err != nil || len(list) != 3 {
			t.Errorf("after unblocking: %d %v", len(list), err)
		}
		return nil
	})
}

// TestConsentCounts counts by provider: b.example is not b.example.org, nor ab.example.
func TestConsentCounts(t *testing.T) {
	s := newMessageStore(t)
	s.write(t, func(tx *Tx) error {
		for i, p := range []string{"b.example", "b.example", "b.example.org", "ab.example", "b.exampl"} {
			user := fmt.Sprintf("mimi://%s/u/u%d", p, i)
			if err := tx.SetConsent(Consent{Requester: user, Target: alice, Asked: 1}); err != nil {
				return err
			}
			if err := tx.SetConsent(Consent{Requester: alice, Target: user, Answer: ConsentGranted}); err != nil {
				return err
			}
		}
		return tx.SetConsent(Consent{Requester: bob, Target: alice, Asked: 1, Answer: ConsentDenied}) // waits for nothing
	})
	s.write(t, func(tx *Tx) error {
		from, err1 := tx.CountRequestsFrom("mimi://b.example")
		unasked, err2 := tx.CountUnasked("mimi://b.example")
		to, err3 := tx.CountRequestsTo(alice)
		by, err4 := tx.CountRequestsBy(alice)
		pair, err5 := tx.CountRequestsBetween("mimi://b.example", alice)
		if from != 2 || unasked != 2 || to != 5 || by != 0 || pair != 2 {
			t.Error(from, unasked, to, by, pair, err1, err2, err3, err4, err5)
		}
		for range 3 {
			if err := tx.CountConsentMessage("b.example", false); err != nil {
				return err
			}
		}
		if err := tx.CountConsentMessage("b.example", true); err != nil {
			return err
		}
		peers, err := tx.ConsentPeers()
		if err != nil || len(peers) != 1 || peers[0] != (ConsentPeer{"b.example", 4, 1}) {
			t.Errorf("peers: %+v %v", peers, err)
		}
		return nil
	})
}

func TestConsentOutbox(t *testing.T) {
	s := newMessageStore(t)
	queue := func(provider, room string, answer bool, body string) {
		s.write(t, func(tx *Tx) error {
			return tx.QueueConsent(ConsentMessage{Provider: provider, Answer: answer, Requester: alice, Target: bob, Room: room, Body: []byte(body)})
		})
	}
	queue("b.example", "", false, "request")
	queue("b.example", club, false, "request for a room")
	queue("c.example", "", false, "elsewhere")
	queue("b.example", "", true, "grant")
	queue("b.example", "", false, "cancel") // replaces the request, behind all others
	var order []string
	for {
		var heads []ConsentMessage
		s.write(t, func(tx *Tx) (err error) { heads, err = tx.ConsentHeads(); return err })
		if len(heads) == 0 {
			break
		}
		order = append(order, string(heads[0].Body))
		s.write(t, func(tx *Tx) error { return tx.ForgetConsent(heads[0].ID) })
	}
	if want := []string{"request for a room", "elsewhere", "grant", "cancel"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	queue("b.example", "", false, "later")
	s.write(t, func(tx *Tx) error {
		heads, err := tx.ConsentHeads()
		if err != nil || len(heads) != 1 || heads[0].Answer || heads[0].Since == 0 || heads[0].Due != heads[0].Since {
			t.Fatalf("%+v %v", heads, err)
		}
		if err := tx.DelayConsent(heads[0].ID, heads[0].Due+5); err != nil {
			return err
		}
		again, err := tx.ConsentHeads()
		if err != nil || again[0].Tries != 1 || again[0].Due != heads[0].Due+5 {
			t.Errorf("delayed: %+v %v", again, err)
		}
		n, err := tx.CountQueuedConsents("b.example")
		if n != 1 {
			t.Errorf("%d queued", n)
		}
		return err
	})
}

func TestHasDeviceIn(t *testing.T) {
	s := newMessageStore(t)
	has := func() (yes bool) {
		s.write(t, func(tx *Tx) (err error) {
			yes, err = tx.HasDeviceIn("mimi://a.example/u/alice", "mimi://a.example/r/0")
			return err
		})
		return yes
	}
	// Who is only listed as a participant has no device there.
	s.write(t, func(tx *Tx) error { return tx.SetRoomUsers(s.rooms[0], []string{"mimi://a.example/u/alice"}) })
	if has() {
		t.Error("a listed user counts")
	}
	s.write(t, func(tx *Tx) error { return tx.AddMember(s.rooms[0], s.devices[1], 1) })
	if !has() {
		t.Error("a member does not count")
	}
	s.write(t, func(tx *Tx) error { return tx.EndMember(s.rooms[0], s.devices[1], 2) })
	if has() {
		t.Error("a former member counts")
	}
}
