package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tree by hand: from application_export_secret down the bits of the component.
func TestSafeExporterTree(t *testing.T) {
	root := bytes.Repeat([]byte{7}, suite1.hashSize)
	for _, id := range []ComponentID{0, 1, 5, 0x8000, 0xffff} {
		want := root
		for bit := 15; bit >= 0; bit-- {
			side := "left"
			if id>>bit&1 == 1 {
				side = "right"
			}
			want = suite1.expandWithLabel(want, "tree", []byte(side), suite1.hashSize)
		}
		tree := newExporterTree(suite1, bytes.Clone(root))
		equal(t, "secret", must[[]byte](t)(tree.exportSecret(id)), want)
	}
}

// Each component has its secret once, all members have the same, and what was used is nowhere any more.
func TestSafeExportSecretOnce(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.add("m0", "a", "b")
	ids := []ComponentID{5, 4, 0xffff, 0, 0x8001}
	first := map[ComponentID][]byte{}
	var used [][]byte
	for _, id := range ids {
		first[id] = must[[]byte](t)(w.members["m0"].SafeExportSecret(id))
		used = append(used, first[id])
	}
	slices.Reverse(ids)
	for _, id := range ids {
		a := w.members["a"]
		root := a.secrets.exports.nodes[exporterLeaves-1]
		if root != nil {
			used = append(used, bytes.Clone(root))
		}
		equal(t, "exported secret", must[[]byte](t)(a.SafeExportSecret(id)), first[id])
		w.members["a"] = saveRestore(t, w.cfg, a)
		for _, g := range []*Group{a, w.members["a"]} {
			if _, err := g.SafeExportSecret(id); err != ErrExported {
				t.Errorf("component %d again: %v", id, err)
			}
		}
	}
	if len(used) != 6 {
		t.Errorf("%d secrets to look for", len(used))
	}
	state := must[[]byte](t)(w.members["a"].State())
	for _, secret := range used {
		if bytes.Contains(state, secret) {
			t.Error("a consumed secret is stored")
		}
	}
	// the next epoch has others, and those of this one are gone even if they were not used
	before := must[[]byte](t)(w.members["b"].SafeExportSecret(77))
	left := copies(w.members["a"].secrets.exports.nodes)
	w.commit("b", CommitOptions{})
	state = must[[]byte](t)(w.members["a"].State())
	for _, secret := range left {
		if bytes.Contains(state, secret) {
			t.Error("the exporter tree of a past epoch is stored")
		}
	}
	if bytes.Equal(before, must[[]byte](t)(w.members["a"].SafeExportSecret(77))) {
		t.Error("two epochs have the same secret")
	}
}

func copies(m map[uint32][]byte) [][]byte {
	var out [][]byte
	for _, v := range m {
		out = append(out, bytes.Clone(v))
	}
	return out
}

// A commit that is not merged yet gives its epoch's secrets, which count: after the merge they are gone.
func TestSafeExportSecretOfStagedCommits(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.add("m0", "a", "b")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{}))
	own := must[[]byte](t)(b.Staged.SafeExportSecret(9))
	w.members["a"] = saveRestore(t, w.cfg, w.members["a"])
	if _, err := w.members["a"].PendingCommit().SafeExportSecret(9); err != ErrExported {
		t.Errorf("of the pending commit again: %v", err)
	}
	r := must[*Received](t)(w.members["b"].Process(wire(t, b.Commit)))
	equal(t, "secret of the staged commit", must[[]byte](t)(r.Commit.SafeExportSecret(9)), own)
	if err := w.members["b"].Merge(r.Commit); err != nil {
		t.Fatal(err)
	}
	if err := w.members["a"].MergePending(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := w.members[name].SafeExportSecret(9); err != ErrExported {
			t.Errorf("%s: %v", name, err)
		}
	}
	equal(t, "other component", must[[]byte](t)(w.members["a"].SafeExportSecret(10)), must[[]byte](t)(w.members["b"].SafeExportSecret(10)))
	// a verifier has none
	hub := must[*Received](t)(w.hub.Process(wire(t, b.Commit)))
	if _, err := hub.Commit.SafeExportSecret(9); err == nil {
		t.Error("a hub exports secrets")
	}
}

