package mls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// deviceApp is a testApp for which the identity "name/2" is the client "name" with another key or suite.
type deviceApp struct{ testApp }

func (deviceApp) ClientOf(c Credential) string {
	name, _, _ := strings.Cut(string(c.Identity), "/")
	return name
}

// ended is a group that a ReInit has shut down, with some secrets of the past in everybody's memory.
func ended(t testing.TB, seed uint64, ext Extensions) *world {
	t.Helper()
	w := newWorld(t, seed, nil)
	w.cfg.Application = deviceApp{}
	w.hub.cfg.Application = deviceApp{}
	w.members["m0"].cfg = w.cfg
	w.add("m0", "a", "b")
	w.commit("a", CommitOptions{})
	reInit := Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 1, Extensions: ext}}
	w.commit("b", CommitOptions{Proposals: []Proposal{reInit}})
	return w
}

// successors are KeyPackages for the group after a ReInit, of clients with new keys.
func (w *world) successors(names ...string) (clients map[string]*Client, keys map[string]*KeyPackageSecrets, list []*KeyPackage) {
	w.t.Helper()
	clients, keys = map[string]*Client{}, map[string]*KeyPackageSecrets{}
	for _, name := range names {
		c, k := w.keyPackage(name + "/2")
		clients[name], keys[name] = c, k
		list = append(list, k.KeyPackage)
	}
	return clients, keys, list
}

func TestReinitialize(t *testing.T) {
	ext := must[Extensions](t)(Extensions{{ExtensionApplicationID, []byte("id")}}.SetAppData(AppDataDictionary{{ID: ComponentSafeAAD, Data: []byte{0}}}))
	w := ended(t, 1, ext)
	clients, keys, list := w.successors("m0", "b")
	// a restart between the ReInit and the new group
	w.members["a"] = saveRestore(t, w.cfg, w.members["a"])
	next, welcome, err := w.members["a"].Reinitialize(w.client("a/2"), list)
	if err != nil {
		t.Fatal(err)
	}
	if next.Epoch() != 1 || string(next.GroupID()) != "new" || len(next.Members()) != 3 {
		t.Fatalf("epoch %d of %q with %d members", next.Epoch(), next.GroupID(), len(next.Members()))
	}
	tree := must[RatchetTree](t)(next.RatchetTree())
	hub := must[*PublicGroup](t)(NewPublicGroup(w.cfg, must[*GroupInfo](t)(next.GroupInfo()), tree))
	if err := w.hub.CheckReinitialized(hub); err != nil {
		t.Error(err)
	}
	again := &world{t: t, r: w.r, cfg: w.cfg, hub: hub, members: map[string]*Group{"a": next}}
	for name, c := range clients {
		w.members[name] = saveRestore(t, w.cfg, w.members[name])
		ids := must[[]PreSharedKeyID](t)(welcome.PSKs(keys[name]))
		if len(ids) != 1 || ids[0].Usage != ResumptionReInit || string(ids[0].GroupID) != "group" || ids[0].Epoch != w.hub.Epoch() {
			t.Errorf("PSKs of the welcome: %+v", ids)
		}
		if _, err := JoinWelcome(w.cfg, c, welcome, tree, keys[name]); err != ErrLinkedWelcome {
			t.Errorf("joined without the old group: %v", err)
		}
		again.members[name] = must[*Group](t)(w.members[name].JoinReinitialized(c, welcome, tree, keys[name]))
		if _, err := w.members[name].JoinReinitialized(c, welcome, tree, keys[name]); err != errNoReInit {
			t.Errorf("joined twice: %v", err)
		}
	}
	again.check()
	for _, from := range []string{"a", "b"} {
		m := wire(t, must[*Message](t)(again.members[from].Encrypt([]byte{0}, []byte("hello"))))
		if r, err := again.members["m0"].Process(m); err != nil || string(r.Application) != "hello" {
			t.Errorf("%v, %v", r, err)
		}
	}
	again.commit("m0", CommitOptions{AAD: []byte{0}})
}

