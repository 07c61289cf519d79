package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"kith/db"
)

// fakeClock is a clock that tests set.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// site is a server under test, with everything it logged.
type site struct {
	*Server
	t     *testing.T
	clock *fakeClock
	url   string
	log   *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	clock := &fakeClock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	log := &logBuffer{}
	cfg := Config{Dev: true, Data: t.TempDir(), Now: clock.now, PasswordMemory: 64,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &site{Server: s, t: t, clock: clock, url: web.URL, log: log}
}

// visitor is a browser: it keeps cookies and does not follow redirects.
type visitor struct {
	*http.Client
	site *site
}

func (s *site) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s}
}

// page is an answer that has been read.
type page struct {
	*http.Response
	body string
	*goquery.Document
}

func (p page) id(name string) *goquery.Selection { return p.Find(`[data-testid="` + name + `"]`) }

// fault is the sentence beside a field.
func (p page) fault(field string) string {
	return strings.TrimSpace(p.Find("#" + field + "-fault").Text())
}

func (v *visitor) read(resp *http.Response, err error) page {
	v.site.t.Helper()
	if err != nil {
		v.site.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.site.t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(string(body)))
	if err != nil {
		v.site.t.Fatal(err)
	}
	return page{resp, string(body), doc}
}

func (v *visitor) get(path string) page {
	v.site.t.Helper()
	return v.read(v.Get(v.site.url + path))
}

func (v *visitor) post(path string, fields ...string) page {
	v.site.t.Helper()
	form := make(url.Values)
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return v.read(v.PostForm(v.site.url+path, form))
}

const goodPassword = "correct horse battery staple"

func (v *visitor) join(path, username, displayName string) page {
	v.site.t.Helper()
	return v.post(path, "username", username, "display_name", displayName, "password", goodPassword)
}

func (s *site) setupPath() string {
	s.t.Helper()
	link, err := newSetupLink(s.t.Context(), s.cfg, s.db, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return link
}

// withAdmin sets the site up and returns the administrator's browser.
func (s *site) withAdmin() *visitor {
	s.t.Helper()
	v := s.visitor()
	if p := v.join(s.setupPath(), "alice", "Alice"); p.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("setup: %s\n%s", p.Status, p.body)
	}
	return v
}

