package policy_test

import (
	"maps"
	"slices"
	"testing"

	"kith/mimi/policy"
)

const (
	alice = "mimi://a.example/u/alice" // admin
	bob   = "mimi://a.example/u/bob"   // member
	carol = "mimi://a.example/u/carol" // moderator
	dan   = "mimi://b.example/u/dan"   // member without clients
	eve   = "mimi://b.example/u/eve"   // banned
	frank = "mimi://b.example/u/frank" // not listed
	hub   = "mimi://a.example"
)

// index of each in the list of a group
var index = map[string]uint32{alice: 0, bob: 1, carol: 2, dan: 3, eve: 4, hub: 5}

// room is a mutable room to make states of.
type room struct {
	components map[uint16][]byte
	clients    []string
}

func (r room) clone() room {
	return room{maps.Clone(r.components), slices.Clone(r.clients)}
}

func (r room) state(t testing.TB) *policy.State {
	t.Helper()
	s, err := policy.NewState(func(id uint16) ([]byte, bool) { d, ok := r.components[id]; return d, ok }, r.clients)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r room) with(t testing.TB, id uint16, c component) room {
	out := r.clone()
	out.components[id] = bytesOf(t, c)
	return out
}

var metadata = policy.Metadata{RoomURI: "mimi://a.example/r/x", RoomName: "X"}

func group(t testing.TB) room {
	r := room{components: make(map[uint16][]byte), clients: []string{alice, bob, bob, carol}}
	r.components[policy.ParticipantList] = bytesOf(t, policy.Participants{
		{User: alice, RoleIndex: 4}, {User: bob, RoleIndex: 2}, {User: carol, RoleIndex: 3}, {User: dan, RoleIndex: 2},
		{User: eve, RoleIndex: 1}, {User: hub, RoleIndex: 5},
	})
	r.components[policy.RoomMetadata] = bytesOf(t, metadata)
	r.components[policy.RolesList] = bytesOf(t, policy.DefaultRoles())
	r.components[policy.BaseRoomPolicy] = bytesOf(t, policy.DefaultBase())
	return r
}

func direct(t testing.TB) room {
	r := group(t).with(t, policy.RolesList, policy.DirectRoles()).with(t, policy.BaseRoomPolicy, policy.DirectBase())
	r = r.with(t, policy.ParticipantList, policy.Participants{{User: alice, RoleIndex: 2}, {User: bob, RoleIndex: 2}, {User: hub, RoleIndex: 5}})
	r.clients = []string{alice}
	return r
}

// what somebody proposes

type step func(t testing.TB) policy.Proposal

func component1(by string, id uint16, c component) step {
	return func(t testing.TB) policy.Proposal {
		return policy.Proposal{Kind: policy.SetComponent, By: by, Component: id, Update: bytesOf(t, c)}
	}
}

func list(by string, u policy.ParticipantsUpdate) step {
	return component1(by, policy.ParticipantList, u)
}

func enlist(by, user string, role uint32) step {
	return list(by, policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: user, RoleIndex: role}}})
}

func delist(by, user string) step {
	return list(by, policy.ParticipantsUpdate{RemovedIndices: []uint32{index[user]}})
}

func rerole(by, user string, role uint32) step {
	return list(by, policy.ParticipantsUpdate{ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: index[user], RoleIndex: role}}})
}

func kind(k policy.Kind, by, user string) step {
	return func(testing.TB) policy.Proposal { return policy.Proposal{Kind: k, By: by, User: user} }
}

func add(by, user string) step    { return kind(policy.AddClient, by, user) }
func remove(by, user string) step { return kind(policy.RemoveClient, by, user) }

func setMetadata(by string, change func(*policy.Metadata)) step {
	m := metadata
	change(&m)
	return component1(by, policy.RoomMetadata, m)
}

// apply makes the change that the steps amount to.
func (r room) apply(t testing.TB, committer string, external bool, steps ...step) (*policy.Change, error) {
	t.Helper()
	after := r.clone()
	c := &policy.Change{Before: r.state(t), Committer: committer, External: external, At: at}
	updates := make(map[uint16][][]byte)
	for _, s := range steps {
		p := s(t)
		c.Proposals = append(c.Proposals, p)
		switch p.Kind {
		case policy.AddClient:
			after.clients = append(after.clients, p.User)
		case policy.RemoveClient:
			if i := slices.Index(after.clients, p.User); i >= 0 {
				after.clients = slices.Delete(after.clients, i, i+1)
			}
		case policy.SetComponent:
			updates[p.Component] = append(updates[p.Component], p.Update)
		}
	}
	for id, list := range updates {
		data, err := policy.UpdateComponent(id, after.components[id], list)
		if err != nil {
			return nil, err
		}
		after.components[id] = data
	}
	if external {
		after.clients = append(after.clients, committer)
	}
	var err error
	c.After, err = policy.NewState(func(id uint16) ([]byte, bool) { d, ok := after.components[id]; return d, ok }, after.clients)
	return c, err
}

