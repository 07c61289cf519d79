package mls

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An error of this package is a constant text: nothing can get into it by mistake.
func TestLesson04ErrorsAreConstants(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Skipf("the sources are not here: %v", err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			switch path, _ := strconv.Unquote(i.Path.Value); path {
			case "fmt", "log", "log/slog", "encoding/hex", "encoding/base64":
				t.Errorf("%s imports %s, with which secrets become text", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if x, isName := f, ok; !isName || x.Sel.Name != "New" || len(call.Args) != 1 {
				return true
			}
			if p, ok := f.X.(*ast.Ident); !ok || p.Name != "errors" {
				return true
			}
			seen++
			if _, constant := call.Args[0].(*ast.BasicLit); !constant {
				t.Errorf("%v: an error that is not a constant text", set.Position(call.Pos()))
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("only %d errors found", seen)
	}
}

// Staging a commit with a path changes no key before it is merged, and a discarded one leaves nothing behind.
func TestLesson05StagedPathChangesNothing(t *testing.T) {
	w := newWorld(t, 45, nil)
	w.add("m0", "a", "b", "c")
	w.commit("b", CommitOptions{})
	b := w.members["b"]
	before := must[[]byte](t)(b.State())
	must[*CommitBundle](t)(b.Commit(CommitOptions{ForcePath: true}))
	b.DiscardPending()
	equal(t, "state after a discarded commit", must[[]byte](t)(b.State()), before)
	for _, restart := range []bool{false, true} {
		winner := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{ForcePath: true}))
		must[*CommitBundle](t)(w.members["b"].Commit(CommitOptions{ForcePath: true}))
		if restart {
			w.members["b"] = saveRestore(t, w.cfg, w.members["b"])
		}
		w.deliver("a", winner)
		w.check()
		w.say("b", "fine")
	}
}

// A consumed secret is gone from the tree's nodes, and overwritten where it was: of ratchets, and of keys that were kept
// for skipped messages.
func TestLesson06MemoryIsOverwritten(t *testing.T) {
	tree := newTestTree(4)
	top := tree.width - 1
	take(t, tree, 3, 0)
	if _, there := tree.nodes[top]; there || len(tree.nodes) != 2 {
		t.Errorf("%d nodes are there after the first use", len(tree.nodes))
	}
	secret := tree.leafs[3][applicationRatchet].secret
	take(t, tree, 3, 1)
	if !allZero(secret) {
		t.Error("a ratchet secret is still in memory")
	}
	p := newPair(t, 4)
	first := p.seal(t, 1, []byte("first"))
	second := p.seal(t, 1, []byte("second"))
	if _, err := p.open(second); err != nil {
		t.Fatal(err)
	}
	kept := p.to.tree.leafs[1][applicationRatchet].skipped[0].key
	if allZero(kept) {
		t.Fatal("the test looks at the wrong place")
	}
	if _, err := p.open(first); err != nil {
		t.Fatal(err)
	}
	if !allZero(kept) {
		t.Error("the key of a skipped message is still in memory after its use")
	}
}

// Who was removed keeps no secret of the group, stored or not.
func TestLesson06RemovedMemberKeepsNothing(t *testing.T) {
	w := newWorld(t, 46, nil)
	w.add("m0", "a", "b")
	w.commit("b", CommitOptions{})
	w.say("a", "hello")
	g := w.members["b"]
	secrets := [][]byte{g.past[0].secrets.senderData, g.resumption[0].secret}
	for _, f := range g.secrets.fields() {
		secrets = append(secrets, *f)
	}
	for _, k := range g.keys {
		secrets = append(secrets, must[[]byte](t)(k.bytes()))
	}
	before := append(must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())...)
	w.commit("m0", CommitOptions{Proposals: []Proposal{RemoveProposal(g.leaf)}})
	after := append(must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())...)
	for i, s := range secrets {
		if !bytes.Contains(before, s) {
			t.Errorf("secret %d was not there before", i)
		}
		if bytes.Contains(after, s) {
			t.Errorf("secret %d is still stored", i)
		}
	}
	if len(g.past) > 0 || len(g.resumption) > 0 || g.secrets != nil || len(g.keys) > 0 {
		t.Error("secrets are still in memory")
	}
}

