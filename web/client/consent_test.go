package client_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/web/api"
	"kith/web/client"
)

// consentBook is what the providers of a test's hub know of consent, if that plays a part in it; otherwise everybody has
// granted everything.
type consentBook struct {
	lines []api.Consent
	said  []string // operations, with who and whom
}

func (b *consentBook) line(e *wire.ConsentEntry) *api.Consent {
	for i := range b.lines {
		c := &b.lines[i]
		if c.State != api.ConsentBlocked && c.Requester == e.RequesterURI.String() && c.Target == e.TargetURI.String() && c.Room == e.RoomID.String() {
			return c
		}
	}
	b.lines = append(b.lines, api.Consent{Requester: e.RequesterURI.String(), Target: e.TargetURI.String(), Room: e.RoomID.String()})
	return &b.lines[len(b.lines)-1]
}

// grants is what the hub does when somebody wants KeyPackages.
func (b *consentBook) grants(r *wire.KeyMaterialRequest) bool {
	if r.RequestingUser.Provider() == r.TargetUser.Provider() {
		return true
	}
	return slices.ContainsFunc(b.lines, func(c api.Consent) bool {
		return c.State == api.ConsentGranted && c.Requester == r.RequestingUser.String() && c.Target == r.TargetUser.String() &&
			(c.Room == "" || c.Room == r.RoomID.String())
	})
}

func (h *hub) consent(c *hubConn, req *api.Request) ([]byte, error) {
	e, err := wire.UnmarshalConsentEntry(req.Body)
	if err != nil {
		return nil, err
	}
	b := h.book
	names := map[wire.ConsentOperation]string{0: "cancel", 1: "request", 2: "grant", 3: "revoke"}
	b.said = append(b.said, strings.TrimSpace(strings.Join([]string{names[e.ConsentOperation], e.RequesterURI.Name(), e.TargetURI.Name(), e.RoomID.Name()}, " ")))
	block, _ := e.ConsentExtensions.Get(mls.ComponentID(api.ComponentBlock))
	switch {
	case len(block) == 1:
		b.lines = slices.DeleteFunc(b.lines, func(c api.Consent) bool { return c.Requester == e.RequesterURI.String() })
		if block[0] == 1 {
			b.lines = append(b.lines, api.Consent{State: api.ConsentBlocked, Requester: e.RequesterURI.String(), Target: e.TargetURI.String()})
		}
	case e.ConsentOperation == wire.ConsentRequest:
		*b.line(e) = api.Consent{State: api.ConsentAsked, Mutual: true, Requester: e.RequesterURI.String(), Target: e.TargetURI.String(), Room: e.RoomID.String()}
	case e.ConsentOperation == wire.ConsentCancel:
		line := *b.line(e)
		b.lines = slices.DeleteFunc(b.lines, func(c api.Consent) bool { return c == line })
	case e.ConsentOperation == wire.ConsentGrant:
		b.line(e).State = api.ConsentGranted
	default:
		b.line(e).State = api.ConsentDenied
	}
	h.hint(e.RequesterURI, e.TargetURI)
	return nil, nil
}

// hint tells users to ask again; the caller holds the lock.
func (h *hub) hint(users ...mimi.UserID) {
	data, err := api.Bytes(&api.Hint{What: api.HintConsents})
	must(h.t, err)
	for c := range h.conns {
		if !slices.Contains(users, c.user) {
			continue
		}
		go func() {
			select {
			case c.toClient <- data:
			case <-c.closed:
			}
		}()
	}
}

func (h *hub) consents(user mimi.UserID) ([]byte, error) {
	var list api.ConsentList
	if h.book == nil {
		for u := range h.users {
			list = append(list, api.Consent{State: api.ConsentGranted, Requester: u.String(), Target: user.String()})
		}
		slices.SortFunc(list, func(a, b api.Consent) int { return strings.Compare(a.Requester, b.Requester) })
		return list.Bytes()
	}
	for _, c := range h.book.lines {
		denied := c.State == api.ConsentDenied || c.State == api.ConsentBlocked
		switch {
		case c.Target == user.String():
			list = append(list, c)
		case c.Requester == user.String():
			if denied {
				c.State = api.ConsentAsked // who asked learns nothing of it
			}
			list = append(list, c)
		}
	}
	return list.Bytes()
}

func (h *hub) saidOf(user string) (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.book.said {
		if strings.Contains(s, user) {
			list = append(list, s)
		}
	}
	return list
}

// consentRoom runs a test in a world where consent matters.
func consentRoom(t *testing.T, test func(h *hub)) {
	t.Helper()
	world(t, func(h *hub) {
		h.book = new(consentBook)
		test(h)
	})
}

