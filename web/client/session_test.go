package client_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/web/api"
	"kith/web/client"
)

func TestTwoPeopleChat(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		if got := bob.awaitRoom("Alice"); got != ab {
			t.Fatalf("rooms differ: %s, %s", got, ab)
		}
		m := alice.send(ab, "hello Bob")
		if m.State != client.MessageSending || !m.Mine || m.Text != "hello Bob" {
			t.Errorf("sent message shows as %+v", m)
		}
		bob.sees(ab, "Alice: hello Bob")
		if v := bob.view(ab); v.Unread != 1 || v.LastText != "hello Bob" || v.Kind != "direct" || v.Peer != alice.user.String() {
			t.Errorf("room of Bob: %+v", v)
		}
		bob.send(ab, "hi")
		alice.sees(ab, "Alice: hello Bob", "Bob: hi")
		last := bob.messages(ab)
		must(t, bob.session.MarkRead(context.Background(), ab, last[len(last)-1].Key))
		if v := bob.view(ab); v.Unread != 0 {
			t.Errorf("unread after reading: %d", v.Unread)
		}
		alice.settled(ab)
		if alice.chat("bob@a.example") != ab || bob.chat("mimi://a.example/u/alice") != ab {
			t.Error("a second direct room")
		}
	})
}

func TestGroupLifeAndRemoval(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Club 🎈", []string{"bob", "carol"})
		must(t, err)
		if !r.CanManage || r.Kind != "group" || r.Members != 3 {
			t.Errorf("new group: %+v", r)
		}
		bob.awaitRoom("Club 🎈")
		carol.awaitRoom("Club 🎈")
		alice.send(r.ID, "one")
		for _, a := range h.agents {
			a.sees(r.ID, "Alice: one")
		}
		must(t, alice.session.Rename(ctx, r.ID, "Klub"))
		bob.awaitRoom("Klub")
		must(t, alice.session.RemoveMember(ctx, r.ID, carol.user.String()))
		carol.until("removed", func() bool { return carol.view(r.ID).Removed })
		if _, err := carol.session.Send(ctx, r.ID, "still here?"); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("send after removal: %v", err)
		}
		bob.send(r.ID, "without carol")
		alice.sees(r.ID, "Alice: one", "Bob: without carol")
		synctest.Wait()
		if got := carol.lines(r.ID); !slices.Equal(got, []string{"Alice: one"}) {
			t.Errorf("carol reads on: %q", got)
		}
		if got := carol.notices(r.ID); !slices.Contains(got, "added Alice Carol") {
			t.Errorf("carol's notices do not say who added her: %q", got)
		}
		if got := alice.notices(r.ID); !slices.Contains(got, "removed Alice Carol") || !slices.Contains(got, "renamed Alice  Klub") {
			t.Errorf("notices: %q", got)
		}
		if err := bob.session.RemoveMember(ctx, r.ID, alice.user.String()); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("a member removes the admin: %v", err)
		}
		must(t, alice.session.AddMembers(ctx, r.ID, []string{"carol"}))
		carol.until("back", func() bool { return !carol.view(r.ID).Removed })
		carol.send(r.ID, "back")
		alice.sees(r.ID, "Alice: one", "Bob: without carol", "Carol: back")
	})
}

func TestRestartKeepsEverything(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		var want []string
		for i := range 5 {
			alice.send(ab, strings.Repeat("x", i+1))
			bob.send(ab, strings.Repeat("y", i+1))
			want = append(want, "Alice: "+strings.Repeat("x", i+1), "Bob: "+strings.Repeat("y", i+1))
			alice.until("both", func() bool { return len(alice.lines(ab)) == len(want) })
			alice.restart()
			bob.restart()
		}
		alice.settled(ab)
		bob.settled(ab)
		got := alice.lines(ab)
		if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(got)), want) || !slices.Equal(got, bob.lines(ab)) {
			t.Errorf("alice %q\nbob %q", got, bob.lines(ab))
		}
	})
}

func TestOfflineForAnHour(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		bob.transport.setDown(true)
		bob.until("offline", func() bool { return !bob.state().Online })
		late := bob.send(ab, "written offline")
		if late.State != client.MessageSending {
			t.Errorf("offline message: %+v", late)
		}
		var want []string
		for i := range 30 {
			text := strings.Repeat("m", i+1)
			alice.send(ab, text)
			want = append(want, "Alice: "+text)
			time.Sleep(2 * time.Minute)
		}
		bob.transport.setDown(false)
		want = append(want, "Bob: written offline")
		bob.sees(ab, want...)
		alice.sees(ab, want...)
	})
}

func TestSecondDeviceJoinsByItself(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "before")
		bob.sees(ab, "Alice: before")
		second := h.device("bob")
		second.awaitRoom("Alice")
		alice.send(ab, "to both")
		bob.sees(ab, "Alice: before", "Alice: to both")
		second.sees(ab, "Alice: to both")
		second.send(ab, "from the second")
		bob.sees(ab, "Alice: before", "Alice: to both", "Bob: from the second")
		for _, m := range bob.messages(ab) {
			if m.Text == "from the second" && (!m.Mine || m.State != client.MessageSent) {
				t.Errorf("own message of another device: %+v", m)
			}
		}
		carol := h.join("carol")
		r, err := carol.session.NewGroup(context.Background(), "Trio", []string{"alice", "bob"})
		must(t, err)
		carol.send(r.ID, "all devices")
		for _, a := range []*agent{alice, bob, second} {
			a.awaitRoom("Trio")
			a.sees(r.ID, "Carol: all devices")
		}
	})
}

