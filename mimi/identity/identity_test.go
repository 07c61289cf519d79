package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"kith/mimi/identity"
)

// now is the time of all tests.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// An authority issues certificates as a server does.
type authority struct {
	key  ed25519.PrivateKey
	der  []byte
	x509 *x509.Certificate
}

// testKey returns a key that is the same in every run, so that the seeds of the fuzzer are.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func rootTemplate(domain string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:                big.NewInt(1),
		Subject:                     pkix.Name{CommonName: domain + " identity authority"},
		NotBefore:                   now.Add(-day),
		NotAfter:                    now.AddDate(20, 0, 0),
		KeyUsage:                    x509.KeyUsageCertSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{domain},
		PermittedURIDomains:         []string{domain},
	}
}

func newAuthority(t testing.TB, domain string, n byte, change func(*x509.Certificate)) *authority {
	t.Helper()
	template := rootTemplate(domain)
	if change != nil {
		change(template)
	}
	a := &authority{key: testKey(n)}
	a.der = create(t, template, template, a.key.Public(), a.key)
	var err error
	if a.x509, err = x509.ParseCertificate(a.der); err != nil {
		t.Fatal(err)
	}
	return a
}

func create(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) root(t testing.TB) *identity.Root {
	t.Helper()
	r, err := identity.ParseRoot(a.der)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func uris(t testing.TB, list ...string) (out []*url.URL) {
	t.Helper()
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

func clientTemplate(t testing.TB) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(0x7fffffffffff),
		Subject:               pkix.Name{CommonName: "alice"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(90*day - time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		URIs:                  uris(t, "mimi://a.example/d/alice/phone", "mimi://a.example/u/alice"),
	}
}

func hubTemplate(t testing.TB) *x509.Certificate {
	c := clientTemplate(t)
	c.NotAfter = now.AddDate(10, 0, 0)
	c.URIs, c.DNSNames = uris(t, "mimi://a.example"), []string{"a.example"}
	return c
}

func (a *authority) issue(t testing.TB, template *x509.Certificate) []byte {
	t.Helper()
	return create(t, template, a.x509, testKey(9).Public(), a.key)
}

// standard asks crypto/x509 for its opinion.
func (a *authority) standard(der []byte, at time.Time) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.x509)
	_, err = c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// ours is the decision of the package under test.
func (a *authority) ours(t testing.TB, der []byte, at time.Time) error {
	t.Helper()
	c, err := identity.Parse(der)
	if err != nil {
		return err
	}
	return a.root(t).Verify(c, at)
}

func TestCR1Client(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	der := a.issue(t, clientTemplate(t))
	c, err := identity.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if c.Client.String() != "mimi://a.example/d/alice/phone" || c.User.String() != "mimi://a.example/u/alice" ||
		!c.Hub.IsZero() || c.Provider().Host() != "a.example" || !bytes.Equal(c.Raw, der) ||
		!bytes.Equal(c.PublicKey, testKey(9).Public().(ed25519.PublicKey)) ||
		!c.NotBefore.Equal(now.Add(-time.Hour)) || !c.NotAfter.Equal(now.Add(90*day-time.Hour)) {
		t.Errorf("certificate is %+v", c)
	}
	if err := a.root(t).Verify(c, now); err != nil {
		t.Error(err)
	}
	if err := a.standard(der, now); err != nil {
		t.Errorf("crypto/x509: %v", err)
	}
	clear(der)
	if err := a.root(t).Verify(c, now); err != nil {
		t.Error("a certificate changes with the memory it was read from")
	}
}

func TestCR2Root(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	r := a.root(t)
	if r.Domain.String() != "mimi://a.example" || !bytes.Equal(r.PublicKey, a.key.Public().(ed25519.PublicKey)) ||
		!bytes.Equal(r.Raw, a.der) || !r.NotAfter.Equal(now.AddDate(20, 0, 0)) {
		t.Errorf("root is %+v", r)
	}
	if local := newAuthority(t, "localhost", 1, nil).root(t); local.Domain.Host() != "localhost" {
		t.Errorf("domain is %q", local.Domain)
	}
	if _, err := identity.Parse(a.der); err == nil {
		t.Error("a root is taken for a client")
	}
	if _, err := identity.ParseRoot(a.issue(t, clientTemplate(t))); err == nil {
		t.Error("a client is taken for a root")
	}
}

// What was pinned is read again without its signature, and only that is not looked at.
// TestCR2SameRoots: what is pinned and what is shown are the same whatever their order, and only then.
func TestCR2SameRoots(t *testing.T) {
	a, b, c := &identity.Root{Raw: []byte("a")}, &identity.Root{Raw: []byte("b")}, &identity.Root{Raw: []byte("c")}
	for _, x := range []struct {
		one, other []*identity.Root
		want       bool
	}{
		{nil, nil, true}, {[]*identity.Root{a, b}, []*identity.Root{b, a}, true}, {[]*identity.Root{a}, []*identity.Root{a, a}, true},
		{[]*identity.Root{a}, nil, false}, {nil, []*identity.Root{a}, false}, {[]*identity.Root{a, b}, []*identity.Root{a}, false},
		{[]*identity.Root{a}, []*identity.Root{a, b}, false}, {[]*identity.Root{a, b}, []*identity.Root{a, c}, false},
	} {
		if got := identity.SameRoots(x.one, x.other); got != x.want {
			t.Errorf("%d and %d roots: %v", len(x.one), len(x.other), got)
		}
	}
}

func TestCR2RestoredRoot(t *testing.T) {
	der := slices.Clone(newAuthority(t, "a.example", 1, nil).der)
	r, err := identity.RestoreRoot(der)
	if err != nil || r.Domain.String() != "mimi://a.example" || !bytes.Equal(r.Raw, der) {
		t.Fatalf("restored %+v, %v", r, err)
	}
	der[len(der)-1] ^= 1 // in the signature, which stands last
	if _, err := identity.RestoreRoot(der); err != nil {
		t.Errorf("the signature of a trust anchor matters: %v", err)
	}
	if _, err := identity.ParseRoot(der); err == nil {
		t.Error("a root with a broken signature is pinned")
	}
	if _, err := identity.RestoreRoot(der[:len(der)-1]); err == nil {
		t.Error("a truncated root is restored")
	}
}

func TestCR2RootsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*x509.Certificate){
		"no authority": func(c *x509.Certificate) {
			c.IsCA, c.MaxPathLenZero, c.KeyUsage = false, false, x509.KeyUsageDigitalSignature
		},
		"no path length":        func(c *x509.Certificate) { c.MaxPathLenZero, c.MaxPathLen = false, -1 },
		"path length 1":         func(c *x509.Certificate) { c.MaxPathLenZero, c.MaxPathLen = false, 1 },
		"no key usage":          func(c *x509.Certificate) { c.KeyUsage = 0 },
		"key usage of a client": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"more key usages":       func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement },
		"no DNS constraint":     func(c *x509.Certificate) { c.PermittedDNSDomains = nil },
		"no URI constraint":     func(c *x509.Certificate) { c.PermittedURIDomains = nil },
		"no constraints":        func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedURIDomains = nil, nil },
		"not critical":          func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
		"two domains":           func(c *x509.Certificate) { c.PermittedURIDomains = []string{"a.example", "b.example"} },
		"different domains":     func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"b.example"} },
		"subdomains": func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedURIDomains = []string{".a.example"}, []string{".a.example"}
		},
		"capitals": func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedURIDomains = []string{"A.example"}, []string{"A.example"}
		},
		"excluded too": func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"x.a.example"} },
		"e-mail too":   func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"a.example"} },
		"network too": func(c *x509.Certificate) {
			c.PermittedIPRanges = []*net.IPNet{{IP: net.IP{1, 2, 3, 0}, Mask: net.CIDRMask(24, 32)}}
		},
		"a name":         func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} },
		"critical usage": func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown(true)} },
	} {
		a := newAuthority(t, "a.example", 1, change)
		if _, err := identity.ParseRoot(a.der); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := identity.RestoreRoot(a.der); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	good := newAuthority(t, "a.example", 1, nil)
	if _, err := identity.ParseRoot(append(slices.Clone(good.der), 0)); err == nil {
		t.Error("a trailing octet is accepted")
	}
	foreign := create(t, rootTemplate("a.example"), rootTemplate("a.example"), testKey(2).Public(), testKey(1))
	if _, err := identity.ParseRoot(foreign); err == nil {
		t.Error("a root signed by another key is accepted")
	}
	issued := rootTemplate("a.example")
	issued.Subject.CommonName = "below"
	if _, err := identity.ParseRoot(create(t, issued, good.x509, good.key.Public(), good.key)); err == nil {
		t.Error("a root with another issuer is accepted")
	}
}

