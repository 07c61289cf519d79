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

// accepted takes an outcome of the hub's own that has to be there.
func (w *world) accepted(out *room.UpdateOutcome, err error) *room.UpdateOutcome {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	if out == nil || out.Next == nil {
		w.t.Fatalf("refused: %v", out)
	}
	w.take(out)
	return out
}

func users(list ...*device) []mimi.UserID {
	var out []mimi.UserID
	for _, d := range list {
		out = append(out, d.user)
	}
	return out
}

// silentNow checks that a user neither sends nor receives.
func (w *world) silentNow(d *device) {
	w.t.Helper()
	if resp := w.submit(d, d.say("still here")); resp.StatusCode != wire.SubmitNotAllowed {
		w.t.Errorf("UP-6: %s sends: %v", d.id.Device(), resp)
	}
	if w.hub.MayReceive(d.user) {
		w.t.Errorf("UP-6: %s receives", d.id.Device())
	}
}

func TestML11HubRemovesAUser(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	out := w.accepted(w.hub.Evict(w.ms(), users(bob), nil))
	if len(out.Events) != 1 || out.Events[0].Kind != room.EventProposal || out.Response.AcceptedTimestamp != out.Events[0].Timestamp {
		t.Fatalf("UP-1: not one bundle: %v", out.Events)
	}
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body))
	if len(m.MoreProposals) != 2 || m.Message.Public.Sender().Type != mls.SenderExternal {
		t.Errorf("bundle of %d", 1+len(m.MoreProposals))
	}
	w.silentNow(bob)
	w.silentNow(bob2)
	if out, err := w.hub.Evict(w.ms(), users(bob), []mimi.ClientID{bob2.id}); out != nil || err != nil {
		t.Errorf("proposed twice: %v %v", out, err)
	}
	w.refuse("UP-6", bob, bob.commit())
	w.restart()
	w.silentNow(bob)
	w.accept(carol, carol.commit())
	if w.hub.IsParticipant(bob.user) || len(w.hub.Members()) != 2 || !bob.out || !bob2.out {
		t.Error("bob is still there")
	}
	if out, err := w.hub.Evict(w.ms(), users(bob), nil); out != nil || err != nil {
		t.Errorf("who is gone is removed: %v %v", out, err)
	}
	if resp := w.submit(alice, alice.say("x")); resp.StatusCode != wire.SubmitAccepted {
		t.Error(resp)
	}
}

func TestML11HubRemovesALostDevice(t *testing.T) {
	w, _, bob, bob2, carol := trio(t)
	w.accepted(w.hub.Evict(w.ms(), nil, []mimi.ClientID{bob2.id, bob2.id}))
	if resp := w.submit(bob2, bob2.say("x")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("lost device sends: %v", resp)
	}
	if resp := w.submit(bob, bob.say("x")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("the other device: %v", resp)
	}
	w.refuse("UP-7", bob2, bob2.commit())
	w.accept(carol, carol.commit())
	if !w.hub.IsParticipant(bob.user) || !bob2.out || bob.out {
		t.Error("not the lost device alone has gone")
	}
}

func TestML11HubInARoomOfFixedMembership(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1")
	spec := w.spec(alice)
	spec.Peer = bob.user
	w.create(alice, spec)
	w.add(alice, bob)
	w.accepted(w.hub.Evict(w.ms(), users(bob), nil))
	w.accept(alice, alice.commit())
	if !bob.out || !w.hub.IsParticipant(bob.user) {
		t.Error("RP-7: the clients go, the list stays")
	}
}

