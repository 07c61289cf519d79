package client_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"kith/mimi/policy"
	"kith/web/api"
	"kith/web/client"
)

func (a *agent) details(room string) client.DetailsView {
	a.t.Helper()
	d, err := a.session.Details(context.Background(), room)
	a.check(err)
	return d
}

// Whoever has the link joins by an external commit, his other devices follow, and everybody is told. The code is in
// nothing that the hub sees before, and once the link is revoked it lets in nobody.
func TestGI2JoinByLink(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		carol2 := h.device("carol")
		room := group(t, "Club", alice, bob)
		bob.send(room, "before")
		alice.sees(room, "Bob: before")

		if d := bob.details(room); d.CanLink || d.CanUnlink || len(d.Links) > 0 {
			t.Errorf("a member sees %+v", d)
		}
		if _, err := bob.session.MakeLink(ctx, room); codeOf(err) != client.CodeNotAllowed {
			t.Errorf("a member made a link: %v", err)
		}
		offer, err := alice.session.MakeLink(ctx, room)
		must(t, err)
		bob.told(room, "link_made Alice")
		d := alice.details(room)
		if !d.CanLink || len(d.Links) != 1 || d.Links[0].Offer != offer || d.Links[0].Until == 0 {
			t.Fatalf("details: %+v", d)
		}
		code := offer[strings.Index(offer, "#")+1:]
		for _, frame := range h.frames {
			if bytes.Contains(frame, []byte(code)) {
				t.Fatal("the link went over the wire")
			}
		}

		v, err := carol.session.Join(ctx, offer)
		must(t, err)
		if v.ID != room || v.Name != "Club" {
			t.Errorf("joined %+v", v)
		}
		carol.told(room, "joined Carol Carol")
		for _, a := range []*agent{alice, bob} {
			a.told(room, "joined Carol Carol")
		}
		carol2.awaitRoom("Club")
		alice.until("both devices", func() bool { return alice.member(room, "carol").Devices == 2 })
		carol.send(room, "hi")
		for _, a := range []*agent{alice, bob} {
			a.sees(room, "Bob: before", "Carol: hi")
		}
		carol.sees(room, "Carol: hi") // nothing of what was before
		if again, err := carol.session.Join(ctx, offer); err != nil || again.ID != room {
			t.Errorf("joining again: %v %v", again, err)
		}

		must(t, alice.session.RevokeLink(ctx, room, d.Links[0].ID))
		bob.told(room, "link_revoked Alice")
		if n := len(alice.details(room).Links); n != 0 {
			t.Errorf("%d links after revoking", n)
		}
		dave := h.join("dave")
		if _, err := dave.session.Join(ctx, offer); codeOf(err) != client.CodeLinkGone {
			t.Errorf("joined by a revoked link: %v", err)
		}
		if n := len(dave.rooms()); n != 0 {
			t.Errorf("dave has %d rooms", n)
		}
		for _, wrong := range []string{"", "mimi://a.example/r/x", offer + "x", strings.Replace(offer, "/r/", "/r/z", 1), "x#y"} {
			if _, err := dave.session.Join(ctx, wrong); codeOf(err) != client.CodeLinkGone {
				t.Errorf("joined by %q: %v", wrong, err)
			}
		}
	})
}

// A ban holds against links, and who has left comes back by one.
func TestRP5LinksAndBans(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		room := group(t, "Club", alice, bob, carol)
		offer, err := alice.session.MakeLink(ctx, room)
		must(t, err)
		must(t, alice.session.Ban(ctx, room, "bob"))
		bob.until("out", func() bool { return bob.view(room).Removed })
		if _, err := bob.session.Join(ctx, offer); codeOf(err) != client.CodeLinkGone {
			t.Errorf("a banned user joined: %v", err)
		}
		must(t, carol.session.Leave(ctx, room))
		alice.told(room, "left Carol Carol")
		_, err = carol.session.Join(ctx, offer)
		must(t, err)
		carol.told(room, "joined Carol Carol")
		carol.send(room, "back")
		alice.sees(room, "Carol: back")
	})
}

// A join by link survives the death of the browser in its middle.
func TestJoinByLinkSurvivesTheBrowser(t *testing.T) {
	ctx := context.Background()
	for n := 1; n <= 3; n++ {
		world(t, func(h *hub) {
			alice, bob := h.join("alice"), h.join("bob")
			room := group(t, "Club", alice)
			offer, err := alice.session.MakeLink(ctx, room)
			must(t, err)
			synctest.Wait()
			bob.store.FailAt(n, n%2 == 1)
			bob.insist("join", func() error { _, err := bob.session.Join(ctx, offer); return err })
			bob.until("in", func() bool { return bob.view(room).CanSend })
			bob.told(room, "joined Bob Bob")
			alice.told(room, "joined Bob Bob")
			bob.says(room, "hi")
			alice.sees(room, "Bob: hi")
		})
	}
}

