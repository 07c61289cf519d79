package mls

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

type deltaCodec struct{ ref, target []byte }

func (d deltaCodec) Marshal(b *cryptobyte.Builder) error {
	addDelta(b, d.ref, d.target)
	return nil
}

// appWorld is a group with application data in which AppDataUpdate is required, as rooms have it.
func appWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	required := must[[]byte](t)(marshal(RequiredCapabilities{
		Extensions: []ExtensionType{ExtensionAppDataDictionary},
		Proposals:  []ProposalType{ProposalAppDataUpdate, ProposalSelfRemove},
	}))
	ext := must[Extensions](t)(Extensions{{ExtensionRequiredCapabilities, required}}.SetAppData(AppDataDictionary{{ID: 5, Data: []byte("five")}}))
	w := newWorld(t, seed, ext)
	w.add("m0", "a", "b", "c")
	return w
}

func TestML5AppDataUpdate(t *testing.T) {
	w := appWorld(t, 1)
	// by everybody, in the order of the commit: those by reference first; several components; no path needed
	w.tell("b", must[*Message](t)(w.members["b"].Propose(AppDataUpdateProposal(7, []byte("1")), nil)))
	b := w.commit("a", CommitOptions{Proposals: []Proposal{
		AppDataUpdateProposal(7, []byte("2")), AppDataRemoveProposal(5), AppDataUpdateProposal(6, []byte("six")), AppDataUpdateProposal(7, []byte("3")),
	}})
	if b.Commit.Public.content.commit.Path != nil {
		t.Error("AppDataUpdate made a path")
	}
	want := AppDataDictionary{{ID: 6, Data: []byte("six")}, {ID: 7, Data: []byte("123")}}
	if got := w.hub.AppData(); !slices.EqualFunc(got, want, func(a, b ComponentData) bool { return a.ID == b.ID && bytes.Equal(a.Data, b.Data) }) {
		t.Errorf("dictionary %v", got)
	}
	for _, list := range [][]Proposal{
		{AppDataRemoveProposal(6), AppDataRemoveProposal(6)},
		{AppDataRemoveProposal(6), AppDataUpdateProposal(6, nil)},
		{AppDataRemoveProposal(5)},
		{AppDataUpdateProposal(6, []byte("no"))},
		{AppDataUpdateProposal(0x8001, nil)},
	} {
		if _, err := w.members["a"].Commit(CommitOptions{Proposals: list}); err == nil {
			t.Errorf("list %v committed", list)
		}
	}
	if w.members["a"].HasPending() {
		t.Error("a refused commit is pending")
	}
}

// A group without a dictionary gets one at the end of its extensions, if all members support it.
func TestML5AppDataUpdateMakesDictionary(t *testing.T) {
	w := newWorld(t, 2, Extensions{{ExtensionApplicationID, []byte("id")}})
	w.add("m0", "a")
	w.commit("a", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(7, []byte("1"))}})
	if types := w.hub.Context().Extensions.types(); !slices.Equal(types, []ExtensionType{ExtensionApplicationID, ExtensionAppDataDictionary}) {
		t.Errorf("extensions %v", types)
	}
	w = newWorld(t, 3, nil)
	c := w.client("old")
	c.Capabilities.Extensions = nil
	key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
	w.commit("m0", CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}})
	if _, err := w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(7, nil)}}); err == nil {
		t.Error("dictionary in a group with a member that does not support it")
	}
}

func TestML6ExtensionsLeaveTheDictionary(t *testing.T) {
	w := appWorld(t, 4)
	ext := w.hub.Context().Extensions
	changed := must[Extensions](t)(ext.SetAppData(AppDataDictionary{{ID: 5, Data: []byte("six")}}))
	for _, bad := range []Extensions{changed, ext.Remove(ExtensionAppDataDictionary)} {
		w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
			c.Proposals = []ProposalOrRef{value(GroupContextExtensionsProposal(bad))}
		}), "application data")
	}
	w.commit("a", CommitOptions{Proposals: []Proposal{
		AppDataUpdateProposal(5, []byte("+")), GroupContextExtensionsProposal(ext.Set(ExtensionApplicationID, []byte("new"))),
	}})
	if data, _ := w.hub.AppData().Get(5); string(data) != "five+" {
		t.Errorf("component %q", data)
	}
}