func unknown(critical bool) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical, Value: []byte("anything")}
}

func extension(critical bool, value []byte, id ...int) pkix.Extension {
	return pkix.Extension{Id: id, Critical: critical, Value: value}
}

func TestCR1Accepted(t *testing.T) {
	for name, change := range map[string]func(*x509.Certificate){
		"other order":       func(c *x509.Certificate) { slices.Reverse(c.URIs) },
		"one segment":       func(c *x509.Certificate) { c.URIs[0].Path = "/d/ClientA1" },
		"pseudonym":         func(c *x509.Certificate) { c.URIs[1].Path = "/p/alice" },
		"without a subject": func(c *x509.Certificate) { c.Subject = pkix.Name{} },
		"with a long subject": func(c *x509.Certificate) {
			c.Subject = pkix.Name{Organization: []string{"Käse & Söhne"}, Country: []string{"DE"}}
		},
		"no basic constraints":   func(c *x509.Certificate) { c.BasicConstraintsValid = false },
		"key agreement as well":  func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement },
		"decipher only as well":  func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDecipherOnly },
		"client authentication":  func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"authority information":  func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.a.example"} },
		"policies":               func(c *x509.Certificate) { c.Policies = []x509.OID{mustOID(1, 2, 3), mustOID(1, 2, 4)} },
		"unknown, not critical":  func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown(false)} },
		"valid from this moment": func(c *x509.Certificate) { c.NotBefore = now },
		"valid to this moment":   func(c *x509.Certificate) { c.NotAfter = now },
		"serial of 20 octets": func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))
		},
	} {
		a := newAuthority(t, "a.example", 1, nil)
		template := clientTemplate(t)
		change(template)
		der := a.issue(t, template)
		if err := a.ours(t, der, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.standard(der, now); err != nil {
			t.Errorf("%s: crypto/x509: %v", name, err)
		}
	}
}

