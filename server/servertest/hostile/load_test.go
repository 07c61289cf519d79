package hostile_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/wire"
	"kith/server/servertest/hostile"
)

// TestEN6BalloonedBodies: what is too large is refused before it is there, said beforehand or not, and a length within a
// body is not believed.
func TestEN6BalloonedBodies(t *testing.T) {
	besiege(t, func(s *siege) {
		for endpoint, limit := range map[string]int64{"submitMessage": 1 << 20, "keyMaterial": 1 << 20, "requestConsent": 1 << 20,
			"groupInfo": 1 << 20, "update": 16 << 20, "notify": 16 << 20} {
			r := hostile.Request{Endpoint: endpoint, Target: s.room.String(), Body: bytes.NewReader(make([]byte, limit+1))}
			s.refused("a large body to "+endpoint, r, nil, http.StatusRequestEntityTooLarge, "too_large")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		// Without an end in sight the answer may come while the body is still on its way, and the connection ends.
		endless := &flood{left: 1 << 30}
		a, err := s.evil.Ask(ctx, hostile.Request{To: s.a.Domain, Endpoint: "submitMessage", Target: s.room.String(), Body: endless})
		if err == nil && a.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of unknown length: %d", a.Status)
		}
		runtime.ReadMemStats(&after)
		if read := int64(1<<30) - endless.left; read > 4<<20 {
			t.Errorf("%d octets of a body that is too large were read", read)
		}
		for _, length := range []string{"\xbf\xff\xff\xff", "\x80\x00\x00\x01", "\xff\xff\xff\xff"} {
			for _, endpoint := range []string{"submitMessage", "update", "notify", "keyMaterial", "groupInfo", "requestConsent", "reportAbuse"} {
				target := s.room.String()
				if endpoint == "notify" {
					target = "mimi://evil.example/r/x"
				}
				if endpoint == "requestConsent" {
					target = s.a.Domain.String()
				}
				r := hostile.Request{Endpoint: endpoint, Target: target}
				s.refused("a body that says to be large to "+endpoint, r, []byte("\x01"+strings.Repeat(length, 3)), http.StatusBadRequest, "bad_request")
			}
		}
	})
}

// TestSlowPeers: who takes its time for a request is not waited for, and takes nothing from others.
func TestSlowPeers(t *testing.T) {
	besiege(t, func(s *siege) {
		start := time.Now()
		const slow = 50
		answers := make(chan string, 2*slow)
		for range slow {
			go func() {
				a, err := s.evil.Ask(ctx, hostile.Request{To: s.a.Domain, Endpoint: "submitMessage", Target: s.room.String(), Body: drip{time.Second}})
				if err != nil {
					answers <- "cut off"
					return
				}
				answers <- fmt.Sprint(a.Status)
			}()
			go func() { // and those who do not even finish their header
				c, err := s.evil.Connect(ctx, hostile.Request{To: s.a.Domain})
				if err == nil {
					_, _ = io.WriteString(c, "POST /mimi/v1/notify/x HTTP/1.1\r\nHost: a.exa")
					_, err = io.ReadAll(c)
					_ = c.Close()
				}
				answers <- fmt.Sprint("header: ", err)
			}()
		}
		time.Sleep(5 * time.Second)
		s.wellBeing() // in the midst of it
		got := map[string]int{}
		for range 2 * slow {
			got[<-answers]++
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("slow peers were waited for %v: %v", d, got)
		}
		if got["cut off"]+got["400"]+got["408"] != slow {
			t.Errorf("slow bodies: %v", got)
		}
	})
}

// TestIQ3GuessingNames: a provider cannot try out what users there may be here, and takes nothing from others by trying.
func TestIQ3GuessingNames(t *testing.T) {
	besiege(t, func(s *siege) {
		query := func(r hostile.Request, name string) int {
			q := wire.IdentifierRequest{QueryElements: []wire.QueryElement{{SearchType: wire.SearchHandle, SearchValue: "mimi://a.example/u/" + name}}}
			r.Endpoint, r.Target = "identifierQuery", s.a.Domain.String()
			return s.ask(r, encode(t, &q)).Status
		}
		statuses := map[int]int{}
		for i := range 3000 {
			statuses[query(hostile.Request{Keep: true}, fmt.Sprintf("m%d", i))]++
		}
		if statuses[http.StatusOK] == 0 || statuses[http.StatusTooManyRequests] < 500 {
			t.Errorf("answers: %v", statuses)
		}
		b := hostile.Request{From: []string{"mimi@b.example"}, Certificate: s.certificate("b.example")}
		if got := query(b, "alice"); got != http.StatusOK {
			t.Errorf("another provider: %d", got)
		}
	})
}

// TestCO5TenThousandRequests: a provider can ask for consent in the name of as many users as it likes; what is kept of it
// and shown is bounded, and who asks honestly is heard.
func TestCO5TenThousandRequests(t *testing.T) {
	besiege(t, func(s *siege) {
		statuses := map[int]int{}
		for i := range 10_000 {
			user, err := mimi.NewUserID(s.evil.Domain, fmt.Sprintf("m%d", i))
			must(t, err)
			ask := wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: user, TargetURI: s.dave.Account.User}
			a := s.ask(hostile.Request{Endpoint: "requestConsent", Target: s.a.Domain.String(), Keep: true}, encode(t, &ask))
			statuses[a.Status]++
			if a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") == "" {
				t.Fatal("no Retry-After")
			}
		}
		if statuses[http.StatusCreated]+statuses[http.StatusTooManyRequests] != 10_000 || statuses[http.StatusTooManyRequests] == 0 {
			t.Errorf("answers: %v", statuses)
		}
		time.Sleep(time.Minute)
		requests, err := s.dave.Session.Requests(ctx)
		must(t, err)
		if n := len(requests.Incoming); n == 0 || n > 100 {
			t.Errorf("Dave sees %d requests", n)
		}
		honest := wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: s.bob.Account.User, TargetURI: s.alice.Account.User}
		a := s.ask(hostile.Request{Endpoint: "requestConsent", Target: s.a.Domain.String(), From: []string{"mimi@b.example"},
			Certificate: s.certificate("b.example")}, encode(t, &honest))
		if a.Status != http.StatusCreated {
			t.Errorf("a request of another provider: %d", a.Status)
		}
	})
}
