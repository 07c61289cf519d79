package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme/autocert"

	"kith/db"
	"kith/server/servertest/acmetest"
	"kith/web"
)

const acmeDomain = "chat.example"

// acmeSite is a provider that gets its certificates from an authority in this process.
type acmeSite struct {
	*testing.T
	ca    *acmetest.CA
	cfg   Config
	roots *x509.CertPool
}

// free finds an address that nobody listens on.
func free(t *testing.T) (address string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port
}

func newACMESite(t *testing.T, o acmetest.Options) *acmeSite {
	t.Helper()
	s := &acmeSite{T: t, cfg: Config{Domain: acmeDomain, Data: t.TempDir(), PasswordMemory: 64, acmeRetry: 100 * time.Millisecond}}
	var port, httpPort int
	s.cfg.Listen, port = free(t)
	s.cfg.ListenHTTP, httpPort = free(t)
	if o.TLSPort == 0 {
		o.TLSPort = port
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = httpPort
	}
	s.ca = acmetest.Start(t, o)
	s.roots = s.ca.Pool()
	s.cfg.ACMEDirectory, s.cfg.PeerRoots = s.ca.DirectoryURL, s.roots
	return s
}

func here() map[string]string { return map[string]string{acmeDomain: "127.0.0.1"} }

// handshake connects as a client that speaks TLS 1.3 with X25519 only: for such a client autocert alone would order a
// certificate with RSA.
func (s *acmeSite) handshake(name string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: s.roots, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}}
	conn, err := dialer.DialContext(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// secured demands certificates with ECDSA keys for both names.
func (s *acmeSite) secured() (serials [2]string) {
	s.Helper()
	for i, name := range []string{acmeDomain, "mimi." + acmeDomain} {
		var leaf *x509.Certificate
		until(s.T, name+" has a certificate", func() (err error) { leaf, err = s.handshake(name); return err })
		if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
			s.Errorf("%s: the key is a %T", name, leaf.PublicKey)
		}
		serials[i] = leaf.SerialNumber.String()
	}
	return serials
}

// until tries until it works.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// says waits until plain HTTP tells a browser this instead of sending it to HTTPS.
func (s *acmeSite) says(want string) {
	s.Helper()
	until(s.T, "plain HTTP says "+want, func() error {
		status, _, body, err := s.plainGet("/")
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			return fmt.Errorf("%d %q %w", status, body, err)
		}
		return nil
	})
}

func (s *acmeSite) plainGet(path string) (status int, location, body string, err error) {
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.cfg.ListenHTTP+path, nil)
	if err != nil {
		return 0, "", "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Location"), string(text), err
}

