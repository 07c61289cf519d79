//go:build browser

package browsertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// of narrows the element "member" to a user, and to something in it.
func of(user, id string) string {
	more := `[data-user$="/u/` + user + `"]`
	if id != "" {
		more += ` [data-testid="` + id + `"]`
	}
	return more
}

// told waits for a line in the timeline.
func (b *tab) told(text string) {
	b.t.Helper()
	b.until("the notice "+text, `[...document.querySelectorAll('[data-testid="notice"]')].some(n => n.querySelector('.notice-text').textContent === `+quote(text)+`)`)
}

// about opens what there is to know about the open room.
func (b *tab) about() {
	b.t.Helper()
	b.click("room-info")
	b.until("the members", js("member", "")+"?.checkVisibility()")
}

func (b *tab) escape() { b.t.Helper(); b.do(chromedp.KeyEvent("\u001b")) }

// choose picks an entry of a select by its words, as a person does.
func (b *tab) choose(id, more, words string) {
	b.t.Helper()
	b.until(id, js(id, more)+"?.checkVisibility()")
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => { const e = %s; e.value = [...e.options].find(o => o.textContent === %s).value;
		e.dispatchEvent(new Event("change", {bubbles: true})); })()`, js(id, more), quote(words))))
}

func (b *tab) value(id string) string {
	b.t.Helper()
	b.until(id, js(id, "")+"?.value")
	v, err := eval[string](b, js(id, "")+".value")
	if err != nil {
		b.fail("%v", err)
	}
	return v
}

func signIn(b *tab, username string) {
	b.t.Helper()
	b.fill("signin-username", username)
	b.fill("signin-password", password)
	b.click("signin-submit")
	b.ready()
}

// TestRooms is what people do with a group besides writing: say what it is about, give roles, hand out a link, ban and
// unban, leave and delete.
func TestRooms(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob, carol := newProfile(t, browser, "alice"), newProfile(t, browser, "bob"), newProfile(t, browser, "carol")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	accept(p, invitation(p, alice), carol, "carol", "Carol Example").cancel()

	a.click("new-group")
	a.fill("new-group-name", "Choir")
	a.fill("new-group-members", "bob")
	a.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".kinds").open = true`))
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"kinds-desktop", 1280, 800, "light"}, {"kinds-phone", 390, 844, "dark"}} {
		a.look(look.width, look.height, look.scheme)
		a.screenshot(look.name)
	}
	a.look(1280, 800, "light")
	a.click("new-group-create")
	a.openRoom("Choir")
	b.openRoom("Choir")

	link := describeAndLink(a, b)
	joinByLink(t, p, browser, link, a, b)
	banAndUnban(a, b)
	leaveAndDelete(a, b)
}

