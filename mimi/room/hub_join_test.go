package room_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

func TestGI6NewDeviceJoins(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	out := w.accept(alice2, req)
	if len(out.Joined) != 1 || out.Joined[0] != alice2.id || len(out.Removed) != 0 || len(out.Added) != 0 || len(out.Events) != 1 {
		t.Errorf("outcome %v", out)
	}
	w.submit(alice2, alice2.say("from the new one"))
	w.submit(bob, bob.say("welcome"))
	for _, d := range []*device{alice, bob2, carol} {
		if len(d.texts) != 2 {
			t.Errorf("%s got %q", d.id.Device(), d.texts)
		}
	}
	if len(alice2.texts) != 1 {
		t.Errorf("new device got %q", alice2.texts)
	}
}

func TestGI6RejoinTakesTheOldPlace(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	out := w.accept(bob, w.join(bob))
	if len(out.Joined) != 1 || len(out.Removed) != 0 || len(w.hub.Members()) != 4 {
		t.Errorf("joined %v, removed %v, %d members", out.Joined, out.Removed, len(w.hub.Members()))
	}
	w.submit(alice, alice.say("hi again"))
	if len(bob.texts) != 1 || len(bob2.texts) != 1 {
		t.Errorf("got %q and %q", bob.texts, bob2.texts)
	}
}

// lax is an Application that minds nothing about credentials, as a forger's.
type lax struct{ *room.Application }

func (lax) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

// forgedJoin makes an external commit with proposals of the caller's choice.
func (w *world) forgedJoin(d *device, proposals ...mls.Proposal) *wire.UpdateRequest {
	w.t.Helper()
	info := w.groupInfo(d)
	cfg := w.config()
	cfg.Application = lax{&room.Application{Roots: w}}
	g, bundle, err := mls.JoinExternal(cfg, d.client, info.GroupInfo, info.RatchetTreeOption.RatchetTree, proposals, room.EmptyAAD())
	if err != nil {
		w.t.Fatal(err)
	}
	d.group = g
	d.own = must[[]byte](w.t)(bundle.Commit.Bytes())
	return must[*wire.UpdateRequest](w.t)(wire.NewCommitRequest(bundle))
}

func TestGI6JoinerRemovesOnlyItself(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	alice2 := w.device("mimi://a.example/u/alice", "2")
	// the hub's Application sees another client in the place of the old one
	w.refuse("UP-3", alice2, w.forgedJoin(alice2, mls.RemoveProposal(bob.group.OwnLeaf())))
	// nor another device of the same user
	w.refuse("UP-3", alice2, w.forgedJoin(alice2, mls.RemoveProposal(alice.group.OwnLeaf())))
	w.accept(alice2, w.forgedJoin(alice2))
}

func TestGI7JoinerChangesNothingElse(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	alice2 := w.device("mimi://a.example/u/alice", "2")
	w.refuse("GI-7", alice2, w.forgedJoin(alice2, proposals(t)(room.Rename(alice.view, "Mine"))...))
	role := proposals(t)(room.ChangeRole(alice.view, alice.user, policy.RoleMember))
	w.refuse("RP-4", alice2, w.forgedJoin(alice2, role...))
}

func TestGI8JoinFollowsItsRequest(t *testing.T) {
	w, _, _, _, _ := trio(t)
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	w.refuse("UP-3", w.devices[1], req)
	w.now = w.now.Add(10*time.Minute + time.Millisecond)
	w.refuse("GI-8", alice2, req)
	req = w.join(alice2)
	// after a restart the client has to ask again
	w.hub = must[*room.Hub](t)(room.Restore(w.config(), must[[]byte](t)(w.hub.State()), w.hub.LastTimestamp()))
	w.refuse("GI-8", alice2, req)
	req = w.join(alice2)
	// the key has to be the one of the request
	twin := w.device("mimi://a.example/u/alice", "2")
	w.groupInfo(twin)
	w.refuse("GI-8", alice2, req)
	w.accept(alice2, w.join(alice2))
}

