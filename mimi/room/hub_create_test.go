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

// edit changes a component of a list of extensions.
func edit(t testing.TB, ext mls.Extensions, id mls.ComponentID, data []byte) mls.Extensions {
	t.Helper()
	dict := must[mls.AppDataDictionary](t)(ext.AppData())
	return must[mls.Extensions](t)(ext.SetAppData(dict.Set(id, data)))
}

func TestUP16Creation(t *testing.T) {
	w := newWorld(t)
	alice := w.device("mimi://a.example/u/alice", "1")
	spec := w.spec(alice)
	w.create(alice, spec)
	if w.hub.Room() != w.room || w.hub.Epoch() != 0 || w.hub.View().Name() != "Club" || len(w.hub.Participants()) != 2 {
		t.Errorf("room %v, epoch %d", w.hub.Room(), w.hub.Epoch())
	}
	if _, _, ok := w.hub.Direct(); ok {
		t.Error("group is direct")
	}
	if role, ok := w.hub.View().Role(alice.user); !ok || role.RoleName != "admin" {
		t.Errorf("creator is %v", role)
	}
	if resp := w.submit(alice, alice.say("alone")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("got %v", resp)
	}
}

func TestUP16CreationRefused(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1")
	base := must[mls.Extensions](t)(room.NewRoomExtensions(w.spec(alice)))
	component := func(id mls.ComponentID, c interface{ Bytes() ([]byte, error) }) mls.Extensions {
		return edit(t, base, id, must[[]byte](t)(c.Bytes()))
	}
	people := func(list ...policy.Participant) mls.Extensions {
		return component(policy.ParticipantList, policy.Participants(list))
	}
	admin := policy.Participant{User: alice.user.String(), RoleIndex: 4}
	enforcer := policy.Participant{User: "mimi://a.example", RoleIndex: 5}
	otherKey := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	otherHub := w.spec(alice)
	otherHub.Hub = mls.ExternalSender{SignatureKey: otherKey.Public(),
		Credential: w.authorities["a.example"].issue(t, otherKey.Public(), w.now, "a.example", "mimi://a.example")}
	foreignHub := w.spec(alice)
	foreignHub.Hub = mls.ExternalSender{SignatureKey: otherKey.Public(),
		Credential: w.authorities["b.example"].issue(t, otherKey.Public(), w.now, "b.example", "mimi://b.example")}
	elsewhere := policy.Metadata{RoomURI: "mimi://a.example/r/elsewhere"}
	dependent := policy.DefaultBase()
	dependent.ParentDependant, dependent.ParentRoom = true, []string{"mimi://a.example/r/p"}
	for name, c := range map[string]struct {
		ext  mls.Extensions
		rule string
	}{
		"ID-6: another room":          {component(policy.RoomMetadata, elsewhere), "ID-6"},
		"ML-2: another key":           {must[mls.Extensions](t)(room.NewRoomExtensions(otherHub)), "ML-2"},
		"ML-2: another hub":           {must[mls.Extensions](t)(room.NewRoomExtensions(foreignHub)), "UP-16"},
		"ML-2: no hub":                {base.Remove(mls.ExtensionExternalSenders), "UP-16"},
		"ML-2: nothing required":      {base.Remove(mls.ExtensionRequiredCapabilities), "UP-16"},
		"PL-5: hub not listed":        {people(admin), "PL-5"},
		"PL-5: hub is a member":       {people(admin, policy.Participant{User: "mimi://a.example", RoleIndex: 2}), "PL-5"},
		"others are listed":           {people(admin, enforcer, policy.Participant{User: bob.user.String(), RoleIndex: 2}), "UP-16"},
		"creator is not listed":       {people(enforcer), "UP-16"},
		"creator is a member":         {people(enforcer, policy.Participant{User: alice.user.String(), RoleIndex: 2}), "UP-16"},
		"PL-1: something else listed": {people(admin, enforcer, policy.Participant{User: "x", RoleIndex: 2}), "PL-1"},
		"PL-1: listed twice":          {people(admin, admin, enforcer), "UP-16"},
		"RP-7: dependent":             {component(policy.BaseRoomPolicy, dependent), "RP-7"},
		"RP-7: fixed, one user":       {component(policy.BaseRoomPolicy, policy.DirectBase()), "RP-7"},
		"RS-1: unlisted component":    {edit(t, base, 0xf000, nil), "UP-16"},
		"malformed roles":             {edit(t, base, policy.RolesList, []byte{1}), "UP-16"},
	} {
		t.Run(name, func(t *testing.T) {
			info, tree := alice.found(c.ext)
			h, resp, err := room.Create(w.config(), w.ms(), alice.id, w.room, w.hubSender, info, tree)
			if err != nil || h != nil || resp.ResponseCode != wire.UpdateNotAllowed {
				t.Fatalf("hub %v, response %v, error %v", h != nil, resp, err)
			}
			if got := resp.ErrorDescription; !bytes.HasSuffix([]byte(got), []byte("("+c.rule+")")) {
				t.Errorf("got %q, want %s", got, c.rule)
			}
		})
	}
}

