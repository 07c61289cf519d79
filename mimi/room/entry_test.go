package room_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// askWith requests the GroupInfo with a code.
func (w *world) askWith(d *device, code []byte) (wire.GroupInfoResponse, *mls.HPKEPrivateKey) {
	w.t.Helper()
	req, key, err := room.NewJoinRequest(rand.Reader, d.client, code)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.ask(req), key
}

// enter has a device ask with a code and make its external commit.
func (w *world) enter(d *device, code []byte) *wire.UpdateRequest {
	w.t.Helper()
	resp, key := w.askWith(d, code)
	info := must[*wire.GroupInfoRatchetTree](w.t)(room.OpenGroupInfo(w.room, &resp, key))
	g, bundle, err := room.JoinRoomWith(w.config(), d.client, w.room, info, code)
	if err != nil {
		w.t.Fatal(err)
	}
	d.group, d.out = g, false
	d.own = must[[]byte](w.t)(bundle.Commit.Bytes())
	return must[*wire.UpdateRequest](w.t)(wire.NewCommitRequest(bundle))
}

// offer has d make a join link.
func (w *world) offer(d *device, role uint32, multiuser bool, notAfter uint64) (room.JoinOffer, policy.JoinLink) {
	w.t.Helper()
	list, offer, link, err := room.CreateJoinLink(d.view, rand.Reader, role, multiuser, notAfter)
	if err != nil {
		w.t.Fatal(err)
	}
	w.accept(d, d.commit(list...))
	return offer, link
}

func TestGI2JoinLinkForMany(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	zoe, yan, xav := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1"), w.device("mimi://a.example/u/xav", "1")
	if resp, _ := w.askWith(zoe, []byte("guess")); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("guess: %d", resp.Status)
	}
	offer, link := w.offer(alice, policy.RoleMember, true, w.ms()+3600_000)
	state := must[[]byte](t)(w.hub.State())
	if bytes.Contains(state, offer.Code) {
		t.Error("the code is in the state of the room, for everybody to see")
	}
	again := must[room.JoinOffer](t)(room.ParseJoinOffer(offer.String()))
	if again.Room != w.room || !bytes.Equal(again.Code, offer.Code) {
		t.Errorf("offer %q", offer)
	}
	for _, d := range []*device{zoe, yan} {
		w.accept(d, w.enter(d, again.Code))
		if role, ok := w.hub.View().Role(d.user); !ok || role.RoleIndex != policy.RoleMember {
			t.Errorf("%s is %v", d.id.Device(), role)
		}
	}
	w.submit(zoe, zoe.say("hello"))
	if len(alice.texts) != 1 || len(bob.texts) != 1 || len(yan.texts) != 1 {
		t.Error("not everybody has heard")
	}
	// revoked between the request and the join
	late := w.enter(xav, again.Code)
	w.refuse("RP-9", bob, bob.commit(proposals(t)(room.RevokeJoinLink(bob.view, link))...))
	w.accept(alice, alice.propose(alice.proposal(proposals(t)(room.RevokeJoinLink(alice.view, link))[0])))
	w.refuse("GI-2", xav, late)
	if resp, _ := w.askWith(xav, again.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("revoked: %d", resp.Status)
	}
	w.accept(bob, bob.commit())
	if len(w.hub.View().JoinLinks()) != 0 {
		t.Error("link is still there")
	}
}

func TestGI2JoinLinkExpires(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	zoe := w.device("mimi://b.example/u/zoe", "1")
	offer, _ := w.offer(alice, policy.RoleMember, true, w.ms()+60_000)
	req := w.enter(zoe, offer.Code)
	w.now = w.now.Add(2 * time.Minute)
	// members see by the time of the event that it is too late
	w.refuse("RP-5", zoe, req)
	if resp, _ := w.askWith(zoe, offer.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("expired: %d", resp.Status)
	}
}

func TestGI2JoinLinkForOne(t *testing.T) {
	w, alice, _, _, carol := trio(t)
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	offer, _ := w.offer(alice, policy.RoleMember, false, 0)
	w.askWith(yan, offer.Code) // yan asks, but zoe is faster
	out := w.accept(zoe, w.enter(zoe, offer.Code))
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body))
	if len(m.ExternalProposals) != 1 {
		t.Fatalf("%d proposals stapled, want the revocation", len(m.ExternalProposals))
	}
	// used up at once, although the revocation is not committed yet
	if resp, _ := w.askWith(yan, offer.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("used up: %d", resp.Status)
	}
	w.restart()
	if resp, _ := w.askWith(yan, offer.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("used up, after a restart: %d", resp.Status)
	}
	// nor after another external commit has voided the revocation
	carol2, req := w.join2("mimi://a.example/u/carol", "2")
	w.accept(carol2, req)
	if resp, _ := w.askWith(yan, offer.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("used up, after a join: %d", resp.Status)
	}
	w.accept(carol, carol.commit())
	if len(w.hub.View().JoinLinks()) != 0 {
		t.Error("link is still there")
	}
}

