package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"kith/mimi/identity"
)

func TestCR1EveryPrefixIsRefused(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	for _, der := range [][]byte{a.der, a.issue(t, clientTemplate(t)), a.issue(t, hubTemplate(t))} {
		for n := range der {
			if _, err := identity.Parse(der[:n]); err == nil {
				t.Errorf("the first %d of %d octets are taken for a certificate", n, len(der))
			}
			if _, err := identity.ParseRoot(der[:n]); err == nil {
				t.Errorf("the first %d of %d octets are taken for a root", n, len(der))
			}
		}
		if _, err := identity.Parse(append(slices.Clone(der), 0)); err == nil {
			t.Error("a trailing octet is accepted")
		}
	}
	if _, err := identity.Parse(make([]byte, identity.MaxCertificate+1)); err == nil {
		t.Error("a large certificate is accepted")
	}
}

// TestCR1EveryOctetIsSigned changes each bit of a certificate: it must be refused, by us as by crypto/x509.
func TestCR1EveryOctetIsSigned(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	root, der := a.root(t), a.issue(t, clientTemplate(t))
	for i := range len(der) * 8 {
		changed := slices.Clone(der)
		changed[i/8] ^= 1 << (i % 8)
		if c, err := identity.Parse(changed); err == nil && root.Verify(c, now) == nil {
			t.Errorf("bit %d may be changed", i)
		}
	}
}

// A builder makes certificates that crypto/x509 would not make: each piece can be replaced.
type builder struct {
	version, serial, algorithm, issuer, validity, subject, key, extensions []byte
}

// template takes a good certificate apart.
func template(t testing.TB, a *authority) *builder {
	t.Helper()
	s := cryptobyte.String(a.issue(t, clientTemplate(t)))
	var b builder
	for range 2 { // the certificate, and what is signed in it
		if !s.ReadASN1(&s, asn1.SEQUENCE) {
			t.Fatal("no certificate")
		}
	}
	for _, piece := range []*[]byte{&b.version, &b.serial, &b.algorithm, &b.issuer, &b.validity, &b.subject, &b.key, &b.extensions} {
		var element cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&element, &tag) {
			t.Fatal("no certificate")
		}
		*piece = element
	}
	return &b
}

func (b *builder) sign(key ed25519.PrivateKey) []byte {
	var tbs cryptobyte.Builder
	tbs.AddASN1(asn1.SEQUENCE, func(s *cryptobyte.Builder) {
		for _, piece := range [][]byte{b.version, b.serial, b.algorithm, b.issuer, b.validity, b.subject, b.key, b.extensions} {
			s.AddBytes(piece)
		}
	})
	signed := tbs.BytesOrPanic()
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(s *cryptobyte.Builder) {
		s.AddBytes(signed)
		s.AddBytes([]byte{0x30, 5, 6, 3, 0x2b, 0x65, 0x70})
		s.AddASN1BitString(ed25519.Sign(key, signed))
	})
	return out.BytesOrPanic()
}

func validity(notBefore, notAfter string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, s := range []string{notBefore, notAfter} {
			tag := asn1.UTCTime
			if len(s) > 14 {
				tag = asn1.GeneralizedTime
			}
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
		}
	})
	return b.BytesOrPanic()
}