// However often a sender skips, no more than the bound is kept, and the oldest goes first.
func TestLesson07StoredKeysAreBounded(t *testing.T) {
	p := newPair(t, 4)
	var msgs []*PrivateMessage
	for range 4*maxStored + 1 {
		msgs = append(msgs, p.seal(t, 1, []byte("text")))
	}
	for i := maxStored / 2; i < len(msgs); i += maxStored/2 + 1 {
		if _, err := p.open(msgs[i]); err != nil {
			t.Fatal(err)
		}
		if n := len(p.to.tree.leafs[1][applicationRatchet].skipped); n > maxStored {
			t.Fatalf("%d keys are stored", n)
		}
	}
	if _, err := p.open(msgs[0]); !errors.Is(err, ErrReplayed) {
		t.Errorf("the oldest: %v", err)
	}
	state := must[[]byte](t)(marshal(p.to.tree))
	if limit := 16 + 8*40 + 2*(40+maxStored*40); len(state) > limit {
		t.Errorf("%d octets are stored, more than %d", len(state), limit)
	}
}

// An external commit removes nobody but the joiner itself: the application judges its credential as the successor of
// the one that it removes.
func TestLesson09ExternalCommitRemovesNoStranger(t *testing.T) {
	w, _ := outsideWorld(t, 49)
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	remove := []Proposal{RemoveProposal(w.members["a"].OwnLeaf())}
	if _, _, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), tree, remove, nil); err == nil || !strings.Contains(err.Error(), "another identity") {
		t.Errorf("joiner: %v", err)
	}
	// one whose own application lets it
	lax := w.cfg
	lax.Application = laxApp{}
	_, b, err := JoinExternal(lax, w.client("x"), w.hub.GroupInfo(), tree, remove, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.refused("", wire(t, b.Commit), "another identity")
}

// The rest of the rules for lists: the committer's own SelfRemove, and proposals by reference that demand a path.
func TestLesson10PathsAndOwnSelfRemove(t *testing.T) {
	w, _ := outsideWorld(t, 50)
	w.tell("a", must[*Message](t)(w.members["a"].SelfRemove(nil)))
	w.tell("b", must[*Message](t)(w.members["b"].SelfRemove(nil)))
	w.tell("c", must[*Message](t)(w.members["c"].ProposeUpdate(nil)))
	pending := w.hub.PendingProposals()
	own, others, update := pending[0].Ref, pending[1].Ref, pending[2].Ref
	for name, attack := range map[string]struct {
		reason string
		ref    ProposalRef
		noPath bool
	}{
		"own SelfRemove":            {"SelfRemove of the committer", own, false},
		"Update without a path":     {"lacks a path", update, true},
		"SelfRemove without a path": {"lacks a path", others, true},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(old testing.TB) { w.t = old }(w.t)
			w.t = t
			w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) {
				c.Proposals = []ProposalOrRef{{Reference: attack.ref}}
				if attack.noPath {
					c.Path = nil
				}
			}), attack.reason)
		})
	}
}

// forgedInfo is a GroupInfo of the current epoch, signed by m0, for a tree and extensions that somebody changed.
func (w *world) forgedInfo(ext Extensions, change func(*ratchetTree)) (*GroupInfo, RatchetTree) {
	w.t.Helper()
	tree := w.hub.state.tree.clone()
	change(tree)
	gi := *w.hub.GroupInfo()
	gi.GroupContext.TreeHash, gi.GroupContext.Extensions = must[[]byte](w.t)(tree.rootHash()), ext
	gi.Signer = w.members["m0"].leaf
	if err := gi.sign(w.members["m0"].client.SignatureKey); err != nil {
		w.t.Fatal(err)
	}
	return &gi, must[RatchetTree](w.t)(tree.marshal())
}