// The new required capabilities hold for members that are added in the same commit, not for removed ones.
func TestRequiredCapabilitiesWithinOneCommit(t *testing.T) {
	w := newWorld(t, 5, nil)
	w.add("m0", "a")
	c := w.client("old")
	c.Capabilities.Proposals = nil
	key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
	required := must[[]byte](t)(marshal(RequiredCapabilities{Proposals: []ProposalType{ProposalSelfRemove}}))
	demand := GroupContextExtensionsProposal(Extensions{{ExtensionRequiredCapabilities, required}})
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage), demand}}); err == nil {
		t.Error("added a member that lacks what the same commit demands")
	}
	b := w.commit("a", CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}})
	old := b.Staged.AddedLeaves()[0]
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{demand}}); err == nil {
		t.Error("demanded what a member lacks")
	}
	// nor may anybody use a proposal type that a member lacks
	if _, err := w.members["a"].SelfRemove(nil); err == nil {
		t.Error("SelfRemove in a group with a member that does not support it")
	}
	w.commit("a", CommitOptions{Proposals: []Proposal{RemoveProposal(old), demand}})
}

func TestML8SafeAADInEveryMessage(t *testing.T) {
	ext := must[Extensions](t)(Extensions{}.SetAppData(AppDataDictionary{{ID: ComponentSafeAAD, Data: []byte{0}}}))
	r := newRandom(8)
	cfg := Config{Application: testApp{}, Rand: r}
	g := must[*Group](t)(NewGroup(cfg, newTestClient(t, r, "a"), []byte("g"), ext))
	hub := must[*PublicGroup](t)(NewPublicGroup(cfg, must[*GroupInfo](t)(g.GroupInfo()), must[RatchetTree](t)(g.RatchetTree())))
	tree := must[RatchetTree](t)(g.RatchetTree())
	for _, aad := range [][]byte{nil, []byte("x"), {0, 0}} {
		if _, err := g.Encrypt(aad, nil); err == nil {
			t.Errorf("message with AAD %x", aad)
		}
		if _, err := g.Commit(CommitOptions{AAD: aad}); err == nil {
			t.Errorf("commit with AAD %x", aad)
		}
		if _, err := g.Propose(AppDataUpdateProposal(7, nil), aad); err == nil {
			t.Errorf("proposal with AAD %x", aad)
		}
		if _, _, err := JoinExternal(cfg, newTestClient(t, r, "x"), hub.GroupInfo(), tree, nil, aad); err == nil {
			t.Errorf("external commit with AAD %x", aad)
		}
	}
	empty := must[[]byte](t)(SafeAAD{}.Bytes())
	b := must[*CommitBundle](t)(g.Commit(CommitOptions{AAD: empty}))
	must[*Received](t)(hub.Process(wire(t, b.Commit)))
	c := b.Commit.Public.content
	c.authenticatedData = []byte("x")
	ac := must[*authenticatedContent](t)(hub.state.framing.signContent(g.client.SignatureKey, WireFormatPublicMessage, c))
	ac.auth.confirmationTag = b.Commit.Public.auth.confirmationTag
	m := must[*PublicMessage](t)(hub.state.framing.protectPublic(g.secrets.membership, ac))
	if _, err := hub.Process(&Message{WireFormat: WireFormatPublicMessage, Public: m}); err == nil {
		t.Error("commit with an AAD that is no SafeAAD")
	}
}

// What the hub refuses it says nothing else about.
func TestHubRefusesWithoutData(t *testing.T) {
	w := newWorld(t, 25, nil)
	m := wire(t, must[*Message](t)(w.members["m0"].Propose(AppDataUpdateProposal(7, []byte("x")), nil)))
	must[*Received](t)(w.hub.Process(m))
	if r, err := w.hub.Process(m); err != ErrReplayed || r != nil {
		t.Errorf("again: %+v, %v", r, err)
	}
}