// TestGI8RequestsOfOneProvider: a provider that makes up devices takes the place of its own joiners only.
func TestGI8RequestsOfOneProvider(t *testing.T) {
	w, _, bob, _, _ := trio(t)
	for i := range 128 {
		w.groupInfo(w.device(bob.user.String(), fmt.Sprint("made-up", i)))
	}
	late, req := w.join2(bob.user.String(), "late")
	w.refuse("GI-8", late, req)
	alice2, req := w.join2("mimi://a.example/u/alice", "2")
	w.accept(alice2, req)
}

func TestGI9WhoIsAuthorised(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	stranger := w.device("mimi://b.example/u/zoe", "1")
	ask := func(d *device, change func(*wire.GroupInfoRequest)) wire.GroupInfoCode {
		t.Helper()
		req, _, err := room.NewGroupInfoRequest(rand.Reader, d.client)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp := w.ask(req)
		if resp.Status != wire.GroupInfoSuccess && len(resp.EncryptedGroupInfoAndTree.Ciphertext) > 0 {
			t.Error("refusal carries something")
		}
		return resp.Status
	}
	nothing := func(*wire.GroupInfoRequest) {}
	for name, c := range map[string]struct {
		from   *device
		change func(*wire.GroupInfoRequest)
		want   wire.GroupInfoCode
	}{
		"member":       {carol, nothing, wire.GroupInfoSuccess},
		"stranger":     {stranger, nothing, wire.GroupInfoNotAuthorized},
		"GI-10: suite": {carol, func(r *wire.GroupInfoRequest) { r.CipherSuite = 3 }, wire.GroupInfoNotAuthorized},
		"signature":    {carol, func(r *wire.GroupInfoRequest) { r.Signature[0] ^= 1 }, wire.GroupInfoNotAuthorized},
		"another key":  {carol, func(r *wire.GroupInfoRequest) { r.GroupInfoPublicKey = bytes.Repeat([]byte{1}, 32) }, wire.GroupInfoNotAuthorized},
		"HPKE key bad": {carol, func(r *wire.GroupInfoRequest) {
			r.GroupInfoPublicKey = []byte{1}
			_ = r.Sign(carol.client.SignatureKey)
		}, wire.GroupInfoNotAuthorized},
		"other's name": {stranger, func(r *wire.GroupInfoRequest) {
			r.RequestingCredential = carol.client.Credential
			_ = r.Sign(stranger.client.SignatureKey)
		}, wire.GroupInfoNotAuthorized},
		"basic": {stranger, func(r *wire.GroupInfoRequest) {
			r.RequestingCredential = mls.BasicCredential([]byte(carol.id.String()))
			_ = r.Sign(stranger.client.SignatureKey)
		}, wire.GroupInfoNotAuthorized},
		"the hub itself": {stranger, func(r *wire.GroupInfoRequest) { r.RequestingCredential = w.hubSender.Credential; _ = r.Sign(w.hubKey) }, wire.GroupInfoNotAuthorized},
	} {
		if got := ask(c.from, c.change); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	// on the way out, and banned
	w.accept(bob, bob.leave())
	if got := ask(bob2, nothing); got != wire.GroupInfoNotAuthorized {
		t.Errorf("UP-6: leaving user: %d", got)
	}
	w.accept(alice, alice.commit())
	w.accept(alice, alice.commit(proposals(t)(room.ChangeRole(alice.view, carol.user, policy.RoleBanned))...))
	if got := ask(carol, nothing); got != wire.GroupInfoNotAuthorized {
		t.Errorf("banned user: %d", got)
	}
	late := w.device("mimi://a.example/u/alice", "3")
	w.now = w.now.Add(61 * 24 * time.Hour)
	if got := ask(late, nothing); got != wire.GroupInfoNotAuthorized {
		t.Errorf("CR-5: expired certificate: %d", got)
	}
}

func TestGI9BannedAfterTheRequest(t *testing.T) {
	w, alice, _, _, carol := trio(t)
	carol2 := w.device("mimi://a.example/u/carol", "2")
	w.groupInfo(carol2) // still allowed
	w.accept(alice, alice.commit(proposals(t)(room.RemoveUser(alice.view, carol.user))...))
	// she gets hold of the new epoch's GroupInfo elsewhere
	w.groupInfo(alice)
	req, key, err := room.NewGroupInfoRequest(rand.Reader, alice.client)
	if err != nil {
		t.Fatal(err)
	}
	resp := w.ask(req)
	info := must[*wire.GroupInfoRatchetTree](t)(room.OpenGroupInfo(w.room, &resp, key))
	if _, _, err := room.JoinRoom(w.config(), carol2.client, w.room, info); err == nil {
		t.Error("our own client tries to join where it may not")
	}
	_, bundle, err := mls.JoinExternal(w.config(), carol2.client, info.GroupInfo, info.RatchetTreeOption.RatchetTree, nil, room.EmptyAAD())
	if err != nil {
		t.Fatal(err)
	}
	w.refuse("GI-9", carol2, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(bundle)))
}

