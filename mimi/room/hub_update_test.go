package room_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

func proposals(t testing.TB) func([]mls.Proposal, error) []mls.Proposal {
	return must[[]mls.Proposal](t)
}

// list is a proposal to change the participant list.
func list(t testing.TB, u policy.ParticipantsUpdate) mls.Proposal {
	return mls.AppDataUpdateProposal(policy.ParticipantList, must[[]byte](t)(u.Bytes()))
}

// bundle makes a request of proposals.
func (d *device) propose(list ...*mls.Message) *wire.UpdateRequest {
	req := &wire.UpdateRequest{}
	for i, m := range list {
		x := must[wire.MLSMessage](d.w.t)(wire.NewMLSMessage(m))
		if i == 0 {
			req.ProposalOrCommit = x
		} else {
			req.MoreProposals = append(req.MoreProposals, x)
		}
	}
	return req
}

func (d *device) proposal(p mls.Proposal) *mls.Message {
	d.w.t.Helper()
	return must[*mls.Message](d.w.t)(d.group.Propose(p, room.EmptyAAD()))
}

// leave is the bundle by which d's user leaves, siblings included.
func (d *device) leave() *wire.UpdateRequest {
	d.w.t.Helper()
	out := []*mls.Message{must[*mls.Message](d.w.t)(d.group.SelfRemove(room.EmptyAAD()))}
	for _, p := range proposals(d.w.t)(room.RemoveUser(d.view, d.user)) {
		if p.Type != mls.ProposalRemove || p.Remove != d.group.OwnLeaf() {
			out = append(out, d.proposal(p))
		}
	}
	return d.propose(out...)
}

func TestUP1AddedClientsAndEvents(t *testing.T) {
	w := newWorld(t)
	alice, bob, bob2 := w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1"), w.device("mimi://b.example/u/bob", "2")
	w.create(alice, w.spec(alice))
	refs := []mls.KeyPackageRef{must[mls.KeyPackageRef](t)(bob.kp.KeyPackage.Ref()), must[mls.KeyPackageRef](t)(bob2.kp.KeyPackage.Ref())}
	out := w.add(alice, bob, bob2)
	if len(out.Added) != 2 || !bytes.Equal(out.Added[0], refs[0]) || !bytes.Equal(out.Added[1], refs[1]) {
		t.Errorf("added %x, want %x", out.Added, refs)
	}
	if len(out.Events) != 2 || out.Events[0].Kind != room.EventCommit || out.Events[1].Kind != room.EventWelcome {
		t.Fatalf("NT-8: commit, then Welcome; got %v", out.Events)
	}
	if out.Events[0].Timestamp != out.Response.AcceptedTimestamp {
		t.Error("event and response differ in time")
	}
	if _, ok := w.hub.View().Role(bob.user); !ok || !w.hub.IsParticipant(bob.user) {
		t.Error("bob is not listed")
	}
	late, lateCommit := bob.say("still here?"), bob.commit()
	out = w.accept(alice, alice.commit(proposals(t)(room.RemoveUser(alice.view, bob.user))...))
	if len(out.Removed) != 2 || len(out.Added) != 0 || len(out.Events) != 1 {
		t.Errorf("removal: %v", out)
	}
	if !bob.out || !bob2.out || w.hub.IsParticipant(bob.user) {
		t.Error("NT-9: bob was not told, or is still listed")
	}
	if resp := w.submit(bob, late); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("UP-6: removed user sends: %v", resp)
	}
	w.refuse("UP-2", bob, lateCommit)
}

func TestUP2OneCommitPerEpoch(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	first, second := alice.commit(proposals(t)(room.Rename(alice.view, "A"))...), bob.commit()
	third := carol.commit()
	if out := w.accept(alice, first); out.Response.AcceptedTimestamp == 0 {
		t.Error("no time")
	}
	w.refuse("UP-2", bob, second)
	w.refuse("UP-2", carol, third)
	w.refuse("UP-2", alice, first)
	// the loser has seen the winner's commit and tries again
	w.accept(bob, bob.commit())
	if w.hub.View().Name() != "A" {
		t.Errorf("name is %q", w.hub.View().Name())
	}
}

