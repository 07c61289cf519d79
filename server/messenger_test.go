package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/server"
	"kith/server/servertest"
	"kith/web/api"
)

const testDomain = "a.example"

// provider is a server on a network in memory, and the devices of its users.
type provider struct {
	t        *testing.T
	dir      string
	config   server.Config
	domain   mimi.ProviderID
	accounts map[string]servertest.Account
	network  *servertest.Network
	server   *server.Server
	http     *http.Server
	log      *logBuffer
	open     []*servertest.Conn
}

// logBuffer keeps the log of a server.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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

// inBubble runs a test with a provider inside synctest: time stands still until everybody waits, and every goroutine
// must have ended with the test.
func inBubble(t *testing.T, names []string, fn func(t *testing.T, p *provider)) {
	t.Helper()
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		p := newProvider(t, dir, nil, names...)
		fn(t, p)
		p.stop()
	})
}

func newProvider(t *testing.T, dir string, adjust func(*server.Config), names ...string) *provider {
	t.Helper()
	domain, err := mimi.NewProviderID(testDomain)
	if err != nil {
		t.Fatal(err)
	}
	// The bubble's clock begins in 2000, before any certificate of ours.
	offset := time.Until(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	p := &provider{t: t, dir: dir, domain: domain, accounts: make(map[string]servertest.Account), log: new(logBuffer)}
	p.config = server.Config{Domain: testDomain, Data: dir, Dev: true, Now: func() time.Time { return time.Now().Add(offset) },
		Log: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if adjust != nil {
		adjust(&p.config)
	}
	list, err := servertest.Accounts(t.Context(), dir, domain, p.config.Now(), names...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		p.accounts[name] = list[i]
	}
	p.start()
	return p
}

func (p *provider) start() {
	p.t.Helper()
	var err error
	if p.server, err = server.New(p.t.Context(), p.config); err != nil {
		p.t.Fatal(err)
	}
	p.network = servertest.NewNetwork()
	p.http = &http.Server{Handler: p.server.Handler()}
	go p.http.Serve(p.network)
}

// stop ends everything as a supervisor would.
func (p *provider) stop() {
	p.t.Helper()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
	p.http.Close()
	if err := p.server.Close(context.Background()); err != nil {
		p.t.Error(err)
	}
	text := p.log.String()
	for _, banned := range []string{"mimi://", "panic"} {
		if i := strings.Index(text, banned); i >= 0 {
			p.t.Errorf("the log holds %q: %s", banned, text[max(0, i-100):min(len(text), i+2000)])
		}
	}
	for name, a := range p.accounts {
		if strings.Contains(text, a.Token) {
			p.t.Errorf("the log holds the token of %s", name)
		}
	}
}

func (p *provider) user(name string) mimi.UserID { return p.accounts[name].User }

func (p *provider) room(name string) mimi.RoomID {
	id, err := mimi.NewRoomID(p.domain, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *provider) dial(name string) *servertest.Conn {
	p.t.Helper()
	c, err := servertest.Dial(p.t.Context(), p.network.Client(), "http://"+testDomain, p.accounts[name])
	if err != nil {
		p.t.Fatal(err)
	}
	p.open = append(p.open, c)
	return c
}

// member is a device with its connection.
type member struct {
	*servertest.Device
	t *testing.T
	c *servertest.Conn
}

// device registers a new device of a user and connects it, with some KeyPackages.
func (p *provider) device(name string) *member {
	p.t.Helper()
	c := p.dial(name)
	d, err := servertest.Register(p.t.Context(), c, p.accounts[name], p.config.Now)
	if err != nil {
		p.t.Fatal(err)
	}
	m := &member{d, p.t, c}
	m.hello()
	if err := d.Publish(p.t.Context(), c, 5); err != nil {
		p.t.Fatal(err)
	}
	return m
}

func (m *member) hello() *api.HelloResponse {
	m.t.Helper()
	resp, err := m.Hello(m.t.Context(), m.c)
	if err != nil {
		m.t.Fatal(err)
	}
	return resp
}

// reconnect replaces the member's connection by a new one with a Hello from its cursor.
func (p *provider) reconnect(m *member) {
	p.t.Helper()
	m.c.Close()
	m.c = p.dial(m.User.Name())
	m.hello()
}

func (m *member) send(id mimi.RoomID, text string) uint64 {
	m.t.Helper()
	ts, err := m.Send(m.t.Context(), m.c, id, text)
	if err != nil {
		m.t.Fatal(err)
	}
	return ts
}

func (m *member) receive() *servertest.Received {
	m.t.Helper()
	r, err := m.Receive(m.t.Context(), m.c)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// texts receives events until n messages have come, and returns them.
func (m *member) texts(n int) []string {
	m.t.Helper()
	var texts []string
	for len(texts) < n {
		if r := m.receive(); r.Text != "" {
			texts = append(texts, r.Text)
		}
	}
	return texts
}

// closed waits for the connection to end and checks the code.
func (m *member) closed(want websocket.StatusCode, reason string) {
	m.t.Helper()
	for {
		_, err := m.c.Next(m.t.Context())
		if err == nil {
			continue
		}
		var ce websocket.CloseError
		if !errors.As(err, &ce) || ce.Code != want || ce.Reason != reason {
			m.t.Fatalf("closed with %v, want %d %s", err, want, reason)
		}
		return
	}
}

// quiet checks that nothing but silence comes: after a ping, events would have come first.
func (m *member) quiet() {
	m.t.Helper()
	if _, err := m.c.Call(m.t.Context(), api.OpPing, "", nil); err != nil {
		m.t.Fatal(err)
	}
	synctest.Wait()
	for _, f := range m.c.Pending {
		if e, ok := f.(*api.Event); ok {
			m.t.Fatalf("unexpected event %d", e.Cursor)
		}
	}
}

// group makes a room with the devices in it; the first one creates it.
func (p *provider) group(id mimi.RoomID, members ...*member) {
	p.t.Helper()
	first := members[0]
	if err := first.CreateRoom(p.t.Context(), first.c, id, "Room", mimi.UserID{}); err != nil {
		p.t.Fatal(err)
	}
	var users []mimi.UserID
	for _, m := range members[1:] {
		users = append(users, m.User)
	}
	if err := first.Add(p.t.Context(), first.c, id, users...); err != nil {
		p.t.Fatal(err)
	}
	for _, m := range members[1:] {
		if r := m.receive(); !r.Joined || r.Room != id {
			p.t.Fatalf("%+v is not a Welcome", r)
		}
	}
}

func TestTwoPeopleTalk(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		if err := alice.CreateRoom(t.Context(), alice.c, id, "", bob.User); err != nil {
			t.Fatal(err)
		}
		if err := alice.Add(t.Context(), alice.c, id, bob.User); err != nil {
			t.Fatal(err)
		}
		if r := bob.receive(); !r.Joined {
			t.Fatalf("%+v", r)
		}
		last := alice.send(id, "hello")
		for i, m := range []*member{alice, bob} {
			if r := m.receive(); r.Text != "hello" || r.Time != last || r.Mine != (i == 0) {
				t.Errorf("%+v", r)
			}
		}
		for i := range 20 {
			// SM-5: the clock stands still, the timeline does not
			ts := bob.send(id, fmt.Sprint(i))
			if ts <= last {
				t.Errorf("timestamp %d after %d", ts, last)
			}
			last = ts
		}
		if got := strings.Join(alice.texts(20), " "); got != strings.Join(bob.texts(20), " ") {
			t.Errorf("alice saw %s", got)
		}
		// a second room of the same two is refused, whoever asks
		if err := bob.CreateRoom(t.Context(), bob.c, p.room("r2"), "", alice.User); err == nil {
			t.Error("a second direct room was made")
		}
		for _, m := range []*member{alice, bob} {
			body, err := m.c.Call(t.Context(), api.OpRooms, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if rooms, err := api.UnmarshalStringList(body); err != nil || len(rooms) != 1 || rooms[0] != id.String() {
				t.Errorf("rooms %v %v", rooms, err)
			}
		}
	})
}

// TestEverybodySeesOneOrder lets five devices send at once without waiting for answers.
func TestEverybodySeesOneOrder(t *testing.T) {
	names := []string{"a1", "a2", "a3", "a4", "a5"}
	inBubble(t, names, func(t *testing.T, p *provider) {
		var members []*member
		for _, n := range names {
			members = append(members, p.device(n))
		}
		id := p.room("r1")
		p.group(id, members...)
		const each = 40
		orders := make([][]string, len(members))
		var wg sync.WaitGroup
		for i, m := range members {
			wg.Go(func() {
				for k := range each {
					body, err := m.Encrypt(id, fmt.Sprintf("%d.%d", i, k))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := m.c.Request(t.Context(), api.OpSubmitMessage, id.String(), body); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i, m := range members {
			wg.Go(func() {
				// sending and receiving share a Conn, but not its parts
				reader := &member{m.Device, t, &servertest.Conn{WS: m.c.WS}}
				for len(orders[i]) < each*len(members) {
					e, err := reader.c.NextEvent(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					orders[i] = append(orders[i], fmt.Sprint(e.Cursor))
				}
			})
		}
		wg.Wait()
		for i := range orders {
			if strings.Join(orders[i], " ") != strings.Join(orders[0], " ") {
				t.Errorf("device %d saw another order", i)
			}
		}
	})
}

func TestResumeFromCursor(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		sent := 0
		next := func() { alice.send(id, fmt.Sprint(sent)); sent++ }
		got := 0
		check := func() {
			t.Helper()
			for _, text := range bob.texts(sent - got) {
				if text != fmt.Sprint(got) {
					t.Fatalf("got %s, want %d", text, got)
				}
				got++
			}
			bob.quiet()
		}
		for round := range 5 {
			bob.c.Close()
			for range 3 + 100*round {
				next()
			}
			p.reconnect(bob)
			for range round { // while the backlog is being sent
				next()
			}
			check()
		}
		// a cursor that is not the last one handled: everything behind it comes again
		bob.Cursor -= 2
		if head := p.restream(bob); len(head) != 2 {
			t.Errorf("%d events behind the cursor, want 2", len(head))
		}
	})
}

// restream reconnects and reads until the stream has caught up, without handling.
func (p *provider) restream(m *member) (cursors []uint64) {
	p.t.Helper()
	p.reconnect(m)
	for {
		f, err := m.c.Next(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		switch f := f.(type) {
		case *api.Event:
			cursors = append(cursors, f.Cursor)
		case *api.CaughtUp:
			return cursors
		}
	}
}

// TestBacklogMeetsLiveEvents reconnects again and again while somebody sends as fast as possible: no gap, no repetition.
func TestBacklogMeetsLiveEvents(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		const count = 600
		done := make(chan bool)
		go func() {
			defer close(done)
			for i := range count {
				if _, err := alice.Send(t.Context(), alice.c, id, fmt.Sprint(i)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for got := 0; got < count; {
			for range 37 {
				if got == count {
					break
				}
				if r := bob.receive(); r.Text != fmt.Sprint(got) {
					t.Fatalf("got %q, want %d", r.Text, got)
				}
				got++
			}
			p.reconnect(bob)
		}
		<-done
	})
}

func TestSlowReaderIsServedFromTheDatabase(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		const count = 1500 // more than a socket's queue
		for i := range count {
			alice.send(id, fmt.Sprint(i))
		}
		for i, text := range bob.texts(count) {
			if text != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", text, i)
			}
		}
		bob.quiet()
	})
}

func TestReaderThatStopsIsDisconnected(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		for i := range 20 {
			alice.send(id, fmt.Sprint(i)) // bob does not read: over a pipe even the first one blocks
		}
		keep := make(chan struct{})
		go func() { // alice does, and stays
			for {
				if _, err := alice.c.Next(t.Context()); err != nil {
					close(keep)
					return
				}
			}
		}()
		time.Sleep(2 * time.Minute)
		bob.c.Pending = nil
		var err error
		for err == nil {
			_, err = bob.c.Read(t.Context())
		}
		select {
		case <-keep:
			t.Error("the reader that reads was disconnected too")
		default:
		}
		bob.c = p.dial("bob")
		bob.hello()
		bob.texts(20)
		alice.c.Close()
		<-keep
	})
}

func TestReplacedConnection(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		old := &member{bob.Device, t, bob.c}
		bob.c = p.dial("bob")
		bob.hello()
		old.closed(api.CloseReplaced, api.ReasonReplaced)
		alice.send(id, "still there")
		if got := bob.texts(1); got[0] != "still there" {
			t.Error(got)
		}
	})
}

func TestSignOutEndsSockets(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob := p.device("alice"), p.device("bob")
		request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+testDomain+"/signout", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.AddCookie(&http.Cookie{Name: "kith_session", Value: alice.Token})
		client := p.network.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		alice.closed(api.CloseSignedOut, api.ReasonSignedOut)
		bob.quiet()
		if _, err := servertest.Dial(t.Context(), p.network.Client(), "http://"+testDomain, alice.Account); err == nil {
			t.Error("the session still opens sockets")
		}
	})
}

