package client_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/mimi"
	"kith/web/client"
)

// agent is a user at one browser: a store that survives, and a session that may die and be started again.
type agent struct {
	t         testing.TB
	hub       *hub
	user      mimi.UserID
	store     *client.MemStore
	transport *transport

	session *client.Session
	cancel  context.CancelFunc
	done    chan struct{}

	mu                  sync.Mutex
	views               []client.View
	verified, exchanged int // signatures and exchanges that the browser was asked for
}

// join makes an account and starts its first browser.
func (h *hub) join(name string) *agent {
	h.account(name)
	return h.device(name)
}

func (h *hub) account(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.user(name)
	h.provider(u.Provider())
	h.users[u] = strings.ToUpper(name[:1]) + u.Name()[1:]
}

// agent makes a browser that is not started yet.
func (h *hub) agent(name string) *agent {
	u := h.user(name)
	a := &agent{t: h.t, hub: h, user: u, store: client.NewMemStore(), transport: &transport{h: h, user: u}}
	h.agents = append(h.agents, a)
	return a
}

// device starts another browser of an account.
func (h *hub) device(name string) *agent {
	a := h.agent(name)
	a.start()
	a.until("ready", func() bool {
		s := a.state()
		return s.Online && s.State == client.StateReady
	})
	synctest.Wait() // key packages are out
	return a
}

func (a *agent) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.done = cancel, make(chan struct{})
	a.session = client.New(client.Config{Store: a.store, Transport: a.transport, DeviceName: "test", VerifyEd25519: a.verifyEd25519, ExchangeX25519: a.exchangeX25519, Post: func(v client.View) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.views = append(a.views, v)
	}})
	s, done := a.session, a.done
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			a.t.Errorf("run: %v", err)
		}
	}()
}

func (a *agent) stop() {
	a.cancel()
	<-a.done
}

// revive is what people do when the browser has died: they start it again.
func (a *agent) revive() {
	if a.store.Dead() {
		a.stop()
		a.store.Revive()
		a.start()
	}
}

// insist tries something until it works, and starts the browser again when it dies over it.
func (a *agent) insist(what string, try func() error) {
	a.t.Helper()
	var err error
	for range 200 {
		synctest.Wait()
		a.revive()
		if err = try(); err == nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	a.t.Fatalf("%s: %s: %v", a.user.Name(), what, err)
}

// says sends a text unless the timeline shows that it was sent, as a person does after a crash.
func (a *agent) says(room, text string) {
	a.t.Helper()
	a.insist("send", func() error {
		page, err := a.session.Timeline(context.Background(), room, "", 0)
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if m.Text == text {
				return nil
			}
		}
		_, err = a.session.Send(context.Background(), room, text)
		return err
	})
}

func (a *agent) restart() {
	a.stop()
	a.start()
}

func (a *agent) state() client.StateView {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return a.session.State(ctx)
}

// until waits, in fake time, for something to become true.
func (a *agent) until(what string, cond func() bool) {
	a.t.Helper()
	for range 3000 {
		synctest.Wait()
		a.revive()
		if cond() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, b := range a.hub.agents {
		dropped, _ := b.session.Dropped(context.Background())
		a.t.Logf("%s: dropped: %v; timelines: %s", b.user.Name(), dropped, b.everything())
	}
	a.t.Fatalf("%s: never: %s", a.user.Name(), what)
}

func (a *agent) everything() string {
	var b strings.Builder
	for _, r := range a.rooms() {
		fmt.Fprintf(&b, "%s[%d members, removed %v] %q ", r.Name, r.Members, r.Removed, a.lines(r.ID))
	}
	return b.String()
}

func (a *agent) rooms() []client.RoomView {
	list, err := a.session.Rooms(context.Background())
	a.check(err)
	return list
}

// check accepts errors of a browser that has just died: the caller looks again later.
func (a *agent) check(err error) {
	a.t.Helper()
	if err != nil && !a.store.Dead() {
		a.t.Fatal(err)
	}
}

// room is the room with a name; "" if there is none.
func (a *agent) room(name string) string {
	for _, r := range a.rooms() {
		if r.Name == name {
			return r.ID
		}
	}
	return ""
}

// awaitRoom waits for a room.
func (a *agent) awaitRoom(name string) string {
	a.t.Helper()
	a.until("room "+name, func() bool { return a.room(name) != "" })
	return a.room(name)
}

func (a *agent) view(id string) client.RoomView {
	for _, r := range a.rooms() {
		if r.ID == id {
			return r
		}
	}
	return client.RoomView{}
}

func (a *agent) chat(address string) string {
	a.t.Helper()
	r, err := a.session.NewChat(context.Background(), address)
	must(a.t, err)
	return r.ID
}

func (a *agent) send(room, text string) client.MessageView {
	a.t.Helper()
	m, err := a.session.Send(context.Background(), room, text)
	must(a.t, err)
	return m
}

// messages is the whole timeline, read in pages.
func (a *agent) messages(room string) []client.MessageView {
	var all []client.MessageView
	for before, more := "", true; more; {
		page, err := a.session.Timeline(context.Background(), room, before, 50)
		a.check(err)
		all = append(slices.Clone(page.Messages), all...)
		if more = page.More; more {
			before = page.Messages[0].Key
		}
	}
	return all
}

// lines are the messages of a timeline, "Sender: text", without notices.
func (a *agent) lines(room string) []string {
	var out []string
	for _, m := range a.messages(room) {
		if m.Kind == "message" {
			out = append(out, m.SenderName+": "+m.Text)
		}
	}
	return out
}

func (a *agent) notices(room string) []string {
	var out []string
	for _, m := range a.messages(room) {
		if n := m.Notice; n != nil {
			out = append(out, strings.TrimSpace(strings.Join([]string{n.Code, n.Who, n.Whom, n.Name}, " ")))
		}
	}
	return out
}

// sees waits until the timeline shows exactly these lines.
func (a *agent) sees(room string, want ...string) {
	a.t.Helper()
	a.until(fmt.Sprintf("%q", want), func() bool { return slices.Equal(a.lines(room), want) })
}

// settled waits until nothing is on its way any more.
func (a *agent) settled(room string) {
	a.t.Helper()
	a.until("all sent", func() bool {
		return !slices.ContainsFunc(a.messages(room), func(m client.MessageView) bool { return m.State == client.MessageSending })
	})
}

func codeOf(err error) string {
	if e, ok := err.(*client.Error); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// world runs a test in a bubble of fake time with a hub, and stops all agents at its end.
func world(t *testing.T, test func(h *hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		defer func() {
			for _, a := range h.agents {
				a.stop()
			}
			h.cut(func(*hubConn) bool { return true })
			time.Sleep(time.Minute) // let the connections end
		}()
		test(h)
	})
}
