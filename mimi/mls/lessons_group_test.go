package mls

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"
)

// forge makes a commit as a member that follows no rules: an honest one is changed, signed again with the member's
// key and given a membership tag. The confirmation tag stays, which a hub cannot check: a hub that lets such a
// commit pass has a rule missing.
func (w *world) forge(by string, o CommitOptions, mutate func(*Commit)) *Message {
	w.t.Helper()
	g := w.members[by]
	b := must[*CommitBundle](w.t)(g.Commit(o))
	g.DiscardPending()
	return w.resign(by, b.Commit, mutate)
}

func (w *world) resign(by string, m *Message, mutate func(*Commit)) *Message {
	w.t.Helper()
	g := w.members[by]
	m = wire(w.t, m)
	c := m.Public.content
	mutate(c.commit)
	c.body = nil
	f := w.hub.state.framing
	ac := must[*authenticatedContent](w.t)(f.signContent(g.client.SignatureKey, WireFormatPublicMessage, c))
	ac.auth.confirmationTag = m.Public.auth.confirmationTag
	p := must[*PublicMessage](w.t)(f.protectPublic(w.membership(), ac))
	return wire(w.t, &Message{WireFormat: WireFormatPublicMessage, Public: p})
}

// membership is the membership key of the current epoch.
func (w *world) membership() []byte {
	for _, g := range w.members {
		if g.Epoch() == w.hub.Epoch() && !g.joining {
			return g.secrets.membership
		}
	}
	return nil
}

// refused has the hub and all members but the sender refuse a message for the same reason, and stay as they were.
func (w *world) refused(from string, m *Message, reason string) {
	w.t.Helper()
	check := func(name string, state func() ([]byte, error), process func(*Message) (*Received, error)) {
		w.t.Helper()
		before := must[[]byte](w.t)(state())
		_, err := process(m)
		if err == nil || !strings.Contains(err.Error(), reason) {
			w.t.Errorf("%s: %v, want %q", name, err, reason)
		}
		equal(w.t, "state of "+name, must[[]byte](w.t)(state()), before)
	}
	check("hub", w.hub.State, w.hub.Process)
	for name, g := range w.members {
		if name != from {
			check(name, g.State, g.Process)
			check(name, g.RatchetState, g.Process)
		}
	}
}

// value is a proposal by value in its wire form.
func value(p Proposal) ProposalOrRef { return ProposalOrRef{Proposal: &p} }

// flip changes one bit in a copy.
func flip(data []byte) []byte {
	out := bytes.Clone(data)
	out[len(out)/2] ^= 1
	return out
}

func TestLesson03CommitIsVerifiedBeforeItIsApplied(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.add("m0", "a", "b", "c")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{}))
	for _, attack := range []struct {
		reason string
		mutate func(p *PublicMessage)
	}{
		{"confirmation tag", func(p *PublicMessage) { p.auth.confirmationTag = flip(p.auth.confirmationTag) }},
		{"decryption failed", func(p *PublicMessage) {
			for k := range p.content.commit.Path.Nodes {
				for j := range p.content.commit.Path.Nodes[k].EncryptedPathSecret {
					ct := &p.content.commit.Path.Nodes[k].EncryptedPathSecret[j]
					ct.Ciphertext = flip(ct.Ciphertext)
				}
			}
		}},
	} {
		m := wire(t, b.Commit)
		attack.mutate(m.Public)
		c := m.Public.content
		c.body = nil
		f := w.hub.state.framing
		ac := must[*authenticatedContent](t)(f.signContent(w.members["a"].client.SignatureKey, WireFormatPublicMessage, c))
		ac.auth.confirmationTag = m.Public.auth.confirmationTag
		m.Public = must[*PublicMessage](t)(f.protectPublic(w.membership(), ac))
		for _, name := range []string{"m0", "b", "c"} {
			g := w.members[name]
			state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
			if _, err := g.Process(m); err == nil || !strings.Contains(err.Error(), attack.reason) {
				t.Errorf("%s: %v", name, err)
			}
			equal(t, "state", must[[]byte](t)(g.State()), state)
			equal(t, "ratchets", must[[]byte](t)(g.RatchetState()), ratchets)
		}
	}
	// nobody was damaged: the true commit goes through
	w.deliver("a", b)
	w.check()
	w.say("b", "fine")
}

func TestLesson05LosingARaceDamagesNothing(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, 5, nil)
		w.add("m0", "a", "b", "c")
		winner := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{}))
		_, key := w.keyPackage("d")
		must[*CommitBundle](t)(w.members["b"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
		if _, err := w.members["b"].Commit(CommitOptions{}); err != ErrPendingCommit {
			t.Errorf("second commit: %v", err)
		}
		if restart {
			w.members["b"] = saveRestore(t, w.cfg, w.members["b"])
			if !w.members["b"].HasPending() {
				t.Fatal("the pending commit did not survive")
			}
		}
		w.deliver("a", winner)
		w.check()
		// a pending commit that wins after a restart
		again := must[*CommitBundle](t)(w.members["b"].Commit(CommitOptions{}))
		w.members["b"] = saveRestore(t, w.cfg, w.members["b"])
		w.deliver("b", again)
		w.check()
		w.say("b", "fine")
	}
}

