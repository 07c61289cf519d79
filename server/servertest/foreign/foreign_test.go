package foreign_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/server/servertest"
	"kith/server/servertest/foreign"
	"kith/web/client"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// land is a world with one of our providers, where Alice and Dave live, and one of another make at other.example. There
// Oscar and Olga have devices with client URIs of one segment.
type land struct {
	t           *testing.T
	net         *servertest.Net
	a           *servertest.Provider
	other       *foreign.Provider
	alice, dave *servertest.User
	oscar, olga *foreign.Device
}

func visit(t *testing.T, m foreign.Manners, test func(l *land)) {
	t.Helper()
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		must(t, err)
		l := &land{t: t, net: n}
		defer func() {
			if t.Failed() && l.a != nil {
				t.Logf("%s:\n%s", l.a.Domain, l.a.Log)
			}
			if l.other != nil {
				if err := l.other.Err(); err != nil {
					t.Errorf("the other provider: %v", err)
				}
				must(t, l.other.Close())
			}
			must(t, n.Close())
			time.Sleep(time.Minute) // let what is left of connections end
		}()
		l.a, err = n.Provider(ctx, "a.example", dir, "alice", "dave")
		must(t, err)
		l.other, err = foreign.New(ctx, n, "other.example", m, l.a)
		must(t, err)
		l.alice, l.dave = l.a.User("alice"), l.a.User("dave")
		l.until("all are there", func() bool { return l.alice.Ready(ctx) && l.dave.Ready(ctx) })
		l.oscar, err = l.other.Device("Oscar", "ClientA1")
		must(t, err)
		l.olga, err = l.other.Device("Olga", "ClientB7")
		must(t, err)
		l.other.Name(l.oscar.User, "Oscar of the others")
		for _, u := range []*servertest.User{l.alice, l.dave} {
			must(t, u.Session.AcceptRequest(ctx, l.oscar.User.String(), ""))
			must(t, u.Session.AcceptRequest(ctx, l.olga.User.String(), ""))
			must(t, l.other.Grant(u.Account.User, l.oscar.User))
			must(t, l.other.Grant(u.Account.User, l.olga.User))
		}
		test(l)
	})
}

func (l *land) until(what string, cond func() bool) {
	l.t.Helper()
	if !servertest.Until(2*time.Minute, cond) {
		l.t.Fatalf("never: %s", what)
	}
}

