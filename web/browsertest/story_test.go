//go:build browser

package browsertest

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const password = "correct horse battery staple"

// setUp makes the first administrator through the setup link and leaves the chat open.
func setUp(t *testing.T, p *provider, who *profile, username, displayName string) *tab {
	t.Helper()
	b := who.open(p.setupLink())
	b.screenshot("setup")
	b.fill("setup-username", username)
	b.fill("setup-display-name", displayName)
	b.fill("setup-password", password)
	b.click("setup-submit")
	b.ready()
	return b
}

// invitation makes an invitation link on the admin page.
func invitation(p *provider, admin *profile) string {
	b := admin.open(p.url("/admin"))
	defer b.cancel()
	b.click("admin-invite-create")
	b.until("the link", js("admin-invite-link", ""))
	b.screenshot("admin")
	link, err := eval[string](b, `(e => e.value || e.href || e.textContent)(`+js("admin-invite-link", "")+`)`)
	if err != nil {
		b.fail("%v", err)
	}
	return p.url(link[strings.Index(link, "/invite/"):])
}

func accept(p *provider, link string, who *profile, username, displayName string) *tab {
	b := who.open(link)
	b.screenshot("invite")
	b.fill("invite-username", username)
	b.fill("invite-display-name", displayName)
	b.fill("invite-password", password)
	b.click("invite-submit")
	b.ready()
	return b
}

func newChat(b *tab, address string) {
	b.t.Helper()
	b.click("new-chat")
	b.fill("new-chat-address", address)
	b.click("new-chat-start")
	b.until("the composer", js("composer", "")+"?.checkVisibility()")
}

func newGroup(b *tab, name string, members ...string) {
	b.t.Helper()
	b.click("new-group")
	b.fill("new-group-name", name)
	b.fill("new-group-members", strings.Join(members, ", "))
	b.click("new-group-create")
	b.until("the group", js("room-item", "[data-name="+quote(name)+"]"))
	b.openRoom(name)
}

// TestStory is the main job from nothing: setup link, invitation, one-to-one chat, group of three, removal.
func TestStory(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob, carol := newProfile(t, browser, "alice"), newProfile(t, browser, "bob"), newProfile(t, browser, "carol")

	a := setUp(t, p, alice, "alice", "Alice Example")
	a.screenshot("empty")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	c := accept(p, invitation(p, alice), carol, "carol", "Carol 🌻 Example")

	newChat(a, "bob")
	a.send("Hello Bob")
	a.sentText("Hello Bob")
	b.openRoom("Alice Example")
	b.seesText("Hello Bob")
	start := time.Now()
	b.send("Hello Alice, nice to see you")
	a.seesText("Hello Alice, nice to see you")
	t.Logf("an answer took %d ms from click to the other page", time.Since(start).Milliseconds())

	newGroup(a, "Picnic", "bob", "carol")
	a.send("Who brings the cake?")
	b.openRoom("Picnic")
	c.openRoom("Picnic")
	b.seesText("Who brings the cake?")
	c.seesText("Who brings the cake?")
	c.send("I do 🎂")
	a.seesText("I do 🎂")
	b.seesText("I do 🎂")
	pictures(a)

	removeMember(a, "Carol")
	a.send("A surprise for Carol")
	b.seesText("A surprise for Carol")
	c.until("the notice of the removal", `[...document.querySelectorAll('[data-testid="notice"]')].length > 0 && !`+js("composer", "")+`?.checkVisibility()`)
	time.Sleep(time.Second) // long enough for a message that must not come
	for _, m := range c.messages() {
		if strings.Contains(m.Text, "surprise") {
			t.Fatal("Carol reads on after her removal")
		}
	}
	c.screenshot("removed")

	a.reload()
	a.ready()
	a.openRoom("Picnic")
	a.seesText("I do 🎂")
	a.seesText("A surprise for Carol")
	a.openRoom("Bob Example")
	a.seesText("Hello Alice, nice to see you")
}

func removeMember(b *tab, name string) {
	b.t.Helper()
	b.click("room-info")
	b.until("the member list", js("member", ""))
	b.screenshot("room-info")
	remove := `[...document.querySelectorAll('[data-testid="member"]')].find(m => m.textContent.includes(` + quote(name) + `))`
	b.until("the remove button", remove+`?.querySelector('[data-testid="member-remove"]')`)
	b.do(chromedp.Evaluate[chromedp.Void](remove + `.querySelector('[data-testid="member-remove"]').click()`))
	confirmDialog(b)
	b.until("the member to be gone", "!("+remove+")")
	b.do(chromedp.KeyEvent("\u001b"))
}

// confirmDialog presses the confirming button of an open confirmation.
func confirmDialog(b *tab) {
	b.t.Helper()
	b.until("the confirmation", js("confirm", "")+"?.checkVisibility()")
	b.click("confirm")
}

// pictures takes the four looks of the chat.
func pictures(b *tab) {
	b.t.Helper()
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"desktop-light", 1280, 800, "light"}, {"desktop-dark", 1280, 800, "dark"}, {"phone-light", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"}} {
		b.look(look.width, look.height, look.scheme)
		b.screenshot(look.name)
	}
	b.look(1280, 800, "light")
}
