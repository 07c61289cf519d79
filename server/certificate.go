package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"sync"
	"time"

	"kith/web"
)

// certificateFiles shows the certificate that the operator keeps in files, and looks at them again whenever they have
// changed, so that a renewal needs no restart.
type certificateFiles struct {
	cert, key string
	now       func() time.Time
	log       *slog.Logger

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	current *tls.Certificate
}

// get looks at the files at most once a minute. A broken pair never replaces one that works.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.current != nil && now.Sub(f.checked).Abs() < time.Minute {
		return f.current, nil
	}
	f.checked = now
	changed := f.changed
	for _, name := range []string{f.cert, f.key} {
		if fi, err := os.Stat(name); err == nil && fi.ModTime().After(changed) {
			changed = fi.ModTime()
		}
	}
	if f.current != nil && changed.Equal(f.changed) {
		return f.current, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		if f.current != nil {
			f.log.Error("new certificate is not usable, keeping the old one", "error", err.Error())
			return f.current, nil
		}
		return nil, err
	}
	f.current, f.changed = &pair, changed
	return f.current, nil
}

// openFiles loads the operator's certificate. It must be one for the domain; without the name that other providers use
// everything but federation works.
func openFiles(c Config) (*certificateFiles, error) {
	f := &certificateFiles{cert: c.TLSCert, key: c.TLSKey, now: c.Now, log: c.Log}
	pair, err := f.get(nil)
	if err != nil {
		return nil, fmt.Errorf("server: certificate of -tls-cert and -tls-key: %w", err)
	}
	if err := pair.Leaf.VerifyHostname(c.Domain); err != nil {
		return nil, fmt.Errorf("server: the certificate of -tls-cert is not for -domain %s: %w", c.Domain, err)
	}
	for _, s := range f.status(c) {
		if !s.Problem.None() {
			c.Log.Warn("certificate", "name", s.Name, "reason", web.English.Text(s.Problem))
		}
	}
	return f, nil
}

// status says what the certificate in the files is good for.
func (f *certificateFiles) status(c Config) []web.CertificateRow {
	pair, err := f.get(nil)
	if err != nil {
		return nil // it was there at the start, so this cannot be
	}
	all := []web.CertificateRow{{Name: c.Domain}, {Name: c.federationHost()}}
	for i := range all {
		all[i].Expires = pair.Leaf.NotAfter
		switch {
		case pair.Leaf.VerifyHostname(all[i].Name) != nil:
			all[i].Problem = web.T("tls.not_covered", "name", all[i].Name)
		case !f.now().Before(pair.Leaf.NotAfter):
			all[i].Problem = web.T("tls.files_expired", "name", all[i].Name)
		}
	}
	return all
}

// selfSigned makes a certificate that only providers on this machine accept, and those only when they were started to be
// tried out.
func selfSigned(c Config) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, fmt.Errorf("server: self-signed certificate: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{c.Domain, c.federationHost()},
		NotBefore: c.Now().Add(-time.Hour), NotAfter: c.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(c.Rand, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("server: self-signed certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// certificates says how the certificates of this server are; nothing on a server that has none.
func (t *transport) certificates() []web.CertificateRow {
	switch {
	case t.files != nil:
		return t.files.status(t.cfg)
	case t.acme != nil:
		return t.acme.status()
	}
	return nil
}
