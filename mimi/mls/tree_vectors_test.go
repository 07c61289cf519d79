package mls

import (
	"bytes"
	"slices"
	"testing"

	"kith/mimi/internal/vectors"
)

func TestVectorsTreeMath(t *testing.T) {
	var entries []struct {
		Leaves  uint32       `json:"n_leaves"`
		Nodes   uint32       `json:"n_nodes"`
		Root    nodeIndex    `json:"root"`
		Left    []*nodeIndex `json:"left"`
		Right   []*nodeIndex `json:"right"`
		Parent  []*nodeIndex `json:"parent"`
		Sibling []*nodeIndex `json:"sibling"`
	}
	vectors.Load(t, "mls/tree-math.json", &entries)
	for _, e := range entries {
		if treeWidth(e.Leaves) != e.Nodes || treeRoot(e.Leaves) != e.Root {
			t.Errorf("%d leaves: width %d, root %d", e.Leaves, treeWidth(e.Leaves), treeRoot(e.Leaves))
		}
		check := func(what string, x nodeIndex, want *nodeIndex, valid bool, f func() nodeIndex) {
			if valid != (want != nil) || valid && f() != *want {
				t.Errorf("%d leaves: wrong %s of node %d", e.Leaves, what, x)
			}
		}
		for x := range nodeIndex(e.Nodes) {
			check("left child", x, e.Left[x], !x.isLeaf(), x.left)
			check("right child", x, e.Right[x], !x.isLeaf(), x.right)
			check("parent", x, e.Parent[x], x != e.Root, x.parent)
			check("sibling", x, e.Sibling[x], x != e.Root, x.sibling)
		}
	}
}

// The range and the common ancestor of leaves, by walking.
func TestTreeMathWalk(t *testing.T) {
	const n = 32
	for a := range LeafIndex(n) {
		path := append([]nodeIndex{a.node()}, directPath(a.node(), n)...)
		for x := range nodeIndex(treeWidth(n)) {
			if x.covers(a) != slices.Contains(path, x) {
				t.Fatalf("node %d covers leaf %d: %v", x, a, x.covers(a))
			}
		}
		for b := range LeafIndex(n) {
			i := slices.IndexFunc(path, func(x nodeIndex) bool { return x.covers(b) })
			if got := commonAncestor(a, b); got != path[i] {
				t.Fatalf("common ancestor of %d and %d is %d, want %d", a, b, got, path[i])
			}
		}
	}
}

func loadTree(t *testing.T, cs CipherSuite, data []byte) *ratchetTree {
	t.Helper()
	tree, err := unmarshalRatchetTree(must[*suite](t)(suiteOf(cs)), data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := tree.marshal()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "encoded tree", again, data)
	return tree
}

func TestVectorsTreeOperations(t *testing.T) {
	var entries []struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		TreeBefore  hexBytes    `json:"tree_before"`
		Proposal    hexBytes    `json:"proposal"`
		Sender      LeafIndex   `json:"proposal_sender"`
		HashBefore  hexBytes    `json:"tree_hash_before"`
		TreeAfter   hexBytes    `json:"tree_after"`
		HashAfter   hexBytes    `json:"tree_hash_after"`
	}
	vectors.Load(t, "mls/tree-operations.json", &entries)
	var count vectors.Suites
	for _, e := range entries {
		if !counted(&count, e.CipherSuite) {
			continue
		}
		before := loadTree(t, e.CipherSuite, e.TreeBefore)
		equal(t, "hash before", must[[]byte](t)(before.rootHash()), e.HashBefore)
		var p Proposal
		if err := unmarshalAll(e.Proposal, &p); err != nil {
			t.Fatal(err)
		}
		after := before.clone()
		switch p.Type {
		case ProposalAdd:
			must[LeafIndex](t)(after.addLeaf(&p.Add.LeafNode))
		case ProposalUpdate:
			after.updateLeaf(e.Sender, p.Update)
		case ProposalRemove:
			after.removeLeaf(p.Remove)
		}
		equal(t, "tree after", must[RatchetTree](t)(after.marshal()), e.TreeAfter)
		equal(t, "hash after", must[[]byte](t)(after.rootHash()), e.HashAfter)
		// the tree that it came from has not changed
		equal(t, "tree before", must[RatchetTree](t)(before.marshal()), e.TreeBefore)
		equal(t, "hash before", must[[]byte](t)(before.rootHash()), e.HashBefore)
	}
	count.Report(t)
}

