package mls

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// grower makes an input of a size that grows with n: how large it is, and what is to be done with it.
type grower func(t testing.TB, n int) (size int, run func())

// checkGrowth compares the cost of an input with that of one four times as large. Time and memory may grow a little
// faster than the input, for logarithms and a busy machine, but not with its square, which is sixteen times as much.
func checkGrowth(t *testing.T, n int, make grower) {
	t.Helper()
	const slack = 2.3
	smallSize, small := make(t, n)
	largeSize, large := make(t, 4*n)
	allowed := slack * float64(largeSize) / float64(smallSize)
	a, b := allocated(small), allocated(large)
	if float64(b) > allowed*float64(a)+64<<10 {
		t.Errorf("%d octets of input allocate %d, %d octets %d", smallSize, a, largeSize, b)
	}
	if !cpuClock {
		t.Log("only what is allocated is compared: the processor time cannot be told here")
		return
	}
	least := func(best time.Duration, run func()) time.Duration {
		runtime.GC()
		for times := 1; ; times *= 4 {
			used := cpuTime(t, func() {
				for range times {
					run()
				}
			})
			// the clock may be a coarse one
			if used >= 20*time.Millisecond {
				return min(best, used/time.Duration(times))
			}
		}
	}
	fast, slow := time.Hour, time.Hour
	// what counts is the best of a few attempts
	for range 6 {
		fast, slow = least(fast, small), least(slow, large)
		if float64(slow) <= allowed*float64(fast)+float64(100*time.Microsecond) {
			return
		}
	}
	t.Errorf("%d octets of input take %v, %d octets %v", smallSize, fast, largeSize, slow)
}

// each runs checkGrowth for a table.
func each(t *testing.T, cases map[string]struct {
	n    int
	make grower
}) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				c.n /= 4
			}
			checkGrowth(t, c.n, c.make)
		})
	}
}

// plainLeaf is a leaf that is good enough for the tree's own operations; key makes its keys different from others'.
func plainLeaf(key int) *LeafNode {
	id := binary.BigEndian.AppendUint32(make([]byte, 28), uint32(key))
	return &LeafNode{
		EncryptionKey: id, SignatureKey: id, Credential: BasicCredential(id), Source: LeafNodeSourceUpdate,
		Capabilities: Capabilities{Credentials: []CredentialType{CredentialBasic}},
	}
}

// plainTree has n members; in a deep one each has committed once, so that the parent hashes are chained.
func plainTree(t testing.TB, n int, deep bool) *ratchetTree {
	t.Helper()
	tree := newRatchetTree(suite1, plainLeaf(0))
	leaves := make([]*LeafNode, n-1)
	for i := range leaves {
		leaves[i] = plainLeaf(i + 1)
	}
	must[[]LeafIndex](t)(tree.addLeaves(leaves))
	for i := range LeafIndex(n) {
		if !deep {
			break
		}
		keys := make([]HPKEPublicKey, len(tree.filteredDirectPath(i)))
		for k := range keys {
			keys[k] = binary.BigEndian.AppendUint64(make([]byte, 24), uint64(i)<<32|uint64(k+1))
		}
		leaf := *tree.leaf(i)
		leaf.Source = LeafNodeSourceCommit
		leaf.ParentHash = must[[]byte](t)(tree.mergeKeys(i, keys))
		tree.setLeaf(i, &leaf)
	}
	return tree
}

// examine does to an encoded tree what is done before its leaves' signatures are verified, and what follows.
func examine(t testing.TB, data []byte) func() {
	return func() {
		tree := must[*ratchetTree](t)(unmarshalRatchetTree(suite1, data))
		must[[]byte](t)(tree.rootHash())
		_ = tree.checkUnmergedLeaves()
		_ = tree.verifyParentHashes()
		_ = tree.filteredDirectPath(0)
		_ = tree.memberList()
	}
}