func TestML10SelfRemove(t *testing.T) {
	w := appWorld(t, 10)
	leave := must[*Message](t)(w.members["c"].SelfRemove(nil))
	if leave.WireFormat != WireFormatPublicMessage {
		t.Error("SelfRemove is not a PublicMessage")
	}
	w.tell("c", leave)
	// not twice in an epoch
	if _, err := w.members["c"].SelfRemove([]byte("again")); err == nil {
		t.Error("second SelfRemove")
	}
	c := w.members["c"]
	content := c.content(ContentTypeProposal, []byte("again"))
	p := SelfRemoveProposal()
	content.proposal = &p
	f := w.hub.state.framing
	ac := must[*authenticatedContent](t)(f.signContent(c.client.SignatureKey, WireFormatPublicMessage, content))
	second := must[*PublicMessage](t)(f.protectPublic(w.membership(), ac))
	w.refused("c", &Message{WireFormat: WireFormatPublicMessage, Public: second}, "second SelfRemove")
	// not with a Remove of the same leaf
	ref := w.hub.PendingProposals()[0].Ref
	w.refused("a", w.forge("a", CommitOptions{}, func(m *Commit) {
		m.Proposals = []ProposalOrRef{{Reference: ref}, value(RemoveProposal(c.OwnLeaf()))}
	}), "several proposals")
	// not by the one who leaves, who leaves it out when it commits
	if b := must[*CommitBundle](t)(c.Commit(CommitOptions{})); len(b.Dropped) != 1 {
		t.Error("the leaving member commits its own SelfRemove")
	}
	// not without a path
	w.refused("a", w.forge("a", CommitOptions{}, func(m *Commit) { m.Path = nil }), "lacks a path")
	// by anybody else, our own Remove of the leaf giving way
	w.commit("a", CommitOptions{Proposals: []Proposal{RemoveProposal(c.OwnLeaf())}})
	if w.members["c"] != nil || len(w.hub.Members()) != 3 {
		t.Error("c has not left")
	}
}