type checkCase struct {
	name  string
	by    string
	rule  string // empty: allowed
	steps []step
}

func run(t *testing.T, r room, external bool, cases []checkCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			change, err := r.apply(t, c.by, external, c.steps...)
			if err != nil {
				t.Fatal(err)
			}
			got := policy.Check(change)
			switch {
			case got == nil && c.rule != "":
				t.Errorf("allowed, want a refusal by %s", c.rule)
			case got != nil && got.Rule != c.rule:
				t.Errorf("refused: %s, want %q", got, c.rule)
			}
		})
	}
}

func TestRP4WhoMayDoWhat(t *testing.T) {
	run(t, group(t), false, []checkCase{
		{"empty commit of a member", bob, "", nil},
		{"empty commit of an inactive user", eve, "UP-3", nil},
		{"empty commit of a stranger", frank, "UP-3", nil},
		{"member adds a member", bob, "", []step{enlist(bob, frank, 2), add(bob, frank), add(bob, frank)}},
		{"member adds an admin", bob, "RP-4", []step{enlist(bob, frank, 4), add(bob, frank)}},
		{"admin adds an admin", alice, "", []step{enlist(alice, frank, 4), add(alice, frank)}},
		{"moderator adds a moderator", carol, "RP-4", []step{enlist(carol, frank, 3)}},
		{"inactive addition", alice, "", []step{enlist(alice, frank, 2)}},
		{"client added before its user", bob, "UP-4", []step{add(bob, frank)}},
		{"other's client of a listed user", alice, "RP-4", []step{add(alice, dan)}},
		{"own device", bob, "", []step{add(bob, bob)}},
		{"one lists, another brings a client", alice, "RP-4", []step{enlist(bob, frank, 2), add(alice, frank)}},
		{"member removes a member", bob, "RP-4", []step{delist(bob, dan)}},
		{"moderator removes a member", carol, "", []step{delist(carol, bob), remove(carol, bob), remove(carol, bob)}},
		{"moderator removes an admin", carol, "RP-4", []step{delist(carol, alice), remove(carol, alice)}},
		{"admin removes a moderator", alice, "", []step{delist(alice, carol), remove(alice, carol)}},
		{"UP-5: one client stays", alice, "UP-5", []step{delist(alice, bob), remove(alice, bob)}},
		{"UP-5: all clients stay", alice, "UP-5", []step{delist(alice, bob)}},
		{"bob leaves, committed by alice", alice, "", []step{delist(bob, bob), remove(bob, bob), remove(bob, bob)}},
		{"admin kicks a device", alice, "", []step{remove(alice, bob)}},
		{"member kicks a device", bob, "RP-4", []step{remove(bob, carol)}},
		{"own device goes", bob, "", []step{remove(bob, bob)}},
		{"admin promotes", alice, "", []step{rerole(alice, bob, 4)}},
		{"member promotes", bob, "RP-4", []step{rerole(bob, dan, 3)}},
		{"moderator promotes", carol, "RP-4", []step{rerole(carol, bob, 3)}},
		{"nobody changes his own role", alice, "RP-4", []step{rerole(alice, alice, 2)}},
		{"member makes himself admin", bob, "RP-4", []step{rerole(bob, bob, 4)}},
		{"ban", carol, "", []step{rerole(carol, bob, 1), remove(carol, bob), remove(carol, bob)}},
		{"UP-5: ban keeps a client", carol, "UP-5", []step{rerole(carol, bob, 1), remove(carol, bob)}},
		{"ban of a stranger", carol, "", []step{enlist(carol, frank, 1)}},
		{"ban of a stranger by a member", bob, "RP-4", []step{enlist(bob, frank, 1)}},
		{"ban by a member", bob, "RP-4", []step{rerole(bob, dan, 1)}},
		{"unban", carol, "", []step{rerole(carol, eve, 2)}},
		{"unban by a member", bob, "RP-4", []step{rerole(bob, eve, 2)}},
		{"unban brings in a client", alice, "RP-4", []step{rerole(alice, eve, 2), add(alice, eve)}},
		{"banned user takes himself off", eve, "UP-3", []step{delist(eve, eve)}},
		{"role that does not exist", alice, "RP-4", []step{enlist(alice, frank, 9)}},
	})
}

