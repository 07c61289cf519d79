package mls

import (
	"errors"
	"maps"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// In a large group RatchetState grows to hundreds of kilobytes, once many have sent, although a message changes
// the secrets of one leaf. So it can also be had in pieces: for each epoch one for every sixteen leaves, and one for
// what is left of the secret tree above those.

const (
	// pieceLeaves is how many leaves a piece is about.
	pieceLeaves = 16
	// pieceLevel is the level of the node above all of them.
	pieceLevel = 4
	// topPart is the part of the nodes above that level.
	topPart = 1 << 31
)

// RatchetPiece is a piece of the ratchet state; there is one for each epoch and part.
type RatchetPiece struct {
	Epoch uint64
	Part  uint32
	Data  []byte // nil: there is no such piece any more
}

var errPiece = errors.New("mls: malformed piece of the ratchet state")

// pieceState is what is known of the piece of a part.
type pieceState uint8

const (
	pieceNone    pieceState = iota // there is no piece yet
	pieceStale                     // the part has changed since
	pieceCurrent                   // it is up to date
)

// treePart is the part of the secret tree that a node belongs to.
func treePart(node uint32) uint32 {
	x := nodeIndex(node)
	if x.level() > pieceLevel {
		return topPart
	}
	first, _ := x.leafRange()
	return uint32(first) / pieceLeaves
}

// changed remembers that a part differs from its piece.
func (t *secretTree) changed(part uint32) {
	if t.stored != nil {
		t.stored[part] = min(t.stored[part], pieceStale)
	}
}

// stale lists the parts that differ from their pieces, all of them if there have been no pieces yet.
func (t *secretTree) stale() []uint32 {
	if t.stored == nil {
		t.stored = map[uint32]pieceState{}
		for node := range t.nodes {
			t.stored[treePart(node)] = pieceNone
		}
		for leaf := range t.leafs {
			t.stored[leaf/pieceLeaves] = pieceNone
		}
	}
	var list []uint32
	for _, part := range slices.Sorted(maps.Keys(t.stored)) {
		if t.stored[part] != pieceCurrent {
			list = append(list, part)
		}
	}
	return list
}

// part is the tree with nothing but one part.
func (t *secretTree) part(part uint32) *secretTree {
	p := &secretTree{suite: t.suite, width: t.width, nodes: map[uint32][]byte{}, leafs: map[uint32]*leafRatchets{}}
	// the node after the last leaf of a part is above it
	first, step, end := 2*pieceLeaves*uint64(part), uint64(1), 2*pieceLeaves*(uint64(part)+1)-1
	if part == topPart {
		first, step, end = 2*pieceLeaves-1, 2*pieceLeaves, 2*uint64(t.width)
	}
	for x := first; x < end; x += step {
		if secret, ok := t.nodes[uint32(x)]; ok {
			p.nodes[uint32(x)] = secret
		}
		if r, ok := t.leafs[uint32(x/2)]; ok && x%2 == 0 {
			p.leafs[uint32(x/2)] = r
		}
	}
	return p
}

func (t *secretTree) empty() bool { return len(t.nodes)+len(t.leafs) == 0 }

// RatchetChanges lists the pieces of the ratchet state that differ from what it returned before, all of them when it
// is called for the first time; after RestoreGroupFrom those that differ from what the group was restored from. The
// caller stores them together with whatever it stores of the State, or does not use the group any more.
func (g *Group) RatchetChanges() ([]RatchetPiece, error) {
	list := g.forgotten
	g.forgotten = nil
	for _, e := range g.ratchetEpochs() {
		t := e.secrets.tree
		for _, part := range t.stale() {
			p := t.part(part)
			if p.empty() {
				list = append(list, t.drop(e.epoch, part)...)
				continue
			}
			data, err := marshal(p)
			if err != nil {
				return nil, err
			}
			t.stored[part] = pieceCurrent
			list = append(list, RatchetPiece{Epoch: e.epoch, Part: part, Data: data})
		}
	}
	return list, nil
}

// drop forgets a part, and is the deletion of its piece if there is one.
func (t *secretTree) drop(epoch uint64, part uint32) []RatchetPiece {
	state := t.stored[part]
	delete(t.stored, part)
	if state == pieceNone {
		return nil
	}
	return []RatchetPiece{{Epoch: epoch, Part: part}}
}

// ratchetEpoch is an epoch with its secret tree.
type ratchetEpoch struct {
	epoch   uint64
	secrets *epochSecrets
}

// ratchetEpochs lists the epochs whose secret trees are kept, the current one last.
func (g *Group) ratchetEpochs() []ratchetEpoch {
	var list []ratchetEpoch
	for _, p := range g.past {
		list = append(list, ratchetEpoch{p.framing.epoch, p.secrets})
	}
	if !g.out {
		list = append(list, ratchetEpoch{g.state.context.Epoch, g.secrets})
	}
	return list
}

// forget remembers that the pieces of epochs that are dropped are to be deleted.
func (g *Group) forget(epochs []ratchetEpoch) {
	for _, e := range epochs {
		t := e.secrets.tree
		for _, part := range slices.Sorted(maps.Keys(t.stored)) {
			g.forgotten = append(slices.Clip(g.forgotten), t.drop(e.epoch, part)...)
		}
	}
}

// RestoreGroupFrom is RestoreGroup with the ratchet state in pieces: all that RatchetChanges ever returned, as far as
// they are still there.
func RestoreGroupFrom(cfg Config, c *Client, state []byte, pieces []RatchetPiece) (*Group, error) {
	g, err := restoreGroup(cfg, c, state)
	if err != nil {
		return nil, err
	}
	for _, p := range pieces {
		if err := g.readPiece(p.Epoch, p.Part, p.Data); err != nil {
			return nil, err
		}
	}
	for _, e := range g.ratchetEpochs() {
		// a secret tree is never empty: what has been consumed leaves ratchets behind
		if e.secrets.tree == nil || e.secrets.tree.empty() {
			return nil, errors.New("mls: no ratchet state of an epoch")
		}
	}
	return g, nil
}

// readPiece adds one piece to the secret tree of its epoch.
func (g *Group) readPiece(epoch uint64, part uint32, data []byte) error {
	epochs := g.ratchetEpochs()
	i := slices.IndexFunc(epochs, func(e ratchetEpoch) bool { return e.epoch == epoch })
	if i < 0 {
		return errors.New("mls: ratchet state of another epoch")
	}
	s := cryptobyte.String(data)
	p, err := g.state.suite.unmarshalSecretTree(&s)
	if err != nil {
		return err
	}
	t := epochs[i].secrets.tree
	if t == nil {
		t = p.part(part)
		t.stored = map[uint32]pieceState{}
		epochs[i].secrets.tree = t
	}
	if part != topPart && part > (t.width-1)/pieceLeaves {
		return errPiece
	}
	own := p.part(part)
	_, twice := t.stored[part]
	if !s.Empty() || twice || p.width != t.width || len(own.nodes) != len(p.nodes) || len(own.leafs) != len(p.leafs) || p.empty() {
		return errPiece
	}
	maps.Copy(t.nodes, p.nodes)
	maps.Copy(t.leafs, p.leafs)
	t.stored[part] = pieceCurrent
	return nil
}
