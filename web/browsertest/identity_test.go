//go:build browser

package browsertest

import (
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestNewIdentity: a server is set up anew under its old name. Its people are not believed to be those of before until the
// administrator of the other server has accepted that, and then each person there.
func TestNewIdentity(t *testing.T) {
	w := newWorld(t, "north", "south")
	north, south := w.provider(t, "north"), w.provider(t, "south")
	person := w.browser(t)
	alice := person("alice")
	a := setUp(t, north, alice, "alice", "Alice Example")
	b := setUp(t, south, person("bob"), "bob", "Bob Example")
	meet(a, b, "bob@"+w.Domain("south"))
	a.send("Hello Bob")
	b.seesText("Hello Bob")
	b.cancel()

	south.kill()
	if err := os.RemoveAll(south.dir); err != nil {
		t.Fatal(err)
	}
	south.start()
	again := setUp(t, south, person("again"), "bob", "Bob Again")
	again.click("new-chat")
	again.fill("new-chat-address", "alice@"+w.Domain("north"))
	again.click("new-chat-start")
	again.until("that it is refused", `document.querySelector("#dialog-new-chat .fault").checkVisibility()`)
	again.screenshot("identity-chat")

	admin := alice.open(north.url("/admin/peers"))
	admin.until("the new identity", js("peer-fingerprint", ""))
	admin.fits("identity-admin")
	admin.click("peer-accept")
	admin.fits("identity-accepted")
	server := alice.open(north.url("/admin"))
	server.do(chromedp.Evaluate[chromedp.Void](js("admin-certificates", "") + ".scrollIntoView()"))
	server.fits("certificates")
	a.reload()
	a.ready()
	a.until("the banner", js("banner", `[data-kind="identity"]`)+"?.checkVisibility()")
	a.fits("identity-banner")
	a.click("banner-accept")
	a.until("the banner to go", "!"+js("banner", `[data-kind="identity"]`))
	a.screenshot("identity-after")
}

// meet lets a write to b, who is asked first.
func meet(a, b *tab, address string) {
	a.t.Helper()
	a.click("new-chat")
	a.fill("new-chat-address", address)
	a.click("new-chat-start")
	b.until("the request", js("request-item", ""))
	b.click("request-accept")
	for _, tab := range []*tab{a, b} {
		tab.until("the chat", js("room-item", ""))
		tab.click("room-item")
	}
}
