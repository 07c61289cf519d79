//go:build browser

package browsertest

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"kith/server/servertest/acmetest"
)

// world is real servers with names, each on a loopback address of its own with the usual ports, and with certificates
// that they have fetched by themselves from a certificate authority.
type world struct {
	hosts map[string]string
	ca    *acmetest.CA
	roots string
}

// newWorld makes the names known to this machine and starts the authority. The names are of this process alone.
func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	for i := range names {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:443", i+2))
		if err != nil {
			mustHave(t, "port 443 of loopback addresses: "+err.Error())
		}
		l.Close()
	}
	w := &world{hosts: map[string]string{}}
	for i, name := range names {
		w.hosts[domainOf(name)] = fmt.Sprintf("127.0.0.%d", i+2)
	}
	w.ca = acmetest.Start(t, acmetest.Options{Hosts: w.hosts, TLSPort: 443, HTTPPort: 80})
	w.roots = w.ca.RootsFile(t)
	nameHosts(t, w.ca.HostsFile())
	return w
}

func domainOf(name string) string { return fmt.Sprintf("%s-%d.test", name, os.Getpid()) }

// mustHave skips a test of what this machine does not offer, unless CI insists.
func mustHave(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatal("E2E_REQUIRED=1, but this machine does not let a test use " + what)
	}
	t.Skip("this machine does not let a test use " + what)
}

// nameHosts adds lines to /etc/hosts until the test ends.
func nameHosts(t *testing.T, lines string) {
	t.Helper()
	before, err := os.ReadFile("/etc/hosts")
	if err == nil {
		err = os.WriteFile("/etc/hosts", append(append(before, '\n'), lines...), 0o644)
	}
	if err != nil {
		mustHave(t, "/etc/hosts: "+err.Error())
	}
	t.Cleanup(func() {
		now, err := os.ReadFile("/etc/hosts")
		if err == nil {
			err = os.WriteFile("/etc/hosts", []byte(strings.Replace(string(now), "\n"+lines, "", 1)), 0o644)
		}
		if err != nil {
			t.Errorf("names left in /etc/hosts: %v", err)
		}
	})
}

// provider starts a server as an operator does, with a domain and nothing else, and waits until its certificate is there.
func (w *world) provider(t *testing.T, name string) *provider {
	t.Helper()
	domain := domainOf(name)
	at := w.hosts[domain]
	p := &provider{t: t, dir: t.TempDir(), addr: at + ":80", log: filepath.Join(t.TempDir(), "log"), base: "https://" + domain,
		args: []string{"-domain", domain, "-listen", at + ":443", "-listen-http", at + ":80", "-acme-directory", w.ca.DirectoryURL},
		env:  []string{"SSL_CERT_FILE=" + w.roots}}
	p.run()
	return p
}

// browser starts a Chromium that finds the servers and believes the authority: those of its keys with which the servers'
// certificates are signed, once they have been verified here.
func (w *world) browser(t *testing.T) (ctx func(name string) *profile) {
	t.Helper()
	var rules, pins []string
	for domain, address := range w.hosts {
		rules = append(rules, "MAP "+domain+" "+address)
		conn, err := tls.Dial("tcp", address+":443", &tls.Config{ServerName: domain, RootCAs: w.ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		for _, cert := range conn.ConnectionState().PeerCertificates[1:] {
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			pins = append(pins, base64.StdEncoding.EncodeToString(sum[:]))
		}
		conn.Close()
	}
	browser := startBrowserWith(t, strings.Join(rules, ", "), chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(pins, ",")))
	return func(name string) *profile { return newProfile(t, browser, name) }
}

// TestTwoServers is the life of a room across two servers, as its people see it: Alice at one asks Bob at the other, he
// accepts, they write, a group, a second device, a server that goes away and comes back.
func TestTwoServers(t *testing.T) {
	w := newWorld(t, "north", "south")
	north, south := w.provider(t, "north"), w.provider(t, "south")
	person := w.browser(t)
	alice, bob := person("alice"), person("bob")
	a := setUp(t, north, alice, "alice", "Alice Example")
	b := setUp(t, south, bob, "bob", "Bob Example")

	bobsAddress := "bob@" + domainOf("south")
	a.click("new-chat")
	a.fill("new-chat-address", bobsAddress)
	a.click("new-chat-start")
	b.until("Alice's request", js("request-item", ""))
	b.screenshot("request")
	if text := b.text("request-list"); strings.Contains(text, "Alice Example") {
		t.Errorf("a stranger's own words are shown before anybody has accepted: %q", text)
	}
	a.screenshot("waiting")
	b.click("request-accept")
	direct := `[data-testid="room-item"]`
	a.until("the chat", `document.querySelector('`+direct+`')`)
	b.until("the chat", `document.querySelector('`+direct+`')`)
	a.click("room-item")
	b.click("room-item")
	a.send("Hello from the north")
	a.sentText("Hello from the north")
	b.seesText("Hello from the north")
	start := time.Now()
	b.send("Hello from the south")
	a.seesText("Hello from the south")
	t.Logf("an answer took %d ms from click to the page at the other server", time.Since(start).Milliseconds())
	a.screenshot("chat")

	newGroup(a, "Bridge", bobsAddress)
	a.send("A group across servers")
	b.openRoom("Bridge")
	b.seesText("A group across servers")
	b.screenshot("group")

	tablet := signInAgain(south, person("tablet"), "bob")
	tablet.openRoom("Bridge")
	tablet.send("From my tablet")
	a.openRoom("Bridge")
	a.seesText("From my tablet")
	b.seesText("From my tablet")

	north.kill()
	b.send("Can you hear me?")
	b.until("the notice that the other server is away", js("banner", "")+"?.checkVisibility()")
	b.screenshot("away")
	north.start()
	a.seesText("Can you hear me?")
	b.sentText("Can you hear me?")
	pictures(a)
}

// signInAgain opens a further browser for somebody who has an account.
func signInAgain(p *provider, who *profile, username string) *tab {
	b := who.open(p.url("/signin"))
	b.fill("signin-username", username)
	b.fill("signin-password", password)
	b.click("signin-submit")
	b.ready()
	return b
}
