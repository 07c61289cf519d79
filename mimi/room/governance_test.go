package room_test

import (
	"bytes"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// club is a room of a template with alice (admin), and others in the roles given.
func club(t testing.TB, template policy.Template, roles map[string]uint32) (*world, map[string]*device) {
	t.Helper()
	w := newWorld(t)
	alice := w.device("mimi://a.example/u/alice", "1")
	spec := w.spec(alice)
	spec.Template = template
	if template == policy.Firm {
		for _, uri := range []string{"mimi://a.example", "mimi://b.example"} {
			spec.Organisations = append(spec.Organisations, must[mimi.ProviderID](t)(mimi.ParseProviderID(uri)))
		}
	}
	w.create(alice, spec)
	devices := map[string]*device{"alice": alice}
	for _, name := range []string{"bob", "carol", "dan", "eve"} {
		role, ok := roles[name]
		if !ok {
			continue
		}
		domain := map[bool]string{true: "a.example", false: "b.example"}[name == "carol"]
		d := w.device("mimi://"+domain+"/u/"+name, "1")
		w.accept(alice, alice.commit(proposals(t)(room.AddUserAs(alice.view, d.user, role, packages(d)))...))
		devices[name] = d
	}
	return w, devices
}

func (w *world) sends(d *device, may bool) {
	w.t.Helper()
	resp := w.submit(d, d.say("x"))
	if (resp.StatusCode == wire.SubmitAccepted) != may {
		w.t.Errorf("%s sends: %v, want %v", d.id.Device(), resp, may)
	}
}

func TestRP11ModeratedRoom(t *testing.T) {
	w, who := club(t, policy.Moderated, map[string]uint32{"bob": policy.RoleMember, "carol": policy.RoleModerator, "dan": policy.RoleSpeaker})
	w.sends(who["alice"], true)
	w.sends(who["carol"], true)
	w.sends(who["dan"], true)
	w.sends(who["bob"], false)
	// the word is given and taken
	w.accept(who["carol"], who["carol"].commit(proposals(t)(room.ChangeRole(who["carol"].view, who["bob"].user, policy.RoleSpeaker))...))
	w.sends(who["bob"], true)
	w.accept(who["carol"], who["carol"].commit(proposals(t)(room.ChangeRole(who["carol"].view, who["bob"].user, policy.RoleMember))...))
	w.sends(who["bob"], false)
	zoe := w.device("mimi://b.example/u/zoe", "1")
	w.refuseAll("RP-4", who["dan"], who["dan"].commit(proposals(t)(room.AddUser(who["dan"].view, zoe.user, packages(zoe)))...))
	if role, ok := room.EntryRole(who["carol"].view, who["carol"].user, zoe.user); !ok || role != policy.RoleMember {
		t.Errorf("newcomers are %d", role)
	}
	w.accept(who["bob"], who["bob"].leave())
	w.accept(who["dan"], who["dan"].commit())
	if !who["bob"].out {
		t.Error("attendee has not left")
	}
}

func TestRP11AnnouncementRoom(t *testing.T) {
	w, who := club(t, policy.Announcement, map[string]uint32{"bob": policy.RoleMember, "carol": policy.RoleModerator})
	w.sends(who["alice"], true)
	w.sends(who["carol"], true)
	w.sends(who["bob"], false)
	if !w.hub.MayReceive(who["bob"].user) {
		t.Error("reader does not receive")
	}
	offer, _ := w.offer(who["alice"], policy.RoleMember, true, 0)
	zoe := w.device("mimi://b.example/u/zoe", "1")
	w.accept(zoe, w.enter(zoe, offer.Code))
	w.sends(zoe, false)
}

func TestRP11FirmRoom(t *testing.T) {
	userA, _ := policy.OrganisationRoles(0)
	userB, headB := policy.OrganisationRoles(1)
	w, who := club(t, policy.Firm, map[string]uint32{"bob": headB, "carol": userA, "dan": userB})
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	for _, c := range []struct {
		by   string
		user *device
		want uint32
		ok   bool
	}{{"bob", zoe, userB, true}, {"alice", yan, userA, true}, {"alice", zoe, userB, true}, {"carol", yan, 0, false}} {
		role, ok := room.EntryRole(who[c.by].view, who[c.by].user, c.user.user)
		if role != c.want || ok != c.ok {
			t.Errorf("%s adds as %d, want %d", c.by, role, c.want)
		}
	}
	bob := who["bob"]
	w.accept(bob, bob.commit(proposals(t)(room.AddUserAs(bob.view, zoe.user, userB, packages(zoe)))...))
	w.refuseAll("RP-4", bob, bob.commit(proposals(t)(room.AddUserAs(bob.view, yan.user, userA, packages(yan)))...))
	w.refuseAll("RP-4", bob, bob.commit(proposals(t)(room.AddUser(bob.view, yan.user, packages(yan)))...))
	w.refuseAll("RP-4", bob, bob.commit(proposals(t)(room.RemoveUser(bob.view, who["carol"].user))...))
	// a colleague at the host comes in by himself, one elsewhere does not
	w.accept(yan, w.enter(yan, nil))
	if role, _ := w.hub.View().Role(yan.user); role.RoleIndex != userA {
		t.Errorf("yan is %d", role.RoleIndex)
	}
	if resp, _ := w.askWith(w.device("mimi://b.example/u/xav", "1"), nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("GI-2: %d", resp.Status)
	}
}

func TestRP11TemplateOfANewRoom(t *testing.T) {
	w := newWorld(t)
	alice := w.device("mimi://a.example/u/alice", "1")
	own := must[mimi.ProviderID](t)(mimi.ParseProviderID("mimi://a.example"))
	for name, change := range map[string]func(*room.Spec){
		"direct without a peer":   func(s *room.Spec) { s.Template = policy.Direct },
		"firm of nobody":          func(s *room.Spec) { s.Template = policy.Firm },
		"family of organisations": func(s *room.Spec) { s.Organisations = []mimi.ProviderID{own} },
		"organisation twice":      func(s *room.Spec) { s.Template, s.Organisations = policy.Firm, []mimi.ProviderID{own, own} },
		"no such template":        func(s *room.Spec) { s.Template = 77 },
	} {
		spec := w.spec(alice)
		change(&spec)
		if _, err := room.NewRoomExtensions(spec); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}

func TestRP10DestroyedRoom(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	if _, r := w.hub.Destroy(bob.user); r == nil || r.Rule != "RP-10" {
		t.Errorf("by a member: %v", r)
	}
	if _, r := w.hub.Destroy(user(t, "mimi://a.example/u/zoe")); r == nil {
		t.Error("by a stranger")
	}
	if by, r := w.hub.Destroy(mimi.UserID{}); r != nil || !by.Closed() {
		t.Errorf("by the hub: %v", r)
	}
	late, commit := carol.say("late"), alice.commit()
	next, r := w.hub.Destroy(alice.user)
	if r != nil || w.hub.Closed() {
		t.Fatalf("by an admin: %v", r)
	}
	w.hub = next
	for range 2 { // before and after a restart
		if resp := w.submitOnly(carol, late); resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("message: %v", resp)
		}
		w.refuse("RP-10", alice, commit)
		if resp, _ := w.askWith(carol, nil); resp.Status != wire.GroupInfoNoSuchRoom {
			t.Errorf("member asks: %d", resp.Status)
		}
		if resp, _ := w.askWith(w.device("mimi://a.example/u/zoe", "1"), nil); resp.Status != wire.GroupInfoNotAuthorized {
			t.Errorf("GI-9: stranger asks: %d", resp.Status)
		}
		if out, err := w.hub.Propose(w.ms(), proposals(t)(room.RemoveUser(w.hub.View(), bob.user))); err != nil || out.Refusal.Rule != "RP-10" {
			t.Errorf("hub proposes: %v %v", out, err)
		}
		if out, err := w.hub.Evict(w.ms(), users(bob), nil); out != nil || err != nil {
			t.Errorf("hub removes: %v %v", out, err)
		}
		if w.hub.MayForward(alice.user, alice.user) {
			t.Error("KM-12: KeyPackages for a closed room")
		}
		w.restart()
		if !w.hub.Closed() {
			t.Fatal("open again")
		}
	}
}

// TestStateOfVersion1 reads a room that was saved before rooms could be closed.
func TestStateOfVersion1(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	state := must[[]byte](t)(w.hub.State())
	old := append([]byte{1}, state[2:]...)
	if state[0] == 1 {
		t.Fatal("version has not changed")
	}
	h, err := room.Restore(w.config(), old, w.hub.LastTimestamp())
	if err != nil || h.Closed() || h.Epoch() != w.hub.Epoch() {
		t.Fatalf("%v %v", h, err)
	}
	w.hub = h
	w.accept(alice, alice.commit())
	for _, version := range []byte{0, 77} {
		if _, err := room.Restore(w.config(), append([]byte{version}, state[1:]...), 0); err == nil {
			t.Errorf("state of version %d read", version)
		}
	}
}

// dependent makes a room that depends on the room of w, by alice.
func (w *world) dependent(alice *device, fixedWith ...mimi.UserID) (*room.Hub, *wire.UpdateRoomResponse) {
	w.t.Helper()
	parent := w.hub.View()
	ext := must[mls.Extensions](w.t)(room.NewRoomExtensions(w.spec(alice)))
	dict := must[mls.AppDataDictionary](w.t)(ext.AppData())
	base := policy.DefaultBase()
	base.ParentDependant, base.ParentRoom = true, []string{w.room.String()}
	if len(fixedWith) > 0 {
		base.FixedMembership = true
		list := policy.Participants{{User: alice.user.String(), RoleIndex: 2}}
		for _, u := range fixedWith {
			list = append(list, policy.Participant{User: u.String(), RoleIndex: 2})
		}
		list = append(list, policy.Participant{User: "mimi://a.example", RoleIndex: 5})
		roles := policy.DirectRoles()
		roles[2].AuthorizedRoleChanges = []policy.RoleChanges{{FromRoleIndex: 2, TargetRoleIndexes: []uint32{0}}}
		dict = dict.Set(policy.ParticipantList, must[[]byte](w.t)(list.Bytes()))
		dict = dict.Set(policy.RolesList, must[[]byte](w.t)(roles.Bytes()))
	}
	dict = dict.Set(policy.BaseRoomPolicy, must[[]byte](w.t)(base.Bytes()))
	dict = dict.Set(policy.RoomMetadata, must[[]byte](w.t)(policy.Metadata{RoomURI: "mimi://a.example/r/annex", RoomName: "Annex"}.Bytes()))
	info, tree := alice.found(must[mls.Extensions](w.t)(ext.SetAppData(dict)))
	id := must[mimi.RoomID](w.t)(mimi.ParseRoomID("mimi://a.example/r/annex"))
	h, resp, err := room.CreateWithin(parent, w.config(), w.ms(), alice.id, id, w.hubSender, info, tree)
	if err != nil {
		w.t.Fatal(err)
	}
	return h, resp
}

func TestRP7DependentRoomAtTheHub(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	parent := w.hub
	inParent := alice.group
	zoe := w.device("mimi://b.example/u/zoe", "1")
	h, resp := w.dependent(alice)
	if h == nil {
		t.Fatal(resp)
	}
	w.hub, w.room = h, h.Room()
	w.hub.SetKey(w.hubKey)
	if id, ok := h.Parent(); !ok || id != parent.Room() {
		t.Errorf("parent is %v", id)
	}
	for _, d := range []*device{bob, bob2, carol} {
		d.group, d.view = nil, nil
	}
	alice.refresh()
	bob.newKeyPackage()
	w.add(alice, bob)
	w.refuse("RP-7", alice, alice.commit(proposals(t)(room.AddUser(alice.view, zoe.user, packages(zoe)))...))
	req, refs, err := room.NewProposalRequest(alice.group, proposals(t)(room.AddUser(alice.view, zoe.user, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w.refuse("RP-7", alice, req)
	for _, ref := range refs {
		alice.group.ForgetProposal(ref)
	}
	// strict subset: not all of the parent's
	w.refuse("RP-7", alice, alice.commit(proposals(t)(room.AddUser(alice.view, carol.user, packages(carol)))...))
	// without the parent at hand nothing is decided
	w.hub.SetParent(nil)
	w.refuse("RP-7", alice, alice.commit())
	w.hub.SetParent(parent.View())
	if got := w.hub.Orphans(); len(got) != 0 {
		t.Errorf("orphans %v", got)
	}
	// bob leaves the parent, and with it the dependent room
	annex := alice.group
	alice.group = inParent
	alice.refresh()
	remove := alice.commit(proposals(t)(room.RemoveUser(alice.view, bob.user))...)
	out := must[*room.UpdateOutcome](t)(parent.Update(w.ms(), room.From(alice.id), remove))
	if out.Next == nil {
		t.Fatal(out.Response)
	}
	alice.group = annex
	alice.refresh()
	w.hub.SetParent(out.Next.View())
	if got := w.hub.Orphans(); len(got) != 1 || got[0] != bob.user {
		t.Fatalf("orphans %v", got)
	}
	w.accepted(w.hub.Evict(w.ms(), w.hub.Orphans(), nil))
	w.accept(alice, alice.commit())
	if w.hub.IsParticipant(bob.user) || !bob.out {
		t.Error("bob is still in the dependent room")
	}
}

func TestRP7DependentRoomFounded(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	if h, resp := w.dependent(alice, bob.user); h == nil {
		t.Errorf("fixed and dependent: %v", resp)
	}
	if h, _ := w.dependent(alice, bob.user, carol.user); h != nil {
		t.Error("dependent room with everybody")
	}
	if h, _ := w.dependent(alice, user(t, "mimi://b.example/u/zoe")); h != nil {
		t.Error("dependent room with a stranger")
	}
	w.hub.SetParent(nil)
}

func TestKM12MayForward(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	zoe, yan := user(t, "mimi://b.example/u/zoe"), user(t, "mimi://a.example/u/yan")
	check := func(what string, by, target mimi.UserID, want bool) {
		t.Helper()
		if got := w.hub.MayForward(by, target); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("member for a stranger", bob.user, zoe, true)
	check("for one's own", bob.user, bob.user, true)
	check("for another participant", bob.user, carol.user, false)
	check("stranger for a stranger", zoe, yan, false)
	check("stranger for a member", zoe, bob.user, false)
	w.accept(alice, alice.commit(proposals(t)(room.Ban(alice.view, carol.user))...))
	check("for a banned user", alice.user, carol.user, false)
	check("banned user", carol.user, zoe, false)
	w.accept(bob, bob.leave())
	check("leaving user", bob.user, zoe, false)

	w = newWorld(t)
	alice = w.device("mimi://a.example/u/alice", "1")
	spec := w.spec(alice)
	spec.Peer = bob.user
	w.create(alice, spec)
	check("first clients of the peer", alice.user, bob.user, true)
	check("third user", alice.user, zoe, false)
	check("own clients", bob.user, bob.user, true)
}

func TestRP4Makers(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	// ban and unban
	w.refuseAll("RP-4", carol, carol.commit(proposals(t)(room.Ban(carol.view, bob.user))...))
	w.accept(alice, alice.commit(proposals(t)(room.Ban(alice.view, bob.user))...))
	if !bob.out || !bob2.out || w.hub.IsParticipant(bob.user) {
		t.Fatal("bob is not banned")
	}
	w.refuseAll("RP-4", carol, carol.commit(proposals(t)(room.Unban(carol.view, bob.user, policy.RoleMember))...))
	if _, err := room.Unban(alice.view, carol.user, policy.RoleMember); err == nil {
		t.Error("unbanned who is not banned")
	}
	w.accept(alice, alice.commit(proposals(t)(room.Unban(alice.view, bob.user, policy.RoleMember))...))
	bob.group = nil
	w.accept(bob, w.enter(bob, nil)) // the clients of an unbanned user come by themselves
	// a stranger is banned beforehand, and let go again
	zoe := w.device("mimi://b.example/u/zoe", "1")
	w.accept(alice, alice.commit(proposals(t)(room.Ban(alice.view, zoe.user))...))
	w.refuseAll("RP-4", carol, carol.commit(proposals(t)(room.AddUser(carol.view, zoe.user, packages(zoe)))...))
	w.accept(alice, alice.commit(proposals(t)(room.Unban(alice.view, zoe.user, policy.RoleNone))...))
	w.add(carol, zoe)
	// kick
	w.refuseAll("RP-4", bob, bob.commit(proposals(t)(room.Kick(bob.view, carol.user))...))
	w.accept(alice, alice.commit(proposals(t)(room.Kick(alice.view, zoe.user))...))
	if !zoe.out || !w.hub.IsParticipant(zoe.user) {
		t.Error("zoe is not kicked, or not listed")
	}
	if _, err := room.Kick(alice.view, zoe.user); err == nil {
		t.Error("kicked twice")
	}
	zoe.group = nil
	w.accept(zoe, w.enter(zoe, nil))
	// a lost device
	if _, err := room.RemoveLostDevice(bob.view, bob.user, carol.id); err == nil {
		t.Error("somebody else's lost device")
	}
	bob3, req := w.join2("mimi://b.example/u/bob", "3")
	w.accept(bob3, req)
	w.accept(bob, bob.commit(proposals(t)(room.RemoveLostDevice(bob.view, bob.user, bob3.id))...))
	if !bob3.out || bob.out {
		t.Error("the wrong device is out")
	}
	// metadata and policies
	w.refuseAll("MD-1", bob, bob.commit(proposals(t)(room.SetMetadata(bob.view, func(m *policy.Metadata) { m.RoomSubject = "x" }))...))
	w.accept(alice, alice.commit(proposals(t)(room.SetMetadata(alice.view, func(m *policy.Metadata) { m.RoomSubject = "Cake" }))...))
	if w.hub.View().Metadata().RoomSubject != "Cake" || w.hub.View().Name() != "Club" {
		t.Errorf("metadata %v", w.hub.View().Metadata())
	}
	history := policy.ChatHistory{RolesThatCanShare: []uint32{policy.RoleAdmin}, MaxTimePeriod: 60}
	w.refuseAll("RP-9", bob, bob.commit(proposals(t)(room.SetPolicy(bob.view, policy.ChatHistoryPolicy, history))...))
	w.refuseAll("RP-8", alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.ChatHistoryPolicy, policy.ChatHistory{RolesThatCanShare: []uint32{0}}))...))
	for range 2 { // the first time it is new to the room
		w.accept(alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.ChatHistoryPolicy, history))...))
	}
	dict := must[mls.AppDataDictionary](t)(bob.group.Context().Extensions.AppData())
	if data, _ := dict.Get(policy.ChatHistoryPolicy); !bytes.Equal(data, must[[]byte](t)(history.Bytes())) {
		t.Errorf("history policy is %x", data)
	}
}