func TestSafeSignAndEncrypt(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.add("m0", "a")
	a, m0 := w.members["a"], w.members["m0"]
	// ComponentOperationLabel by hand
	equal(t, "label", []byte(componentLabel(0x0102, "op")), slices.Concat([]byte{13}, []byte("MLS Component"), []byte{1, 2, 2}, []byte("op")))
	key := a.client.SignatureKey
	signature := must[[]byte](t)(key.SafeSignWithLabel(1, "op", []byte("content")))
	if err := SafeVerifyWithLabel(1, key.Public(), 1, "op", []byte("content"), signature); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"component": SafeVerifyWithLabel(1, key.Public(), 2, "op", []byte("content"), signature),
		"label":     SafeVerifyWithLabel(1, key.Public(), 1, "po", []byte("content"), signature),
		"content":   SafeVerifyWithLabel(1, key.Public(), 1, "op", []byte("other"), signature),
		"MLS":       VerifyWithLabel(1, key.Public(), "op", []byte("content"), signature),
	} {
		if err == nil {
			t.Errorf("verified with another %s", name)
		}
	}
	leaf, _ := m0.Leaf(a.OwnLeaf())
	for _, external := range []bool{false, true} {
		pub := leaf.EncryptionKey
		if external {
			pub = must[HPKEPublicKey](t)(m0.ExternalPub())
		}
		ct := must[HPKECiphertext](t)(SafeEncryptWithLabel(1, nil, pub, 1, "op", []byte("context"), []byte("secret")))
		equal(t, "plaintext", must[[]byte](t)(a.SafeDecryptWithLabel(external, 1, "op", []byte("context"), ct)), []byte("secret"))
		for name, err := range map[string]error{
			"component": second(a.SafeDecryptWithLabel(external, 2, "op", []byte("context"), ct)),
			"label":     second(a.SafeDecryptWithLabel(external, 1, "", []byte("context"), ct)),
			"context":   second(a.SafeDecryptWithLabel(external, 1, "op", nil, ct)),
			"key":       second(a.SafeDecryptWithLabel(!external, 1, "op", []byte("context"), ct)),
		} {
			if err == nil {
				t.Errorf("decrypted with another %s", name)
			}
		}
	}
	_, kp := w.keyPackage("k")
	ct := must[HPKECiphertext](t)(SafeEncryptWithLabel(1, nil, kp.KeyPackage.InitKey, 1, "op", nil, []byte("secret")))
	equal(t, "by init key", must[[]byte](t)(kp.SafeDecryptWithLabel(1, "op", nil, ct)), []byte("secret"))
}

func second[T any](_ T, err error) error { return err }

func TestRequiredWireFormats(t *testing.T) {
	formats := must[[]byte](t)(WireFormats{0xF001, WireFormatWelcome}.Bytes())
	ext := Extensions{{ExtensionRequiredWireFormats, formats}}
	r := newRandom(4)
	cfg := Config{Application: testApp{}, Rand: r}
	client := func(name string, supported ...WireFormat) *Client {
		c := newTestClient(t, r, name)
		c.Capabilities.Extensions = append(c.Capabilities.Extensions, ExtensionSupportedWireFormats, ExtensionRequiredWireFormats)
		if supported != nil {
			c.LeafExtensions = Extensions{{ExtensionSupportedWireFormats, must[[]byte](t)(WireFormats(supported).Bytes())}}
		}
		return c
	}
	if _, err := NewGroup(cfg, client("a"), []byte("g"), ext); err == nil || !strings.Contains(err.Error(), "wire format") {
		t.Errorf("group of a creator without the format: %v", err)
	}
	g := must[*Group](t)(NewGroup(cfg, client("a", 0x0A0A, 0xF001), []byte("g"), ext))
	for _, test := range []struct {
		supported []WireFormat
		ok        bool
	}{{nil, false}, {[]WireFormat{}, false}, {[]WireFormat{0xF002}, false}, {[]WireFormat{0xF002, 0xF001}, true}} {
		kp := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, client("b", test.supported...), Lifetime{0, 1 << 40}, nil))
		if _, err := g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(kp.KeyPackage)}}); (err == nil) != test.ok {
			t.Errorf("added with %v: %v", test.supported, err)
		}
		g.DiscardPending()
	}
	// by a change of the extensions, too
	w := newWorld(t, 5, nil)
	demand := GroupContextExtensionsProposal(ext)
	if _, err := w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{demand}}); err == nil {
		t.Error("demanded what a member lacks")
	}
	demand = GroupContextExtensionsProposal(Extensions{{ExtensionRequiredWireFormats, []byte{9}}})
	if _, err := w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{demand}}); err == nil || !strings.Contains(err.Error(), "malformed list of wire formats") {
		t.Errorf("malformed extension: %v", err)
	}
}