func TestLesson06NothingSupersededIsStored(t *testing.T) {
	w := newWorld(t, 6, nil)
	w.add("m0", "a", "b")
	g := w.members["a"]
	w.say("b", "first") // consumes a key of b's ratchet
	var old [][]byte
	for _, f := range g.secrets.fields() {
		if f != &g.secrets.resumption && f != &g.secrets.senderData && f != &g.secrets.membership {
			old = append(old, bytes.Clone(*f))
		}
	}
	for _, k := range g.keys {
		old = append(old, must[[]byte](t)(k.bytes()))
	}
	b := must[*CommitBundle](t)(g.Commit(CommitOptions{})) // a commit that is discarded
	for _, k := range b.Staged.member.keys {
		if data := must[[]byte](t)(k.bytes()); !slices.ContainsFunc(old, func(o []byte) bool { return bytes.Equal(o, data) }) {
			old = append(old, data)
		}
	}
	old = append(old, bytes.Clone(b.Staged.member.secrets.init))
	g.DiscardPending()
	w.commit("a", CommitOptions{})
	stored := append(must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())...)
	for i, secret := range old {
		if len(secret) > 0 && bytes.Contains(stored, secret) {
			t.Errorf("secret %d of the epoch before is still stored", i)
		}
	}
	if !bytes.Contains(stored, g.secrets.init) {
		t.Error("the test looks at the wrong place")
	}
}

// outsideWorld is a group with an external sender.
func outsideWorld(t testing.TB, seed uint64, more ...Extension) (*world, *SignatureKey) {
	t.Helper()
	key := must[*SignatureKey](t)(GenerateSignatureKey(suite1.id, newRandom(seed+1000)))
	senders := must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{key.Public(), BasicCredential([]byte("hub"))}}))
	ext := append(Extensions{{ExtensionExternalSenders, senders}}, more...)
	w := newWorld(t, seed, ext)
	w.add("m0", "a", "b", "c")
	return w, key
}

// tell has everybody process a proposal.
func (w *world) tell(from string, m *Message) {
	w.t.Helper()
	must[*Received](w.t)(w.hub.Process(wire(w.t, m)))
	for name, g := range w.members {
		if name != from {
			must[*Received](w.t)(g.Process(wire(w.t, m)))
		}
	}
}

func TestLesson08ExternalProposalIsBoundToGroupAndEpoch(t *testing.T) {
	w, key := outsideWorld(t, 8)
	m := must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, RemoveProposal(w.members["b"].OwnLeaf()), nil))
	other, _ := outsideWorld(t, 9)
	other.hub.state.context.GroupID = []byte("other") // only its name matters here
	if _, err := other.hub.Process(wire(t, m)); err != ErrWrongGroup {
		t.Errorf("other group: %v", err)
	}
	w.tell("", m)
	w.refused("", wire(t, m), ErrReplayed.Error())
	w.commit("a", CommitOptions{})
	if w.members["b"] != nil {
		t.Error("b is still there")
	}
	w.refused("", wire(t, m), ErrPastEpoch.Error())
	// a content whose epoch was changed has no valid signature
	c := m.Public.content
	c.epoch = w.hub.Epoch()
	w.refused("", &Message{WireFormat: WireFormatPublicMessage, Public: &PublicMessage{content: c, auth: m.Public.auth}}, "signature")
	for _, p := range []Proposal{SelfRemoveProposal(), {Type: ProposalUpdate, Update: w.hub.state.tree.leaf(0)}, {Type: ProposalExternalInit}} {
		if _, err := ProposeExternal(w.hub.Context(), 0, key, p, nil); err == nil {
			t.Errorf("external proposal of type %d", p.Type)
		}
		forged := must[*Message](t)(signOutside(w.hub.Context(), Sender{Type: SenderExternal}, key, p, nil))
		w.refused("", forged, "sender")
	}
	wrongIndex := must[*Message](t)(ProposeExternal(w.hub.Context(), 1, key, RemoveProposal(0), nil))
	w.refused("", wrongIndex, "external sender")
}

