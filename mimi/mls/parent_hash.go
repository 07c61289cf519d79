package mls

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// parentHash is the parent hash of the non-blank parent p with copath child s.
//
// RFC 9420, Section 7.9
func (t *ratchetTree) parentHash(p, s nodeIndex) ([]byte, error) {
	n := t.parentAt(p)
	if n == nil {
		return nil, errors.New("mls: parent hash of a blank node")
	}
	original, err := t.originalHash(s, n.UnmergedLeaves)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	syntax.AddVector(&b, n.EncryptionKey)
	syntax.AddVector(&b, n.ParentHash)
	syntax.AddVector(&b, original)
	input, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return t.suite.hash(input), nil
}

// setPathHashes fills in the parent hashes along a filtered direct path, from the root down, and returns the one
// for the leaf.
//
// RFC 9420, Section 7.9.1
func (t *ratchetTree) setPathHashes(path []pathStep) ([]byte, error) {
	// RFC 9420, Section 7.5: the root always has a zero-length hash for its parent hash
	hash := []byte{}
	for _, step := range slices.Backward(path) {
		n := t.parentAt(step.node)
		t.setParent(step.node, &parentNode{EncryptionKey: n.EncryptionKey, ParentHash: hash, UnmergedLeaves: n.UnmergedLeaves})
		var err error
		if hash, err = t.parentHash(step.node, step.copath); err != nil {
			return nil, err
		}
	}
	return hash, nil
}

// verifyParentHashes checks that each non-blank parent is chained to exactly one descendant.
//
// RFC 9420, Section 7.9.2
func (t *ratchetTree) verifyParentHashes() error {
	for x := nodeIndex(1); int(x) < len(t.slots); x += 2 {
		if t.parentAt(x) == nil {
			continue
		}
		left, err := t.chained(x, x.left(), x.right())
		if err != nil {
			return err
		}
		right, err := t.chained(x, x.right(), x.left())
		if err != nil {
			return err
		}
		if left == right {
			return errors.New("mls: invalid parent hash")
		}
	}
	return nil
}

// chained reports whether a node below c, the child of p opposite of s, has a parent hash that is valid with
// respect to p. The node need not be c: c and others in between may have been blank when the path was made.
func (t *ratchetTree) chained(p, c, s nodeIndex) (bool, error) {
	unmerged := within(t.parentAt(p).UnmergedLeaves, c)
	resolution := t.resolution(c)
	// RFC 9420, Section 7.9.2: D is in the resolution of C, and the rest of the resolution is the intersection
	// of P's unmerged leaves with the subtree under C. So D is the one entry that is not unmerged.
	if len(resolution) != len(unmerged)+1 {
		return false, nil
	}
	var d nodeIndex
	rest := 0
	for _, x := range resolution {
		if x.isLeaf() {
			if _, found := slices.BinarySearch(unmerged, x.leaf()); found {
				rest++
				continue
			}
		}
		d = x
	}
	if rest != len(unmerged) {
		return false, nil
	}
	var have []byte
	switch n := t.slots[d]; {
	case n.parent != nil:
		have = n.parent.ParentHash
	// RFC 9420, Section 7.2: only a leaf from a commit has a parent hash
	case n.leaf.Source == LeafNodeSourceCommit:
		have = n.leaf.ParentHash
	default:
		return false, nil
	}
	want, err := t.parentHash(p, s)
	if err != nil {
		return false, err
	}
	return bytes.Equal(have, want), nil
}
