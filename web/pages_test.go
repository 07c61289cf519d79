package web

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
)

const hostile = `<script>alert(1)</script>"'`

func render(t *testing.T, c templ.Component) *goquery.Document {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func testid(id string) string { return `[data-testid="` + id + `"]` }

// pages returns every page in a language, filled with hostile values.
func pages(l Lang) map[string]templ.Component {
	p := Page{Lang: l, Site: "example.org", Path: "/somewhere", Theme: "dark"}
	fault := Field{Value: hostile, Error: T("error.username_taken")}
	name := Field{Value: hostile}
	secret := Field{Value: "the password", Error: T("error.password_short", "min", "10")}
	now := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	return map[string]templ.Component{
		"setup":  SetupPage(SetupView{Page: p, Action: "/setup/token", Username: fault, DisplayName: name, Password: secret, MinPassword: 10, Error: T("error.form")}),
		"invite": InvitePage(InviteView{Page: p, Action: "/invite/code", From: hostile, Username: fault, DisplayName: name, Password: secret, MinPassword: 10, Error: T("error.form")}),
		"signin": SignInPage(SignInView{Page: p, Action: "/signin", Username: name, Password: secret, Error: T("error.signin_wrong"), Notice: T("signin.signed_out")}),
		"message": MessagePage(MessageView{Page: p, Title: T("message.link_gone"), Body: T("message.link_gone_body"),
			Link: "/", Action: T("message.go_home")}),
		"peers": PeersPage(PeersView{Page: p, Back: "/admin", Mode: "deny", Modes: []string{"open", "deny", "allow"}, Off: true, Domain: fault, More: 2,
			Notice: T("peers.changed", "domain", hostile),
			Peers: []PeerRow{{Domain: hostile, Kind: "bad", State: T("peers.is_new_identity"), Advice: T("peers.new_identity_advice"), LastOK: now, Away: now,
				Rooms: 1, Events: 2, Since: now, Parked: 1, Expires: now, Refused: 3, Why: hostile, Offered: []string{"00ff"},
				Actions: []PeerAction{{Name: "accept", Text: T("peers.do_accept")}, {Name: "try", Text: T("peers.do_try"), Good: true}}},
				{Domain: "c.example", Kind: "good", State: T("peers.is_good")}}}),
		"admin": AdminPage(AdminView{Page: p, Name: hostile, InviteAction: "/admin/invite", SignOutAction: "/signout",
			InviteLink: "https://example.org/invite/code", InviteExpires: now,
			Users:   []UserRow{{Username: "alice", DisplayName: hostile, Admin: true, Me: true, Joined: now}, {Username: "bob", DisplayName: "בוב", Disabled: true, Joined: now, LastSeen: now, Devices: 2}},
			Invites: []InviteRow{{By: hostile, Created: now, Expires: now}},
			Reports: ReportsView{Action: "/admin/report/handled", More: 1,
				Verified: []ReportRow{{ID: 7, At: now, Abuser: hostile, Reporter: hostile, Note: hostile, Unverified: 2,
					Messages: []ReportedMessage{{Sent: now, Text: hostile}, {Sent: now}}}},
				Unverified: []ReportRow{{ID: 8, At: now, Abuser: "mallory@b.example", Provider: "b.example", Note: hostile, Unverified: 1}}},
			Certificates: []CertificateRow{{Name: "example.org", Expires: now},
				{Name: "mimi.example.org", Problem: T("tls.dns", "name", "mimi.example.org"), Next: now}}}),
	}
}

// checkMarkup demands what the content security policy and assistive software
// need of any page.
func checkMarkup(t *testing.T, name string, doc *goquery.Document) {
	t.Helper()
	doc.Find("*").Each(func(_ int, e *goquery.Selection) {
		for _, a := range e.Nodes[0].Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("%s: attribute %s on <%s>", name, a.Key, goquery.NodeName(e))
			}
		}
		for _, attr := range []string{"for", "aria-describedby", "aria-labelledby", "aria-controls"} {
			for _, id := range strings.Fields(e.AttrOr(attr, "")) {
				if doc.Find("#"+id).Length() != 1 {
					t.Errorf("%s: %s points to %q, which is there %d times", name, attr, id, doc.Find("#"+id).Length())
				}
			}
		}
	})
	if n := doc.Find("script:not([src]), style, base, iframe").Length(); n != 0 {
		t.Errorf("%s: %d inline scripts or styles", name, n)
	}
	doc.Find("input, textarea, select").Each(func(_ int, e *goquery.Selection) {
		id, _ := e.Attr("id")
		if _, ok := e.Attr("aria-label"); !ok && doc.Find(`label[for="`+id+`"]`).Length() != 1 {
			t.Errorf("%s: input %q has no label", name, id)
		}
	})
	doc.Find("button, a").Each(func(_ int, e *goquery.Selection) {
		if strings.TrimSpace(e.Text()) == "" && e.AttrOr("aria-label", "") == "" && e.ParentsFiltered("template").Length() == 0 &&
			e.AttrOr("id", "") != "confirm-yes" {
			h, _ := goquery.OuterHtml(e)
			t.Errorf("%s: nothing says what this does: %s", name, h)
		}
	})
	if doc.Find("h1").Length() != 1 || doc.Find("main").Length() != 1 {
		t.Errorf("%s: %d h1, %d main", name, doc.Find("h1").Length(), doc.Find("main").Length())
	}
}

