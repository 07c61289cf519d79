package mls

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// RFC 9420, Section 7.8: NodeType.
const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

// parentNode is the content of a non-blank parent.
//
// RFC 9420, Section 7.1
type parentNode struct {
	EncryptionKey  HPKEPublicKey
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // strictly increasing
}

func (p *parentNode) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, p.EncryptionKey)
	syntax.AddVector(b, p.ParentHash)
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, l := range p.UnmergedLeaves {
			b.AddUint32(uint32(l))
		}
	})
	return nil
}

func (p *parentNode) Unmarshal(s *cryptobyte.String) error {
	var key, leaves []byte
	if !syntax.ReadVector(s, &key) || !syntax.ReadVector(s, &p.ParentHash) || !syntax.ReadVector(s, &leaves) {
		return errors.New("mls: invalid parent node")
	}
	if len(key) == 0 || len(leaves)%4 != 0 {
		return errors.New("mls: invalid parent node")
	}
	p.EncryptionKey = key
	p.UnmergedLeaves = nil
	for in := cryptobyte.String(leaves); !in.Empty(); {
		var l uint32
		in.ReadUint32(&l)
		// RFC 9420, Section 7.1: the list is sorted in increasing order
		if k := len(p.UnmergedLeaves); k > 0 && LeafIndex(l) <= p.UnmergedLeaves[k-1] {
			return errors.New("mls: unmerged leaves out of order")
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, LeafIndex(l))
	}
	return nil
}

// treeNode is what one position of the tree holds. It is immutable, so that copies of a tree share it.
type treeNode struct {
	leaf   *LeafNode
	parent *parentNode
	hash   []byte // tree hash of the subtree below, nil if not known
}

// ratchetTree is the public ratchet tree. Copies share their nodes; a change replaces the nodes from the
// changed position to the root and nothing else.
//
// Invariant: where a node has no hash, none of its ancestors has one.
type ratchetTree struct {
	suite *suite
	slots []*treeNode // full width; nil is a blank node without hash
	taken int         // no leaf below this index is blank
}

func newRatchetTree(s *suite, leaf *LeafNode) *ratchetTree {
	return &ratchetTree{suite: s, slots: []*treeNode{{leaf: leaf}}}
}

func (t *ratchetTree) clone() *ratchetTree {
	return &ratchetTree{suite: t.suite, slots: slices.Clone(t.slots), taken: t.taken}
}

func (t *ratchetTree) leafCount() uint32 { return (uint32(len(t.slots)) + 1) / 2 }

func (t *ratchetTree) root() nodeIndex { return treeRoot(t.leafCount()) }

// leaf is nil for a blank leaf and for any index outside of the tree.
func (t *ratchetTree) leaf(i LeafIndex) *LeafNode {
	// the index is checked before it is doubled: 0x80000000 is not leaf 0
	if uint32(i) >= t.leafCount() {
		return nil
	}
	if n := t.slots[i.node()]; n != nil {
		return n.leaf
	}
	return nil
}

// parentAt is nil for a blank parent.
func (t *ratchetTree) parentAt(x nodeIndex) *parentNode {
	if n := t.slots[x]; n != nil {
		return n.parent
	}
	return nil
}

func (t *ratchetTree) blank(x nodeIndex) bool {
	n := t.slots[x]
	return n == nil || (n.leaf == nil && n.parent == nil)
}

// publicKey is the HPKE key of a node, nil if it is blank.
func (t *ratchetTree) publicKey(x nodeIndex) HPKEPublicKey {
	n := t.slots[x]
	switch {
	case n == nil:
		return nil
	case n.leaf != nil:
		return n.leaf.EncryptionKey
	case n.parent != nil:
		return n.parent.EncryptionKey
	}
	return nil
}

// set replaces one node and forgets the hashes from there to the root.
func (t *ratchetTree) set(x nodeIndex, n *treeNode) {
	t.slots[x] = n
	for root := t.root(); x != root; {
		x = x.parent()
		old := t.slots[x]
		if old == nil || old.hash == nil {
			return
		}
		t.slots[x] = &treeNode{leaf: old.leaf, parent: old.parent}
	}
}

func (t *ratchetTree) setLeaf(i LeafIndex, leaf *LeafNode) {
	if leaf == nil {
		t.set(i.node(), nil)
		t.taken = min(t.taken, int(i))
		return
	}
	t.set(i.node(), &treeNode{leaf: leaf})
}

func (t *ratchetTree) setParent(x nodeIndex, p *parentNode) {
	if p == nil {
		t.set(x, nil)
		return
	}
	t.set(x, &treeNode{parent: p})
}