func (a *agent) requests() client.RequestsView {
	v, err := a.session.Requests(context.Background())
	a.check(err)
	return v
}

// asked lists requests as "address" or "address room".
func asked(list []client.RequestView) (out []string) {
	for _, r := range list {
		room := r.RoomName
		if room == "" && r.Room != "" {
			room = "?"
		}
		out = append(out, strings.TrimSpace(r.Address+" "+room))
	}
	slices.Sort(out)
	return out
}

func (a *agent) awaitRequests(incoming, outgoing []string) {
	a.t.Helper()
	a.until("requests", func() bool {
		v := a.requests()
		return slices.Equal(asked(v.Incoming), incoming) && slices.Equal(asked(v.Outgoing), outgoing)
	})
}

var background = context.Background()

func TestChatBeginsWhenTheOtherAgrees(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		v, err := alice.session.NewChat(background, "bob@b.example")
		must(t, err)
		if !v.Waiting {
			t.Errorf("the chat is there at once: %+v", v)
		}
		alice.awaitRequests(nil, []string{"bob@b.example"})
		bob.awaitRequests([]string{"alice@a.example"}, nil)
		if len(alice.rooms()) != 0 || len(bob.rooms()) != 0 {
			t.Errorf("rooms before the answer: %v, %v", alice.rooms(), bob.rooms())
		}
		// Nothing of alice but the address has come to bob: no name, no text.
		for _, view := range bob.seenViews() {
			if strings.Contains(view, "Alice") {
				t.Errorf("a stranger's name is shown: %s", view)
			}
		}
		alice.restart() // what was asked for survives
		must(t, bob.session.AcceptRequest(background, alice.user.String(), ""))
		bob.until("the chat", func() bool { return len(bob.rooms()) == 1 })
		alice.until("the chat", func() bool { return len(alice.rooms()) == 1 })
		alice.awaitRequests(nil, nil)
		bob.awaitRequests(nil, nil)
		room := alice.rooms()[0].ID
		alice.send(room, "hello")
		bob.sees(room, "Alice: hello")
		if again, err := alice.session.NewChat(background, "mimi://b.example/u/bob"); err != nil || again.ID != room || again.Waiting {
			t.Errorf("a second chat: %+v %v", again, err)
		}
	})
}

// seenViews is all that was posted to the page, in words.
func (a *agent) seenViews() (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.views {
		out = append(out, v.Kind+" "+strings.Join(strings.Fields(fmt.Sprintf("%+v", v.Value)), " "))
	}
	return out
}

func TestGroupIsMadeAndWhoMustAgreeFollows(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, carol, bob := h.join("alice"), h.join("carol"), h.join("bob@b.example")
		g, err := alice.session.NewGroup(background, "Club", []string{"carol", "bob@b.example"})
		must(t, err)
		carol.awaitRoom("Club")
		if g.Members != 2 {
			t.Errorf("members: %d", g.Members)
		}
		alice.awaitRequests(nil, []string{"bob@b.example Club"})
		bob.awaitRequests([]string{"alice@a.example ?"}, nil) // not even the room's name
		must(t, bob.session.AcceptRequest(background, alice.user.String(), g.ID))
		bob.awaitRoom("Club")
		alice.send(g.ID, "all here")
		for _, a := range h.agents {
			a.sees(g.ID, "Alice: all here")
		}
		// Consent for the room is for that room: another needs its own.
		_, err = alice.session.NewGroup(background, "Other", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRequests([]string{"alice@a.example ?"}, nil)
		if bob.room("Other") != "" {
			t.Error("bob was put into another room")
		}
	})
}

func TestAddMemberWhoMustAgree(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		g, err := alice.session.NewGroup(background, "Club", nil)
		must(t, err)
		must(t, alice.session.AddMembers(background, g.ID, []string{"bob@b.example"}))
		if v := alice.view(g.ID); v.Members != 1 {
			t.Errorf("%d members without devices", v.Members)
		}
		alice.awaitRequests(nil, []string{"bob@b.example Club"})
		must(t, bob.session.AcceptRequest(background, alice.user.String(), g.ID))
		bob.awaitRoom("Club")
	})
}

func TestDeclineTellsNothing(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		_, err := alice.session.NewChat(background, "bob@b.example")
		must(t, err)
		bob.awaitRequests([]string{"alice@a.example"}, nil)
		must(t, bob.session.DeclineRequest(background, alice.user.String(), ""))
		bob.awaitRequests(nil, nil)
		alice.restart()
		alice.awaitRequests(nil, []string{"bob@b.example"})
		if len(alice.rooms()) != 0 {
			t.Errorf("rooms: %v", alice.rooms())
		}
	})
}