func TestPagesMarkup(t *testing.T) {
	for _, l := range Languages() {
		for name, c := range pages(l) {
			doc := render(t, c)
			checkMarkup(t, name, doc)
			if got := doc.Find("html").AttrOr("lang", ""); got != string(l) {
				t.Errorf("%s: lang is %q", name, got)
			}
			if doc.Find("script").Length() != 1 || strings.Contains(doc.Find("script").Text(), "alert") {
				t.Errorf("%s: a value became a script", name)
			}
			if links := doc.Find("footer nav a.lang").Length(); links != len(Languages())-1 {
				t.Errorf("%s: %d links to other languages", name, links)
			}
			if text := doc.Text(); strings.Contains(text, "{") || strings.Contains(text, "%!") {
				t.Errorf("%s: a placeholder is left in the text", name)
			}
		}
	}
}

func TestFormsWorkWithoutScript(t *testing.T) {
	for name, tc := range map[string]struct {
		action string
		fields map[string]string // test id: name and autocomplete
	}{
		"setup": {"/setup/token", map[string]string{"setup-username": "username username", "setup-display-name": "display_name name", "setup-password": "password new-password"}},
		"invite": {"/invite/code", map[string]string{"invite-username": "username username", "invite-display-name": "display_name name",
			"invite-password": "password new-password"}},
		"signin": {"/signin", map[string]string{"signin-username": "username username", "signin-password": "password current-password"}},
	} {
		doc := render(t, pages(English)[name])
		form := doc.Find("form")
		if form.AttrOr("method", "") != "post" || form.AttrOr("action", "") != tc.action || form.Find(testid(name+"-submit")+"[type=submit]").Length() != 1 {
			t.Errorf("%s: not a form that can be sent", name)
		}
		for id, want := range tc.fields {
			input := form.Find("input" + testid(id))
			if got := input.AttrOr("name", "") + " " + input.AttrOr("autocomplete", ""); got != want {
				t.Errorf("%s is %q, want %q", id, got, want)
			}
			value := input.AttrOr("value", "")
			if strings.HasSuffix(id, "password") && value != "" {
				t.Errorf("%s gives a password back", id)
			} else if !strings.HasSuffix(id, "password") && value != hostile {
				t.Errorf("%s forgot what was entered: %q", id, value)
			}
		}
		if doc.Find(`[role="alert"]`).Length() != 1 {
			t.Errorf("%s: the fault is not announced", name)
		}
	}
}

