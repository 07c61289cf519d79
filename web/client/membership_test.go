package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"kith/mimi"
	"kith/mimi/policy"
	"kith/web/api"
	"kith/web/client"
)

var errNoDevice = errors.New("unknown device")

// listDevices answers as the real server does; so does removeDevice, which ends the device's connection, too.
func (h *hub) listDevices(c *hubConn) ([]byte, error) {
	var list api.DeviceList
	for id, d := range h.devices {
		if d.user == c.user {
			list = append(list, api.Device{Client: id.String(), Name: "test", Created: 1, Seen: 2})
		}
	}
	slices.SortFunc(list, func(a, b api.Device) int { return cmp.Compare(a.Client, b.Client) })
	return list.Bytes()
}

func (h *hub) removeDevice(c *hubConn, req *api.Request) error {
	id, err := mimi.ParseClientID(req.Target)
	if err != nil {
		return err
	}
	if d := h.devices[id]; d == nil || d.user != c.user {
		return nil
	}
	delete(h.devices, id)
	for o := range h.conns {
		if o.client == id && o != c {
			go o.Close()
		}
	}
	return nil
}

// group makes a group of agents; the first one creates it.
func group(t *testing.T, name string, agents ...*agent) string {
	t.Helper()
	var members []string
	for _, a := range agents[1:] {
		members = append(members, a.user.Name())
	}
	_, err := agents[0].session.NewGroup(context.Background(), name, members)
	must(t, err)
	for _, a := range agents {
		a.awaitRoom(name)
	}
	return agents[0].room(name)
}

// role is what a room says a user is, as an agent sees it; "" if the user is not listed.
func (a *agent) role(room, user string) string {
	a.t.Helper()
	list, err := a.session.Members(context.Background(), room)
	a.check(err)
	for _, m := range list {
		if m.Name == user {
			return m.Role.Name
		}
	}
	return ""
}

func (a *agent) member(room, user string) (m client.MemberView) {
	a.t.Helper()
	list, err := a.session.Members(context.Background(), room)
	a.check(err)
	for _, m := range list {
		if m.Name == user {
			return m
		}
	}
	return m
}

// told waits for a notice.
func (a *agent) told(room, notice string) {
	a.t.Helper()
	a.until("notice "+notice, func() bool { return slices.Contains(a.notices(room), notice) })
}

// Leaving is a bundle of proposals that counts at once: for the hub, for this device and for the other one. Whoever
// commits next puts it into effect, and all are told that he left of his own accord.
func TestUP11LeaveIsOneBundle(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		bob2 := h.device("bob")
		room := group(t, "Club", alice, bob, carol)
		bob2.awaitRoom("Club")
		alice.send(room, "hello")
		bob.sees(room, "Alice: hello")

		must(t, bob.session.Leave(context.Background(), room))
		for _, b := range []*agent{bob, bob2} {
			b.told(room, "left Bob Bob")
			b.until("gone", func() bool { v := b.view(room); return v.Removed && !v.CanSend })
			if _, err := b.session.Send(context.Background(), room, "x"); codeOf(err) != client.CodeNotAllowed {
				t.Errorf("sends after leaving: %v", err)
			}
			b.sees(room, "Alice: hello") // what was written stays
		}
		must(t, alice.session.Rename(context.Background(), room, "Klub"))
		for _, a := range []*agent{alice, carol} {
			a.told(room, "left Bob Bob")
			a.until("two members", func() bool { return a.view(room).Members == 2 })
		}
		carol.send(room, "still here")
		alice.sees(room, "Alice: hello", "Carol: still here")
		bob.sees(room, "Alice: hello")

		must(t, bob.session.DeleteRoom(context.Background(), room))
		if bob.room("Club") != "" {
			t.Error("room is still there")
		}
		if _, err := bob.session.Timeline(context.Background(), room, "", 0); codeOf(err) != client.CodeNotFound {
			t.Errorf("timeline of a deleted room: %v", err)
		}
		bob.restart()
		bob.until("ready", func() bool { return bob.state().State == client.StateReady })
		if n := len(bob.rooms()); n != 0 {
			t.Errorf("%d rooms after a restart", n)
		}
		if codeOf(alice.session.DeleteRoom(context.Background(), room)) != client.CodeNotAllowed {
			t.Error("deleted a room that one is in")
		}
		must(t, alice.session.AddMembers(context.Background(), room, []string{"bob"}))
		bob.awaitRoom("Klub") // and comes back when asked
	})
}

// Who leaves a group in which nobody else is has nobody to commit that, and is out all the same.
func TestUP11LeavingAlone(t *testing.T) {
	world(t, func(h *hub) {
		alice := h.join("alice")
		alice2 := h.device("alice")
		room := group(t, "Club", alice)
		alice2.awaitRoom("Club")
		must(t, alice.session.Leave(context.Background(), room))
		for _, a := range []*agent{alice, alice2} {
			a.until("out", func() bool { return a.view(room).Removed })
			must(t, a.session.DeleteRoom(context.Background(), room))
			a.restart()
			a.until("online", func() bool { return a.state().Online })
			synctest.Wait()
			if n := len(a.rooms()); n != 0 {
				t.Errorf("%d rooms after a restart", n)
			}
		}
	})
}