func TestPL5HubProposals(t *testing.T) {
	run(t, group(t), false, []checkCase{
		{"hub removes", alice, "", []step{delist(hub, bob), remove(hub, bob), remove(hub, bob)}},
		{"hub bans", alice, "", []step{rerole(hub, dan, 1)}},
		{"hub bans a stranger", alice, "", []step{enlist(hub, frank, 1)}},
		{"hub lists", alice, "RP-4", []step{enlist(hub, frank, 2)}},
		{"hub adds a client", alice, "RP-4", []step{add(hub, dan)}},
		{"hub promotes", alice, "RP-4", []step{rerole(hub, bob, 4)}},
		{"hub renames", alice, "MD-1", []step{setMetadata(hub, func(m *policy.Metadata) { m.RoomName = "H" })}},
		{"hub rotates its key", alice, "", []step{kind(policy.SetContext, hub, "")}},
		{"hub is removed", alice, "RP-4", []step{delist(alice, hub)}},
		{"second enforcer", alice, "RP-4", []step{enlist(alice, frank, 5)}},
	})
}

func TestMD1MetadataByField(t *testing.T) {
	run(t, group(t), false, []checkCase{
		{"admin renames", alice, "", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomName = "Y" })}},
		{"moderator renames", carol, "MD-1", []step{setMetadata(carol, func(m *policy.Metadata) { m.RoomName = "Y" })}},
		{"moderator sets the subject", carol, "", []step{setMetadata(carol, func(m *policy.Metadata) { m.RoomSubject = "Y" })}},
		{"moderator sets subject and name", carol, "MD-1", []step{setMetadata(carol, func(m *policy.Metadata) { m.RoomSubject, m.RoomName = "Y", "Y" })}},
		{"member sets the mood", bob, "MD-1", []step{setMetadata(bob, func(m *policy.Metadata) { m.RoomMood = "Y" })}},
		{"member changes nothing", bob, "", []step{setMetadata(bob, func(*policy.Metadata) {})}},
		{"room URI", alice, "MD-1", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomURI += "2" })}},
		{"MD-2: avatar over http", alice, "MD-2", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomAvatar = "http://a.example/x" })}},
		{"MD-2: avatar over https", alice, "", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomAvatar = "https://a.example/x" })}},
		{"description", carol, "", []step{setMetadata(carol, func(m *policy.Metadata) {
			m.RoomDescriptions = []policy.RichDescription{{DescriptionContent: []byte("d")}}
		})}},
	})
}

func TestRP3RolesNeverWithParticipants(t *testing.T) {
	roles := component1(alice, policy.RolesList, policy.DefaultRoles())
	preauth := component1(alice, policy.PreauthList, policy.PreAuth{})
	run(t, group(t), false, []checkCase{
		{"roles alone", alice, "", []step{roles}},
		{"roles with an addition", alice, "RP-3", []step{roles, enlist(alice, frank, 2)}},
		{"roles with a removal", alice, "RP-3", []step{roles, delist(alice, dan)}},
		{"roles by a moderator", carol, "RP-9", []step{component1(carol, policy.RolesList, policy.DefaultRoles())}},
		{"preauthorizations alone", alice, "", []step{preauth}},
		{"preauthorizations with a removal", alice, "", []step{preauth, delist(alice, dan)}},
		{"preauthorizations with an addition", alice, "RP-3", []step{preauth, enlist(alice, frank, 2)}},
		{"preauthorizations with a change of role", alice, "RP-3", []step{preauth, rerole(alice, bob, 3)}},
	})
}