// propose1 makes the request of a bundle that will not be refused.
func (d *device) propose1(list []mls.Proposal) *wire.UpdateRequest {
	d.w.t.Helper()
	req, _, err := room.NewProposalRequest(d.group, list)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return req
}

func TestUP11LeaveIsOneBundle(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	list := proposals(t)(room.Leave(bob.view, bob.id))
	if len(list) != 3 || list[0].Type != mls.ProposalSelfRemove {
		t.Fatalf("%d proposals", len(list))
	}
	w.accept(bob, bob.propose1(list))
	w.silentNow(bob2)
	w.accept(alice, alice.commit())
	if !bob.out || !bob2.out || w.hub.IsParticipant(bob.user) {
		t.Error("bob has not left")
	}
	if _, err := room.Leave(alice.view, bob.id); err == nil {
		t.Error("left twice")
	}
	// a bundle that cannot be made leaves nothing pending
	before := len(alice.group.PendingProposals())
	if _, _, err := room.NewProposalRequest(alice.group, []mls.Proposal{mls.RemoveProposal(1 << 20), mls.RemoveProposal(0)}); err == nil {
		t.Error("made of nothing")
	}
	if _, _, err := room.NewProposalRequest(alice.group, []mls.Proposal{proposals(t)(room.Rename(alice.view, "x"))[0], mls.RemoveProposal(1 << 20)}); err == nil || len(alice.group.PendingProposals()) != before {
		t.Error("half a bundle stays pending")
	}
}