func TestML10SelfRemoveInExternalCommit(t *testing.T) {
	w := appWorld(t, 11)
	leave := must[*Message](t)(w.members["b"].SelfRemove(nil))
	w.tell("b", leave)
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	g, b, err := JoinExternalWith(w.cfg, w.client("x"), w.hub.GroupInfo(), tree, nil, []*Message{wire(t, leave)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.members["x"] = g
	w.deliver("x", b)
	w.check()
	if w.members["b"] != nil || g.OwnLeaf() != 2 {
		t.Error("x does not have b's place")
	}
	w.say("x", "hello")
}

func TestML11ExternalSender(t *testing.T) {
	w, key := outsideWorld(t, 12)
	w.tell("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, RemoveProposal(w.members["c"].OwnLeaf()), nil)))
	w.tell("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, AppDataUpdateProposal(3, []byte("by the hub")), nil)))
	c, kp := w.keyPackage("d")
	w.tell("", must[*Message](t)(ProposeJoin(w.hub.Context(), c.SignatureKey, kp.KeyPackage, nil)))
	b := w.commit("a", CommitOptions{})
	w.members["d"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, must[RatchetTree](t)(w.hub.RatchetTree()), kp))
	w.check()
	w.say("d", "hello")
	if data, _ := w.members["d"].AppData().Get(3); string(data) != "by the hub" {
		t.Errorf("component %q", data)
	}
	// somebody else's key package does not make a proposal of a new member
	_, other := w.keyPackage("e")
	w.refused("", must[*Message](t)(ProposeJoin(w.hub.Context(), c.SignatureKey, other.KeyPackage, nil)), "signature")
}

// RFC 9420, Section 12.1.8, and draft-ietf-mls-extensions, Sections 4.7 and 4.8: each type that an external sender may
// propose goes into a commit.
func TestML11EveryTypeFromOutside(t *testing.T) {
	for i, kind := range []ProposalType{
		ProposalAdd, ProposalRemove, ProposalPSK, ProposalReInit, ProposalGroupContextExtensions, ProposalAppDataUpdate, ProposalAppEphemeral,
	} {
		w, key := outsideWorld(t, 500+uint64(i))
		w.cfg.Application = orderApp{seen: new([]string)}
		w.cfg.PSK = func(*PreSharedKeyID) []byte { return []byte("secret") }
		w.hub.cfg = w.cfg
		for _, g := range w.members {
			g.cfg = w.cfg
		}
		next := must[*SignatureKey](t)(GenerateSignatureKey(suite1.id, w.r))
		senders := must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{next.Public(), BasicCredential([]byte("hub"))}}))
		_, kp := w.keyPackage("d")
		p := map[ProposalType]Proposal{
			ProposalAdd:                    AddProposal(kp.KeyPackage),
			ProposalRemove:                 RemoveProposal(w.members["c"].OwnLeaf()),
			ProposalPSK:                    must[Proposal](t)(NewPSKProposal(w.cfg, suite1.id, PreSharedKeyID{Type: PSKExternal, ID: []byte("id")})),
			ProposalReInit:                 {Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: VersionMLS10, CipherSuite: suite1.id}},
			ProposalGroupContextExtensions: GroupContextExtensionsProposal(Extensions{{ExtensionExternalSenders, senders}}),
			ProposalAppDataUpdate:          AppDataUpdateProposal(3, []byte("x")),
			ProposalAppEphemeral:           {Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: 3, Data: []byte("x")}},
		}[kind]
		w.tell("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, p, nil)))
		list := w.commit("a", CommitOptions{}).Staged.Proposals()
		if len(list) != 1 || list[0].Proposal.Type != kind || list[0].Sender.Type != SenderExternal {
			t.Errorf("type %d: %+v", kind, list)
		}
		if kind != ProposalGroupContextExtensions {
			continue
		}
		// a list that has been replaced holds from the commit on
		w.refused("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, RemoveProposal(0), nil)), "signature")
		w.tell("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, next, RemoveProposal(0), nil)))
	}
}

// A proposal that was sent but not saved before a crash comes back and is known again.
func TestOwnProposalAfterCrash(t *testing.T) {
	w := newWorld(t, 22, nil)
	w.add("m0", "a", "b")
	a := w.members["a"]
	state, ratchets := must[[]byte](t)(a.State()), must[[]byte](t)(a.RatchetState())
	m := must[*Message](t)(a.Propose(AppDataUpdateProposal(1, []byte("x")), nil))
	w.members["a"] = must[*Group](t)(RestoreGroup(w.cfg, a.client, state, ratchets))
	w.tell("a", m)
	for range 2 {
		if _, err := w.members["a"].Process(wire(t, m)); err != ErrOwnMessage {
			t.Errorf("own proposal: %v", err)
		}
	}
	w.commit("b", CommitOptions{})
	if data, _ := w.members["a"].AppData().Get(1); string(data) != "x" {
		t.Errorf("component %q", data)
	}
}

func TestReInitEndsTheGroup(t *testing.T) {
	w := newWorld(t, 13, nil)
	w.add("m0", "a", "b")
	reInit := Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 1}}
	w.tell("b", must[*Message](t)(w.members["b"].Propose(reInit, nil)))
	// others go first
	b := w.commit("a", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(1, nil)}})
	if len(b.Dropped) != 1 || !w.members["a"].Active() {
		t.Error("ReInit together with another proposal")
	}
	w.commit("a", CommitOptions{Proposals: []Proposal{reInit}})
	for name, g := range w.members {
		g = saveRestore(t, w.cfg, g)
		if _, err := g.Encrypt(nil, nil); err != ErrInactive || string(g.ReInit().GroupID) != "new" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.hub.ReInit() == nil {
		t.Error("the hub does not know")
	}
}

func TestExternalPSK(t *testing.T) {
	w := newWorld(t, 14, nil)
	psks := map[string][]byte{"id": []byte("secret")}
	w.cfg.PSK = func(id *PreSharedKeyID) []byte { return psks[string(id.ID)] }
	w.members["m0"].cfg = w.cfg
	c, key := w.keyPackage("a")
	psk := must[Proposal](t)(w.members["m0"].NewPSKProposal([]byte("id")))
	b := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{psk, AddProposal(key.KeyPackage)}}))
	w.deliver("m0", b)
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	w.members["a"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, tree, key))
	w.check()
	without := w.cfg
	without.PSK = nil
	if _, err := JoinWelcome(without, c, b.Welcome, tree, key); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("join without the PSK: %v", err)
	}
	unknown := must[Proposal](t)(w.members["a"].NewPSKProposal([]byte("other")))
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{unknown}}); err == nil {
		t.Error("commit of a PSK that is not there")
	}
	// a pending proposal of a PSK that we lack is left out
	psks["other"] = []byte("s")
	w.tell("a", must[*Message](t)(w.members["a"].Propose(unknown, nil)))
	delete(psks, "other")
	if b := w.commit("m0", CommitOptions{}); len(b.Dropped) != 1 {
		t.Error("the PSK that is not available was not dropped")
	}
}