func TestRP9OtherComponents(t *testing.T) {
	fixed := policy.DirectBase()
	small := policy.DefaultBase()
	small.MaxUsers = number(3)
	run(t, group(t), false, []checkCase{
		{"receipts by an admin", alice, "", []step{component1(alice, policy.StatusNotificationPolicy, policy.StatusNotifications{})}},
		{"receipts by a moderator", carol, "RP-9", []step{component1(carol, policy.StatusNotificationPolicy, policy.StatusNotifications{})}},
		{"base policy by an admin", alice, "", []step{component1(alice, policy.BaseRoomPolicy, policy.DefaultBase())}},
		{"base policy by a member", bob, "RP-9", []step{component1(bob, policy.BaseRoomPolicy, policy.DefaultBase())}},
		{"membership becomes fixed", alice, "RP-7", []step{component1(alice, policy.BaseRoomPolicy, fixed)}},
		{"RP-7: fewer users than there are", alice, "RP-7", []step{component1(alice, policy.BaseRoomPolicy, small)}},
		{"required components by an admin", alice, "RP-9", []step{component1(alice, policy.SafeAAD, policy.Links{})}},
		{"component removed", alice, "RP-9", []step{func(testing.TB) policy.Proposal {
			return policy.Proposal{Kind: policy.RemoveComponent, By: alice, Component: policy.AssetPolicy}
		}}},
		{"context by an admin", alice, "RP-9", []step{kind(policy.SetContext, alice, "")}},
		{"reinit by an admin", alice, "RP-9", []step{kind(policy.ReInit, alice, "")}},
		{"reinit by the hub", alice, "", []step{kind(policy.ReInit, hub, "")}},
		{"PSK", alice, "RP-9", []step{kind(policy.Other, alice, "")}},
		{"update of keys", alice, "", []step{kind(policy.UpdateClient, bob, bob)}},
	})
}

func TestRP7FixedMembership(t *testing.T) {
	index := func(i uint32) policy.ParticipantsUpdate {
		return policy.ParticipantsUpdate{RemovedIndices: []uint32{i}}
	}
	r := direct(t)
	run(t, r, false, []checkCase{
		{"first clients of the peer", alice, "", []step{add(alice, bob), add(alice, bob)}},
		{"third user", alice, "UP-4", []step{add(alice, carol)}},
		{"listing a third", alice, "RP-7", []step{enlist(alice, carol, 2), add(alice, carol)}},
		{"removing the peer", alice, "RP-7", []step{list(alice, index(1))}},
		{"leaving", alice, "RP-7", []step{list(alice, index(0))}},
		{"own device", alice, "", []step{add(alice, alice)}},
		{"renaming", alice, "MD-1", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomName = "Y" })}},
	})
	r.clients = []string{alice, bob, bob}
	run(t, r, false, []checkCase{
		{"further client of the active peer", alice, "RP-4", []step{add(alice, bob)}},
		{"client of the peer removed", alice, "RP-4", []step{remove(alice, bob)}},
		{"own client removed", bob, "", []step{remove(bob, bob)}},
	})
}

func TestRP7OpenFixedRolesRefused(t *testing.T) {
	r := group(t).with(t, policy.BaseRoomPolicy, policy.DirectBase())
	if got := r.state(t).Validate(); got == nil || got.Rule != "RP-7" {
		t.Errorf("canAddParticipant in a fixed room: %v", got)
	}
}

func TestGI6JoiningByExternalCommit(t *testing.T) {
	rejoin := func(user string) step {
		return func(testing.TB) policy.Proposal {
			return policy.Proposal{Kind: policy.RemoveClient, By: user, User: user, Rejoin: true}
		}
	}
	run(t, group(t), true, []checkCase{
		{"further device", bob, "", nil},
		{"device of an inactive user", dan, "", nil},
		{"GI-9: banned", eve, "GI-9", nil},
		{"GI-9: not listed", frank, "GI-9", nil},
		{"GI-9: not listed, lists himself", frank, "GI-9", []step{enlist(frank, frank, 2)}},
		{"back in the old place", bob, "", []step{rejoin(bob)}},
		{"GI-7: joiner renames", alice, "GI-7", []step{setMetadata(alice, func(m *policy.Metadata) { m.RoomName = "Y" })}},
	})
	roles := policy.DefaultRoles()
	roles[0].RoleCapabilities = []policy.Capability{policy.CanOpenJoin}
	roles[0].AuthorizedRoleChanges = []policy.RoleChanges{{FromRoleIndex: 0, TargetRoleIndexes: []uint32{2}}}
	open := group(t).with(t, policy.RolesList, roles)
	run(t, open, true, []checkCase{
		{"RP-5: open room", frank, "", []step{enlist(frank, frank, 2)}},
		{"RP-5: open room, as admin", frank, "RP-5", []step{enlist(frank, frank, 4)}},
		{"PL-4: open room, unlisted", frank, "PL-4", nil},
		{"open room, another listed", frank, "RP-4", []step{enlist(frank, frank, 2), enlist(frank, "mimi://c.example/u/x", 2)}},
		{"open room does not lift a ban", eve, "GI-9", nil},
	})
	run(t, open, false, []checkCase{{"RP-5: listing oneself by a proposal", alice, "RP-5", []step{enlist(frank, frank, 2)}}})
}