func TestUP3SenderAndSignature(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	req := alice.commit()
	w.refuse("UP-3", bob, req)
	w.refuse("UP-3", bob2, bob.commit())
	out := must[*room.UpdateOutcome](t)(w.hub.Update(w.ms(), room.Origin{}, req))
	if out.Next != nil {
		t.Error("commit from nowhere accepted")
	}
	w.refuse("UP-3", bob2, bob.propose(must[*mls.Message](t)(bob.group.ProposeUpdate(room.EmptyAAD()))))
	stranger := w.device("mimi://a.example/u/zoe", "1")
	w.refuse("UP-3", stranger, alice.propose(alice.proposal(mls.RemoveProposal(bob.group.OwnLeaf()))))
}

func TestUP15OtherGroup(t *testing.T) {
	w, _, _, _, _ := trio(t)
	other := w.device("mimi://a.example/u/alice", "9")
	id := must[mimi.GroupID](t)(mimi.NewGroupID(w.room.Provider(), [16]byte{9}))
	ext := must[mls.Extensions](t)(room.NewRoomExtensions(w.spec(other)))
	other.group = must[*mls.Group](t)(mls.NewGroup(w.config(), other.client, []byte(id.String()), ext))
	for range 2 {
		if err := other.group.MergePending(); err == nil {
			t.Fatal("nothing was pending")
		}
		other.commit()
		if err := other.group.MergePending(); err != nil {
			t.Fatal(err)
		}
	}
	w.refuse("UP-15", other, other.commit())
}

func TestUP3MutatedRequestsNeverAccepted(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	dora := w.device("mimi://b.example/u/dora", "1")
	req := alice.commit(proposals(t)(room.AddUser(alice.view, dora.user, packages(dora)))...)
	data := must[[]byte](t)(req.Bytes())
	leaving := must[[]byte](t)(bob.leave().Bytes())
	r := rand.New(rand.NewPCG(7, 7))
	for _, c := range []struct {
		from *device
		data []byte
	}{{alice, data}, {bob, leaving}} {
		for range 150 {
			forged := bytes.Clone(c.data)
			forged[r.IntN(len(forged))] ^= 1 << r.IntN(8)
			req, err := wire.UnmarshalUpdateRequest(forged)
			if err != nil {
				continue
			}
			out, err := w.hub.Update(w.ms(), room.From(c.from.id), req)
			if err != nil {
				t.Fatal(err)
			}
			// what the hub cannot see: membership tags, and what is encrypted for others
			if out.Next != nil && !unseen(c.data, forged, req) {
				t.Errorf("forged request accepted")
			}
		}
	}
}

// unseen tells whether the difference lies where a hub has no secret to check it with.
func unseen(data, forged []byte, req *wire.UpdateRequest) bool {
	at := 0
	for data[at] == forged[at] {
		at++
	}
	if req.Welcome != nil {
		welcome, err := (&mls.Message{WireFormat: mls.WireFormatWelcome, Welcome: req.Welcome}).Bytes()
		if err == nil && at >= len(req.ProposalOrCommit.Raw) && at < len(req.ProposalOrCommit.Raw)+len(welcome) {
			return true
		}
	}
	messages := append([]wire.MLSMessage{req.ProposalOrCommit}, req.MoreProposals...)
	for _, m := range messages {
		// the tag is the end of each message
		if end := bytes.Index(forged, m.Raw) + len(m.Raw); at < end && at >= end-33 {
			return true
		}
	}
	return false
}

func TestUP4ClientNeedsListEntry(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	dora := w.device("mimi://b.example/u/dora", "1")
	w.refuse("UP-4", alice, alice.commit(mls.AddProposal(dora.kp.KeyPackage)))
	w.refuse("RP-4", alice, alice.commit(mls.AddProposal(w.device("mimi://b.example/u/bob", "3").kp.KeyPackage)))
	// a user can be listed without clients, and joins later
	w.accept(alice, alice.commit(proposals(t)(room.AddUser(alice.view, dora.user, nil))...))
	w.refuse("RP-4", alice, alice.commit(mls.AddProposal(dora.kp.KeyPackage)))
	w.accept(dora, w.join(dora))
	if resp := w.submit(dora, dora.say("hi")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("got %v", resp)
	}
}

