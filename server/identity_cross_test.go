package server

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"kith/mimi/identity"
	"kith/mimi/mls"
)

// What crypto/x509 makes here is what the strict reader of the browser takes.
func TestCR1BrowserAcceptsWhatWeIssue(t *testing.T) {
	for _, domain := range []string{"a.example", "localhost"} {
		a, _, err := testAuthority(t, t.TempDir(), domain, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		root, err := identity.ParseRoot(a.RootDER())
		if err != nil {
			t.Fatal(err)
		}
		client, user := testClient(t, domain, "alice", "phone")
		public, _, _ := ed25519.GenerateKey(nil)
		der, err := a.IssueDevice(client, user, public, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := identity.FromCredential(mls.X509Credential(der))
		if err != nil {
			t.Fatal(err)
		}
		if err := root.Verify(c, time.Now()); err != nil || c.Client != client || c.User != user || !bytes.Equal(c.PublicKey, public) {
			t.Errorf("device: %v, %+v", err, c)
		}
		hub, err := identity.FromCredential(a.HubSender().Credential)
		if err != nil {
			t.Fatal(err)
		}
		if err := root.Verify(hub, time.Now()); err != nil || hub.Hub != a.provider {
			t.Errorf("hub: %v, %+v", err, hub)
		}
	}
}