func TestCancelRequestOnAnotherDevice(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		second := h.device("alice")
		_, err := alice.session.NewChat(background, "bob@b.example")
		must(t, err)
		second.awaitRequests(nil, []string{"bob@b.example"})
		must(t, second.session.CancelRequest(background, bob.user.String(), ""))
		second.awaitRequests(nil, nil)
		alice.awaitRequests(nil, nil)
		bob.awaitRequests(nil, nil)
		// Offline, it is kept until the provider has heard of it.
		_, err = alice.session.NewChat(background, "bob@b.example")
		must(t, err)
		bob.awaitRequests([]string{"alice@a.example"}, nil)
		alice.transport.setDown(true)
		alice.until("offline", func() bool { return !alice.state().Online })
		must(t, alice.session.CancelRequest(background, bob.user.String(), ""))
		alice.awaitRequests(nil, nil)
		alice.restart()
		alice.transport.setDown(false)
		bob.awaitRequests(nil, nil)
		if got := h.saidOf("alice"); !slices.Equal(got, []string{"request alice bob", "cancel alice bob", "request alice bob", "cancel alice bob"}) {
			t.Errorf("said: %q", got)
		}
	})
}

// TestTwoDevicesWithOneIntent: both were told to, and both act when the grant comes; there is one chat, one addition.
func TestTwoDevicesWithOneIntent(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		second := h.device("alice")
		g, err := alice.session.NewGroup(background, "Club", nil)
		must(t, err)
		second.awaitRoom("Club")
		for _, a := range []*agent{alice, second} {
			_, err := a.session.NewChat(background, "bob@b.example")
			must(t, err)
			must(t, a.session.AddMembers(background, g.ID, []string{"bob@b.example"}))
		}
		bob.awaitRequests([]string{"alice@a.example", "alice@a.example ?"}, nil)
		must(t, bob.session.AcceptRequest(background, alice.user.String(), ""))
		must(t, bob.session.AcceptRequest(background, alice.user.String(), g.ID))
		for _, a := range []*agent{alice, second, bob} {
			a.until("both rooms", func() bool { return len(a.rooms()) == 2 })
			a.awaitRequests(nil, nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, a := range []*agent{alice, second, bob} {
			if len(a.rooms()) != 2 {
				t.Errorf("%s has %d rooms", a.user.Name(), len(a.rooms()))
			}
			members := a.view(g.ID).Members
			added := 0
			for _, n := range a.notices(g.ID) {
				if strings.HasPrefix(n, "added") && strings.HasSuffix(n, "Bob") {
					added++
				}
			}
			if members != 2 || a != bob && added != 1 {
				t.Errorf("%s: %d members, added %d times: %q", a.user.Name(), members, added, a.notices(g.ID))
			}
		}
	})
}

func TestBothAskEachOtherAndGetOneChat(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		for a, address := range map[*agent]string{alice: "bob@b.example", bob: "alice@a.example"} {
			_, err := a.session.NewChat(background, address)
			must(t, err)
		}
		// The providers see that both want it.
		must(t, bob.session.AcceptRequest(background, alice.user.String(), ""))
		must(t, alice.session.AcceptRequest(background, bob.user.String(), ""))
		for _, a := range []*agent{alice, bob} {
			a.until("the chat", func() bool { return len(a.rooms()) > 0 })
			a.awaitRequests(nil, nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(alice.rooms()) != 1 || len(bob.rooms()) != 1 || alice.rooms()[0].ID != bob.rooms()[0].ID {
			t.Errorf("alice: %+v, bob: %+v", alice.rooms(), bob.rooms())
		}
	})
}

func TestBlockAndUnblock(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		_, err := alice.session.NewChat(background, "bob@b.example")
		must(t, err)
		bob.awaitRequests([]string{"alice@a.example"}, nil)
		must(t, bob.session.AcceptRequest(background, alice.user.String(), ""))
		bob.until("the chat", func() bool { return len(bob.rooms()) == 1 })
		room := bob.rooms()[0].ID
		must(t, bob.session.BlockUser(background, alice.user.String()))
		bob.until("no chat", func() bool { return len(bob.rooms()) == 0 })
		if got := asked(bob.requests().Blocked); !slices.Equal(got, []string{"alice@a.example"}) {
			t.Errorf("blocked: %q", got)
		}
		bob.forgetViews()
		alice.until("the chat", func() bool { return len(alice.rooms()) == 1 })
		alice.send(room, "can you hear me")
		alice.settled(room)
		synctest.Wait()
		for _, v := range bob.seenViews() {
			if strings.Contains(v, "hear me") {
				t.Errorf("shown: %s", v)
			}
		}
		if _, err := bob.session.NewChat(background, "alice@a.example"); codeOf(err) != client.CodeBlocked {
			t.Errorf("a chat with who is blocked: %v", err)
		}
		must(t, bob.session.UnblockUser(background, alice.user.String()))
		bob.until("the chat again", func() bool { return len(bob.rooms()) == 1 })
		bob.sees(room, "Alice: can you hear me")
	})
}

