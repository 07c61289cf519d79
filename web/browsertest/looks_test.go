//go:build browser

package browsertest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"kith/db"
)

// looks are the windows and colours in which pages are looked at.
var looks = []struct {
	name          string
	width, height int64
	scheme        string
}{{"desktop-light", 1280, 800, "light"}, {"desktop-dark", 1280, 800, "dark"}, {"phone-light", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"}}

// fits takes pictures of a page in all looks, and demands that nothing in it is wider than the window.
func (b *tab) fits(what string) {
	b.t.Helper()
	for _, look := range looks {
		b.look(look.width, look.height, look.scheme)
		b.until("the colours to settle", `document.getAnimations().every((x) => !(x instanceof CSSTransition))`)
		b.screenshot(what + "-" + look.name)
		wide, err := eval[[]string](b, `[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(".visually-hidden, .skip, svg, .table > *") &&
			(e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)).map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 60))`)
		if err != nil {
			b.fail("%v", err)
		}
		if len(wide) > 0 {
			b.t.Errorf("%s, %s: wider than the window: %q", what, look.name, wide)
		}
	}
	b.look(1280, 800, "light")
}

const (
	longDomain = "a-very-long-domain-name-that-somebody-has-chosen.department-of-something.example.org"
	longUser   = "mimi://" + longDomain + "/u/averyveryverylongusernamethatgoesonandonandon"
)

// strangers fills a server with what others can bring to it, under names as long as they get.
func strangers(tx *db.Tx) error {
	now := time.Now()
	hour := now.Add(-time.Hour).UnixMilli()
	for _, c := range []db.Consent{{Requester: longUser, Target: me, Asked: hour}, {Requester: "mimi://b.example/u/bob", Target: me, Room: "mimi://b.example/r/club", Asked: hour},
		{Requester: me, Target: "mimi://" + longDomain + "/u/somebody-who-takes-their-time-to-answer", Asked: hour}} {
		if err := tx.SetConsent(c); err != nil {
			return err
		}
	}
	for domain, problem := range map[string]string{"good.example": "", longDomain: "no_answer", "busy.example": "busy", "expired.example": "certificate", "refuses.example": "refuses_us"} {
		if err := tx.MeetPeer(domain); err != nil {
			return err
		}
		for _, word := range []string{"", problem} {
			if err := tx.PeerHealth(domain, hour, word, now.Add(50*24*time.Hour).UnixMilli()); err != nil {
				return err
			}
		}
	}
	if err := tx.SetPeerVerdict("spam.example", db.VerdictDeny); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte("report"))
	return tx.AddReport(db.Report{Hash: hash[:], At: hour, Room: "mimi://localhost/r/club", Provider: longDomain, Reporter: longUser, Abuser: longUser,
		Note: "They write nothing but this.", Messages: []db.ReportedMessage{{Time: hour, Data: []byte{1}, Frank: []byte{1},
			Text: "Buyourwonderfulthingsathttps://" + longDomain + "/averyveryverylongpathwithoutanyplacetobreakitanywhere"}}})
}

// TestStrangersFit: pages with what other providers and their people bring fit into every window.
func TestStrangersFit(t *testing.T) {
	p := startProvider(t, "-federation", freeAddress(t))
	browser := startBrowser(t)
	alice := newProfile(t, browser, "alice")
	a := setUp(t, p, alice, "alice", "Alice Example")
	p.kill()
	p.stored(strangers)
	p.start()
	a.reload()
	a.ready()
	a.until("the request", js("request-item", ""))
	a.fits("strangers")
	a.clickMore("request-item", `[data-from=`+quote(longUser)+`] `+sel("request-block"))
	a.until("it to go", "!"+js("request-item", `[data-from=`+quote(longUser)+`]`))
	a.click("settings")
	a.until("who is blocked", js("blocked-item", "")+"?.checkVisibility()")
	a.do(chromedp.Evaluate[chromedp.Void](js("blocked-item", "") + ".scrollIntoView()"))
	a.fits("blocked")
	a.escape()
	nonsense(a, p)

	admin := alice.open(p.url("/admin"))
	admin.fits("admin")
	peers := alice.open(p.url("/admin/peers"))
	peers.until("the list", js("peer", ""))
	peers.fits("peers")
	peers.do(chromedp.Evaluate[chromedp.Void](js("admin-peers", "") + ".scrollIntoView()"))
	peers.fits("peers-list")
	peers.do(chromedp.Navigate(p.url("/admin/peers?lang=de")))
	peers.fits("peers-german")
	peers.paste("peers-domain", "<b>b.example")
	peers.click("peers-add-deny")
	peers.until("a sentence about it", `document.querySelector('[name="domain"][aria-invalid="true"]')`)
	peers.fits("peers-nonsense")
}

// nonsense: what is no address and no link gets a sentence.
func nonsense(a *tab, p *provider) {
	const nobody, gone = "There is nobody by that name.", "This link lets nobody in any more. Ask for a new one."
	a.click("new-chat")
	for text, want := range map[string]string{"@": nobody, "a@": nobody, "@b": nobody, "mimi://": nobody, "mimi://b.example/r/x": nobody, "javascript:alert(1)": nobody,
		"<b>bob</b>": nobody, "bob @ b.example": nobody, "bob@127.0.0.1": nobody, "\u202ebob@b.example": nobody, "https://b.example/#join=%": gone,
		"https://b.example/#join=x": gone, "https://b.example/#join=mimi%3A%2F%2Fb.example%2Fr%2Fx": gone, "alice": "That is you. Who else would you like to write to?"} {
		a.paste("new-chat-address", text)
		a.click("new-chat-start")
		a.until("a sentence about "+text, `document.querySelector("#dialog-new-chat[open]:not([aria-busy=true]) .fault")?.textContent === `+quote(want))
	}
	a.paste("new-chat-address", longUser)
	a.fits("nonsense")
	a.look(390, 440, "light") // a phone with its keyboard open
	a.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#dialog-new-chat").scrollTo(0, 0)`))
	a.paste("new-chat-address", "@")
	a.click("new-chat-start")
	a.until("the sentence in view", `(() => { const r = document.querySelector("#dialog-new-chat[open]:not([aria-busy=true]) .fault").getBoundingClientRect();
		return document.elementFromPoint(r.left + 5, r.top + 3)?.closest(".fault") && document.elementFromPoint(r.left + 5, r.bottom - 3)?.closest(".fault"); })()`)
	a.screenshot("nonsense-keyboard")
	a.look(1280, 800, "light")
	a.escape()
	for _, link := range []string{"/#join=%", "/#join=mimi%3A%2F%2F" + longDomain + "%2Fr%2Fx%2FAAAA"} {
		a.do(chromedp.Navigate("about:blank"), chromedp.Navigate(p.url(link)))
		a.until("the dialog", `document.getElementById("dialog-join").open`)
		a.fits("join-nonsense")
		a.click("join-decline")
		a.until("it to go", `!document.getElementById("dialog-join").open`)
	}
}