func TestML11WhatTheHubMayNot(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	dora := w.device("mimi://b.example/u/dora", "1")
	v := w.hub.View()
	for rule, list := range map[string][]mls.Proposal{
		"RP-4":  proposals(t)(room.ChangeRole(v, bob.user, policy.RoleAdmin)),
		"MD-1":  proposals(t)(room.Rename(v, "The hub's")),
		"RP-9":  proposals(t)(room.SetPolicy(v, policy.MessageExpiration, policy.Expiration{ExpiringMessages: policy.Forbidden})),
		"ML-11": {mls.RemoveProposal(99)},
		"UP-4":  {mls.AddProposal(dora.kp.KeyPackage)},
	} {
		out, err := w.hub.Propose(w.ms(), list)
		if err != nil || out.Next != nil || out.Refusal.Rule != rule {
			t.Errorf("%s: %v, %v", rule, out, err)
		}
	}
	other := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	w.hub.SetKey(other)
	if _, err := w.hub.Evict(w.ms(), users(bob), nil); err == nil {
		t.Error("proposed with a key that is not the external sender's")
	}
	w.hub.SetKey(w.hubKey)
	// a proposal that only looks like the hub's
	forged := must[*mls.Message](t)(mls.ProposeExternal(alice.group.Context(), 0, other, mls.RemoveProposal(bob.group.OwnLeaf()), room.EmptyAAD()))
	w.refuse("UP-3", alice, alice.propose(forged))
	genuine := must[*mls.Message](t)(mls.ProposeExternal(alice.group.Context(), 0, w.hubKey, mls.RemoveProposal(bob.group.OwnLeaf()), room.EmptyAAD()))
	w.refuse("UP-3", alice, alice.propose(genuine))
}

// TestNT10VoidedRemovalIsReissued has bob leave, and a new device of alice's join before anybody has committed that.
func TestNT10VoidedRemovalIsReissued(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	w.accept(bob, bob.leave())
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	out := w.accept(alice2, req)
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body))
	// the SelfRemove went through; left over are the other device and the list
	if len(out.Events) != 1 || len(m.ExternalProposals) != 2 {
		t.Fatalf("%d events, %d proposals stapled", len(out.Events), len(m.ExternalProposals))
	}
	if !bob.out || bob2.out || len(out.Removed) != 1 {
		t.Error("not exactly the leaving device is out")
	}
	w.silentNow(bob2)
	w.refuse("UP-6", bob2, bob2.commit())
	w.restart()
	w.silentNow(bob2)
	w.refuse("UP-6", bob2, bob2.propose(bob2.proposal(proposals(t)(room.Rename(bob2.view, "x"))[0])))
	// a second join before the commit voids that, too
	carol2, req := w.join2("mimi://a.example/u/carol", "2")
	w.accept(carol2, req)
	w.silentNow(bob2)
	w.accept(carol, carol.commit())
	if w.hub.IsParticipant(bob.user) || !bob2.out || len(w.hub.Members()) != 4 {
		t.Errorf("bob is listed %v, %d members", w.hub.IsParticipant(bob.user), len(w.hub.Members()))
	}
	for _, d := range []*device{alice, alice2, carol2} {
		if resp := w.submit(d, d.say("x")); resp.StatusCode != wire.SubmitAccepted {
			t.Errorf("%s: %v", d.id.Device(), resp)
		}
	}
}

func TestNT10WhatIsReissued(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	all := proposals(t)(room.ChangeRole(alice.view, bob.user, policy.RoleBanned))
	var bundle []*mls.Message
	for _, p := range all {
		bundle = append(bundle, alice.proposal(p))
	}
	w.accept(alice, alice.propose(bundle...))
	// a new name is not the hub's to give: it is lost, and its proposer asks again
	w.accept(alice, alice.propose(alice.proposal(proposals(t)(room.Rename(alice.view, "Lost"))[0])))
	carol2 := w.device("mimi://a.example/u/carol", "2")
	w.accept(alice, alice.propose(alice.proposal(proposals(t)(room.ChangeRole(alice.view, carol.user, policy.RoleModerator))[0])))
	out := w.accept(carol2, w.join(carol2))
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body))
	if len(m.ExternalProposals) != 3 {
		t.Errorf("%d proposals stapled, want the ban and two devices", len(m.ExternalProposals))
	}
	w.silentNow(bob)
	w.accept(carol2, carol2.commit())
	v := w.hub.View()
	if role, _ := v.Role(bob.user); role == nil || role.RoleIndex != policy.RoleBanned || !bob.out || !bob2.out {
		t.Error("bob is not banned")
	}
	if role, _ := v.Role(carol.user); role.RoleIndex != policy.RoleMember || v.Name() != "Club" {
		t.Errorf("carol is %s of %q", role.RoleName, v.Name())
	}
}