func TestFaultsBelongToTheirField(t *testing.T) {
	doc := render(t, pages(English)["setup"])
	input := doc.Find(testid("setup-username"))
	if input.AttrOr("aria-invalid", "") != "true" || !strings.Contains(input.AttrOr("aria-describedby", ""), "setup-username-fault") {
		t.Error("the fault is not tied to the username")
	}
	if got := strings.TrimSpace(doc.Find("#setup-username-fault").Text()); got != English.T("error.username_taken") {
		t.Errorf("fault %q", got)
	}
	if _, ok := doc.Find(testid("setup-display-name")).Attr("aria-invalid"); ok {
		t.Error("the name is marked without a fault")
	}
	if n := doc.Find("[autofocus]").Length(); n != 1 || doc.Find("[autofocus]").AttrOr("id", "") != "setup-username" {
		t.Errorf("%d fields have the focus", n)
	}
}

func TestAdminPage(t *testing.T) {
	doc := render(t, pages(German)["admin"])
	if got := doc.Find(testid("admin-invite-link")).AttrOr("value", ""); got != "https://example.org/invite/code" {
		t.Errorf("link %q", got)
	}
	if n := doc.Find(testid("admin-users") + " tbody tr").Length(); n != 2 {
		t.Errorf("%d people", n)
	}
	form := doc.Find(testid("admin-invite-create")).ParentsFiltered("form")
	if form.AttrOr("action", "") != "/admin/invite" || form.AttrOr("method", "") != "post" {
		t.Error("an invitation cannot be made")
	}
	certificates := doc.Find(testid("admin-certificates") + " li")
	if n := certificates.Length(); n != 2 || certificates.Eq(0).Find(".callout").Length() != 0 {
		t.Errorf("%d certificates", n)
	}
	if text := certificates.Eq(1).Text(); !strings.Contains(text, "noch kein Zertifikat") || !strings.Contains(text, "führt nirgendwohin") ||
		!strings.Contains(text, "Nächster Versuch: 22.11.2026, 20:00 UTC") {
		t.Errorf("a certificate that is missing: %q", text)
	}
	none := render(t, AdminPage(AdminView{Page: Page{Lang: English}}))
	if none.Find(testid("admin-certificates")).Length() != 0 {
		t.Error("certificates are shown on a server without any")
	}
	if none.Find(testid("admin-invite-link")).Length() != 0 {
		t.Error("a link is shown where none was made")
	}
}

// TestRA4ReportsOnTheAdminPage: what is proved comes first, with its text as text; what is not has none.
func TestRA4ReportsOnTheAdminPage(t *testing.T) {
	doc := render(t, pages(English)["admin"])
	reports := doc.Find(testid("admin-reports"))
	list := reports.Find(testid("report"))
	if list.Length() != 2 || list.First().AttrOr("data-kind", "") != "verified" || list.Last().AttrOr("data-kind", "") != "unverified" {
		t.Fatalf("%d reports", list.Length())
	}
	if got := list.First().Find(testid("report-text")); got.Length() != 1 || got.Text() != hostile {
		t.Errorf("text %q", got.Text())
	}
	if list.Last().Find("blockquote").Length() != 0 {
		t.Error("text of what is not verified")
	}
	button := list.First().Find(testid("report-handled"))
	form := button.ParentsFiltered("form")
	if button.AttrOr("name", "") != "id" || button.AttrOr("value", "") != "7" || form.AttrOr("action", "") != "/admin/report/handled" ||
		form.AttrOr("method", "") != "post" {
		t.Error("a report cannot be closed")
	}
	for _, want := range []string{"2 messages", "mallory@b.example", "b.example", "1 more"} {
		if !strings.Contains(reports.Text(), want) {
			t.Errorf("no %q", want)
		}
	}
	none := render(t, AdminPage(AdminView{Page: Page{Lang: English}})).Find(testid("admin-reports"))
	if none.Find(testid("report")).Length() != 0 || !strings.Contains(none.Text(), "Nothing") {
		t.Errorf("without reports: %q", none.Text())
	}
}

func TestNoLanguageLinksWithoutPath(t *testing.T) {
	if n := render(t, MessagePage(MessageView{Page: Page{Lang: English}})).Find("footer nav").Length(); n != 0 {
		t.Error("language links lead nowhere")
	}
}
