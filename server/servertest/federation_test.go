package servertest_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"kith/db"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/server"
	"kith/server/servertest"
	"kith/web/client"
)

// providers runs a test on fake time with a.example, b.example and c.example, where alice, bob and cathy live, and dave
// with alice.
func providers(t *testing.T, test func(n *servertest.Net, a, b, c *servertest.Provider)) {
	t.Helper()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	servertest.Bubble(t, func(t *testing.T) {
		n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		must(t, err)
		var all []*servertest.Provider
		defer func() {
			for _, p := range all {
				if t.Failed() {
					t.Logf("%s:\n%s", p.Domain, p.Log)
				}
			}
			must(t, n.Close())
			time.Sleep(time.Minute) // let what is left of connections end
		}()
		for i, names := range [][]string{{"alice", "dave"}, {"bob"}, {"cathy"}} {
			p, err := n.Provider(ctx, string("abc"[i])+".example", dirs[i], names...)
			must(t, err)
			all = append(all, p)
		}
		test(n, all[0], all[1], all[2])
	})
}

// TestTwoProviders: Alice at a has a room, adds Bob at b, and they talk.
func TestTwoProviders(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", nil)
		must(t, err)
		room := club.ID
		must(t, alice.Session.AddMembers(ctx, room, []string{bob.Account.User.String()}))
		until(t, "bob is in", has(bob, room))
		_, err = alice.Session.Send(ctx, room, "hello bob")
		must(t, err)
		sees(t, bob, room, "hello bob")
		_, err = bob.Session.Send(ctx, room, "hello alice")
		must(t, err)
		sees(t, alice, room, "hello bob", "hello alice")
		sees(t, bob, room, "hello bob", "hello alice")
	})
}

// TestNewDeviceJoinsRemoteRoom: a new device of Bob joins by external commit through its own provider.
func TestNewDeviceJoinsRemoteRoom(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, c *servertest.Provider) {
		alice, bob, cathy := a.User("alice"), b.User("bob"), c.User("cathy")
		online(t, alice, bob, cathy)
		must(t, servertest.Acquaint(ctx, alice, bob))
		must(t, servertest.Acquaint(ctx, alice, cathy))
		chat, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		until(t, "bob is in", has(bob, chat.ID))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"mimi://b.example/u/bob"})
		must(t, err)
		until(t, "bob is in", has(bob, club.ID))
		must(t, alice.Session.AddMembers(ctx, club.ID, []string{"mimi://c.example/u/cathy"}))
		until(t, "cathy is in", has(cathy, club.ID))
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, club.ID))
		until(t, "the tablet is in the chat", has(tablet, chat.ID))
		_, err = tablet.Session.Send(ctx, club.ID, "from my tablet")
		must(t, err)
		for _, u := range []*servertest.User{alice, bob, cathy, tablet} {
			sees(t, u, club.ID, "from my tablet")
		}
		_, err = cathy.Session.Send(ctx, club.ID, "hi all")
		must(t, err)
		for _, u := range []*servertest.User{alice, bob, cathy, tablet} {
			sees(t, u, club.ID, "from my tablet", "hi all")
		}
		must(t, alice.Session.RemoveMember(ctx, club.ID, "mimi://c.example/u/cathy"))
		until(t, "cathy is out", removed(cathy, club.ID))
		_, err = alice.Session.Send(ctx, club.ID, "without cathy")
		must(t, err)
		sees(t, tablet, club.ID, "from my tablet", "hi all", "without cathy")
		sees(t, cathy, club.ID, "from my tablet", "hi all")
	})
}

// TestFollowerAway: a follower that is offline for two days gets everything in order when it is back.
func TestFollowerAway(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		chat, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		until(t, "bob is in", has(bob, chat.ID))
		must(t, b.Stop())
		var want []string
		for i := range 48 {
			text := fmt.Sprintf("hour %d", i)
			_, err := alice.Session.Send(ctx, chat.ID, text)
			must(t, err)
			want = append(want, text)
			time.Sleep(time.Hour)
		}
		must(t, b.Start(ctx))
		time.Sleep(time.Hour)
		sees(t, bob, chat.ID, want...)
		_, err = bob.Session.Send(ctx, chat.ID, "back")
		must(t, err)
		sees(t, alice, chat.ID, append(want, "back")...)
	})
}

