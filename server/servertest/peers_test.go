package servertest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/db"
	"kith/server/servertest"
)

// seen is a request of another provider as it came in, and what was answered.
type seen struct {
	method, path, host, from, contentType string
	protocol                              int
	certificate                           []string
	body                                  []byte
	at                                    time.Time
}

// recorder stands in front of a provider, writes down what comes, and answers in its place where a test says so.
type recorder struct {
	mu     sync.Mutex
	all    []seen
	answer func(endpoint string, n int) (status int, retryAfter string) // 0: let it through; n counts from 1 for each endpoint
	counts map[string]int
}

func record(p *servertest.Provider) *recorder {
	r := &recorder{counts: map[string]int{}}
	p.InFront(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			endpoint, is := strings.CutPrefix(req.URL.EscapedPath(), "/mimi/v1/")
			directory := strings.HasPrefix(req.URL.Path, "/.well-known/")
			if !is && !directory {
				next.ServeHTTP(w, req)
				return
			}
			endpoint, _, _ = strings.Cut(endpoint, "/")
			if directory {
				endpoint = "directory"
			}
			if status, wait := r.note(endpoint, req); status != 0 {
				if wait != "" {
					w.Header().Set("Retry-After", wait)
				}
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	return r
}

func (r *recorder) note(endpoint string, req *http.Request) (int, string) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	s := seen{method: req.Method, path: req.URL.EscapedPath(), host: req.Host, from: req.Header.Get("From"),
		contentType: req.Header.Get("Content-Type"), protocol: req.ProtoMajor, body: body, at: time.Now()}
	if len(req.TLS.PeerCertificates) > 0 {
		s.certificate = req.TLS.PeerCertificates[0].DNSNames
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
	r.counts[endpoint]++
	if r.answer == nil {
		return 0, ""
	}
	return r.answer(endpoint, r.counts[endpoint])
}

// of lists what came to an endpoint.
func (r *recorder) of(endpoint string) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	if endpoint == "directory" {
		endpoint = ".well-known"
	}
	return slices.DeleteFunc(slices.Clone(r.all), func(s seen) bool { return !strings.Contains(s.path, "/"+endpoint+"/") })
}

func (r *recorder) answers(f func(endpoint string, n int) (int, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.counts = f, map[string]int{}
}

// club makes a room of Alice's at a in which Bob of b is.
func club(t *testing.T, a, b *servertest.Provider) (alice, bob *servertest.User, room string) {
	t.Helper()
	alice, bob = a.User("alice"), b.User("bob")
	online(t, alice, bob)
	must(t, servertest.Acquaint(ctx, alice, bob))
	g, err := alice.Session.NewGroup(ctx, "club", nil)
	must(t, err)
	must(t, alice.Session.AddMembers(ctx, g.ID, []string{bob.Account.User.String()}))
	until(t, "bob is in", has(bob, g.ID))
	return alice, bob, g.ID
}

func send(t *testing.T, u *servertest.User, room, text string) {
	t.Helper()
	_, err := u.Session.Send(ctx, room, text)
	must(t, err)
}

// TestTR1TR2EveryRequestSaysWhoAsksWhom: what our own requests look like to another provider.
func TestTR1TR2EveryRequestSaysWhoAsksWhom(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		atA, atB := record(a), record(b)
		alice, bob, room := club(t, a, b)
		send(t, alice, room, "from a")
		send(t, bob, room, "from b")
		sees(t, alice, room, "from a", "from b")
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, room))
		for _, list := range []struct {
			r        *recorder
			us, them string
			want     []string
		}{{atA, "b.example", "a.example", []string{"submitMessage", "groupInfo", "update", "updateConsent"}},
			{atB, "a.example", "b.example", []string{"keyMaterial", "notify", "updateConsent"}}} {
			for _, endpoint := range list.want {
				all := list.r.of(endpoint)
				if len(all) == 0 {
					t.Errorf("nothing came to %s of %s", endpoint, list.them)
				}
				for _, s := range all {
					if s.host != list.them || s.from != "mimi@"+list.us || s.method != http.MethodPost || s.contentType != "application/octet-stream" {
						t.Errorf("%s: host %q, from %q, %s, %q", endpoint, s.host, s.from, s.method, s.contentType)
					}
					if !slices.Equal(s.certificate, []string{list.us}) {
						t.Errorf("%s came with a certificate for %q", endpoint, s.certificate)
					}
					// DI-3: one segment, percent-encoded as a whole.
					if target := strings.TrimPrefix(s.path, "/mimi/v1/"+endpoint+"/"); !strings.HasPrefix(target, "mimi%3A%2F%2F") || strings.Contains(target, "/") {
						t.Errorf("%s: path %q", endpoint, s.path)
					}
				}
			}
		}
	})
}

