package servertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/room"
	"kith/server/servertest"
	"kith/web/client"
)

// agree waits until nobody has anything to do and checks that all see the same. What is not so yet gets more time.
func (c *chaos) agree(when string) {
	c.t.Helper()
	if !servertest.Until(time.Hour, c.quiet) {
		c.t.Errorf("seed %d: %s: it never gets quiet: %s", c.seed, when, c.busy())
	}
	var wrong []string
	for range 4 {
		if wrong = c.check(); len(wrong) == 0 {
			break
		}
		time.Sleep(10 * time.Minute)
	}
	for _, u := range c.devices {
		if dropped, err := u.Session.Dropped(ctx); err == nil && len(dropped) > 0 {
			c.log("%s dropped %v", u.Name, dropped)
		}
	}
	for _, w := range wrong {
		c.t.Errorf("seed %d: %s: %s", c.seed, when, w)
	}
	for _, f := range c.faults {
		c.t.Errorf("seed %d: %s", c.seed, f)
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// quiet says that every device is online and has nothing on its way.
func (c *chaos) quiet() bool { return c.busy() == "" }

func (c *chaos) busy() string {
	for _, u := range c.devices {
		if !u.Ready(ctx) {
			return u.Name + " is not ready"
		}
		for _, r := range u.Rooms(ctx) {
			if i, err := u.Session.Inspect(ctx, r.ID); err != nil || i.Pending > 0 || i.Broken {
				return fmt.Sprintf("%s in %s: %+v %v", u.Name, r.ID, i, err)
			}
		}
	}
	return ""
}

// finding is what a device shows of a room, and what its provider has for it.
type finding struct {
	u        *servertest.User
	view     client.RoomView
	history  []client.MessageView
	inspect  client.Inspection
	users    []string
	messages []client.MessageView // those the hub has accepted
	gaps     []uint64             // when it came back into a room that had gone on without it
	joined   []uint64             // when it came in by a link
	out      []uint64             // when it was taken out of the room
	left     []uint64             // when its user left it
	stream   []servertest.Delivered
}

// check looks at everything and says what is wrong.
func (c *chaos) check() []string {
	wrong := &report{}
	rooms := map[string][]*finding{}
	for _, p := range c.providers {
		streams, err := p.Streams(ctx)
		must(c.t, err)
		for _, u := range c.devices {
			if u.Account.User.Provider() == p.Domain {
				c.look(u, streams[u.Client(ctx)], rooms, wrong)
			}
		}
	}
	c.rejoins = 0
	for id, list := range rooms {
		for _, f := range list {
			c.rejoins += len(f.gaps)
		}
		c.checkOrder(id, list, wrong)
		before := len(wrong.lines)
		if c.checkMembers(id, list, wrong); len(wrong.lines) > before {
			for _, f := range list {
				c.log("in %s %s", short(id), f.story())
			}
		}
	}
	c.checkWritten(wrong)
	return wrong.lines
}

// outNotices say that somebody is out of a room.
var outNotices = []string{client.NoticeRemoved, client.NoticeLeft, client.NoticeKicked, client.NoticeBanned}

type report struct{ lines []string }

func (r *report) add(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// look gathers what a device shows.
func (c *chaos) look(u *servertest.User, stream []servertest.Delivered, rooms map[string][]*finding, wrong *report) {
	for _, view := range u.Rooms(ctx) {
		f := &finding{u: u, view: view}
		var err error
		f.inspect, err = u.Session.Inspect(ctx, view.ID)
		must(c.t, err)
		f.users, err = u.Members(ctx, view.ID)
		must(c.t, err)
		history, err := u.History(ctx, view.ID)
		must(c.t, err)
		f.history = history
		for _, m := range history {
			switch {
			case m.Notice != nil && m.Notice.Code == client.NoticeRejoined:
				f.gaps = append(f.gaps, uint64(m.Time))
			case m.Notice != nil && m.Notice.Me && m.Notice.Code == client.NoticeJoined:
				f.joined = append(f.joined, uint64(m.Time))
			case m.Notice != nil && m.Notice.Me && slices.Contains(outNotices, m.Notice.Code):
				f.out = append(f.out, uint64(m.Time))
				if m.Notice.Code == client.NoticeLeft {
					f.left = append(f.left, uint64(m.Time))
				}
			case m.Kind == "message" && (m.State == client.MessageSent || m.State == client.MessageReceived):
				f.messages = append(f.messages, m)
			case m.State == client.MessageSending && !view.Removed:
				wrong.add("%s still sends %q in %s", u.Name, m.Text, view.ID)
			}
		}
		for _, e := range stream {
			if e.Room == view.ID {
				f.stream = append(f.stream, e)
			}
		}
		rooms[view.ID] = append(rooms[view.ID], f)
	}
}

// checkOrder compares the timelines of a room with each other and with what the providers have.
func (c *chaos) checkOrder(id string, list []*finding, wrong *report) {
	what := map[int64]string{} // accepted_timestamp → message id
	when := map[string]int64{}
	for _, f := range list {
		seen := map[string]bool{}
		last := int64(0)
		for _, m := range f.messages {
			if m.Time <= last {
				wrong.add("%s shows %q out of order in %s", f.u.Name, m.Text, id)
			}
			last = m.Time
			if seen[m.ID] {
				wrong.add("%s shows %q twice in %s", f.u.Name, m.Text, id)
			}
			seen[m.ID] = true
			if other, ok := what[m.Time]; ok && other != m.ID {
				wrong.add("%s shows another message than others at %d of %s", f.u.Name, m.Time, id)
			}
			if other, ok := when[m.ID]; ok && other != m.Time {
				wrong.add("%s shows %q at %d of %s, others at %d", f.u.Name, m.Text, m.Time, id, other)
			}
			what[m.Time], when[m.ID] = m.ID, m.Time
		}
	}
	for _, f := range list {
		before := len(wrong.lines)
		if c.checkComplete(id, f, what, wrong); len(wrong.lines) > before {
			c.log("in %s %s", short(id), f.story())
		}
	}
}

// checkComplete compares what a device shows with what its provider has for it, and that with what there is.
func (c *chaos) checkComplete(id string, f *finding, what map[int64]string, wrong *report) {
	shown, routed := map[int64]bool{}, map[int64]bool{}
	for _, m := range f.messages {
		shown[m.Time] = true
	}
	for _, e := range f.stream {
		if !e.Message {
			continue
		}
		routed[int64(e.Time)] = true
		if !shown[int64(e.Time)] && f.member(e.Time) && !f.lost(e.Time) {
			wrong.add("%s does not show the message of %d in %s", f.u.Name, e.Time, id)
		}
	}
	for _, m := range f.messages {
		if !routed[m.Time] && !(m.Mine && f.lost(uint64(m.Time))) { // an own one need not come back to be known
			wrong.add("%s shows %q of %d in %s, which its provider has not for it", f.u.Name, m.Text, m.Time, id)
		}
	}
	for t := range what {
		if !routed[t] && f.member(uint64(t)) && !f.lost(uint64(t)) {
			wrong.add("the provider of %s has not the message of %d in %s for it", f.u.Name, t, id)
		}
	}
}

// story tells what there is for a device in a room, and what it says of its being in there.
func (f *finding) story() string {
	base := uint64(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixMilli())
	var b strings.Builder
	fmt.Fprintf(&b, "%s, now %+v; its provider has", f.u.Name, f.inspect)
	for _, e := range f.stream {
		kind := "commit"
		switch {
		case e.Message:
			kind = "message"
		case e.Welcome:
			kind = "welcome"
		case e.Joins:
			kind = "external commit"
		}
		fmt.Fprintf(&b, " %s %d,", kind, e.Time-base)
	}
	b.WriteString(" and it shows")
	for _, m := range f.history {
		if m.Notice == nil {
			fmt.Fprintf(&b, " %d,", uint64(m.Time)-base)
		} else if m.Notice.Me || m.Notice.Code == client.NoticeRejoined {
			fmt.Fprintf(&b, " %s %d,", m.Notice.Code, uint64(m.Time)-base)
		}
	}
	return b.String()
}

// member says whether the device was in the room at a time. It came in with a Welcome, or with its own external commit:
// the first event that there is for it, or one of which it says that it came back with it. It went out with a commit of
// which it says so.
func (f *finding) member(t uint64) bool {
	in, out := uint64(0), uint64(0)
	for i, e := range f.stream {
		if comes := e.Welcome || e.Joins && (i == 0 || slices.Contains(slices.Concat(f.gaps, f.joined), e.Time)); comes && e.Time < t {
			in = e.Time
		}
	}
	for _, o := range f.out {
		if o < t {
			out = max(out, o)
		}
	}
	return in > 0 && in >= out
}

// lost says whether the device had lost its way at a time: it came back later by an external commit, and says so, and
// shows nothing between. Somebody who leaves may miss what was accepted before and had not arrived yet.
func (f *finding) lost(t uint64) bool {
	for _, end := range slices.Concat(f.gaps, f.left) {
		between := func(m client.MessageView) bool { return t < uint64(m.Time) && uint64(m.Time) < end }
		if t < end && !slices.ContainsFunc(f.messages, between) {
			return true
		}
	}
	return false
}

// checkMembers compares members and epochs with those of the hub.
func (c *chaos) checkMembers(id string, list []*finding, wrong *report) {
	hub := c.hubOf(id, wrong)
	if hub == nil {
		return
	}
	var users []string
	for _, u := range hub.View().Users() {
		users = append(users, u.ID.String())
	}
	slices.Sort(users)
	var authenticator []byte
	in := map[mimi.ClientID]bool{}
	for _, f := range list {
		if f.view.Removed {
			continue
		}
		in[f.u.Client(ctx)] = true
		switch {
		case f.inspect.Epoch != hub.Epoch():
			wrong.add("%s is in epoch %d of %s, the hub in %d", f.u.Name, f.inspect.Epoch, id, hub.Epoch())
		case authenticator != nil && !bytes.Equal(authenticator, f.inspect.Authenticator):
			wrong.add("%s has another group than others in epoch %d of %s", f.u.Name, f.inspect.Epoch, id)
		case !slices.Equal(f.users, users):
			wrong.add("%s sees other members in %s: %v, the hub %v", f.u.Name, id, f.users, users)
		default:
			authenticator = f.inspect.Authenticator
		}
	}
	for _, u := range c.devices {
		client := u.Client(ctx)
		leaf := slices.ContainsFunc(hub.Members(), func(m room.Member) bool { return m.Client == client })
		switch participant := hub.IsParticipant(u.Account.User); {
		case leaf != in[client]:
			wrong.add("%s in %s: a member for the hub %v, for itself %v", u.Name, id, leaf, in[client])
		case participant && !leaf && !slices.Contains(c.kicked[id], u.Account.User.String()):
			wrong.add("%s is not in %s, though its user is", u.Name, id)
		}
	}
}

func (c *chaos) hubOf(id string, wrong *report) *room.Hub {
	parsed, err := mimi.ParseRoomID(id)
	must(c.t, err)
	for _, p := range c.providers {
		if p.Domain != parsed.Provider() {
			continue
		}
		hub, err := p.Hub(ctx, id)
		if errors.Is(err, db.ErrNotFound) {
			wrong.add("the hub has no room %s", id)
			return nil
		}
		must(c.t, err)
		return hub
	}
	wrong.add("nobody is hub of %s", id)
	return nil
}

// checkWritten looks for every text that a device has taken on: it is sent, or the user knows that it is not.
func (c *chaos) checkWritten(wrong *report) {
	type place struct {
		u    *servertest.User
		room string
	}
	states := map[place]map[string]string{}
	for text, w := range c.written {
		at := place{w.device, w.room}
		if states[at] == nil {
			states[at] = map[string]string{}
			history, err := w.device.History(ctx, w.room)
			must(c.t, err)
			for _, m := range history {
				states[at][m.Text] += m.State
			}
		}
		switch state := states[at][text]; state {
		case client.MessageSent:
		case client.MessageFailed:
			if c.shownElsewhere(w, text) {
				wrong.add("%s says that %q failed, and others show it", w.device.Name, text)
			}
		default:
			wrong.add("%s has %q in state %q in %s", w.device.Name, text, state, w.room)
		}
	}
}

func (c *chaos) shownElsewhere(w *writing, text string) bool {
	for _, u := range c.devices {
		if u == w.device {
			continue
		}
		history, err := u.History(ctx, w.room)
		var known *client.Error
		if errors.As(err, &known) && known.Code == client.CodeNotFound {
			continue
		}
		must(c.t, err)
		if slices.ContainsFunc(history, func(m client.MessageView) bool { return strings.EqualFold(m.Text, text) }) {
			return true
		}
	}
	return false
}
