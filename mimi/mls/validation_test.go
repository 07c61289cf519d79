package mls

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// asked is an Application that notes about whom it is asked: "new" or "old>new".
type asked struct {
	testApp
	list *[]string
}

func (a asked) ValidateCredential(c Credential, _ SignaturePublicKey, old *Credential) error {
	s := string(c.Identity)
	if old != nil {
		s = string(old.Identity) + ">" + s
	}
	*a.list = append(*a.list, s)
	return nil
}

// RFC 9420, Section 5.3.1, event by event: who must be asked about whom, at a member and at a hub.
func TestCredentialEvents(t *testing.T) {
	var list []string
	app := asked{list: &list}
	w, key := outsideWorld(t, 1)
	w.cfg.Application = app
	watch := func() {
		w.hub.cfg.Application = app
		for _, g := range w.members {
			g.cfg.Application = app
		}
	}
	watch()
	// expect runs one step and compares what the application was asked
	expect := func(event string, want []string, step func()) {
		t.Helper()
		list = nil
		step()
		if !slices.Equal(list, want) {
			t.Errorf("%s: asked about %q, want %q", event, list, want)
		}
	}
	m0, a := w.members["m0"], w.members["a"]
	both := func(event string, m *Message, want ...string) {
		t.Helper()
		for name, process := range map[string]func(*Message) (*Received, error){"hub": w.hub.Process, "member": m0.Process} {
			expect(event+", "+name, want, func() { must[*Received](t)(process(wire(t, m))) })
		}
	}
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	everybody := []string{"hub", "m0", "a", "b", "c"}
	expect("a hub that begins to follow", everybody, func() { must[*PublicGroup](t)(NewPublicGroup(w.cfg, w.hub.GroupInfo(), tree)) })
	_, d := w.keyPackage("d")
	var b *CommitBundle
	expect("KeyPackage used in an Add", []string{"d"}, func() {
		b = must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{AddProposal(d.KeyPackage)}}))
	})
	a.DiscardPending()
	both("Add by value", b.Commit, "d")
	expect("KeyPackage used in a proposal", []string{"d"}, func() { must[*Message](t)(a.Propose(AddProposal(d.KeyPackage), nil)) })
	both("Add by an external sender", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, AddProposal(d.KeyPackage), nil)), "d")
	e, k := w.keyPackage("e")
	both("Add by a new member", must[*Message](t)(ProposeJoin(w.hub.Context(), e.SignatureKey, k.KeyPackage, nil)), "e")

	w, key = outsideWorld(t, 2)
	w.cfg.Application = app
	watch()
	m0, a = w.members["m0"], w.members["a"]
	update := must[*Message](t)(a.ProposeUpdate(nil))
	a.pending = nil
	both("Update with the same credential", update)
	w, _ = outsideWorld(t, 3)
	w.cfg.Application = app
	watch()
	m0, a = w.members["m0"], w.members["a"]
	a.client.Credential = BasicCredential([]byte("a2"))
	both("Update with a new credential", must[*Message](t)(a.ProposeUpdate(nil)), "a>a2")
	b = must[*CommitBundle](t)(a.Commit(CommitOptions{RenewLeaf: true}))
	both("path with a new credential", b.Commit, "a>a2")
	a.DiscardPending()
	both("path with the same credential", must[*CommitBundle](t)(a.Commit(CommitOptions{ForcePath: true})).Commit)
	a.DiscardPending()

	tree = must[RatchetTree](t)(w.hub.RatchetTree())
	var join *CommitBundle
	expect("GroupInfo for an external commit, and the joiner itself", append(slices.Clone(everybody), "x"), func() {
		var err error
		if _, join, err = JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), tree, nil, nil); err != nil {
			t.Fatal(err)
		}
	})
	both("external commit", join.Commit, "x")

	senders := must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{key.Public(), BasicCredential([]byte("hub2"))}, {key.Public(), BasicCredential([]byte("hub3"))}}))
	change := GroupContextExtensionsProposal(Extensions{{ExtensionExternalSenders, senders}})
	b = must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{change}}))
	a.DiscardPending()
	both("external_senders updated", b.Commit, "hub2", "hub3")
	b = must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{GroupContextExtensionsProposal(w.hub.Context().Extensions)}}))
	a.DiscardPending()
	both("external_senders left as they are", b.Commit)
	expect("external_senders of a new group", []string{"hub2", "hub3", "x"}, func() {
		must[*Group](t)(NewGroup(w.cfg, w.client("x"), []byte("g"), Extensions{{ExtensionExternalSenders, senders}}))
	})
	plain := newWorld(t, 4, nil)
	plain.add("m0", "a")
	w = plain
	w.cfg.Application = app
	watch()
	m0, a = w.members["m0"], w.members["a"]
	b = must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{change}}))
	a.DiscardPending()
	both("external_senders added", b.Commit, "hub2", "hub3")
	c, k := w.keyPackage("c")
	b = must[*CommitBundle](t)(a.Commit(CommitOptions{Proposals: []Proposal{AddProposal(k.KeyPackage)}}))
	tree = must[RatchetTree](t)(b.Staged.RatchetTree())
	expect("GroupInfo of a Welcome", []string{"m0", "a", "c"}, func() { must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, tree, k)) })
}

const day = 24 * 3600

