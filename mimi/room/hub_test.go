package room_test

import (
	"bytes"
	"fmt"
	"testing"

	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

func TestUP1CreateAddTalk(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	if n := len(w.hub.Members()); n != 4 || w.hub.Epoch() != 2 {
		t.Fatalf("%d members in epoch %d", n, w.hub.Epoch())
	}
	for _, d := range []*device{alice, bob, carol} {
		if resp := w.submit(d, d.say("from "+d.user.Name())); resp.StatusCode != wire.SubmitAccepted {
			t.Errorf("%s: %v", d.user.Name(), resp)
		}
	}
	if len(bob2.texts) != 3 || bob2.texts[0] != "from alice" || bob2.texts[1] != "from bob" {
		t.Errorf("second device got %q", bob2.texts)
	}
}

func TestSM2SenderIsWhoItSays(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	stranger := w.device("mimi://b.example/u/bob", "9")
	wrong := alice.say("x")
	wrong.SendingURI = bob.user
	if resp := w.submit(alice, wrong); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("another user's name: %v", resp)
	}
	if resp := w.submit(bob, alice.say("x")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("another user's client: %v", resp)
	}
	if resp := w.submit(stranger, bob.say("x")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("device outside of the group: %v", resp)
	}
	// the hub cannot see which leaf encrypted: any device of the user may bring the message
	if resp := w.submit(bob2, bob.say("x")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("sibling device: %v", resp)
	}
}

func TestSM2CapabilityToSend(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	roles := policy.DefaultRoles()
	for i := range roles {
		if roles[i].RoleIndex == policy.RoleMember {
			roles[i].RoleCapabilities = []policy.Capability{policy.CanReceiveMessage}
		}
	}
	w.accept(alice, alice.commit(mls.AppDataUpdateProposal(policy.RolesList, must[[]byte](t)(roles.Bytes()))))
	if resp := w.submit(bob, bob.say("x")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("got %v", resp)
	}
}

func TestSM3Epochs(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	old := bob.say("late")
	req := carol.commit()
	if err := carol.group.MergePending(); err != nil {
		t.Fatal(err)
	}
	ahead := carol.say("early")
	if resp := w.submit(carol, ahead); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("epoch ahead of the hub: %v", resp)
	}
	carol.out = true // it has merged on its own and cannot follow the others
	w.accept(carol, req)
	if resp := w.submit(bob, old); resp.StatusCode != wire.SubmitEpochTooOld || resp.CurrentEpoch != w.hub.Epoch() {
		t.Errorf("epoch before: %v", resp)
	}
	if resp := w.submit(carol, ahead); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("now it is the hub's: %v", resp)
	}
	if len(alice.texts) != 1 || alice.texts[0] != "early" {
		t.Errorf("got %q", alice.texts)
	}
}

func TestSM1OtherMessagesRefused(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	good := alice.say("x")
	for name, change := range map[string]func(*wire.SubmitMessageRequest){
		"nothing":  func(r *wire.SubmitMessageRequest) { r.AppMessage = wire.MLSMessage{} },
		"a commit": func(r *wire.SubmitMessageRequest) { r.AppMessage = alice.commit().ProposalOrCommit },
		"other group": func(r *wire.SubmitMessageRequest) {
			raw := bytes.Clone(r.AppMessage.Raw)
			raw[bytes.Index(raw, []byte("/g/"))+4] ^= 1
			r.AppMessage = must[wire.MLSMessage](t)(wire.ParseMLSMessage(raw))
		},
	} {
		req := *good
		change(&req)
		resp, event, err := w.hub.Submit(w.ms(), room.From(alice.id), &req)
		if err != nil || event != nil || resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
}

func TestML8SubmitNeedsSafeAAD(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	good := alice.say("x").AppMessage.Raw
	// authenticated_data is the vector after group id, epoch and content type
	at := bytes.Index(good, []byte("mimi://")) + len(w.hub.View().Room().Provider().String()) + len("/g/") + 22 + 8 + 1
	if good[at] != 1 || good[at+1] != 0 {
		t.Fatalf("authenticated data is not at %d", at)
	}
	for name, aad := range map[string][]byte{"none": {0}, "junk": {1, 9}, "trailing octet": {2, 0, 0}} {
		raw := append(append(bytes.Clone(good[:at]), aad...), good[at+2:]...)
		req := &wire.SubmitMessageRequest{Protocol: 1, AppMessage: must[wire.MLSMessage](t)(wire.ParseMLSMessage(raw)), SendingURI: alice.user}
		if resp, _, _ := w.hub.Submit(w.ms(), room.From(alice.id), req); resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("%s: %v", name, resp)
		}
	}
}

