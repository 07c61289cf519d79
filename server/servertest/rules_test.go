package servertest_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/server/servertest"
	"kith/web/api"
	"kith/web/client"
)

func codeOf(err error) string {
	var known *client.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return ""
}

// noticed tells whether a user was told of a change.
func noticed(u *servertest.User, room, code string) func() bool {
	return func() bool {
		page, _ := u.Session.Timeline(ctx, room, "", 200)
		for _, m := range page.Messages {
			if m.Notice != nil && m.Notice.Code == code {
				return true
			}
		}
		return false
	}
}

// TestRP9RulesAcrossProviders: what Alice decides about her room holds for Bob at another provider.
func TestRP9RulesAcrossProviders(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"mimi://b.example/u/bob"})
		must(t, err)
		room := club.ID
		until(t, "bob is in", has(bob, room))
		must(t, alice.Session.SetRule(ctx, room, "write", 0))
		until(t, "bob is told", noticed(bob, room, client.NoticePolicy))
		if _, err := bob.Session.Send(ctx, room, "hello"); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("writing where nobody may: %v", err)
		}
		must(t, alice.Session.SetRule(ctx, room, "write", 1))
		until(t, "bob may write", func() bool { _, err := bob.Session.Send(ctx, room, "hello"); return err == nil })
		sees(t, alice, room, "hello")
	})
}

// TestRP10RoomClosedAcrossProviders: Alice closes her room. Whoever is at her provider is told at once and others when they
// are next about to write, the hub keeps to it after a restart, and nobody from elsewhere can close it.
func TestRP10RoomClosedAcrossProviders(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, dave, bob := a.User("alice"), a.User("dave"), b.User("bob")
		online(t, alice, dave, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"mimi://a.example/u/dave", "mimi://b.example/u/bob"})
		must(t, err)
		room := club.ID
		until(t, "bob is in", has(bob, room))
		until(t, "dave is in", has(dave, room))
		_, err = alice.Session.Send(ctx, room, "goodbye")
		must(t, err)
		sees(t, bob, room, "goodbye")
		for _, u := range []*servertest.User{dave, bob} {
			if err := u.Session.CloseRoom(ctx, room); codeOf(err) != client.CodeNotAllowed {
				t.Errorf("%s closes the room: %v", u.Name, err)
			}
		}
		must(t, alice.Session.CloseRoom(ctx, room))
		until(t, "dave is told", noticed(dave, room, client.NoticeClosed))
		must(t, a.Stop())
		must(t, a.Start(ctx))
		_, err = bob.Session.Send(ctx, room, "are you there?")
		must(t, err)
		until(t, "bob is told", noticed(bob, room, client.NoticeClosed))
		for _, u := range []*servertest.User{alice, dave, bob} {
			until(t, u.Name+" is out", removed(u, room))
		}
		online(t, alice)
		if list := roomsOf(t, a, "mimi://a.example/u/alice"); len(list) != 0 {
			t.Errorf("rooms of Alice at the provider: %v", list)
		}
	})
}

// roomsOf are those that a provider names to a user's new device.
func roomsOf(t *testing.T, p *servertest.Provider, user string) (list []string) {
	t.Helper()
	must(t, p.Read(ctx, func(tx *db.Tx) (err error) { list, err = tx.RoomsOf(user); return err }))
	return list
}

// TestKM11LastResortIsNeverServed: a device of Bob's has published packages of last resort only, by the component and by
// the extension of before. It is told to have none, and comes in by itself.
func TestKM11LastResortIsNeverServed(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		account, _ := b.Account("bob")
		c, err := servertest.Dial(ctx, n.Client("tablet"), "https://b.example", account)
		must(t, err)
		defer c.Close()
		d, err := servertest.Register(ctx, c, account, n.Now)
		must(t, err)
		root, err := a.Root(ctx)
		must(t, err)
		must(t, d.Trust(root))
		_, err = d.Hello(ctx, c)
		must(t, err)
		now := uint64(n.Now().Unix())
		life := mls.Lifetime{NotBefore: now - 3600, NotAfter: now + 30*24*3600}
		last, err := mls.NewLastResortKeyPackage(d.Config, d.MLS, life, nil)
		must(t, err)
		old := *d.MLS
		old.Capabilities.Extensions = append(slices.Clone(old.Capabilities.Extensions), mls.ExtensionLastResort)
		legacy, err := mls.NewKeyPackage(d.Config, &old, life, mls.Extensions{{Type: mls.ExtensionLastResort}})
		must(t, err)
		body, err := mls.KeyPackages{last.KeyPackage, legacy.KeyPackage}.Bytes()
		must(t, err)
		answer, err := c.Call(ctx, api.OpPublishKeyPackages, "", body)
		must(t, err)
		published, err := api.UnmarshalPublishResponse(answer)
		must(t, err)
		if published.Available != 0 {
			t.Errorf("%d packages are available", published.Available)
		}

		club, err := alice.Session.NewGroup(ctx, "club", []string{"mimi://b.example/u/bob"})
		must(t, err)
		until(t, "bob is in", has(bob, club.ID))
		devices := func() int {
			list, err := alice.Session.Members(ctx, club.ID)
			must(t, err)
			for _, m := range list {
				if m.User == "mimi://b.example/u/bob" {
					return m.Devices
				}
			}
			return -1
		}
		if n := devices(); n != 1 {
			t.Errorf("%d devices of Bob were added, want the one with packages", n)
		}
		id, err := mimi.ParseRoomID(club.ID)
		must(t, err)
		must(t, d.JoinExternal(ctx, c, id))
		until(t, "the other device is in", func() bool { return devices() == 2 })
	})
}

// TestGI8RestartedHubIsAskedAgain: the hub forgets who asked for the group when it restarts, so the commit of who asked
// before is refused. Then he asks again and is in.
func TestGI8RestartedHubIsAskedAgain(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", []string{"mimi://b.example/u/bob"})
		must(t, err)
		until(t, "bob is in", has(bob, club.ID))

		var asked, held, after atomic.Int32
		var restarted atomic.Bool
		a.InFront(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.Contains(r.URL.Path, "/groupInfo/"):
					asked.Add(1)
				case strings.Contains(r.URL.Path, "/update/") && !restarted.Load():
					held.Add(1)
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				case strings.Contains(r.URL.Path, "/update/"):
					after.Add(1)
				}
				next.ServeHTTP(w, r)
			})
		})
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the commit is on its way", func() bool { return held.Load() > 0 })
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times before the restart", n)
		}
		must(t, a.Stop())
		must(t, a.Start(ctx))
		restarted.Store(true)
		until(t, "the tablet is in", has(tablet, club.ID))
		if asked.Load() < 2 || after.Load() < 2 {
			t.Errorf("asked %d times, %d commits after the restart: the first was not refused", asked.Load(), after.Load())
		}
		_, err = tablet.Session.Send(ctx, club.ID, "here I am")
		must(t, err)
		sees(t, alice, club.ID, "here I am")
	})
}