// external makes an external commit whose list is changed by an outsider who follows no rules.
func (w *world) external(mutate func(*Commit)) *Message {
	w.t.Helper()
	c := w.client("x")
	_, b, err := JoinExternal(w.cfg, c, w.hub.GroupInfo(), must[RatchetTree](w.t)(w.hub.RatchetTree()), nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	m := wire(w.t, b.Commit)
	content := m.Public.content
	mutate(content.commit)
	content.body = nil
	ac := must[*authenticatedContent](w.t)(w.hub.state.framing.signContent(c.SignatureKey, WireFormatPublicMessage, content))
	ac.auth.confirmationTag = m.Public.auth.confirmationTag
	m.Public = must[*PublicMessage](w.t)(w.hub.state.framing.protectPublic(nil, ac))
	return wire(w.t, m)
}

func TestLesson09ExternalCommitIsRestricted(t *testing.T) {
	w, key := outsideWorld(t, 10)
	_, kp := w.keyPackage("y")
	remove := must[*Message](t)(w.members["a"].Propose(RemoveProposal(w.members["b"].OwnLeaf()), nil))
	w.tell("a", remove)
	ref := w.hub.PendingProposals()[0].Ref
	const list, byRef = "external commit", "reference in an external commit"
	for _, attack := range []struct {
		name, reason string
		mutate       func(*Commit)
	}{
		{"two removes", list, func(c *Commit) {
			c.Proposals = append(c.Proposals, value(RemoveProposal(0)), value(RemoveProposal(1)))
		}},
		{"extensions", list, func(c *Commit) {
			c.Proposals = append(c.Proposals, value(GroupContextExtensionsProposal(nil)))
		}},
		{"add", list, func(c *Commit) { c.Proposals = append(c.Proposals, value(AddProposal(kp.KeyPackage))) }},
		{"reinit", list, func(c *Commit) {
			c.Proposals = append(c.Proposals, value(Proposal{Type: ProposalReInit, ReInit: &ReInit{Version: 1, CipherSuite: 1}}))
		}},
		{"no ExternalInit", list, func(c *Commit) { c.Proposals = nil }},
		{"two ExternalInit", list, func(c *Commit) { c.Proposals = append(c.Proposals, c.Proposals[0]) }},
		{"remove by reference", byRef, func(c *Commit) { c.Proposals = append(c.Proposals, ProposalOrRef{Reference: ref}) }},
		{"self remove by value", byRef, func(c *Commit) { c.Proposals = append(c.Proposals, value(SelfRemoveProposal())) }},
		{"no path", "sender", func(c *Commit) { c.Path = nil }},
		{"remove of nobody", "blank", func(c *Commit) { c.Proposals = append(c.Proposals, value(RemoveProposal(77))) }},
		{"invalid component", "test: invalid", func(c *Commit) {
			c.Proposals = append(c.Proposals, value(AppDataUpdateProposal(1, []byte("no"))))
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			defer func(old testing.TB) { w.t = old }(w.t)
			w.t = t
			if attack.name == "no path" {
				// such a content cannot even be given to the signer's key
				m := w.external(func(*Commit) {})
				m.Public.content.commit.Path = nil
				m.Public.content.body = nil
				w.refused("", m, "sender")
				return
			}
			w.refused("", w.external(attack.mutate), attack.reason)
		})
	}
	// what an outsider may not do as a member either: send a commit as the external sender
	forged := w.external(func(*Commit) {})
	forged.Public.content.sender = Sender{Type: SenderExternal}
	w.refused("", forged, "sender")
	_ = key
}

func TestLesson10ProposalListIsValidated(t *testing.T) {
	w, _ := outsideWorld(t, 12)
	own := w.members["a"].OwnLeaf()
	_, kp := w.keyPackage("d")
	update := must[*Message](t)(w.members["a"].ProposeUpdate(nil))
	w.tell("a", update)
	ownUpdate := w.hub.PendingProposals()[0].Ref
	leaf := *update.Public.content.proposal.Update
	psk := PSKProposal(&PreSharedKeyID{Type: PSKExternal, ID: []byte("id"), Nonce: make([]byte, 32)})
	shortPSK := PSKProposal(&PreSharedKeyID{Type: PSKExternal, ID: []byte("id"), Nonce: make([]byte, 31)})
	branch := PSKProposal(&PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, Nonce: make([]byte, 32)})
	for _, attack := range []struct {
		name, reason string
		list         []ProposalOrRef
		noPath       bool
	}{
		{"remove self", "Remove of the committer", []ProposalOrRef{value(RemoveProposal(own))}, false},
		{"own update by reference", "Update of the committer", []ProposalOrRef{{Reference: ownUpdate}}, false},
		{"inline update", "Update of the committer", []ProposalOrRef{value(Proposal{Type: ProposalUpdate, Update: &leaf})}, false},
		{"remove twice", "several proposals", []ProposalOrRef{value(RemoveProposal(0)), value(RemoveProposal(0))}, false},
		{"add twice", "twice", []ProposalOrRef{value(AddProposal(kp.KeyPackage)), value(AddProposal(kp.KeyPackage))}, false},
		{"PSK twice", "twice", []ProposalOrRef{value(psk), value(psk)}, false},
		{"PSK nonce", "nonce", []ProposalOrRef{value(shortPSK)}, false},
		{"PSK branch", "branch", []ProposalOrRef{value(branch)}, false},
		{"two extensions", "several", []ProposalOrRef{value(GroupContextExtensionsProposal(nil)), value(GroupContextExtensionsProposal(nil))}, false},
		{"reinit and more", "ReInit", []ProposalOrRef{value(Proposal{Type: ProposalReInit, ReInit: &ReInit{Version: 1, CipherSuite: 1}}), value(AppDataUpdateProposal(1, nil))}, false},
		{"reinit to version 0", "older", []ProposalOrRef{value(Proposal{Type: ProposalReInit, ReInit: &ReInit{CipherSuite: 1}})}, false},
		{"external init", "ExternalInit", []ProposalOrRef{value(Proposal{Type: ProposalExternalInit})}, false},
		{"self remove by value", "SelfRemove", []ProposalOrRef{value(SelfRemoveProposal())}, false},
		{"unknown reference", "unknown proposal", []ProposalOrRef{{Reference: make([]byte, 32)}}, false},
		{"reference twice", "twice", []ProposalOrRef{{Reference: ownUpdate}, {Reference: ownUpdate}}, false},
		{"update and remove of a component", "removal", []ProposalOrRef{value(AppDataUpdateProposal(1, nil)), value(AppDataRemoveProposal(1))}, false},
		{"remove of no component", "removal", []ProposalOrRef{value(AppDataRemoveProposal(1))}, false},
		{"unknown component", "unknown component", []ProposalOrRef{value(AppDataUpdateProposal(0x9000, nil))}, false},
		{"ephemeral of unknown component", "AppEphemeral", []ProposalOrRef{value(Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{}})}, false},
		{"empty without path", "lacks a path", nil, true},
		{"remove without path", "lacks a path", []ProposalOrRef{value(RemoveProposal(0))}, true},
		{"extensions without path", "lacks a path", []ProposalOrRef{value(GroupContextExtensionsProposal(w.hub.Context().Extensions))}, true},
	} {
		t.Run(attack.name, func(t *testing.T) {
			defer func(old testing.TB) { w.t = old }(w.t)
			w.t = t
			w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
				c.Proposals = attack.list
				if attack.noPath {
					c.Path = nil
				}
			}), attack.reason)
		})
	}
	w.commit("b", CommitOptions{})
	w.say("a", "fine")
}