// Lifetimes are checked at each Add by whoever makes it and by the hub. A member that reads it long after is not
// locked out.
func TestLesson23LifetimeAtAdd(t *testing.T) {
	w := newWorld(t, 15, nil)
	w.add("m0", "a")
	c := w.client("d")
	key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, c, Lifetime{1000, 2000}, nil))
	at := func(seconds int64) Config {
		cfg := w.cfg
		cfg.Now = func() time.Time { return time.Unix(seconds, 0) }
		return cfg
	}
	w.members["a"].cfg, w.members["m0"].cfg, w.hub.cfg = at(1500), at(2001), at(2001)
	add := CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}
	b := must[*CommitBundle](t)(w.members["a"].Commit(add))
	if _, err := w.hub.Process(wire(t, b.Commit)); err == nil || !strings.Contains(err.Error(), "lifetime") {
		t.Errorf("expired key package at the hub: %v", err)
	}
	if _, err := w.members["m0"].Commit(add); err == nil {
		t.Error("expired key package added")
	}
	if _, err := w.members["m0"].Propose(AddProposal(key.KeyPackage), nil); err == nil {
		t.Error("expired key package proposed")
	}
	w.hub.cfg = at(2000)
	w.deliver("a", b)
	w.check()
}

// Inline Add: suite, signatures and keys of the KeyPackage.
func TestLesson23InlineAdd(t *testing.T) {
	w := newWorld(t, 16, nil)
	w.add("m0", "a", "b")
	for name, mutate := range map[string]func(*KeyPackage, *Client){
		"suite": func(k *KeyPackage, c *Client) { k.CipherSuite = 2; _ = k.sign(c.SignatureKey) },
		"leaf signature": func(k *KeyPackage, c *Client) {
			k.LeafNode.Signature = flip(k.LeafNode.Signature)
			_ = k.sign(c.SignatureKey)
		},
		"signature": func(k *KeyPackage, _ *Client) { k.Signature = flip(k.Signature) },
		"same keys": func(k *KeyPackage, c *Client) { k.InitKey = k.LeafNode.EncryptionKey; _ = k.sign(c.SignatureKey) },
		"source": func(k *KeyPackage, c *Client) {
			k.LeafNode.Source = LeafNodeSourceUpdate
			_ = k.LeafNode.sign(c.SignatureKey, []byte("group"), 3)
			_ = k.sign(c.SignatureKey)
		},
		"encryption key of a member": func(k *KeyPackage, c *Client) {
			k.LeafNode.EncryptionKey = w.hub.state.tree.leaf(0).EncryptionKey
			_ = k.LeafNode.sign(c.SignatureKey, nil, 0)
			_ = k.sign(c.SignatureKey)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(old testing.TB) { w.t = old }(w.t)
			w.t = t
			c, key := w.keyPackage("d")
			kp := *key.KeyPackage
			mutate(&kp, c)
			w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) { c.Proposals = []ProposalOrRef{value(AddProposal(&kp))} }), "")
			if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(&kp)}}); err == nil {
				t.Error("committed")
			}
		})
	}
	// a member under another leaf
	again := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, w.members["b"].client, Lifetime{0, 1 << 40}, nil))
	w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) { c.Proposals = []ProposalOrRef{value(AddProposal(again.KeyPackage))} }), "twice")
	w.commit("a", CommitOptions{Proposals: []Proposal{AddProposal(again.KeyPackage), RemoveProposal(w.members["b"].OwnLeaf())}})
}

