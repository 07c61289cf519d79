package mls

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
)

// treeKeys are the private keys that a member has in the tree: of its leaf and of those nodes above it whose
// path secret it made or received. It is immutable; changes make a new one.
type treeKeys map[nodeIndex]*HPKEPrivateKey

// without is a copy that lacks the keys of the positions that are blank in t or not in it at all.
func (k treeKeys) without(t *ratchetTree) treeKeys {
	kept := maps.Clone(k)
	maps.DeleteFunc(kept, func(x nodeIndex, _ *HPKEPrivateKey) bool {
		return int(x) >= len(t.slots) || t.blank(x)
	})
	return kept
}

// newPath is what the sender of an UpdatePath made and keeps.
type newPath struct {
	steps        []pathStep
	secrets      [][]byte // path_secret per step
	keys         []*HPKEPrivateKey
	leafKey      *HPKEPrivateKey
	commitSecret []byte
}

// generatePath makes fresh secrets for the filtered direct path of a leaf.
//
// RFC 9420, Section 7.4
func (t *ratchetTree) generatePath(rand io.Reader, i LeafIndex) (*newPath, error) {
	s := t.suite
	leafKey, err := s.generateKeyPair(rand)
	if err != nil {
		return nil, err
	}
	secret, err := s.random(rand)
	if err != nil {
		return nil, err
	}
	p := &newPath{steps: t.filteredDirectPath(i), leafKey: leafKey}
	for range p.steps {
		p.secrets = append(p.secrets, secret)
		key, err := nodeKey(s, secret)
		if err != nil {
			return nil, err
		}
		p.keys = append(p.keys, key)
		secret = s.deriveSecret(secret, "path")
	}
	p.commitSecret = secret
	return p, nil
}

// publicKeys are the new public keys of the path's parent nodes.
func (p *newPath) publicKeys() []HPKEPublicKey {
	keys := make([]HPKEPublicKey, len(p.keys))
	for k, key := range p.keys {
		keys[k] = key.Public()
	}
	return keys
}

// apply is what the sender's own keys are after the path; t is the tree with the path merged.
func (p *newPath) apply(old treeKeys, t *ratchetTree, i LeafIndex) treeKeys {
	keys := old.without(t)
	for k, step := range p.steps {
		keys[step.node] = p.keys[k]
	}
	keys[i.node()] = p.leafKey
	return keys
}

// nodeKey derives the key pair of a node from its path secret.
//
// RFC 9420, Section 7.4
func nodeKey(s *suite, pathSecret []byte) (*HPKEPrivateKey, error) {
	return s.deriveKeyPair(s.deriveSecret(pathSecret, "node"))
}

// mergeKeys blanks the direct path of a leaf, sets the new public keys on the filtered direct path and returns
// the parent hash that the new leaf must carry. The caller checks it and sets the leaf.
//
// RFC 9420, Section 7.5
func (t *ratchetTree) mergeKeys(i LeafIndex, keys []HPKEPublicKey) ([]byte, error) {
	steps := t.filteredDirectPath(i)
	if len(steps) != len(keys) {
		return nil, errors.New("mls: update path has the wrong length")
	}
	t.blankPath(i)
	for k, step := range steps {
		t.setParent(step.node, &parentNode{EncryptionKey: keys[k]})
	}
	return t.setPathHashes(steps)
}

// recipients is the resolution of a copath node without the leaves added in the same commit, which are in ascending
// order as each took the leftmost blank leaf.
//
// RFC 9420, Section 7.6
func (t *ratchetTree) recipients(copath nodeIndex, added []LeafIndex) []nodeIndex {
	return slices.DeleteFunc(t.resolution(copath), func(x nodeIndex) bool {
		_, found := slices.BinarySearch(added, x.leaf())
		return x.isLeaf() && found
	})
}

// encrypt makes the UpdatePathNodes; t is the tree with the path merged, context the provisional GroupContext.
//
// RFC 9420, Section 7.6
func (p *newPath) encrypt(cfg *Config, t *ratchetTree, added []LeafIndex, context []byte) ([]UpdatePathNode, error) {
	nodes := make([]UpdatePathNode, len(p.steps))
	var to []recipient
	for k, step := range p.steps {
		first := len(to)
		for _, x := range t.recipients(step.copath, added) {
			to = append(to, recipient{t.publicKey(x), p.secrets[k]})
		}
		nodes[k] = UpdatePathNode{EncryptionKey: p.keys[k].Public(), EncryptedPathSecret: make([]HPKECiphertext, len(to)-first)}
	}
	list, err := t.suite.encryptToAll(cfg, to, "UpdatePathNode", context)
	if err != nil {
		return nil, err
	}
	for k := range nodes {
		list = list[copy(nodes[k].EncryptedPathSecret, list):]
	}
	return nodes, nil
}