// TestGI2TwoHoldOneCode has two users ask with the code of a link for one, who both could commit then.
func TestGI2TwoHoldOneCode(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	offer, _ := w.offer(alice, policy.RoleMember, false, 0)
	w.askWith(yan, offer.Code)
	w.accept(zoe, w.enter(zoe, offer.Code))
	// yan gets hold of the new epoch's GroupInfo by other means
	resp, key := w.askWith(alice, nil)
	info := must[*wire.GroupInfoRatchetTree](t)(room.OpenGroupInfo(w.room, &resp, key))
	g, bundle, err := room.JoinRoomWith(w.config(), yan.client, w.room, info, offer.Code)
	if err != nil {
		t.Fatal(err)
	}
	yan.group = g
	w.refuse("GI-2", yan, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(bundle)))
}

// TestGI2ListedWithoutTheCode has a user who knows of a link, but not its code, make the commit of one who does.
func TestGI2ListedWithoutTheCode(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	offer, _ := w.offer(alice, policy.RoleMember, true, 0)
	w.enter(zoe, offer.Code)
	resp, key := w.askWith(alice, nil)
	info := must[*wire.GroupInfoRatchetTree](t)(room.OpenGroupInfo(w.room, &resp, key))
	_, bundle, err := room.JoinRoomWith(w.config(), yan.client, w.room, info, offer.Code)
	if err != nil {
		t.Fatal(err)
	}
	w.refuse("GI-8", yan, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(bundle)))
	w.askWith(yan, []byte("another code"))
	w.refuse("GI-8", yan, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(bundle)))
}

func TestRP9JoinLinksAtTheHub(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	list, _, _, err := room.CreateJoinLink(bob.view, rand.Reader, policy.RoleMember, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.refuseAll("RP-9", bob, bob.commit(list...))
	list, _, _, _ = room.CreateJoinLink(alice.view, rand.Reader, policy.RolePolicyEnforcer, true, 0)
	w.refuseAll("RP-9", alice, alice.commit(list...))
	// an admin's link whose role nobody can have by a link is worth nothing
	offer, link := w.offer(alice, policy.RoleAdmin, true, 0)
	if resp, _ := w.askWith(w.device("mimi://b.example/u/zoe", "1"), offer.Code); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("link to be an admin: %d", resp.Status)
	}
	w.accept(alice, alice.commit(proposals(t)(room.RevokeJoinLink(alice.view, link))...))
	if _, err := room.RevokeJoinLink(carol.view, link); err == nil {
		t.Error("revoked twice")
	}
}

func TestGI2JoinOfferCodec(t *testing.T) {
	for _, s := range []string{"", "#", "mimi://a.example/r/x", "mimi://a.example/r/x#", "mimi://a.example/u/x#AAAA", "mimi://a.example/r/x#A", "mimi://a.example/r/x#AB", "mimi://a.example/r/x#A A="} {
		if o, err := room.ParseJoinOffer(s); err == nil {
			t.Errorf("%q is taken for %v", s, o)
		}
	}
}

func FuzzJoinOffer(f *testing.F) {
	f.Add("mimi://a.example/r/x#AAECAwQFBgcICQoLDA0ODw")
	f.Add("mimi://a.example/r/x#AB")
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := room.ParseJoinOffer(s); err == nil && o.String() != s {
			t.Errorf("%q is read and becomes %q", s, o)
		}
	})
}

// roles changes the roles of the room, by alice.
func (w *world) roles(alice *device, change func(policy.Roles)) {
	w.t.Helper()
	roles := policy.DefaultRoles()
	change(roles)
	w.accept(alice, alice.commit(proposals(w.t)(room.SetPolicy(alice.view, policy.RolesList, roles))...))
}

func TestRP5GI7OpenRoom(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	w.roles(alice, func(r policy.Roles) { r[0].RoleCapabilities = append(r[0].RoleCapabilities, policy.CanOpenJoin) })
	zoe := w.device("mimi://b.example/u/zoe", "1")
	out := w.accept(zoe, w.enter(zoe, nil))
	if len(out.Joined) != 1 || !w.hub.IsParticipant(zoe.user) {
		t.Error("zoe is not in")
	}
	w.submit(zoe, zoe.say("hi"))
	if len(alice.texts) != 1 {
		t.Error("not heard")
	}
	yan := w.device("mimi://a.example/u/yan", "1")
	entry := func(user mimi.UserID, role uint32) mls.Proposal {
		return list(t, policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: user.String(), RoleIndex: role}}})
	}
	w.refuse("RP-5", yan, w.forgedJoin(yan, entry(yan.user, policy.RoleAdmin)))
	w.refuse("PL-4", yan, w.forgedJoin(yan))
	w.refuse("RP-4", yan, w.forgedJoin(yan, entry(yan.user, policy.RoleMember), entry(user(t, "mimi://a.example/u/xav"), policy.RoleMember)))
	w.refuse("GI-7", yan, w.forgedJoin(yan, entry(yan.user, policy.RoleMember), proposals(t)(room.Rename(alice.view, "Yan's"))[0]))
	// who is banned does not come back through an open door
	w.accept(alice, alice.commit(proposals(t)(room.Ban(alice.view, zoe.user))...))
	if resp, _ := w.askWith(zoe, nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("banned: %d", resp.Status)
	}
	w.refuse("GI-9", zoe, w.stolenJoin(alice, zoe))
	w.accept(yan, w.forgedJoin(yan, entry(yan.user, policy.RoleMember)))
	// and one who is leaving only once the leaving is done
	w.accept(yan, yan.leave())
	if resp, _ := w.askWith(yan, nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("UP-6: leaving: %d", resp.Status)
	}
	w.accept(alice, alice.commit())
	w.accept(yan, w.enter(yan, nil))
}