func TestSM4DuplicateSubmit(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		carol := p.device("carol")
		p.group(id, alice, bob)
		body, err := alice.Encrypt(id, "once")
		if err != nil {
			t.Fatal(err)
		}
		var first uint64
		for i := range 3 {
			ts, err := alice.Submit(t.Context(), alice.c, id, body)
			if err != nil || first != 0 && ts != first {
				t.Errorf("time %d: %d %v, want %d", i, ts, err, first)
			}
			first = ts
		}
		// pipelined: both are on their way before the first is answered
		twice, err := alice.Encrypt(id, "twice")
		if err != nil {
			t.Fatal(err)
		}
		r := &api.Request{ID: 900, Op: api.OpSubmitMessage, Target: id.String(), Body: twice}
		again := *r
		again.ID = 901
		if err := alice.c.Send(t.Context(), r, &again); err != nil {
			t.Fatal(err)
		}
		a, err1 := alice.c.Await(t.Context(), 900)
		b, err2 := alice.c.Await(t.Context(), 901)
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%x %v, %x %v", a, err1, b, err2)
		}
		// in a later epoch, and after a restart
		alice.texts(2)
		if err := alice.Add(t.Context(), alice.c, id, carol.User); err != nil {
			t.Fatal(err)
		}
		if ts, err := alice.Submit(t.Context(), alice.c, id, body); err != nil || ts != first {
			t.Errorf("in the next epoch: %d %v, want %d", ts, err, first)
		}
		p.stop()
		p.start()
		alice.c = p.dial("alice")
		alice.hello()
		if ts, err := alice.Submit(t.Context(), alice.c, id, body); err != nil || ts != first {
			t.Errorf("after a restart: %d %v, want %d", ts, err, first)
		}
		bob.c = p.dial("bob")
		bob.hello()
		if got := bob.texts(2); got[0] != "once" || got[1] != "twice" {
			t.Error(got)
		}
	})
}