func TestPeerWithoutDevice(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		h.mu.Lock()
		h.users[h.user("bob")] = "Bob"
		h.mu.Unlock()
		for range 2 {
			if _, err := alice.session.NewChat(context.Background(), "bob"); codeOf(err) != client.CodeNoDevices {
				t.Fatalf("chat with somebody without devices: %v", err)
			}
		}
		if len(alice.rooms()) != 0 {
			t.Error("an unusable room is listed")
		}
		bob := h.device("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "now")
		bob.sees(ab, "Alice: now")
	})
}

func TestBothOpenTheChatAtOnce(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		type opened struct {
			id  string
			err error
		}
		results := make(chan opened, 2)
		open := func(a *agent, whom string) {
			r, err := a.session.NewChat(context.Background(), whom)
			results <- opened{r.ID, err}
		}
		go open(alice, "bob")
		go open(bob, "alice")
		one, two := <-results, <-results
		must(t, one.err)
		must(t, two.err)
		if one.id != two.id {
			t.Errorf("two rooms: %s, %s", one.id, two.id)
		}
		alice.send(one.id, "a")
		bob.sees(one.id, "Alice: a")
	})
}

func TestBadInputOfPeople(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		ctx := context.Background()
		for text, code := range map[string]string{
			"": client.CodeEmpty, " \n\t": client.CodeEmpty, strings.Repeat("ä", 1<<19): client.CodeTooLong,
			strings.Repeat("x", client.MaxText+1): client.CodeTooLong,
		} {
			if _, err := alice.session.Send(ctx, ab, text); codeOf(err) != code {
				t.Errorf("%d octets of text: %v, want %s", len(text), err, code)
			}
		}
		most := strings.Repeat("x", client.MaxText)
		alice.send(ab, most)
		bob.awaitRoom("Alice")
		bob.sees(ab, "Alice: "+most)
		for _, address := range []string{"", "nobody", "bob@elsewhere.example", "mimi://a.example/r/x", "Bob Smith", "💥"} {
			if _, err := alice.session.NewChat(ctx, address); codeOf(err) != client.CodeNotFound {
				t.Errorf("address %q: %v", address, err)
			}
		}
		if _, err := alice.session.NewChat(ctx, "alice"); codeOf(err) != client.CodeYourself {
			t.Errorf("chat with oneself: %v", err)
		}
		if _, err := alice.session.NewGroup(ctx, " ", nil); codeOf(err) != client.CodeEmpty {
			t.Errorf("group without a name: %v", err)
		}
		if _, err := alice.session.Send(ctx, "mimi://a.example/r/none", "x"); codeOf(err) != client.CodeNotFound {
			t.Errorf("unknown room: %v", err)
		}
		found, err := alice.session.Search(ctx, "bo")
		must(t, err)
		if len(found) != 1 || found[0].DisplayName != "Bob" || found[0].Name != "bob" {
			t.Errorf("search: %+v", found)
		}
	})
}

func TestDiskFullAtTheServer(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		h.mu.Lock()
		h.refuse = func(op api.Op) uint16 {
			if op == api.OpSubmitMessage {
				return api.StatusDiskFull
			}
			return 0
		}
		h.mu.Unlock()
		m := alice.send(ab, "no room")
		alice.until("failed", func() bool { return alice.messages(ab)[0].State == client.MessageFailed })
		if e := alice.messages(ab)[0].Error; e == nil || e.Code != client.CodeDiskFull {
			t.Errorf("failure: %+v", e)
		}
		h.mu.Lock()
		h.refuse = nil
		h.mu.Unlock()
		alice.restart()
		alice.until("online", func() bool { return alice.state().Online })
		must(t, alice.session.Retry(context.Background(), ab, m.ID))
		bob.sees(ab, "Alice: no room")
		alice.settled(ab)
		if err := alice.session.Retry(context.Background(), ab, m.ID); codeOf(err) != client.CodeNotFound {
			t.Errorf("retry of a sent message: %v", err)
		}
	})
}

func TestServerCannotRead(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		const secret = "the treasure is under the third oak"
		alice.send(ab, secret)
		bob.sees(ab, "Alice: "+secret)
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, f := range h.frames {
			if bytes.Contains(f, []byte(secret)) || bytes.Contains(f, []byte("third oak")) {
				t.Fatal("text on the wire")
			}
		}
		if len(h.frames) < 10 {
			t.Fatal("nothing recorded")
		}
	})
}

func TestSignOutForgets(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "x")
		must(t, alice.session.SignOut(context.Background()))
		<-alice.done
		left, err := alice.store.Range(context.Background(), "", "", "", 0, false)
		must(t, err)
		if len(left) != 0 {
			t.Errorf("%d records left, first %q", len(left), left[0].Key)
		}
		if _, err := alice.session.Rooms(context.Background()); codeOf(err) != client.CodeSignedOut {
			t.Errorf("after sign-out: %v", err)
		}
	})
}
