package servertest_test

import (
	"slices"
	"testing"
	"time"

	"kith/server/servertest"
)

// TestDraftExample is the example that the protocol's draft is about: Alice makes a room and adds Bob, Bob adds Cathy,
// Cathy writes, Bob leaves, and Cathy gets a new device; each of them at a provider of its own. Besides what they see it
// compares who asks whom for what with the figures of the draft.
//
// draft-ietf-mimi-protocol-06, Section 3
func TestDraftExample(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, c *servertest.Provider) {
		a1, a2, b1, b2, c1, c2 := a.User("alice"), a.User("alice"), b.User("bob"), b.User("bob"), c.User("cathy"), c.User("cathy")
		all := []*servertest.User{a1, a2, b1, b2, c1, c2}
		for _, u := range all {
			until(t, u.Name+" is ready", func() bool { return u.Ready(ctx) })
		}
		must(t, servertest.Acquaint(ctx, a1, b1, c1))
		until(t, "their devices know it", func() bool { return len(n.Requests()) == 0 })
		bob, cathy := b1.Account.User.String(), c1.Account.User.String()

		// 3.1 Alice creates a room
		club, err := a1.Session.NewGroup(ctx, "clubhouse", nil)
		must(t, err)
		until(t, "Alice's other device is in", has(a2, club.ID))
		flow(t, n, "Alice creates a room")

		// 3.2 Alice adds Bob to the room
		must(t, a1.Session.AddMembers(ctx, club.ID, []string{bob}))
		for _, u := range []*servertest.User{b1, b2} {
			until(t, u.Name+" is in", has(u, club.ID))
		}
		flow(t, n, "Alice adds Bob", "a.example b.example keyMaterial", "a.example b.example notify")

		// 3.3 Bob adds Cathy to the room
		must(t, b1.Session.AddMembers(ctx, club.ID, []string{cathy}))
		for _, u := range []*servertest.User{c1, c2} {
			until(t, u.Name+" is in", has(u, club.ID))
		}
		agreed(t, club.ID, all...)
		flow(t, n, "Bob adds Cathy", "b.example a.example keyMaterial", "a.example c.example keyMaterial", "b.example a.example update",
			"a.example c.example notify", "a.example b.example notify")

		// 3.4 Cathy sends a message
		_, err = c1.Session.Send(ctx, club.ID, "hello everyone")
		must(t, err)
		for _, u := range all {
			sees(t, u, club.ID, "hello everyone")
		}
		flow(t, n, "Cathy sends a message", "c.example a.example submitMessage", "a.example b.example notify", "a.example c.example notify")

		// 3.5 Bob leaves the room
		must(t, b1.Session.Leave(ctx, club.ID))
		for _, u := range []*servertest.User{b1, b2} {
			until(t, u.Name+" is out", removed(u, club.ID))
		}
		_, err = a2.Session.Send(ctx, club.ID, "and without Bob")
		must(t, err)
		agreed(t, club.ID, a1, a2, c1, c2)
		for _, u := range []*servertest.User{a1, a2, c1, c2} {
			sees(t, u, club.ID, "hello everyone", "and without Bob")
		}
		sees(t, b2, club.ID, "hello everyone")
		flow(t, n, "Bob leaves", "b.example a.example update", "a.example c.example notify", "a.example b.example notify")

		// 3.6 Cathy adds a new device
		c3 := c.User("cathy")
		until(t, "Cathy's new device is in", has(c3, club.ID))
		_, err = c3.Session.Send(ctx, club.ID, "from the new one")
		must(t, err)
		agreed(t, club.ID, a1, a2, c1, c2, c3)
		for _, u := range []*servertest.User{a1, a2, c1, c2} {
			sees(t, u, club.ID, "hello everyone", "and without Bob", "from the new one")
		}
		sees(t, c3, club.ID, "from the new one")
		flow(t, n, "Cathy's new device", "c.example a.example groupInfo", "c.example a.example update", "a.example c.example notify",
			"c.example a.example submitMessage")
	})
}

// agreed waits until devices are in the same epoch of the same group, see the same members, and have nothing on its way.
func agreed(t *testing.T, room string, users ...*servertest.User) {
	t.Helper()
	until(t, "all agree", func() bool {
		first, err := users[0].Session.Inspect(ctx, room)
		members, _ := users[0].Members(ctx, room)
		for _, u := range users {
			i, failed := u.Session.Inspect(ctx, room)
			list, _ := u.Members(ctx, room)
			if failed != nil || i.Pending > 0 || i.Broken || !slices.Equal(i.Authenticator, first.Authenticator) || !slices.Equal(list, members) {
				return false
			}
		}
		return err == nil && len(first.Authenticator) > 0
	})
}

// flow demands that certain requests between providers were made, in this order, and none that has no place in it.
func flow(t *testing.T, n *servertest.Net, what string, want ...string) {
	t.Helper()
	time.Sleep(time.Minute)
	got := n.Requests()
	rest := want
	for _, r := range got {
		if len(rest) > 0 && r == rest[0] {
			rest = rest[1:]
		}
		if !slices.Contains(want, r) && !slices.Contains(names, r) {
			t.Errorf("%s: %s", what, r)
		}
	}
	for _, r := range rest {
		if !slices.Contains(got, r) {
			t.Errorf("%s: no %s in %q", what, r, got)
		}
	}
}

// names are the requests with which providers ask for the display names of each other's users.
var names = []string{"a.example b.example identifierQuery", "a.example c.example identifierQuery", "b.example a.example identifierQuery",
	"b.example c.example identifierQuery", "c.example a.example identifierQuery", "c.example b.example identifierQuery"}
