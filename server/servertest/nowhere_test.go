package servertest_test

import (
	"errors"
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
