package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/db"
)

// start runs a server and returns the first line it prints.
func start(t *testing.T, cfg Config) (line string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, cfg, in)
		in.CloseWithError(errors.Join(err, io.EOF))
		done <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("server did not start: %v", err)
	}
	return line, func() error { cancel(); return <-done }
}

func TestRunServesAndStops(t *testing.T) {
	dir := t.TempDir()
	line, stop := start(t, Config{Dev: true, Data: dir, Listen: "127.0.0.1:0", PasswordMemory: 64})
	link := strings.TrimSpace(line[strings.Index(line, "http://"):])
	base := link[:strings.Index(link, "/setup/")]
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, strings.TrimPrefix(link, base): 200} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	// The command line works beside the server and knows its address.
	var second strings.Builder
	if err := PrintSetupLink(t.Context(), Config{Data: dir}, &second); err != nil || !strings.HasPrefix(second.String(), base+"/setup/") || strings.Count(second.String(), "\n") != 1 {
		t.Errorf("setup-link: %q, %v", &second, err)
	}
	if err := Run(t.Context(), Config{Dev: true, Data: dir, Listen: "127.0.0.1:0"}, io.Discard); !errors.Is(err, db.ErrInUse) {
		t.Errorf("a second server on the directory: %v", err)
	}
	begin := time.Now()
	if err := stop(); err != nil || time.Since(begin) > 9*time.Second {
		t.Errorf("stop: %v after %v", err, time.Since(begin))
	}
	if _, err := http.Get(base + "/healthz"); err == nil {
		t.Error("it answers after stopping")
	}
}

