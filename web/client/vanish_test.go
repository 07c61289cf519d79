package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/web/client"
)

// set has a room take up a component, as an admin with other software does.
func (a *agent) set(room string, id uint16, c rooms.Component) {
	a.t.Helper()
	must(a.t, a.session.Propose(context.Background(), room, func(v *rooms.View) ([]mls.Proposal, error) { return rooms.SetPolicy(v, id, c) }))
}

// posts sends a text that something is done to before.
func (a *agent) posts(room, text string, change func(m *content.Message)) string {
	a.t.Helper()
	id, err := a.session.Post(context.Background(), room, func(user mimi.UserID, room mimi.RoomID) (*content.Message, error) {
		m, err := content.NewText(rand.Reader, user, room, text)
		if err == nil && change != nil {
			change(m)
		}
		return m, err
	})
	must(a.t, err)
	return id
}

// holds tells whether anything in the agent's store has a text.
func (a *agent) holds(text string) bool {
	a.t.Helper()
	list, err := a.store.Range(context.Background(), "", "", "", 0, false)
	must(a.t, err)
	return slices.ContainsFunc(list, func(kv client.KV) bool { return bytes.Contains(kv.Value, []byte(text)) })
}

func messageID(t *testing.T, s string) (id content.MessageID) {
	t.Helper()
	data, err := hex.DecodeString(s)
	must(t, err)
	if copy(id[:], data) != len(id) {
		t.Fatal("short message id")
	}
	return id
}

// In a room whose messages vanish they do, at all who have them: with and without a connection, sent or not, and also
// from the room list and the store. What was written before stays.
func TestMC10MessagesVanish(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		alice.send(room, "forever")
		bob.sees(room, "Alice: forever")
		must(t, alice.session.SetRule(ctx, room, "expire", 3600))
		bob.until("the rule", func() bool { return bob.details(room).Rules.Expire == 3600 })
		alice.send(room, "for an hour")
		bob.sees(room, "Alice: forever", "Alice: for an hour")
		bob.transport.setDown(true)
		time.Sleep(30 * time.Minute)
		_, err := bob.session.Send(ctx, room, "never sent")
		must(t, err)
		time.Sleep(29 * time.Minute)
		bob.sees(room, "Alice: forever", "Alice: for an hour", "Bob: never sent")
		bob.restart()
		time.Sleep(2 * time.Minute)
		bob.sees(room, "Alice: forever", "Bob: never sent")
		alice.sees(room, "Alice: forever")
		if bob.holds("for an hour") || alice.holds("for an hour") {
			t.Error("what has vanished is in the store")
		}
		if v := alice.view(room); v.LastText != "" {
			t.Errorf("what has vanished is in the room list: %q", v.LastText)
		}
		time.Sleep(time.Hour)
		bob.sees(room, "Alice: forever")
		bob.transport.setDown(false)
		time.Sleep(time.Hour)
		alice.sees(room, "Alice: forever")
		if bob.holds("never sent") {
			t.Error("what has vanished is still to be sent")
		}

		must(t, alice.session.SetRule(ctx, room, "expire", 0))
		bob.until("the rule", func() bool { return bob.details(room).Rules.Expire == 0 })
		alice.insist("send", func() error { _, err := alice.session.Send(ctx, room, "stays"); return err })
		time.Sleep(2 * time.Hour)
		bob.sees(room, "Alice: forever", "Alice: stays")
	})
}

// A message may count from when it was read: for its writer at once, for others from their own reading.
func TestMC10RelativeTimeCountsFromReading(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		alice.posts(room, "read me", func(m *content.Message) { m.Expires = &content.Expiration{Relative: true, Time: 60} })
		bob.sees(room, "Alice: read me")
		time.Sleep(time.Hour)
		bob.sees(room, "Alice: read me")
		list := bob.messages(room)
		must(t, bob.session.MarkRead(ctx, room, list[len(list)-1].Key))
		bob.restart()
		time.Sleep(50 * time.Second)
		bob.sees(room, "Alice: read me")
		time.Sleep(20 * time.Second)
		bob.sees(room)
	})
}