// describeAndLink: Alice says what the group is about, makes Bob a moderator and makes a link.
func describeAndLink(a, b *tab) (link string) {
	a.about()
	a.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("info-edit").open = true`))
	a.paste("room-describe", "We sing on Tuesdays, and on other days too.")
	a.click("room-describe-save")
	a.until("the description", js("room-description", "")+`?.textContent.startsWith("We sing")`)
	a.choose("member", of("bob", "member-role"), "Moderator")
	b.told("Alice Example gave you the role “Moderator”")
	a.click("room-link-create")
	link = a.value("room-link")
	a.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("info-edit").open = false`))
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"info-desktop-light", 1280, 1000, "light"}, {"info-desktop-dark", 1280, 1000, "dark"}, {"info-phone-light", 390, 844, "light"}, {"info-phone-dark", 390, 844, "dark"}} {
		a.look(look.width, look.height, look.scheme)
		a.screenshot(look.name)
	}
	a.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("dialog-info").scrollTo(0, 9999)`))
	a.screenshot("info-phone-end")
	a.look(1280, 800, "light")
	a.escape()
	a.told("You made a join link")
	inGerman(a)
	return link
}

// inGerman turns the page to the other language and back: what is shown already changes, too.
func inGerman(a *tab) {
	a.click("settings")
	a.choose("language", "", "Deutsch")
	a.escape()
	a.told("Du hast einen Link zum Beitreten erzeugt")
	a.told("Du hast Bob Example die Rolle „Moderation“ gegeben")
	a.about()
	a.until("the role in German", js("member", of("bob", "member-role"))+"?.selectedOptions[0].textContent === 'Moderation'")
	a.look(390, 844, "light")
	a.screenshot("info-german")
	a.look(1280, 800, "light")
	a.escape()
	a.click("settings")
	a.choose("language", "", "English")
	a.escape()
	a.told("You made a join link")
}

// joinByLink: Carol opens the link in a browser where she has to sign in first.
func joinByLink(t *testing.T, p *provider, browser context.Context, link string, a, b *tab) {
	carol := newProfile(t, browser, "carol2")
	c := carol.open(link)
	c.until("the hint", `document.getElementById("join-hint")?.checkVisibility()`)
	c.screenshot("signin-with-link")
	signIn(c, "carol")
	c.until("the question", js("join-accept", "")+"?.checkVisibility()")
	if hash, _ := eval[string](c, "location.href"); strings.Contains(hash, "join=") {
		t.Error("the code stands in the address")
	}
	c.screenshot("join")
	c.click("join-accept")
	c.until("the room", js("composer", "")+"?.checkVisibility()")
	c.told("You joined")
	c.send("Here I am")
	c.sentText("Here I am")
	a.seesText("Here I am")
	b.seesText("Here I am")
	a.told("Carol Example joined")
	c.told("You joined")
	c.cancel()
}

// banAndUnban: Bob, the moderator, bans Carol and lets her be again. A revoked link says so.
func banAndUnban(a, b *tab) {
	b.about()
	b.clickMore("member", of("carol", "member-more"))
	b.screenshot("member-more")
	b.clickMore("member", of("carol", "member-ban"))
	b.screenshot("ban-question")
	confirmDialog(b)
	b.until("the ban", js("member", of("carol", "member-unban"))+"?.checkVisibility()")
	b.screenshot("banned")
	a.told("Bob Example banned Carol Example")
	b.clickMore("member", of("carol", "member-unban"))
	b.until("nobody banned", "!"+js("member", of("carol", "")))
	b.escape()
	a.told("Bob Example lifted the ban on Carol Example")
	a.about()
	a.click("room-link-revoke")
	a.until("no link", "!"+js("room-link", ""))
	a.escape()
	b.told("Alice Example revoked a join link")
}

// leaveAndDelete: Bob leaves, and what he had goes when he says so.
func leaveAndDelete(a, b *tab) {
	b.about()
	b.click("room-leave")
	confirmDialog(b)
	b.until("to be out", js("room-delete", "")+"?.checkVisibility() && !"+js("composer", "")+"?.checkVisibility()")
	b.told("You left")
	b.look(390, 844, "dark")
	b.screenshot("left-phone")
	b.look(1280, 800, "light")
	b.screenshot("left")
	a.told("Bob Example left")
	pictures(a)
	b.click("room-delete")
	confirmDialog(b)
	b.until("the room to be gone", "!"+js("room-item", `[data-name="Choir"]`))
}

// TestDevices removes a browser from another one: it is signed out and out of the chats.
func TestDevices(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	first, second := newProfile(t, browser, "first"), newProfile(t, browser, "second")
	a := setUp(t, p, first, "alice", "Alice Example")
	lost := second.open(p.url("/signin"))
	signIn(lost, "alice")
	a.click("settings")
	a.until("both browsers", `document.querySelectorAll('[data-testid="device-item"]').length === 2`)
	a.screenshot("devices")
	a.look(390, 844, "dark")
	a.screenshot("devices-phone")
	a.look(1280, 800, "light")
	a.clickMore("device-item", `[data-this="false"] [data-testid="device-remove"]`)
	confirmDialog(a)
	a.until("one browser", `document.querySelectorAll('[data-testid="device-item"]').length === 1`)
	lost.until("to be signed out", `location.pathname === "/signin"`)
	lost.screenshot("signed-out")
	signIn(lost, "alice")
}