// refusedInfo has a hub and an external joiner refuse a GroupInfo with its tree.
func (w *world) refusedInfo(gi *GroupInfo, tree RatchetTree, reason string) {
	w.t.Helper()
	if _, err := NewPublicGroup(w.cfg, gi, tree); err == nil || !strings.Contains(err.Error(), reason) {
		w.t.Errorf("hub: %v, want %q", err, reason)
	}
	if _, _, err := JoinExternal(w.cfg, w.client("x"), gi, tree, nil, nil); err == nil || !strings.Contains(err.Error(), reason) {
		w.t.Errorf("joiner: %v, want %q", err, reason)
	}
}

// A tree is verified although its hash is right and its GroupInfo well signed: its leaves and who is unmerged.
func TestLesson11TreeIsValidatedOnJoin(t *testing.T) {
	w, _ := outsideWorld(t, 51)
	w.commit("a", CommitOptions{})
	ext := w.hub.Context().Extensions
	gi, tree := w.forgedInfo(ext, func(*ratchetTree) {})
	must[*PublicGroup](t)(NewPublicGroup(w.cfg, gi, tree))
	gi, tree = w.forgedInfo(ext, func(c *ratchetTree) {
		l := *c.leaf(2)
		l.Signature = flip(l.Signature)
		c.setLeaf(2, &l)
	})
	w.refusedInfo(gi, tree, "leaf signature")
	gi, tree = w.forgedInfo(ext, func(c *ratchetTree) {
		p := *c.parentAt(c.root())
		p.UnmergedLeaves = []LeafIndex{2}
		c.setParent(c.root(), &p)
	})
	w.refusedInfo(gi, tree, "mls: ")
}

// So are its parent hashes.
func TestLesson17ParentHashesAreVerifiedOnJoin(t *testing.T) {
	w, _ := outsideWorld(t, 57)
	w.commit("a", CommitOptions{})
	gi, tree := w.forgedInfo(w.hub.Context().Extensions, func(c *ratchetTree) {
		p := *c.parentAt(c.root())
		p.EncryptionKey = must[*HPKEPrivateKey](t)(suite1.generateKeyPair(w.r)).Public()
		c.setParent(c.root(), &p)
	})
	w.refusedInfo(gi, tree, "parent hash")
}

// Of the proposals for one leaf a SelfRemove is committed, else a Remove, else the last Update, whatever their order.
func TestLesson15StrongestProposalWins(t *testing.T) {
	w := newWorld(t, 55, nil)
	w.add("m0", "a", "b", "c")
	c := w.members["c"]
	remove := func() { w.tell("b", must[*Message](t)(w.members["b"].Propose(RemoveProposal(c.leaf), w.r.octets(30)))) }
	update := func() { w.tell("c", must[*Message](t)(c.ProposeUpdate(nil))) }
	wins := func(name string, want ProposalType, dropped int) {
		t.Helper()
		b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{}))
		list := b.Staged.Proposals()
		if len(list) != 1 || list[0].Proposal.Type != want || len(b.Dropped) != dropped {
			t.Errorf("%s: %d committed, of type %d; %d dropped", name, len(list), list[0].Proposal.Type, len(b.Dropped))
		}
		w.members["a"].DiscardPending()
	}
	update()
	update()
	wins("two updates", ProposalUpdate, 1)
	if last := w.hub.PendingProposals()[1].Ref; !bytes.Equal(must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{})).Staged.Proposals()[0].Ref, last) {
		t.Error("not the last update")
	}
	w.members["a"].DiscardPending()
	remove()
	update()
	wins("remove between updates", ProposalRemove, 3)
	w.tell("c", must[*Message](t)(c.SelfRemove(nil)))
	remove()
	update()
	wins("self remove", ProposalSelfRemove, 6)
	w.commit("a", CommitOptions{})
}

// External senders are judged also by who founds, joins or begins to follow a group.
func TestLesson19ExternalSendersOnJoin(t *testing.T) {
	w, key := outsideWorld(t, 59)
	bad := Extensions{{ExtensionExternalSenders, must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{key.Public(), BasicCredential([]byte("mallory"))}}))}}
	gi, tree := w.forgedInfo(bad, func(*ratchetTree) {})
	w.refusedInfo(gi, tree, "unknown credential")
	if _, err := NewGroup(w.cfg, w.client("founder"), []byte("g"), bad); err == nil || !strings.Contains(err.Error(), "unknown credential") {
		t.Errorf("founder: %v", err)
	}
}