// What a room says about the time of messages holds for those of others, whatever they wish.
func TestRP8ExpirationIsHonoured(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		hour, day := uint32(3600), uint32(24*3600)
		in := func(seconds uint32) func(m *content.Message) {
			return func(m *content.Message) {
				m.Expires = &content.Expiration{Time: uint32(time.Now().Unix()) + seconds}
			}
		}
		alice.set(room, policy.MessageExpiration, policy.Expiration{ExpiringMessages: policy.Required, MinDuration: hour, MaxDuration: day})
		bob.told(room, "policy Alice")
		bob.until("the rule", func() bool { return bob.details(room).Rules.Expire == int(day) })
		bob.posts(room, "no end", nil)
		bob.posts(room, "short", in(1))
		bob.posts(room, "long", in(10*day))
		alice.sees(room, "Bob: no end", "Bob: short", "Bob: long")
		time.Sleep(59 * time.Minute)
		alice.sees(room, "Bob: no end", "Bob: short", "Bob: long")
		time.Sleep(2 * time.Minute)
		alice.sees(room, "Bob: no end", "Bob: long")
		time.Sleep(24 * time.Hour)
		alice.sees(room)

		alice.set(room, policy.MessageExpiration, policy.Expiration{ExpiringMessages: policy.Forbidden})
		bob.until("the rule", func() bool { return bob.details(room).Rules.Expire == 0 })
		bob.posts(room, "wants to go", in(60))
		alice.sees(room, "Bob: wants to go")
		time.Sleep(time.Hour)
		alice.sees(room, "Bob: wants to go")
	})
}

// Clients show nothing of what its sender may not do, and do not send it themselves.
func TestRP6ClientsEnforceTheRest(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		first := alice.posts(room, "see https://a.example", nil)
		bob.sees(room, "Alice: see https://a.example")

		v := alice.details(room)
		if !v.Rules.CanChange {
			t.Fatal("alice is no admin")
		}
		must(t, alice.session.Propose(ctx, room, func(v *rooms.View) ([]mls.Proposal, error) {
			roles := slices.Clone(v.State().Roles)
			for i := range roles {
				if roles[i].RoleIndex == policy.RoleMember {
					roles[i].RoleCapabilities = []policy.Capability{policy.CanSendMessage, policy.CanReceiveMessage, policy.CanRemoveSelf}
				}
			}
			return rooms.SetPolicy(v, policy.RolesList, roles)
		}))
		bob.told(room, "policy Alice")
		if _, err := bob.session.Send(ctx, room, "https://b.example"); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("a link from one who may send none: %v", err)
		}
		id := messageID(t, first)
		bob.posts(room, "http://b.example", nil)
		bob.posts(room, "an answer", func(m *content.Message) { m.InReplyTo = &id })
		bob.posts(room, "a topic", func(m *content.Message) { m.TopicID = []byte("t") })
		bob.posts(room, "an edit", func(m *content.Message) { m.Replaces = &id })
		bob.posts(room, "x", func(m *content.Message) { m.Replaces, m.Part.Body = &id, content.NullPart{} })
		bob.send(room, "plain")
		alice.sees(room, "Alice: see https://a.example", "Bob: plain")
		dropped, err := alice.session.Dropped(ctx)
		must(t, err)
		if n := dropped["against the policy of the room"]; n != 5 {
			t.Errorf("%d posts were dropped for the policy, want 5: %v", n, dropped)
		}
	})
}

// Where a room does not want web addresses to be detected they are text, and no capability is asked for.
func TestRP8LinksAreNotDetected(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		alice.send(room, "https://a.example")
		bob.sees(room, "Alice: https://a.example")
		if m := bob.messages(room); m[len(m)-1].Plain {
			t.Error("no links at first")
		}
		alice.set(room, policy.LinkPreviewPolicy, policy.LinkPreviews{AutodetectHyperlinksInText: policy.Forbidden,
			SendLinkPreviews: policy.Forbidden, AutomaticLinkPreviews: policy.Forbidden, LinkPreviewProxyUse: policy.Forbidden})
		bob.told(room, "policy Alice")
		bob.until("text", func() bool { m := bob.messages(room); return len(m) > 0 && m[0].Plain })
	})
}

// That a room is logged is said; nobody is told otherwise.
func TestRP8LoggingIsShown(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "Club", alice, bob)
		if bob.details(room).Logged {
			t.Error("logged at first")
		}
		alice.set(room, policy.LoggingPolicy, policy.Logging{Logging: policy.Required, LoggingClients: []string{"mimi://a.example/d/alice/log"}})
		bob.until("the log", func() bool { return bob.details(room).Logged })
	})
}
