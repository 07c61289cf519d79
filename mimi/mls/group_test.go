package mls

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"testing"
)

// testApp accepts every credential; a component's data is the concatenation of its updates. An update "no" is
// refused, and so is a credential called "mallory".
type testApp struct{}

func (testApp) ValidateCredential(c Credential, _ SignaturePublicKey, old *Credential) error {
	if string(c.Identity) == "mallory" {
		return errors.New("test: unknown credential")
	}
	if old != nil && string(old.Identity) != string(c.Identity) {
		return errors.New("test: another identity")
	}
	return nil
}

func (testApp) UpdateComponent(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	if id >= 0x8000 {
		return nil, errors.New("test: unknown component")
	}
	out := slices.Clone(old)
	for _, u := range updates {
		if string(u) == "no" {
			return nil, errors.New("test: invalid update")
		}
		out = append(out, u...)
	}
	return out, nil
}

// world is a group as seen by its members and a hub.
type world struct {
	t       testing.TB
	r       random
	suite   CipherSuite // 0 is that of suite1
	cfg     Config
	members map[string]*Group
	hub     *PublicGroup
	list    []*KeyPackage                 // of a test of groups that follow from others
	keys    map[string]*KeyPackageSecrets // of list, by name
}

func newWorld(t testing.TB, seed uint64, ext Extensions) *world {
	t.Helper()
	return newWorldOf(t, seed, suite1.id, ext)
}

// newWorldOf is newWorld in any suite.
func newWorldOf(t testing.TB, seed uint64, cs CipherSuite, ext Extensions) *world {
	t.Helper()
	r := newRandom(seed)
	cfg := Config{Application: testApp{}, Rand: r, ProvisionalSuites: !cs.Supported()}
	w := &world{t: t, r: r, suite: cs, cfg: cfg, members: map[string]*Group{}}
	g := must[*Group](t)(NewGroup(w.cfg, w.client("m0"), []byte("group"), ext))
	w.members["m0"] = g
	w.hub = must[*PublicGroup](t)(NewPublicGroup(w.cfg, must[*GroupInfo](t)(g.GroupInfo()), must[RatchetTree](t)(g.RatchetTree())))
	return w
}

func (w *world) client(name string) *Client {
	return newTestClientOf(w.t, w.r, cmp.Or(w.suite, suite1.id), name)
}

func (w *world) keyPackage(name string) (*Client, *KeyPackageSecrets) {
	w.t.Helper()
	c := w.client(name)
	return c, must[*KeyPackageSecrets](w.t)(NewKeyPackage(w.cfg, c, Lifetime{0, 1 << 40}, nil))
}

// wire sends a message through its encoding.
func wire(t testing.TB, m *Message) *Message {
	t.Helper()
	return must[*Message](t)(UnmarshalMessage(must[[]byte](t)(m.Bytes())))
}

// deliver has the hub and everybody but the sender process and merge a commit, and the sender merge its own.
func (w *world) deliver(from string, b *CommitBundle) {
	w.t.Helper()
	r := must[*Received](w.t)(w.hub.Process(wire(w.t, b.Commit)))
	if err := w.hub.Merge(r.Commit, b.GroupInfo); err != nil {
		w.t.Fatal(err)
	}
	for name, g := range w.members {
		if name == from {
			if err := g.MergePending(); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		r, err := g.Process(wire(w.t, b.Commit))
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		if err := g.Merge(r.Commit); err != nil {
			w.t.Fatal(err)
		}
		if r.Commit.Removed() {
			delete(w.members, name)
		}
	}
}

// add has one member add others by KeyPackage.
func (w *world) add(by string, names ...string) {
	w.t.Helper()
	var o CommitOptions
	clients, keys := map[string]*Client{}, map[string]*KeyPackageSecrets{}
	for _, name := range names {
		c, k := w.keyPackage(name)
		clients[name], keys[name] = c, k
		o.Proposals = append(o.Proposals, AddProposal(k.KeyPackage))
	}
	b := must[*CommitBundle](w.t)(w.members[by].Commit(o))
	w.deliver(by, b)
	tree := must[RatchetTree](w.t)(w.hub.RatchetTree())
	for _, name := range names {
		w.members[name] = must[*Group](w.t)(JoinWelcome(w.cfg, clients[name], b.Welcome, tree, keys[name]))
	}
	w.check()
}

func (w *world) commit(by string, o CommitOptions) *CommitBundle {
	w.t.Helper()
	b := must[*CommitBundle](w.t)(w.members[by].Commit(o))
	w.deliver(by, b)
	w.check()
	return b
}

// check compares everybody's view of the epoch.
func (w *world) check() {
	w.t.Helper()
	var exported []byte
	for name, g := range w.members {
		if !bytes.Equal(g.state.framing.context, w.hub.state.framing.context) || !bytes.Equal(g.state.interim, w.hub.state.interim) {
			w.t.Fatalf("%s and the hub differ", name)
		}
		e := must[[]byte](w.t)(g.Export("test", []byte("context"), 32))
		if exported == nil {
			exported = e
		}
		if !bytes.Equal(e, exported) {
			w.t.Fatalf("%s exports something else", name)
		}
		for x, key := range g.keys {
			if !bytes.Equal(key.public, g.state.tree.publicKey(x)) {
				w.t.Fatalf("%s has another key for node %d than the tree", name, x)
			}
		}
	}
}

// say has one member send a message that everybody reads.
func (w *world) say(from, text string) {
	w.t.Helper()
	m := wire(w.t, must[*Message](w.t)(w.members[from].Encrypt(nil, []byte(text))))
	for name, g := range w.members {
		r, err := g.Process(m)
		if name == from {
			if err != ErrOwnMessage {
				w.t.Fatalf("own message: %v", err)
			}
			continue
		}
		if err != nil || string(r.Application) != text {
			w.t.Fatalf("%s reads %v, %v", name, r, err)
		}
	}
}

func TestGroupLife(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.add("m0", "a", "b", "c")
	w.say("b", "hello")
	w.commit("c", CommitOptions{})
	w.commit("a", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(7, []byte("x")), AppDataUpdateProposal(7, []byte("y"))}})
	if data, _ := w.members["b"].AppData().Get(7); string(data) != "xy" {
		t.Errorf("component is %q", data)
	}
	w.commit("a", CommitOptions{Proposals: []Proposal{RemoveProposal(w.members["b"].OwnLeaf())}})
	if len(w.members) != 3 || len(w.hub.Members()) != 3 {
		t.Errorf("%d members", len(w.members))
	}
	for name, g := range w.members {
		w.members[name] = saveRestore(t, w.cfg, g)
	}
	w.say("m0", "again")
	w.add("c", "d", "e", "f")
	w.say("e", "all")
}

func TestGroupExternalJoin(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.add("m0", "a", "b")
	g, bundle, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()),
		[]Proposal{AppDataUpdateProposal(3, []byte("joined"))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Encrypt(nil, nil); err != ErrPendingCommit {
		t.Errorf("encrypting before the join is accepted: %v", err)
	}
	w.members["x"] = saveRestore(t, w.cfg, g)
	w.deliver("x", bundle)
	w.check()
	w.say("x", "here I am")
	// x lost its state and comes back in place of its old leaf
	old := w.members["x"].OwnLeaf()
	delete(w.members, "x")
	c := g.client // with its old signature key
	g, bundle, err = JoinExternal(w.cfg, c, w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()), []Proposal{RemoveProposal(old)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.members["x"] = g
	w.deliver("x", bundle)
	w.check()
	w.commit("a", CommitOptions{})
	w.say("x", "back")
}