func TestUP11LeavingAConversation(t *testing.T) {
	w := newWorld(t)
	alice, bob, bob2 := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1"), w.device("mimi://b.example/u/bob", "2")
	spec := w.spec(alice)
	spec.Peer = bob.user
	w.create(alice, spec)
	w.add(alice, bob, bob2)
	list := proposals(t)(room.Leave(bob.view, bob.id))
	if len(list) != 2 {
		t.Errorf("RP-7: %d proposals, want the two devices", len(list))
	}
	w.accept(bob, bob.propose1(list))
	w.accept(alice, alice.commit())
	if !bob.out || !bob2.out || !w.hub.IsParticipant(bob.user) {
		t.Error("the devices stay, or the list changes")
	}
}

// TestPL5ClientsInsistOnTheHub: roles that take the hub's away are refused by everybody.
func TestPL5ClientsInsistOnTheHub(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	roles := policy.DefaultRoles()
	roles[5].MaximumActive = nil
	w.refuseAll("PL-5", alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.RolesList, roles))...))
	w.refuseAll("PL-1", alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.RolesList, policy.DefaultRoles()[:5]))...))
}

// TestRP6EveryRuleAtEveryMember has hub and members judge the same violations.
func TestRP6EveryRuleAtEveryMember(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	zoe := w.device("mimi://b.example/u/zoe", "1")
	entry := list(t, policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: zoe.user.String(), RoleIndex: 2}}})
	roles := func(change func(policy.Roles)) mls.Proposal {
		r := policy.DefaultRoles()
		change(r)
		return mls.AppDataUpdateProposal(policy.RolesList, must[[]byte](t)(r.Bytes()))
	}
	base := func(change func(*policy.BasePolicy)) mls.Proposal {
		b := policy.DefaultBase()
		change(&b)
		return mls.AppDataUpdateProposal(policy.BaseRoomPolicy, must[[]byte](t)(b.Bytes()))
	}
	limit := uint32(1)
	for _, c := range []struct {
		name, rule string
		by         *device
		list       []mls.Proposal
	}{
		{"role that does not exist", "RP-4", alice, proposals(t)(room.ChangeRole(alice.view, bob.user, 9))},
		{"two roles of one index", "RP-1", alice, []mls.Proposal{roles(func(r policy.Roles) { r[3].RoleIndex = 4 })}},
		{"more members than a role takes", "RP-2", alice, []mls.Proposal{roles(func(r policy.Roles) { r[2].MaximumParticipants = &limit })}},
		{"fewer active ones than it needs", "RP-2", alice, []mls.Proposal{roles(func(r policy.Roles) { r[3].MinimumActive = 1 })}},
		{"roles with participants", "RP-3", alice, []mls.Proposal{roles(func(policy.Roles) {}), entry}},
		{"addition without the right", "RP-4", carol, proposals(t)(room.AddUserAs(carol.view, zoe.user, policy.RoleModerator, nil))},
		{"canOpenJoin on members", "RP-5", alice, []mls.Proposal{roles(func(r policy.Roles) {
			r[2].RoleCapabilities = append(r[2].RoleCapabilities, policy.CanOpenJoin)
		})}},
		{"one device each", "RP-7", alice, []mls.Proposal{base(func(b *policy.BasePolicy) { b.MultiDevice = false })}},
		{"fewer clients than there are", "RP-7", alice, []mls.Proposal{base(func(b *policy.BasePolicy) { b.MaxClients = &limit })}},
		{"fewer users than there are", "RP-7", alice, []mls.Proposal{base(func(b *policy.BasePolicy) { b.MaxUsers = &limit })}},
		{"membership becomes fixed", "RP-7", alice, []mls.Proposal{base(func(b *policy.BasePolicy) { b.FixedMembership = true })}},
		{"base policy by a member", "RP-9", carol, []mls.Proposal{base(func(b *policy.BasePolicy) { b.Discoverable = true })}},
		{"component removed", "RP-9", alice, []mls.Proposal{mls.AppDataRemoveProposal(policy.AssetPolicy)}},
		{"avatar over http", "MD-2", alice, proposals(t)(room.SetMetadata(alice.view, func(m *policy.Metadata) { m.RoomAvatar = "http://a.example/x" }))},
		{"client before its user", "UP-4", alice, []mls.Proposal{mls.AddProposal(zoe.kp.KeyPackage)}},
		{"one client stays", "UP-5", alice, proposals(t)(room.RemoveUser(alice.view, bob.user))[:2]},
	} {
		t.Run(c.name, func(t *testing.T) { w.refuseAll(c.rule, c.by, c.by.commit(c.list...)) })
	}
}