// texts are the messages that a user of ours sees in a room.
func (l *land) texts(u *servertest.User, id string) (texts []string) {
	history, err := u.History(ctx, id)
	must(l.t, err)
	for _, m := range history {
		if m.Kind == "message" && (m.State == client.MessageSent || m.State == client.MessageReceived) {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// sees waits until somebody of ours sees just these messages.
func (l *land) sees(u *servertest.User, id mimi.RoomID, want ...string) {
	l.t.Helper()
	if !servertest.Until(time.Minute, func() bool { return slices.Equal(l.texts(u, id.String()), want) }) {
		l.t.Fatalf("%s sees %q, not %q", u.Name, l.texts(u, id.String()), want)
	}
}

// reads is sees for a device of the other provider, where own messages may come at another place.
func (l *land) reads(d *foreign.Device, id mimi.RoomID, want ...string) {
	l.t.Helper()
	sorted := func(list []string) []string { list = slices.Clone(list); slices.Sort(list); return list }
	if !servertest.Until(time.Minute, func() bool { return slices.Equal(sorted(d.Texts(id)), sorted(want)) }) {
		l.t.Fatalf("%s reads %q, not %q", d.Client, d.Texts(id), want)
	}
}

// people waits until somebody of ours sees just these in a room.
func (l *land) people(u *servertest.User, id mimi.RoomID, want ...mimi.UserID) {
	l.t.Helper()
	var names []string
	for _, w := range want {
		names = append(names, w.String())
	}
	slices.Sort(names)
	var have []string
	if !servertest.Until(time.Minute, func() bool {
		have, _ = u.Members(ctx, id.String())
		slices.Sort(have)
		return slices.Equal(have, names)
	}) {
		l.t.Fatalf("%s sees %q in the room, not %q", u.Name, have, names)
	}
}

func (l *land) send(u *servertest.User, id mimi.RoomID, text string) {
	l.t.Helper()
	_, err := u.Session.Send(ctx, id.String(), text)
	must(l.t, err)
}

// club makes a room of Alice's.
func (l *land) club(members ...mimi.UserID) mimi.RoomID {
	l.t.Helper()
	var list []string
	for _, m := range members {
		list = append(list, m.String())
	}
	r, err := l.alice.Session.NewGroup(ctx, "club", list)
	must(l.t, err)
	id, err := mimi.ParseRoomID(r.ID)
	must(l.t, err)
	return id
}

// TestID4OneSegmentClientsInOurRoom: people whose clients have URIs of one segment come into a room of ours by a Welcome
// and by external commits, write, bring devices in and out, and leave; ours see who they are.
func TestID4OneSegmentClientsInOurRoom(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id := l.club(l.oscar.User)
		l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
		must(t, l.oscar.Send(id, "hello from one segment"))
		l.sees(l.alice, id, "hello from one segment")
		l.send(l.alice, id, "hello Oscar")
		l.reads(l.oscar, id, "hello from one segment", "hello Oscar")

		// A second device lets itself in, and writes; the first one takes it out again.
		second, err := l.other.Device("Oscar", "ClientA2")
		must(t, err)
		must(t, second.Join(id, nil))
		must(t, second.Send(id, "from my second device"))
		l.sees(l.alice, id, "hello from one segment", "hello Oscar", "from my second device")
		l.until("the first device knows the second", func() bool { return l.oscar.Epoch(id) == second.Epoch(id) })
		members := func() int {
			list, _ := l.alice.Session.Members(ctx, id.String())
			for _, m := range list {
				if m.User == l.oscar.User.String() {
					return m.Devices
				}
			}
			return 0
		}
		l.until("two devices", func() bool { return members() == 2 })
		must(t, l.oscar.Change(id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveClient(v, second.Client) }))
		l.until("one device", func() bool { return members() == 1 })
		l.until("the second device is out", func() bool { return second.Users(id) == nil })

		// Olga has the code of a link.
		link, err := l.alice.Session.MakeLink(ctx, id.String())
		must(t, err)
		offer, err := room.ParseJoinOffer(link)
		must(t, err)
		must(t, l.olga.Join(id, offer.Code))
		l.people(l.alice, id, l.alice.Account.User, l.oscar.User, l.olga.User)
		must(t, l.olga.Send(id, "by a link"))
		l.sees(l.alice, id, "hello from one segment", "hello Oscar", "from my second device", "by a link")

		// Who they are.
		l.until("names", func() bool {
			list, _ := l.alice.Session.Members(ctx, id.String())
			return slices.ContainsFunc(list, func(m client.MemberView) bool {
				return m.User == l.oscar.User.String() && m.DisplayName == "Oscar of the others" && m.Name == "Oscar@other.example"
			}) && slices.ContainsFunc(list, func(m client.MemberView) bool {
				return m.User == l.olga.User.String() && m.DisplayName == "Olga@other.example"
			})
		})
		must(t, l.alice.Session.AddMembers(ctx, id.String(), []string{"dave"}))
		l.until("Dave is in", func() bool { return l.dave.Room(ctx, id.String()).ID != "" })
		must(t, l.olga.Leave(id))
		l.people(l.dave, id, l.alice.Account.User, l.dave.Account.User, l.oscar.User)
		l.until("Olga knows", func() bool { return l.olga.Users(id) == nil })
		must(t, l.alice.Session.RemoveMember(ctx, id.String(), l.oscar.User.String()))
		l.until("Oscar is out", func() bool { return l.oscar.Users(id) == nil })
		l.send(l.dave, id, "among ourselves")
		l.sees(l.alice, id, "hello from one segment", "hello Oscar", "from my second device", "by a link", "among ourselves")
		l.reads(l.oscar, id, "hello from one segment", "hello Oscar", "from my second device", "by a link")
	})
}

// TestID4OneSegmentClientsAtTheirHub is the mirror: their room, in which ours are guests.
func TestID4OneSegmentClientsAtTheirHub(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id, err := l.oscar.Found("club", nil)
		must(t, err)
		must(t, l.oscar.Add(id, l.alice.Account.User))
		guest(l, id)
	})
}