func mustOID(arcs ...uint64) x509.OID {
	oid, err := x509.OIDFromInts(arcs)
	if err != nil {
		panic(err)
	}
	return oid
}

// TestCR1Refused has what is to be refused, and whether crypto/x509 refuses it, too.
func TestCR1Refused(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	for _, c := range []struct {
		name     string
		change   func(*x509.Certificate)
		standard bool
	}{
		{"host of another domain", func(c *x509.Certificate) { c.URIs[0].Host, c.URIs[1].Host = "b.example", "b.example" }, true},
		{"host below the domain", func(c *x509.Certificate) { c.URIs[0].Host, c.URIs[1].Host = "x.a.example", "x.a.example" }, false},
		{"hosts that differ", func(c *x509.Certificate) { c.URIs[0].Host = "b.example" }, true},
		{"host in capitals", func(c *x509.Certificate) { c.URIs[1].Host = "A.example" }, false},
		{"host with a port", func(c *x509.Certificate) { c.URIs[1].Host = "a.example:443" }, false},
		{"two users", func(c *x509.Certificate) { c.URIs[0] = c.URIs[1] }, false},
		{"two clients", func(c *x509.Certificate) { c.URIs[1] = c.URIs[0] }, false},
		{"three names", func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, false},
		{"only a user", func(c *x509.Certificate) { c.URIs = c.URIs[1:] }, false},
		{"only a client", func(c *x509.Certificate) { c.URIs = c.URIs[:1] }, false},
		{"no names", func(c *x509.Certificate) { c.URIs = nil }, false},
		{"client of another user", func(c *x509.Certificate) { c.URIs[0].Path = "/d/bob/phone" }, false},
		{"a room", func(c *x509.Certificate) { c.URIs[0].Path = "/r/room" }, false},
		{"another scheme", func(c *x509.Certificate) { c.URIs[1].Scheme = "im" }, false},
		{"an e-mail address as well", func(c *x509.Certificate) { c.EmailAddresses = []string{"alice@a.example"} }, false},
		{"an address as well", func(c *x509.Certificate) { c.IPAddresses = []net.IP{{127, 0, 0, 1}} }, false},
		{"a DNS name as well", func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }, false},
		{"expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-day), now.Add(-time.Second) }, true},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }, true},
		{"never valid", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Second), now.Add(-time.Second) }, true},
		{"valid for too long", func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }, false},
		{"no key usage", func(c *x509.Certificate) { c.KeyUsage = 0 }, false},
		{"other key usage", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, false},
		{"authority's key usage", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, false},
		{"an authority", func(c *x509.Certificate) { c.IsCA = true }, false},
		{"constraints", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"a.example"} }, false},
		{"unknown critical extension", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown(true)} }, true},
		{"critical extended usage", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{extension(true, []byte{0x30, 3, 6, 1, 42}, 2, 5, 29, 37)}
		}, false},
		{"critical issuer names", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{extension(true, []byte{0x30, 0}, 2, 5, 29, 18)}
		}, true},
		{"serial of 21 octets", func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 160) }, false},
		{"revocation lists", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://a.example"} }, false},
	} {
		template := clientTemplate(t)
		c.change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, a.x509, testKey(9).Public(), a.key)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.ours(t, der, now) == nil {
			t.Errorf("%s: accepted", c.name)
		}
		if err := a.standard(der, now); (err != nil) != c.standard {
			t.Errorf("%s: crypto/x509: %v", c.name, err)
		}
	}
}