func TestComplexityTree(t *testing.T) {
	encoded := func(t testing.TB, tree *ratchetTree) (int, func()) {
		data := must[RatchetTree](t)(tree.marshal())
		return len(data), examine(t, data)
	}
	each(t, map[string]struct {
		n    int
		make grower
	}{
		"blank between two leaves": {1 << 12, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, false)
			for i := 1; i < n-1; i++ {
				tree.blankLeaf(LeafIndex(i))
			}
			return encoded(t, tree)
		}},
		"deep parent hashes": {1 << 8, func(t testing.TB, n int) (int, func()) { return encoded(t, plainTree(t, n, true)) }},
		"all leaves unmerged everywhere": {1 << 8, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, false)
			for x := nodeIndex(1); int(x) < len(tree.slots); x += 2 {
				first, end := x.leafRange()
				p := &parentNode{EncryptionKey: binary.BigEndian.AppendUint64(make([]byte, 24), uint64(x)<<32)}
				for l := first; l < end; l++ {
					p.UnmergedLeaves = append(p.UnmergedLeaves, l)
				}
				tree.setParent(x, p)
			}
			return encoded(t, tree)
		}},
		"unmerged leaves at the root of blanks": {1 << 11, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, false)
			p := &parentNode{EncryptionKey: make([]byte, 32)}
			for l := range LeafIndex(n - 1) {
				p.UnmergedLeaves = append(p.UnmergedLeaves, l)
			}
			tree.setParent(tree.root(), p)
			return encoded(t, tree)
		}},
		"many adds": {1 << 10, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, true)
			leaves := make([]*LeafNode, n)
			for i := range leaves {
				leaves[i] = plainLeaf(n + i)
			}
			return n, func() { must[[]LeafIndex](t)(tree.clone().addLeaves(leaves)) }
		}},
		"many recipients and adds": {1 << 10, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, false)
			nodes := make([]UpdatePathNode, len(tree.filteredDirectPath(0)))
			var added []LeafIndex
			for i := 1; i < n; i += 2 {
				added = append(added, LeafIndex(i))
			}
			for k, step := range tree.filteredDirectPath(0) {
				nodes[k].EncryptedPathSecret = make([]HPKECiphertext, len(tree.recipients(step.copath, added)))
			}
			return n, func() {
				if err := tree.checkCiphertexts(0, nodes, added); err != nil {
					t.Fatal(err)
				}
				if err := tree.checkProposalTypes([]ProposalType{ProposalSelfRemove}, added); err == nil {
					t.Fatal("accepted")
				}
			}
		}},
	})
}

// commitOf applies a list of proposals to a tree, as everybody does who receives the commit.
func commitOf(t testing.TB, tree *ratchetTree, ext Extensions, list []StagedProposal) func() {
	context := &GroupContext{CipherSuite: suite1.id, GroupID: []byte("group"), Extensions: ext, TreeHash: must[[]byte](t)(tree.rootHash())}
	state := must[*publicState](t)(newPublicState(suite1, context, tree, make([]byte, 32)))
	return func() {
		p := must[*provisional](t)(state.applyProposals(&Config{Application: testApp{}}, list, Sender{Type: SenderMember}, time.Time{}))
		must[*GroupContext](t)(p.context(nil))
	}
}