// TestHubAway: while the hub is away messages are kept, with a notice, and are sent when it is back.
func TestHubAway(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		chat, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		until(t, "bob is in", has(bob, chat.ID))
		must(t, a.Stop())
		for _, text := range []string{"one", "two"} {
			_, err := bob.Session.Send(ctx, chat.ID, text)
			must(t, err)
		}
		until(t, "the notice", func() bool {
			list, _ := bob.Session.Rooms(ctx)
			return len(list) == 1 && list[0].HubAway
		})
		time.Sleep(36 * time.Hour)
		must(t, a.Start(ctx))
		sees(t, alice, chat.ID, "one", "two")
		until(t, "no notice", func() bool {
			list, _ := bob.Session.Rooms(ctx)
			return len(list) == 1 && !list[0].HubAway
		})
		for _, m := range timeline(bob, chat.ID) {
			if m.State != "sent" {
				t.Errorf("message is %s", m.State)
			}
		}
	})
}

func timeline(u *servertest.User, room string) []client.MessageView {
	page, _ := u.Session.Timeline(ctx, room, "", 200)
	return slices.DeleteFunc(page.Messages, func(m client.MessageView) bool { return m.Kind != "message" })
}

// TestHubHangs: a hub that takes everything and answers nothing is told to be away, and holds up nothing else: neither
// our other rooms nor the connection.
func TestHubHangs(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, dave := a.User("alice"), b.User("bob"), a.User("dave")
		online(t, alice, bob, dave)
		must(t, servertest.Acquaint(ctx, bob, alice))
		remote, err := bob.Session.NewChat(ctx, "alice@a.example")
		must(t, err)
		until(t, "alice is in", has(alice, remote.ID))
		local, err := alice.Session.NewChat(ctx, "dave")
		must(t, err)
		until(t, "dave is in", has(dave, local.ID))
		n.Internet.Link("a.example", "b.example").Stall()
		_, err = alice.Session.Send(ctx, remote.ID, "waits")
		must(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := alice.Session.NewGroup(ctx, "club", []string{"bob@b.example"}) // asks b for key packages
			done <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		_, err = alice.Session.Send(ctx, local.ID, "goes on")
		must(t, err)
		sees(t, dave, local.ID, "goes on")
		if took := time.Since(start); took > time.Second {
			t.Errorf("a message within the provider waited %v for another provider", took)
		}
		away := func(want bool) func() bool {
			return func() bool {
				list, _ := alice.Session.Rooms(ctx)
				return slices.ContainsFunc(list, func(r client.RoomView) bool { return r.ID == remote.ID && r.HubAway == want })
			}
		}
		until(t, "the notice", away(true))
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("the notice took %v", took)
		}
		if err := <-done; err == nil {
			t.Error("a member of a provider that hangs")
		}
		for range 100 {
			time.Sleep(5 * time.Second)
			if s := alice.Session.State(ctx); !s.Online {
				t.Fatal("the connection broke")
			}
		}
		n.Internet.Link("a.example", "b.example").Heal()
		sees(t, bob, remote.ID, "waits")
		until(t, "no notice", away(false))
	})
}

// TestNamesAcrossProviders: people who share a room see each other's names, whosever users they are.
func TestNamesAcrossProviders(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, c *servertest.Provider) {
		alice, bob, cathy := a.User("alice"), b.User("bob"), c.User("cathy")
		online(t, alice, bob, cathy)
		must(t, servertest.Acquaint(ctx, alice, bob))
		must(t, servertest.Acquaint(ctx, alice, cathy))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"bob@b.example", "cathy@c.example"})
		must(t, err)
		until(t, "bob is in", has(bob, club.ID))
		until(t, "cathy is in", has(cathy, club.ID))
		called := func(u *servertest.User, whom, name string) func() bool {
			return func() bool {
				list, _ := u.Session.Members(ctx, club.ID)
				return slices.ContainsFunc(list, func(m client.MemberView) bool { return m.User == whom && m.DisplayName == name })
			}
		}
		name := func(u *servertest.User) string { return u.Session.State(ctx).Me.DisplayName }
		until(t, "alice's name", called(bob, "mimi://a.example/u/alice", name(alice)))
		until(t, "bob's name", called(alice, "mimi://b.example/u/bob", name(bob)))
		until(t, "cathy's name", called(alice, "mimi://c.example/u/cathy", name(cathy)))
		until(t, "cathy's name at bob's", called(bob, "mimi://c.example/u/cathy", name(cathy)))
	})
}