// The resumption PSK of the old group is gone once the new one stands, in memory and in what is stored.
func TestRetireDeletesTheOldGroup(t *testing.T) {
	w := ended(t, 2, nil)
	clients, keys, list := w.successors("m0", "b")
	next, welcome, err := w.members["a"].Reinitialize(w.client("a/2"), list)
	if err != nil {
		t.Fatal(err)
	}
	tree := must[RatchetTree](t)(next.RatchetTree())
	secret := bytes.Clone(w.members["b"].secrets.resumption)
	must[*Group](t)(w.members["b"].JoinReinitialized(clients["b"], welcome, tree, keys["b"]))
	w.members["a"].Retire()
	for _, name := range []string{"a", "b"} {
		g := saveRestore(t, w.cfg, w.members[name])
		if g.secrets != nil || len(g.keys) > 0 || len(g.resumption)+len(g.past) > 0 || bytes.Contains(must[[]byte](t)(g.State()), secret) {
			t.Errorf("%s keeps secrets", name)
		}
		if g.ReInit() == nil || len(g.Members()) != 3 || g.Active() {
			t.Errorf("%s has forgotten what the group was", name)
		}
		if _, err := g.Export("x", nil, 32); err != ErrInactive {
			t.Errorf("export: %v", err)
		}
		if _, ok := g.ResumptionPSK(g.Epoch()); ok {
			t.Error("resumption PSK of a retired group")
		}
	}
	// a running group is not ended by it
	next.Retire()
	if !next.Active() {
		t.Error("a running group was retired")
	}
}

// So are the pieces of its ratchet state, and what is left can be restored.
func TestRetireDeletesThePieces(t *testing.T) {
	w := ended(t, 2, nil)
	g, store := w.members["a"], pieceStore{}
	if _, count := store.save(t, g); count == 0 {
		t.Fatal("no pieces before")
	}
	g.Retire()
	store.save(t, g)
	if len(store) > 0 {
		t.Errorf("%d pieces are left", len(store))
	}
	must[*Group](t)(RestoreGroupFrom(w.cfg, g.client, must[[]byte](t)(g.State()), store.list()))
}

// The new group may be of another suite, which is what ReInit is for: other keys, hashes, signatures and nonces.
func TestReinitializeToAnotherSuite(t *testing.T) {
	for i, cs := range []CipherSuite{2, 3, 5, 7} {
		if !cs.Supported() {
			t.Fatalf("suite %d is not in this build", cs)
		}
		w := newWorld(t, 50+uint64(i), nil)
		w.cfg.Application = deviceApp{}
		w.members["m0"].cfg, w.hub.cfg = w.cfg, w.cfg
		w.add("m0", "a")
		w.commit("a", CommitOptions{Proposals: []Proposal{{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: cs}}}})
		client := func(name string) *Client {
			c := w.client(name + "/2")
			c.SignatureKey = must[*SignatureKey](t)(GenerateSignatureKey(cs, w.r))
			c.Capabilities.CipherSuites = []CipherSuite{1, cs}
			return c
		}
		c := client("m0")
		key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
		_, _, wrong := w.successors("m0")
		if _, _, err := w.members["a"].Reinitialize(w.client("a/2"), wrong); err == nil || !strings.Contains(err.Error(), "suite of the ReInit") {
			t.Errorf("suite %d: our client is of the old suite: %v", cs, err)
		}
		if _, _, err := w.members["a"].Reinitialize(client("a"), wrong); err == nil || !strings.Contains(err.Error(), "another cipher suite") {
			t.Errorf("suite %d: a KeyPackage is of the old suite: %v", cs, err)
		}
		if _, _, err := newWorld(t, 60, nil).members["m0"].Branch(client("m0"), []byte("sub"), nil, nil); err == nil {
			t.Errorf("suite %d: branched into another suite", cs)
		}
		next, welcome, err := w.members["a"].Reinitialize(client("a"), []*KeyPackage{key.KeyPackage})
		if err != nil {
			t.Fatalf("suite %d: %v", cs, err)
		}
		tree := must[RatchetTree](t)(next.RatchetTree())
		joined := must[*Group](t)(w.members["m0"].JoinReinitialized(c, welcome, tree, key))
		equal(t, "authenticator", joined.EpochAuthenticator(), next.EpochAuthenticator())
		equal(t, "safe export", must[[]byte](t)(saveRestore(t, w.cfg, joined).SafeExportSecret(1)), must[[]byte](t)(next.SafeExportSecret(1)))
		hub := must[*PublicGroup](t)(NewPublicGroup(w.cfg, must[*GroupInfo](t)(next.GroupInfo()), tree))
		if err := w.hub.CheckReinitialized(hub); err != nil || hub.Context().CipherSuite != cs {
			t.Errorf("suite %d: %v", cs, err)
		}
	}
}

