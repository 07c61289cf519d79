package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
)

func peerNamed(t *testing.T, domain string) mimi.ProviderID {
	t.Helper()
	id, err := mimi.NewProviderID(domain)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAdministratorDecidesAboutProviders walks through the page of the other providers: the mode, the list, and a
// provider that is suspended and taken up again. Each step is seen at once by what asks whether a provider is admitted.
func TestAdministratorDecidesAboutProviders(t *testing.T) {
	s := newSite(t)
	admin := s.withAdmin()
	m := s.chat.(*messenger)
	admitted := func(domain string) bool { return m.peers.admits(m.peers.get(peerNamed(t, domain))) }
	item := func(p page, domain string) string {
		return strings.Join(strings.Fields(p.id("admin-peers").Find(`[data-domain="`+domain+`"]`).Text()), " ")
	}
	step := func(path string, fields ...string) page {
		t.Helper()
		p := admin.post(path, fields...)
		if p.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s %q: %s\n%s", path, fields, p.Status, p.body)
		}
		return admin.get(p.Header.Get("Location"))
	}
	if link := admin.get("/admin").id("admin-peers-link"); link.AttrOr("href", "") != "/admin/peers" {
		t.Error("the page is not linked")
	}
	p := step("/admin/peers/add", "domain", " B.example. ", "verdict", "deny")
	if !admitted("b.example") || !strings.Contains(item(p, "b.example"), "never answered") {
		t.Errorf("refused although the mode is open: %q", item(p, "b.example"))
	}
	step("/admin/peers/mode", "mode", "deny")
	if admitted("b.example") || !admitted("c.example") {
		t.Error("the list of those that are refused does not count")
	}
	p = step("/admin/peers/mode", "mode", "allow")
	if admitted("b.example") || admitted("c.example") || !strings.Contains(item(p, "b.example"), "Refused by the setting") {
		t.Errorf("admitted without being allowed: %q", item(p, "b.example"))
	}
	step("/admin/peers/change?domain=b.example", "do", "allow")
	if !admitted("b.example") {
		t.Error("not admitted although allowed")
	}
	p = step("/admin/peers/change?domain=b.example", "do", "suspend")
	if admitted("b.example") || !strings.Contains(item(p, "b.example"), "Suspended") || p.id("peer-resume").Length() != 1 {
		t.Errorf("suspended: %q", item(p, "b.example"))
	}
	// What was decided is there after a restart.
	again := newPeers(m.domain, m.root, s.db, nil, s.now, s.Server.log)
	if err := again.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again.currentMode() != modeAllow || again.admits(again.get(peerNamed(t, "b.example"))) {
		t.Error("the decisions are forgotten")
	}
	step("/admin/peers/change?domain=b.example", "do", "resume")
	if !admitted("b.example") {
		t.Error("not taken up again")
	}
	step("/admin/peers/mode", "mode", "open")
	p = step("/admin/peers/change?domain=b.example", "do", "forget")
	if p.id("admin-peers").Find("li").Length() != 0 {
		t.Error("one that was never met and has no verdict is kept")
	}
	var log []string
	err := s.db.Read(t.Context(), func(tx *db.Tx) error {
		list, err := tx.AuditLog(20)
		for _, e := range list {
			log = append(log, e.Action)
		}
		return err
	})
	if err != nil || !slices.Contains(log, "peer suspend b.example") || !slices.Contains(log, "peers allow") || !slices.Contains(log, "peer deny b.example") {
		t.Errorf("audit: %q, %v", log, err)
	}
}

func TestPeersPageRefusesNonsense(t *testing.T) {
	s := newSite(t)
	admin := s.withAdmin()
	bob := s.visitor()
	bob.join(admin.invite(), "bob", "Bob")
	if got := bob.get("/admin/peers"); got.StatusCode != http.StatusForbidden {
		t.Errorf("somebody else sees the page: %d", got.StatusCode)
	}
	for path, fields := range map[string][]string{"/admin/peers/mode": {"mode", "allow"}, "/admin/peers/add": {"domain", "b.example", "verdict", "deny"},
		"/admin/peers/change?domain=b.example": {"do", "suspend"}} {
		if got := bob.post(path, fields...); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s by somebody else: %d", path, got.StatusCode)
		}
		if got := s.visitor().post(path, fields...); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/signin" {
			t.Errorf("%s by nobody: %d", path, got.StatusCode)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader("mode=allow"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if got := admin.read(admin.Do(r)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another site: %d", path, got.StatusCode)
		}
	}
	for _, domain := range []string{"", "localhost", "not a domain", "https://b.example", "10.0.0.1", strings.Repeat("a", 300)} {
		if got := admin.post("/admin/peers/add", "domain", domain, "verdict", "deny"); got.StatusCode != http.StatusUnprocessableEntity || got.fault("peers-domain") == "" {
			t.Errorf("domain %q: %d, %q", domain, got.StatusCode, got.fault("peers-domain"))
		}
	}
	for _, fields := range [][]string{{"b.example", "do", "delete"}, {"", "do", "allow"}, {"localhost", "do", "deny"}} {
		if got := admin.post("/admin/peers/change?domain="+fields[0], fields[1:]...); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d", fields, got.StatusCode)
		}
	}
	if got := admin.post("/admin/peers/mode", "mode", "closed"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("no such mode: %d", got.StatusCode)
	}
	if got := admin.post("/admin/peers/change?domain=b.example", "do", "suspend"); got.Header.Get("Location") != "/admin/peers?gone=b.example" {
		t.Errorf("one that is not known: %s", got.Header.Get("Location"))
	}
	if mode := s.chat.(*messenger).peers.currentMode(); mode != modeOpen {
		t.Errorf("the mode is %s", mode)
	}
}

// TestPeersPageSaysWhatIsWrong: every word for a problem has sentences, and what waits is counted.
func TestPeersPageSaysWhatIsWrong(t *testing.T) {
	s := newSite(t)
	admin := s.withAdmin()
	m := s.chat.(*messenger)
	err := s.db.Write(t.Context(), func(tx *db.Tx) error { return tx.MeetPeer("b.example") })
	if err != nil {
		t.Fatal(err)
	}
	q := m.peers.get(peerNamed(t, "b.example"))
	for _, problem := range peerProblems {
		m.peers.note(q, problem, true)
		for _, lang := range []string{"en", "de"} {
			p := admin.get("/admin/peers?lang=" + lang)
			state, advice := p.id("peer-state").Text(), p.id("peer-advice").Text()
			if state == "" || advice == "" || strings.Contains(state+advice, "peers.") {
				t.Errorf("%s in %s: %q, %q", problem, lang, state, advice)
			}
		}
	}
	m.peers.refusing(q, "not_allowed")
	s.clock.add(time.Minute)
	m.peers.note(q, "", false)
	text := admin.get("/admin/peers?lang=en").id("peer").Text()
	if !strings.Contains(text, "All is well") && !strings.Contains(text, "never") || !strings.Contains(text, "1 of its requests was refused") {
		t.Errorf("well again: %q", text)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