// What an UpdatePath must be, forged by a member with its own key.
func TestPathIsValidated(t *testing.T) {
	w := newWorld(t, 17, nil)
	w.add("m0", "a", "b", "c")
	w.commit("m0", CommitOptions{})
	key := w.members["a"].client.SignatureKey
	sign := func(l *LeafNode) { _ = l.sign(key, []byte("group"), w.members["a"].leaf) }
	for _, attack := range []struct {
		name, reason string
		mutate       func(*Commit)
	}{
		{"leaf signature", "leaf signature", func(c *Commit) { c.Path.LeafNode.Signature = flip(c.Path.LeafNode.Signature) }},
		{"leaf of another group", "leaf signature", func(c *Commit) { _ = c.Path.LeafNode.sign(key, []byte("other"), w.members["a"].leaf) }},
		{"leaf of another place", "leaf signature", func(c *Commit) { _ = c.Path.LeafNode.sign(key, []byte("group"), 3) }},
		{"source", "source", func(c *Commit) { c.Path.LeafNode.Source = LeafNodeSourceUpdate; sign(&c.Path.LeafNode) }},
		{"key not changed", "does not change", func(c *Commit) {
			c.Path.LeafNode.EncryptionKey = w.hub.state.tree.leaf(w.members["a"].leaf).EncryptionKey
			sign(&c.Path.LeafNode)
		}},
		{"node missing", "wrong length", func(c *Commit) { c.Path.Nodes = c.Path.Nodes[1:] }},
		{"node too many", "twice", func(c *Commit) { c.Path.Nodes = append(c.Path.Nodes, c.Path.Nodes[0]) }},
		{"node key in use", "twice", func(c *Commit) { c.Path.Nodes[0].EncryptionKey = w.hub.state.tree.publicKey(3) }},
		{"node key twice", "twice", func(c *Commit) { c.Path.Nodes[0].EncryptionKey = c.Path.LeafNode.EncryptionKey }},
		{"node key invalid", "HPKE key", func(c *Commit) { c.Path.Nodes[0].EncryptionKey = []byte("short") }},
		{"node key other", "parent hash", func(c *Commit) {
			c.Path.Nodes[0].EncryptionKey = must[*HPKEPrivateKey](t)(suite1.generateKeyPair(w.r)).Public()
		}},
		{"ciphertext missing", "number of encrypted", func(c *Commit) { c.Path.Nodes[1].EncryptedPathSecret = nil }},
		{"ciphertext too many", "number of encrypted", func(c *Commit) {
			n := &c.Path.Nodes[0]
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, n.EncryptedPathSecret[0])
		}},
		{"capabilities", "does not support", func(c *Commit) { c.Path.LeafNode.Capabilities.CipherSuites = nil; sign(&c.Path.LeafNode) }},
		{"credential type", "credential", func(c *Commit) { c.Path.LeafNode.Capabilities.Credentials = nil; sign(&c.Path.LeafNode) }},
	} {
		t.Run(attack.name, func(t *testing.T) {
			defer func(old testing.TB) { w.t = old }(w.t)
			w.t = t
			w.refused("a", w.forge("a", CommitOptions{}, attack.mutate), attack.reason)
		})
	}
}

func TestCheckGroupInfo(t *testing.T) {
	w := newWorld(t, 18, nil)
	w.add("m0", "a")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{}))
	r := must[*Received](t)(w.hub.Process(wire(t, b.Commit)))
	key := w.members["a"].client.SignatureKey
	for name, mutate := range map[string]func(*GroupInfo){
		"signature":    func(gi *GroupInfo) { gi.Signature = flip(gi.Signature) },
		"tag":          func(gi *GroupInfo) { gi.ConfirmationTag = flip(gi.ConfirmationTag); _ = gi.sign(key) },
		"epoch":        func(gi *GroupInfo) { gi.GroupContext.Epoch++; _ = gi.sign(key) },
		"signer":       func(gi *GroupInfo) { gi.Signer = 0; _ = gi.sign(w.members["m0"].client.SignatureKey) },
		"external_pub": func(gi *GroupInfo) { gi.Extensions = nil; _ = gi.sign(key) },
		"short key":    func(gi *GroupInfo) { gi.setExternalPub([]byte("x")); _ = gi.sign(key) },
		"ratchet_tree": func(gi *GroupInfo) {
			gi.Extensions = gi.Extensions.Set(ExtensionRatchetTree, []byte{1})
			_ = gi.sign(key)
		},
	} {
		gi := *b.GroupInfo
		mutate(&gi)
		if err := w.hub.Merge(r.Commit, &gi); err == nil {
			t.Errorf("group info with another %s", name)
		}
	}
	if err := w.hub.CheckGroupInfo(r.Commit, b.GroupInfo); err != nil {
		t.Error(err)
	}
	before := w.hub.Clone()
	w.deliver("a", b)
	if before.Epoch() != w.hub.Epoch()-1 {
		t.Error("a clone moves with its original")
	}
	if err := w.hub.Merge(r.Commit, b.GroupInfo); err != ErrStaleCommit {
		t.Errorf("merged twice: %v", err)
	}
}

