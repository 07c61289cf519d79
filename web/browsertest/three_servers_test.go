//go:build browser

package browsertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestThreeServers is the example that the protocol's draft is about, in three people's browsers at three servers: Alice
// makes a room, adds Bob, Bob adds Cathy, everybody writes, Dora comes by a link that she got elsewhere, Bob leaves, and
// Cathy gets a new device. In the middle of it the room's server and one that follows it are killed.
//
// draft-ietf-mimi-protocol-06, Section 3
func TestThreeServers(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	pa, pb, pc := w.provider(t, "a"), w.provider(t, "b"), w.provider(t, "c")
	person := w.browser(t)
	cathy := person("cathy")
	a := setUp(t, pa, person("alice"), "alice", "Alice Example")
	b := setUp(t, pb, person("bob"), "bob", "Bob Example")
	c := setUp(t, pc, cathy, "cathy", "Cathy Example")
	d := accept(pc, invitation(pc, cathy), person("dora"), "dora", "Dora Example")

	newGroup(a, "Clubhouse")
	addStranger(a, b, "bob@"+w.Domain("b"), "Alice Example added you")
	addStranger(b, c, "cathy@"+w.Domain("c"), "Bob Example added you")
	a.told("Bob Example added Cathy Example")
	c.send("Hello everyone")
	for _, tab := range []*tab{a, b, c} {
		tab.seesText("Hello everyone")
		tab.until("Cathy's name", `[...document.querySelectorAll('[data-testid="notice"]')].some(n => n.textContent.includes("Cathy Example") || n.textContent.includes("you"))`)
	}
	b.screenshot("three")
	joinElsewhere(t, a, d, person("visitor"))

	everybody := []*tab{a, b, c, d}
	a.send("Everybody is here")
	for _, tab := range everybody {
		tab.seesText("Everybody is here")
	}
	n := writeAndKill("the room's server", pa, everybody)
	agree(t, n, everybody...)
	n += writeAndKill("a server that follows", pb, everybody)
	agree(t, n, everybody...)
	for _, tab := range everybody {
		tab.reload()
		tab.ready()
		tab.openRoom("Clubhouse")
	}
	agree(t, n, everybody...)

	b.about()
	b.click("room-leave")
	confirmDialog(b)
	b.told("You left")
	for _, tab := range []*tab{a, c, d} {
		tab.told("Bob Example left")
	}
	tablet := signInAgain(pc, person("tablet"), "cathy")
	tablet.openRoom("Clubhouse")
	tablet.send("From my tablet")
	for _, tab := range []*tab{a, c, d} {
		tab.seesText("From my tablet")
		// Also after the reload above: who is at the end stays there.
		tab.until("the newest message in view", `(s => s.scrollHeight - s.scrollTop - s.clientHeight < 8)(`+js("timeline", "")+`)`)
	}
	if texts := b.texts(); slices.Contains(texts, "From my tablet") {
		t.Error("Bob reads on after he has left")
	}
	b.screenshot("three-left")
	a.about()
	a.fits("three-info")
}

// addStranger adds somebody of another server to the open room of a: they are asked first, and open the room then.
func addStranger(a, b *tab, address, notice string) {
	a.t.Helper()
	a.about()
	a.fill("member-add-address", address)
	a.click("member-add")
	b.until("the request", js("request-item", ""))
	b.click("request-accept")
	b.openRoom("Clubhouse")
	b.told(notice)
	a.escape()
}

// joinElsewhere: Dora opens a link where she has no account, is told what to do with it, and does that at her own server.
func joinElsewhere(t *testing.T, a, d *tab, visitor *profile) {
	a.about()
	a.click("room-link-create")
	link := a.value("room-link")
	a.escape()
	v := visitor.open(link)
	v.until("what to do with it", `document.getElementById("join-hint")?.checkVisibility()`)
	v.screenshot("elsewhere")
	v.cancel()
	d.click("new-chat")
	d.paste("new-chat-address", link)
	d.click("new-chat-start")
	d.until("the room", js("composer", "")+"?.checkVisibility()")
	d.told("You joined")
	a.told("Dora Example joined")
	d.screenshot("joined")
}

// writeAndKill kills a server while everybody writes, and starts it again. It returns how many messages were written.
func writeAndKill(what string, p *provider, tabs []*tab) (n int) {
	for round := range 4 {
		for _, b := range tabs {
			b.send(fmt.Sprintf("%s %d of %s", b.name, round, what))
			n++
		}
		switch round {
		case 1:
			p.kill()
		case 2:
			p.start()
		}
	}
	return n
}

// texts are the messages on the page, in order.
func (b *tab) texts() (out []string) {
	b.t.Helper()
	for _, m := range b.messages() {
		out = append(out, m.Text)
	}
	return out
}

// agree waits until n messages since everybody was there have reached all pages, and demands that each is there once and
// that all have the same order.
func agree(t *testing.T, n int, tabs ...*tab) {
	t.Helper()
	var first []string
	for i, b := range tabs {
		var texts []string
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			texts = b.texts()
			texts = texts[slices.Index(texts, "Everybody is here")+1:]
			b.until("nothing to be on its way", `!document.querySelector('[data-testid="message"][data-state="sending"]')`)
			if len(texts) >= n || time.Now().After(end) {
				break
			}
		}
		once := slices.Compact(slices.Sorted(slices.Values(texts)))
		if len(texts) != n || len(once) != n {
			t.Errorf("%s sees %d messages, %d different ones, want %d:\n%s", b.name, len(texts), len(once), n, strings.Join(texts, "\n"))
		}
		if i == 0 {
			first = texts
		} else if !slices.Equal(texts, first) {
			t.Errorf("%s and %s differ:\n%q\n%q", tabs[0].name, b.name, first, texts)
		}
	}
}