func TestUP13DuplicateUpdate(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		body, err := alice.Commit(id, func(v *room.View) ([]mls.Proposal, error) { return room.Rename(v, "New") })
		if err != nil {
			t.Fatal(err)
		}
		var first []byte
		for range 3 {
			answer, err := alice.c.Call(t.Context(), api.OpUpdate, id.String(), body)
			if err != nil || first != nil && !bytes.Equal(first, answer) {
				t.Errorf("%x %v, want %x", answer, err, first)
			}
			first = answer
		}
		if r := bob.receive(); !r.Commit {
			t.Errorf("%+v", r)
		}
		bob.quiet()
	})
}

// TestUP2OneCommitPerEpoch lets two devices commit at once, many times; the loser drains and tries again.
func TestUP2OneCommitPerEpoch(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		if err := alice.Change(t.Context(), alice.c, id, func(v *room.View) ([]mls.Proposal, error) {
			return room.ChangeRole(v, bob.User, 4)
		}); err != nil {
			t.Fatal(err)
		}
		bob.receive()
		lost := 0
		for round := range 30 {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i, m := range []*member{alice, bob} {
				wg.Go(func() {
					name := fmt.Sprintf("name %d of %d", round, i)
					for {
						err := m.Change(t.Context(), m.c, id, func(v *room.View) ([]mls.Proposal, error) { return room.Rename(v, name) })
						if err == nil {
							return
						}
						if !errors.Is(err, servertest.ErrWrongEpoch) {
							t.Error(err)
							return
						}
						mu.Lock()
						lost++
						mu.Unlock()
						if r, err := m.Receive(t.Context(), m.c); err != nil || !r.Commit {
							t.Errorf("%+v %v", r, err)
							return
						}
					}
				})
			}
			wg.Wait()
			for _, m := range []*member{alice, bob} {
				for m.Rooms[id].Epoch() < uint64(2*round+4) {
					m.receive()
				}
			}
			if !bytes.Equal(alice.Rooms[id].EpochAuthenticator(), bob.Rooms[id].EpochAuthenticator()) {
				t.Fatal("the devices are in different epochs")
			}
		}
		t.Logf("%d commits lost the race", lost)
	})
}

