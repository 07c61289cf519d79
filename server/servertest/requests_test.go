package servertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/mimi/wire"
	"kith/server/servertest"
)

// genuine is the requests that b has really sent to a, one for each endpoint, with a room in which Alice and Bob are.
type genuine struct {
	alice, bob *servertest.User
	room       string
	all        map[string]seen
}

var targets = map[string]string{"submitMessage": "", "update": "", "groupInfo": "", "notify": "",
	"keyMaterial": "mimi://a.example/u/dave", "identifierQuery": "mimi://a.example",
	"requestConsent": "mimi://a.example", "updateConsent": "mimi://a.example"}

func realRequests(t *testing.T, a, b, c *servertest.Provider) genuine {
	t.Helper()
	atA, atB := record(a), record(b)
	alice, bob, room := club(t, a, b)
	dave := a.User("dave")
	online(t, dave)
	send(t, bob, room, "hello")
	sees(t, alice, room, "hello")
	tablet := b.User("bob") // which asks for groupInfo and joins
	online(t, tablet)
	until(t, "the tablet is in", has(tablet, room))
	must(t, servertest.Acquaint(ctx, bob, dave))
	chat, err := bob.Session.NewChat(ctx, "dave@a.example") // keyMaterial without a room of a's
	must(t, err)
	until(t, "dave is in", has(dave, chat.ID))
	_, err = bob.Session.Search(ctx, "dave@a.example")
	must(t, err)
	out := genuine{alice, bob, room, map[string]seen{}}
	for endpoint := range targets {
		list := atA.of(endpoint)
		if endpoint == "notify" {
			list = atB.of(endpoint)
		}
		if len(list) > 0 {
			out.all[endpoint] = list[len(list)-1]
		}
	}
	a.InFront(nil)
	b.InFront(nil)
	return out
}

// TestTR6OnlyInTheirOwnName: whatever another provider asks for in the name of a user, room or provider that is not its
// own is refused with 403, at every endpoint, although every octet of it is genuine.
func TestTR6OnlyInTheirOwnName(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, c *servertest.Provider) {
		all := realRequests(t, a, b, c)
		thief, err := n.Impostor("c.example")
		must(t, err)
		defer thief.Close()
		for _, endpoint := range []string{"submitMessage", "update", "groupInfo", "keyMaterial", "notify", "updateConsent"} {
			s, ok := all.all[endpoint]
			if !ok {
				t.Errorf("no %s has come", endpoint)
				continue
			}
			to := a
			if endpoint == "notify" {
				to = b
			}
			target, err := url.PathUnescape(strings.TrimPrefix(s.path, "/mimi/v1/"+endpoint+"/"))
			must(t, err)
			t.Run(endpoint, func(t *testing.T) {
				// In c's own name.
				answer, err := thief.Post(ctx, to, endpoint, target, s.body, nil)
				must(t, err)
				refusedWith(t, answer, http.StatusForbidden)
				// In the other's name, with c's certificate.
				answer, err = thief.Post(ctx, to, endpoint, target, s.body, func(r *http.Request) { r.Header.Set("From", s.from) })
				must(t, err)
				refusedWith(t, answer, http.StatusForbidden)
			})
		}
		if got := lines(all.alice, all.room); !slices.Equal(got, []string{"hello"}) {
			t.Errorf("something has come of it: %q", got)
		}
		if !strings.Contains(a.Log.String(), "another provider was refused") || !strings.Contains(a.Log.String(), "is not the provider it says") {
			t.Error("the operator cannot see it")
		}
	})
}

func refusedWith(t *testing.T, a *servertest.Answer, want int) {
	t.Helper()
	// A groupInfo that is not to be had is an answer of the protocol.
	if a.Status != want {
		t.Errorf("status %d (%q), not %d", a.Status, a.Body, want)
	}
}

// TestTR2FromIsOneAddress: From is there once, with the local part mimi and a domain.
func TestTR2FromIsOneAddress(t *testing.T) {
	providers(t, func(n *servertest.Net, a, _, _ *servertest.Provider) {
		caller, err := n.Impostor("b.example")
		must(t, err)
		defer caller.Close()
		for _, from := range [][]string{nil, {""}, {"b.example"}, {"bob@b.example"}, {"mimi@"}, {"MIMI@b.example"}, {"mimi@b.example, mimi@c.example"},
			{"<mimi@b.example>"}, {"mimi@b.example", "mimi@b.example"}, {"mimi@b.example:443"}, {"mimi@[10.0.0.1]"}} {
			answer, err := caller.Post(ctx, a, "identifierQuery", "mimi://a.example", nil, func(r *http.Request) {
				r.Header.Del("From")
				for _, v := range from {
					r.Header.Add("From", v)
				}
			})
			must(t, err)
			if answer.Status != http.StatusBadRequest {
				t.Errorf("From %q: %d", from, answer.Status)
			}
		}
		answer, err := caller.Post(ctx, a, "identifierQuery", "mimi://a.example", nil, func(r *http.Request) { r.Host = "c.example" })
		must(t, err)
		if answer.Status != http.StatusMisdirectedRequest { // TR-1
			t.Errorf("another Host: %d", answer.Status)
		}
		answer, err = caller.Post(ctx, a, "identifierQuery", "mimi://a.example", nil, func(r *http.Request) { r.Host = "a.example:8443" })
		must(t, err)
		if answer.Status != http.StatusBadRequest { // TR-1: the port is ignored, the body is none
			t.Errorf("a Host with a port: %d", answer.Status)
		}
	})
}