func TestUP5RemovalTakesAllLeaves(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	all := proposals(t)(room.RemoveUser(alice.view, bob.user))
	if len(all) != 3 {
		t.Fatalf("%d proposals", len(all))
	}
	w.refuse("UP-5", alice, alice.commit(all[0], all[1]))
	w.refuse("UP-5", alice, alice.commit(all[0]))
	w.accept(alice, alice.commit(all...))
}

func TestRP4Roles(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	w.refuse("RP-4", carol, carol.commit(proposals(t)(room.RemoveUser(carol.view, bob.user))...))
	w.refuse("RP-4", carol, carol.commit(proposals(t)(room.ChangeRole(carol.view, bob.user, policy.RoleAdmin))...))
	w.refuse("RP-4", bob, bob.commit(proposals(t)(room.ChangeRole(bob.view, bob.user, policy.RoleAdmin))...))
	w.refuse("MD-1", bob, bob.commit(proposals(t)(room.Rename(bob.view, "Bob's"))...))
	w.refuse("RP-4", bob, bob.commit(proposals(t)(room.RemoveClient(bob.view, carol.id))...))
	w.accept(alice, alice.commit(proposals(t)(room.ChangeRole(alice.view, carol.user, policy.RoleModerator))...))
	if role, ok := w.hub.View().Role(carol.user); !ok || role.RoleName != "moderator" {
		t.Errorf("carol is %v", role)
	}
	w.accept(carol, carol.commit(proposals(t)(room.ChangeRole(carol.view, bob.user, policy.RoleBanned))...))
	if w.hub.IsParticipant(bob.user) || !bob.out {
		t.Error("bob is not banned")
	}
	// a banned user does not come back, neither by himself nor by a member
	w.refuse("RP-4", alice, alice.commit(mls.AddProposal(bob.kp.KeyPackage)))
}

func TestPL3TouchedTwice(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	// MLS itself refuses to make such a commit: the two proposals come from two members
	remove := proposals(t)(room.RemoveUser(alice.view, bob.user))
	w.accept(bob, bob.leave())
	w.refuse("PL-3", alice, alice.propose(alice.proposal(remove[0])))
}

func TestMD1RoomURIStays(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	m := alice.view.Metadata()
	m.RoomURI = "mimi://a.example/r/other"
	w.refuse("MD-1", alice, alice.commit(mls.AppDataUpdateProposal(policy.RoomMetadata, must[[]byte](t)(m.Bytes()))))
}

func TestPL5HubStaysListed(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	i := alice.view.Participants().Find("mimi://a.example")
	w.refuse("RP-4", alice, alice.commit(list(t, policy.ParticipantsUpdate{RemovedIndices: []uint32{uint32(i)}})))
}

func TestRP3RolesAlone(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	roles := mls.AppDataUpdateProposal(policy.RolesList, must[[]byte](t)(policy.DefaultRoles().Bytes()))
	remove := proposals(t)(room.RemoveUser(alice.view, bob.user))
	w.refuse("RP-3", alice, alice.commit(append(remove, roles)...))
	w.accept(alice, alice.commit(roles))
}

func TestRS1ComponentsStayListed(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	short := must[[]byte](t)(mls.ComponentsList{1, 2, 3}.Bytes())
	out := w.update(alice, alice.commit(mls.AppDataUpdateProposal(mls.ComponentAppComponents, short)))
	if out.Next != nil {
		t.Error("required components dropped")
	}
}