// A leave that is under way survives lost answers and the death of the browser.
func TestLeaveSurvivesTheBrowser(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for n := 1; n <= 3; n++ {
			t.Run(fmt.Sprintf("%d/%v", n, applied), func(t *testing.T) {
				world(t, func(h *hub) {
					alice, bob := h.join("alice"), h.join("bob")
					room := group(t, "Club", alice, bob)
					synctest.Wait()
					lost := false
					h.mu.Lock()
					h.loseAnswer = func(op api.Op) bool {
						first := op == api.OpUpdate && !lost
						lost = lost || first
						return first
					}
					h.mu.Unlock()
					bob.store.FailAt(n, applied)
					bob.insist("leave", func() error {
						if bob.view(room).Removed {
							return nil
						}
						return bob.session.Leave(context.Background(), room)
					})
					bob.until("left", func() bool { return bob.view(room).Removed })
					alice.insist("rename", func() error { return alice.session.Rename(context.Background(), room, "Klub") })
					alice.told(room, "left Bob Bob")
					if got := bob.notices(room); slices.Index(got, "left Bob Bob") != len(got)-1 {
						t.Errorf("notices: %q", got)
					}
				})
			})
		}
	}
}

// Kick, ban, unban and roles, each by who may, each told to everybody in its own words.
func TestRP4ChangesOfMembers(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		room := group(t, "Club", alice, bob, carol)
		m := bob.member(room, "carol")
		if m.CanRemove || m.CanBan || m.CanKick || len(m.Roles) > 0 {
			t.Errorf("a member may do %+v", m)
		}
		for what, err := range map[string]error{
			"ban": bob.session.Ban(ctx, room, "carol"), "kick": bob.session.Kick(ctx, room, "carol"),
			"role": bob.session.SetRole(ctx, room, "carol", int(policy.RoleAdmin)), "remove": bob.session.RemoveMember(ctx, room, "carol"),
			"own role": bob.session.SetRole(ctx, room, "bob", int(policy.RoleAdmin)), "describe": bob.session.Describe(ctx, room, "mine"),
		} {
			if codeOf(err) != client.CodeNotAllowed {
				t.Errorf("%s by a member: %v", what, err)
			}
		}
		if m = alice.member(room, "bob"); !m.CanRemove || !m.CanBan || !m.CanKick || !slices.ContainsFunc(m.Roles, func(r client.RoleView) bool { return r.Name == "moderator" }) {
			t.Errorf("an admin may do %+v", m)
		}

		must(t, alice.session.SetRole(ctx, room, "bob", int(policy.RoleModerator)))
		carol.told(room, "role Alice Bob moderator")
		bob.until("moderator", func() bool { return bob.role(room, "bob") == "moderator" && bob.member(room, "carol").CanBan })

		must(t, bob.session.Ban(ctx, room, "carol"))
		carol.told(room, "banned Bob Carol")
		alice.told(room, "banned Bob Carol")
		alice.until("banned", func() bool { m := alice.member(room, "carol"); return m.Banned && m.Devices == 0 })
		carol.until("out", func() bool { return carol.view(room).Removed })
		if err := alice.session.AddMembers(ctx, room, []string{"carol"}); err == nil && !alice.member(room, "carol").Banned {
			t.Error("a banned user was added")
		}
		carol.restart() // a banned device does not find its way back
		alice.send(room, "without carol")
		bob.sees(room, "Alice: without carol")
		if got := carol.lines(room); len(got) != 0 {
			t.Errorf("carol reads %q", got)
		}

		must(t, bob.session.Unban(ctx, room, "carol"))
		alice.told(room, "unbanned Bob Carol")
		if alice.role(room, "carol") != "" {
			t.Error("unbanned, and still listed")
		}
		must(t, alice.session.AddMembers(ctx, room, []string{"carol"}))
		carol.until("back", func() bool { return !carol.view(room).Removed && carol.view(room).CanSend })
		carol.send(room, "thanks")
		bob.sees(room, "Alice: without carol", "Carol: thanks")

		must(t, bob.session.Kick(ctx, room, "carol"))
		alice.told(room, "kicked Bob Carol")
		carol.told(room, "kicked Bob Carol")
		carol.restart() // and comes back by itself, since it is still listed
		carol.until("back", func() bool { return !carol.view(room).Removed })
		carol.send(room, "again")
		bob.sees(room, "Alice: without carol", "Carol: thanks", "Carol: again")

		must(t, alice.session.Describe(ctx, room, "What we do here"))
		bob.told(room, "described Alice")
		d, err := bob.session.Details(ctx, room)
		must(t, err)
		if d.Description != "What we do here" || d.Host != "a.example" || !d.HostOurs || !d.CanLeave || d.CanRename || !d.CanDescribe {
			t.Errorf("details: %+v", d)
		}
	})
}