func TestAutomaticTLS(t *testing.T) {
	t.Parallel()
	s := newACMESite(t, acmetest.Options{Hosts: here()})
	_, stop := start(t, s.cfg)
	first := s.secured()
	if n := s.ca.Orders(); n != 2 {
		t.Errorf("%d orders for two names", n)
	}
	for _, name := range []string{"", "other.example", "www." + acmeDomain} {
		if _, err := s.handshake(name); err == nil {
			t.Errorf("a certificate is shown for %q", name)
		}
	}
	if status, location, _, err := s.plainGet("/x?y"); status != http.StatusMovedPermanently || !strings.HasPrefix(location, "https://"+acmeDomain+":") || !strings.HasSuffix(location, "/x?y") {
		t.Errorf("plain HTTP: %d %q %v", status, location, err)
	}
	if status, _, _, err := s.plainGet(challengePrefix + "x"); status != http.StatusNotFound {
		t.Errorf("a challenge that there is not: %d %v", status, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	_, stop = start(t, s.cfg)
	if again := s.secured(); again != first || s.ca.Orders() != 2 {
		t.Errorf("after a restart: %v, was %v, %d orders", again, first, s.ca.Orders())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAutomaticTLSRenews(t *testing.T) {
	t.Parallel()
	s := newACMESite(t, acmetest.Options{Hosts: here(), Lifetime: 15 * time.Second})
	_, stop := start(t, s.cfg)
	first := s.secured()
	var count atomic.Int64
	renewed := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	done, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	var wg sync.WaitGroup
	for i, name := range []string{acmeDomain, "mimi." + acmeDomain} {
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond) // leaves the authority some of the machine
			defer tick.Stop()
			for seen := false; done.Err() == nil; count.Add(1) {
				<-tick.C
				leaf, err := s.handshake(name)
				if err != nil {
					t.Errorf("handshake for %s: %v", name, err)
					end()
				} else if !seen && leaf.SerialNumber.String() != first[i] {
					seen = true
					close(renewed[i])
				}
			}
		})
	}
	for _, c := range renewed {
		select {
		case <-c:
		case <-done.Done():
			t.Error("a certificate was not renewed")
		}
	}
	end()
	wg.Wait()
	t.Logf("%d handshakes", count.Load())
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAutomaticTLSWithoutAuthority(t *testing.T) {
	t.Parallel()
	s := newACMESite(t, acmetest.Options{Hosts: here()})
	s.ca.Down()
	_, stop := start(t, s.cfg)
	s.says("cannot be reached from this machine")
	if _, err := s.handshake(acmeDomain); err == nil {
		t.Error("a handshake without a certificate")
	}
	if status, _, _, err := s.plainGet("/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %v", status, err)
	}
	s.ca.Up()
	s.secured()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// autocert says nothing when it cannot renew. We do, when a fifth of the time for it has passed.
func TestAutomaticTLSLate(t *testing.T) {
	t.Parallel()
	s := newACMESite(t, acmetest.Options{Hosts: here()})
	clock := &fakeClock{t: time.Now()}
	s.cfg.Now = clock.now
	cfg, err := s.cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), cfg.Data, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	a := newAutoTLS(cfg, acmeDomain)
	if all := a.status(); len(all) != 1 || all[0].Problem.Key != "tls.waiting" || a.missing().None() {
		t.Errorf("before: %+v", all)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	server := newHTTPServer(http.NotFoundHandler(), cfg.Log)
	defer server.Close()
	go func() { _ = server.Serve(tls.NewListener(l, (&transport{cfg: cfg, acme: a, show: a.get}).config())) }()
	a.start(store)
	defer a.close()
	if _, err := s.handshake(acmeDomain); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		days time.Duration // more than before
		want string
	}{{0, ""}, {65, ""}, {2, "tls.late"}, {22, "tls.late"}} {
		clock.add(c.days * 24 * time.Hour)
		if all := a.status(); all[0].Problem.Key != c.want || all[0].Expires.IsZero() || !a.missing().None() {
			t.Errorf("%d days later: %+v", c.days, all)
		}
	}
	a.names[0].heard.note(&acmeProblem{key: problemDNS})
	if all := a.status(); all[0].Problem.Key != problemDNS {
		t.Errorf("with a reason: %+v", all)
	}
}

// What keeps the authority from finding us is said in one sentence, and noticed by itself when it is gone.
func TestAutomaticTLSWrongDNS(t *testing.T) {
	t.Parallel()
	s := newACMESite(t, acmetest.Options{})
	log := &lines{}
	s.cfg.Log, s.cfg.ListenHTTP = slog.New(slog.NewTextHandler(log, nil)), ""
	logged := func(sentences ...string) {
		t.Helper()
		until(t, "the log says why", func() error {
			for _, sentence := range sentences {
				if !strings.Contains(log.String(), sentence) {
					return fmt.Errorf("not %q, but %s", sentence, log)
				}
			}
			return nil
		})
	}
	_, stop := start(t, s.cfg)
	logged("The name chat.example does not lead anywhere.", "The name mimi.chat.example does not lead anywhere.")
	s.ca.Point(acmeDomain, "127.0.0.99")
	logged("cannot connect to chat.example (port 443)")
	s.ca.Point(acmeDomain, "127.0.0.1")
	s.secured()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("a key is in the log")
	}
}

