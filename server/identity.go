package server

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"sync"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
)

const (
	certificateLife = 80 * 24 * time.Hour // CR-1 allows 90 days
	clockTolerance  = time.Hour           // a certificate is valid a little before it was made
)

// authority is the provider's identity CA: it vouches for the keys of our users' devices (CR-1) and of our hub (CR-6).
// Its root is made at the first start and kept in the database.
type authority struct {
	domain   string
	provider mimi.ProviderID
	rand     io.Reader
	now      func() time.Time
	db       *db.DB
	rootKey  ed25519.PrivateKey
	root     *x509.Certificate
	hubKey   *mls.SignatureKey

	mu  sync.Mutex
	hub *x509.Certificate

	agent frankingAgent
}

// Keys of the authority's settings.
const (
	settingRootKey         = "identity_root_key"
	settingRootCertificate = "identity_root_certificate"
	settingHubKey          = "hub_key"
	settingHubCertificate  = "hub_certificate"
)

// openAuthority loads the authority of domain, or makes it where there is none.
func openAuthority(ctx context.Context, store *db.DB, domain string, rand io.Reader, now func() time.Time) (*authority, error) {
	provider, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	a := &authority{domain: domain, provider: provider, rand: rand, now: now, db: store}
	err = store.Read(ctx, func(tx *db.Tx) error { return errors.Join(a.load(tx), a.loadAgent(tx)) })
	if errors.Is(err, db.ErrNotFound) {
		err = store.Write(ctx, a.ensure)
	}
	if err != nil {
		return nil, err
	}
	if got := a.root.PermittedDNSDomains; len(got) != 1 || got[0] != domain {
		return nil, Usage("this data directory belongs to the domain %s, which is part of everybody's identity and cannot change to %s", got, domain)
	}
	return a, nil
}

func (a *authority) load(tx *db.Tx) error {
	var values [4][]byte
	for i, key := range []string{settingRootKey, settingRootCertificate, settingHubKey, settingHubCertificate} {
		v, err := tx.Setting(key)
		if err != nil {
			return err
		}
		values[i] = v
	}
	if len(values[0]) != ed25519.SeedSize {
		return errors.New("server: identity root key has a wrong length")
	}
	a.rootKey = ed25519.NewKeyFromSeed(values[0])
	var err error
	if a.root, err = x509.ParseCertificate(values[1]); err != nil {
		return fmt.Errorf("server: identity root: %w", err)
	}
	if a.hubKey, err = mls.ParseSignatureKey(mls.X25519AES128GCMSHA256Ed25519, values[2]); err != nil {
		return fmt.Errorf("server: hub key: %w", err)
	}
	if a.hub, err = x509.ParseCertificate(values[3]); err != nil {
		return fmt.Errorf("server: hub certificate: %w", err)
	}
	return nil
}

// ensure makes what is missing: everything at the first start, the franking agent in a database from before there was one.
func (a *authority) ensure(tx *db.Tx) error {
	for _, part := range []struct{ load, create func(*db.Tx) error }{{a.load, a.create}, {a.loadAgent, a.createAgent}} {
		err := part.load(tx) // another process may have been faster
		if errors.Is(err, db.ErrNotFound) {
			err = part.create(tx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// create makes the root, and the hub's key and certificate.
func (a *authority) create(tx *db.Tx) (err error) {
	if _, a.rootKey, err = ed25519.GenerateKey(a.rand); err != nil {
		return err
	}
	if a.root, err = a.makeRoot(); err != nil {
		return err
	}
	if a.hubKey, err = mls.GenerateSignatureKey(mls.X25519AES128GCMSHA256Ed25519, a.rand); err != nil {
		return err
	}
	if a.hub, err = a.certifyHub(a.hubKey, a.now()); err != nil {
		return err
	}
	for key, value := range map[string][]byte{settingRootKey: a.rootKey.Seed(), settingRootCertificate: a.root.Raw,
		settingHubKey: a.hubKey.Private(), settingHubCertificate: a.hub.Raw} {
		if err := tx.SetSetting(key, value); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot signs the root. It has no end that means anything: a clock that is wrong at the first start, as on a board
// without a battery, must not spoil the identity of everybody who joins later.
func (a *authority) makeRoot() (*x509.Certificate, error) {
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: a.domain + " identity"},
		NotBefore:             time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, Section 4.1.2.5
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
		// CR-1: constrained to our own domain, so that a stolen root cannot speak for others.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{a.domain},
		PermittedURIDomains:         []string{a.domain},
	}
	return a.sign(t, t, a.rootKey.Public().(ed25519.PublicKey))
}

// leaf is the common part of all certificates that are not the root.
func leaf(now time.Time, uris ...string) (*x509.Certificate, error) {
	t := &x509.Certificate{
		NotBefore:             now.Add(-clockTolerance).UTC().Truncate(time.Second),
		NotAfter:              now.Add(certificateLife).UTC().Truncate(time.Second),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			return nil, errors.New("server: identifier is not a URI")
		}
		t.URIs = append(t.URIs, u)
	}
	return t, nil
}

// sign gives t a random serial number and the root's signature.
func (a *authority) sign(t, parent *x509.Certificate, public ed25519.PublicKey) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(a.rand, serial); err != nil {
		return nil, err
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and never shorter
	t.SerialNumber = new(big.Int).SetBytes(serial)
	der, err := x509.CreateCertificate(a.rand, t, parent, public, a.rootKey)
	if err != nil {
		return nil, fmt.Errorf("server: certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// IssueDevice certifies that the key public belongs to the device client of user (CR-1).
func (a *authority) IssueDevice(client mimi.ClientID, user mimi.UserID, public []byte, now time.Time) ([]byte, error) {
	if owner, ok := client.User(); !ok || owner != user || user.Provider() != a.provider || user.IsPseudonym() {
		return nil, errors.New("server: device does not belong to a user of this provider")
	}
	if len(public) != ed25519.PublicKeySize {
		return nil, errors.New("server: device key has a wrong length")
	}
	t, err := leaf(now, client.String(), user.String())
	if err != nil {
		return nil, err
	}
	c, err := a.sign(t, a.root, public)
	if err != nil {
		return nil, err
	}
	return c.Raw, nil
}

// RootDER returns the root certificate.
func (a *authority) RootDER() []byte { return a.root.Raw }

// Domain returns the provider's domain.
func (a *authority) Domain() string { return a.domain }

// HubKey returns the key with which the hub proposes and signs GroupInfos.
func (a *authority) HubKey() *mls.SignatureKey { return a.hubKey }

// HubSender returns the hub as an external sender. Its certificate is made anew at two thirds of its life, or when the
// clock has left it; the key stays.
func (a *authority) HubSender() mls.ExternalSender {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.now(); outlived(a.hub, now) {
		if fresh, err := a.certifyHub(a.hubKey, now); err == nil {
			a.hub = fresh
			a.db.Enqueue(func(tx *db.Tx) error { return tx.SetSetting(settingHubCertificate, fresh.Raw) }, func(error) {})
		}
	}
	return mls.ExternalSender{SignatureKey: a.hubKey.Public(), Credential: mls.X509Credential(a.hub.Raw)}
}