// The changes of members survive the death of the browser that makes them, as all changes do.
func TestMemberChangesSurviveTheBrowser(t *testing.T) {
	ctx := context.Background()
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			world(t, func(h *hub) {
				alice, bob := h.join("alice"), h.join("bob")
				room := group(t, "Club", alice, bob)
				synctest.Wait()
				alice.store.FailAt(n, n%2 == 0)
				alice.insist("role", func() error {
					if alice.role(room, "bob") == "moderator" {
						return nil
					}
					return alice.session.SetRole(ctx, room, "bob", int(policy.RoleModerator))
				})
				bob.until("moderator", func() bool { return bob.role(room, "bob") == "moderator" })
				for _, a := range []*agent{alice, bob} {
					a.told(room, "role Alice Bob moderator")
					if n := len(a.notices(room)); n > 3 {
						t.Errorf("told more than once: %q", a.notices(room))
					}
				}
			})
		})
	}
}

// A lost device is taken off the provider's list and out of every room, also when this device was offline for a while
// in between, and whoever holds it cannot go on as that device.
func TestLostDeviceIsRemovedEverywhere(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		lost := h.device("alice")
		one, two := group(t, "One", alice, bob), group(t, "Two", bob, alice)
		direct := alice.chat("bob")
		bob.awaitRoom("Alice")
		for _, r := range []string{"One", "Two", "Bob"} {
			lost.awaitRoom(r)
		}
		list, err := alice.session.Devices(ctx)
		must(t, err)
		if len(list) != 2 || !list[0].Me || list[1].Me || list[0].Client != alice.state().Me.Client {
			t.Fatalf("devices: %+v", list)
		}
		if codeOf(alice.session.RemoveDevice(ctx, list[0].Client)) != client.CodeNotAllowed {
			t.Error("removed itself")
		}
		lost.transport.setDown(true) // which cuts both
		alice.until("online", func() bool { return alice.state().Online })
		must(t, alice.session.RemoveDevice(ctx, list[1].Client))
		for _, room := range []string{one, two, direct} {
			alice.until("one device in "+room, func() bool { return alice.member(room, "alice").Devices == 1 })
			bob.until("one device in "+room, func() bool { return bob.member(room, "alice").Devices == 1 })
			bob.send(room, "secret")
		}
		if list, err = alice.session.Devices(ctx); err != nil || len(list) != 1 {
			t.Errorf("devices: %v %v", list, err)
		}

		// Who signs in again with it is a new device, with what was written before and nothing in between.
		lost.transport.setDown(false)
		lost.until("a new device", func() bool {
			s := lost.state()
			return s.State == client.StateReady && s.Online && s.Me.Client != "" && s.Me.Client != list[0].Client
		})
		lost.until("back in the room", func() bool { return lost.member(one, "alice").Devices == 2 })
		bob.send(one, "later")
		lost.sees(one, "Bob: later")
	})
}

// What could not be done at once is done on the next connection.
func TestLostDeviceIsRemovedLater(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		lost := h.device("alice")
		room := group(t, "One", alice, bob)
		lost.awaitRoom("One")
		refusing := true
		h.mu.Lock()
		h.refuse = func(op api.Op) uint16 {
			if op == api.OpUpdate && refusing {
				return api.StatusForbidden
			}
			return 0
		}
		h.mu.Unlock()
		list, err := alice.session.Devices(ctx)
		must(t, err)
		must(t, alice.session.RemoveDevice(ctx, list[1].Client))
		synctest.Wait()
		h.mu.Lock()
		refusing = false
		h.mu.Unlock()
		if alice.member(room, "alice").Devices != 2 {
			t.Fatal("removed although nothing was accepted")
		}
		alice.restart()
		bob.until("removed", func() bool { return bob.member(room, "alice").Devices == 1 })
	})
}

// Who signs out is gone from the rooms as soon as somebody commits, and from the provider's list at once.
func TestSignOutTakesTheDeviceAlong(t *testing.T) {
	ctx := context.Background()
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		room := group(t, "One", alice, bob)
		bob.send(room, "bye")
		alice.sees(room, "Bob: bye")
		must(t, bob.session.SignOut(ctx))
		must(t, alice.session.Rename(ctx, room, "Two"))
		alice.until("gone", func() bool { m := alice.member(room, "bob"); return m.Devices == 0 && m.Role.Name == "member" })
		if got := alice.notices(room); slices.Contains(got, "left Bob Bob") {
			t.Errorf("signing out is told as leaving: %q", got)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for id, d := range h.devices {
			if d.user == bob.user {
				t.Errorf("%s is still registered", id)
			}
		}
	})
}

// A change whose committer only carries out what another proposed is told of that other.
func TestNoticesNameWhoWantedIt(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		room := group(t, "Club", alice, bob, carol)
		must(t, bob.session.Leave(context.Background(), room))
		alice.stop() // it restarts with the commit on its way
		alice.start()
		alice.until("ready", func() bool { return alice.state().Online })
		must(t, alice.session.SetRole(context.Background(), room, "carol", int(policy.RoleAdmin)))
		for _, a := range []*agent{alice, carol} {
			a.told(room, "left Bob Bob")
			a.told(room, "role Alice Carol admin")
		}
	})
}
