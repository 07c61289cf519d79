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
		t.stored[part] = false
	}
}

// stale lists the parts that differ from their pieces, all of them if there have been no pieces yet.
func (t *secretTree) stale() []uint32 {
	if t.stored == nil {
		t.stored = map[uint32]bool{}
		for node := range t.nodes {
			t.stored[treePart(node)] = false
		}
		for leaf := range t.leafs {
			t.stored[leaf/pieceLeaves] = false
		}
	}
	var list []uint32
	for _, part := range slices.Sorted(maps.Keys(t.stored)) {
		if !t.stored[part] {
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
			piece := RatchetPiece{Epoch: e.epoch, Part: part}
			if p := t.part(part); !p.empty() {
				var err error
				if piece.Data, err = marshal(p); err != nil {
					return nil, err
				}
				t.stored[part] = true
			} else {
				delete(t.stored, part)
			}
			list = append(list, piece)
		}
	}
	return list, nil
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
		for _, part := range slices.Sorted(maps.Keys(e.secrets.tree.stored)) {
			g.forgotten = append(slices.Clip(g.forgotten), RatchetPiece{Epoch: e.epoch, Part: part})
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
		t.stored = map[uint32]bool{}
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
	t.stored[part] = true
	return nil
}