func TestCR1StrictDER(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	if err := a.ours(t, template(t, a).sign(a.key), now); err != nil {
		t.Fatalf("the certificate put together again: %v", err)
	}
	hour := []byte("261122110000Z")
	for name, change := range map[string]func(*builder){
		"version 1":              func(b *builder) { b.version = nil },
		"version 2":              func(b *builder) { b.version = []byte{0xa0, 3, 2, 1, 1} },
		"version 4":              func(b *builder) { b.version = []byte{0xa0, 3, 2, 1, 3} },
		"version and more":       func(b *builder) { b.version = []byte{0xa0, 6, 2, 1, 2, 2, 1, 2} },
		"serial 0":               func(b *builder) { b.serial = []byte{2, 1, 0} },
		"serial negative":        func(b *builder) { b.serial = []byte{2, 1, 0x80} },
		"serial not shortest":    func(b *builder) { b.serial = []byte{2, 2, 0, 1} },
		"serial empty":           func(b *builder) { b.serial = []byte{2, 0} },
		"serial in long form":    func(b *builder) { b.serial = []byte{2, 0x81, 1, 1} },
		"other algorithm inside": func(b *builder) { b.algorithm = []byte{0x30, 5, 6, 3, 0x2b, 0x65, 0x71} },
		"parameters":             func(b *builder) { b.algorithm = []byte{0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0} },
		"Ed448 key":              func(b *builder) { b.key = bytes.Replace(b.key, []byte{0x2b, 0x65, 0x70}, []byte{0x2b, 0x65, 0x71}, 1) },
		"short key": func(b *builder) {
			b.key = append([]byte{0x30, 41, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 32, 0}, make([]byte, 31)...)
		},
		"key with unused bits": func(b *builder) {
			b.key = append([]byte{0x30, 42, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 33, 1}, make([]byte, 32)...)
		},
		"empty set in a name":      func(b *builder) { b.subject = []byte{0x30, 2, 0x31, 0} },
		"name of bad UTF-8":        func(b *builder) { b.subject = []byte{0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, 0xff} },
		"name not printable":       func(b *builder) { b.subject = []byte{0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x13, 1, '@'} },
		"unique identifier":        func(b *builder) { b.key = append(slices.Clone(b.key), 0x81, 2, 0, 1) },
		"no extensions":            func(b *builder) { b.extensions = nil },
		"empty extensions":         func(b *builder) { b.extensions = []byte{0xa3, 2, 0x30, 0} },
		"something after the end":  func(b *builder) { b.extensions = append(slices.Clone(b.extensions), 5, 0) },
		"time without seconds":     func(b *builder) { b.validity = validity("2611221100Z", "270101000000Z") },
		"time with an offset":      func(b *builder) { b.validity = validity("261122110000+0000", "270101000000Z") },
		"time of another century":  func(b *builder) { b.validity = validity("501122110000Z", "270101000000Z") },
		"time that does not exist": func(b *builder) { b.validity = validity("260230000000Z", "270101000000Z") },
		"leap second":              func(b *builder) { b.validity = validity("261122110060Z", "270101000000Z") },
		"time in the wrong form":   func(b *builder) { b.validity = validity("20261122110000Z", "270101000000Z") },
		"time with a fraction":     func(b *builder) { b.validity = validity(string(hour), "20510101000000.5Z") },
		"third time": func(b *builder) {
			b.validity = append([]byte{0x30, 45}, bytes.Repeat(append([]byte{0x17, 13}, hour...), 3)...)
		},
		"time before time":            func(b *builder) { b.validity = validity("270101000000Z", string(hour)) },
		"indefinite length":           func(b *builder) { b.issuer = append(append([]byte{0x30, 0x80}, b.issuer[2:]...), 0, 0) },
		"length not in shortest form": func(b *builder) { b.issuer = append([]byte{0x30, 0x81, b.issuer[1]}, b.issuer[2:]...) },
	} {
		b := template(t, a)
		change(b)
		if err := a.ours(t, b.sign(a.key), now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCR1Times(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	for _, c := range []struct {
		notBefore, notAfter string
		want                time.Time
	}{
		{"491231235959Z", "20500101000000Z", time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"500101000000Z", "500102000000Z", time.Date(1950, 1, 2, 0, 0, 0, 0, time.UTC)},
		{"240228000000Z", "240229235959Z", time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)},
	} {
		b := template(t, a)
		b.validity = validity(c.notBefore, c.notAfter)
		got, err := identity.Parse(b.sign(a.key))
		if err != nil || !got.NotAfter.Equal(c.want) {
			t.Errorf("%s: %v, %v", c.notAfter, got, err)
		}
	}
}

// ext encodes an extension.
func ext(critical, value []byte, oid ...byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
		b.AddBytes(critical)
		b.AddASN1OctetString(value)
	})
	return b.BytesOrPanic()
}

