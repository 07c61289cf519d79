package mls

import "math/bits"

// This file is the array form of a full binary tree.
//
// RFC 9420, Appendix C: leaves are the even node indices, the parents the odd ones; the level of a node is
// the number of trailing one bits of its index.

// nodeIndex addresses a node of the array. Callers check leaf indices against the tree's size before they make
// node indices of them, so that no arithmetic here can overflow.
type nodeIndex uint32

// maxLeaves bounds the size of a tree that we handle: far above any room, small enough that a hostile tree
// costs little.
const maxLeaves = 1 << 16

// nodeIndex of a leaf.
func (i LeafIndex) node() nodeIndex { return nodeIndex(i) << 1 }

// isLeaf tells leaves from parents.
func (x nodeIndex) isLeaf() bool { return x&1 == 0 }

// leaf is the inverse of LeafIndex.node.
func (x nodeIndex) leaf() LeafIndex { return LeafIndex(x >> 1) }

// level is 0 for leaves and one more than the children's level for parents.
func (x nodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

// treeWidth is the number of nodes of a full tree with n leaves (n a power of two).
func treeWidth(n uint32) uint32 { return 2*n - 1 }

// treeRoot is the root of a full tree with n leaves (n a power of two).
func treeRoot(n uint32) nodeIndex { return nodeIndex(n - 1) }

// left is the left child of a parent node.
func (x nodeIndex) left() nodeIndex { return x ^ (1 << (x.level() - 1)) }

// right is the right child of a parent node.
func (x nodeIndex) right() nodeIndex { return x ^ (3 << (x.level() - 1)) }

// parent is the node above x; x must not be the root of its tree.
func (x nodeIndex) parent() nodeIndex {
	k := x.level()
	b := (x >> (k + 1)) & 1
	return (x | (1 << k)) ^ (b << (k + 1))
}

// sibling is the other child of the parent of x; x must not be the root of its tree.
func (x nodeIndex) sibling() nodeIndex {
	p := x.parent()
	if x < p {
		return p.right()
	}
	return p.left()
}

// leafRange is the half-open range of leaves in the subtree of x.
func (x nodeIndex) leafRange() (first, end LeafIndex) {
	half := nodeIndex(1)<<x.level() - 1
	return (x - half).leaf(), (x + half).leaf() + 1
}

// covers reports whether the leaf is in the subtree of x.
func (x nodeIndex) covers(l LeafIndex) bool {
	first, end := x.leafRange()
	return first <= l && l < end
}

// directPath lists the ancestors of x from its parent to the root of a tree with n leaves.
func directPath(x nodeIndex, n uint32) []nodeIndex {
	root := treeRoot(n)
	var path []nodeIndex
	for x != root {
		x = x.parent()
		path = append(path, x)
	}
	return path
}

// commonAncestor is the lowest node whose subtree holds both leaves.
func commonAncestor(a, b LeafIndex) nodeIndex {
	if a == b {
		return a.node()
	}
	// the highest bit in which the node indices differ is the bit that the ancestor has as zero
	k := bits.Len32(uint32(a.node() ^ b.node()))
	return nodeIndex(uint32(a.node())>>k<<k | (1<<(k-1) - 1))
}

// fullSize is the least power of two that is at least n (n > 0).
func fullSize(n uint32) uint32 {
	return 1 << bits.Len32(n-1)
}