// TestNT10BanOfAStranger: the ban of a user who never was in the open room is not lost over his own external commit.
func TestNT10BanOfAStranger(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	w.roles(alice, func(r policy.Roles) { r[0].RoleCapabilities = append(r[0].RoleCapabilities, policy.CanOpenJoin) })
	zoe, yan := w.device("mimi://b.example/u/zoe", "1"), w.device("mimi://a.example/u/yan", "1")
	req := w.enter(zoe, nil)
	zoe.group = nil
	w.accept(alice, alice.propose(alice.proposal(proposals(t)(room.Ban(alice.view, zoe.user))[0])))
	w.refuse("GI-9", zoe, req)
	w.accept(yan, w.enter(yan, nil))
	if resp, _ := w.askWith(zoe, nil); resp.Status != wire.GroupInfoNotAuthorized {
		t.Errorf("banned: %d", resp.Status)
	}
	w.accept(bob, bob.commit())
	if role, _ := w.hub.View().Role(zoe.user); role == nil || role.RoleIndex != policy.RoleBanned {
		t.Error("zoe is not banned")
	}
}

func TestML11NeededUserLosesItsClients(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	w.accept(alice, alice.commit(proposals(t)(room.ChangeRole(alice.view, bob.user, policy.RoleModerator))...))
	w.roles(alice, func(r policy.Roles) { r[3].MinimumParticipants = 1 })
	w.accepted(w.hub.Evict(w.ms(), users(bob), nil))
	w.accept(carol, carol.commit())
	if !bob.out || !bob2.out || !w.hub.IsParticipant(bob.user) {
		t.Error("RP-2: bob's clients stay, or the last moderator is off the list")
	}
}

func TestNT10SingleDevices(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	// a lost device, by its user; and a device that comes back while it is kicked
	w.accept(bob, bob.propose(bob.proposal(proposals(t)(room.RemoveLostDevice(bob.view, bob.user, bob2.id))[0])))
	w.accept(alice, alice.propose(alice.proposal(proposals(t)(room.Kick(alice.view, carol.user))[0])))
	out := w.accept(carol, w.join(carol))
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body))
	if len(m.ExternalProposals) != 2 {
		t.Errorf("%d proposals stapled", len(m.ExternalProposals))
	}
	w.accept(alice, alice.commit())
	if !bob2.out || bob.out || !carol.out || !w.hub.IsParticipant(carol.user) {
		t.Error("not the right devices are out")
	}
	// kicked is not banned
	w.accept(carol, w.join(carol))
}

func TestNT10WithoutTheKeyNothingIsAccepted(t *testing.T) {
	w, _, bob, _, _ := trio(t)
	w.accept(bob, bob.leave())
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	w.hub.SetKey(nil)
	if out, err := w.hub.Update(w.ms(), room.From(alice2.id), req); err == nil {
		t.Errorf("a removal was forgotten: %v", out)
	}
}