func TestUP6UP11Leaving(t *testing.T) {
	w, alice, bob, bob2, carol := trio(t)
	out := w.accept(bob, bob.leave())
	if len(out.Events) != 1 || out.Events[0].Kind != room.EventProposal {
		t.Fatalf("UP-1: bundle is not one event: %v", out.Events)
	}
	if m := must[*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessage(out.Events[0].Body)); len(m.MoreProposals) != 2 {
		t.Errorf("bundle of %d", len(m.MoreProposals)+1)
	}
	for _, d := range []*device{bob, bob2} {
		if resp := w.submit(d, d.say("bye")); resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("UP-6: leaving user sends: %v", resp)
		}
	}
	if w.hub.MayReceive(bob.user) || !w.hub.MayReceive(carol.user) {
		t.Error("UP-6: leaving user receives")
	}
	w.refuse("UP-6", bob, bob.propose(bob.proposal(proposals(t)(room.Rename(bob.view, "x"))[0])))
	// the hub keeps that over a restart
	w.hub = must[*room.Hub](t)(room.Restore(w.config(), must[[]byte](t)(w.hub.State()), w.hub.LastTimestamp()))
	if resp := w.submit(bob, bob.say("bye")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("UP-6: leaving user sends after a restart: %v", resp)
	}
	w.accept(carol, carol.commit())
	if w.hub.IsParticipant(bob.user) || len(w.hub.Members()) != 2 || !bob.out || !bob2.out {
		t.Error("bob is still there")
	}
	if resp := w.submit(alice, alice.say("gone")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("got %v", resp)
	}
}

func TestUP5IncompleteLeave(t *testing.T) {
	w, _, bob, _, _ := trio(t)
	full := bob.leave()
	out := w.update(bob, &wire.UpdateRequest{ProposalOrCommit: full.ProposalOrCommit, MoreProposals: full.MoreProposals[:1]})
	if out.Next != nil {
		t.Error("leaving without the second device accepted")
	}
}

func TestUP7CommitCoversPendingProposals(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	early := carol.commit() // carol does not know of the proposal yet
	earlyBundle := carol.own
	w.accept(bob, bob.propose(must[*mls.Message](t)(bob.group.ProposeUpdate(room.EmptyAAD()))))
	carol.own = earlyBundle
	w.refuse("UP-7", carol, early)
	w.accept(alice, alice.commit())
}

func TestUP7ConflictingProposalsRefused(t *testing.T) {
	w, alice, bob, bob2, _ := trio(t)
	w.accept(bob, bob.propose(bob.proposal(mls.RemoveProposal(bob2.group.OwnLeaf()))))
	w.refuse("UP-7", alice, alice.propose(alice.proposal(mls.RemoveProposal(bob2.group.OwnLeaf()))))
	w.refuse("UP-7", bob2, bob2.propose(must[*mls.Message](t)(bob2.group.ProposeUpdate(room.EmptyAAD()))))
	w.accept(alice, alice.commit())
	if len(w.hub.Members()) != 3 {
		t.Errorf("%d members", len(w.hub.Members()))
	}
}

func TestUP8PendingRoleCounts(t *testing.T) {
	w, alice, _, _, carol := trio(t)
	roles := policy.DefaultRoles()
	for i := range roles {
		if roles[i].RoleIndex == policy.RoleMember {
			roles[i].RoleCapabilities = []policy.Capability{policy.CanReceiveMessage}
		}
	}
	w.accept(alice, alice.propose(alice.proposal(mls.AppDataUpdateProposal(policy.RolesList, must[[]byte](t)(roles.Bytes())))))
	if resp := w.submit(carol, carol.say("x")); resp.StatusCode != wire.SubmitNotAllowed {
		t.Errorf("member without the capability sends: %v", resp)
	}
	if resp := w.submit(alice, alice.say("x")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("admin: %v", resp)
	}
}

func TestUP8PendingProposalsOfOthersDoNotBlock(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	w.accept(bob, bob.leave())
	w.accept(alice, alice.commit(proposals(t)(room.Rename(alice.view, "Without Bob"))...))
	if w.hub.IsParticipant(bob.user) || w.hub.View().Name() != "Without Bob" {
		t.Error("commit has not done both")
	}
	// but one whose own role is about to change only commits what is pending
	w.accept(alice, alice.commit(proposals(t)(room.ChangeRole(alice.view, carol.user, policy.RoleAdmin))...))
	demote := proposals(t)(room.ChangeRole(carol.view, alice.user, policy.RoleMember))
	w.accept(carol, carol.propose(carol.proposal(demote[0])))
	w.refuse("UP-8", alice, alice.commit(proposals(t)(room.Rename(alice.view, "Mine"))...))
	w.accept(alice, alice.commit())
}

