package mls

import (
	"errors"
	"maps"
	"math"
	"math/bits"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Bounds on what the sender of a message can make a receiver do.
const (
	// maxSkip is how many generations a message may be ahead of the last one read.
	maxSkip = 1000
	// maxStored is how many keys of skipped generations are kept per ratchet; the oldest goes first.
	maxStored = 20
)

// ErrReplayed refuses a message whose key has been used or given up: it was read before, or came too late.
var ErrReplayed = errors.New("mls: message key already used")

var (
	errGeneration = errors.New("mls: generation too far ahead")
	errNoLeaf     = errors.New("mls: sender is not a leaf of the tree")
	errSecretTree = errors.New("mls: malformed secret tree")
)

// ratchetKind chooses one of a leaf's two ratchets.
type ratchetKind int

const (
	handshakeRatchet ratchetKind = iota
	applicationRatchet
)

// ratchetOf is the ratchet that encrypts a content type.
//
// RFC 9420, Section 6.3.1
func ratchetOf(t ContentType) ratchetKind {
	if t == ContentTypeApplication {
		return applicationRatchet
	}
	return handshakeRatchet
}

// secretTree holds the unconsumed secrets of an epoch's messages. Only the frontier is there: a node's secret until
// it has been split into its children's, then theirs; for leaves that have sent, their ratchets.
//
// RFC 9420, Section 9
type secretTree struct {
	suite *suite
	width uint32            // leaves, a power of two
	nodes map[uint32][]byte // by node index of RFC 9420, Appendix C
	leafs map[uint32]*leafRatchets
	// stored says what is known of the pieces of the parts, see RatchetChanges; nil: nobody has asked for pieces
	stored map[uint32]pieceState
}

// leafRatchets are the two ratchets of one leaf.
type leafRatchets [2]ratchet

// ratchet is a sender ratchet before a generation, and the keys of earlier generations that were skipped.
type ratchet struct {
	secret     []byte
	generation uint32
	skipped    []messageKey // ascending
}

// messageKey encrypts one message.
type messageKey struct {
	generation uint32
	key, nonce []byte
}

// newSecretTree takes the encryption secret over.
func newSecretTree(s *suite, encryptionSecret []byte, leaves uint32) *secretTree {
	width := uint32(1)
	if leaves > 1 {
		width = 1 << min(bits.Len32(leaves-1), 31)
	}
	return &secretTree{
		suite: s,
		width: width,
		nodes: map[uint32][]byte{width - 1: encryptionSecret},
		leafs: map[uint32]*leafRatchets{},
	}
}

// keyUse is a message key taken from the tree with the change its use makes. The tree stays as it is until apply.
type keyUse struct {
	messageKey
	tree     *secretTree
	leaf     uint32
	kind     ratchetKind
	split    *split
	ratchets *leafRatchets
	next     ratchet
}

// split is the way from a stored node secret down to a leaf.
type split struct {
	top  uint32            // consumed
	kept map[uint32][]byte // the other children
}

// find derives the key of one generation of a leaf's ratchet. Nothing is consumed before apply.
func (t *secretTree) find(leaf LeafIndex, kind ratchetKind, generation uint32) (*keyUse, error) {
	use, err := t.use(leaf, kind)
	if err != nil {
		return nil, err
	}
	r := use.ratchets[kind]
	if generation < r.generation {
		i, ok := slices.BinarySearchFunc(r.skipped, generation, messageKey.compare)
		if !ok {
			return nil, ErrReplayed
		}
		use.messageKey = r.skipped[i]
		r.skipped = slices.Concat(r.skipped[:i], r.skipped[i+1:])
		use.next = r
		return use, nil
	}
	if generation-r.generation > maxSkip || generation == math.MaxUint32 {
		return nil, errGeneration
	}
	use.messageKey, use.next = t.suite.advance(r, generation)
	return use, nil
}

// advance takes the key of a generation not before r's and returns the ratchet after it.
//
// RFC 9420, Section 9.1
func (s *suite) advance(r ratchet, generation uint32) (messageKey, ratchet) {
	skipped := slices.Clone(r.skipped)
	secret := r.secret
	for g := r.generation; ; g++ {
		if generation-g <= maxStored {
			k := messageKey{
				generation: g,
				key:        s.deriveTreeSecret(secret, "key", g, s.keySize),
				nonce:      s.deriveTreeSecret(secret, "nonce", g, s.nonceSize),
			}
			if g == generation {
				secret = s.deriveTreeSecret(secret, "secret", g, s.hashSize)
				skipped = skipped[max(0, len(skipped)-maxStored):]
				return k, ratchet{secret: secret, generation: g + 1, skipped: skipped}
			}
			skipped = append(skipped, k)
		}
		secret = s.deriveTreeSecret(secret, "secret", g, s.hashSize)
	}
}

// next consumes the next key of a ratchet, to send with it.
func (t *secretTree) next(leaf LeafIndex, kind ratchetKind) (messageKey, error) {
	use, err := t.use(leaf, kind)
	if err != nil {
		return messageKey{}, err
	}
	r := use.ratchets[kind]
	if r.generation == math.MaxUint32 {
		return messageKey{}, errors.New("mls: ratchet exhausted")
	}
	use.messageKey, use.next = t.suite.advance(r, r.generation)
	use.apply()
	return use.messageKey, nil
}

// use finds or derives the ratchets of a leaf.
func (t *secretTree) use(leaf LeafIndex, kind ratchetKind) (*keyUse, error) {
	if uint32(leaf) >= t.width {
		return nil, errNoLeaf
	}
	u := &keyUse{tree: t, leaf: uint32(leaf), kind: kind, ratchets: t.leafs[uint32(leaf)]}
	if u.ratchets != nil {
		return u, nil
	}
	secret, s, err := t.descend(uint32(leaf))
	if err != nil {
		return nil, err
	}
	u.split = s
	u.ratchets = &leafRatchets{
		handshakeRatchet:   {secret: t.suite.deriveSecret(secret, "handshake")},
		applicationRatchet: {secret: t.suite.deriveSecret(secret, "application")},
	}
	return u, nil
}

// descend derives the secret of a leaf from the lowest stored node above it.
//
// RFC 9420, Section 9
func (t *secretTree) descend(leaf uint32) ([]byte, *split, error) {
	target := 2 * uint64(leaf)
	node, half := uint64(t.width)-1, uint64(t.width)/2
	var secret []byte
	var s *split
	for {
		if stored, ok := t.nodes[uint32(node)]; ok {
			secret, s = stored, &split{top: uint32(node), kept: map[uint32][]byte{}}
		}
		if node == target {
			break
		}
		left, right := node-half, node+half
		if secret != nil {
			l := t.suite.expandWithLabel(secret, "tree", []byte("left"), t.suite.hashSize)
			r := t.suite.expandWithLabel(secret, "tree", []byte("right"), t.suite.hashSize)
			if target < node {
				secret, s.kept[uint32(right)] = l, r
			} else {
				secret, s.kept[uint32(left)] = r, l
			}
		}
		if target < node {
			node = left
		} else {
			node = right
		}
		half /= 2
	}
	if secret == nil {
		return nil, nil, errNoLeaf
	}
	return secret, s, nil
}

// apply consumes the key: it deletes every secret from which the key can be derived.
//
// RFC 9420, Section 9.2
func (u *keyUse) apply() {
	t := u.tree
	if u.split != nil {
		t.split(u.split)
		t.leafs[u.leaf] = u.ratchets
		t.changed(treePart(u.split.top))
		for node := range u.split.kept {
			t.changed(treePart(node))
		}
	}
	t.changed(u.leaf / pieceLeaves)
	old := &u.ratchets[u.kind]
	if u.next.generation != old.generation {
		clear(old.secret)
	}
	*old = u.next
}

// spend is apply, and clears the key itself. Nothing else has been taken from the tree since.
func (u *keyUse) spend() {
	u.apply()
	clear(u.key)
}

// consume is spend whatever else was taken from the tree since.
func (u *keyUse) consume() {
	fresh, err := u.tree.find(LeafIndex(u.leaf), u.kind, u.generation)
	if err == nil {
		fresh.apply()
		clear(fresh.key)
	}
	clear(u.key)
}

// split replaces a consumed node by what is left of its subtree.
func (t *secretTree) split(s *split) {
	clear(t.nodes[s.top])
	delete(t.nodes, s.top)
	maps.Copy(t.nodes, s.kept)
}

func (k messageKey) compare(generation uint32) int {
	switch {
	case k.generation < generation:
		return -1
	case k.generation > generation:
		return 1
	default:
		return 0
	}
}

// Marshal writes the frontier and the ratchets, in order of their index. A consumed secret is not there to be written.
func (t *secretTree) Marshal(b *cryptobyte.Builder) error {
	b.AddUint32(t.width)
	syntax.AddVarint(b, len(t.nodes)*(4+t.suite.hashSize))
	for _, i := range slices.Sorted(maps.Keys(t.nodes)) {
		b.AddUint32(i)
		b.AddBytes(t.nodes[i])
	}
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, i := range slices.Sorted(maps.Keys(t.leafs)) {
			b.AddUint32(i)
			for kind := range t.leafs[i] {
				t.leafs[i][kind].marshal(b)
			}
		}
	})
	return nil
}