func TestML12LastResort(t *testing.T) {
	w := newWorld(t, 6, nil)
	c := w.client("a")
	k := must[*KeyPackageSecrets](t)(NewLastResortKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
	k = must[*KeyPackageSecrets](t)(UnmarshalKeyPackageSecrets(must[[]byte](t)(k.Bytes())))
	if !k.KeyPackage.LastResort() || k.KeyPackage.Verify(time.Time{}) != nil {
		t.Error("not a valid KeyPackage of last resort")
	}
	dict := must[AppDataDictionary](t)(k.KeyPackage.Extensions.AppData())
	if data, ok := dict.Get(ComponentLastResortKeyPackage); !ok || len(data) != 0 {
		t.Errorf("component %x, %t", data, ok)
	}
	// the same private part joins more than one group
	for seed := range uint64(2) {
		w := newWorld(t, 7+seed, nil)
		b := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(k.KeyPackage)}}))
		w.deliver("m0", b)
		w.members["a"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, must[RatchetTree](t)(w.hub.RatchetTree()), k))
		w.commit("a", CommitOptions{})
		w.say("a", "hello")
	}
	set := func(d AppDataDictionary) Extensions { return must[Extensions](t)(Extensions{}.SetAppData(d)) }
	for name, test := range map[string]struct {
		ext  Extensions
		want bool
	}{
		"none":                {nil, false},
		"legacy":              {Extensions{{ExtensionLastResort, nil}}, true},
		"legacy with data":    {Extensions{{ExtensionLastResort, []byte{1}}}, false},
		"component":           {set(AppDataDictionary{{ID: 4}}), true},
		"component with data": {set(AppDataDictionary{{ID: 4, Data: []byte{0}}}), false},
		"other component":     {set(AppDataDictionary{{ID: 5}}), false},
		"malformed":           {Extensions{{ExtensionAppDataDictionary, []byte{9}}}, false},
	} {
		if got := (&KeyPackage{Extensions: test.ext}).LastResort(); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	c.Capabilities.Extensions = nil
	if _, err := NewLastResortKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil); err == nil {
		t.Error("made for a client that does not support the extension")
	}
}

func TestFraming(t *testing.T) {
	types := must[[]byte](t)(MediaTypeList{{Type: "text/plain", Parameters: []MediaTypeParameter{{"charset", "UTF-8"}}}, {Type: "image/png"}}.Bytes())
	framed := &GroupContext{Extensions: must[Extensions](t)(Extensions{}.SetAppData(AppDataDictionary{{ID: ComponentContentMediaTypes, Data: types}}))}
	for _, test := range []struct{ send, want MediaType }{
		{MediaType{}, MediaType{Type: "text/plain", Parameters: []MediaTypeParameter{{"charset", "UTF-8"}}}},
		{MediaType{Type: "image/png"}, MediaType{Type: "image/png"}},
	} {
		data := must[[]byte](t)(framed.Frame(test.send, []byte("content")))
		got, content, err := framed.Unframe(data)
		if err != nil || !got.Equal(test.want) || string(content) != "content" {
			t.Errorf("%+v: %+v, %q, %v", test.send, got, content, err)
		}
	}
	if _, _, err := framed.Unframe([]byte("no frame")); err == nil {
		t.Error("unframed garbage")
	}
	plain := &GroupContext{}
	// nothing is taken for unframed because the list cannot be read
	broken := GroupContext{Extensions: must[Extensions](t)(Extensions(nil).SetAppData(AppDataDictionary{{ID: ComponentContentMediaTypes}}))}
	if data, err := broken.Frame(MediaType{}, []byte("x")); err == nil || data != nil {
		t.Errorf("framed by a malformed list: %x, %v", data, err)
	}
	if _, data, err := broken.Unframe([]byte("x")); err == nil || data != nil {
		t.Errorf("unframed by a malformed list: %x, %v", data, err)
	}
	if data := must[[]byte](t)(plain.Frame(MediaType{}, []byte("x"))); string(data) != "x" {
		t.Errorf("framed where there is no component: %x", data)
	}
	if m, data, err := plain.Unframe([]byte("x")); err != nil || m.Type != "" || string(data) != "x" {
		t.Errorf("%v, %q, %v", m, data, err)
	}
}

