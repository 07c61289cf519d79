//go:build browser

package browsertest

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// rulesOf opens the rules in the dialog about a room.
func (b *tab) rulesOf() {
	b.t.Helper()
	b.about()
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("info-rules").open = true`))
	b.until("the rules", js("rule-write", "")+"?.checkVisibility()")
}

// TestRules is an admin who changes how a group works and closes it in the end, and a member who sees that.
func TestRules(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob := newProfile(t, browser, "alice"), newProfile(t, browser, "bob")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	a.click("new-group")
	a.fill("new-group-name", "Choir")
	a.fill("new-group-members", "bob")
	a.click("new-group-create")
	a.openRoom("Choir")
	b.openRoom("Choir")

	a.rulesOf()
	a.click("rule-write")
	b.told("Alice Example changed the rules of the group")
	b.until("no composer", "!"+js("composer", "")+"?.checkVisibility()")
	b.screenshot("rules-listen")
	b.rulesOf()
	b.until("a rule that Bob cannot change", js("rule-write", "")+".disabled && !"+js("rule-write", "")+".checked && !"+js("room-close", "")+"?.checkVisibility()")
	b.escape()
	a.until("the switch to be free", "!"+js("rule-write", "")+".disabled")
	a.click("rule-write")
	b.until("the composer", js("composer", "")+"?.checkVisibility()")
	a.choose("rule-expire", "", "After a week")
	a.until("the time", js("rule-expire", "")+".value === '604800' && !"+js("rule-expire", "")+".disabled")
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"rules-desktop", 1280, 1000, "light"}, {"rules-phone", 390, 844, "dark"}} {
		a.look(look.width, look.height, look.scheme)
		a.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("info-rules").scrollIntoView()`))
		a.screenshot(look.name)
	}
	a.look(1280, 800, "light")
	a.escape()
	a.click("settings")
	a.choose("language", "", "Deutsch")
	a.escape()
	a.told("Du hast die Regeln der Gruppe geändert")
	a.rulesOf()
	a.look(390, 844, "light")
	a.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("info-rules").scrollIntoView()`))
	a.screenshot("rules-german")
	a.look(1280, 800, "light")
	a.click("room-close")
	a.screenshot("close-question")
	confirmDialog(a)
	a.told("Du hast die Gruppe für alle geschlossen")
	b.told("The group was closed for everybody")
	b.until("to be out", js("room-delete", "")+"?.checkVisibility() && !"+js("composer", "")+"?.checkVisibility()")
	b.screenshot("closed")
}