func TestUP9UP10GroupInfo(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	other := bob.bundle()
	b := alice.bundle()
	with := func(change func(*wire.UpdateRequest)) *wire.UpdateRequest {
		req := must[*wire.UpdateRequest](t)(wire.NewCommitRequest(b))
		change(req)
		return req
	}
	forged := *b.GroupInfo
	forged.Signature = append(bytes.Clone(forged.Signature[1:]), 0)
	treeless := *b.GroupInfo
	treeless.Extensions = append(bytes2(treeless.Extensions), mls.Extension{Type: mls.ExtensionRatchetTree, Data: must[mls.RatchetTree](t)(alice.group.RatchetTree())})
	partial := func(sig []byte) func(*wire.UpdateRequest) {
		return func(r *wire.UpdateRequest) {
			r.GroupInfoOption = wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{GroupInfoExtensions: b.GroupInfo.Extensions, Signature: sig}}
		}
	}
	old := must[mls.RatchetTree](t)(alice.group.RatchetTree())
	for name, change := range map[string]func(*wire.UpdateRequest){
		"forged signature":  func(r *wire.UpdateRequest) { r.GroupInfoOption.GroupInfo = &forged },
		"of another commit": func(r *wire.UpdateRequest) { r.GroupInfoOption.GroupInfo = other.GroupInfo },
		"with tree":         func(r *wire.UpdateRequest) { r.GroupInfoOption.GroupInfo = &treeless },
		"partial, forged":   partial(forged.Signature),
		"tree of before":    func(r *wire.UpdateRequest) { r.RatchetTreeOption = wire.FullTree(old) },
		"tree somewhere else": func(r *wire.UpdateRequest) {
			r.RatchetTreeOption = wire.RatchetTreeOption{Representation: wire.TreeOutOfBand}
		},
		"tree behind a URL": func(r *wire.UpdateRequest) {
			r.RatchetTreeOption = wire.RatchetTreeOption{Representation: wire.TreeHTTPSURI, RatchetTreeURL: "https://x"}
		},
	} {
		t.Run(name, func(t *testing.T) { w.refuse("UP-10", alice, with(change)) })
	}
	tree := must[mls.RatchetTree](t)(b.Staged.RatchetTree())
	w.accept(alice, with(func(r *wire.UpdateRequest) {
		partial(b.GroupInfo.Signature)(r)
		r.RatchetTreeOption = wire.FullTree(tree)
	}))
	// the rebuilt GroupInfo serves joiners
	w.accept(w.join2("mimi://b.example/u/bob", "7"))
}

func bytes2(e mls.Extensions) mls.Extensions { return append(mls.Extensions(nil), e...) }

// join2 makes a new device of a user and its request to join.
func (w *world) join2(name, label string) (*device, *wire.UpdateRequest) {
	d := w.device(name, label)
	return d, w.join(d)
}

func TestUP14WelcomeMatchesAdds(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	dora, dora2 := w.device("mimi://b.example/u/dora", "1"), w.device("mimi://b.example/u/dora", "2")
	b := alice.bundle(proposals(t)(room.AddUser(alice.view, dora.user, packages(dora, dora2)))...)
	for name, change := range map[string]func(*wire.UpdateRequest){
		"missing":   func(r *wire.UpdateRequest) { r.Welcome = nil },
		"too short": func(r *wire.UpdateRequest) { r.Welcome = cut(b.Welcome, 1) },
		"twice":     func(r *wire.UpdateRequest) { r.Welcome = cut(b.Welcome, 0, 0) },
		"empty":     func(r *wire.UpdateRequest) { r.Welcome = cut(b.Welcome) },
	} {
		t.Run(name, func(t *testing.T) {
			req := must[*wire.UpdateRequest](t)(wire.NewCommitRequest(b))
			change(req)
			w.refuse("UP-14", alice, req)
		})
	}
	spare := must[*wire.UpdateRequest](t)(wire.NewCommitRequest(alice.bundle()))
	spare.Welcome = b.Welcome
	w.refuse("UP-14", alice, spare)
}