// TestDisabledAccountLeavesRooms: the hub takes the devices of a disabled account out of its rooms; who is online commits.
func TestDisabledAccountLeavesRooms(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, dave, bob := a.User("alice"), a.User("dave"), b.User("bob")
		online(t, alice, dave, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"dave", "bob@b.example"})
		must(t, err)
		until(t, "dave and bob are in", func() bool { return has(dave, club.ID)() && has(bob, club.ID)() })
		must(t, server.UserCommand(ctx, server.Config{Data: a.Dir}, io.Discard, "disable", []string{"dave"}, "", false))
		devices := func(u *servertest.User) map[string]int {
			list, _ := u.Session.Members(ctx, club.ID)
			count := map[string]int{}
			for _, m := range list {
				count[m.Name] = m.Devices
			}
			return count
		}
		for _, u := range []*servertest.User{alice, bob} {
			until(t, "dave's device is out", func() bool {
				return len(devices(u)) == 3 && total(devices(u)) == 2
			})
		}
		_, err = bob.Session.Send(ctx, club.ID, "still here")
		must(t, err)
		sees(t, alice, club.ID, "still here")
	})
}

// hubCertificate is the one by which a room knows its hub.
func hubCertificate(t *testing.T, p *servertest.Provider, uri string) *identity.Certificate {
	t.Helper()
	store, err := db.Open(ctx, p.Dir, db.Options{})
	must(t, err)
	defer store.Close()
	var row db.Room
	must(t, store.Read(ctx, func(tx *db.Tx) (err error) {
		row, err = tx.RoomByURI(uri)
		return err
	}))
	hub, err := room.Restore(mls.Config{Now: time.Now, Application: &room.Application{}}, row.State, 0)
	must(t, err)
	c, err := identity.FromCredential(hub.Sender().Credential)
	must(t, err)
	return c
}

func total(count map[string]int) (n int) {
	for _, c := range count {
		n += c
	}
	return n
}

// TestHubRenewsItsCertificate: months later the rooms know the hub by a certificate that is still good, so that whoever
// comes then can join.
func TestHubRenewsItsCertificate(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"bob@b.example"})
		must(t, err)
		until(t, "bob is in", has(bob, club.ID))
		alice.Stop()
		bob.Stop()
		must(t, errors.Join(a.Stop(), b.Stop()))
		n.Pass(60 * 24 * time.Hour) // of the 80 for which certificates are issued
		must(t, errors.Join(a.Start(ctx), b.Start(ctx)))
		alice.Start()
		bob.Start()
		online(t, alice, bob)
		must(t, alice.Session.Rename(ctx, club.ID, "old club")) // the first commit brings the new certificate along
		_, err = alice.Session.Send(ctx, club.ID, "and committed by this")
		must(t, err)
		sees(t, bob, club.ID, "and committed by this")
		n.Pass(25 * 24 * time.Hour)
		if end := hubCertificate(t, a, club.ID).NotAfter; end.Before(n.Now()) {
			t.Errorf("the room knows the hub by a certificate that has ended at %v", end)
		}
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, club.ID))
		_, err = tablet.Session.Send(ctx, club.ID, "late")
		must(t, err)
		sees(t, alice, club.ID, "and committed by this", "late")
	})
}

// TestLateProviderGetsOnlyItsOwn: a provider whose user comes into a room late has nothing of what was before, and nothing
// of what comes after it has gone; what was in between it has whole.
func TestLateProviderGetsOnlyItsOwn(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, dave, bob := a.User("alice"), a.User("dave"), b.User("bob")
		online(t, alice, dave, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"dave"})
		must(t, err)
		until(t, "dave is in", has(dave, club.ID))
		head := func() int64 {
			n, err := b.Head(ctx)
			must(t, err)
			return n
		}
		say := func(texts ...string) {
			for _, text := range texts {
				_, err := alice.Session.Send(ctx, club.ID, text)
				must(t, err)
			}
			time.Sleep(time.Minute)
		}
		say("one", "two", "three")
		if n := head(); n != 0 {
			t.Errorf("b.example has %d events before anybody of it is in the room", n)
		}
		must(t, alice.Session.AddMembers(ctx, club.ID, []string{bob.Account.User.String()}))
		until(t, "bob is in", has(bob, club.ID))
		say("four", "five")
		sees(t, bob, club.ID, "four", "five")
		if n := head(); n != 3 { // the Welcome and two messages
			streams, err := b.Streams(ctx)
			t.Errorf("b.example has %d events, want 3: %+v %v", n, streams, err)
		}
		must(t, alice.Session.RemoveMember(ctx, club.ID, bob.Account.User.String()))
		until(t, "bob is out", removed(bob, club.ID))
		gone := head()
		say("six", "seven")
		must(t, alice.Session.Rename(ctx, club.ID, "without Bob"))
		time.Sleep(time.Minute)
		sees(t, dave, club.ID, "one", "two", "three", "four", "five", "six", "seven")
		sees(t, bob, club.ID, "four", "five")
		if n := head(); n != gone {
			t.Errorf("b.example got %d events after its user was removed", n-gone)
		}
	})
}