// TestNT4RetryAfterIsHonoured: a provider that says when to come again is left alone until then, whatever it asks for
// itself, and what is repeated is the same octets.
func TestNT4RetryAfterIsHonoured(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		r := record(b)
		r.answers(func(endpoint string, n int) (int, string) {
			if endpoint == "notify" && n == 1 {
				return http.StatusServiceUnavailable, "600"
			}
			return 0, ""
		})
		send(t, alice, room, "one")
		until(t, "the first attempt", func() bool { return len(r.of("notify")) == 1 })
		time.Sleep(20 * time.Second)
		send(t, bob, room, "two") // which shows that b is there
		time.Sleep(5 * time.Minute)
		if n := len(r.of("notify")); n != 1 {
			t.Fatalf("%d attempts within the time it asked for", n)
		}
		sees(t, bob, room, "one", "two")
		all := r.of("notify")
		if wait := all[1].at.Sub(all[0].at); wait < 600*time.Second || wait > 700*time.Second {
			t.Errorf("the second attempt came after %v", wait)
		}
		if !bytes.Equal(all[0].body, all[1].body) { // NT-6
			t.Error("what is repeated is not the same")
		}
	})
}

// TestNT4RefusedThriceIsParked: 403, 404 and 410 three times, then nothing more, and the operator hears of it. Other rooms
// go on, and what was parked is offered again when the provider shows up much later.
func TestNT4RefusedThriceIsParked(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		t.Run(http.StatusText(status), func(t *testing.T) { refusedThrice(t, status) })
	}
}

func refusedThrice(t *testing.T, status int) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		other, err := alice.Session.NewGroup(ctx, "other", []string{bob.Account.User.String()})
		must(t, err)
		until(t, "bob is in the other", has(bob, other.ID))
		r := record(b)
		bad := strings.TrimPrefix(room, "mimi://a.example/r/")
		b.InFront(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.Contains(req.URL.Path, "/notify/") {
					r.note("notify", req)
				}
				if strings.Contains(req.URL.Path, "/notify/") && strings.Contains(req.URL.Path, bad) {
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, req)
			})
		})
		send(t, alice, room, "refused")
		attempts := func() (n int) {
			for _, s := range r.of("notify") {
				if strings.Contains(s.path, bad) {
					n++
				}
			}
			return n
		}
		until(t, "three attempts", func() bool { return attempts() == 3 })
		send(t, alice, other.ID, "taken")
		sees(t, bob, other.ID, "taken")
		send(t, alice, room, "waits behind it")
		time.Sleep(5 * time.Minute)
		if n := attempts(); n != 3 {
			t.Errorf("%d attempts", n)
		}
		if !strings.Contains(a.Log.String(), "a provider refuses the events of a room") {
			t.Error("the operator is not told")
		}
		b.InFront(nil)
		time.Sleep(30 * time.Minute)
		send(t, bob, other.ID, "here")
		sees(t, bob, room, "refused", "waits behind it")
	})
}

// TestNT4OneBadRoomStopsNoOther: an answer that concerns one room, for ever, does not keep the others from being delivered.
func TestNT4OneBadRoomStopsNoOther(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		other, err := alice.Session.NewGroup(ctx, "other", []string{bob.Account.User.String()})
		must(t, err)
		until(t, "bob is in the other", has(bob, other.ID))
		bad := strings.TrimPrefix(room, "mimi://a.example/r/")
		for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusInternalServerError} {
			b.InFront(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if strings.Contains(req.URL.Path, "/notify/") && strings.Contains(req.URL.Path, bad) {
						w.WriteHeader(status)
						return
					}
					next.ServeHTTP(w, req)
				})
			})
			send(t, alice, room, http.StatusText(status))
			start := time.Now()
			text := "beside " + http.StatusText(status)
			send(t, alice, other.ID, text)
			until(t, "the other room", func() bool { return slices.Contains(lines(bob, other.ID), text) })
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%d in one room held the other up for %v", status, took)
			}
		}
		b.InFront(nil)
		time.Sleep(time.Hour)
		sees(t, bob, room, "Bad Request", "Request Entity Too Large", "Internal Server Error")
	})
}