func TestAutomaticTLSOverHTTPAlone(t *testing.T) {
	t.Parallel()
	_, nobody := free(t)
	s := newACMESite(t, acmetest.Options{Hosts: here(), TLSPort: nobody})
	_, stop := start(t, s.cfg)
	s.secured()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// lines is a log that several goroutines write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestACMECache(t *testing.T) {
	store, err := db.Open(t.Context(), t.TempDir(), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, other := acmeCache{store, Config{ACMEDirectory: "https://one.example"}}, acmeCache{store, Config{ACMEDirectory: "https://other.example"}}
	if err := errors.Join(one.Put(t.Context(), "a.example", []byte("one")), other.Put(t.Context(), "b.example", []byte("other"))); err != nil {
		t.Fatal(err)
	}
	if value, err := one.Get(t.Context(), "a.example"); err != nil || string(value) != "one" {
		t.Errorf("%q, %v", value, err)
	}
	if _, err := other.Get(t.Context(), "a.example"); !errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("another authority's certificate: %v", err)
	}
	if err := one.Delete(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Get(t.Context(), "a.example"); !errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("deleted: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Get(t.Context(), "a.example"); err == nil || errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("a database that is closed has no certificate: %v", err) // it would be ordered again
	}
}

func TestACMEProblems(t *testing.T) {
	const ns = "urn:ietf:params:acme:error:"
	answer := func(status int, body, wait string) *acmeProblem {
		resp := &http.Response{StatusCode: status, Status: "status", Header: http.Header{}}
		if wait != "" {
			resp.Header.Set("Retry-After", wait)
		}
		return heard(resp, []byte(body), false)
	}
	challenge := func(kind, detail string) *acmeProblem {
		return answer(200, `{"status":"invalid","challenges":[{"type":"x"},{"error":{"type":"`+ns+kind+`","detail":"`+detail+`"}}]}`, "")
	}
	refusal := func(kind string) *acmeProblem { return answer(403, `{"type":"`+ns+kind+`"}`, "") }
	for name, c := range map[string]struct {
		got  *acmeProblem
		want string
	}{
		"nxdomain":          {challenge("dns", "NXDOMAIN looking up A"), problemDNS},
		"does not resolve":  {challenge("malformed", "Could not resolve URL"), problemDNS},
		"no way to us":      {challenge("connection", "Timeout during connect"), problemConnection},
		"nobody listens":    {challenge("unauthorized", "Failed to connect to x"), problemConnection},
		"another server":    {challenge("unauthorized", "Incorrect validation certificate"), problemElsewhere},
		"another protocol":  {challenge("tls", "remote error"), problemElsewhere},
		"caa":               {challenge("caa", "CAA record for x prevents issuance; resolved"), problemCAA},
		"something new":     {challenge("tooEarly", ""), problemRefused},
		"limited":           {refusal("rateLimited"), problemLimited},
		"limited in haste":  {answer(429, "slow down", "60"), problemLimited},
		"forbidden name":    {refusal("rejectedIdentifier"), problemRejected},
		"contact":           {refusal("invalidContact"), problemContact},
		"deactivated":       {refusal("unauthorized"), problemAccount},
		"by hand":           {refusal("externalAccountRequired"), problemAccount},
		"broken":            {answer(502, "<html>", ""), problemUnreachable},
		"broken by its own": {answer(500, `{"type":"`+ns+`serverInternal"}`, ""), problemUnreachable},
		"no directory":      {heard(&http.Response{StatusCode: 404}, []byte("<html>"), true), problemNotACME},
		"another directory": {heard(&http.Response{StatusCode: 200}, []byte("{}"), true), problemNotACME},
		"untrusted":         {unreachable(fmt.Errorf("x: %w", x509.UnknownAuthorityError{})), problemUntrusted},
		"no network":        {unreachable(errors.New("dial")), problemUnreachable},
		"our clock":         {(&witness{}).problem(errors.New("acme/autocert: certificate is not valid yet")), problemClock},
		"full disk":         {(&witness{}).problem(db.ErrDiskFull), problemStore},
		"unknown":           {(&witness{}).problem(errors.New("x")), problemRefused},
	} {
		if c.got == nil || c.got.key != c.want {
			t.Errorf("%s: %+v, want %s", name, c.got, c.want)
			continue
		}
		for _, lang := range web.Languages() {
			sentence := lang.Text(c.got.text("chat.example", Config{ACMEDirectory: "https://ca.example/dir"}, time.Time{}))
			if sentence == c.want || strings.ContainsAny(sentence, "{}") {
				t.Errorf("%s in %s: %q", name, lang, sentence)
			}
		}
	}
	for name, p := range map[string]*acmeProblem{
		"nonce":   answer(400, `{"type":"`+ns+`badNonce"}`, ""),
		"valid":   answer(200, `{"status":"valid","challenges":[{}]}`, ""),
		"pending": answer(200, `{"status":"pending"}`, ""),
		"chain":   answer(200, "-----BEGIN", ""),
	} {
		if p != nil {
			t.Errorf("%s is no problem: %+v", name, p)
		}
	}
}

// A name that the authority cannot reach is not tried more often than the largest authority allows.
func TestACMERetries(t *testing.T) {
	total := func(p *acmeProblem, n int) (sum time.Duration) {
		for i := range n {
			sum += p.retry(i)
		}
		return sum
	}
	if d := total(&acmeProblem{key: problemDNS}, 4); d < 50*time.Minute {
		t.Errorf("five attempts within %v", d)
	}
	if d := (&acmeProblem{key: problemUnreachable}).retry(0); d > 10*time.Second {
		t.Errorf("the network is looked at after %v", d)
	}
	if d := (&acmeProblem{key: problemUnreachable}).retry(1000); d != 5*time.Minute {
		t.Errorf("in the end after %v", d)
	}
	if d := (&acmeProblem{key: problemClock}).retry(0); d < 4*time.Hour {
		t.Errorf("certificates that are of no use are ordered every %v", d)
	}
	for _, c := range []struct{ said, want time.Duration }{{0, 15 * time.Minute}, {time.Hour, time.Hour}, {100 * time.Hour, 6 * time.Hour}} {
		if d := (&acmeProblem{key: problemLimited, wait: c.said}).retry(0); d != c.want {
			t.Errorf("limited for %v: after %v", c.said, d)
		}
	}
}