func TestComplexityProposals(t *testing.T) {
	sender := Sender{Type: SenderMember}
	capable := func(tree *ratchetTree) *ratchetTree {
		for _, l := range tree.members {
			l.Capabilities.Extensions = []ExtensionType{ExtensionAppDataDictionary}
			l.Capabilities.Proposals = []ProposalType{ProposalAppDataUpdate}
		}
		return tree
	}
	each(t, map[string]struct {
		n    int
		make grower
	}{
		"removes": {1 << 10, func(t testing.TB, n int) (int, func()) {
			// one leaf keeps the right half, which is searched for others
			tree := plainTree(t, 8*n, false)
			for i := 4*n + 1; i < 8*n; i++ {
				tree.blankLeaf(LeafIndex(i))
			}
			var list []StagedProposal
			for i := range n {
				list = append(list, StagedProposal{Proposal: RemoveProposal(LeafIndex(i + 1)), Sender: sender})
			}
			return n, commitOf(t, tree, nil, list)
		}},
		"updates": {1 << 8, func(t testing.TB, n int) (int, func()) {
			var list []StagedProposal
			for i := range n {
				u := Proposal{Type: ProposalUpdate, Update: plainLeaf(5*n + i)}
				list = append(list, StagedProposal{Proposal: u, Sender: Sender{Type: SenderMember, Leaf: LeafIndex(i + 1)}, Ref: []byte{1}, verified: true})
			}
			return n, commitOf(t, plainTree(t, 2*n, true), nil, list)
		}},
		"components": {1 << 10, func(t testing.TB, n int) (int, func()) {
			var dict AppDataDictionary
			for i := range 4 * n {
				dict = append(dict, ComponentData{ID: ComponentID(i)})
			}
			ext := must[Extensions](t)(Extensions{}.SetAppData(dict))
			var list []StagedProposal
			for i := range n {
				list = append(list, StagedProposal{Proposal: AppDataUpdateProposal(ComponentID(i*4), []byte("x")), Sender: sender})
			}
			return n, commitOf(t, capable(plainTree(t, 2, false)), ext, list)
		}},
		"one component": {1 << 10, func(t testing.TB, n int) (int, func()) {
			var list []StagedProposal
			for range n {
				list = append(list, StagedProposal{Proposal: AppDataUpdateProposal(7, []byte("x")), Sender: sender})
			}
			return n, commitOf(t, capable(plainTree(t, 2, false)), nil, list)
		}},
		"PSKs": {1 << 10, func(t testing.TB, n int) (int, func()) {
			var list []StagedProposal
			var psks []preSharedKey
			for i := range n {
				id := &PreSharedKeyID{Type: PSKExternal, ID: fmt.Append(nil, i), Nonce: make([]byte, 32)}
				list = append(list, StagedProposal{Proposal: PSKProposal(id), Sender: sender})
				psks = append(psks, preSharedKey{*id, []byte("secret")})
			}
			apply := commitOf(t, plainTree(t, 2, false), nil, list)
			return n, func() { apply(); must[[]byte](t)(suite1.pskSecret(psks)) }
		}},
		"selection of conflicting proposals": {1 << 10, func(t testing.TB, n int) (int, func()) {
			var list []StagedProposal
			for i := range n {
				list = append(list, StagedProposal{Proposal: RemoveProposal(LeafIndex(i % 7)), Sender: sender, Ref: []byte{1}},
					StagedProposal{Proposal: PSKProposal(&PreSharedKeyID{Type: PSKExternal, ID: []byte{byte(i)}}), Sender: sender, Ref: []byte{1}},
					StagedProposal{Proposal: GroupContextExtensionsProposal(nil), Sender: sender, Ref: []byte{1}})
			}
			return n, func() { selectProposals(list, nil, 100) }
		}},
	})
}

// aboveDefaults is the first code point that typesUpTo lists: what RFC 9420 itself defines is not for capabilities.
const aboveDefaults = 16

// typesUpTo lists n different code points.
func typesUpTo[T ~uint16](n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = T(aboveDefaults + i)
	}
	return list
}