// members calls yield for each non-blank leaf, left to right.
func (t *ratchetTree) members(yield func(LeafIndex, *LeafNode) bool) {
	for x := 0; x < len(t.slots); x += 2 {
		if n := t.slots[x]; n != nil && n.leaf != nil && !yield(LeafIndex(x/2), n.leaf) {
			return
		}
	}
}

// memberList is the list form of members.
func (t *ratchetTree) memberList() []Member {
	var list []Member
	for i, l := range t.members {
		list = append(list, Member{Index: i, Leaf: l})
	}
	return list
}

// leaves lists all leaves by index, nil where blank.
func (t *ratchetTree) leaves() []*LeafNode {
	list := make([]*LeafNode, t.leafCount())
	for i, l := range t.members {
		list[i] = l
	}
	return list
}

// freeLeaf is the leftmost blank leaf; the tree grows if there is none.
//
// RFC 9420, Section 7.7
func (t *ratchetTree) freeLeaf() (LeafIndex, error) {
	n := t.leafCount()
	for ; t.taken < int(n); t.taken++ {
		if i := LeafIndex(t.taken); t.leaf(i) == nil {
			return i, nil
		}
	}
	if n >= maxLeaves {
		return 0, errors.New("mls: ratchet tree is full")
	}
	t.slots = append(t.slots, make([]*treeNode, treeWidth(2*n)-treeWidth(n))...)
	return LeafIndex(n), nil
}

// addLeaf puts a new member at the leftmost blank leaf.
//
// RFC 9420, Section 12.1.1
func (t *ratchetTree) addLeaf(leaf *LeafNode) (LeafIndex, error) {
	added, err := t.addLeaves([]*LeafNode{leaf})
	if err != nil {
		return 0, err
	}
	return added[0], nil
}

// addLeaves is addLeaf for several, which changes each parent once.
func (t *ratchetTree) addLeaves(leaves []*LeafNode) ([]LeafIndex, error) {
	added := make([]LeafIndex, 0, len(leaves))
	for _, leaf := range leaves {
		i, err := t.freeLeaf()
		if err != nil {
			return nil, err
		}
		t.setLeaf(i, leaf)
		added = append(added, i)
	}
	t.addUnmerged(t.root(), added)
	return added, nil
}

// addUnmerged makes new leaves, in ascending order, unmerged at the parents from x down.
func (t *ratchetTree) addUnmerged(x nodeIndex, added []LeafIndex) {
	added = within(added, x)
	if len(added) == 0 || x.isLeaf() {
		return
	}
	t.addUnmerged(x.left(), added)
	t.addUnmerged(x.right(), added)
	if p := t.parentAt(x); p != nil {
		unmerged := slices.Concat(p.UnmergedLeaves, added)
		slices.Sort(unmerged)
		t.setParent(x, &parentNode{EncryptionKey: p.EncryptionKey, ParentHash: p.ParentHash, UnmergedLeaves: unmerged})
	}
}

// updateLeaf replaces a member's leaf and blanks its direct path.
//
// RFC 9420, Section 12.1.2
func (t *ratchetTree) updateLeaf(i LeafIndex, leaf *LeafNode) {
	t.blankPath(i)
	t.setLeaf(i, leaf)
}

// removeLeaf blanks a leaf and its direct path and truncates the tree.
//
// RFC 9420, Section 12.1.3
func (t *ratchetTree) removeLeaf(i LeafIndex) {
	t.blankLeaf(i)
	t.truncate()
}

// blankLeaf is removeLeaf without truncation, which several removals have in common.
func (t *ratchetTree) blankLeaf(i LeafIndex) {
	t.blankPath(i)
	t.setLeaf(i, nil)
}

func (t *ratchetTree) blankPath(i LeafIndex) {
	for _, x := range directPath(i.node(), t.leafCount()) {
		if !t.blank(x) {
			t.setParent(x, nil)
		}
	}
}

// truncate halves the tree while its right half has no member.
func (t *ratchetTree) truncate() {
	n := t.leafCount()
	last := LeafIndex(0)
	for i := n; i > 0; i-- {
		if t.leaf(LeafIndex(i-1)) != nil {
			last = LeafIndex(i - 1)
			break
		}
	}
	if size := fullSize(uint32(last) + 1); size < n {
		t.slots = slices.Clip(t.slots[:treeWidth(size)])
	}
}

// resolution is the list of non-blank nodes that cover the subtree of x.
//
// RFC 9420, Section 4.1.1
func (t *ratchetTree) resolution(x nodeIndex) []nodeIndex {
	return t.appendResolution(nil, x)
}