// What was sent before the ReInit can still be read after it, nothing can be sent.
func TestLateMessagesAfterReInit(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.add("m0", "a")
	late := wire(t, must[*Message](t)(w.members["m0"].Encrypt(nil, []byte("late"))))
	w.commit("a", CommitOptions{Proposals: []Proposal{{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 1}}}})
	r, err := w.members["a"].Process(late)
	if err != nil || string(r.Application) != "late" {
		t.Errorf("late message: %v, %v", r, err)
	}
	if _, err := w.members["a"].Process(late); err != ErrReplayed {
		t.Errorf("again: %v", err)
	}
	g := w.members["m0"]
	content := g.content(ContentTypeApplication, nil)
	content.application = []byte("after")
	ac := must[*authenticatedContent](t)(g.state.framing.signContent(g.client.SignatureKey, WireFormatPrivateMessage, content))
	m := must[*PrivateMessage](t)(g.state.framing.protectPrivate(g.secrets, w.r, ac))
	if _, err := w.members["a"].Process(&Message{WireFormat: WireFormatPrivateMessage, Private: m}); err != ErrInactive {
		t.Errorf("message of an epoch that is shut down: %v", err)
	}
	content = g.content(ContentTypeProposal, nil)
	p := RemoveProposal(1)
	content.proposal = &p
	ac = must[*authenticatedContent](t)(g.state.framing.signContent(g.client.SignatureKey, WireFormatPublicMessage, content))
	public := must[*PublicMessage](t)(g.state.framing.protectPublic(g.secrets.membership, ac))
	for name, process := range map[string]func(*Message) (*Received, error){"hub": w.hub.Process, "member": w.members["a"].Process} {
		if _, err := process(&Message{WireFormat: WireFormatPublicMessage, Public: public}); err != ErrInactive {
			t.Errorf("%s: proposal in a group that is shut down: %v", name, err)
		}
	}
}

// RFC 9420, Sections 11.2 and 12.4.3.1, sentence by sentence, from a member that follows none of them.
func TestReinitializedIsChecked(t *testing.T) {
	w := ended(t, 4, nil)
	old := w.members["a"]
	r := *old.state.reInit
	for _, attack := range []struct {
		name, reason string
		found        func(g *Group) (*Group, *Welcome, error)
	}{
		{"group id", "other parameters", func(g *Group) (*Group, *Welcome, error) {
			return g.found(w.client("a/2"), []byte("other"), r.Extensions, w.list, ResumptionReInit)
		}},
		{"extensions", "other extensions", func(g *Group) (*Group, *Welcome, error) {
			return g.found(w.client("a/2"), r.GroupID, Extensions{{ExtensionApplicationID, nil}}, w.list, ResumptionReInit)
		}},
		{"usage branch", "invalid resumption PSK", func(g *Group) (*Group, *Welcome, error) {
			return g.found(w.client("a/2"), r.GroupID, r.Extensions, w.list, ResumptionBranch)
		}},
		{"a member is missing", "do not match", func(g *Group) (*Group, *Welcome, error) {
			return g.found(w.client("stranger"), r.GroupID, r.Extensions, w.list, ResumptionReInit)
		}},
		{"no PSK", "lacks the resumption PSK", func(g *Group) (*Group, *Welcome, error) {
			next := must[*Group](t)(NewGroup(g.cfg, w.client("a/2"), r.GroupID, r.Extensions))
			var o CommitOptions
			for _, kp := range w.list {
				o.Proposals = append(o.Proposals, AddProposal(kp))
			}
			b, err := next.Commit(o)
			if err != nil {
				return nil, nil, err
			}
			return next, b.Welcome, next.MergePending()
		}},
		{"PSK of another epoch", "another group or epoch", func(g *Group) (*Group, *Welcome, error) {
			before := *g
			state := *g.state
			context := *g.state.context
			context.Epoch--
			state.context, before.state = &context, &state
			return before.found(w.client("a/2"), r.GroupID, r.Extensions, w.list, ResumptionReInit)
		}},
		{"PSK of another group", "another group or epoch", func(*Group) (*Group, *Welcome, error) {
			return ended(t, 5, nil).rename("a", "elsewhere").found(w.client("a/2"), r.GroupID, r.Extensions, w.list, ResumptionReInit)
		}},
		{"epoch 2", "not at epoch 1", func(g *Group) (*Group, *Welcome, error) {
			next := must[*Group](t)(NewGroup(g.cfg, w.client("a/2"), r.GroupID, r.Extensions))
			must[*CommitBundle](t)(next.Commit(CommitOptions{}))
			if err := next.MergePending(); err != nil {
				return nil, nil, err
			}
			psk := must[Proposal](t)(NewPSKProposal(g.cfg, 1, PreSharedKeyID{Type: PSKResumption, Usage: ResumptionReInit, GroupID: g.GroupID(), Epoch: g.Epoch()}))
			list := []Proposal{psk}
			for _, kp := range w.list {
				list = append(list, AddProposal(kp))
			}
			b, err := next.commitFirst(list, ResumptionReInit, preSharedKey{*psk.PSK, g.secrets.resumption})
			if err != nil {
				return nil, nil, err
			}
			next.enter(b.Staged)
			return next, b.Welcome, nil
		}},
		{"two such PSKs", "invalid resumption PSK", func(g *Group) (*Group, *Welcome, error) {
			next, welcome, err := g.found(w.client("a/2"), r.GroupID, r.Extensions, w.list, ResumptionReInit)
			if err != nil {
				return nil, nil, err
			}
			return next, w.doublePSK(welcome), nil
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			clients, keys, list := w.successors("m0", "b")
			w.list, w.keys = list, keys
			next, welcome, err := attack.found(old)
			if err != nil {
				t.Fatal(err)
			}
			before := must[[]byte](t)(w.members["b"].State())
			_, err = w.members["b"].JoinReinitialized(clients["b"], welcome, must[RatchetTree](t)(next.RatchetTree()), keys["b"])
			if err == nil || !strings.Contains(err.Error(), attack.reason) {
				t.Errorf("joined: %v", err)
			}
			equal(t, "old group", must[[]byte](t)(w.members["b"].State()), before)
		})
	}
	// the creator is held to the same
	_, _, list := w.successors("m0", "b", "stranger")
	for name, kps := range map[string][]*KeyPackage{"stranger": list, "missing": list[:1]} {
		if _, _, err := old.Reinitialize(w.client("a/2"), kps); err == nil {
			t.Errorf("reinitialized: %s", name)
		}
	}
	if _, _, err := newWorld(t, 6, nil).members["m0"].Reinitialize(w.client("m0/2"), nil); err != errNoReInit {
		t.Errorf("without a ReInit: %v", err)
	}
	if err := newWorld(t, 7, nil).hub.CheckReinitialized(w.hub); err != errNoReInit {
		t.Errorf("hub without a ReInit: %v", err)
	}
}

