//go:build browser

package browsertest

import (
	"testing"
)

// TestRA3ReportInTheBrowser: Alice reports what Bob wrote from the menu of his message, in words; the administrator, here
// herself, reads it as text and puts it away. Her own messages have no menu.
func TestRA3ReportInTheBrowser(t *testing.T) {
	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob := newProfile(t, browser, "alice"), newProfile(t, browser, "bob")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	newChat(a, "bob")
	a.send("Hello Bob")
	b.openRoom("Alice Example")
	b.seesText("Hello Bob")
	const insult = `<b onclick="alert(1)">you fool</b>`
	b.send(insult)
	a.seesText(insult)
	own := js("message", `[data-mine="true"] [data-testid="message-menu"]`)
	a.until("no menu at one's own message", own+" && !"+own+".checkVisibility()")

	a.clickMore("message", `[data-mine="false"] [data-testid="message-menu"]`)
	a.screenshot("message-menu")
	a.click("action-report")
	a.until("the dialog with the text", `document.getElementById("report-text").textContent === `+quote(insult)+` && `+js("report-send", "")+`.checkVisibility()`)
	a.paste("report-note", "rude")
	a.screenshot("report")
	a.click("report-send")
	a.until("that it was received", js("report-done", "")+"?.checkVisibility()")
	a.screenshot("report-done")

	admin := alice.open(p.url("/admin"))
	report := js("report", `[data-kind="verified"]`)
	admin.until("the report", report+`?.querySelector("[data-testid='report-text']").textContent.trim() === `+quote(insult)+
		` && `+report+`.textContent.includes("rude") && `+report+`.querySelector("b") === null`)
	admin.screenshot("admin-reports")
	admin.click("report-handled")
	admin.until("that it is gone", js("admin-reports", "")+" && "+report+" === null")
}