func TestRemovedDeviceReceivesNothingMore(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, carol, id := p.device("alice"), p.device("bob"), p.device("carol"), p.room("r1")
		p.group(id, alice, bob, carol)
		if err := alice.Change(t.Context(), alice.c, id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, bob.User) }); err != nil {
			t.Fatal(err)
		}
		if r := bob.receive(); !r.Removed {
			t.Errorf("%+v", r)
		}
		alice.send(id, "without bob")
		carol.texts(1)
		bob.quiet()
		p.reconnect(bob)
		bob.quiet()
		// SM-2, SM-3: and it cannot send; a stranger cannot either
		stranger := p.device("bob")
		for _, m := range []*member{bob, stranger} {
			m.Rooms[id] = carol.Rooms[id]
			if _, err := m.Send(t.Context(), m.c, id, "forged"); !errors.Is(err, servertest.ErrNotAllowed) {
				t.Errorf("sending after removal: %v", err)
			}
		}
	})
}

func TestRejoinByExternalCommit(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		// another device of bob comes in
		second := p.device("bob")
		if err := second.JoinExternal(t.Context(), second.c, id); err != nil {
			t.Fatal(err)
		}
		alice.receive()
		bob.receive()
		// the first one has lost its state and comes back: it never stops being a member of the stream
		delete(bob.Rooms, id)
		if err := bob.JoinExternal(t.Context(), bob.c, id); err != nil {
			t.Fatal(err)
		}
		alice.receive()
		second.receive()
		alice.send(id, "all here")
		for _, m := range []*member{alice, bob, second} {
			if got := m.texts(1); got[0] != "all here" {
				t.Error(got)
			}
			m.quiet()
		}
		start := bob.Cursor
		bob.Cursor = 0
		if cursors := p.restream(bob); len(cursors) != 4 || cursors[3] != start {
			t.Errorf("bob's stream is %v, want Welcome, two commits and a message", cursors)
		}
	})
}