// rename is a member's group as if it had another id.
func (w *world) rename(name, id string) *Group {
	g := *w.members[name]
	state := *g.state
	context := *g.state.context
	context.GroupID = []byte(id)
	state.context, g.state = &context, &state
	return &g
}

// doublePSK repeats the PSK in what a Welcome says to b.
func (w *world) doublePSK(welcome *Welcome) *Welcome {
	w.t.Helper()
	gs := must[*groupSecrets](w.t)(welcome.openSecrets(w.keys["b"]))
	gs.psks = append(gs.psks, gs.psks[0])
	out := &Welcome{CipherSuite: welcome.CipherSuite, EncryptedGroupInfo: welcome.EncryptedGroupInfo}
	if err := out.addMember(suite1, w.keys["b"].KeyPackage, gs); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestReinitializeLonelyGroup(t *testing.T) {
	w := newWorld(t, 8, nil)
	w.commit("m0", CommitOptions{Proposals: []Proposal{{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 1}}}})
	next, welcome, err := w.members["m0"].Reinitialize(w.members["m0"].client, nil)
	if err != nil || welcome != nil || next.Epoch() != 1 {
		t.Fatalf("%v, %v", welcome, err)
	}
	// another suite or version than that of the ReInit, or an id that is taken
	for name, r := range map[string]ReInit{
		"suite":   {GroupID: []byte("new"), Version: 1, CipherSuite: 2},
		"version": {GroupID: []byte("new"), Version: 2, CipherSuite: 1},
		"id":      {GroupID: []byte("group"), Version: 1, CipherSuite: 1},
	} {
		w := newWorld(t, 9, nil)
		w.commit("m0", CommitOptions{Proposals: []Proposal{{Type: ProposalReInit, ReInit: &r}}})
		if _, _, err := w.members["m0"].Reinitialize(w.members["m0"].client, nil); err == nil {
			t.Errorf("reinitialized: %s", name)
		}
	}
}

