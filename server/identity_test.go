package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
)

func testAuthority(t *testing.T, dir, domain string, now func() time.Time) (*authority, *db.DB, error) {
	t.Helper()
	store, err := db.Open(t.Context(), dir, db.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	a, err := openAuthority(t.Context(), store, domain, rand.Reader, now)
	return a, store, err
}

func testClient(t *testing.T, domain, name, device string) (mimi.ClientID, mimi.UserID) {
	t.Helper()
	p, err := mimi.NewProviderID(domain)
	if err != nil {
		t.Fatal(err)
	}
	u, err := mimi.NewUserID(p, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := mimi.NewClientID(u, device)
	if err != nil {
		t.Fatal(err)
	}
	return c, u
}

func TestCR1DeviceCertificate(t *testing.T) {
	clock := &fakeClock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	a, _, err := testAuthority(t, t.TempDir(), "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	client, user := testClient(t, "a.example", "alice", "phone")
	public, _, _ := ed25519.GenerateKey(nil)
	der, err := a.IssueDevice(client, user, public, clock.now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(a.RootDER())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err = c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: clock.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		t.Error(err)
	}
	if len(c.URIs) != 2 || c.URIs[0].String() != "mimi://a.example/d/alice/phone" || c.URIs[1].String() != "mimi://a.example/u/alice" ||
		len(c.DNSNames)+len(c.EmailAddresses)+len(c.IPAddresses) != 0 {
		t.Errorf("names: %v", c.URIs)
	}
	if life := c.NotAfter.Sub(c.NotBefore); life > 90*24*time.Hour || c.IsCA || !bytes.Equal(c.PublicKey.(ed25519.PublicKey), public) {
		t.Errorf("life %v", life)
	}
	if root.MaxPathLen != 0 || !root.MaxPathLenZero || !root.PermittedDNSDomainsCritical || len(root.PermittedURIDomains) != 1 {
		t.Errorf("root: %+v", root)
	}
	again, err := a.IssueDevice(client, user, public, clock.now())
	if err != nil || bytes.Equal(again, der) {
		t.Error("two certificates have one serial number")
	}
}

func TestCR1OnlyOurOwnUsers(t *testing.T) {
	a, _, err := testAuthority(t, t.TempDir(), "a.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	client, user := testClient(t, "a.example", "alice", "phone")
	otherClient, otherUser := testClient(t, "b.example", "alice", "phone")
	_, bob := testClient(t, "a.example", "bob", "phone")
	key := make([]byte, 32)
	for _, c := range []struct {
		client mimi.ClientID
		user   mimi.UserID
		key    []byte
	}{{otherClient, otherUser, key}, {client, otherUser, key}, {client, bob, key}, {client, user, key[:31]}, {client, user, nil}, {mimi.ClientID{}, mimi.UserID{}, key}} {
		if _, err := a.IssueDevice(c.client, c.user, c.key, time.Now()); err == nil {
			t.Errorf("%s for %s was certified", c.client, c.user)
		}
	}
}

// A root of one domain cannot speak for another, even if its key is stolen.
func TestCR1NameConstraint(t *testing.T) {
	a, _, err := testAuthority(t, t.TempDir(), "a.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	template, err := leaf(time.Now(), "mimi://b.example/d/bob/phone", "mimi://b.example/u/bob")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.sign(template, a.root, a.rootKey.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	if _, err := c.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("the constraint does not hold")
	}
}

func TestCR6HubCertificate(t *testing.T) {
	clock := &fakeClock{t: time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)} // a board without a battery
	dir := t.TempDir()
	a, store, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(s mls.ExternalSender) *x509.Certificate {
		t.Helper()
		if s.Credential.Type != mls.CredentialX509 || len(s.Credential.Certificates) != 1 || !bytes.Equal(s.SignatureKey, a.HubKey().Public()) {
			t.Fatalf("external sender %+v", s)
		}
		c, err := x509.ParseCertificate(s.Credential.Certificates[0])
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := parse(a.HubSender())
	if len(first.DNSNames) != 1 || first.DNSNames[0] != "a.example" || len(first.URIs) != 1 || first.URIs[0].String() != "mimi://a.example" {
		t.Errorf("names: %v %v", first.DNSNames, first.URIs)
	}
	clock.add(56 * 365 * 24 * time.Hour) // then the network tells the time
	second := parse(a.HubSender())
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	if _, err := second.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: clock.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	if !parse(a.HubSender()).Equal(second) {
		t.Error("the certificate is not kept")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b, _, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil || !parse(b.HubSender()).Equal(second) || !bytes.Equal(b.RootDER(), a.RootDER()) {
		t.Errorf("after a restart it is another hub: %v", err)
	}
}

func TestDomainIsForEver(t *testing.T) {
	dir := t.TempDir()
	_, store, err := testAuthority(t, dir, "a.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	_, _, err = testAuthority(t, dir, "b.example", time.Now)
	var u UsageError
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "a.example") {
		t.Errorf("another domain: %v", err)
	}
}