func TestRP2CountsOfRoles(t *testing.T) {
	roles := policy.DefaultRoles()
	roles[2].MaximumParticipants, roles[2].MaximumActive = number(3), number(2)
	roles[4].MinimumParticipants, roles[4].MinimumActive = 1, 1
	run(t, group(t).with(t, policy.RolesList, roles), false, []checkCase{
		{"up to the maximum", alice, "", []step{enlist(alice, frank, 2), add(alice, frank)}},
		{"above the maximum", alice, "RP-2", []step{enlist(alice, frank, 2), enlist(alice, "mimi://c.example/u/x", 2)}},
		{"the last admin goes", alice, "RP-2", []step{delist(alice, alice), remove(alice, alice)}},
		{"the last active admin's client goes", alice, "RP-2", []step{remove(alice, alice)}},
	})
}

func TestPL4StateInvariants(t *testing.T) {
	small := policy.DefaultBase()
	small.MaxClients = number(3)
	single := policy.DefaultBase()
	single.MultiDevice = false
	twice := append(policy.DefaultRoles(), policy.DefaultRoles()[2])
	openMember := policy.DefaultRoles()
	openMember[2].RoleCapabilities = append(openMember[2].RoleCapabilities, policy.CanOpenJoin)
	g := group(t)
	stranger, banned := g.clone(), g.clone()
	stranger.clients = append(stranger.clients, frank)
	banned.clients = append(banned.clients, eve)
	for name, c := range map[string]struct {
		room room
		rule string
	}{
		"as it is":               {g, ""},
		"client of a stranger":   {stranger, "PL-4"},
		"client of a banned one": {banned, "PL-4"},
		"unknown role":           {g.with(t, policy.ParticipantList, policy.Participants{{User: alice, RoleIndex: 9}}), "PL-1"},
		"listed twice":           {g.with(t, policy.ParticipantList, policy.Participants{{User: alice, RoleIndex: 2}, {User: alice, RoleIndex: 2}}), "PL-1"},
		"too many clients":       {g.with(t, policy.BaseRoomPolicy, small), "RP-7"},
		"two devices":            {g.with(t, policy.BaseRoomPolicy, single), "RP-7"},
		"role index twice":       {g.with(t, policy.RolesList, twice), "RP-1"},
		"open join on role 2":    {g.with(t, policy.RolesList, openMember), "RP-5"},
	} {
		got := c.room.state(t).Validate()
		if (got == nil) != (c.rule == "") || got != nil && got.Rule != c.rule {
			t.Errorf("%s: got %v, want %q", name, got, c.rule)
		}
	}
}

func TestRP1BanNeedsTheNamedRole(t *testing.T) {
	roles := policy.DefaultRoles()
	roles[1].RoleName = "exiled"
	run(t, group(t).with(t, policy.RolesList, roles), false, []checkCase{
		{"ban", carol, "RP-4", []step{rerole(carol, dan, 1)}},
		{"unban", carol, "RP-4", []step{rerole(carol, eve, 2)}},
	})
}

func TestRP11Templates(t *testing.T) {
	for i, want := range []string{"no_role", "banned", "member", "moderator", "admin", "policy_enforcer"} {
		role := policy.DefaultRoles().Get(uint32(i))
		if role == nil || role.RoleName != want {
			t.Errorf("role %d is %v, want %s", i, role, want)
		}
	}
	for _, r := range policy.DefaultRoles() {
		if !slices.IsSorted(r.RoleCapabilities) {
			t.Errorf("%s: capabilities out of order", r.RoleName)
		}
		if r.Can(policy.CanSendMessage) != r.MayBeActive() {
			t.Errorf("%s: sends %v, has clients %v", r.RoleName, r.Can(policy.CanSendMessage), r.MayBeActive())
		}
	}
	for name, r := range map[string]room{"group": group(t), "direct": direct(t)} {
		if got := r.state(t).Validate(); got != nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}
