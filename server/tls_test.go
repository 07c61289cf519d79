package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/web"
)

// testCA issues certificates as they are told.
type testCA struct {
	*testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	up   []*x509.Certificate // what stands between it and its root
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	return (&testCA{T: t}).issuer(x509.ExtKeyUsageAny)
}

// issuer makes an authority below ca, or a root.
func (ca *testCA) issuer(usage x509.ExtKeyUsage) *testCA {
	ca.Helper()
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		Subject: pkix.Name{CommonName: rand.Text()}}
	leaf := ca.issue(template)
	below := &testCA{T: ca.T, cert: leaf.Leaf, key: leaf.PrivateKey.(*ecdsa.PrivateKey)}
	if ca.cert != nil {
		below.up = append([]*x509.Certificate{leaf.Leaf}, ca.up...)
	}
	return below
}

func (ca *testCA) issue(template *x509.Certificate) *tls.Certificate {
	ca.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		ca.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		ca.Fatal(err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	for _, up := range ca.up {
		c.Certificate = append(c.Certificate, up.Raw)
	}
	return c
}

// leaf is a certificate as public authorities give them: for servers, whatever it is used for.
func (ca *testCA) leaf(names ...string) *tls.Certificate {
	return ca.usable(x509.ExtKeyUsageServerAuth, names...)
}

func (ca *testCA) usable(usage x509.ExtKeyUsage, names ...string) *tls.Certificate {
	return ca.issue(&x509.Certificate{DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
}

func (ca *testCA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// provider is the TLS side of one that has a certificate for each of its two names.
func (ca *testCA) provider(domain string) *transport {
	ca.Helper()
	shown := []*tls.Certificate{ca.leaf(domain), ca.leaf("mimi." + domain)}
	cfg, err := Config{Domain: domain, PeerRoots: ca.pool(), Certificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, c := range shown {
			if c.Leaf.VerifyHostname(h.ServerName) == nil {
				return c, nil
			}
		}
		return nil, errors.New("another name")
	}}.complete()
	if err != nil {
		ca.Fatal(err)
	}
	t, err := newTransport(cfg)
	if err != nil {
		ca.Fatal(err)
	}
	return t
}

// connect makes one TLS connection. In TLS 1.3 a client learns only when it reads that it was refused.
func connect(t *testing.T, server, client *tls.Config, name string) (atServer, atClient tls.ConnectionState, refused, failed error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			refused = err
			return
		}
		defer raw.Close()
		conn := tls.Server(raw, server)
		if refused = conn.HandshakeContext(t.Context()); refused == nil {
			atServer = conn.ConnectionState()
			_, refused = conn.Write([]byte{1})
		}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	client = client.Clone()
	client.ServerName = name
	conn := tls.Client(raw, client)
	if failed = conn.HandshakeContext(t.Context()); failed == nil {
		atClient = conn.ConnectionState()
		_, failed = conn.Read(make([]byte, 1))
	}
	raw.Close()
	<-done
	return atServer, atClient, refused, failed
}

// Both ends show certificates for their domains, and each finds the name it expects, and no other.
func TestTR3MutualTLS(t *testing.T) {
	ca := newTestCA(t)
	a, b := ca.provider("a.example"), ca.provider("b.example")
	at, from, refused, failed := connect(t, b.config(), a.peer(), "mimi.b.example")
	if refused != nil || failed != nil {
		t.Fatal(refused, failed)
	}
	if at.Version != tls.VersionTLS13 || at.NegotiatedProtocol != "h2" || from.PeerCertificates[0].VerifyHostname("mimi.b.example") != nil {
		t.Errorf("version %x, protocol %q", at.Version, at.NegotiatedProtocol)
	}
	leaf, err := peerCertificate(&at)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a.example": true, "A.example": true, "mimi.a.example": false, "b.example": false, "example": false,
		"": false, "127.0.0.1": false, "[127.0.0.1]": false, "a.example.evil.example": false} {
		if err := verifyPeerName(leaf, name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, _, _, failed := connect(t, b.config(), a.peer(), "mimi.c.example"); failed == nil {
		t.Error("b answers for c")
	}
	if _, err := peerCertificate(nil); err == nil {
		t.Error("a certificate without a connection")
	}
	if _, err := peerCertificate(&tls.ConnectionState{}); err == nil {
		t.Error("a certificate that nobody has shown")
	}
	// The common name and addresses are not names of a provider.
	other := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "a.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	for _, name := range []string{"a.example", "127.0.0.1"} {
		if verifyPeerName(other.Leaf, name) == nil {
			t.Errorf("a certificate without names authenticates %s", name)
		}
	}
}

func TestTR4WhichClientCertificates(t *testing.T) {
	ca := newTestCA(t)
	b := ca.provider("b.example")
	between := ca.issuer(x509.ExtKeyUsageServerAuth)
	alone := between.leaf("a.example")
	alone.Certificate = alone.Certificate[:1]
	old := ca.issue(&x509.Certificate{DNSNames: []string{"a.example"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	stranger := newTestCA(t)
	for name, c := range map[string]struct {
		shown *tls.Certificate
		good  bool
	}{
		"for servers":              {ca.leaf("a.example"), true},
		"for clients":              {ca.usable(x509.ExtKeyUsageClientAuth, "a.example"), true},
		"below another":            {between.leaf("a.example"), true},
		"below one that is hidden": {alone, false},
		"for mail":                 {ca.usable(x509.ExtKeyUsageEmailProtection, "a.example"), false},
		"expired":                  {old, false},
		"of a stranger":            {stranger.leaf("a.example"), false},
		"none":                     {new(tls.Certificate), false},
	} {
		client := &tls.Config{RootCAs: ca.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.shown, nil }}
		at, _, refused, failed := connect(t, b.config(), client, "mimi.b.example")
		if (refused == nil) != c.good || (failed == nil) != c.good {
			t.Errorf("%s: %v, %v", name, refused, failed)
		}
		if c.good && verifyPeerName(at.PeerCertificates[0], "a.example") != nil {
			t.Errorf("%s: another name", name)
		}
	}
}

// The validity of certificates is a matter of the provider's clock.
func TestTR4Clock(t *testing.T) {
	ca := newTestCA(t)
	a, b := ca.provider("a.example"), ca.provider("b.example")
	b.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, _, refused, _ := connect(t, b.config(), a.peer(), "mimi.b.example"); refused == nil {
		t.Error("a certificate that has expired here is taken")
	}
	b.cfg.Now = time.Now
	a.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, _, _, failed := connect(t, b.config(), a.peer(), "mimi.b.example"); failed == nil {
		t.Error("we connect to a server whose certificate has expired here")
	}
}

// Browsers are never asked for a certificate; providers always, at each connection, and in TLS 1.3 only.
func TestTR5BrowsersAreNotAsked(t *testing.T) {
	ca := newTestCA(t)
	a, b := ca.provider("a.example"), ca.provider("b.example")
	server := b.config()
	asked := 0
	sessions := tls.NewLRUClientSessionCache(10)
	client := func() *tls.Config {
		c := a.peer()
		show := c.GetClientCertificate
		c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) { asked++; return show(r) }
		c.ClientSessionCache = sessions
		return c
	}
	for range 2 {
		if at, _, refused, failed := connect(t, server, client(), "b.example"); refused != nil || failed != nil || asked != 0 || len(at.PeerCertificates) != 0 {
			t.Errorf("a browser: %v, %v, asked %d times", refused, failed, asked)
		}
	}
	for i := range 2 {
		at, _, refused, failed := connect(t, server, client(), "mimi.b.example")
		if refused != nil || failed != nil || asked != i+1 || at.DidResume || len(at.PeerCertificates) == 0 {
			t.Errorf("a provider: %v, %v, asked %d times, resumed %t", refused, failed, asked, at.DidResume)
		}
	}
	old := client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, refused, failed := connect(t, server, old, "mimi.b.example"); refused == nil || failed == nil {
		t.Errorf("a provider with TLS 1.2: %v, %v", refused, failed)
	}
	if _, _, refused, failed := connect(t, server, old, "b.example"); refused != nil || failed != nil {
		t.Errorf("a browser with TLS 1.2: %v, %v", refused, failed)
	}
	// A name in capitals is the same name.
	if _, _, refused, _ := connect(t, server, &tls.Config{RootCAs: ca.pool()}, "MIMI.B.example"); refused == nil {
		t.Error("capitals avoid showing a certificate")
	}
}

// What is for providers is reached over connections for the federation's name alone, whatever Host says.
func TestTR5HostAndServerNameAgree(t *testing.T) {
	ca := newTestCA(t)
	a, b := ca.provider("a.example"), ca.provider("b.example")
	s := &Server{cfg: b.cfg, transport: b}
	side := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, name) })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newHTTPServer(s.byServerName(side("web"), side("federation")), b.cfg.Log)
	go func() { _ = server.Serve(tls.NewListener(l, b.config())) }()
	defer server.Close()
	for _, c := range []struct{ name, host, want string }{
		{"b.example", "b.example", "web"},
		{"b.example", "B.example:8443", "web"},
		{"b.example", "mimi.b.example", ""},
		{"b.example", "other.example", ""},
		{"mimi.b.example", "mimi.b.example", "federation"},
		{"mimi.b.example", "mimi.b.example:443", "federation"},
		{"mimi.b.example", "b.example", "federation"}, // the target provider, as in the drafts' figures
		{"mimi.b.example", "other.example", ""},
		{"mimi.b.example", "a.example", ""},
	} {
		for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
			config := a.peer()
			config.ServerName, config.NextProtos = c.name, protocols
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: protocols[0] == "h2", DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
				}}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.name+"/mimi/v1/update/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			resp, err := client.Do(r)
			if err != nil {
				t.Errorf("%v: %v", c, err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := string(body); err != nil || c.want != "" && got != c.want || (resp.StatusCode == http.StatusMisdirectedRequest) != (c.want == "") {
				t.Errorf("%v over %v: %s %q, %v", c, protocols, resp.Status, got, err)
			}
		}
	}
}