// invite returns the path of a new invitation.
func (v *visitor) invite() string {
	v.site.t.Helper()
	link, ok := v.post("/admin/invite").id("admin-invite-link").Attr("value")
	if !ok {
		v.site.t.Fatal("no invitation link on the page")
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme+"://"+u.Host != v.site.url {
		v.site.t.Fatalf("invitation link %q", link)
	}
	return u.Path
}

func (v *visitor) signedIn() bool {
	return strings.Contains(v.get("/api/me").body, `"signedIn":true`)
}

func (s *site) accounts() (names []string) {
	s.t.Helper()
	err := s.db.Read(s.t.Context(), func(tx *db.Tx) error {
		all, err := tx.Accounts()
		for _, a := range all {
			names = append(names, a.Username)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

func TestFromSetupLinkToInvitedPerson(t *testing.T) {
	s := newSite(t)
	alice := s.visitor()
	link := s.setupPath()
	p := alice.get(link)
	for _, id := range []string{"setup-username", "setup-display-name", "setup-password", "setup-submit"} {
		if p.id(id).Length() != 1 {
			t.Errorf("setup page has no %s", id)
		}
	}
	if p = alice.join(link, " Alice ", "  Alice  "); p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != "/" {
		t.Fatalf("setup: %s", p.Status)
	}
	if me := alice.get("/api/me").body; !strings.Contains(me, `"username":"alice","displayName":"Alice","admin":true`) {
		t.Errorf("me: %s", me)
	}
	invite := alice.invite()
	bob := s.visitor()
	p = bob.get(invite)
	if !strings.Contains(p.body, "Alice") || p.id("invite-username").Length() != 1 {
		t.Errorf("invitation page: %s", p.body)
	}
	if p = bob.join(invite, "bob", "Bob"); p.StatusCode != http.StatusSeeOther || !bob.signedIn() {
		t.Errorf("join: %s", p.Status)
	}
	if p = bob.get("/admin"); p.StatusCode != http.StatusForbidden {
		t.Errorf("admin page for a member: %s", p.Status)
	}
	if p = s.visitor().get("/admin"); p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != "/signin" {
		t.Errorf("admin page for a stranger: %s", p.Status)
	}
	if rows := alice.get("/admin").id("admin-users").Find("[data-user]").Length(); rows != 2 {
		t.Errorf("admin page lists %d accounts", rows)
	}
}

func TestLinksThatAreGone(t *testing.T) {
	s := newSite(t)
	setup, spare := s.setupPath(), s.setupPath()
	alice := s.visitor()
	alice.join(setup, "alice", "Alice")
	used, expired, disabled := alice.invite(), alice.invite(), alice.invite()
	if p := s.visitor().join(used, "bob", "Bob"); p.StatusCode != http.StatusSeeOther {
		t.Fatal(p.Status)
	}
	s.clock.add(invitationLife)
	for name, path := range map[string]string{"used setup": setup, "spare setup": spare, "unknown setup": "/setup/AAAAAAAAAAAAAAAAAAAAAA",
		"used invitation": used, "expired invitation": expired, "unknown invitation": "/invite/x", "odd invitation": "/invite/%00%ff",
		"expired too": disabled, "unknown reset": "/reset/x"} {
		v := s.visitor()
		for _, p := range []page{v.get(path), v.join(path, "mallory", "Mallory")} {
			if p.StatusCode != http.StatusGone || !strings.Contains(p.Text(), "no longer valid") || len(p.Cookies()) != 0 {
				t.Errorf("%s: %s\n%s", name, p.Status, p.body)
			}
		}
	}
	if got := s.accounts(); len(got) != 2 {
		t.Errorf("accounts: %v", got)
	}
}

func TestSetupLinkExpires(t *testing.T) {
	s := newSite(t)
	link := s.setupPath()
	s.clock.add(setupLife)
	if p := s.visitor().join(link, "alice", "Alice"); p.StatusCode != http.StatusGone || !strings.Contains(p.body, "kith setup-link") {
		t.Errorf("expired: %s", p.Status)
	}
	s.clock.add(-2 * time.Hour) // set back: it is valid again, and no harm done
	if p := s.visitor().join(link, "alice", "Alice"); p.StatusCode != http.StatusSeeOther {
		t.Errorf("before its end: %s", p.Status)
	}
}

func TestJoinFormSaysWhatIsWrong(t *testing.T) {
	s := newSite(t)
	link := s.withAdmin().invite()
	long := strings.Repeat("a", 40)
	for _, c := range []struct{ username, name, password, field, sentence string }{
		{"", "Bob", goodPassword, "username", "choose a username"},
		{"   ", "Bob", goodPassword, "username", "choose a username"},
		{"bob!", "Bob", goodPassword, "username", "Only lower-case"},
		{"bøb", "Bob", goodPassword, "username", "Only lower-case"},
		{".bob", "Bob", goodPassword, "username", "Only lower-case"},
		{"..", "Bob", goodPassword, "username", "Only lower-case"},
		{long, "Bob", goodPassword, "username", "At most 32"},
		{"alice", "Bob", goodPassword, "username", "taken"},
		{"ALICE", "Bob", goodPassword, "username", "taken"},
		{"bob", "", goodPassword, "display-name", "enter the name"},
		{"bob", " \u2003\t ", goodPassword, "display-name", "enter the name"},
		{"bob", "\u200d\u200c", goodPassword, "display-name", "enter the name"},
		{"bob", "\u3164", goodPassword, "display-name", "enter the name"},
		{"bob", "Bob\u202eecilA", goodPassword, "display-name", "cannot be shown"},
		{"bob", "Bob\u2066x", goodPassword, "display-name", "cannot be shown"},
		{"bob", "Bob\x00", goodPassword, "display-name", "cannot be shown"},
		{"bob", "Bob\nAlice", goodPassword, "display-name", "cannot be shown"},
		{"bob", "B\xff", goodPassword, "display-name", "cannot be shown"},
		{"bob", strings.Repeat("ü", 65), goodPassword, "display-name", "At most 64"},
		{"bob", "Bob", "short", "password", "At least 8"},
		{"bob", "Bob", "", "password", "At least 8"},
		{"bob", "Bob", strings.Repeat("x", 1025), "password", "At most 1024"},
	} {
		p := s.visitor().post(link, "username", c.username, "display_name", c.name, "password", c.password)
		if p.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(p.fault("invite-"+c.field), c.sentence) {
			t.Errorf("%q %q: %s, %q", c.username, c.name, p.Status, p.fault("invite-"+c.field))
		}
		if strings.Contains(p.body, goodPassword) {
			t.Error("the page shows the password again")
		}
	}
	// After all this the link still works, with names of any kind.
	if p := s.visitor().join(link, "b.o-b_1", "👩‍👩‍👧 שָׁלוֹם \u200fعلي"); p.StatusCode != http.StatusSeeOther {
		t.Errorf("join: %s %s", p.Status, p.fault("invite-display-name"))
	}
}

func TestFormsOfOtherShapes(t *testing.T) {
	s := newSite(t)
	link := s.withAdmin().invite()
	v := s.visitor()
	if p := v.post(link, "username", strings.Repeat("x", 1<<20)); p.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("1 MiB: %s", p.Status)
	}
	p := v.read(v.Post(s.url+link, "application/x-www-form-urlencoded", strings.NewReader("username=%zz")))
	if p.StatusCode != http.StatusBadRequest {
		t.Errorf("broken form: %s", p.Status)
	}
	if p := v.read(v.Post(s.url+link, "application/json", strings.NewReader("{}"))); p.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("no form: %s", p.Status)
	}
	if p := v.get("/nothing/here"); p.StatusCode != http.StatusNotFound || !strings.Contains(p.body, "nothing here") {
		t.Errorf("unknown path: %s", p.Status)
	}
	if p := v.read(v.Get(s.url + "/api/nothing")); p.StatusCode != http.StatusNotFound || p.body != `{"error":"not_found"}` {
		t.Errorf("unknown path of the api: %s %s", p.Status, p.body)
	}
	req, err := http.NewRequest(http.MethodPost, s.url+link, strings.NewReader("username=mallory"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example")
	if p := v.read(v.Do(req)); p.StatusCode != http.StatusForbidden {
		t.Errorf("form of another site: %s", p.Status)
	}
}

func TestTwoAtOnceMakeOneAccount(t *testing.T) {
	s := newSite(t)
	setup := s.setupPath()
	race(t, s, setup)
	admin := s.visitor()
	admin.post("/signin", "username", s.accounts()[0], "password", goodPassword)
	race(t, s, admin.invite())
	if n := len(s.accounts()); n != 2 {
		t.Errorf("%d accounts after one setup and one invitation", n)
	}
}

func race(t *testing.T, s *site, link string) {
	t.Helper()
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	prefix := strings.ToLower(strings.Split(link, "/")[1])
	for i := range 8 {
		wg.Go(func() {
			p := s.visitor().join(link, fmt.Sprint(prefix, i), "Racer")
			mu.Lock()
			defer mu.Unlock()
			switch p.StatusCode {
			case http.StatusSeeOther:
				won++
			case http.StatusGone:
			default:
				t.Errorf("loser: %s", p.Status)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d winners for %s", won, prefix)
	}
}

func TestSignInAndOut(t *testing.T) {
	s := newSite(t)
	s.withAdmin()
	v := s.visitor()
	for _, name := range []string{"alice", "nobody", "", "\xff\x00"} {
		p := v.post("/signin", "username", name, "password", "wrong")
		if p.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(p.Find(`[role="alert"]`).Text(), "not right") {
			t.Errorf("%q: %s\n%s", name, p.Status, p.body)
		}
	}
	p := v.post("/signin", "username", " ALICE", "password", goodPassword)
	if p.StatusCode != http.StatusSeeOther || !v.signedIn() {
		t.Fatalf("sign in: %s", p.Status)
	}
	c := p.Cookies()[0]
	if c.Name != "kith_session" || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 90*24*3600 {
		t.Errorf("cookie: %+v", c)
	}
	if p = v.get("/signin"); p.StatusCode != http.StatusSeeOther {
		t.Errorf("sign-in page when signed in: %s", p.Status)
	}
	if p = v.post("/signout"); p.StatusCode != http.StatusSeeOther || v.signedIn() {
		t.Errorf("sign out: %s", p.Status)
	}
	// The cookie itself is worth nothing now.
	req, _ := http.NewRequest(http.MethodGet, s.url+"/api/me", nil)
	req.AddCookie(c)
	if p = s.visitor().read(http.DefaultClient.Do(req)); strings.Contains(p.body, "true") {
		t.Error("a session lives on after signing out")
	}
}

func TestSessionsSlideAndEnd(t *testing.T) {
	s := newSite(t)
	v := s.withAdmin()
	for range 10 {
		s.clock.add(60 * 24 * time.Hour)
		if !v.signedIn() {
			t.Fatal("a session in use ended")
		}
	}
	// A clock that jumps far ahead and back ends nothing for good.
	s.clock.add(10 * 365 * 24 * time.Hour)
	if v.signedIn() {
		t.Error("a session is valid after ten years")
	}
	s.clock.add(-10 * 365 * 24 * time.Hour)
	if !v.signedIn() {
		t.Error("the session is gone after the clock came back")
	}
	s.clock.add(-365 * 24 * time.Hour)
	if !v.signedIn() {
		t.Error("the session is gone after the clock was set back")
	}
	s.clock.add(365*24*time.Hour + sessionLife)
	if v.signedIn() {
		t.Error("an unused session did not end")
	}
}

func TestWrongPasswordsAreLimited(t *testing.T) {
	s := newSite(t)
	s.withAdmin()
	v := s.visitor()
	wrong := func() page { return v.post("/signin", "username", "alice", "password", "wrong password") }
	for i := range 10 {
		if p := wrong(); p.StatusCode != http.StatusUnprocessableEntity {
			t.Fatalf("attempt %d: %s", i, p.Status)
		}
	}
	right := func() page { return v.post("/signin", "username", "alice", "password", goodPassword) }
	p := right()
	if p.StatusCode != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" || p.id("signin-password").Length() != 1 {
		t.Errorf("after ten wrong ones: %s", p.Status)
	}
	s.clock.add(-24 * time.Hour)
	if p = right(); p.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after setting the clock back: %s", p.Status)
	}
	s.clock.add(30 * time.Second)
	if p = right(); p.StatusCode != http.StatusSeeOther {
		t.Errorf("after 30 s: %s", p.Status)
	}
	// The owner at another address is not locked out by a stranger who guesses.
	wrong()
	if elsewhere := s.signInFrom("192.0.2.9:1"); elsewhere != http.StatusSeeOther {
		t.Errorf("from another address: %d", elsewhere)
	}
	// Good ones cost nothing.
	for range 40 {
		if p = s.visitor().post("/signin", "username", "alice", "password", goodPassword); p.StatusCode == http.StatusTooManyRequests {
			s.clock.add(time.Minute)
		}
	}
	// One address is limited too, whatever the names.
	s.clock.add(time.Hour)
	limited := 0
	for i := range 40 {
		if p = v.post("/signin", "username", fmt.Sprint("user", i), "password", "x"); p.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 10 {
		t.Errorf("%d of 40 attempts from one address were refused", limited)
	}
}

// signInFrom signs Alice in from an address.
func (s *site) signInFrom(remote string) int {
	form := url.Values{"username": {"alice"}, "password": {goodPassword}}
	r := httptest.NewRequest(http.MethodPost, "/signin", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code
}

func TestAccountIsBoundedFromEverywhere(t *testing.T) {
	s := newSite(t)
	s.withAdmin()
	refused := 0
	for i := range 100 {
		form := url.Values{"username": {"alice"}, "password": {"wrong password"}}
		r := httptest.NewRequest(http.MethodPost, "/signin", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 40 {
		t.Errorf("%d of 100 guesses from 100 addresses were refused", refused)
	}
}

func TestDiskFullIsSaid(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxPages = 80 })
	alice := s.withAdmin()
	link := alice.invite()
	for i := 0; ; i++ {
		err := s.db.Write(t.Context(), func(tx *db.Tx) error { return tx.SetSetting(fmt.Sprint("fill", i), make([]byte, 1000)) })
		if err != nil {
			break
		}
	}
	var last page
	for i := range 200 { // the last free bytes of pages in use hold a few rows more
		if last = alice.post("/admin/invite"); last.StatusCode == http.StatusInsufficientStorage {
			break
		} else if i == 199 {
			t.Fatal("the disk does not get full")
		}
	}
	if !strings.Contains(last.body, "no room left") || strings.Contains(last.body, "SQL") {
		t.Errorf("%s", last.body)
	}
	if !alice.signedIn() {
		t.Error("reading fails on a full disk")
	}
	if p := s.visitor().join(link, "bob", "Bob"); p.StatusCode != http.StatusInsufficientStorage && p.StatusCode != http.StatusSeeOther {
		t.Errorf("join on a full disk: %s", p.Status)
	}
}

// A server whose disk is full starts all the same, so that people can read and the operator can look.
func TestStartsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	open := func(pages int64) *Server {
		s, err := New(t.Context(), Config{Dev: true, Data: dir, PasswordMemory: 64, MaxPages: pages})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(0)
	if _, err := newSetupLink(t.Context(), s.cfg, s.db, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(1) // SQLite takes this as: no page more than there are
	for i := 0; ; i++ {
		if err := s.db.Write(t.Context(), func(tx *db.Tx) error { return tx.SetSetting(fmt.Sprint(i), make([]byte, 500)) }); err != nil {
			break
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(1)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusOK {
		t.Errorf("ready: %d %s", w.Code, w.Body)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestResetLink(t *testing.T) {
	s := newSite(t)
	alice := s.withAdmin()
	links, err := resetLink(t.Context(), s.cfg, "mimi://localhost/u/alice")
	if err != nil {
		t.Fatal(err)
	}
	path := links[0][strings.Index(links[0], "/reset/"):]
	v := s.visitor()
	if p := v.get(path); p.id("reset-password").Length() != 1 || !strings.Contains(p.body, "alice") {
		t.Errorf("page: %s", p.body)
	}
	if p := v.post(path, "password", "short"); p.StatusCode != http.StatusUnprocessableEntity || p.fault("reset-password") == "" {
		t.Errorf("short: %s", p.Status)
	}
	if p := v.post(path, "password", "another good password"); p.StatusCode != http.StatusSeeOther || !v.signedIn() {
		t.Errorf("reset: %s", p.Status)
	}
	if alice.signedIn() {
		t.Error("the old session is still valid")
	}
	if p := v.post(path, "password", "another good password"); p.StatusCode != http.StatusGone {
		t.Errorf("reused: %s", p.Status)
	}
	if p := s.visitor().post("/signin", "username", "alice", "password", goodPassword); p.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("old password: %s", p.Status)
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; " +
			"manifest-src 'self'; media-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types app",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Strict-Transport-Security":    "",
	}
	v := s.visitor()
	for _, path := range []string{"/", "/signin", "/nothing", "/api/me", "/static/nothing.js"} {
		p := v.get(path)
		for name, value := range want {
			if got := p.Header.Get(name); got != value {
				t.Errorf("%s: %s = %q", path, name, got)
			}
		}
		if strings.Contains(p.body, "style=") || strings.Contains(p.body, "onclick") {
			t.Errorf("%s: inline style or script", path)
		}
	}
}

func TestLanguageFollowsTheBrowser(t *testing.T) {
	s := newSite(t)
	req, _ := http.NewRequest(http.MethodGet, s.url+"/signin", nil)
	req.Header.Set("Accept-Language", "de-AT,de;q=0.9,en;q=0.5")
	v := s.visitor()
	if p := v.read(v.Do(req)); !strings.Contains(p.body, `lang="de"`) || !strings.Contains(p.body, "Anmelden") {
		t.Errorf("%s", p.body)
	}
}

func TestLogHoldsNoSecrets(t *testing.T) {
	s := newSite(t)
	setup := s.setupPath()
	alice := s.visitor()
	p := alice.join(setup, "alice", "Alice Secretname")
	token := p.Cookies()[0].Value
	invite := alice.invite()
	alice.get(invite + "?lang=de&x=secretquery")
	alice.post("/signin", "username", "secretuser", "password", "secretpassword")
	log := s.log.String()
	if !strings.Contains(log, "GET /invite/{code}") || !strings.Contains(log, "POST /admin/invite") {
		t.Errorf("requests are not logged by route:\n%s", log)
	}
	for _, secret := range []string{token, strings.TrimPrefix(setup, "/setup/"), strings.TrimPrefix(invite, "/invite/"),
		"secret", "Secretname", goodPassword, "mimi://"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
}