func TestNT10StapledProposalsAreTheHubs(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	good := must[*mls.Message](t)(mls.ProposeExternal(alice.group.Context(), 0, w.hubKey, mls.RemoveProposal(bob.group.OwnLeaf()), room.EmptyAAD()))
	own := carol.proposal(mls.RemoveProposal(bob.group.OwnLeaf()))
	for name, c := range map[string]struct {
		m  *mls.Message
		ok bool
	}{"the hub's": {good, true}, "again": {good, true}, "a member's": {own, false}} {
		x := must[wire.MLSMessage](t)(wire.NewMLSMessage(c.m))
		err := room.ReceiveExternal(alice.group, alice.view, &wire.FanoutMessage{ExternalProposals: []wire.MLSMessage{x}})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(alice.group.PendingProposals()); n != 1 {
		t.Errorf("%d pending", n)
	}
}

// rotated is the hub's next certificate, with another key if one is given.
func (w *world) rotated(key *mls.SignatureKey) mls.ExternalSender {
	w.now = w.now.Add(30 * 24 * time.Hour)
	return mls.ExternalSender{SignatureKey: key.Public(),
		Credential: w.authorities["a.example"].issue(w.t, key.Public(), w.now, "a.example", "mimi://a.example")}
}

func TestML11HubRenewsItsCertificate(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	if out, err := w.hub.Rotate(w.ms(), w.hubSender); out != nil || err != nil {
		t.Errorf("nothing to change: %v %v", out, err)
	}
	next := w.rotated(w.hubKey)
	w.accepted(w.hub.Rotate(w.ms(), next))
	if !w.hub.Sender().Credential.Equal(w.hubSender.Credential) {
		t.Error("new certificate before the commit")
	}
	// over a join, and a restart
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	w.accept(alice2, req)
	w.restart()
	w.accept(bob, bob.commit(proposals(t)(room.RemoveLostDevice(bob.view, bob.user, bob2.id))...))
	if !w.hub.Sender().Credential.Equal(next.Credential) {
		t.Fatal("certificate is not the new one")
	}
	w.groupInfo(carol) // GI-4: the answer is signed by an external sender of the group
	// and another key, after which the old one is worth nothing
	old := w.hubKey
	w.hubKey = must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	next = w.rotated(w.hubKey)
	w.accepted(w.hub.Rotate(w.ms(), next))
	w.accept(alice, alice.commit())
	if !bytes.Equal(w.hub.Sender().SignatureKey, w.hubKey.Public()) {
		t.Fatal("key is not the new one")
	}
	w.hub.SetKey(old)
	if _, err := w.hub.Evict(w.ms(), users(carol), nil); err == nil {
		t.Error("old key still proposes")
	}
	w.hub.SetKey(w.hubKey)
	w.accepted(w.hub.Evict(w.ms(), users(carol), nil))
	w.accept(alice, alice.commit())
	if !carol.out {
		t.Error("carol is still there")
	}
}

func TestML11NobodyElseChangesTheSenders(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	foreign := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	stranger := mls.ExternalSender{SignatureKey: foreign.Public(),
		Credential: w.authorities["b.example"].issue(t, foreign.Public(), w.now, "b.example", "mimi://b.example")}
	data := must[[]byte](t)(mls.MarshalExternalSenders([]mls.ExternalSender{w.hubSender, stranger}))
	ext := alice.group.Context().Extensions.Set(mls.ExtensionExternalSenders, data)
	w.refuseAll("RP-9", alice, alice.commit(mls.GroupContextExtensionsProposal(ext)))
	// not even where roles would allow it
	roles := policy.DefaultRoles()
	for i := range roles {
		if roles[i].RoleIndex == policy.RoleAdmin {
			roles[i].RoleCapabilities = append(roles[i].RoleCapabilities, policy.CanChangeMLSOperationalPolicies)
		}
	}
	w.accept(alice, alice.commit(mls.AppDataUpdateProposal(policy.RolesList, must[[]byte](t)(roles.Bytes()))))
	ext = alice.group.Context().Extensions.Set(mls.ExtensionExternalSenders, data)
	w.refuse("ML-11", alice, alice.commit(mls.GroupContextExtensionsProposal(ext)))
	w.refuse("UP-7", alice, alice.propose(alice.proposal(mls.GroupContextExtensionsProposal(ext))))
	if len(bob.group.PendingProposals()) != 0 {
		t.Error("refused proposal was distributed")
	}
}