// What is wrong with a KeyPackage is found at every Add: proposed or committed, by value or by reference, by the hub and
// by members.
func TestLesson23KeyPackageIsVerifiedAtEveryAdd(t *testing.T) {
	w, key := outsideWorld(t, 63)
	a := w.members["a"]
	for name, change := range map[string]func(c *Client, k *KeyPackage){
		"cipher suite": func(c *Client, k *KeyPackage) {
			k.CipherSuite = 0x7777
			if err := k.sign(c.SignatureKey); err != nil {
				t.Fatal(err)
			}
		},
		"leaf signature": func(c *Client, k *KeyPackage) {
			k.LeafNode.Signature = flip(k.LeafNode.Signature)
			if err := k.sign(c.SignatureKey); err != nil {
				t.Fatal(err)
			}
		},
		"key package signature": func(_ *Client, k *KeyPackage) { k.Signature = flip(k.Signature) },
		"leaf has the wrong source|another source": func(c *Client, k *KeyPackage) {
			k.LeafNode.Source = LeafNodeSourceUpdate
			if k.LeafNode.sign(c.SignatureKey, nil, 0) != nil || k.sign(c.SignatureKey) != nil {
				t.Fatal("cannot sign")
			}
		},
	} {
		c, secrets := w.keyPackage("new")
		k := secrets.KeyPackage
		change(c, k)
		reason := name[strings.IndexByte(name, '|')+1:]
		add := AddProposal(k)
		if _, err := a.Propose(add, nil); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: proposed: %v", name, err)
		}
		if _, err := a.Commit(CommitOptions{Proposals: []Proposal{add}}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: committed: %v", name, err)
		}
		w.refused("a", w.forge("a", CommitOptions{}, func(c *Commit) { c.Proposals = []ProposalOrRef{value(add)} }), reason)
		w.refused("", must[*Message](t)(ProposeExternal(w.hub.Context(), 0, key, add, nil)), reason)
		w.refused("", must[*Message](t)(ProposeJoin(w.hub.Context(), c.SignatureKey, k, nil)), reason)
	}
}

// A KeyPackage of another suite that we do implement is as wrong in this group.
func TestLesson23KeyPackageOfAnotherSuite(t *testing.T) {
	rules := must[*groupRules](t)(newGroupRules(&Config{}, suite1, []byte("group"), nil))
	other := *suite1
	other.id = 0xf001
	rules.suite = &other
	k := newTestKeyPackage(t, newRandom(64)).KeyPackage
	for _, signed := range []bool{false, true} {
		if err := rules.checkKeyPackage(k, time.Time{}, signed); err == nil || !strings.Contains(err.Error(), "another cipher suite") {
			t.Errorf("%v", err)
		}
	}
}

// plainLeafBytes is an optional<Node> with a leaf.
func plainLeafBytes(t testing.TB) []byte {
	return append([]byte{1, nodeTypeLeaf}, must[[]byte](t)(marshal(plainLeaf(1)))...)
}

// Two more ways to write one value: an unmerged leaf twice, and bits of an X25519 key that do not count.
func TestLesson25OneEncodingOfKeysAndUnmergedLeaves(t *testing.T) {
	for name, leaves := range map[string][]byte{"twice": {0, 0, 0, 1, 0, 0, 0, 1}, "descending": {0, 0, 0, 2, 0, 0, 0, 1}} {
		data := append([]byte{1, 7, 0, byte(len(leaves))}, leaves...)
		if unmarshalAll(data, new(parentNode)) == nil {
			t.Errorf("unmerged leaves %s: accepted", name)
		}
	}
	good := must[[]byte](t)(newTestKeyPackage(t, newRandom(65)).Bytes())
	must[*KeyPackageSecrets](t)(UnmarshalKeyPackageSecrets(good))
	for _, at := range []int{len(good) - 32, len(good) - 33 - 32} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := UnmarshalKeyPackageSecrets(bad); err == nil {
			t.Errorf("private key with octet %d changed: accepted", at)
		}
	}
}
