package client_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"kith/mimi/mls"
)

// authority is a provider's identity CA, as the server makes it.
type authority struct {
	t      testing.TB
	domain string
	cert   *x509.Certificate
	key    ed25519.PrivateKey
}

func newAuthority(t testing.TB, domain string, now time.Time) *authority {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	a := &authority{t: t, domain: domain, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain + " identity"},
		NotBefore: now.Add(-time.Hour).Truncate(time.Second), NotAfter: now.Add(20 * 365 * 24 * time.Hour).Truncate(time.Second),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{domain}, PermittedURIDomains: []string{domain},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	return a
}

// issue makes a leaf certificate with the given URIs, valid for 90 days.
func (a *authority) issue(pub []byte, now time.Time, dns []string, uris ...string) []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(a.t, err)
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: dns,
		NotBefore: now.Add(-time.Hour).Truncate(time.Second),
	}
	template.NotAfter = template.NotBefore.Add(90 * 24 * time.Hour)
	for _, s := range uris {
		u, err := url.Parse(s)
		must(a.t, err)
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, ed25519.PublicKey(pub), a.key)
	must(a.t, err)
	return der
}

// hub makes the hub's key and its external sender.
func (a *authority) hub(now time.Time) (*mls.SignatureKey, mls.ExternalSender) {
	key, err := mls.GenerateSignatureKey(mls.X25519AES128GCMSHA256Ed25519, rand.Reader)
	must(a.t, err)
	der := a.issue(key.Public(), now, []string{a.domain}, "mimi://"+a.domain)
	return key, mls.ExternalSender{SignatureKey: key.Public(), Credential: mls.X509Credential(der)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