// stolenJoin is the external commit of a device with the GroupInfo that another has asked for.
func (w *world) stolenJoin(asker, d *device) *wire.UpdateRequest {
	w.t.Helper()
	resp, key := w.askWith(asker, nil)
	info := must[*wire.GroupInfoRatchetTree](w.t)(room.OpenGroupInfo(w.room, &resp, key))
	_, bundle, err := mls.JoinExternal(w.config(), d.client, info.GroupInfo, info.RatchetTreeOption.RatchetTree, nil, room.EmptyAAD())
	if err != nil {
		w.t.Fatal(err)
	}
	return must[*wire.UpdateRequest](w.t)(wire.NewCommitRequest(bundle))
}

func TestRP5PreauthorizedAtTheHub(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	w.roles(alice, func(r policy.Roles) {
		for i := range r {
			if r[i].RoleIndex == policy.RoleMember || r[i].RoleIndex == policy.RoleModerator {
				r[i].RoleCapabilities = append(r[i].RoleCapabilities, policy.CanJoinIfPreauthorized, policy.CanChangeOwnRole)
			}
		}
	})
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	if resp, _ := w.askWith(zoe, nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("nobody is preauthorized yet: %d", resp.Status)
	}
	entry := func(role uint32, uris ...string) policy.PreAuthRoleEntry {
		e := policy.PreAuthRoleEntry{TargetRole: policy.Role{RoleIndex: role}}
		for _, u := range uris {
			e.Claimset = append(e.Claimset, policy.URIClaim(u))
		}
		return e
	}
	preauth := proposals(t)(room.SetPolicy(alice.view, policy.PreauthList, policy.PreAuth{
		entry(policy.RoleModerator, "mimi://b.example/u/bob"), entry(policy.RoleMember, "mimi://b.example"),
	}))
	w.refuseAll("RP-9", bob, bob.commit(preauth...))
	w.accept(alice, alice.commit(preauth...))
	w.accept(zoe, w.enter(zoe, nil))
	if resp, _ := w.askWith(yan, nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("of another provider: %d", resp.Status)
	}
	own := func(d *device, role uint32) *wire.UpdateRequest {
		return d.commit(proposals(t)(room.ChangeRole(d.view, d.user, role))...)
	}
	w.refuseAll("RP-4", bob, own(bob, policy.RoleAdmin))
	w.refuseAll("RP-4", carol, own(carol, policy.RoleModerator))
	w.accept(bob, own(bob, policy.RoleModerator))
	if role, _ := w.hub.View().Role(bob.user); role.RoleIndex != policy.RoleModerator {
		t.Errorf("bob is %s", role.RoleName)
	}
}

func TestSM3TolerantRoom(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	// only the hub may set the operational policy; in this room an admin may, too
	w.roles(alice, func(r policy.Roles) {
		for i := range r {
			if r[i].RoleIndex == policy.RoleAdmin {
				r[i].RoleCapabilities = append(r[i].RoleCapabilities, policy.CanChangeMLSOperationalPolicies)
			}
		}
	})
	data := make([]byte, 31+2+1+24)
	data = append(data, 2) // epoch_tolerance
	w.accept(alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.MLSOperationalPolicy, raw(data)))...))
	var late []*wire.SubmitMessageRequest
	for range 4 {
		late = append(late, carol.say("late"))
		w.accept(bob, bob.commit())
	}
	for i, req := range late {
		resp := w.submitOnly(carol, req)
		want := wire.SubmitAccepted
		if i < 2 {
			want = wire.SubmitEpochTooOld
		}
		if resp.StatusCode != want {
			t.Errorf("message of %d epochs ago: %v", len(late)-i, resp)
		}
	}
}

// raw is a component by its octets.
type raw []byte

func (r raw) Bytes() ([]byte, error) { return r, nil }

// submitOnly brings a message to the hub and distributes nothing.
func (w *world) submitOnly(d *device, req *wire.SubmitMessageRequest) wire.SubmitMessageResponse {
	w.t.Helper()
	resp, _, err := w.hub.Submit(w.ms(), room.From(d.id), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}