// TestNT4Backoff: the waits grow from about a second to an hour and no further.
func TestNT4Backoff(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		r := record(b)
		r.answers(func(endpoint string, _ int) (int, string) {
			if endpoint == "notify" {
				return http.StatusBadGateway, ""
			}
			return 0, ""
		})
		send(t, alice, room, "patience")
		time.Sleep(24 * time.Hour)
		all := r.of("notify")
		if len(all) < 20 || len(all) > 50 {
			t.Fatalf("%d attempts in a day", len(all))
		}
		for i := 1; i < len(all); i++ {
			wait, full := all[i].at.Sub(all[i-1].at), min(time.Second<<(i-1), time.Hour)
			if i > 20 {
				full = time.Hour
			}
			if wait < full*3/4 || wait > full+time.Second {
				t.Errorf("wait %d was %v, not about %v", i, wait, full)
			}
			if !bytes.Equal(all[i].body, all[0].body) {
				t.Errorf("attempt %d differs from the first", i)
			}
		}
		r.answers(nil)
		time.Sleep(time.Hour)
		sees(t, bob, room, "patience")
	})
}

// TestNT5LostAnswerAndCrash: the answer to a notify gets lost and the hub is killed before it knows; after its start it
// sends the same octets, and the follower stores them once.
func TestNT5LostAnswerAndCrash(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		time.Sleep(time.Minute)
		r := record(b)
		n.Internet.Link("a.example", "b.example").LoseAnswers(1000)
		send(t, alice, room, "once")
		until(t, "it has arrived", func() bool { return len(r.of("notify")) > 0 })
		must(t, a.Kill())
		n.Internet.Link("a.example", "b.example").Heal()
		must(t, a.Start(ctx))
		time.Sleep(time.Minute)
		all := r.of("notify")
		last := all[len(all)-1]
		if len(all) < 2 || !bytes.Equal(all[0].body, last.body) {
			t.Errorf("%d requests, the last one of %d octets, the first of %d", len(all), len(last.body), len(all[0].body))
		}
		sees(t, bob, room, "once")
		// NT-5, once more and by hand: the same body again is a success again.
		impostor, err := n.Impostor("a.example")
		must(t, err)
		defer impostor.Close()
		for range 3 {
			answer, err := impostor.Post(ctx, b, "notify", room, all[0].body, nil)
			must(t, err)
			if answer.Status != http.StatusCreated || len(answer.Body) > 0 { // NT-3
				t.Errorf("status %d, %q", answer.Status, answer.Body)
			}
		}
		send(t, bob, room, "twice?")
		sees(t, bob, room, "once", "twice?")
	})
}

// TestNT12UnknownRoomIsReceived: the hub of a room that nobody here is in learns no more than that it was heard.
func TestNT12UnknownRoomIsReceived(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		send(t, alice, room, "hello")
		sees(t, bob, room, "hello")
		r := record(b)
		send(t, alice, room, "a body")
		until(t, "a body", func() bool { return len(r.of("notify")) == 1 })
		body := r.of("notify")[0].body
		impostor, err := n.Impostor("a.example")
		must(t, err)
		defer impostor.Close()
		for range 50 {
			answer, err := impostor.Post(ctx, b, "notify", "mimi://a.example/r/nowhere", body, nil)
			must(t, err)
			if answer.Status != http.StatusCreated || len(answer.Body) > 0 {
				t.Fatalf("status %d, %q", answer.Status, answer.Body)
			}
		}
		must(t, b.Read(ctx, func(tx *db.Tx) error {
			if _, err := tx.RoomByURI("mimi://a.example/r/nowhere"); err == nil {
				t.Error("a room that nobody is in was stored")
			}
			return nil
		}))
		// The first are told; a provider that goes on cannot fill the log.
		if lines := strings.Count(b.Log.String(), "events of a room that nobody here is in"); lines == 0 || lines > 10 {
			t.Errorf("%d lines in the log", lines)
		}
	})
}