func TestUP16CreationByOthersOrLater(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1")
	info, tree := alice.found(must[mls.Extensions](t)(room.NewRoomExtensions(w.spec(alice))))
	other := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://b.example/r/clubhouse"))
	forged := *info
	forged.Signature = append(bytes.Clone(info.Signature[1:]), 0)
	bare := *info
	bare.Extensions = nil
	carrying := *info
	carrying.Extensions = append(bytes2(info.Extensions), mls.Extension{Type: mls.ExtensionRatchetTree, Data: tree})
	alice.bundle()
	if err := alice.group.MergePending(); err != nil {
		t.Fatal(err)
	}
	later := must[*mls.GroupInfo](t)(alice.group.GroupInfo())
	for name, c := range map[string]struct {
		by   *device
		room mimi.RoomID
		info *mls.GroupInfo
		tree mls.RatchetTree
	}{
		"by another client":     {bob, w.room, info, tree},
		"room of another hub":   {alice, other, info, tree},
		"forged signature":      {alice, w.room, &forged, tree},
		"UP-9: no external_pub": {alice, w.room, &bare, tree},
		"UP-9: tree inside":     {alice, w.room, &carrying, tree},
		"no tree":               {alice, w.room, info, nil},
		"truncated tree":        {alice, w.room, info, tree[:len(tree)-1]},
		"epoch 1":               {alice, w.room, later, must[mls.RatchetTree](t)(alice.group.RatchetTree())},
	} {
		h, resp, err := room.Create(w.config(), w.ms(), c.by.id, c.room, w.hubSender, c.info, c.tree)
		if err != nil || h != nil || resp.ResponseCode != wire.UpdateNotAllowed {
			t.Errorf("%s: accepted or %v", name, err)
		}
	}
	if h, _, _ := room.Create(w.config(), w.ms(), alice.id, w.room, w.hubSender, info, tree); h == nil {
		t.Error("the proper one is refused")
	}
	if h, resp, _ := room.Create(w.config(), w.ms()+uint64(61*24*time.Hour/time.Millisecond), alice.id, w.room, w.hubSender, info, tree); h != nil {
		t.Errorf("CR-5: expired creator accepted: %v", resp)
	}
}

func TestRP7DirectRoom(t *testing.T) {
	w := newWorld(t)
	alice, bob, bob2 := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1"), w.device("mimi://b.example/u/bob", "2")
	carol := w.device("mimi://a.example/u/carol", "1")
	spec := w.spec(alice)
	spec.Name, spec.Peer = "", bob.user
	w.create(alice, spec)
	if a, b, ok := w.hub.Direct(); !ok || a != alice.user || b != bob.user {
		t.Errorf("direct room of %v and %v, %v", a, b, ok)
	}
	out := w.add(alice, bob)
	if len(out.Added) != 1 {
		t.Errorf("added %v", out.Added)
	}
	w.submit(alice, alice.say("hi"))
	if len(bob.texts) != 1 {
		t.Error("bob got nothing")
	}
	// nobody else, by no way
	w.refuse("RP-7", alice, alice.commit(proposals(t)(room.AddUser(alice.view, carol.user, packages(carol)))...))
	w.refuse("RP-7", bob, bob.commit(proposals(t)(room.RemoveUser(bob.view, alice.user))...))
	w.refuse("UP-4", bob, bob.commit(mls.AddProposal(carol.kp.KeyPackage)))
	w.refuse("RP-4", alice, alice.commit(mls.AddProposal(bob2.kp.KeyPackage)))
	w.refuse("RP-4", alice, alice.commit(proposals(t)(room.RemoveClient(alice.view, bob.id))...))
	// bob's second device by bob, or by itself
	w.accept(bob, bob.commit(mls.AddProposal(bob2.kp.KeyPackage)))
	w.accept(w.join2("mimi://b.example/u/bob", "3"))
	w.accept(bob, bob.commit(proposals(t)(room.RemoveClient(bob.view, bob2.id))...))
	if len(w.hub.Members()) != 3 {
		t.Errorf("%d members", len(w.hub.Members()))
	}
}