func TestComplexityCapabilities(t *testing.T) {
	r := newRandom(70)
	c := newTestClient(t, r, "a")
	each(t, map[string]struct {
		n    int
		make grower
	}{
		"own extensions": {1 << 13, func(t testing.TB, n int) (int, func()) {
			c := *c
			c.Capabilities.Extensions = typesUpTo[ExtensionType](n)
			for i := range n {
				c.LeafExtensions = append(c.LeafExtensions, Extension{Type: ExtensionType(aboveDefaults + i)})
			}
			k := must[*KeyPackageSecrets](t)(NewKeyPackage(Config{Rand: r}, &c, Lifetime{0, 1 << 40}, nil)).KeyPackage
			return n, func() {
				if err := k.Verify(time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"required and the group's": {1 << 13, func(t testing.TB, n int) (int, func()) {
			formats := typesUpTo[WireFormat](n)
			data := must[[]byte](t)(WireFormats(formats).Bytes())
			l := &LeafNode{Extensions: Extensions{{ExtensionSupportedWireFormats, data}}, Capabilities: Capabilities{Extensions: typesUpTo[ExtensionType](n), Proposals: typesUpTo[ProposalType](n), Credentials: typesUpTo[CredentialType](n)}}
			rules := &groupRules{wireFormats: formats, extensions: typesUpTo[ExtensionType](n), required: RequiredCapabilities{
				typesUpTo[ExtensionType](n), typesUpTo[ProposalType](n), typesUpTo[CredentialType](n),
			}}
			return n, func() {
				if err := rules.checkCapabilities(l); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"credential types": {1 << 6, func(t testing.TB, n int) (int, func()) {
			tree := plainTree(t, n, false)
			var all []LeafIndex
			for i, l := range tree.members {
				l.Credential.Type, l.Capabilities.Credentials = CredentialType(aboveDefaults+i), typesUpTo[CredentialType](n)
				all = append(all, i)
			}
			// each of the n members lists n types
			return n * n, func() {
				if err := tree.checkCredentialTypes(all); err != nil {
					t.Fatal(err)
				}
			}
		}},
	})
}

// vectors of many small things, for each decoder that has a list.
func TestComplexityDecoders(t *testing.T) {
	list := func(body []byte) []byte {
		var b cryptobyte.Builder
		syntax.AddVector(&b, body)
		return b.BytesOrPanic()
	}
	numbered := func(n int, entry func(i int) []byte) []byte {
		var out []byte
		for i := range n {
			out = append(out, entry(i)...)
		}
		return list(out)
	}
	u16 := func(i int) []byte { return []byte{byte(i >> 8), byte(i)} }
	inputs := map[string]func(n int) (decoder string, data []byte){
		"extensions": func(n int) (string, []byte) {
			return "Extensions", numbered(n, func(i int) []byte { return append(u16(i), 0) })
		},
		"dictionary": func(n int) (string, []byte) {
			return "AppDataDictionary", numbered(n, func(i int) []byte { return append(u16(i), 0) })
		},
		"safe AAD": func(n int) (string, []byte) {
			return "SafeAAD", numbered(n, func(i int) []byte { return append(u16(i), 0) })
		},
		"components": func(n int) (string, []byte) { return "ComponentsList", numbered(n, u16) },
		"proposals by value": func(n int) (string, []byte) {
			return "Commit", append(numbered(n, func(i int) []byte { return []byte{1, 0, 3, 0, 0, 0, byte(i)} }), 0)
		},
		"proposals by reference": func(n int) (string, []byte) {
			return "Commit", append(numbered(n, func(i int) []byte { return append([]byte{2, 2}, u16(i)...) }), 0)
		},
		"group secrets in a welcome": func(n int) (string, []byte) {
			return "Welcome", append(append([]byte{0, 1}, numbered(n, func(i int) []byte { return append([]byte{2}, append(u16(i), 0, 0)...) })...), 0)
		},
		"certificates": func(n int) (string, []byte) {
			return "Credential", append([]byte{0, 2}, numbered(n, func(int) []byte { return []byte{1, 7} })...)
		},
		"external senders": func(n int) (string, []byte) {
			return "ExternalSenders", numbered(n, func(int) []byte { return []byte{1, 7, 0, 1, 0} })
		},
		"PSKs in group secrets": func(n int) (string, []byte) {
			return "GroupSecrets", append([]byte{0, 0}, numbered(n, func(int) []byte { return []byte{1, 0, 0} })...)
		},
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			checkGrowth(t, 1<<12, func(t testing.TB, n int) (int, func()) {
				decoder, data := input(n)
				return len(data), func() {
					if again := must[[]byte](t)(decode(decoder, data)); !bytes.Equal(again, data) {
						t.Fatal("re-encodes differently")
					}
				}
			})
		})
	}
}