func TestVectorsTreeValidation(t *testing.T) {
	var entries []struct {
		CipherSuite CipherSuite   `json:"cipher_suite"`
		Tree        hexBytes      `json:"tree"`
		GroupID     hexBytes      `json:"group_id"`
		Resolutions [][]nodeIndex `json:"resolutions"`
		TreeHashes  []hexBytes    `json:"tree_hashes"`
	}
	vectors.Load(t, "mls/tree-validation.json", &entries)
	var count vectors.Suites
	for _, e := range entries {
		if !counted(&count, e.CipherSuite) {
			continue
		}
		tree := loadTree(t, e.CipherSuite, e.Tree)
		for x := range nodeIndex(len(tree.slots)) {
			if got := tree.resolution(x); !slices.Equal(got, e.Resolutions[x]) {
				t.Errorf("resolution of %d is %v, want %v", x, got, e.Resolutions[x])
			}
			equal(t, "tree hash", must[[]byte](t)(tree.treeHash(x)), e.TreeHashes[x])
		}
		rules := must[*groupRules](t)(newGroupRules(&Config{}, tree.suite, e.GroupID, nil))
		if err := tree.validate(rules, &Config{Application: testApp{}}); err != nil {
			t.Error(err)
		}
	}
	count.Report(t)
}

