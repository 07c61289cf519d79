//go:build browser

package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"kith/db"
)

const me = "mimi://localhost/u/alice"

// stored works on the database of the running server, as another provider does through its endpoints.
func (p *provider) stored(fn func(tx *db.Tx) error) {
	p.t.Helper()
	store, err := db.Open(p.t.Context(), p.dir, db.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer store.Close()
	if err := store.Write(p.t.Context(), fn); err != nil {
		p.t.Fatal(err)
	}
}

// answer is what the user has said to a requester.
func (p *provider) answer(requester, room string) (answer int, blocked bool) {
	p.stored(func(tx *db.Tx) error {
		c, err := tx.Consent(requester, me, room)
		if err != nil {
			return err
		}
		answer = c.Answer
		blocked, err = tx.Blocked(me, requester)
		return err
	})
	return answer, blocked
}

// TestRequests: strangers ask, and are accepted with the mouse, declined with the keyboard, blocked and unblocked; nothing
// but their addresses is shown.
func TestRequests(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice := newProfile(t, browser, "alice")
	a := setUp(t, p, alice, "alice", "Alice Example")
	mia, max, spam, club := "mimi://friends.example/u/mia", "mimi://chat.example.org/u/max.mustermann",
		"mimi://xn--80ak6aa92e.example/u/a-very-long-name-that-goes-on-and-on-and-on", "mimi://friends.example/r/club"
	p.stored(func(tx *db.Tx) error {
		for _, c := range []db.Consent{
			{Requester: mia, Target: me, Room: club, Asked: 1}, {Requester: max, Target: me, Asked: 1}, {Requester: spam, Target: me, Asked: 1},
			{Requester: me, Target: "mimi://elsewhere.example/u/jo", Asked: 1},
			{Requester: "mimi://friends.example/u/one", Target: me, Asked: 1}, {Requester: "mimi://friends.example/u/two", Target: me, Asked: 1},
		} {
			if err := tx.SetConsent(c); err != nil {
				return err
			}
		}
		return nil
	})
	a.reload()
	a.ready()
	item := func(user string) string { return `[data-from=` + quote(user) + `]` }
	for _, user := range []string{mia, max, spam} {
		a.until("the request", js("request-item", item(user)))
	}
	a.until("three of five to be shown", `[...document.querySelectorAll('[data-testid="request-item"]')].filter((e) => e.checkVisibility()).length === 3`)
	a.do(chromedp.Click(chromedp.CSS("#requests .more")))
	a.until("all to be shown", `[...document.querySelectorAll('[data-testid="request-item"]')].filter((e) => e.checkVisibility()).length === 5`)
	a.until("the address alone", js("request-item", item(max))+`.querySelector(".request-address").textContent === "max.mustermann@chat.example.org"`)
	a.until("whom one waits for", js("waiting-item", "")+`.textContent.includes("jo@elsewhere.example")`)
	for _, s := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"requests-light", 1100, 800, "light"}, {"requests-dark", 1100, 800, "dark"}, {"requests-phone", 375, 720, "light"}, {"requests-phone-dark", 375, 720, "dark"}} {
		a.look(s.width, s.height, s.scheme)
		a.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".rooms").scrollTo(0, 0)`))
		a.until("the colours to settle", `document.getAnimations().every((x) => !(x instanceof CSSTransition))`)
		a.until("no sideways scrolling", `document.documentElement.scrollWidth <= innerWidth`)
		a.screenshot(s.name)
	}
	a.look(1100, 800, "light")

	gone := func(user string) { a.until("the request to go", "!"+js("request-item", item(user))) }
	a.clickMore("request-item", item(mia)+` `+sel("request-accept"))
	gone(mia)
	// The keyboard goes on with the next request.
	a.until("the focus", `document.activeElement?.closest('[data-testid="request-item"]')`)
	a.do(chromedp.Focus(chromedp.CSS(sel("request-item")+item(max)+` `+sel("request-decline"))), chromedp.KeyEvent("\r"))
	gone(max)
	a.clickMore("request-item", item(spam)+` `+sel("request-block"))
	gone(spam)
	for range 2 {
		n, err := eval[int](a, `document.querySelectorAll('[data-testid="request-item"]').length`)
		if err != nil {
			a.fail("%v", err)
		}
		a.click("request-decline")
		a.until("one less", fmt.Sprintf(`document.querySelectorAll('[data-testid="request-item"]').length === %d`, n-1))
	}
	a.until("no list", js("request-list", "")+`.checkVisibility() === false`)
	for _, tt := range []struct {
		user, room string
		answer     int
		blocked    bool
	}{{mia, club, db.ConsentGranted, false}, {max, "", db.ConsentDenied, false}, {spam, "", db.ConsentOpen, true}} {
		if answer, blocked := p.answer(tt.user, tt.room); answer != tt.answer || blocked != tt.blocked {
			t.Errorf("%s: answer %d, blocked %t", tt.user, answer, blocked)
		}
	}
	a.click("settings")
	a.until("who is blocked", js("blocked-item", "")+`?.checkVisibility()`)
	a.screenshot("blocked")
	a.look(375, 720, "dark")
	a.screenshot("blocked-phone")
	a.look(1100, 800, "light")
	a.click("unblock")
	a.until("nobody to be blocked", "!"+js("blocked-item", ""))
	if _, blocked := p.answer(spam, ""); blocked {
		t.Error("still blocked")
	}
	a.do(chromedp.KeyEvent("\x1b"))
	a.click("waiting-cancel")
	a.until("no waiting", "!"+js("waiting-item", ""))
	// German, with requests on the screen.
	p.stored(func(tx *db.Tx) error { return tx.SetConsent(db.Consent{Requester: mia, Target: me, Asked: 1}) })
	a.reload()
	a.ready()
	a.until("the request", js("request-item", ""))
	a.click("settings")
	a.do(chromedp.SetValue(chromedp.CSS(sel("language")), "de"), chromedp.Evaluate[chromedp.Void](js("language", "")+`.dispatchEvent(new Event("change"))`))
	a.do(chromedp.KeyEvent("\x1b"))
	a.until("German", js("request-item", "")+`.textContent.includes("möchte dir schreiben")`)
	a.screenshot("requests-german")
}

// TestBlockFromAChat: the chat goes, and comes back when the block is taken back.
func TestBlockFromAChat(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob := newProfile(t, browser, "alice"), newProfile(t, browser, "bob")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	newChat(b, "alice")
	b.send("hello")
	a.openRoom("Bob Example")
	a.seesText("hello")
	a.click("room-info")
	a.screenshot("block-button")
	a.click("room-block")
	a.screenshot("block-ask")
	a.click("confirm")
	a.until("the chat to go", "!"+js("room-item", ""))
	b.send("are you there?")
	b.sentText("are you there?")
	a.click("settings")
	a.until("who is blocked", js("blocked-item", "")+`?.textContent.includes("bob@localhost")`)
	a.until("no chat", "!"+js("room-item", ""))
	a.click("unblock")
	a.do(chromedp.KeyEvent("\x1b"))
	a.openRoom("Bob Example")
	a.seesText("are you there?")
}