// A certificate from files is for the domain. Without the federation's name the server runs, and says what does not.
func TestCertificateCoversOurNames(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "chat.example")
	log := &lines{}
	cfg, err := Config{Domain: "chat.example", TLSCert: cert, TLSKey: key, Log: slog.New(slog.NewTextHandler(log, nil))}.complete()
	if err != nil {
		t.Fatal(err)
	}
	transport, err := newTransport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "not for mimi.chat.example: other providers cannot connect") {
		t.Errorf("log: %s", log)
	}
	if all := transport.files.status(cfg); len(all) != 2 || !all[0].Problem.None() || all[1].Problem.Key != "tls.not_covered" || all[0].Expires.IsZero() {
		t.Errorf("%+v", all)
	}
	cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	transport.files.now = cfg.Now
	if all := transport.files.status(cfg); all[0].Problem.Key != "tls.files_expired" {
		t.Errorf("%+v", all)
	}
	cfg.Domain = "other.example"
	if _, err := newTransport(cfg); err == nil || !strings.Contains(err.Error(), "not for -domain other.example") {
		t.Errorf("a certificate for another domain: %v", err)
	}
	for _, lang := range web.Languages() {
		for _, k := range []string{"tls.not_covered", "tls.files_expired", "tls.late", "tls.waiting"} {
			if s := lang.T(k, "name", "x", "when", "y"); s == k || strings.ContainsAny(s, "{}") {
				t.Errorf("%s in %s: %q", k, lang, s)
			}
		}
	}
}