func TestComponentsAreNegotiated(t *testing.T) {
	list := func(ids ...ComponentID) []byte { return must[[]byte](t)(ComponentsList(ids).Bytes()) }
	types := func(names ...string) []byte {
		var l MediaTypeList
		for _, n := range names {
			l = append(l, MediaType{Type: n})
		}
		return must[[]byte](t)(l.Bytes())
	}
	full := AppDataDictionary{{ID: 1, Data: list(1, 2, 3, 0x0A0A)}, {ID: 2, Data: list(0x20)}, {ID: 3, Data: types("text/plain", "image/png")}}
	required := AppDataDictionary{{ID: 1, Data: list(1, 3)}, {ID: 2, Data: list(0x20)}, {ID: 3, Data: types("image/png")}}
	empty := must[[]byte](t)(SafeAAD{}.Bytes())
	r := newRandom(10)
	cfg := Config{Application: testApp{}, Rand: r}
	client := func(name string, d AppDataDictionary) *Client {
		c := newTestClient(t, r, name)
		c.LeafExtensions = must[Extensions](t)(Extensions{}.SetAppData(d))
		return c
	}
	g := must[*Group](t)(NewGroup(cfg, client("a", full), []byte("g"), must[Extensions](t)(Extensions{}.SetAppData(required))))
	if got := must[ComponentsList](t)(g.Context().RequiredComponents()); !slices.Equal(got, ComponentsList{1, 3}) {
		t.Errorf("required %v", got)
	}
	leaf, _ := g.Leaf(0)
	if got := must[ComponentsList](t)(leaf.Components()); !slices.Equal(got, ComponentsList{1, 2, 3, 0x0A0A}) {
		t.Errorf("supported %v", got)
	}
	for name, test := range map[string]struct {
		dict   AppDataDictionary
		reason string
	}{
		"all":           {full, ""},
		"component":     {full.Set(1, list(1, 2)), "required component"},
		"AAD component": {full.Set(2, list()), "required component"},
		"media type":    {full.Set(3, types("text/plain")), "media type"},
		"malformed":     {full.Set(1, []byte{9}), "malformed"},
		"nothing":       {nil, "required component"},
	} {
		kp := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, client("b", test.dict), Lifetime{0, 1 << 40}, nil))
		b := must[*CommitBundle](t)(g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(kp.KeyPackage)}, AAD: empty}))
		g.DiscardPending()
		if err := b.Staged.CheckComponents(); test.reason == "" && err != nil || test.reason != "" && (err == nil || !strings.Contains(err.Error(), test.reason)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SM-6: what waits is committed before anything is said.
func TestSM6PendingProposalsGoFirst(t *testing.T) {
	w := newWorld(t, 11, nil)
	w.cfg.CommitFirst = true
	w.members["m0"].cfg = w.cfg
	w.add("m0", "a", "b")
	w.say("a", "nothing pending")
	if l := w.members["a"].ProposalsToCommit(); len(l) != 0 {
		t.Errorf("%d proposals", len(l))
	}
	w.tell("b", must[*Message](t)(w.members["b"].SelfRemove(nil)))
	for name, want := range map[string]int{"m0": 1, "a": 1, "b": 0} {
		if n := len(w.members[name].ProposalsToCommit()); n != want {
			t.Errorf("%s: %d proposals to commit, want %d", name, n, want)
		}
	}
	if _, err := w.members["a"].Encrypt(nil, []byte("too early")); !errors.Is(err, ErrPendingProposals) {
		t.Errorf("message before the commit: %v", err)
	}
	// who leaves cannot commit that, and may still speak
	must[*Message](t)(w.members["b"].Encrypt(nil, []byte("farewell")))
	w.commit("a", CommitOptions{})
	w.say("a", "now")
	// a proposal that no commit can contain does not block
	again := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, w.members["a"].client, Lifetime{0, 1 << 40}, nil))
	w.tell("m0", must[*Message](t)(w.members["m0"].Propose(AddProposal(again.KeyPackage), nil)))
	if n := len(w.members["a"].ProposalsToCommit()); n != 0 {
		t.Errorf("%d proposals to commit: a client that is a member already", n)
	}
	w.say("a", "still")
	w.cfg.CommitFirst = false
}