// cut is a Welcome with some of the secrets of w.
func cut(w *mls.Welcome, keep ...int) *mls.Welcome {
	out := *w
	out.Secrets = nil
	for _, i := range keep {
		out.Secrets = append(out.Secrets, w.Secrets[i])
	}
	return &out
}

func TestML8AuthenticatedData(t *testing.T) {
	_, alice, _, _, _ := trio(t)
	if r := alice.view.CheckAAD([]byte{1, 2}); r == nil || r.Rule != "ML-8" {
		t.Errorf("got %v", r)
	}
	if r := alice.view.CheckAAD([]byte{0x06, 0x00, 0x20, 0x03, 1, 2, 3}); r != nil {
		t.Errorf("got %v", r)
	}
	if alice.view.CheckAAD(nil) == nil {
		t.Error("missing SafeAAD accepted")
	}
}

func TestCR5CredentialsValidWhenTheyComeIn(t *testing.T) {
	w, alice, bob, _, _ := trio(t)
	dora := w.device("mimi://b.example/u/dora", "1")
	w.now = w.now.Add(61 * 24 * time.Hour) // certificates live for 60 days
	dora.newKeyPackage()
	w.refuse("CR-5", alice, alice.commit(proposals(t)(room.AddUser(alice.view, dora.user, packages(dora)))...))
	// those who are in stay in
	w.accept(bob, bob.commit())
	if resp := w.submit(bob, bob.say("x")); resp.StatusCode != wire.SubmitAccepted {
		t.Errorf("got %v", resp)
	}
	// and renew
	bob.client.Credential = w.authorities["b.example"].issue(t, bob.client.SignatureKey.Public(), w.now, "", bob.id.String(), bob.user.String())
	bob.group.DiscardPending()
	b := must[*mls.CommitBundle](t)(bob.group.Commit(mls.CommitOptions{RenewLeaf: true, AAD: room.EmptyAAD()}))
	bob.own = must[[]byte](t)(b.Commit.Bytes())
	w.accept(bob, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(b)))
}

func TestCR4CredentialsOfOthersRefused(t *testing.T) {
	w := newWorld(t)
	alice := w.device("mimi://a.example/u/alice", "1")
	app := room.Application{Roots: w}
	c := alice.client
	for name, x := range map[string]struct {
		credential mls.Credential
		key        mls.SignaturePublicKey
		old        *mls.Credential
	}{
		"basic":             {mls.BasicCredential([]byte(alice.id.String())), c.SignatureKey.Public(), nil},
		"another key":       {c.Credential, w.hubKey.Public(), nil},
		"foreign authority": {w.authorities["b.example"].issue(t, c.SignatureKey.Public(), w.now, "", alice.id.String(), alice.user.String()), c.SignatureKey.Public(), nil},
		"unknown provider":  {newAuthority(t, "c.example", w.now).issue(t, c.SignatureKey.Public(), w.now, "", "mimi://c.example/d/x/1", "mimi://c.example/u/x"), c.SignatureKey.Public(), nil},
		"another client":    {w.authorities["a.example"].issue(t, c.SignatureKey.Public(), w.now, "", "mimi://a.example/d/alice/2", alice.user.String()), c.SignatureKey.Public(), &c.Credential},
		"two certificates":  {mls.X509Credential(c.Credential.Certificates[0], c.Credential.Certificates[0]), c.SignatureKey.Public(), nil},
	} {
		if app.ValidateCredential(x.credential, x.key, x.old) == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if err := app.ValidateCredential(c.Credential, c.SignatureKey.Public(), &c.Credential); err != nil {
		t.Error(err)
	}
}