func TestLesson11TreeOutOfBandIsVerified(t *testing.T) {
	w := newWorld(t, 11, nil)
	w.add("m0", "a", "b")
	c, key := w.keyPackage("d")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
	tree := must[RatchetTree](t)(b.Staged.RatchetTree())
	old := must[RatchetTree](t)(w.hub.RatchetTree())
	if _, err := JoinWelcome(w.cfg, c, b.Welcome, nil, key); err == nil || !strings.Contains(err.Error(), "no ratchet tree") {
		t.Errorf("without a tree: %v", err)
	}
	if _, err := JoinWelcome(w.cfg, c, b.Welcome, old, key); err == nil || !strings.Contains(err.Error(), "tree hash") {
		t.Errorf("tree of the epoch before: %v", err)
	}
	for i := 0; i < len(tree); i += 13 {
		bad := bytes.Clone(tree)
		bad[i] ^= 4
		if _, err := JoinWelcome(w.cfg, c, b.Welcome, bad, key); err == nil {
			t.Fatalf("tree with octet %d changed", i)
		}
		if _, err := NewPublicGroup(w.cfg, b.GroupInfo, bad); err == nil {
			t.Fatalf("tree with octet %d changed, to the hub", i)
		}
	}
	// a committer that signs the group info wrongly
	secrets := b.Staged.member.secrets
	for _, attack := range []struct {
		reason string
		mutate func(*GroupInfo)
	}{
		{"group info signature", func(gi *GroupInfo) { gi.Signature = flip(gi.Signature) }},
		{"blank leaf", func(gi *GroupInfo) { gi.Signer = 1 << 31; _ = gi.sign(w.members["a"].client.SignatureKey) }},
		{"signature", func(gi *GroupInfo) { gi.Signer = 0; _ = gi.sign(w.members["a"].client.SignatureKey) }},
		{"confirmation tag", func(gi *GroupInfo) {
			gi.ConfirmationTag = flip(gi.ConfirmationTag)
			_ = gi.sign(w.members["a"].client.SignatureKey)
		}},
	} {
		gi := *b.GroupInfo
		attack.mutate(&gi)
		gs := must[*groupSecrets](t)(b.Welcome.openSecrets(key))
		sealed := must[[]byte](t)(suite1.sealGroupInfo(gs.joinerSecret, suite1.zero(), &gi))
		forged := &Welcome{CipherSuite: suite1.id, EncryptedGroupInfo: sealed}
		if err := forged.addMember(suite1, key.KeyPackage, gs); err != nil {
			t.Fatal(err)
		}
		if _, err := JoinWelcome(w.cfg, c, forged, tree, key); err == nil || !strings.Contains(err.Error(), attack.reason) {
			t.Errorf("%v, want %q", err, attack.reason)
		}
	}
	_ = secrets
	must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, tree, key))
}

func TestLesson12UnknownExtensionsFollowCapabilities(t *testing.T) {
	const unknown ExtensionType = 0xF123
	r := newRandom(12)
	cfg := Config{Application: testApp{}, Rand: r}
	creator := newTestClient(t, r, "creator")
	if _, err := NewGroup(cfg, creator, []byte("g"), Extensions{{unknown, []byte("x")}}); err == nil {
		t.Error("group with an extension that its creator does not support")
	}
	creator.Capabilities.Extensions = append(creator.Capabilities.Extensions, unknown)
	ext := must[Extensions](t)(Extensions{{unknown, []byte("x")}}.SetAppData(AppDataDictionary{{ID: 1, Data: []byte("data")}}))
	g := must[*Group](t)(NewGroup(cfg, creator, []byte("g"), ext))
	hub := must[*PublicGroup](t)(NewPublicGroup(cfg, must[*GroupInfo](t)(g.GroupInfo()), must[RatchetTree](t)(g.RatchetTree())))
	add := func(c *Client) (*CommitBundle, error) {
		key := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, c, Lifetime{0, 1 << 40}, nil))
		b, err := g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}})
		if err == nil {
			must[*Group](t)(JoinWelcome(cfg, c, b.Welcome, must[RatchetTree](t)(b.Staged.RatchetTree()), key))
			must[*Received](t)(hub.Process(wire(t, b.Commit)))
			g.DiscardPending()
		}
		return b, err
	}
	without := newTestClient(t, r, "without")
	if _, err := add(without); err == nil {
		t.Error("member that does not support the extension")
	}
	if _, _, err := JoinExternal(cfg, without, hub.GroupInfo(), must[RatchetTree](t)(hub.RatchetTree()), nil, nil); err == nil {
		t.Error("external joiner that does not support the extension")
	}
	with := newTestClient(t, r, "with")
	with.Capabilities.Extensions = append(with.Capabilities.Extensions, unknown)
	must[*CommitBundle](t)(add(with))
}