func TestSM5TimesIncrease(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	last := w.hub.LastTimestamp()
	next := func(got uint64) {
		t.Helper()
		if got <= last || got != w.hub.LastTimestamp() {
			t.Errorf("time %d after %d", got, last)
		}
		last = got
	}
	for range 3 {
		next(w.submit(alice, alice.say("x")).AcceptedTimestamp)
	}
	w.now = w.now.Add(-1e12) // the clock jumps back
	next(w.submit(bob, bob.say("x")).AcceptedTimestamp)
	next(w.accept(alice, alice.commit()).Response.AcceptedTimestamp)
	w.hub = must[*room.Hub](t)(room.Restore(w.config(), must[[]byte](t)(w.hub.State()), last))
	next(w.submit(bob, bob.say("x")).AcceptedTimestamp)
	w.now = w.now.Add(2e12)
	next(w.submit(bob, bob.say("x")).AcceptedTimestamp)
	if last != w.ms() {
		t.Errorf("time %d, clock %d", last, w.ms())
	}
}

func TestSM5EventIsTheMessage(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	req := alice.say("x")
	resp, accepted, err := w.hub.Submit(w.ms(), room.From(alice.id), req)
	if err != nil {
		t.Fatal(err)
	}
	m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(accepted.Event(nil)))
	if m.Timestamp != resp.AcceptedTimestamp || !bytes.Equal(m.Message.Raw, req.AppMessage.Raw) || m.Frank != nil {
		t.Error("event differs from the message")
	}
}

func TestUP12StateRestores(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	restore := func() {
		t.Helper()
		state := must[[]byte](t)(w.hub.State())
		w.hub = must[*room.Hub](t)(room.Restore(w.config(), state, w.hub.LastTimestamp()))
		if !bytes.Equal(must[[]byte](t)(w.hub.State()), state) {
			t.Error("state changes by restoring it")
		}
		for n := 0; n < len(state); n += 97 {
			if _, err := room.Restore(w.config(), state[:n], 0); err == nil {
				t.Fatalf("prefix of %d octets restored", n)
			}
		}
	}
	restore()
	w.accept(bob, bob.leave())
	restore()
	w.accept(carol, carol.commit())
	restore()
	w.submit(alice, alice.say("x"))
	dora := w.device("mimi://b.example/u/dora", "1")
	w.add(carol, dora)
	restore()
	w.accept(w.join2("mimi://a.example/u/alice", "2"))
}

func BenchmarkSubmit(b *testing.B) {
	w, alice, _, _, _ := trio(b)
	req := alice.say("a message of ordinary length, as people write them all day long")
	now := w.ms()
	b.ReportAllocs()
	for b.Loop() {
		resp, accepted, err := w.hub.Submit(now, room.From(alice.id), req)
		if err != nil || accepted == nil || len(accepted.Event(nil)) == 0 || resp.StatusCode != wire.SubmitAccepted {
			b.Fatal(resp)
		}
	}
}

// BenchmarkUpdateOf200 is a commit in a room of 200 users.
func BenchmarkUpdateOf200(b *testing.B) {
	w := newWorld(b)
	alice := w.device("mimi://a.example/u/alice", "1")
	w.create(alice, w.spec(alice))
	var list []mls.Proposal
	for i := range 200 {
		d := w.device(fmt.Sprintf("mimi://b.example/u/user%d", i), "1")
		w.devices = w.devices[:1]
		add, err := room.AddUser(alice.view, d.user, packages(d))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, add...)
	}
	w.accept(alice, alice.commit(list...))
	req := alice.commit()
	b.ReportAllocs()
	for b.Loop() {
		out, err := w.hub.Update(w.ms(), room.From(alice.id), req)
		if err != nil || out.Next == nil {
			b.Fatal(out.Response)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	w, alice, _, _, _ := trio(b)
	req := alice.commit()
	b.ReportAllocs()
	for b.Loop() {
		out, err := w.hub.Update(w.ms(), room.From(alice.id), req)
		if err != nil || out.Next == nil {
			b.Fatal(out.Response)
		}
	}
}

// FuzzUpdate brings arbitrary octets to a room in use.
func FuzzUpdate(f *testing.F) {
	w, alice, bob, _, _ := trio(f)
	dora := w.device("mimi://b.example/u/dora", "1")
	add, err := room.AddUser(alice.view, dora.user, packages(dora))
	if err != nil {
		f.Fatal(err)
	}
	for _, req := range []*wire.UpdateRequest{alice.commit(add...), bob.leave(), w.join(w.device("mimi://a.example/u/alice", "2"))} {
		data, err := req.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := wire.UnmarshalUpdateRequest(data)
		if err != nil {
			return
		}
		from := w.devices[len(data)%len(w.devices)]
		out, err := w.hub.Update(w.ms(), room.From(from.id), req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Response.Bytes(); err != nil {
			t.Fatal(err)
		}
	})
}
