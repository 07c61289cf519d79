package servertest_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"kith/server/servertest"
	"kith/web/client"
)

// TestNobodyThere: who writes to somebody at a provider that does not exist is told that it cannot be reached, and not that
// something is wrong here.
func TestNobodyThere(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, _, _ *servertest.Provider) {
		alice := a.User("alice")
		online(t, alice)
		for address, want := range map[string]string{"bob@nowhere.example": client.CodeHubUnreachable, "mimi://nowhere.example/u/bob": client.CodeHubUnreachable,
			"bob@": client.CodeNotFound, "alice": client.CodeYourself, "alice@a.example": client.CodeYourself} {
			_, err := alice.Session.NewChat(ctx, address)
			var e *client.Error
			if !errors.As(err, &e) || e.Code != want {
				t.Errorf("%s: %v, want %s", address, err, want)
			}
		}
	})
}

// TestNewIdentityIsSeenAtOnce: a provider that was set up anew under its old name is not believed, and the administrator of
// the other one reads why as soon as one of its people shows up.
func TestNewIdentityIsSeenAtOnce(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		send(t, alice, room, "hello")
		sees(t, bob, room, "hello")
		bob.Stop()
		must(t, b.Stop())
		must(t, os.RemoveAll(b.Dir))
		_, err := servertest.Accounts(ctx, b.Dir, b.Domain, n.Now(), "bob")
		must(t, err)
		must(t, b.Start(ctx))
		if text := peersPage(t, alice); strings.Contains(text, "new identity") {
			t.Fatal("the page knew it before")
		}
		again := b.User("bob")
		online(t, again)
		_, err = again.Session.NewChat(ctx, alice.Account.User.String())
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.CodeNotAllowed {
			t.Errorf("bob of the new server: %v", err)
		}
		if text := peersPage(t, alice); !strings.Contains(text, "It shows a new identity.") || !strings.Contains(text, "peer-fingerprint") {
			t.Error("the page does not say that b has a new identity")
		}
	})
}