// A lifetime longer than the bound is refused wherever a leaf made for a KeyPackage appears.
func TestML13LifetimeIsBounded(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	at := uint64(now.Unix())
	w := newWorld(t, 5, nil)
	strict := w.cfg
	strict.Now = func() time.Time { return now }
	for _, test := range []struct {
		name string
		life Lifetime
		max  time.Duration
		ok   bool
	}{
		{"ninety days and an hour", Lifetime{at - 3600, at + 90*day}, 0, true},
		{"a second more", Lifetime{at - 3600, at + 90*day + 1}, 0, false},
		{"for ever", Lifetime{0, 1 << 63}, 0, false},
		{"ends before it begins", Lifetime{at + 10, at + 5}, 0, false},
		{"longer, with another bound", Lifetime{at, at + 91*day}, 91 * 24 * time.Hour, true},
		{"shorter, with another bound", Lifetime{at, at + 8*day}, 7 * 24 * time.Hour, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 5, nil)
			w.add("m0", "a")
			cfg := strict
			cfg.MaxLifetime = test.max
			c := w.client("d")
			key := must[*KeyPackageSecrets](t)(NewKeyPackage(w.cfg, c, test.life, nil))
			add := CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}
			// the committer has no clock: it lets everything pass
			b, err := w.members["a"].Commit(add)
			if err != nil {
				t.Fatal(err)
			}
			judge := func(who string, err error) {
				t.Helper()
				if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "lifetime") {
					t.Errorf("%s: %v", who, err)
				}
			}
			// the tree has m0's and a's leaves of unlimited life, which were there before anybody looked
			w.hub.cfg, w.members["m0"].cfg = cfg, cfg
			_, err = w.hub.Process(wire(t, b.Commit))
			judge("hub", err)
			_, err = w.members["m0"].Process(wire(t, b.Commit))
			judge("member", err)
			_, err = w.members["m0"].Commit(add)
			judge("committer", err)
			w.members["m0"].DiscardPending()
			_, err = w.members["m0"].Propose(add.Proposals[0], nil)
			judge("proposer", err)
			// in the tree of a group that one joins or follows
			fresh := must[*Group](t)(NewGroup(w.cfg, w.client("z"), []byte("g"), nil))
			must[*CommitBundle](t)(fresh.Commit(CommitOptions{}))
			if err := fresh.MergePending(); err != nil {
				t.Fatal(err)
			}
			f := must[*CommitBundle](t)(fresh.Commit(add))
			tree := must[RatchetTree](t)(f.Staged.RatchetTree())
			_, err = NewPublicGroup(cfg, f.GroupInfo, tree)
			judge("hub of the tree", err)
			_, err = JoinWelcome(cfg, c, f.Welcome, tree, key)
			judge("joiner", err)
			_, _, err = JoinExternal(cfg, w.client("y"), f.GroupInfo, tree, nil, nil)
			judge("external joiner", err)
		})
	}
	// the leaf of a creator keeps to the bound
	for _, bound := range []time.Duration{0, time.Hour, 1000 * 24 * time.Hour} {
		cfg := strict
		cfg.MaxLifetime = bound
		g, err := NewGroup(cfg, w.client("a"), []byte("g"), nil)
		if err != nil {
			t.Errorf("creator with bound %v: %v", bound, err)
			continue
		}
		if leaf, _ := g.Leaf(0); !leaf.Lifetime.Contains(now) {
			t.Errorf("creator's lifetime %v with bound %v", leaf.Lifetime, bound)
		}
	}
}

// What a client says about itself when it makes a leaf or a KeyPackage.
func TestOwnCapabilitiesAreChecked(t *testing.T) {
	w := newWorld(t, 6, nil)
	for name, change := range map[string]func(*Client){
		"default extension": func(c *Client) { c.Capabilities.Extensions = []ExtensionType{ExtensionExternalPub} },
		"default proposal":  func(c *Client) { c.Capabilities.Proposals = []ProposalType{ProposalAdd} },
	} {
		c := w.client("a")
		change(c)
		if _, err := NewKeyPackage(w.cfg, c, Lifetime{0, 1}, nil); err == nil {
			t.Errorf("key package: %s", name)
		}
		if _, err := NewGroup(w.cfg, c, []byte("g"), nil); err == nil {
			t.Errorf("group: %s", name)
		}
		if _, _, err := JoinExternal(w.cfg, c, w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()), nil, nil); err == nil {
			t.Errorf("external join: %s", name)
		}
	}
	if _, err := NewKeyPackage(w.cfg, w.client("a"), Lifetime{0, 1}, Extensions{{0x7777, nil}}); err == nil {
		t.Error("key package with an extension that its client does not support")
	}
}

// RFC 9420, Section 11: the best suite that all support.
func TestChooseSuite(t *testing.T) {
	client := func(suites ...CipherSuite) Capabilities {
		return Capabilities{Versions: []uint16{VersionMLS10}, CipherSuites: suites}
	}
	for _, test := range []struct {
		clients []Capabilities
		want    CipherSuite
	}{
		{nil, 5},
		{[]Capabilities{client(1, 2, 5), client(5, 1)}, 5},
		{[]Capabilities{client(1, 2, 5), client(1, 0x0A0A)}, 1},
		{[]Capabilities{client(2), client(1)}, 0},
		{[]Capabilities{client(0x7777), client(0x7777)}, 0}, // which we do not have
		{[]Capabilities{client(1), {CipherSuites: []CipherSuite{1}}}, 0},
	} {
		if got, ok := ChooseSuite([]CipherSuite{0x7777, 5, 2, 1}, test.clients...); got != test.want || ok != (test.want != 0) {
			t.Errorf("%v: suite %d, %t", test.clients, got, ok)
		}
	}
}