func TestBranch(t *testing.T) {
	w := newWorld(t, 10, nil)
	w.cfg.Application = deviceApp{}
	w.hub.cfg.Application = deviceApp{}
	w.members["m0"].cfg = w.cfg
	w.add("m0", "a", "b", "c")
	clients, keys, list := w.successors("b", "c")
	sub, welcome, err := w.members["a"].Branch(w.client("a/2"), []byte("sub"), nil, list)
	if err != nil {
		t.Fatal(err)
	}
	tree := must[RatchetTree](t)(sub.RatchetTree())
	again := &world{t: t, r: w.r, cfg: w.cfg, members: map[string]*Group{"a": sub}}
	again.hub = must[*PublicGroup](t)(NewPublicGroup(w.cfg, must[*GroupInfo](t)(sub.GroupInfo()), tree))
	again.members["b"] = must[*Group](t)(w.members["b"].JoinBranch(clients["b"], welcome, tree, keys["b"]))
	// the other has gone on meanwhile, c's leaf has even been replaced, and it has restarted
	w.commit("b", CommitOptions{})
	w.commit("c", CommitOptions{})
	w.members["c"] = saveRestore(t, w.cfg, w.members["c"])
	again.members["c"] = must[*Group](t)(w.members["c"].JoinBranch(clients["c"], welcome, tree, keys["c"]))
	again.check()
	again.say("c", "among us")
	w.say("m0", "the group goes on")
	// too late
	for range maxPast {
		w.commit("b", CommitOptions{})
	}
	if _, err := w.members["c"].JoinBranch(clients["c"], welcome, tree, keys["c"]); err != ErrPastEpoch {
		t.Errorf("branch of an epoch long ago: %v", err)
	}
	for range maxResumption {
		w.commit("b", CommitOptions{})
	}
	if _, err := w.members["c"].JoinBranch(clients["c"], welcome, tree, keys["c"]); !errors.Is(err, ErrUnknownPSK) {
		t.Errorf("branch of an epoch very long ago: %v", err)
	}
}

// RFC 9420, Sections 11.3 and 12.4.3.1
func TestBranchIsChecked(t *testing.T) {
	w := newWorld(t, 11, nil)
	w.cfg.Application = deviceApp{}
	w.members["m0"].cfg = w.cfg
	w.hub.cfg.Application = deviceApp{}
	w.add("m0", "a", "b")
	clients, keys, list := w.successors("b", "stranger")
	a := w.members["a"]
	for name, branch := range map[string]func() (*Group, *Welcome, error){
		"stranger":   func() (*Group, *Welcome, error) { return a.Branch(w.client("a/2"), []byte("s"), nil, list) },
		"we are not": func() (*Group, *Welcome, error) { return a.Branch(w.client("z"), []byte("s"), nil, list[:1]) },
		"same id":    func() (*Group, *Welcome, error) { return a.Branch(w.client("a/2"), []byte("group"), nil, list[:1]) },
		"same twice": func() (*Group, *Welcome, error) {
			return a.Branch(w.client("a/2"), []byte("s"), nil, []*KeyPackage{list[0], list[0]})
		},
	} {
		if next, welcome, err := branch(); err == nil || next != nil || welcome != nil {
			t.Errorf("branched: %s, %v", name, err)
		}
	}
	join := func(next *Group, welcome *Welcome, err error) error {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.members["b"].JoinBranch(clients["b"], welcome, must[RatchetTree](t)(next.RatchetTree()), keys["b"])
		return err
	}
	if err := join(a.found(w.client("a/2"), []byte("s"), nil, list, ResumptionBranch)); err == nil || !strings.Contains(err.Error(), "do not match") {
		t.Errorf("joined with a stranger: %v", err)
	}
	if err := join(a.found(w.client("a/2"), []byte("s"), nil, list[:1], ResumptionReInit)); err == nil || !strings.Contains(err.Error(), "invalid resumption PSK") {
		t.Errorf("joined by a PSK of a ReInit: %v", err)
	}
	if err := join(w.rename("a", "other").found(w.client("a/2"), []byte("s"), nil, list[:1], ResumptionBranch)); err != ErrUnknownPSK {
		t.Errorf("joined by a PSK of another group: %v", err)
	}
	next := must[*Group](t)(NewGroup(w.cfg, w.client("a/2"), []byte("s"), nil))
	b := must[*CommitBundle](t)(next.Commit(CommitOptions{Proposals: []Proposal{AddProposal(list[0])}}))
	if err := join(next, b.Welcome, next.MergePending()); err == nil || !strings.Contains(err.Error(), "lacks the resumption PSK") {
		t.Errorf("joined without a PSK: %v", err)
	}
}
