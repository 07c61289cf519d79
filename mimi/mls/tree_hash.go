package mls

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// treeHash is the tree hash of the subtree of x. Hashes are kept in the nodes: only those on paths that changed
// since the last call are computed.
//
// RFC 9420, Section 7.8
func (t *ratchetTree) treeHash(x nodeIndex) ([]byte, error) {
	n := t.slots[x]
	if n != nil && n.hash != nil {
		return n.hash, nil
	}
	var left, right []byte
	if !x.isLeaf() {
		var err error
		if left, err = t.treeHash(x.left()); err != nil {
			return nil, err
		}
		if right, err = t.treeHash(x.right()); err != nil {
			return nil, err
		}
	}
	hash, err := t.hashNode(x, n, left, right)
	if err != nil {
		return nil, err
	}
	// a new node: the old one may be shared with a tree where the subtree differs
	hashed := &treeNode{hash: hash}
	if n != nil {
		hashed.leaf, hashed.parent = n.leaf, n.parent
	}
	t.slots[x] = hashed
	return hash, nil
}

// rootHash is the tree hash of the whole tree.
func (t *ratchetTree) rootHash() ([]byte, error) { return t.treeHash(t.root()) }

// hashNode hashes the TreeHashInput of one node.
//
// RFC 9420, Section 7.8
func (t *ratchetTree) hashNode(x nodeIndex, n *treeNode, left, right []byte) ([]byte, error) {
	var b cryptobyte.Builder
	if x.isLeaf() {
		b.AddUint8(nodeTypeLeaf)
		b.AddUint32(uint32(x.leaf()))
		addOptionalNode(&b, n, false)
	} else {
		b.AddUint8(nodeTypeParent)
		addOptionalNode(&b, n, false)
		syntax.AddVector(&b, left)
		syntax.AddVector(&b, right)
	}
	input, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return t.suite.hash(input), nil
}

// originalHash is the tree hash of the subtree of x as it was before the given leaves were added: they are
// blanked and taken out of the unmerged leaves of all parents.
//
// RFC 9420, Section 7.9: original_sibling_tree_hash
func (t *ratchetTree) originalHash(x nodeIndex, without []LeafIndex) ([]byte, error) {
	without = within(without, x)
	if len(without) == 0 {
		return t.treeHash(x)
	}
	if x.isLeaf() {
		return t.hashNode(x, nil, nil, nil)
	}
	left, err := t.originalHash(x.left(), without)
	if err != nil {
		return nil, err
	}
	right, err := t.originalHash(x.right(), without)
	if err != nil {
		return nil, err
	}
	n := t.slots[x]
	if p := t.parentAt(x); p != nil {
		n = &treeNode{parent: &parentNode{
			EncryptionKey: p.EncryptionKey,
			ParentHash:    p.ParentHash,
			UnmergedLeaves: slices.DeleteFunc(slices.Clone(p.UnmergedLeaves), func(l LeafIndex) bool {
				_, found := slices.BinarySearch(without, l)
				return found
			}),
		}}
	}
	return t.hashNode(x, n, left, right)
}

// within is the part of an ascending list of leaves that lies in the subtree of x.
func within(leaves []LeafIndex, x nodeIndex) []LeafIndex {
	first, end := x.leafRange()
	from, _ := slices.BinarySearch(leaves, first)
	to, _ := slices.BinarySearch(leaves, end)
	return leaves[from:to]
}