func (a *agent) forgetViews() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.views = nil
}

// TestWelcomeOfAStranger: a hub that gives out KeyPackages without consent brings a room that is a request, not a chat.
func TestWelcomeOfAStranger(t *testing.T) {
	consentRoom(t, func(h *hub) {
		mallory, bob := h.join("mallory"), h.join("bob@b.example")
		h.mu.Lock()
		h.book.lines = append(h.book.lines, api.Consent{State: api.ConsentGranted, Requester: mallory.user.String(), Target: bob.user.String()})
		h.hideFrom = bob.user // whose provider knows nothing of it
		h.mu.Unlock()
		bob.forgetViews()
		g, err := mallory.session.NewGroup(background, "BUY NOW", []string{"bob@b.example"})
		must(t, err)
		other, err := mallory.session.NewGroup(background, "BUY MORE", []string{"bob@b.example"})
		must(t, err)
		mallory.send(g.ID, "cheap cheap")
		bob.until("requests", func() bool { return len(bob.requests().Incoming) == 2 })
		synctest.Wait()
		if len(bob.rooms()) != 0 {
			t.Errorf("rooms: %+v", bob.rooms())
		}
		for _, v := range bob.seenViews() {
			for _, banned := range []string{"BUY", "cheap", "Mallory"} {
				if strings.Contains(v, banned) {
					t.Errorf("shown: %s", v)
				}
			}
		}
		bob.restart()
		bob.awaitRequests([]string{"mallory@a.example ?", "mallory@a.example ?"}, nil)
		h.mu.Lock()
		h.hideFrom = mimi.UserID{}
		h.book.lines = nil
		h.mu.Unlock()
		// One is declined and stays away, also after a restart; the other is accepted.
		must(t, bob.session.DeclineRequest(background, mallory.user.String(), other.ID))
		must(t, bob.session.AcceptRequest(background, mallory.user.String(), g.ID))
		bob.awaitRequests(nil, nil)
		bob.until("one room", func() bool { return len(bob.rooms()) == 1 })
		bob.sees(g.ID, "Mallory: cheap cheap")
		joins := 0
		h.mu.Lock()
		h.refuse = func(op api.Op) uint16 {
			if op == api.OpGroupInfo {
				joins++
			}
			return 0
		}
		h.mu.Unlock()
		bob.restart()
		bob.until("ready", func() bool { return bob.state().Online })
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(bob.rooms()) != 1 || bob.room("BUY MORE") != "" {
			t.Errorf("after declining: %+v", bob.rooms())
		}
		if there, stays := mallory.view(other.ID).Members, mallory.view(g.ID).Members; there != 1 || stays != 2 {
			t.Errorf("members: %d where it was declined, %d where it was accepted", there, stays)
		}
		if joins > 0 {
			t.Error("what was declined is joined again")
		}
	})
}

func TestNewChatAddresses(t *testing.T) {
	consentRoom(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		carol := h.join("carol")
		for _, address := range []string{"carol", "carol@a.example", "mimi://a.example/u/carol"} {
			if v, err := alice.session.NewChat(background, address); err != nil || v.Waiting || v.Peer != carol.user.String() {
				t.Errorf("%s: %+v %v", address, v, err)
			}
		}
		for _, address := range []string{"bob@b.example", "@bob@b.example", "mimi://b.example/u/bob"} {
			if v, err := alice.session.NewChat(background, address); err != nil || !v.Waiting || v.Peer != bob.user.String() {
				t.Errorf("%s: %+v %v", address, v, err)
			}
		}
		for _, address := range []string{"nobody", "bob@", "@", "bob@b example", "mimi://b.example/r/room", "mimi://b.example/u/"} {
			if _, err := alice.session.NewChat(background, address); codeOf(err) != client.CodeNotFound {
				t.Errorf("%s: %v", address, err)
			}
		}
	})
}
