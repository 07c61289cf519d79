package servertest_test

import (
	"testing"
	"time"

	"kith/server/servertest"
)

// TestTwoProviders: Alice at a has a room, adds Bob at b, and they talk.
func TestTwoProviders(t *testing.T) {
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
		a, err = n.Provider(ctx, "a.example", dirA, "alice")
		must(t, err)
		b, err = n.Provider(ctx, "b.example", dirB, "bob")
		must(t, err)
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
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