// Every kind of group works as its sentence says: who writes, who only reads, and who is made what.
func TestRP11KindsOfGroups(t *testing.T) {
	ctx := context.Background()
	for kind, want := range map[string]struct {
		entry string // role of those who are added
		talk  bool   // they may write
	}{
		"family": {"member", true}, "moderated": {"attendee", false}, "announcement": {"reader", false}, "firm": {"user", true},
		"unheard of": {"member", true},
	} {
		t.Run(kind, func(t *testing.T) {
			world(t, func(h *hub) {
				alice, bob := h.join("alice"), h.join("bob")
				v, err := alice.session.NewGroupOf(ctx, kind, "Club", []string{"bob"})
				must(t, err)
				bob.awaitRoom("Club")
				if got := bob.role(v.ID, "bob"); got != want.entry {
					t.Errorf("bob is %q", got)
				}
				if got := alice.role(v.ID, "alice"); got != "admin" {
					t.Errorf("alice is %q", got)
				}
				alice.send(v.ID, "hello")
				bob.sees(v.ID, "Alice: hello")
				_, err = bob.session.Send(ctx, v.ID, "hi")
				if want.talk != (err == nil) || bob.view(v.ID).CanSend != want.talk {
					t.Errorf("bob writes: %v", err)
				}
				if want.talk {
					return
				}
				i := slices.IndexFunc(alice.member(v.ID, "bob").Roles, func(r client.RoleView) bool { return r.Index > int(policy.RoleMember) })
				must(t, alice.session.SetRole(ctx, v.ID, "bob", alice.member(v.ID, "bob").Roles[i].Index))
				bob.until("may write", func() bool { return bob.view(v.ID).CanSend })
				bob.send(v.ID, "thanks")
				alice.sees(v.ID, "Alice: hello", "Bob: thanks")
			})
		})
	}
}

// A link to a room whose server does not answer says so; nothing is left behind.
func TestJoinByLinkWithoutHub(t *testing.T) {
	world(t, func(h *hub) {
		bob := h.join("bob")
		h.mu.Lock()
		h.away = func(op api.Op, target string) bool { return op == api.OpGroupInfo }
		h.mu.Unlock()
		_, err := bob.session.Join(context.Background(), "mimi://far.example/r/x#AAAAAAAAAAAAAAAAAAAAAA")
		if codeOf(err) != client.CodeHubUnreachable {
			t.Errorf("joined: %v", err)
		}
		if n := len(bob.rooms()); n != 0 {
			t.Errorf("%d rooms are shown", n)
		}
	})
}

// A link leads into rooms of other providers, too: whoever joins there is one of the others, can leave, and is heard.
func TestGI2JoinByLinkElsewhere(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob@b.example")
		room := group(t, "Club", alice)
		offer, err := alice.session.MakeLink(ctx, room)
		must(t, err)
		v, err := bob.session.Join(ctx, offer)
		must(t, err)
		if d := bob.details(v.ID); d.HostOurs || d.Host != "a.example" {
			t.Errorf("hosted by %q, ours %v", d.Host, d.HostOurs)
		}
		bob.send(room, "hi")
		alice.sees(room, "Bob: hi")
		if m := alice.member(room, "bob@b.example"); m.Role.Name != "member" {
			t.Errorf("bob is %+v", m)
		}
		h.hubAway(true)
		if err := bob.session.Leave(ctx, room); codeOf(err) != client.CodeHubUnreachable {
			t.Errorf("left a room whose server does not answer: %v", err)
		}
		bob.restart()
		h.hubAway(false)
		bob.until("left all the same", func() bool { return bob.view(room).Removed })
		alice.told(room, "left Bob Bob")
		bob.until("the provider to be told", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.left) == 1
		})
	})
}

// In a group between organisations everybody is listed as one of his own.
func TestRP11FirmTellsOrganisationsApart(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob@b.example"), h.join("carol")
		v, err := alice.session.NewGroupOf(ctx, "firm", "Deal", []string{"bob@b.example"})
		must(t, err)
		bob.awaitRoom("Deal")
		must(t, alice.session.AddMembers(ctx, v.ID, []string{"carol"}))
		carol.awaitRoom("Deal")
		for name, organisation := range map[string]string{"bob@b.example": "b.example", "carol": "a.example"} {
			if r := alice.member(v.ID, name).Role; r.Name != "user" || r.Organisation != organisation {
				t.Errorf("%s is %+v", name, r)
			}
		}
		i := slices.IndexFunc(alice.member(v.ID, "bob@b.example").Roles, func(r client.RoleView) bool {
			return r.Name == "organisation_admin" && r.Organisation == "b.example"
		})
		if i < 0 {
			t.Fatalf("bob cannot be made an admin of his own: %+v", alice.member(v.ID, "bob@b.example").Roles)
		}
		must(t, alice.session.SetRole(ctx, v.ID, "bob@b.example", alice.member(v.ID, "bob@b.example").Roles[i].Index))
		bob.until("admin", func() bool { return bob.role(v.ID, "bob") == "organisation_admin" })
		if m := bob.member(v.ID, "carol@a.example"); m.CanRemove || m.CanBan || len(m.Roles) > 0 {
			t.Errorf("an admin of b.example may do to people of a.example: %+v", m)
		}
	})
}