// TestTR7Statuses: what is malformed, unknown, too large or too much.
func TestTR7Statuses(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, c *servertest.Provider) {
		all := realRequests(t, a, b, c)
		caller, err := n.Impostor("b.example")
		must(t, err)
		defer caller.Close()
		post := func(endpoint, target string, body []byte, change func(*http.Request)) *servertest.Answer {
			answer, err := caller.Post(ctx, a, endpoint, target, body, change)
			must(t, err)
			return answer
		}
		elsewhere := "mimi://a.example/r/nowhere"
		for endpoint, target := range targets {
			if target == "" {
				target = all.room
			}
			if endpoint == "notify" {
				target = "mimi://b.example/r/x"
			}
			refusedWith(t, post(endpoint, target, []byte("no such struct"), nil), http.StatusBadRequest)
			limit := 1 << 20
			if endpoint == "update" || endpoint == "notify" {
				limit = 16 << 20
			}
			// EN-6: by what is promised and by what comes.
			if answer := post(endpoint, target, make([]byte, limit+1), nil); answer.Status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s of %d octets: %d", endpoint, limit+1, answer.Status)
			}
			if limit < 2<<20 {
				answer := post(endpoint, target, make([]byte, limit+1), func(r *http.Request) { r.ContentLength = -1 })
				if answer.Status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s of %d octets in chunks: %d", endpoint, limit+1, answer.Status)
				}
			}
		}
		for _, endpoint := range []string{"submitMessage", "update"} {
			refusedWith(t, post(endpoint, elsewhere, all.all[endpoint].body, nil), http.StatusNotFound)
		}
		refusedWith(t, post("submitMessage", "mimi://c.example/r/x", all.all["submitMessage"].body, nil), http.StatusNotFound)
		refusedWith(t, post("keyMaterial", "mimi://a.example/u/alice", all.all["keyMaterial"].body, nil), http.StatusBadRequest) // KM-1
		refusedWith(t, post("nothing", all.room, nil, nil), http.StatusNotFound)

		// EN-6: whatever a body says it is. SM-4, UP-13: it is one of before, and so is the answer.
		for _, endpoint := range []string{"submitMessage", "update"} {
			first := post(endpoint, all.room, all.all[endpoint].body, nil)
			again := post(endpoint, all.room, all.all[endpoint].body, func(r *http.Request) { r.Header.Set("Content-Type", "text/html") })
			if first.Status != http.StatusOK || again.Status != http.StatusOK || !bytes.Equal(first.Body, again.Body) {
				t.Errorf("%s: %d %x, then %d %x", endpoint, first.Status, first.Body, again.Status, again.Body)
			}
		}
		resp, err := wire.UnmarshalSubmitMessageResponse(post("submitMessage", all.room, all.all["submitMessage"].body, nil).Body)
		must(t, err)
		if resp.StatusCode != wire.SubmitAccepted {
			t.Errorf("submitted again: %v", resp.StatusCode)
		}
		update, err := wire.UnmarshalUpdateRoomResponse(post("update", all.room, all.all["update"].body, nil).Body)
		must(t, err)
		if update.ResponseCode != wire.UpdateSuccess {
			t.Errorf("updated again: %v", update.ResponseCode)
		}
		// DI-4: without scheme, over several segments.
		answer, err := caller.Post(ctx, a, "submitMessage", "x", all.all["submitMessage"].body, func(r *http.Request) {
			r.URL.Path, r.URL.RawPath = "/mimi/v1/submitMessage/"+strings.TrimPrefix(all.room, "mimi://"), ""
		})
		must(t, err)
		refusedWith(t, answer, http.StatusOK)
		sees(t, all.alice, all.room, "hello")
	})
}

// TestSM4LostAnswerAndCrashOverFederation: the hub has accepted, the answer is lost, the hub is killed: what is asked
// again is what was accepted, once (UP-12).
func TestSM4LostAnswerAndCrashOverFederation(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		link := n.Internet.Link("a.example", "b.example")
		for i := range 3 {
			link.LoseAnswers(2)
			send(t, bob, room, fmt.Sprint("message ", i))
			time.Sleep(time.Second)
			must(t, a.Kill())
			link.Heal()
			must(t, a.Start(ctx))
			time.Sleep(5 * time.Minute)
		}
		online(t, alice, bob)
		sees(t, alice, room, "message 0", "message 1", "message 2")
		sees(t, bob, room, "message 0", "message 1", "message 2")
		// UP-13 as well: a new device joins, and hears of it at the third attempt.
		link.LoseAnswers(3)
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, room))
		send(t, tablet, room, "from my tablet")
		sees(t, alice, room, "message 0", "message 1", "message 2", "from my tablet")
	})
}

// TestKM8ForwardsAreRemembered: the hub knows whose KeyPackages it has handed on, until a Welcome has named them.
func TestKM8ForwardsAreRemembered(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		atB := record(b)
		_, _, room := club(t, a, b)
		asked := atB.of("keyMaterial")
		if len(asked) == 0 {
			t.Fatal("b was not asked")
		}
		req, err := wire.UnmarshalKeyMaterialRequest(asked[len(asked)-1].body)
		must(t, err)
		if req.RoomID.String() != room || req.Verify() != nil { // KM-2: the body is the client's
			t.Errorf("asked for %q", req.RoomID)
		}
		notified := atB.of("notify")
		parts, err := wire.SplitFanoutMessages(notified[0].body, 4096)
		must(t, err)
		welcome := parts[0].Message.Message.Welcome
		if welcome == nil || len(welcome.Secrets) == 0 {
			t.Fatal("the first thing that b gets is no Welcome") // NT-8
		}
		must(t, a.Read(ctx, func(tx *db.Tx) error {
			if provider, of, err := tx.KeyForward(welcome.Secrets[0].NewMember); !errors.Is(err, db.ErrNotFound) {
				t.Errorf("it may be named again: %s, %s, %v", provider, of, err)
			}
			return nil
		}))
	})
}