func TestGI5PendingProposals(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	// bob's first device alone goes; his user stays
	w.accept(bob, bob.propose(must[*mls.Message](t)(bob.group.SelfRemove(room.EmptyAAD()))))
	w.accept(bob2, bob2.propose(must[*mls.Message](t)(bob2.group.ProposeUpdate(room.EmptyAAD()))))
	alice2 := w.device("mimi://a.example/u/alice", "2")
	info := w.groupInfo(alice2)
	if len(info.PendingProposals) != 2 || info.PendingProposals[0].HubAcceptedTime == 0 {
		t.Fatalf("%d pending", len(info.PendingProposals))
	}
	// E6.3: the SelfRemove has to be committed by the joiner; a commit without is refused
	w.refuse("UP-7", alice2, w.forgedJoin(alice2))
	out := w.accept(alice2, w.join(alice2))
	if len(out.Removed) != 1 || out.Removed[0] != bob.id || !bob.out {
		t.Errorf("removed %v", out.Removed)
	}
	w.submit(alice, alice.say("x"))
	if len(bob2.texts) != 1 || len(alice2.texts) != 1 {
		t.Error("not everybody follows")
	}
}

func TestGI4AnswerIsTheHubs(t *testing.T) {
	w, _, _, _, carol := trio(t)
	req, key, err := room.NewGroupInfoRequest(rand.Reader, carol.client)
	if err != nil {
		t.Fatal(err)
	}
	good := w.ask(req)
	other := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	if _, err := room.OpenGroupInfo(other, &good, key); err == nil {
		t.Error("answer for another room accepted")
	}
	impostor := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	for name, sender := range map[string]mls.ExternalSender{
		"key of somebody": {SignatureKey: impostor.Public(), Credential: w.hubSender.Credential},
		"another hub":     {SignatureKey: impostor.Public(), Credential: w.authorities["b.example"].issue(t, impostor.Public(), w.now, "b.example", "mimi://b.example")},
	} {
		forged := good
		forged.HubSender = sender
		if err := forged.Sign(impostor); err != nil {
			t.Fatal(err)
		}
		if _, err := room.OpenGroupInfo(w.room, &forged, key); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	unsigned := good
	unsigned.Signature = bytes.Clone(good.Signature)
	unsigned.Signature[3] ^= 1
	if _, err := room.OpenGroupInfo(w.room, &unsigned, key); err == nil {
		t.Error("damaged signature accepted")
	}
	if _, err := room.OpenGroupInfo(w.room, &good, key); err != nil {
		t.Error(err)
	}
	if _, err := w.hub.GroupInfo(w.ms(), req, impostor, rand.Reader); err == nil {
		t.Error("hub signs with a key that is not its own")
	}
}

func TestID6JoinOfAnotherRoom(t *testing.T) {
	w, _, _, _, carol := trio(t)
	info := w.groupInfo(carol)
	other := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	if _, _, err := room.JoinRoom(w.config(), carol.client, other, info); err == nil {
		t.Error("joined the group of another room")
	}
}