// secretFor is the path secret of the lowest node that the path shares with another leaf; nil if there is none.
//
// RFC 9420, Section 12.4.1
func (p *newPath) secretFor(i, other LeafIndex) []byte {
	at := commonAncestor(i, other)
	for k, step := range p.steps {
		if step.node == at {
			return p.secrets[k]
		}
	}
	return nil
}

// checkCiphertexts verifies that the path has a ciphertext for each recipient and no other; t is the tree with
// the path merged. It needs no secrets.
//
// RFC 9420, Section 7.6
func (t *ratchetTree) checkCiphertexts(sender LeafIndex, nodes []UpdatePathNode, added []LeafIndex) error {
	for k, step := range t.filteredDirectPath(sender) {
		if len(nodes[k].EncryptedPathSecret) != len(t.recipients(step.copath, added)) {
			return errors.New("mls: wrong number of encrypted path secrets")
		}
	}
	return nil
}

// decryptPath finds and decrypts the path secret meant for the leaf own; t is the tree with the path merged. It
// returns the member's keys after the commit, the path secret and the commit secret.
//
// RFC 9420, Section 7.5
func (t *ratchetTree) decryptPath(keys treeKeys, own, sender LeafIndex, nodes []UpdatePathNode, added []LeafIndex, context []byte) (treeKeys, []byte, []byte, error) {
	steps := t.filteredDirectPath(sender)
	at := slices.IndexFunc(steps, func(s pathStep) bool { return s.copath.covers(own) })
	if at < 0 || len(nodes) != len(steps) {
		return nil, nil, nil, errors.New("mls: update path does not reach us")
	}
	secret, err := t.decryptStep(keys, steps[at], nodes[at], added, context)
	if err != nil {
		return nil, nil, nil, err
	}
	next, commitSecret, err := t.walkPath(keys, steps[at:], secret)
	if err != nil {
		return nil, nil, nil, err
	}
	return next, secret, commitSecret, nil
}

// decryptStep decrypts one path secret with whichever of our keys is in the resolution.
func (t *ratchetTree) decryptStep(keys treeKeys, step pathStep, node UpdatePathNode, added []LeafIndex, context []byte) ([]byte, error) {
	recipients := t.recipients(step.copath, added)
	if len(recipients) != len(node.EncryptedPathSecret) {
		return nil, errors.New("mls: wrong number of encrypted path secrets")
	}
	for k, x := range recipients {
		if key := keys[x]; key != nil {
			return key.DecryptWithLabel("UpdatePathNode", context, node.EncryptedPathSecret[k])
		}
	}
	return nil, errors.New("mls: update path does not reach us")
}

// walkPath derives the keys from one path secret up to the root, compares them with the tree and returns the
// keys that the member has then, and the commit secret.
func (t *ratchetTree) walkPath(keys treeKeys, steps []pathStep, secret []byte) (treeKeys, []byte, error) {
	next := keys.without(t)
	for _, step := range steps {
		key, err := nodeKey(t.suite, secret)
		if err != nil {
			return nil, nil, err
		}
		// RFC 9420, Section 7.5: the derived public keys are the same as those sent
		if !bytes.Equal(key.Public(), t.publicKey(step.node)) {
			return nil, nil, errors.New("mls: path secret does not match the tree")
		}
		next[step.node] = key
		secret = t.suite.deriveSecret(secret, "path")
	}
	return next, secret, nil
}

// joinerKeys are a new member's keys: of its leaf and, if the committer sent a path, of the nodes from the common
// ancestor up.
//
// RFC 9420, Section 12.4.3.1
func (t *ratchetTree) joinerKeys(own, signer LeafIndex, leafKey *HPKEPrivateKey, pathSecret []byte) (treeKeys, error) {
	keys := treeKeys{own.node(): leafKey}
	if pathSecret != nil {
		steps := t.filteredDirectPath(signer)
		at := slices.IndexFunc(steps, func(s pathStep) bool { return s.node == commonAncestor(own, signer) })
		if at < 0 {
			return nil, errors.New("mls: path secret does not match the tree")
		}
		var err error
		if keys, _, err = t.walkPath(keys, steps[at:], pathSecret); err != nil {
			return nil, err
		}
	}
	// a node without our key, at which we are not an unmerged leaf either, would cut us off from later commits
	for _, x := range directPath(own.node(), t.leafCount()) {
		p := t.parentAt(x)
		if p == nil || keys[x] != nil {
			continue
		}
		if _, unmerged := slices.BinarySearch(p.UnmergedLeaves, own); !unmerged {
			return nil, errors.New("mls: welcome lacks the path secret")
		}
	}
	return keys, nil
}