func TestLesson13LeafSurvivesPath(t *testing.T) {
	r := newRandom(13)
	cfg := Config{Application: testApp{}, Rand: r}
	c := newTestClient(t, r, "one")
	c.Capabilities.Extensions = append(c.Capabilities.Extensions, 0xABCD)
	c.LeafExtensions = Extensions{{0xABCD, []byte("leaf data")}}
	g := must[*Group](t)(NewGroup(cfg, c, []byte("g"), nil))
	// after a restart the client says nothing of its leaf
	bare := &Client{SignatureKey: c.SignatureKey}
	g = must[*Group](t)(RestoreGroup(cfg, bare, must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())))
	must[*CommitBundle](t)(g.Commit(CommitOptions{}))
	if err := g.MergePending(); err != nil {
		t.Fatal(err)
	}
	leaf := g.Members()[0].Leaf
	if data, _ := leaf.Extensions.Get(0xABCD); string(data) != "leaf data" || !leaf.Capabilities.supportsExtension(0xABCD) ||
		!leaf.Credential.Equal(c.Credential) {
		t.Errorf("leaf after the path: %+v", leaf)
	}
	// and on purpose it changes
	bare.Credential, bare.Capabilities = c.Credential, c.Capabilities
	bare.LeafExtensions = Extensions{{0xABCD, []byte("new")}}
	must[*CommitBundle](t)(g.Commit(CommitOptions{RenewLeaf: true}))
	if err := g.MergePending(); err != nil {
		t.Fatal(err)
	}
	if data, _ := g.Members()[0].Leaf.Extensions.Get(0xABCD); string(data) != "new" {
		t.Errorf("leaf extension is %q", data)
	}
}

func TestLesson14GroupInfoHasItsOwnExtensionsOnly(t *testing.T) {
	w, _ := outsideWorld(t, 14)
	_, key := w.keyPackage("d")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
	gs := must[*groupSecrets](t)(b.Welcome.openSecrets(key))
	inside := must[*GroupInfo](t)(b.Welcome.openGroupInfo(suite1, gs.joinerSecret, suite1.zero()))
	for _, gi := range []*GroupInfo{b.GroupInfo, inside, must[*GroupInfo](t)(w.members["a"].GroupInfo())} {
		if types := gi.Extensions.types(); !slices.Equal(types, []ExtensionType{ExtensionExternalPub}) {
			t.Errorf("extensions of the group info: %v", types)
		}
	}
}