func TestCR1StrictExtensions(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	yes, no := []byte{1, 1, 0xff}, []byte{1, 1, 0}
	names := []byte("\x30\x3a\x86\x1emimi://a.example/d/alice/phone\x86\x18mimi://a.example/u/alice")
	usage := []byte{3, 2, 7, 0x80}
	good := [][]byte{ext(yes, usage, 0x55, 0x1d, 15), ext(nil, names, 0x55, 0x1d, 17)}
	for name, c := range map[string]struct {
		list [][]byte
		want bool
	}{
		"the least":                   {good, true},
		"both critical":               {[][]byte{good[0], ext(yes, names, 0x55, 0x1d, 17)}, true},
		"twice the names":             {[][]byte{good[0], good[1], good[1]}, false},
		"twice unknown":               {[][]byte{good[0], good[1], ext(nil, nil, 42), ext(nil, nil, 42)}, false},
		"false written out":           {[][]byte{ext(no, usage, 0x55, 0x1d, 15), good[1]}, false},
		"true as 1":                   {[][]byte{ext([]byte{1, 1, 1}, usage, 0x55, 0x1d, 15), good[1]}, false},
		"trailing zeros in the usage": {[][]byte{ext(yes, []byte{3, 2, 0, 0x80}, 0x55, 0x1d, 15), good[1]}, false},
		"empty usage":                 {[][]byte{ext(yes, []byte{3, 1, 0}, 0x55, 0x1d, 15), good[1]}, false},
		"long usage":                  {[][]byte{ext(yes, []byte{3, 3, 5, 0x80, 0x60}, 0x55, 0x1d, 15), good[1]}, false},
		"usage and more":              {[][]byte{ext(yes, append(slices.Clone(usage), 5, 0), 0x55, 0x1d, 15), good[1]}, false},
		"names and more":              {[][]byte{good[0], ext(nil, append(slices.Clone(names), 5, 0), 0x55, 0x1d, 17)}, false},
		"no names in the names":       {[][]byte{good[0], ext(nil, []byte{0x30, 0}, 0x55, 0x1d, 17)}, false},
		"CA:FALSE":                    {[][]byte{good[0], good[1], ext(yes, []byte{0x30, 0}, 0x55, 0x1d, 19)}, true},
		"CA:FALSE written out":        {[][]byte{good[0], good[1], ext(yes, []byte{0x30, 3, 1, 1, 0}, 0x55, 0x1d, 19)}, false},
		"path length without CA":      {[][]byte{good[0], good[1], ext(yes, []byte{0x30, 3, 2, 1, 0}, 0x55, 0x1d, 19)}, false},
		"CA:TRUE":                     {[][]byte{good[0], good[1], ext(yes, []byte{0x30, 3, 1, 1, 0xff}, 0x55, 0x1d, 19)}, false},
		"key identifier":              {[][]byte{good[0], good[1], ext(nil, []byte{4, 1, 7}, 0x55, 0x1d, 14)}, true},
		"critical key identifier":     {[][]byte{good[0], good[1], ext(yes, []byte{4, 1, 7}, 0x55, 0x1d, 14)}, false},
		"issuer's serial":             {[][]byte{good[0], good[1], ext(nil, []byte{0x30, 3, 0x82, 1, 7}, 0x55, 0x1d, 35)}, false},
		"malformed extended usage":    {[][]byte{good[0], good[1], ext(nil, []byte{0x30, 2, 5, 0}, 0x55, 0x1d, 37)}, false},
		"malformed policies":          {[][]byte{good[0], good[1], ext(nil, []byte{0x30, 2, 5, 0}, 0x55, 0x1d, 32)}, false},
		"a policy twice":              {[][]byte{good[0], good[1], ext(nil, []byte{0x30, 10, 0x30, 3, 6, 1, 42, 0x30, 3, 6, 1, 42}, 0x55, 0x1d, 32)}, false},
		"policy constraints":          {[][]byte{good[0], good[1], ext(nil, []byte{0x30, 0}, 0x55, 0x1d, 36)}, false},
	} {
		b := template(t, a)
		var out cryptobyte.Builder
		out.AddASN1(asn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(c.list, nil)) })
		})
		b.extensions = out.BytesOrPanic()
		der := b.sign(a.key)
		if err := a.ours(t, der, now); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.standard(der, now); c.want && err != nil {
			t.Errorf("%s: crypto/x509: %v", name, err)
		}
	}
}

