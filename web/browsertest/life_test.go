//go:build browser

package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// pair is Alice and Bob in a one-to-one chat, both pages open.
func pair(t *testing.T) (p *provider, alice, bob *profile, a, b *tab) {
	t.Helper()
	p = startProvider(t)
	browser := startBrowser(t)
	alice, bob = newProfile(t, browser, "alice"), newProfile(t, browser, "bob")
	a = setUp(t, p, alice, "alice", "Alice Example")
	b = accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	newChat(a, "bob")
	a.send("hello")
	b.openRoom("Alice Example")
	b.seesText("hello")
	return p, alice, bob, a, b
}

// TestTwoTabs: both tabs of one browser live, one engine owns the state, the other takes over when it goes.
func TestTwoTabs(t *testing.T) {
	p, alice, _, a, b := pair(t)
	second := alice.open(p.url("/"))
	second.ready()
	second.openRoom("Bob Example")
	second.send("from the second tab")
	b.seesText("from the second tab")
	a.seesText("from the second tab")
	b.send("to both")
	a.seesText("to both")
	second.seesText("to both")

	a.cancel() // the tab whose worker owns the engine goes
	b.send("to the one that is left")
	second.seesText("to the one that is left")
	second.send("still here")
	b.seesText("still here")
	second.sentText("still here")
}

// TestAwayAndBack: messages that came while the browser was closed arrive in order; a restart of the server is survived.
func TestAwayAndBack(t *testing.T) {
	p, _, bob, a, b := pair(t)
	b.cancel()
	for i := range 30 {
		a.send(fmt.Sprintf("while you were away %02d", i))
	}
	a.sentText("while you were away 29")
	b = bob.open(p.url("/"))
	b.ready()
	b.openRoom("Alice Example")
	b.seesText("while you were away 29")
	var got []string
	for _, m := range b.messages() {
		if len(m.Text) > 5 {
			got = append(got, m.Text)
		}
	}
	for i, text := range got[max(0, len(got)-30):] {
		if want := fmt.Sprintf("while you were away %02d", i); text != want {
			t.Fatalf("message %d is %q, want %q", i, text, want)
		}
	}

	p.kill()
	a.until("the offline banner", js("banner", "")+"?.checkVisibility()")
	a.send("written while the server was down")
	p.start()
	a.sentText("written while the server was down")
	b.seesText("written while the server was down")
}

// TestSignInAgain: signing out and in leads back to the chat; wrong passwords are refused with a sentence.
func TestSignInAgain(t *testing.T) {
	p, _, _, _, _ := pair(t)
	browser := startBrowser(t)
	visitor := newProfile(t, browser, "visitor").open(p.url("/"))
	visitor.until("the sign-in page", js("signin-username", ""))
	visitor.screenshot("signin")
	visitor.fill("signin-username", "alice")
	visitor.fill("signin-password", "wrong password")
	visitor.click("signin-submit")
	visitor.until("a sentence about the password", `document.querySelector('[role="alert"]')?.textContent.length > 10`)
	visitor.fill("signin-password", password)
	visitor.click("signin-submit")
	visitor.ready()
	// A new device of Alice joins her rooms by itself and reads on from here.
	visitor.until("the chat with Bob", js("room-item", `[data-name="Bob Example"]`))
}

// TestContentSecurityPolicy: the page runs no inline script and no eval, and puts user text into the page as text.
func TestContentSecurityPolicy(t *testing.T) {
	_, _, _, a, b := pair(t)
	evil := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	a.send(evil)
	b.seesText(evil)
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { const s = document.createElement("a"); s.id = "probe"; document.body.append(s);
		s.addEventListener("click", () => setTimeout(() => { try { s.dataset.eval = String((0, eval)("1+1")); } catch (e) { s.dataset.eval = e.name; } })); s.click(); })()`))
	b.until("the probe", `document.getElementById("probe").dataset.eval`)
	result, err := eval[string](b, `document.getElementById("probe").dataset.eval`)
	if err != nil || result != "EvalError" {
		t.Errorf("eval in the page gave %q (%v), want EvalError", result, err)
	}
	title, err := eval[string](b, "document.title")
	if err != nil || title == "owned" {
		t.Errorf("the page ran what a message contained: title %q (%v)", title, err)
	}
}