func TestLesson15ConflictingProposalsDoNotWedge(t *testing.T) {
	w, key := outsideWorld(t, 15)
	victim := w.members["c"].OwnLeaf()
	for _, from := range []string{"a", "b"} {
		w.tell(from, must[*Message](t)(w.members[from].Propose(RemoveProposal(victim), nil)))
	}
	w.tell("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, RemoveProposal(victim), nil)))
	w.tell("c", must[*Message](t)(w.members["c"].ProposeUpdate(nil)))
	w.tell("b", must[*Message](t)(w.members["b"].Propose(AppDataUpdateProposal(1, []byte("no")), nil)))
	w.tell("b", must[*Message](t)(w.members["b"].Propose(AppDataUpdateProposal(1, []byte("yes")), nil)))
	w.tell("b", must[*Message](t)(w.members["b"].Propose(RemoveProposal(w.members["a"].OwnLeaf()), nil)))
	w.say("a", "can still talk")
	b := w.commit("a", CommitOptions{Proposals: []Proposal{RemoveProposal(victim)}})
	// dropped: two of the pending Removes and ours, the Update, the invalid component, the Remove of the committer
	if len(b.Dropped) != 6 {
		t.Errorf("%d proposals dropped", len(b.Dropped))
	}
	if len(w.hub.Members()) != 3 {
		t.Errorf("%d members", len(w.hub.Members()))
	}
	if data, _ := w.hub.AppData().Get(1); string(data) != "yes" {
		t.Errorf("component is %q", data)
	}
	// all by themselves: a list of nothing but what must be dropped
	w.tell("b", must[*Message](t)(w.members["b"].Propose(RemoveProposal(w.members["a"].OwnLeaf()), nil)))
	w.commit("a", CommitOptions{})
}

func TestLesson16LateMessages(t *testing.T) {
	w := newWorld(t, 16, nil)
	w.add("m0", "a", "b", "c")
	var late []*Message
	for i := range 6 {
		late = append(late, wire(t, must[*Message](t)(w.members["c"].Encrypt(nil, fmt.Append(nil, "late ", i)))))
		if i < 5 {
			w.add("m0", fmt.Sprint("n", i))
		}
	}
	w.commit("m0", CommitOptions{Proposals: []Proposal{RemoveProposal(w.members["c"].OwnLeaf())}})
	w.members["a"] = saveRestore(t, w.cfg, w.members["a"])
	for _, name := range []string{"a", "b"} {
		for i, m := range late {
			r, err := w.members[name].Process(m)
			if i == 0 {
				if err != ErrPastEpoch {
					t.Errorf("six epochs ago: %v", err)
				}
				continue
			}
			if err != nil || string(r.Application) != fmt.Sprint("late ", i) || string(r.Credential.Identity) != "c" {
				t.Errorf("late message %d: %v", i, err)
			}
		}
	}
	if _, err := w.members["n4"].Process(late[4]); err != ErrPastEpoch {
		t.Errorf("message from before the join: %v", err)
	}
}

func TestLesson17ParentHashOverBlankParent(t *testing.T) {
	w := newWorld(t, 17, nil)
	w.add("m0", "a", "b", "c")
	w.commit("m0", CommitOptions{Proposals: []Proposal{RemoveProposal(1)}})
	if w.hub.state.tree.parentAt(1) != nil {
		t.Fatal("the direct parent of leaf 0 is not blank")
	}
	m := w.forge("m0", CommitOptions{}, func(c *Commit) {
		c.Path.LeafNode.ParentHash = flip(c.Path.LeafNode.ParentHash)
		if err := c.Path.LeafNode.sign(w.members["m0"].client.SignatureKey, []byte("group"), 0); err != nil {
			t.Fatal(err)
		}
	})
	w.refused("m0", m, "parent hash")
	// in a tree that a joiner gets
	good := w.hub.state.tree
	rules := must[*groupRules](t)(newGroupRules(&Config{}, suite1, []byte("group"), nil))
	if err := good.validate(rules, &Config{Application: testApp{}}); err != nil {
		t.Fatal(err)
	}
	for x := range nodeIndex(len(good.slots)) {
		bad := good.clone()
		switch n := good.slots[x]; {
		case n.parent != nil:
			p := *n.parent
			p.EncryptionKey = must[*HPKEPrivateKey](t)(suite1.generateKeyPair(w.r)).Public()
			bad.setParent(x, &p)
		case n.leaf != nil && n.leaf.Source == LeafNodeSourceCommit:
			l := *n.leaf
			l.ParentHash = flip(l.ParentHash)
			bad.setLeaf(x.leaf(), &l)
		default:
			continue
		}
		if err := bad.verifyParentHashes(); err == nil {
			t.Errorf("node %d changed", x)
		}
	}
	// a parent that nobody's path made
	bad := good.clone()
	bad.setParent(1, &parentNode{EncryptionKey: must[*HPKEPrivateKey](t)(suite1.generateKeyPair(w.r)).Public()})
	if err := bad.verifyParentHashes(); err == nil {
		t.Error("a parent out of nowhere")
	}
}

func TestLesson19CredentialsAreValidatedEverywhere(t *testing.T) {
	w, _ := outsideWorld(t, 19)
	const reason = "unknown credential"
	mallory := w.client("mallory")
	key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, mallory, Lifetime{0, 1 << 40}, nil))
	// on the sender's side
	a := w.members["a"]
	if _, err := a.Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}); err == nil {
		t.Error("Add committed")
	}
	if _, err := a.Propose(AddProposal(key.KeyPackage), nil); err == nil {
		t.Error("Add proposed")
	}
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	if _, _, err := JoinExternal(w.cfg, mallory, w.hub.GroupInfo(), tree, nil, nil); err == nil {
		t.Error("joined by external commit")
	}
	// on the receivers' side: Add by value, Add by a new member's proposal, path, external commit, external senders
	w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
		c.Proposals = []ProposalOrRef{value(AddProposal(key.KeyPackage))}
	}), reason)
	w.refused("", must[*Message](t)(ProposeJoin(w.hub.Context(), mallory.SignatureKey, key.KeyPackage, nil)), reason)
	rename := func(l *LeafNode, identity string, k *SignatureKey, i LeafIndex) {
		l.Credential = BasicCredential([]byte(identity))
		if err := l.sign(k, []byte("group"), i); err != nil {
			t.Fatal(err)
		}
	}
	w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
		rename(&c.Path.LeafNode, "mallory", a.client.SignatureKey, a.leaf)
	}), reason)
	w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
		rename(&c.Path.LeafNode, "somebody else", a.client.SignatureKey, a.leaf)
	}), "another identity")
	update := must[*Message](t)(a.ProposeUpdate(nil))
	a.ForgetProposal(a.PendingProposals()[0].Ref)
	leaf := *update.Public.content.proposal.Update
	rename(&leaf, "somebody else", a.client.SignatureKey, a.leaf)
	c := a.content(ContentTypeProposal, nil)
	c.proposal = &Proposal{Type: ProposalUpdate, Update: &leaf}
	f := w.hub.state.framing
	ac := must[*authenticatedContent](t)(f.signContent(a.client.SignatureKey, WireFormatPublicMessage, c))
	p := must[*PublicMessage](t)(f.protectPublic(w.membership(), ac))
	w.refused("a", &Message{WireFormat: WireFormatPublicMessage, Public: p}, "another identity")
	senders := must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{a.client.SignatureKey.Public(), BasicCredential([]byte("mallory"))}}))
	w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
		c.Proposals = []ProposalOrRef{value(GroupContextExtensionsProposal(Extensions{{ExtensionExternalSenders, senders}}))}
	}), reason)
	// by somebody who joins, or a hub that begins to follow: a group in which mallory already is
	lax := newWorld(t, 20, nil)
	lax.add("m0", "good")
	state := lax.hub.state
	bad := *state.tree.leaf(1)
	bad.Credential = BasicCredential([]byte("mallory"))
	forged := state.tree.clone()
	bad.Source = LeafNodeSourceUpdate
	if err := bad.sign(lax.members["good"].client.SignatureKey, []byte("group"), 1); err != nil {
		t.Fatal(err)
	}
	forged.setLeaf(1, &bad)
	gi := *lax.hub.GroupInfo()
	gi.GroupContext.TreeHash = must[[]byte](t)(forged.rootHash())
	if err := gi.sign(lax.members["m0"].client.SignatureKey); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPublicGroup(w.cfg, &gi, must[RatchetTree](t)(forged.marshal())); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("hub: %v", err)
	}
	if _, _, err := JoinExternal(w.cfg, w.client("x"), &gi, must[RatchetTree](t)(forged.marshal()), nil, nil); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("external joiner: %v", err)
	}
}