type treeKEMVectors struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	GroupID     hexBytes    `json:"group_id"`
	Epoch       uint64      `json:"epoch"`
	Confirmed   hexBytes    `json:"confirmed_transcript_hash"`
	Tree        hexBytes    `json:"ratchet_tree"`
	Leaves      []struct {
		Index       LeafIndex `json:"index"`
		Encryption  hexBytes  `json:"encryption_priv"`
		Signature   hexBytes  `json:"signature_priv"`
		PathSecrets []struct {
			Node   nodeIndex `json:"node"`
			Secret hexBytes  `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	Paths []struct {
		Sender       LeafIndex   `json:"sender"`
		Path         hexBytes    `json:"update_path"`
		PathSecrets  []*hexBytes `json:"path_secrets"`
		CommitSecret hexBytes    `json:"commit_secret"`
		HashAfter    hexBytes    `json:"tree_hash_after"`
	} `json:"update_paths"`
}

// private makes the key sets of all leaves and checks them against the tree.
func (v *treeKEMVectors) private(t *testing.T, tree *ratchetTree) (map[LeafIndex]treeKeys, map[LeafIndex]*SignatureKey) {
	t.Helper()
	all, signers := make(map[LeafIndex]treeKeys), make(map[LeafIndex]*SignatureKey)
	for _, l := range v.Leaves {
		keys := treeKeys{l.Index.node(): must[*HPKEPrivateKey](t)(tree.suite.parseHPKEKey(privateKey(v.CipherSuite, l.Encryption)))}
		for _, p := range l.PathSecrets {
			keys[p.Node] = must[*HPKEPrivateKey](t)(nodeKey(tree.suite, p.Secret))
		}
		for x, key := range keys {
			equal(t, "public key", key.Public(), tree.publicKey(x))
		}
		all[l.Index] = keys
		signers[l.Index] = must[*SignatureKey](t)(ParseSignatureKey(v.CipherSuite, privateKey(v.CipherSuite, l.Signature)))
	}
	return all, signers
}

// context is the GroupContext of a path on the given tree.
func (v *treeKEMVectors) context(t *testing.T, tree *ratchetTree) []byte {
	t.Helper()
	c := &GroupContext{
		CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: v.Epoch,
		TreeHash: must[[]byte](t)(tree.rootHash()), ConfirmedTranscriptHash: v.Confirmed,
	}
	return must[[]byte](t)(c.Bytes())
}

func publicKeys(nodes []UpdatePathNode) []HPKEPublicKey {
	var keys []HPKEPublicKey
	for _, n := range nodes {
		keys = append(keys, n.EncryptionKey)
	}
	return keys
}

func (v *treeKEMVectors) checkPaths(t *testing.T) {
	t.Helper()
	before := loadTree(t, v.CipherSuite, v.Tree)
	all, signers := v.private(t, before)
	for _, p := range v.Paths {
		var path UpdatePath
		if err := unmarshalAll(p.Path, &path); err != nil {
			t.Fatal(err)
		}
		after := before.clone()
		equal(t, "parent hash", path.LeafNode.ParentHash, must[[]byte](t)(after.mergeKeys(p.Sender, publicKeys(path.Nodes))))
		after.setLeaf(p.Sender, &path.LeafNode)
		equal(t, "tree hash after", must[[]byte](t)(after.rootHash()), p.HashAfter)
		if err := after.checkCiphertexts(p.Sender, path.Nodes, nil); err != nil {
			t.Error(err)
		}
		if err := after.verifyParentHashes(); err != nil {
			t.Error(err)
		}
		context := v.context(t, after)
		for own, keys := range all {
			if own == p.Sender {
				continue
			}
			_, secret, commitSecret, err := after.decryptPath(keys, own, p.Sender, path.Nodes, nil, context)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "path secret", secret, *p.PathSecrets[own])
			equal(t, "commit secret", commitSecret, p.CommitSecret)
		}
		v.checkNewPath(t, before, p.Sender, all, signers[p.Sender])
	}
}

// checkNewPath makes a path of our own and has everybody process it.
func (v *treeKEMVectors) checkNewPath(t *testing.T, before *ratchetTree, sender LeafIndex, all map[LeafIndex]treeKeys, signer *SignatureKey) {
	t.Helper()
	after := before.clone()
	made := must[*newPath](t)(after.generatePath(newRandom(uint64(sender)), sender))
	leaf := *before.leaf(sender)
	leaf.Source, leaf.EncryptionKey = LeafNodeSourceCommit, made.leafKey.Public()
	leaf.ParentHash = must[[]byte](t)(after.mergeKeys(sender, made.publicKeys()))
	if err := leaf.sign(signer, v.GroupID, sender); err != nil {
		t.Fatal(err)
	}
	after.setLeaf(sender, &leaf)
	context := v.context(t, after)
	nodes := must[[]UpdatePathNode](t)(made.encrypt(&Config{}, after, nil, context))
	for own, keys := range all {
		if own == sender {
			continue
		}
		next, _, commitSecret, err := after.decryptPath(keys, own, sender, nodes, nil, context)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "new commit secret", commitSecret, made.commitSecret)
		for x, key := range next {
			if !bytes.Equal(key.public, after.publicKey(x)) {
				t.Errorf("leaf %d has another key for node %d than the tree", own, x)
			}
		}
	}
}

func TestVectorsTreeKEM(t *testing.T) {
	var entries []treeKEMVectors
	vectors.Load(t, "mls/treekem.json", &entries)
	var count vectors.Suites
	for i := range entries {
		if v := &entries[i]; counted(&count, v.CipherSuite) {
			v.checkPaths(t)
		}
	}
	count.Report(t)
}

type passiveVectors struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	PSKs        []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes `json:"psk"`
	} `json:"external_psks"`
	KeyPackage    hexBytes  `json:"key_package"`
	Signature     hexBytes  `json:"signature_priv"`
	Encryption    hexBytes  `json:"encryption_priv"`
	Init          hexBytes  `json:"init_priv"`
	Welcome       hexBytes  `json:"welcome"`
	Tree          *hexBytes `json:"ratchet_tree"`
	Authenticator hexBytes  `json:"initial_epoch_authenticator"`
	Epochs        []struct {
		Proposals     []hexBytes `json:"proposals"`
		Commit        hexBytes   `json:"commit"`
		Authenticator hexBytes   `json:"epoch_authenticator"`
	} `json:"epochs"`
}

func (v *passiveVectors) join(t *testing.T) (*Group, Config) {
	t.Helper()
	psks := make(map[string][]byte)
	for _, p := range v.PSKs {
		psks[string(p.ID)] = p.PSK
	}
	cfg := Config{Application: testApp{}, PSK: func(id *PreSharedKeyID) []byte { return psks[string(id.ID)] }}
	kp := must[*Message](t)(UnmarshalMessage(v.KeyPackage)).KeyPackage
	key := must[*KeyPackageSecrets](t)(newKeyPackageSecrets(kp, privateKey(v.CipherSuite, v.Init), privateKey(v.CipherSuite, v.Encryption)))
	c := &Client{SignatureKey: must[*SignatureKey](t)(ParseSignatureKey(v.CipherSuite, privateKey(v.CipherSuite, v.Signature)))}
	var tree RatchetTree
	if v.Tree != nil {
		tree = RatchetTree(*v.Tree)
	}
	w := must[*Message](t)(UnmarshalMessage(v.Welcome)).Welcome
	return must[*Group](t)(JoinWelcome(cfg, c, w, tree, key)), cfg
}

func testPassive(t *testing.T, file string) {
	var entries []passiveVectors
	vectors.Load(t, file, &entries)
	var count vectors.Suites
	epochs := 0
	for i := range entries {
		v := &entries[i]
		if !counted(&count, v.CipherSuite) {
			continue
		}
		g, cfg := v.join(t)
		equal(t, "initial authenticator", g.EpochAuthenticator(), v.Authenticator)
		for k, e := range v.Epochs {
			epochs++
			for _, p := range e.Proposals {
				if _, err := g.Process(must[*Message](t)(UnmarshalMessage(p))); err != nil {
					t.Fatalf("entry %d, epoch %d: proposal: %v", i, k, err)
				}
			}
			r, err := g.Process(must[*Message](t)(UnmarshalMessage(e.Commit)))
			if err != nil {
				t.Fatalf("entry %d, epoch %d: %v", i, k, err)
			}
			if err := g.Merge(r.Commit); err != nil {
				t.Fatal(err)
			}
			equal(t, "authenticator", g.EpochAuthenticator(), e.Authenticator)
			if k%7 == 0 { // and go on from stored state
				g = saveRestore(t, cfg, g)
			}
		}
	}
	count.Report(t)
	t.Logf("%d epochs", epochs)
}

func TestVectorsPassiveWelcome(t *testing.T) { testPassive(t, "mls/passive-client-welcome.json") }
func TestVectorsPassiveCommit(t *testing.T) {
	testPassive(t, "mls/passive-client-handling-commit.json")
}
func TestVectorsPassiveRandom(t *testing.T) { testPassive(t, "mls/passive-client-random.json") }

// saveRestore replaces a group by what its stored state gives.
func saveRestore(t testing.TB, cfg Config, g *Group) *Group {
	t.Helper()
	state := must[[]byte](t)(g.State())
	ratchets := must[[]byte](t)(g.RatchetState())
	again := must[*Group](t)(RestoreGroup(cfg, g.client, state, ratchets))
	equal(t, "state", must[[]byte](t)(again.State()), state)
	equal(t, "ratchet state", must[[]byte](t)(again.RatchetState()), ratchets)
	return again
}
