//go:build browser

package browsertest

import (
	"testing"
)

// TestPeersInTheBrowser: the administrator refuses a provider on the page of other providers, at the width of a phone and
// in the dark, and reads that it is so.
func TestPeersInTheBrowser(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice := newProfile(t, browser, "alice")
	setUp(t, p, alice, "alice", "Alice Example")
	admin := alice.open(p.url("/admin"))
	admin.click("admin-peers-link")
	admin.until("the page", js("peers-mode-save", "")+"?.checkVisibility()")
	admin.paste("peers-domain", "chat.example.org")
	admin.click("peers-add-deny")
	item := js("peer", `[data-domain="chat.example.org"]`)
	admin.until("the provider", item+"?.checkVisibility()")
	admin.look(360, 740, "dark")
	admin.screenshot("admin-peers-phone")
	admin.look(1100, 900, "light")
	admin.screenshot("admin-peers")
	admin.look(360, 740, "dark")
	admin.until("the form", `document.getElementById("peers-mode-deny").click() || true`)
	admin.click("peers-mode-save")
	admin.until("that it is refused", item+`?.textContent.includes("nothing is sent to it")`)
	admin.until("no sideways scrolling", `document.documentElement.scrollWidth <= innerWidth`)
	admin.screenshot("admin-peers-refused")
	admin.click("peer-forget")
	admin.until("that it is forgotten", item+" === null")
}
