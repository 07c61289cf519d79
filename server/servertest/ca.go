package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"
)

// certificateLife is short enough for long tests to see renewals.
const certificateLife = 45 * 24 * time.Hour

// CA issues certificates as public authorities do since 2026: for names in the SAN only, fit for servers only.
type CA struct {
	now    func() time.Time
	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	mu     sync.Mutex
	serial int64
	issued map[string]*tls.Certificate
}

// NewCA makes an authority that goes by a clock.
func NewCA(now func() time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true,
		NotBefore: now().Add(-24 * time.Hour), NotAfter: now().Add(10 * 365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	return &CA{now: now, key: key, root: root, serial: 1, issued: map[string]*tls.Certificate{}}, err
}

// Roots is what those trust who trust the authority.
func (c *CA) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.root)
	return pool
}

// Issue makes a certificate for names, with a new key. It begins an hour ago: clocks differ.
func (c *CA) Issue(names ...string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.serial++
	serial := c.serial
	c.mu.Unlock()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: names,
		NotBefore: c.now().Add(-time.Hour), NotAfter: c.now().Add(certificateLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// Certificate is the certificate of a name: the same for as long as a third of its life is left.
func (c *CA) Certificate(name string) (*tls.Certificate, error) {
	c.mu.Lock()
	have := c.issued[name]
	c.mu.Unlock()
	if have != nil && c.now().Before(have.Leaf.NotAfter.Add(-certificateLife/3)) {
		return have, nil
	}
	cert, err := c.Issue(name)
	if err == nil {
		c.mu.Lock()
		c.issued[name] = cert
		c.mu.Unlock()
	}
	return cert, err
}

// PEM is the authority's own certificate, for programs that read it from a file.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root.Raw})
}