// ackApp takes AppAck in AppEphemeral proposals.
type ackApp struct{ testApp }

func (ackApp) CheckEphemeral(id ComponentID, data []byte) error {
	if id != ComponentAppAck {
		return errors.New("test: unknown component")
	}
	_, err := UnmarshalAppAck(data)
	return err
}

// What was received, as generations, travels in a commit; what was not received is not in it.
func TestAppAck(t *testing.T) {
	w := newWorld(t, 12, nil)
	w.cfg.Application = ackApp{}
	w.members["m0"].cfg, w.hub.cfg = w.cfg, w.cfg
	w.add("m0", "a", "b")
	var ack AppAck
	for i := range 6 {
		m := wire(t, must[*Message](t)(w.members["m0"].Encrypt(nil, []byte("x"))))
		if i == 3 {
			continue // dropped on the way
		}
		r := must[*Received](t)(w.members["a"].Process(m))
		if r.Generation != uint32(i) {
			t.Errorf("generation %d of message %d", r.Generation, i)
		}
		ack = ack.Add(r.Sender.Leaf, r.Generation)
	}
	ack = ack.Add(2, 7).Add(1, 0xffffffff).Add(1, 0xfffffffe).Add(0, 4)
	want := AppAck{{0, 0, 2}, {0, 4, 5}, {1, 0xfffffffe, 0xffffffff}, {2, 7, 7}}
	if !slices.Equal(ack, want) || ack.Has(0, 3) || !ack.Has(0, 4) || ack.Has(3, 4) {
		t.Errorf("%v", ack)
	}
	p := Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: ComponentAppAck, Data: must[[]byte](t)(ack.Bytes())}}
	b := w.commit("a", CommitOptions{Proposals: []Proposal{p}})
	got := must[AppAck](t)(UnmarshalAppAck(b.Staged.Proposals()[0].Proposal.AppEphemeral.Data))
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	bad := must[[]byte](t)(AppAck{{0, 5, 4}}.Bytes())
	p.AppEphemeral = &AppEphemeral{Component: ComponentAppAck, Data: bad}
	if _, err := w.members["a"].Commit(CommitOptions{Proposals: []Proposal{p}}); err == nil {
		t.Error("a range that ends before it begins")
	}
}

// orderApp notes in which order it is shown AppEphemeral proposals and updates.
type orderApp struct {
	testApp
	seen *[]string
}

func (a orderApp) CheckEphemeral(id ComponentID, data []byte) error {
	*a.seen = append(*a.seen, fmt.Sprintf("ephemeral %d %s", id, data))
	return nil
}

func (a orderApp) UpdateComponent(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	*a.seen = append(*a.seen, fmt.Sprintf("update %d %s", id, bytes.Join(updates, []byte(","))))
	return a.testApp.UpdateComponent(id, old, updates)
}

// draft-ietf-mls-extensions, Section 4.8: AppEphemeral in the order of the commit, all of them before AppDataUpdate.
func TestAppEphemeralOrder(t *testing.T) {
	w := newWorld(t, 13, nil)
	var seen []string
	w.cfg.Application = orderApp{seen: &seen}
	w.members["m0"].cfg = w.cfg
	w.add("m0", "a")
	ephemeral := func(id ComponentID, data string) Proposal {
		return Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: id, Data: []byte(data)}}
	}
	b := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{
		AppDataUpdateProposal(7, []byte("x")), ephemeral(9, "first"), AppDataUpdateProposal(7, []byte("y")), ephemeral(8, "other"), ephemeral(9, "second"),
	}}))
	w.hub.cfg = w.cfg
	for name, process := range map[string]func(*Message) (*Received, error){"hub": w.hub.Process, "member": w.members["a"].Process} {
		seen = nil
		must[*Received](t)(process(wire(t, b.Commit)))
		if want := []string{"ephemeral 9 first", "ephemeral 8 other", "ephemeral 9 second", "update 7 x,y"}; !slices.Equal(seen, want) {
			t.Errorf("%s: %q", name, seen)
		}
	}
}