func (r *ratchet) marshal(b *cryptobyte.Builder) {
	b.AddUint32(r.generation)
	b.AddBytes(r.secret)
	b.AddUint8(uint8(len(r.skipped)))
	for i := range r.skipped {
		b.AddUint32(r.skipped[i].generation)
		b.AddBytes(r.skipped[i].key)
		b.AddBytes(r.skipped[i].nonce)
	}
}

// unmarshalSecretTree reads what Marshal wrote. Nothing is shared with the input.
func (s *suite) unmarshalSecretTree(in *cryptobyte.String) (*secretTree, error) {
	var nodes, leafs cryptobyte.String
	t := &secretTree{suite: s, nodes: map[uint32][]byte{}, leafs: map[uint32]*leafRatchets{}}
	if !in.ReadUint32(&t.width) || bits.OnesCount32(t.width) != 1 || !syntax.ReadList(in, &nodes) ||
		!syntax.ReadList(in, &leafs) {
		return nil, errSecretTree
	}
	for last := int64(-1); !nodes.Empty(); {
		var i uint32
		var secret []byte
		if !nodes.ReadUint32(&i) || int64(i) <= last || uint64(i) > 2*uint64(t.width)-2 ||
			!readCopy(&nodes, &secret, s.hashSize) {
			return nil, errSecretTree
		}
		t.nodes[i], last = secret, int64(i)
	}
	for last := int64(-1); !leafs.Empty(); {
		var i uint32
		r := new(leafRatchets)
		if !leafs.ReadUint32(&i) || int64(i) <= last || i >= t.width ||
			!r[handshakeRatchet].unmarshal(s, &leafs) || !r[applicationRatchet].unmarshal(s, &leafs) {
			return nil, errSecretTree
		}
		t.leafs[i], last = r, int64(i)
	}
	return t, nil
}

func (r *ratchet) unmarshal(s *suite, in *cryptobyte.String) bool {
	var n uint8
	if !in.ReadUint32(&r.generation) || !readCopy(in, &r.secret, s.hashSize) || !in.ReadUint8(&n) || n > maxStored {
		return false
	}
	for range n {
		var k messageKey
		if !in.ReadUint32(&k.generation) || k.generation >= r.generation ||
			!readCopy(in, &k.key, s.keySize) || !readCopy(in, &k.nonce, s.nonceSize) {
			return false
		}
		if l := len(r.skipped); l > 0 && k.generation <= r.skipped[l-1].generation {
			return false
		}
		r.skipped = append(r.skipped, k)
	}
	return true
}

// readCopy reads n octets into memory of their own.
func readCopy(in *cryptobyte.String, out *[]byte, n int) bool {
	*out = nil
	var v []byte
	if !in.ReadBytes(&v, n) {
		return false
	}
	*out = append([]byte(nil), v...)
	return true
}
