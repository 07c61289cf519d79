package hostile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/mimi"
	"kith/server/servertest"
	"kith/server/servertest/hostile"
	"kith/web/client"
)

var ctx = context.Background()

// siege is a world with a hostile provider in it. Alice and Dave live at a.example and Bob at b.example; they share a
// room at a.example that must not suffer. Mallory lives at evil.example; she is a plain member of another room there.
type siege struct {
	t                *testing.T
	net              *servertest.Net
	a, b             *servertest.Provider
	evil             *hostile.Peer
	alice, dave, bob *servertest.User
	mallory          *hostile.Device
	healthy          string      // Alice, Bob, Dave
	room             mimi.RoomID // Alice, Mallory, and Bob
	said             []string    // in the healthy room
	told             bool        // the operators have read of evil.example
}

func besiege(t *testing.T, attack func(s *siege)) {
	t.Helper()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	servertest.Bubble(t, func(t *testing.T) {
		n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		must(t, err)
		s := &siege{t: t, net: n}
		defer func() {
			if t.Failed() && s.a != nil {
				t.Logf("%s:\n%s", s.a.Domain, s.a.Log)
			}
			if s.evil != nil {
				s.evil.Close()
			}
			if s.mallory != nil {
				s.mallory.Conn.Close()
			}
			must(t, n.Close())
			time.Sleep(time.Minute) // let what is left of connections end
		}()
		s.a, err = n.Provider(ctx, "a.example", dirs[0], "alice", "dave")
		must(t, err)
		s.b, err = n.Provider(ctx, "b.example", dirs[1], "bob")
		must(t, err)
		s.evil, err = hostile.New(ctx, n, "evil.example", dirs[2], "mallory")
		must(t, err)
		s.alice, s.dave, s.bob = s.a.User("alice"), s.a.User("dave"), s.b.User("bob")
		s.until("all are there", func() bool { return s.alice.Ready(ctx) && s.dave.Ready(ctx) && s.bob.Ready(ctx) })
		must(t, servertest.Acquaint(ctx, s.alice, s.bob))
		s.healthy = s.newRoom("healthy", s.bob.Account.User, s.dave.Account.User)
		s.mallory, err = s.evil.Device(ctx, "mallory", s.a, s.b)
		must(t, err)
		must(t, s.alice.Session.AcceptRequest(ctx, s.mallory.User.String(), ""))
		must(t, s.mallory.Grant(ctx, s.alice.Account.User))
		id := s.newRoom("mixed", s.bob.Account.User, s.mallory.User)
		s.room, err = mimi.ParseRoomID(id)
		must(t, err)
		must(t, s.mallory.Enter(ctx, s.room))
		s.wellBeing()
		attack(s)
		s.wellBeing()
		for _, p := range []*servertest.Provider{s.a, s.b} {
			if log := p.Log.String(); strings.Contains(log, "panic") || strings.Contains(log, "mimi://") {
				t.Errorf("%s: the log holds a panic or a URI", p.Domain)
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *siege) until(what string, cond func() bool) {
	s.t.Helper()
	if !servertest.Until(10*time.Minute, cond) {
		s.t.Fatalf("never: %s", what)
	}
}

func (s *siege) newRoom(name string, users ...mimi.UserID) string {
	s.t.Helper()
	var members []string
	for _, u := range users {
		members = append(members, u.String())
	}
	room, err := s.alice.Session.NewGroup(ctx, name, members)
	must(s.t, err)
	s.until(name, func() bool {
		list, err := s.alice.Members(ctx, room.ID)
		return err == nil && len(list) > len(members) && (slices.Contains(members, s.bob.Account.User.String()) == (s.bob.Room(ctx, room.ID).ID != ""))
	})
	return room.ID
}

// wellBeing lets all write into the healthy room, and all see it, in the same order.
func (s *siege) wellBeing() {
	s.t.Helper()
	users := []*servertest.User{s.alice, s.bob, s.dave}
	for _, u := range users {
		text := fmt.Sprintf("%d: %s is well", len(s.said), u.Name)
		_, err := u.Session.Send(ctx, s.healthy, text)
		must(s.t, err)
		s.said = append(s.said, text)
		for _, other := range users {
			s.until(other.Name+" sees that "+u.Name+" is well", func() bool { return slices.Equal(s.texts(other, s.healthy), s.said) })
		}
	}
}

// texts are the messages that somebody sees in a room.
func (s *siege) texts(u *servertest.User, room string) []string {
	s.t.Helper()
	history, err := u.History(ctx, room)
	must(s.t, err)
	var texts []string
	for _, m := range history {
		if m.Kind == "message" && (m.State == client.MessageSent || m.State == client.MessageReceived) {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// ask sends a request to a.example, unless it says otherwise.
func (s *siege) ask(r hostile.Request, body []byte) *hostile.Answer {
	s.t.Helper()
	if r.To.IsZero() {
		r.To = s.a.Domain
	}
	if r.Body == nil {
		r.Body = bytes.NewReader(body)
	}
	a, err := s.evil.Ask(ctx, r)
	must(s.t, err)
	return a
}

// refused demands a status and a code as the answer, and that the operator of the provider can see it.
func (s *siege) refused(what string, r hostile.Request, body []byte, status int, code string) {
	s.t.Helper()
	p := s.a
	if r.To == s.b.Domain {
		p = s.b
	}
	before := len(p.Log.String())
	a := s.ask(r, body)
	if got := strings.TrimSpace(string(a.Body)); a.Status != status || got != code {
		s.t.Errorf("%s: %d %.60q, want %d %q", what, a.Status, got, status, code)
	}
	// The first lines of many say who it was, if From and certificate belong together; the figures count them all.
	told := `"another provider was refused" peer=evil.example endpoint=` + r.Endpoint + " code=" + code
	log := p.Log.String()
	if s.told = s.told || strings.Contains(log, told); r.From != nil {
		s.told = true
	}
	if !s.told || !strings.Contains(log[before:], "status="+fmt.Sprint(status)) {
		s.t.Errorf("%s: the operator sees nothing of it: %s", what, log[before:])
	}
}

// cannotConnect demands that there is not even a connection.
func (s *siege) cannotConnect(what string, r hostile.Request) {
	s.t.Helper()
	if r.To.IsZero() {
		r.To = s.a.Domain
	}
	r.Endpoint, r.Target, r.Body = "notify", s.room.String(), http.NoBody
	if a, err := s.evil.Ask(ctx, r); err == nil {
		s.t.Errorf("%s: answered with %d", what, a.Status)
	}
}

// drip is a body that comes an octet at a time, and never ends.
type drip struct{ every time.Duration }

// Read implements io.Reader.
func (d drip) Read(p []byte) (int, error) {
	time.Sleep(d.every)
	p[0] = 'x'
	return 1, nil
}

// flood is a body of so many octets.
type flood struct{ left int64 }

// Read implements io.Reader.
func (f *flood) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.left)
	clear(p[:n])
	f.left -= n
	return int(n), nil
}
