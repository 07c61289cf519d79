package servertest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/server/servertest"
	"kith/web/client"
)

// acquaintance runs a test with alice and carol at a, bob and dave at b, of whom nobody has consented to anything.
func acquaintance(t *testing.T, test func(n *servertest.Net, a, b *servertest.Provider)) {
	t.Helper()
	dirA, dirB := t.TempDir(), t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		must(t, err)
		var a, b *servertest.Provider
		defer func() {
			if t.Failed() {
				t.Logf("a:\n%s\nb:\n%s", a.Log, b.Log)
			}
			must(t, n.Close())
			time.Sleep(time.Minute)
		}()
		a, err = n.Provider(ctx, "a.example", dirA, "alice", "carol")
		must(t, err)
		b, err = n.Provider(ctx, "b.example", dirB, "bob", "dave")
		must(t, err)
		test(n, a, b)
	})
}

func rooms(u *servertest.User) []client.RoomView {
	list, _ := u.Session.Rooms(ctx)
	return list
}

// requests are what a user is asked and has asked, as "<address" and ">address".
func requests(u *servertest.User) (out []string) {
	v, _ := u.Session.Requests(ctx)
	for _, r := range v.Incoming {
		out = append(out, strings.TrimSpace("<"+r.Address+" "+r.RoomName))
	}
	for _, r := range v.Outgoing {
		out = append(out, strings.TrimSpace(">"+r.Address+" "+r.RoomName))
	}
	slices.Sort(out)
	return out
}

func asked(t *testing.T, u *servertest.User, want ...string) {
	t.Helper()
	until(t, fmt.Sprintf("%q of %s (has %q)", want, u.Name, requests(u)), func() bool { return slices.Equal(requests(u), want) })
}

// TestConsentAcrossProviders: ask, accept, talk; into a group; decline; block.
func TestConsentAcrossProviders(t *testing.T) {
	acquaintance(t, func(n *servertest.Net, a, b *servertest.Provider) {
		alice, carol, bob, dave := a.User("alice"), a.User("carol"), b.User("bob"), b.User("dave")
		online(t, alice, carol, bob, dave)
		v, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		if !v.Waiting {
			t.Fatalf("no consent is needed: %+v", v)
		}
		asked(t, alice, ">bob@b.example")
		asked(t, bob, "<alice@a.example")
		must(t, bob.Session.AcceptRequest(ctx, alice.Account.User.String(), ""))
		until(t, "the chat", func() bool { return len(rooms(alice)) == 1 && len(rooms(bob)) == 1 })
		room := rooms(bob)[0].ID
		_, err = bob.Session.Send(ctx, room, "hello alice")
		must(t, err)
		sees(t, alice, room, "hello alice")
		asked(t, alice)
		asked(t, bob)

		// Consent to alice is none to carol, and into a group it is asked for by itself.
		g, err := carol.Session.NewGroup(ctx, "Club", []string{"alice", "bob@b.example", "dave@b.example"})
		must(t, err)
		until(t, "alice is in", has(alice, g.ID))
		asked(t, carol, ">bob@b.example Club", ">dave@b.example Club")
		asked(t, bob, "<carol@a.example")
		asked(t, dave, "<carol@a.example")
		must(t, bob.Session.AcceptRequest(ctx, carol.Account.User.String(), g.ID))
		must(t, dave.Session.DeclineRequest(ctx, carol.Account.User.String(), g.ID))
		until(t, "bob is in", has(bob, g.ID))
		asked(t, dave)
		asked(t, carol, ">dave@b.example Club") // who learns nothing
		_, err = carol.Session.Send(ctx, g.ID, "welcome")
		must(t, err)
		sees(t, bob, g.ID, "welcome")

		// Blocked: what is asked for is not even shown, and looks the same from outside.
		must(t, dave.Session.BlockUser(ctx, alice.Account.User.String()))
		_, err = alice.Session.NewChat(ctx, "dave@b.example")
		must(t, err)
		asked(t, alice, ">dave@b.example")
		time.Sleep(time.Minute)
		asked(t, dave)
		must(t, alice.Session.CancelRequest(ctx, dave.Account.User.String(), ""))
		asked(t, alice)
	})
}

// TestBothAskAcrossProviders: each has a room of its own for the two, and only one comes to be.
func TestBothAskAcrossProviders(t *testing.T) {
	acquaintance(t, func(n *servertest.Net, a, b *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		_, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		_, err = bob.Session.NewChat(ctx, "alice@a.example")
		must(t, err)
		until(t, "the chat", func() bool { return len(rooms(alice)) == 1 && len(rooms(bob)) == 1 })
		time.Sleep(time.Minute)
		if len(rooms(alice)) != 1 || len(rooms(bob)) != 1 || rooms(alice)[0].ID != rooms(bob)[0].ID {
			t.Fatalf("alice: %+v\nbob: %+v", rooms(alice), rooms(bob))
		}
		asked(t, alice)
		asked(t, bob)
		_, err = bob.Session.Send(ctx, rooms(bob)[0].ID, "there you are")
		must(t, err)
		sees(t, alice, rooms(alice)[0].ID, "there you are")
	})
}

// TestConsentSurvivesRestarts: the answer finds its way though neither provider was there all the time.
func TestConsentSurvivesRestarts(t *testing.T) {
	acquaintance(t, func(n *servertest.Net, a, b *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		_, err := alice.Session.NewChat(ctx, "bob@b.example")
		must(t, err)
		asked(t, bob, "<alice@a.example")
		must(t, a.Kill())
		must(t, bob.Session.AcceptRequest(ctx, alice.Account.User.String(), "")) // goes out later
		time.Sleep(10 * time.Second)
		must(t, b.Kill())
		must(t, a.Start(ctx))
		must(t, b.Start(ctx))
		until(t, "the chat", func() bool { return len(rooms(alice)) == 1 && len(rooms(bob)) == 1 })
		asked(t, alice)
	})
}

// TestConsentOverHTTP: what comes to the endpoints is answered by 201 and nothing else, whoever it is for (TR-7, CO-4).
func TestConsentOverHTTP(t *testing.T) {
	acquaintance(t, func(n *servertest.Net, a, b *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		for _, name := range []string{"bob", "nobody"} {
			_, err := alice.Session.NewChat(ctx, name+"@b.example")
			must(t, err)
		}
		asked(t, alice, ">bob@b.example", ">nobody@b.example")
		asked(t, bob, "<alice@a.example")
		time.Sleep(2 * time.Minute)
		asked(t, alice, ">bob@b.example", ">nobody@b.example")
		for _, p := range []*servertest.Provider{a, b} {
			if log := p.Log.String(); strings.Contains(log, "refused") {
				t.Errorf("refused: %s", log)
			}
		}
		// The pages of b know nothing of the endpoints, and without a certificate nobody gets there.
		resp, err := n.Client("elsewhere").Post("https://b.example/mimi/v1/requestConsent/mimi%3A%2F%2Fb.example", "", nil)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("from the pages' name: %d", resp.StatusCode)
		}
	})
}