func (t *ratchetTree) appendResolution(list []nodeIndex, x nodeIndex) []nodeIndex {
	if !t.blank(x) {
		list = append(list, x)
		if p := t.parentAt(x); p != nil {
			for _, l := range p.UnmergedLeaves {
				list = append(list, l.node())
			}
		}
		return list
	}
	if x.isLeaf() {
		return list
	}
	return t.appendResolution(t.appendResolution(list, x.left()), x.right())
}

// empty reports whether the resolution of x is empty.
func (t *ratchetTree) empty(x nodeIndex) bool {
	if !t.blank(x) {
		return false
	}
	return x.isLeaf() || (t.empty(x.left()) && t.empty(x.right()))
}

// pathStep is a node of a filtered direct path with its child on the copath.
type pathStep struct {
	node, copath nodeIndex
}

// filteredDirectPath leaves out the nodes whose copath child has an empty resolution.
//
// RFC 9420, Section 4.1.2
func (t *ratchetTree) filteredDirectPath(i LeafIndex) []pathStep {
	var path []pathStep
	x := i.node()
	for root := t.root(); x != root; {
		sibling := x.sibling()
		x = x.parent()
		if !t.empty(sibling) {
			path = append(path, pathStep{node: x, copath: sibling})
		}
	}
	return path
}

// unmarshalRatchetTree decodes the ratchet_tree extension. It checks the form only: validate checks the rest.
//
// RFC 9420, Section 12.4.3.3
func unmarshalRatchetTree(s *suite, data RatchetTree) (*ratchetTree, error) {
	in := cryptobyte.String(data)
	var body []byte
	if !syntax.ReadVector(&in, &body) || !in.Empty() || len(body) == 0 {
		return nil, errors.New("mls: invalid ratchet tree")
	}
	t := &ratchetTree{suite: s}
	for in := cryptobyte.String(body); !in.Empty(); {
		if len(t.slots) >= int(treeWidth(maxLeaves)) {
			return nil, errors.New("mls: ratchet tree is too large")
		}
		n, err := readTreeNode(&in, nodeIndex(len(t.slots)))
		if err != nil {
			return nil, err
		}
		t.slots = append(t.slots, n)
	}
	last := t.slots[len(t.slots)-1]
	// RFC 9420, Section 12.4.3.3: the receiver checks that the last node is not blank
	if last == nil {
		return nil, errors.New("mls: ratchet tree ends with a blank node")
	}
	width := int(treeWidth(fullSize((uint32(len(t.slots)) + 2) / 2)))
	t.slots = append(t.slots, make([]*treeNode, width-len(t.slots))...)
	return t, nil
}

// readTreeNode reads one optional<Node> for position x.
func readTreeNode(in *cryptobyte.String, x nodeIndex) (*treeNode, error) {
	var present, kind uint8
	if !in.ReadUint8(&present) || present > 1 {
		return nil, errors.New("mls: invalid ratchet tree node")
	}
	if present == 0 {
		return nil, nil
	}
	if !in.ReadUint8(&kind) {
		return nil, errors.New("mls: invalid ratchet tree node")
	}
	switch {
	case kind == nodeTypeLeaf && x.isLeaf():
		n := &treeNode{leaf: new(LeafNode)}
		return n, n.leaf.Unmarshal(in)
	case kind == nodeTypeParent && !x.isLeaf():
		n := &treeNode{parent: new(parentNode)}
		if err := n.parent.Unmarshal(in); err != nil {
			return nil, err
		}
		for _, l := range n.parent.UnmergedLeaves {
			if l >= maxLeaves || !x.covers(l) {
				return nil, errors.New("mls: unmerged leaf outside of its subtree")
			}
		}
		return n, nil
	}
	return nil, errors.New("mls: ratchet tree node at the wrong place")
}

// marshal is the ratchet_tree extension: in array order, without trailing blanks.
func (t *ratchetTree) marshal() (RatchetTree, error) {
	end := len(t.slots)
	for end > 0 && t.blank(nodeIndex(end-1)) {
		end--
	}
	var b cryptobyte.Builder
	syntax.AddList(&b, func(b *cryptobyte.Builder) {
		for x := range nodeIndex(end) {
			addOptionalNode(b, t.slots[x], true)
		}
	})
	return b.Bytes()
}

// addOptionalNode writes an optional<Node>, or without the type an optional<LeafNode> or optional<ParentNode>.
func addOptionalNode(b *cryptobyte.Builder, n *treeNode, typed bool) {
	if n == nil || (n.leaf == nil && n.parent == nil) {
		b.AddUint8(0)
		return
	}
	b.AddUint8(1)
	kind, value := uint8(nodeTypeParent), cryptobyte.MarshalingValue(n.parent)
	if n.leaf != nil {
		kind, value = nodeTypeLeaf, n.leaf
	}
	if typed {
		b.AddUint8(kind)
	}
	b.AddValue(value)
}