// TestNT9RemovedProviderGetsItsEnd: a provider whose last member is removed gets the commit that does it and nothing
// after, and one that comes late nothing from before (NT-8).
func TestNT9RemovedProviderGetsItsEnd(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, c *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		cathy := c.User("cathy")
		online(t, cathy)
		must(t, servertest.Acquaint(ctx, alice, cathy))
		send(t, alice, room, "before cathy")
		sees(t, bob, room, "before cathy")
		time.Sleep(time.Minute)
		atC := record(c)
		must(t, alice.Session.AddMembers(ctx, room, []string{cathy.Account.User.String()}))
		until(t, "cathy is in", has(cathy, room))
		time.Sleep(time.Minute)
		first := atC.of("notify")
		if len(first) != 1 || cathy.Session == nil {
			t.Fatalf("%d requests to bring somebody in", len(first))
		}
		send(t, alice, room, "with cathy")
		sees(t, cathy, room, "with cathy")
		must(t, alice.Session.RemoveMember(ctx, room, cathy.Account.User.String()))
		until(t, "cathy is out", removed(cathy, room))
		time.Sleep(time.Minute)
		before := len(atC.of("notify"))
		send(t, alice, room, "without cathy")
		sees(t, bob, room, "before cathy", "with cathy", "without cathy")
		time.Sleep(time.Minute)
		if after := len(atC.of("notify")); after != before {
			t.Errorf("%d requests after the end", after-before)
		}
		sees(t, cathy, room, "with cathy")
	})
}

// TestDI2AddressesAreLookedUpAgain: where a provider's endpoints are is kept for a day, and asked again when they are not
// there any more.
func TestDI2AddressesAreLookedUpAgain(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMisdirectedRequest} {
		providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
			r := record(a)
			alice, bob, room := club(t, a, b)
			for i := range 20 {
				send(t, bob, room, string(rune('a'+i)))
				time.Sleep(time.Hour)
			}
			if n := len(r.of("directory")); n != 1 {
				t.Errorf("the directory was fetched %d times in a day", n)
			}
			r.answers(func(endpoint string, n int) (int, string) {
				if endpoint == "submitMessage" && n == 1 {
					return status, ""
				}
				return 0, ""
			})
			before := len(lines(alice, room))
			send(t, bob, room, "moved")
			until(t, "it has arrived", func() bool { return len(lines(alice, room)) == before+1 })
			if n := len(r.of("directory")); n != 2 {
				t.Errorf("after a %d the directory had been fetched %d times", status, n)
			}
			time.Sleep(25 * time.Hour)
			send(t, bob, room, "a day later")
			until(t, "it has arrived", func() bool { return len(lines(alice, room)) == before+2 })
			if n := len(r.of("directory")); n != 3 {
				t.Errorf("after a day the directory had been fetched %d times", n)
			}
		})
	}
}

// TestDI1DirectoryHasAllMembers: what a provider tells everybody, without asking who it is.
func TestDI1DirectoryHasAllMembers(t *testing.T) {
	providers(t, func(n *servertest.Net, a, _, _ *servertest.Provider) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.example/.well-known/mimi-protocol-directory", nil)
		must(t, err)
		resp, err := n.Client("anywhere").Do(r)
		must(t, err)
		defer resp.Body.Close()
		var members map[string]any
		must(t, json.NewDecoder(resp.Body).Decode(&members))
		for endpoint, variable := range map[string]string{"keyMaterial": "targetUser", "update": "roomId", "notify": "roomId",
			"submitMessage": "roomId", "groupInfo": "roomId", "requestConsent": "targetDomain", "updateConsent": "requesterDomain",
			"identifierQuery": "domain", "reportAbuse": "roomId", "proxyDownload": "downloadUrl"} {
			if want := "https://mimi.a.example/mimi/v1/" + endpoint + "/{" + variable + "}"; members[endpoint] != want {
				t.Errorf("%s: %v", endpoint, members[endpoint])
			}
		}
		h := resp.Header
		if resp.StatusCode != http.StatusOK || h.Get("Content-Type") != "application/json" ||
			h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cache-Control") == "" {
			t.Errorf("%d, %v", resp.StatusCode, h)
		}
		if roots, ok := members["x-identityRoots"].([]any); !ok || len(roots) != 1 {
			t.Errorf("identity roots: %v", members["x-identityRoots"])
		}
	})
}