// guest goes through what users of ours may do in a room of another provider's, in which Oscar is and into which he has
// invited Alice.
func guest(l *land, id mimi.RoomID) {
	t := l.t
	t.Helper()
	alice, dave := l.alice.Account.User, l.dave.Account.User
	l.until("Alice is in", func() bool { return l.alice.Room(ctx, id.String()).ID != "" })
	must(t, l.oscar.Send(id, "welcome"))
	l.sees(l.alice, id, "welcome")
	l.send(l.alice, id, "thank you")
	l.reads(l.oscar, id, "welcome", "thank you")
	l.sees(l.alice, id, "welcome", "thank you")

	// A new browser of Alice's lets itself in, by external commit.
	tablet := l.alice.Another()
	l.until("the tablet is in", func() bool { return tablet.Ready(ctx) && tablet.Room(ctx, id.String()).ID != "" })
	l.until("one epoch", func() bool { return same(l, id, l.alice, tablet) })
	l.send(tablet, id, "from my tablet")
	l.sees(l.alice, id, "welcome", "thank you", "from my tablet")
	l.send(l.alice, id, "from my first browser")
	l.sees(tablet, id, "from my tablet", "from my first browser")

	// Oscar makes Alice an admin, who brings Dave in and gives the room another name.
	must(t, l.oscar.Change(id, func(v *room.View) ([]mls.Proposal, error) { return room.ChangeRole(v, alice, policy.RoleAdmin) }))
	l.until("Alice may", func() bool { return l.alice.Room(ctx, id.String()).CanManage })
	must(t, l.alice.Session.AddMembers(ctx, id.String(), []string{"dave"}))
	l.until("Dave is in", func() bool { return l.dave.Room(ctx, id.String()).ID != "" })
	must(t, l.alice.Session.Rename(ctx, id.String(), "our club"))
	l.until("the new name", func() bool { return l.dave.Room(ctx, id.String()).Name == "our club" })
	l.send(l.dave, id, "hi all")
	l.sees(l.alice, id, "welcome", "thank you", "from my tablet", "from my first browser", "hi all")
	l.reads(l.oscar, id, "welcome", "thank you", "from my tablet", "from my first browser", "hi all")

	// Olga of the others comes, and Alice puts her out.
	must(t, l.oscar.Add(id, l.olga.User))
	l.people(l.dave, id, alice, dave, l.oscar.User, l.olga.User)
	l.until("Alice knows", func() bool { return same(l, id, l.alice, l.dave) })
	must(t, l.alice.Session.RemoveMember(ctx, id.String(), l.olga.User.String()))
	l.people(l.dave, id, alice, dave, l.oscar.User)
	l.until("Olga is out", func() bool { return l.olga.Users(id) == nil })

	// Dave leaves; somebody commits it.
	must(t, l.dave.Session.Leave(ctx, id.String()))
	l.people(l.alice, id, alice, l.oscar.User)
	l.until("Oscar knows", func() bool { return len(l.oscar.Users(id)) == 2 })
	must(t, l.oscar.Send(id, "still here"))
	l.sees(l.alice, id, "welcome", "thank you", "from my tablet", "from my first browser", "hi all", "still here")
	l.until("names", func() bool {
		list, _ := l.alice.Session.Members(ctx, id.String())
		return slices.ContainsFunc(list, func(m client.MemberView) bool { return m.DisplayName == "Oscar of the others" })
	})
	harmless := []string{"past epoch", "replayed", "own message without a trace here", "external join failed", "welcome without use"}
	for _, u := range []*servertest.User{l.alice, tablet} {
		dropped, err := u.Session.Dropped(ctx)
		must(t, err)
		for reason, n := range dropped {
			if !slices.Contains(harmless, reason) {
				t.Errorf("%s dropped %d: %s", u.Name, n, reason)
			}
		}
	}
}

// level waits until a device of the other provider is where Alice is.
func (l *land) level(d *foreign.Device, id mimi.RoomID) {
	l.t.Helper()
	l.until("one epoch", func() bool {
		x, err := l.alice.Session.Inspect(ctx, id.String())
		return err == nil && x.Epoch == d.Epoch(id)
	})
}

// same reports whether users are in the same epoch of a room.
func same(l *land, id mimi.RoomID, users ...*servertest.User) bool {
	var epoch uint64
	for i, u := range users {
		x, err := u.Session.Inspect(ctx, id.String())
		if err != nil || i > 0 && x.Epoch != epoch {
			return false
		}
		epoch = x.Epoch
	}
	return true
}
