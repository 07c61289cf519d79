package servertest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/server"
	"kith/server/servertest"
)

// admin does something on the page of other providers.
func admin(t *testing.T, u *servertest.User, path string, form url.Values) {
	t.Helper()
	status, text, err := u.Page(ctx, "/admin/peers"+path, form)
	must(t, err)
	if status != http.StatusSeeOther {
		t.Fatalf("%s: %d %.300s", path, status, text)
	}
}

func peersPage(t *testing.T, u *servertest.User) string {
	t.Helper()
	status, text, err := u.Page(ctx, "/admin/peers?lang=en", nil)
	must(t, err)
	if status != http.StatusOK {
		t.Fatalf("the page: %d", status)
	}
	return text
}

// TestSuspendedProviderWaits: nothing is sent to a suspended provider or taken from it; what happens meanwhile waits and
// arrives, in order, when it is taken up again. The rooms stay.
func TestSuspendedProviderWaits(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		send(t, alice, room, "before")
		sees(t, bob, room, "before")
		for _, stop := range []struct {
			name     string
			mode     string
			do, undo string
		}{{"suspended", "open", "suspend", "resume"}, {"refused", "deny", "deny", "allow"}, {"not allowed", "allow", "forget", "allow"}} {
			admin(t, alice, "/mode", url.Values{"mode": {"open"}})
			admin(t, alice, "/change?domain=b.example", url.Values{"do": {"allow"}})
			admin(t, alice, "/mode", url.Values{"mode": {stop.mode}})
			admin(t, alice, "/change?domain=b.example", url.Values{"do": {stop.do}})
			r := record(b)
			send(t, alice, room, "from a, "+stop.name)
			if stop.mode == "open" {
				send(t, bob, room, "from b, "+stop.name)
			}
			time.Sleep(10 * time.Minute)
			if n := len(r.of("notify")) + len(r.of("directory")); n != 0 {
				t.Errorf("%s: %d requests were sent", stop.name, n)
			}
			if got := lines(alice, room); slices.Contains(got, "from b, "+stop.name) {
				t.Errorf("%s: something was taken", stop.name)
			}
			// A start in between changes nothing.
			must(t, a.Stop())
			must(t, a.Start(ctx))
			online(t, alice)
			time.Sleep(10 * time.Minute)
			if n := len(r.of("notify")); n != 0 {
				t.Errorf("%s: %d requests were sent after a start", stop.name, n)
			}
			if text := peersPage(t, alice); !strings.Contains(text, "wait to be delivered") && !strings.Contains(text, "waits to be delivered") {
				t.Errorf("%s: the page does not say what waits", stop.name)
			}
			admin(t, alice, "/change?domain=b.example", url.Values{"do": {stop.undo}})
			until(t, "everything has arrived", func() bool {
				x, y := lines(alice, room), lines(bob, room)
				return (stop.mode != "open" || slices.Contains(x, "from b, "+stop.name)) && slices.Contains(y, "from a, "+stop.name) && slices.Equal(x, y)
			})
			b.InFront(nil)
		}
	})
}

// otherRoot makes another identity root for a domain: that of another server of that name.
func otherRoot(t *testing.T, n *servertest.Net, domain string) string {
	t.Helper()
	s, err := server.New(ctx, server.Config{Domain: domain, Data: t.TempDir(), Now: n.Now, PasswordMemory: 64,
		Certificate: nil, TLSCert: "", Dev: true, Federation: "127.0.0.1:1"})
	must(t, err)
	defer func() { must(t, s.Close(ctx)) }()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+domain+"/.well-known/mimi-protocol-directory", nil))
	var members map[string]any
	must(t, json.Unmarshal(w.Body.Bytes(), &members))
	return members["x-identityRoots"].([]any)[0].(string)
}

// TestCR2ChangedRootsWaitForTheAdministrator: roots are pinned when they are first seen. Others are not taken, the
// administrator sees them, and believes them only by saying so, of exactly those that the page has shown.
func TestCR2ChangedRootsWaitForTheAdministrator(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		pinned := func() (p db.Peer) {
			must(t, a.Read(ctx, func(tx *db.Tx) (err error) { p, err = tx.Peer("b.example"); return err }))
			return p
		}
		first := pinned()
		if len(first.Roots) == 0 || len(first.Offered) != 0 {
			t.Fatalf("not pinned on first use: %d, %d", len(first.Roots), len(first.Offered))
		}
		second, third := otherRoot(t, n, "b.example"), otherRoot(t, n, "b.example")
		names := func(extra ...string) {
			b.InFront(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
						next.ServeHTTP(w, r)
						return
					}
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					var members map[string]any
					must(t, json.Unmarshal(answer.Body.Bytes(), &members))
					list := members["x-identityRoots"].([]any)
					for _, root := range extra {
						list = append(list, root)
					}
					members["x-identityRoots"] = list
					w.Header().Set("Content-Type", "application/json")
					must(t, json.NewEncoder(w).Encode(members))
				})
			})
		}
		names(second)
		time.Sleep(25 * time.Hour)
		send(t, alice, room, "a day later")
		sees(t, bob, room, "a day later")
		p := pinned()
		if !slices.Equal(p.Roots, first.Roots) || len(p.Offered) == 0 {
			t.Fatal("the changed roots were taken, or not kept for the administrator")
		}
		text := peersPage(t, alice)
		if !strings.Contains(text, "It shows a new identity") || !strings.Contains(text, `data-testid="peer-accept"`) {
			t.Fatal("the page does not show it")
		}
		action := actionOf(text)
		// Meanwhile it changes once more: what was looked at is not what is offered.
		names(third)
		time.Sleep(25 * time.Hour)
		send(t, alice, room, "another day")
		sees(t, bob, room, "a day later", "another day")
		admin(t, alice, strings.TrimPrefix(action, "/admin/peers"), url.Values{"do": {"accept"}})
		if got := pinned(); !slices.Equal(got.Roots, first.Roots) {
			t.Fatal("roots were accepted that nobody had seen")
		}
		admin(t, alice, strings.TrimPrefix(actionOf(peersPage(t, alice)), "/admin/peers"), url.Values{"do": {"accept"}})
		if got := pinned(); slices.Equal(got.Roots, first.Roots) || len(got.Offered) != 0 {
			t.Fatal("the administrator's word does not count")
		}
		// Two roots: certificates of the first are still good.
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, room))
		send(t, tablet, room, "from my tablet")
		until(t, "it arrives", func() bool { return slices.Contains(lines(alice, room), "from my tablet") })
	})
}

// actionOf finds where the form of the first provider is posted.
func actionOf(page string) string {
	_, rest, _ := strings.Cut(page, `data-testid="peer"`)
	_, rest, _ = strings.Cut(rest, `action="`)
	action, _, _ := strings.Cut(rest, `"`)
	return strings.ReplaceAll(action, "&amp;", "&")
}