func TestCR1RefusedKeysAndIssuers(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	for name, der := range map[string][]byte{
		"another key of the same issuer": newAuthority(t, "a.example", 2, nil).issue(t, clientTemplate(t)),
		"issuer of another name": newAuthority(t, "a.example", 1, func(c *x509.Certificate) {
			c.Subject.CommonName = "another"
		}).issue(t, clientTemplate(t)),
		"issuer with another key identifier": newAuthority(t, "a.example", 1, func(c *x509.Certificate) {
			c.SubjectKeyId = []byte("other")
		}).issue(t, clientTemplate(t)),
		"ECDSA key": create(t, clientTemplate(t), a.x509, ecdsaKey(t).Public(), a.key),
		"signed by itself": func() []byte {
			self := clientTemplate(t)
			self.Subject = a.x509.Subject
			return create(t, self, self, testKey(9).Public(), testKey(9))
		}(),
	} {
		if a.ours(t, der, now) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := identity.Parse(create(t, clientTemplate(t), clientTemplate(t), testKey(9).Public(), ecdsaKey(t))); err == nil {
		t.Error("an ECDSA signature is accepted")
	}
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCR2ForeignRoot(t *testing.T) {
	a, b := newAuthority(t, "a.example", 1, nil), newAuthority(t, "b.example", 2, nil)
	c, err := identity.Parse(a.issue(t, clientTemplate(t)))
	if err != nil {
		t.Fatal(err)
	}
	if b.root(t).Verify(c, now) == nil || b.root(t).Issued(c) == nil {
		t.Error("another domain's root vouches for a client")
	}
	// An authority that oversteps its constraint with a valid signature.
	template := clientTemplate(t)
	rogue := newAuthority(t, "b.example", 2, func(c *x509.Certificate) { c.Subject.CommonName = "a.example identity authority" })
	if rogue.ours(t, rogue.issue(t, template), now) == nil {
		t.Error("a root vouches for a client of another domain")
	}
}

func TestCR5TimesOfRootAndLeaf(t *testing.T) {
	a := newAuthority(t, "a.example", 1, func(c *x509.Certificate) { c.NotAfter = now.Add(day) })
	c, err := identity.Parse(a.issue(t, clientTemplate(t)))
	if err != nil {
		t.Fatal(err)
	}
	r := a.root(t)
	for at, want := range map[time.Time]bool{
		now: true, now.Add(-time.Hour): true, now.Add(-time.Hour - 1): false, now.Add(day): true, now.Add(day + 1): false,
		now.Add(-2 * day): false, now.Add(91 * day): false,
	} {
		if err := r.Verify(c, at); (err == nil) != want {
			t.Errorf("at %v: %v", at, err)
		}
		if err := r.Issued(c); err != nil {
			t.Errorf("issued: %v", err)
		}
	}
}

func TestCR6Hub(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	der := a.issue(t, hubTemplate(t))
	c, err := identity.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hub.String() != "mimi://a.example" || c.Provider() != c.Hub || !c.User.IsZero() || !c.Client.IsZero() {
		t.Errorf("certificate is %+v", c)
	}
	if err := a.root(t).Verify(c, now); err != nil {
		t.Error(err)
	}
	if err := a.standard(der, now); err != nil {
		t.Errorf("crypto/x509: %v", err)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"only a DNS name":        func(c *x509.Certificate) { c.URIs = nil },
		"only the URI":           func(c *x509.Certificate) { c.DNSNames = nil },
		"two DNS names":          func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "x.a.example") },
		"another DNS name":       func(c *x509.Certificate) { c.DNSNames = []string{"x.a.example"} },
		"another URI":            func(c *x509.Certificate) { c.URIs[0].Host = "x.a.example" },
		"a URI with a path":      func(c *x509.Certificate) { c.URIs[0].Path = "/hub" },
		"a URI with a slash":     func(c *x509.Certificate) { c.URIs[0].Path = "/" },
		"the word hub":           func(c *x509.Certificate) { c.URIs[0].Host = "hub" },
		"a user's URI":           func(c *x509.Certificate) { c.URIs[0].Path = "/u/alice" },
		"a user's URI as well":   func(c *x509.Certificate) { c.URIs = append(c.URIs, uris(t, "mimi://a.example/u/alice")...) },
		"capitals":               func(c *x509.Certificate) { c.DNSNames = []string{"A.example"} },
		"not for signing":        func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement },
		"another domain in both": func(c *x509.Certificate) { c.URIs[0].Host, c.DNSNames = "b.example", []string{"b.example"} },
		"an authority":           func(c *x509.Certificate) { c.IsCA = true },
	} {
		template := hubTemplate(t)
		change(template)
		if a.ours(t, a.issue(t, template), now) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCR4Successors(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	parse := func(change func(*x509.Certificate)) *identity.Certificate {
		template := clientTemplate(t)
		change(template)
		c, err := identity.Parse(a.issue(t, template))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse(func(*x509.Certificate) {})
	if err := parse(func(c *x509.Certificate) { c.NotBefore = now }).Succeeds(old); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"another client": func(c *x509.Certificate) { c.URIs[0].Path = "/d/alice/tablet" },
		"another user":   func(c *x509.Certificate) { c.URIs[0].Path, c.URIs[1].Path = "/d/phone", "/u/bob" },
		"a pseudonym":    func(c *x509.Certificate) { c.URIs[1].Path = "/p/alice" },
		"a hub":          func(c *x509.Certificate) { c.URIs, c.DNSNames = hubTemplate(t).URIs, hubTemplate(t).DNSNames },
	} {
		if parse(change).Succeeds(old) == nil {
			t.Errorf("%s succeeds a client", name)
		}
	}
}