// seeds are certificates of all kinds.
func seeds(t testing.TB, a *authority) [][]byte {
	full := clientTemplate(t)
	full.ExtKeyUsage, full.OCSPServer = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []string{"http://a.example"}
	full.Policies = []x509.OID{mustOID(1, 2, 3)}
	return [][]byte{a.der, a.issue(t, clientTemplate(t)), a.issue(t, hubTemplate(t)), a.issue(t, full)}
}

// agree holds that whatever is accepted here is accepted by crypto/x509, and means the same there. It tells whether
// it was.
func agree(t testing.TB, a *authority, root *identity.Root, der []byte) bool {
	r, err := identity.ParseRoot(der)
	if err == nil {
		std, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("root %x: %v", der, err)
		}
		if !std.IsCA || !std.MaxPathLenZero || !slices.Equal(std.PermittedURIDomains, []string{r.Domain.Host()}) ||
			!slices.Equal(std.PermittedDNSDomains, []string{r.Domain.Host()}) || len(std.UnhandledCriticalExtensions) > 0 {
			t.Errorf("root %x means something else to crypto/x509", der)
		}
	}
	c, err := identity.Parse(der)
	if err != nil {
		return r != nil
	}
	std, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("certificate %x: %v", der, err)
	}
	key, _ := std.PublicKey.(ed25519.PublicKey)
	if !std.NotBefore.Equal(c.NotBefore) || !std.NotAfter.Equal(c.NotAfter) || !bytes.Equal(key, c.PublicKey) ||
		!bytes.Equal(std.Raw, c.Raw) || len(std.UnhandledCriticalExtensions) > 0 || std.IsCA ||
		std.KeyUsage&x509.KeyUsageDigitalSignature == 0 || std.SignatureAlgorithm != x509.PureEd25519 {
		t.Errorf("certificate %x means something else to crypto/x509", der)
	}
	for _, uri := range std.URIs {
		if s := uri.String(); s != c.Client.String() && s != c.User.String() && s != c.Hub.String() {
			t.Errorf("certificate %x names %s to crypto/x509", der, s)
		}
	}
	if err := root.Verify(c, now); err == nil {
		if err := a.standard(der, now); err != nil {
			t.Errorf("certificate %x is verified, but crypto/x509 says: %v", der, err)
		}
	}
	return true
}

// TestCR1DamagedCertificates compares the two parsers on certificates in which a few octets were changed. Without
// regard to the signature, many are still well-formed.
func TestCR1DamagedCertificates(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	root := a.root(t)
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for _, der := range seeds(t, a) {
		for range 3000 {
			damaged := slices.Clone(der)
			for range 1 + rng.IntN(2) {
				damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
			}
			if agree(t, a, root, damaged) {
				accepted++
			}
		}
	}
	if accepted < 500 {
		t.Errorf("only %d damaged certificates were accepted, so little was compared", accepted)
	}
}

// TestCR1DamagedExtensions does the same to each octet of the extensions in turn.
func TestCR1DamagedExtensions(t *testing.T) {
	a := newAuthority(t, "a.example", 1, nil)
	root := a.root(t)
	for _, der := range seeds(t, a) {
		start := bytes.LastIndex(der, []byte{0x2b, 0x65, 0x70, 0x03, 0x21})
		for i := start; i < len(der)-ed25519.SignatureSize; i++ {
			damaged := slices.Clone(der)
			for bit := range 8 {
				damaged[i] = der[i] ^ 1<<bit
				agree(t, a, root, damaged)
			}
			for _, v := range []byte{der[i] - 1, der[i] + 1, 0, 0x30, 0x80, 0xff} {
				damaged[i] = v
				agree(t, a, root, damaged)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	a := newAuthority(f, "a.example", 1, nil)
	for _, der := range seeds(f, a) {
		f.Add(der)
	}
	root := a.root(f)
	f.Fuzz(func(t *testing.T, der []byte) { agree(t, a, root, der) })
}