func TestLesson20CommitCanBeLookedAt(t *testing.T) {
	w := newWorld(t, 21, nil)
	w.add("m0", "a", "b")
	w.tell("b", must[*Message](t)(w.members["b"].Propose(AppDataUpdateProposal(4, []byte("by b")), []byte("why"))))
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{
		Proposals: []Proposal{RemoveProposal(w.members["b"].OwnLeaf())}, AAD: []byte("aad"),
	}))
	for _, process := range []func(*Message) (*Received, error){w.hub.Process, w.members["m0"].Process} {
		r := must[*Received](t)(process(wire(t, b.Commit)))
		s := r.Commit
		list := s.Proposals()
		if string(r.AAD) != "aad" || r.Sender.Leaf != 1 || string(r.Credential.Identity) != "a" || len(list) != 2 ||
			list[0].Sender.Leaf != 2 || list[0].Ref == nil || list[1].Ref != nil || list[1].Sender.Leaf != 1 ||
			len(s.Members()) != 2 || s.Removed() || !slices.Equal(s.RemovedLeaves(), []LeafIndex{2}) {
			t.Errorf("staged commit: %+v", s)
		}
		if data, _ := s.AppData().Get(4); string(data) != "by b" {
			t.Errorf("component after the commit: %q", data)
		}
		if s.Context().Epoch != w.hub.Epoch()+1 {
			t.Errorf("epoch %d", s.Context().Epoch)
		}
	}
	r := must[*Received](t)(w.members["b"].Process(wire(t, b.Commit)))
	if !r.Commit.Removed() {
		t.Error("b does not see that it is removed")
	}
	w.check() // nobody has moved
	g := w.members["b"]
	w.deliver("a", b)
	if _, err := g.Encrypt(nil, nil); err != ErrInactive {
		t.Errorf("removed member encrypts: %v", err)
	}
	if _, err := g.Process(b.Commit); err != ErrInactive {
		t.Errorf("removed member processes: %v", err)
	}
	if g = saveRestore(t, w.cfg, g); g.Active() || g.EpochAuthenticator() != nil {
		t.Error("removed member is active after a restart")
	}
	w.check()
}

func TestLesson21ResumptionPSKsAreBounded(t *testing.T) {
	w := newWorld(t, 22, nil)
	w.add("m0", "a")
	for range maxResumption + 5 {
		w.commit("a", CommitOptions{})
	}
	psk := func(epoch uint64) Proposal {
		return PSKProposal(&PreSharedKeyID{
			Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("group"), Epoch: epoch, Nonce: append(make([]byte, 31), byte(w.r.IntN(256))),
		})
	}
	now := w.hub.Epoch()
	w.commit("a", CommitOptions{Proposals: []Proposal{psk(now), psk(now - maxResumption)}})
	w.members["a"] = saveRestore(t, w.cfg, w.members["a"])
	now = w.hub.Epoch()
	if n := len(w.members["a"].resumption); n != maxResumption {
		t.Errorf("%d resumption PSKs are kept", n)
	}
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{psk(now - maxResumption - 1)}}); err == nil {
		t.Error("PSK of an epoch long ago")
	}
	w.commit("m0", CommitOptions{Proposals: []Proposal{psk(now - 3)}})
}

func TestLesson22InlineUpdateIsRefused(t *testing.T) {
	w := newWorld(t, 23, nil)
	w.add("m0", "a", "b")
	update := must[*Message](t)(w.members["b"].ProposeUpdate(nil))
	leaf := update.Public.content.proposal.Update
	m := w.forge("a", CommitOptions{}, func(c *Commit) {
		c.Proposals = []ProposalOrRef{value(Proposal{Type: ProposalUpdate, Update: leaf})}
	})
	w.refused("a", m, "Update of the committer")
	// the same leaf under b's name is an Update of b, and a cannot make it its own
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{{Type: ProposalUpdate, Update: leaf}}}); err == nil {
		t.Error("inline Update committed")
	}
}