func TestRestartBetweenAcceptAndAnswer(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		for i := range 8 {
			body, err := alice.Encrypt(id, fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := alice.c.Request(t.Context(), api.OpSubmitMessage, id.String(), body); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				synctest.Wait() // accepted, and the answer perhaps on its way; otherwise perhaps not even read
			}
			alice.c.Close()
			p.stop()
			p.start()
			alice.c, bob.c = p.dial("alice"), p.dial("bob")
			alice.hello()
			bob.hello()
			if _, err := alice.Submit(t.Context(), alice.c, id, body); err != nil {
				t.Fatal(err)
			}
			if got := bob.texts(1); got[0] != fmt.Sprint(i) {
				t.Fatalf("got %v, want %d", got, i)
			}
			bob.quiet()
			alice.texts(1)
		}
	})
}

func TestSM5ClockJumpsBack(t *testing.T) {
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		var back time.Duration
		var mu sync.Mutex
		p := newProvider(t, dir, func(c *server.Config) {
			now := c.Now
			c.Now = func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now().Add(-back)
			}
		}, "alice", "bob")
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		var last uint64
		for i := range 10 {
			mu.Lock()
			back = time.Duration(i%3) * time.Minute
			mu.Unlock()
			if i == 5 {
				p.stop()
				p.start()
				alice.c, bob.c = p.dial("alice"), p.dial("bob")
				alice.hello()
				bob.hello()
			}
			ts := alice.send(id, fmt.Sprint(i))
			if ts <= last {
				t.Errorf("time %d after %d", ts, last)
			}
			last = ts
			if got := bob.texts(1); got[0] != fmt.Sprint(i) {
				t.Error(got)
			}
		}
		p.stop()
	})
}

func TestDiskFullAcceptsNothing(t *testing.T) {
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		p := newProvider(t, dir, nil, "alice", "bob")
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		p.stop()
		p.config.MaxPages = 100
		p.start()
		alice.c, bob.c = p.dial("alice"), p.dial("bob")
		alice.hello()
		bob.hello()
		accepted := 0
		var refused *servertest.StatusError
		for range 200 {
			body, err := alice.Encrypt(id, strings.Repeat("x", 5000))
			if err != nil {
				t.Fatal(err)
			}
			_, err = alice.Submit(t.Context(), alice.c, id, body)
			if errors.As(err, &refused) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			accepted++
		}
		if refused == nil || refused.Status != api.StatusDiskFull || refused.Code != api.CodeDiskFull {
			t.Fatalf("after %d messages: %v", accepted, refused)
		}
		bob.texts(accepted)
		bob.quiet()
		// and when there is room again, life goes on where it was
		p.stop()
		p.config.MaxPages = 0
		p.start()
		alice.c, bob.c = p.dial("alice"), p.dial("bob")
		alice.hello()
		bob.hello()
		alice.send(id, "room again")
		if got := bob.texts(1); got[0] != "room again" {
			t.Errorf("%d octets", len(got[0]))
		}
		p.stop()
	})
}