func TestFederationAddress(t *testing.T) {
	for _, c := range []struct{ federation, listen, host, base, own string }{
		{"", ":443", "mimi.a.example", "https://mimi.a.example", ""},
		{"", "[::]:8443", "mimi.a.example", "https://mimi.a.example:8443", ""},
		{"M.a.example", ":443", "m.a.example", "https://m.a.example", ""},
		{"m.a.example:443", ":443", "m.a.example", "https://m.a.example", ""},
		{"m.a.example:8448", "192.0.2.1:443", "m.a.example", "https://m.a.example:8448", "192.0.2.1:8448"},
		{":8448", ":443", "mimi.a.example", "https://mimi.a.example:8448", ":8448"},
		{":443", ":443", "mimi.a.example", "https://mimi.a.example", ""},
		{"192.0.2.2", "192.0.2.1:443", "mimi.a.example", "https://mimi.a.example", "192.0.2.2:443"},
		{"192.0.2.2:8448", "192.0.2.1:443", "mimi.a.example", "https://mimi.a.example:8448", "192.0.2.2:8448"},
		{"[2001:db8::1]:8448", ":443", "mimi.a.example", "https://mimi.a.example:8448", "[2001:db8::1]:8448"},
		{"2001:db8::1", ":443", "mimi.a.example", "https://mimi.a.example", "[2001:db8::1]:443"},
	} {
		cfg := Config{Domain: "a.example", Federation: c.federation, Listen: c.listen}
		a, err := cfg.federation()
		if err != nil || a.host != c.host || a.listen != c.own || cfg.federationBase() != c.base || cfg.federationHost() != c.host {
			t.Errorf("%q: %+v %s, %v", c.federation, a, cfg.federationBase(), err)
		}
	}
}

// Two servers that are tried out on one machine reach each other without an authority; a real one does not believe them.
func TestFederationInDev(t *testing.T) {
	dir := t.TempDir()
	at, _ := free(t)
	_, stop := start(t, Config{Dev: true, Domain: "b.localhost", Data: filepath.Join(dir, "b"), Listen: "127.0.0.1:0", Federation: at, PasswordMemory: 64})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", at)
	}
	tried, err := New(t.Context(), Config{Dev: true, Domain: "a.localhost", Data: filepath.Join(dir, "a"), Federation: "127.0.0.1:1", PasswordMemory: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer tried.Close(t.Context())
	for name, good := range map[string]bool{"mimi.b.localhost": true, "b.localhost": true, "mimi.c.localhost": false} {
		conn, err := tried.peerDialer(dial)(t.Context(), "tcp", name+":443")
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			cs := conn.(*tls.Conn).ConnectionState()
			if cs.NegotiatedProtocol != "h2" || cs.Version != tls.VersionTLS13 {
				t.Errorf("%s: %+v", name, cs)
			}
			conn.Close()
		}
	}
	ca := newTestCA(t)
	real := &Server{transport: ca.provider("a.example")}
	real.cfg = real.transport.cfg
	if _, err := real.peerDialer(dial)(t.Context(), "tcp", "mimi.b.localhost:443"); err == nil {
		t.Error("a real server believes a self-signed certificate")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