// Restored from anything but what was stored, a group is an error and never a panic.
func TestRestoreRefusals(t *testing.T) {
	w := newWorld(t, 19, nil)
	w.add("m0", "a")
	w.tell("a", must[*Message](t)(w.members["a"].ProposeUpdate(nil)))
	w.members["m0"].outgoing = nil
	must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{ForcePath: true}))
	g := w.members["a"]
	state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
	for n := range len(state) {
		if _, err := RestoreGroup(w.cfg, g.client, state[:n], ratchets); err == nil {
			t.Fatalf("state cut to %d octets", n)
		}
	}
	for n := range len(ratchets) {
		if again, err := RestoreGroup(w.cfg, g.client, state, ratchets[:n]); err == nil || again != nil {
			t.Fatalf("ratchet state cut to %d octets", n)
		}
	}
	public := must[[]byte](t)(w.hub.State())
	for n := range len(public) {
		if _, err := RestorePublicGroup(w.cfg, public[:n]); err == nil {
			t.Fatalf("public state cut to %d octets", n)
		}
	}
	if _, err := RestoreGroup(w.cfg, g.client, state, must[[]byte](t)(newWorld(t, 20, nil).members["m0"].RatchetState())); err == nil {
		t.Error("ratchet state of another epoch")
	}
}

// A restored group keeps nothing of the memory it was restored from: there are secrets in it.
func TestRestoredGroupHasItsOwnMemory(t *testing.T) {
	w := newWorld(t, 24, nil)
	w.add("m0", "a", "b")
	w.commit("b", CommitOptions{Proposals: []Proposal{{Type: ProposalGroupContextExtensions}}})
	w.tell("a", must[*Message](t)(w.members["a"].ProposeUpdate(nil)))
	w.commit("b", CommitOptions{RenewLeaf: true})
	for name, more := range map[string]func(*Group){
		"proposal": func(g *Group) {
			_, key := w.keyPackage("c")
			must[*Message](t)(g.Propose(AddProposal(key.KeyPackage), nil))
		},
		"commit": func(g *Group) { must[*CommitBundle](t)(g.Commit(CommitOptions{ForcePath: true})) },
		"ReInit": func(g *Group) {
			g.DiscardPending()
			g.pending = nil
			r := Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 1}}
			must[*CommitBundle](t)(g.Commit(CommitOptions{Proposals: []Proposal{r}}))
		},
	} {
		g := saveRestore(t, w.cfg, w.members["a"])
		more(g)
		state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
		input := bytes.Clone(state)
		again := must[*Group](t)(RestoreGroup(w.cfg, g.client, input, ratchets))
		pieces := must[[]RatchetPiece](t)(g.RatchetChanges())
		fromPieces := must[*Group](t)(RestoreGroupFrom(w.cfg, g.client, input, pieces))
		for i := range input {
			input[i] = ^input[i]
		}
		clear(ratchets)
		for _, p := range pieces {
			clear(p.Data)
		}
		for _, again := range []*Group{again, fromPieces} {
			equal(t, name, must[[]byte](t)(again.State()), state)
			equal(t, name, must[[]byte](t)(again.RatchetState()), must[[]byte](t)(g.RatchetState()))
		}
	}
}

func TestDelta(t *testing.T) {
	r := newRandom(21)
	for range 300 {
		ref := r.octets(2000)
		target := bytes.Clone(ref)
		for range r.IntN(5) {
			at := r.IntN(len(target) + 1)
			end := min(len(target), at+r.IntN(100))
			target = slices.Replace(target, at, end, r.octets(60)...)
		}
		in := cryptobyte.String(must[[]byte](t)(marshal(deltaCodec{ref, target})))
		got := must[[]byte](t)(readDelta(&in, ref))
		equal(t, "target", got, target)
	}
	ref := r.octets(60000)
	target := slices.Concat(ref[:len(ref)/3], []byte("inserted"), ref[len(ref)/3:])
	if delta := must[[]byte](t)(marshal(deltaCodec{ref, target})); len(delta) > 200 {
		t.Errorf("%d octets for a small change", len(delta))
	}
}