func TestLesson24PathSecretMustFitTheTree(t *testing.T) {
	w := newWorld(t, 24, nil)
	w.add("m0", "a", "b")
	c, key := w.keyPackage("d")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{ForcePath: true, Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
	tree := must[RatchetTree](t)(b.Staged.RatchetTree())
	gs := must[*groupSecrets](t)(b.Welcome.openSecrets(key))
	if gs.pathSecret == nil {
		t.Fatal("no path secret")
	}
	gs.pathSecret = flip(gs.pathSecret)
	forged := &Welcome{CipherSuite: suite1.id, EncryptedGroupInfo: b.Welcome.EncryptedGroupInfo}
	if err := forged.addMember(suite1, key.KeyPackage, gs); err != nil {
		t.Fatal(err)
	}
	if _, err := JoinWelcome(w.cfg, c, forged, tree, key); err == nil || !strings.Contains(err.Error(), "path secret") {
		t.Errorf("wrong path secret: %v", err)
	}
	gs.pathSecret = nil
	forged.Secrets = nil
	if err := forged.addMember(suite1, key.KeyPackage, gs); err != nil {
		t.Fatal(err)
	}
	if _, err := JoinWelcome(w.cfg, c, forged, tree, key); err == nil || !strings.Contains(err.Error(), "path secret") {
		t.Errorf("no path secret: %v", err)
	}
	must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, tree, key))
}

func TestLesson26LeafIndicesAreChecked(t *testing.T) {
	w := newWorld(t, 26, nil)
	w.add("m0", "a", "b")
	for _, i := range []LeafIndex{1 << 31, 1<<31 + 1, 4, 1<<32 - 1} {
		if w.hub.state.tree.leaf(i) != nil {
			t.Errorf("leaf %d is there", i)
		}
		w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) { c.Proposals = []ProposalOrRef{value(RemoveProposal(i))} }), "blank")
		m := w.forge("a", CommitOptions{}, func(*Commit) {})
		m.Public.content.sender.Leaf = i
		w.refused("", m, "sender")
		if _, err := w.members["a"].Propose(RemoveProposal(i), nil); err == nil {
			t.Errorf("Remove of leaf %d proposed", i)
		}
	}
}

func TestLesson27ExternalJoinerKeepsItsCapabilities(t *testing.T) {
	required := must[[]byte](t)(marshal(RequiredCapabilities{Proposals: []ProposalType{ProposalSelfRemove}, Extensions: []ExtensionType{ExtensionAppDataDictionary}}))
	w, _ := outsideWorld(t, 27, Extension{ExtensionRequiredCapabilities, required})
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	c := w.client("x")
	c.Capabilities.Extensions = append(c.Capabilities.Extensions, 0xABCD)
	c.LeafExtensions = Extensions{{0xABCD, []byte("mine")}}
	_, b, err := JoinExternal(w.cfg, c, w.hub.GroupInfo(), tree, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := b.Commit.Public.content.commit.Path.LeafNode
	if data, _ := leaf.Extensions.Get(0xABCD); string(data) != "mine" || !slices.Equal(leaf.Capabilities.Extensions, c.Capabilities.Extensions) {
		t.Errorf("leaf of the joiner: %+v", leaf)
	}
	c.Capabilities.Proposals = nil
	if _, _, err := JoinExternal(w.cfg, c, w.hub.GroupInfo(), tree, nil, nil); err == nil || !strings.Contains(err.Error(), "required") {
		t.Errorf("joiner without required capabilities: %v", err)
	}
}

// countingHash counts how often a hash is begun.
func countingHash(n *int) func() hash.Hash {
	return func() hash.Hash { *n++; return sha256.New() }
}

func TestLesson28HashesAlongChangedPathsOnly(t *testing.T) {
	var n int
	s := *suite1
	s.newHash = countingHash(&n)
	tree := newRatchetTree(&s, &LeafNode{Source: LeafNodeSourceUpdate})
	for range 1023 {
		must[LeafIndex](t)(tree.addLeaf(&LeafNode{Source: LeafNodeSourceUpdate}))
	}
	must[[]byte](t)(tree.rootHash())
	if n != 2047 {
		t.Errorf("%d hashes for a new tree", n)
	}
	for _, change := range []func(*ratchetTree){
		func(c *ratchetTree) { c.updateLeaf(77, &LeafNode{Source: LeafNodeSourceUpdate}) },
		func(c *ratchetTree) { c.removeLeaf(500) },
		func(c *ratchetTree) { must[[]byte](t)(c.mergeKeys(3, make([]HPKEPublicKey, 10))) },
	} {
		n = 0
		c := tree.clone()
		change(c)
		must[[]byte](t)(c.rootHash())
		// a path of 11 nodes, and the 10 parent hashes of an UpdatePath
		if n > 22 {
			t.Errorf("%d hashes for one change", n)
		}
		n = 0
		must[[]byte](t)(tree.rootHash())
		if n != 0 {
			t.Errorf("%d hashes in the tree that did not change", n)
		}
	}
}

func TestLesson29WelcomeIsLinearInJoiners(t *testing.T) {
	w := newWorld(t, 29, nil)
	welcome := func(n int) []byte {
		var o CommitOptions
		for i := range n {
			_, key := w.keyPackage(fmt.Sprint("j", n, "-", i))
			o.Proposals = append(o.Proposals, AddProposal(key.KeyPackage))
		}
		b := must[*CommitBundle](t)(w.members["m0"].Commit(o))
		w.members["m0"].DiscardPending()
		if len(b.Welcome.Secrets) != n {
			t.Fatalf("%d entries for %d joiners", len(b.Welcome.Secrets), n)
		}
		return must[[]byte](t)(b.Welcome.Bytes())
	}
	small, large := welcome(10), welcome(100)
	if per := (len(large) - len(small)) / 90; per > 250 {
		t.Errorf("%d octets per joiner", per)
	}
}