func TestConfigSentences(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no domain":         {Config{}, "-domain is missing"},
		"no name":           {Config{Domain: "a b"}, "is not a domain name"},
		"half of tls":       {Config{Domain: "a.example", TLSCert: "x"}, "belong together"},
		"no name for tls":   {Config{Domain: "localhost"}, "automatic TLS needs a domain name"},
		"authority":         {Config{Domain: "a.example", ACMEDirectory: "http://ca.example/"}, "begins with https://"},
		"contact":           {Config{Domain: "a.example", ACMEEmail: "nobody"}, "not an e-mail address"},
		"federation":        {Config{Domain: "a.example", Federation: "a.example:8443"}, "not the domain itself"},
		"federation port":   {Config{Domain: "a.example", Federation: "m.a.example:x"}, "no port number"},
		"federation name":   {Config{Domain: "a.example", Federation: "m a"}, "HOST or HOST:PORT"},
		"federation in dev": {Config{Dev: true, Federation: ":8443"}, "this machine only"},
		"dev everybody":     {Config{Dev: true, Listen: ":8080"}, "this machine only"},
		"dev outside":       {Config{Dev: true, Listen: "192.0.2.1:80"}, "this machine only"},
		"dev name":          {Config{Dev: true, Listen: "kith.example:80"}, "this machine only"},
		"dev no port":       {Config{Dev: true, Listen: "127.0.0.1"}, "is not an address"},
		"dev with tls":      {Config{Dev: true, TLSCert: "x", TLSKey: "y"}, "plain HTTP"},
	} {
		err := Run(t.Context(), c.cfg, io.Discard)
		var u UsageError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writeCertificate makes a self-signed certificate and returns its files.
func writeCertificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLSFromFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "chat.example")
	_, stop := start(t, Config{Domain: "chat.example", Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", ListenHTTP: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
	var link strings.Builder
	store, err := db.Open(t.Context(), filepath.Join(dir, "data"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := PrintSetupLink(t.Context(), Config{Data: filepath.Join(dir, "data")}, &link); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(link.String(), "https://chat.example:") {
		t.Fatalf("link %q", &link)
	}
	addr := strings.TrimPrefix(link.String(), "https://chat.example:")
	addr = "127.0.0.1:" + addr[:strings.Index(addr, "/")]
	pool := x509.NewCertPool()
	text, _ := os.ReadFile(cert)
	pool.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}}}
	resp, err := client.Get(strings.TrimSpace(link.String()))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Strict-Transport-Security") == "" || resp.ProtoMajor != 2 {
		t.Errorf("%s over HTTP/%d, %v", resp.Status, resp.ProtoMajor, resp.Header)
	}
	client.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRenewedCertificateIsPickedUp(t *testing.T) {
	dir := t.TempDir()
	clock := &fakeClock{t: time.Now()}
	cert, key := writeCertificate(t, dir, "a.example")
	cfg, err := Config{Domain: "a.example", TLSCert: cert, TLSKey: key, Now: clock.now}.complete()
	if err != nil {
		t.Fatal(err)
	}
	transport, err := newTransport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		c, err := transport.show(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := get()
	writeCertificate(t, dir, "a.example")
	later := time.Now().Add(time.Minute)
	for _, f := range []string{cert, key} {
		if err := os.Chtimes(f, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if get() != first {
		t.Error("the files are read at every handshake")
	}
	clock.add(time.Minute)
	second := get()
	if second == first {
		t.Error("the new certificate is not used")
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(key, later.Add(time.Minute), later.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	clock.add(time.Minute)
	if get() != second {
		t.Error("a broken pair replaced one that works")
	}
}

func TestUserCommands(t *testing.T) {
	s := newSite(t)
	run := func(word string, args ...string) (string, error) {
		var out strings.Builder
		err := UserCommand(t.Context(), Config{Data: s.cfg.Data, Now: s.clock.now}, &out, word, args, "", false)
		return out.String(), err
	}
	s.withAdmin()
	link, err := run("add", "Bob")
	if err != nil || !strings.Contains(link, "/reset/") {
		t.Fatalf("add: %q, %v", link, err)
	}
	if _, err := run("add", "bob"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second bob: %v", err)
	}
	bob := s.visitor()
	if p := bob.post(strings.TrimSpace(link[strings.Index(link, "/reset/"):]), "password", goodPassword); p.StatusCode != http.StatusSeeOther || !bob.signedIn() {
		t.Errorf("bob chooses a password: %s", p.Status)
	}
	if out, err := run("list"); err != nil || out != "alice\tadmin\tAlice\nbob\tmember\tbob\n" {
		t.Errorf("list: %q, %v", out, err)
	}
	old, err := run("reset-link", "bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run("disable", "bob"); err != nil || bob.signedIn() {
		t.Errorf("disable: %v", err)
	}
	if p := bob.post(strings.TrimSpace(old[strings.Index(old, "/reset/"):]), "password", goodPassword); p.StatusCode != http.StatusGone {
		t.Errorf("a link from before enables the account again: %s", p.Status)
	}
	if p := bob.post("/signin", "username", "bob", "password", goodPassword); !strings.Contains(p.Text(), "disabled") {
		t.Errorf("sign-in when disabled: %s", p.Status)
	}
	if _, err := run("disable", "alice"); err == nil || !strings.Contains(err.Error(), "last administrator") {
		t.Errorf("last administrator: %v", err)
	}
	for _, args := range [][]string{{"disable", "nobody"}, {"reset-link", "nobody"}, {"reset-link"}, {"list", "x"}, {"add", "b b"}, {"frobnicate", "x"}} {
		if _, err := run(args[0], args[1:]...); err == nil {
			t.Errorf("user %v succeeded", args)
		}
	}
	if err := PrintSetupLink(t.Context(), Config{Data: s.cfg.Data}, io.Discard); err == nil || !strings.Contains(err.Error(), "set up already") {
		t.Errorf("setup-link on a server with accounts: %v", err)
	}
	if err := UserCommand(t.Context(), Config{Data: filepath.Join(t.TempDir(), "mistyped")}, io.Discard, "list", nil, "", false); err == nil {
		t.Error("user list made a database in a mistyped directory")
	}
}
