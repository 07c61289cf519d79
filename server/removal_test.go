package server_test

import (
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// propose sends proposals without a commit, as one bundle, and waits until they come back.
func (m *member) propose(id mimi.RoomID, change func(*room.View) ([]mls.Proposal, error)) {
	m.t.Helper()
	view, err := m.View(id)
	if err != nil {
		m.t.Fatal(err)
	}
	proposals, err := change(view)
	if err != nil {
		m.t.Fatal(err)
	}
	var messages []wire.MLSMessage
	for _, p := range proposals {
		message, err := m.Rooms[id].Propose(p, room.EmptyAAD())
		if err != nil {
			m.t.Fatal(err)
		}
		encoded, err := wire.NewMLSMessage(message)
		if err != nil {
			m.t.Fatal(err)
		}
		messages = append(messages, encoded)
	}
	body, err := (&wire.UpdateRequest{ProposalOrCommit: messages[0], MoreProposals: messages[1:]}).Bytes()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.Update(m.t.Context(), m.c, id, body); err != nil {
		m.t.Fatal(err)
	}
	if r := m.receive(); !r.Mine || r.Commit || r.Text != "" {
		m.t.Fatalf("not our proposals: %+v", r)
	}
}

// follow receives one event on each device that moves the group on.
func follow(t *testing.T, commit bool, devices ...*member) {
	t.Helper()
	for _, m := range devices {
		if r := m.receive(); r.Commit != commit || r.Text != "" {
			t.Fatalf("%s: %+v, want commit %t", m.User, r, commit)
		}
	}
}

// A KeyPackage that a Welcome has named is spent: for this room, for another, and for publishing.
func TestKM8KeyPackageIsNamedOnce(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id, other := p.device("alice"), p.device("bob"), p.room("r1"), p.room("r2")
		for _, r := range []mimi.RoomID{id, other} {
			if err := alice.CreateRoom(t.Context(), alice.c, r, "", mimi.UserID{}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := alice.Claim(t.Context(), alice.c, id, bob.User)
		if err != nil {
			t.Fatal(err)
		}
		kp := resp.Clients[0].KeyPackage
		add := func(v *room.View) ([]mls.Proposal, error) { return room.AddUser(v, bob.User, []*mls.KeyPackage{kp}) }
		if err := alice.Change(t.Context(), alice.c, id, add); err != nil {
			t.Fatal(err)
		}
		bob.receive()
		if err := alice.Change(t.Context(), alice.c, id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, bob.User) }); err != nil {
			t.Fatal(err)
		}
		bob.receive()
		for _, r := range []mimi.RoomID{id, other} {
			if err := alice.Change(t.Context(), alice.c, r, add); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("named again in %v: %v", r, err)
			}
		}
		body, err := mls.KeyPackages{kp}.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		before, err := bob.c.Call(t.Context(), api.OpPublishKeyPackages, "", body)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := api.UnmarshalPublishResponse(before); err != nil || n.Available != 4 {
			t.Errorf("published again: %+v %v, want the 4 that were left", n, err)
		}
		bob.quiet()
		if err := alice.Add(t.Context(), alice.c, id, bob.User); err != nil {
			t.Errorf("with another package: %v", err)
		}
	})
}

// draft-ietf-mimi-protocol-06, Section 5.3
func TestUP6NoMessagesOnceRemovalIsAccepted(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, away, carol, id := p.device("alice"), p.device("bob"), p.device("bob"), p.device("carol"), p.room("r1")
		p.group(id, alice, bob, carol)
		away.receive() // came in with bob
		say := func(text string) {
			t.Helper()
			alice.send(id, text)
			for _, m := range []*member{alice, carol} {
				if got := m.texts(1); got[0] != text {
					t.Fatalf("%s got %q, want %q", m.User, got, text)
				}
			}
		}
		say("with bob")
		bob.texts(1)
		away.c.Close()
		alice.propose(id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, bob.User) })
		follow(t, false, bob, carol)
		say("live")
		bob.quiet()

		// nor on resume, live or after a restart
		p.reconnect(bob)
		bob.quiet()
		p.stop()
		p.start()
		for _, m := range []*member{alice, bob, away, carol} {
			m.c = p.dial(m.User.Name())
			m.hello()
		}
		if got := away.texts(1); got[0] != "with bob" {
			t.Error(got)
		}
		follow(t, false, away)
		say("after a restart")
		for _, m := range []*member{bob, away} {
			m.quiet()
			p.reconnect(m)
			m.quiet()
		}

		// NT-9: but the commit that carries it out
		if err := carol.Change(t.Context(), carol.c, id); err != nil {
			t.Fatal(err)
		}
		follow(t, true, alice)
		for _, m := range []*member{bob, away} {
			if r := m.receive(); !r.Removed {
				t.Errorf("%+v", r)
			}
		}
		say("without bob")
		bob.quiet()
		away.quiet()
	})
}

// An external commit voids a pending removal; the hub proposes it anew, so that the removed user stays unheard.
func TestUP6NT10VoidedRemoval(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, carol, id := p.device("alice"), p.device("bob"), p.device("carol"), p.room("r1")
		p.group(id, alice, bob, carol)
		alice.propose(id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, bob.User) })
		follow(t, false, bob, carol)
		alice.send(id, "unheard")
		carol.texts(1)
		bob.quiet()
		second := p.device("carol")
		if err := second.JoinExternal(t.Context(), second.c, id); err != nil {
			t.Fatal(err)
		}
		alice.texts(1)
		follow(t, true, alice, bob, carol)
		alice.send(id, "still unheard")
		carol.texts(1)
		bob.quiet()
		p.reconnect(bob)
		bob.quiet()
		if err := carol.Change(t.Context(), carol.c, id); err != nil {
			t.Fatal(err)
		}
		if r := bob.receive(); !r.Removed {
			t.Errorf("%+v", r)
		}
		end := bob.Cursor
		bob.Cursor = 0
		if cursors := p.restream(bob); len(cursors) != 4 || cursors[3] != end {
			t.Errorf("bob's stream is %v, want Welcome, proposals and two commits", cursors)
		}
	})
}
