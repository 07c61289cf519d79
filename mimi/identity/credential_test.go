package identity_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"kith/mimi/identity"
	"kith/mimi/mls"
)

func TestCR4Validate(t *testing.T) {
	a, b := newAuthority(t, "a.example", 1, nil), newAuthority(t, "b.example", 2, nil)
	renewed := newAuthority(t, "a.example", 3, nil)
	der := a.issue(t, clientTemplate(t))
	other := clientTemplate(t)
	other.URIs = uris(t, "mimi://a.example/d/bob/phone", "mimi://a.example/u/bob")
	credential, bob := mls.X509Credential(der), mls.X509Credential(a.issue(t, other))
	key := mls.SignaturePublicKey(testKey(9).Public().(ed25519.PublicKey))
	roots := []*identity.Root{b.root(t), renewed.root(t), a.root(t)}

	c, err := identity.Validate(credential, key, nil, roots, now)
	if err != nil {
		t.Fatal(err)
	}
	if c.User.Name() != "alice" {
		t.Errorf("user is %q", c.User)
	}
	if _, err := identity.Validate(credential, key, &credential, roots, now); err != nil {
		t.Errorf("same client as before: %v", err)
	}
	if _, err := identity.Validate(mls.X509Credential(a.issue(t, hubTemplate(t))), key, nil, roots, now); err != nil {
		t.Errorf("hub: %v", err)
	}
	basic := mls.BasicCredential([]byte("mimi://a.example/d/alice/phone"))
	for name, try := range map[string]func() error{
		"another key": func() error {
			return second(identity.Validate(credential, mls.SignaturePublicKey(testKey(8).Public().(ed25519.PublicKey)), nil, roots, now))
		},
		"no key":             func() error { return second(identity.Validate(credential, nil, nil, roots, now)) },
		"another client":     func() error { return second(identity.Validate(credential, key, &bob, roots, now)) },
		"basic before":       func() error { return second(identity.Validate(credential, key, &basic, roots, now)) },
		"basic":              func() error { return second(identity.Validate(basic, key, nil, roots, now)) },
		"no roots":           func() error { return second(identity.Validate(credential, key, nil, nil, now)) },
		"root of another":    func() error { return second(identity.Validate(credential, key, nil, roots[:1], now)) },
		"root since renewed": func() error { return second(identity.Validate(credential, key, nil, roots[:2], now)) },
		"expired":            func() error { return second(identity.Validate(credential, key, nil, roots, now.Add(91*24*time.Hour))) },
		"with its root": func() error {
			return second(identity.Validate(mls.X509Credential(der, a.der), key, nil, roots, now))
		},
		"no certificate":  func() error { return second(identity.Validate(mls.X509Credential(), key, nil, roots, now)) },
		"malformed":       func() error { return second(identity.FromCredential(mls.X509Credential(der[1:]))) },
		"a root itself":   func() error { return second(identity.FromCredential(mls.X509Credential(a.der))) },
		"zero credential": func() error { return second(identity.FromCredential(mls.Credential{})) },
		"of an unknown type": func() error {
			return second(identity.FromCredential(mls.Credential{Type: 3, Certificates: [][]byte{der}}))
		},
	} {
		if try() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }
