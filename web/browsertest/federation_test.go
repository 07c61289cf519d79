//go:build browser

package browsertest

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"kith/server/servertest/acmetest"
)

// world is real servers with names, each on a loopback address of its own with the usual ports, and with certificates
// that they have fetched by themselves from a certificate authority.
type world struct{ *acmetest.Hosts }

func newWorld(t *testing.T, names ...string) world {
	t.Helper()
	return world{acmetest.Loopback(t, names...)}
}

// provider starts a server and waits until its certificates are there.
func (w world) provider(t *testing.T, name string) *provider {
	t.Helper()
	domain := w.Domain(name)
	p := &provider{t: t, addr: w.Address(domain) + ":80", base: "https://" + domain, program: w.Program(t, binary, name)}
	p.dir = p.program.Data
	p.run()
	return p
}

// browser starts a Chromium that finds the servers and believes the authority: those of its keys with which the servers'
// certificates are signed, once they have been verified here.
func (w world) browser(t *testing.T) (person func(name string) *profile) {
	t.Helper()
	var rules, pins []string
	for domain, address := range w.Domains() {
		rules = append(rules, "MAP "+domain+" "+address)
		conn, err := tls.Dial("tcp", address+":443", &tls.Config{ServerName: domain, RootCAs: w.Pool()})
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

	bobsAddress := "bob@" + w.Domain("south")
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
	b.fits("away")
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
