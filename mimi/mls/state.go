package mls

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// The stored form of groups. It is ours alone; the first octet is its version.
const (
	publicStateVersion  = 1
	ratchetStateVersion = 1
	// stateVersion is that of State. Version 1, which is still read, has no exporter trees.
	stateVersion = 2
)

var errState = errors.New("mls: malformed group state")

// The flags of a member's state.
const (
	flagJoining uint8 = 1 << iota
	flagOut
	flagOutgoing
)

// addPublicState writes an epoch's public state.
func addPublicState(b *cryptobyte.Builder, s *publicState) error {
	tree, err := s.tree.marshal()
	if err != nil {
		return err
	}
	b.AddValue(s.context)
	syntax.AddVector(b, s.confirmationTag)
	addReInit(b, s.reInit)
	syntax.AddVector(b, tree)
	return nil
}

func addReInit(b *cryptobyte.Builder, r *ReInit) {
	syntax.AddOptional(b, r != nil)
	if r != nil {
		b.AddValue(&Proposal{Type: ProposalReInit, ReInit: r})
	}
}

func readReInit(s *cryptobyte.String) (*ReInit, error) {
	var present bool
	if !syntax.ReadOptional(s, &present) {
		return nil, errState
	}
	if !present {
		return nil, nil
	}
	var p Proposal
	if err := readOwn(s, &p); err != nil {
		return nil, err
	}
	return p.ReInit, nil
}

// readPublicState reads what addPublicState wrote. Signatures were verified before; that the tree belongs to the
// context is verified again.
func readPublicState(s *cryptobyte.String) (*publicState, error) {
	context := new(GroupContext)
	if err := context.Unmarshal(s); err != nil {
		return nil, err
	}
	suite, err := suiteOf(context.CipherSuite)
	if err != nil {
		return nil, err
	}
	var tag, tree []byte
	if !syntax.ReadVector(s, &tag) {
		return nil, errState
	}
	reInit, err := readReInit(s)
	if err != nil {
		return nil, err
	}
	if !syntax.ReadVector(s, &tree) {
		return nil, errState
	}
	t, err := unmarshalRatchetTree(suite, tree)
	if err != nil {
		return nil, err
	}
	return restoredState(suite, context, t, tag, reInit)
}

func restoredState(s *suite, context *GroupContext, t *ratchetTree, tag []byte, reInit *ReInit) (*publicState, error) {
	hash, err := t.rootHash()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(hash, context.TreeHash) {
		return nil, errState
	}
	state, err := newPublicState(s, context, t, tag)
	if err != nil {
		return nil, err
	}
	state.reInit = reInit
	return state, nil
}

// readOwn decodes v from memory of its own: what it stands in holds secrets too, and whatever shared that would keep it.
func readOwn(s *cryptobyte.String, v unmarshaler) error {
	before := *s
	if err := v.Unmarshal(s); err != nil {
		return err
	}
	return unmarshalAll(bytes.Clone(consumed(before, *s)), v)
}

// addPending writes the pending proposals.
func addPending(b *cryptobyte.Builder, pending []storedProposal) {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range pending {
			p := &pending[i]
			syntax.AddVector(b, p.Ref)
			b.AddValue(p.Sender)
			b.AddValue(&p.Proposal)
			addKey(b, p.leafKey)
		}
	})
}

func readPending(s *cryptobyte.String, suite *suite) ([]storedProposal, error) {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return nil, errState
	}
	var pending []storedProposal
	for !list.Empty() {
		var p storedProposal
		if !syntax.ReadVector(&list, (*[]byte)(&p.Ref)) {
			return nil, errState
		}
		if err := p.Sender.Unmarshal(&list); err != nil {
			return nil, err
		}
		if err := readOwn(&list, &p.Proposal); err != nil {
			return nil, err
		}
		p.Ref = bytes.Clone(p.Ref)
		var err error
		if p.leafKey, err = readKey(&list, suite); err != nil {
			return nil, err
		}
		pending = append(pending, p)
	}
	return pending, nil
}

// addKey writes a private key, or an empty vector for none.
func addKey(b *cryptobyte.Builder, k *HPKEPrivateKey) {
	if k == nil {
		syntax.AddVector(b, nil)
		return
	}
	data, err := k.bytes()
	if err != nil {
		b.SetError(err)
		return
	}
	syntax.AddVector(b, data)
}

func readKey(s *cryptobyte.String, suite *suite) (*HPKEPrivateKey, error) {
	var data []byte
	if !syntax.ReadVector(s, &data) {
		return nil, errState
	}
	if len(data) == 0 {
		return nil, nil
	}
	return suite.parseHPKEKey(bytes.Clone(data))
}

// State encodes everything about the verifier.
func (p *PublicGroup) State() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(publicStateVersion)
	if err := addPublicState(b, p.state); err != nil {
		return nil, err
	}
	b.AddValue(p.info)
	addPending(b, p.pending)
	return b.Bytes()
}

// RestorePublicGroup decodes what State returned.
func RestorePublicGroup(cfg Config, state []byte) (*PublicGroup, error) {
	if cfg.Application == nil {
		return nil, errNoApplication
	}
	s := cryptobyte.String(bytes.Clone(state))
	var version uint8
	if !s.ReadUint8(&version) || version != publicStateVersion {
		return nil, errState
	}
	public, err := readPublicState(&s)
	if err != nil {
		return nil, err
	}
	if _, err := cfg.suiteOf(public.suite.id); err != nil {
		return nil, err
	}
	p := &PublicGroup{view: view{cfg: cfg, state: public}, info: new(GroupInfo)}
	if err := p.info.Unmarshal(&s); err != nil {
		return nil, err
	}
	if p.pending, err = readPending(&s, public.suite); err != nil {
		return nil, err
	}
	if !s.Empty() {
		return nil, errState
	}
	return p, nil
}

// State is everything but what changes with each message; RatchetState is what changes with each message. Saved
// together they restore the group exactly, pending commit included. State changes on Commit, DiscardPending, Merge,
// MergePending, SafeExportSecret, Retire, on proposals of ours and on receipt of a proposal; RatchetState on Encrypt,
// Process and with every change of State.
func (g *Group) State() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(stateVersion)
	b.AddUint8(g.flags())
	var public cryptobyte.Builder
	if err := addPublicState(&public, g.state); err != nil {
		return nil, err
	}
	data, err := public.Bytes()
	if err != nil {
		return nil, err
	}
	syntax.AddVector(b, data)
	g.addMemberEpoch(b, &g.memberEpoch)
	addPending(b, g.pending)
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, p := range g.past {
			g.addPast(b, p)
		}
	})
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, r := range g.resumption {
			b.AddUint64(r.epoch)
			syntax.AddVector(b, r.secret)
		}
	})
	if g.outgoing != nil {
		g.addOutgoing(b)
	}
	return b.Bytes()
}

func (g *Group) flags() uint8 {
	var flags uint8
	if g.joining {
		flags |= flagJoining
	}
	if g.out {
		flags |= flagOut
	}
	if g.outgoing != nil {
		flags |= flagOutgoing
	}
	return flags
}

// validFlags reports whether flags are ones that a group can have.
func validFlags(flags uint8) bool {
	switch flags {
	case 0, flagJoining, flagOut, flagOutgoing:
		return true
	}
	return false
}

// addMemberEpoch writes a member's secrets of an epoch, without the secret tree.
func (g *Group) addMemberEpoch(b *cryptobyte.Builder, e *memberEpoch) {
	b.AddUint32(uint32(e.leaf))
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, x := range slices.Sorted(maps.Keys(e.keys)) {
			b.AddUint32(uint32(x))
			addKey(b, e.keys[x])
		}
	})
	if e.secrets != nil {
		b.AddValue(e.secrets)
		addExports(b, e.secrets.exports)
	}
}

func readMemberEpoch(s *cryptobyte.String, suite *suite, secrets bool, version uint8) (memberEpoch, error) {
	var e memberEpoch
	var list cryptobyte.String
	if !s.ReadUint32((*uint32)(&e.leaf)) || !syntax.ReadList(s, &list) {
		return e, errState
	}
	e.keys = treeKeys{}
	for last := int64(-1); !list.Empty(); {
		var x uint32
		if !list.ReadUint32(&x) || int64(x) <= last {
			return e, errState
		}
		last = int64(x)
		key, err := readKey(&list, suite)
		if err != nil || key == nil {
			return e, errState
		}
		e.keys[nodeIndex(x)] = key
	}
	if !secrets {
		return e, nil
	}
	var err error
	if e.secrets, err = suite.unmarshalEpochSecrets(s); err == nil && version >= 2 {
		e.secrets.exports, err = readExports(s, suite)
	}
	return e, err
}

// addPast writes a past epoch as its difference from the current one.
func (g *Group) addPast(b *cryptobyte.Builder, p *pastEpoch) {
	head := *p.context
	head.Extensions = nil
	b.AddValue(&head)
	ref, err := marshal(g.state.context.Extensions)
	if err != nil {
		b.SetError(err)
	}
	ext, err := marshal(p.context.Extensions)
	if err != nil {
		b.SetError(err)
	}
	addDelta(b, ref, ext)
	b.AddUint32(uint32(len(p.leaves)))
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i, l := range p.leaves {
			if sameSender(l, g.state.tree.leaf(LeafIndex(i))) {
				continue
			}
			b.AddUint32(uint32(i))
			syntax.AddOptional(b, l != nil)
			if l != nil {
				syntax.AddVector(b, l.SignatureKey)
				b.AddValue(l.Credential)
			}
		}
	})
	b.AddValue(p.secrets)
}

// sameSender reports whether two leaves are the same as far as messages are concerned.
func sameSender(a, b *LeafNode) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return bytes.Equal(a.SignatureKey, b.SignatureKey) && a.Credential.Equal(b.Credential)
}

func readPast(s *cryptobyte.String, current *publicState) (*pastEpoch, error) {
	p := &pastEpoch{context: new(GroupContext)}
	if err := readOwn(s, p.context); err != nil {
		return nil, err
	}
	ref, err := marshal(current.context.Extensions)
	if err != nil {
		return nil, err
	}
	ext, err := readDelta(s, ref)
	if err != nil {
		return nil, err
	}
	if err := unmarshalAll(ext, &p.context.Extensions); err != nil {
		return nil, err
	}
	if p.framing, err = newFraming(p.context); err != nil {
		return nil, err
	}
	var count uint32
	var list cryptobyte.String
	if !s.ReadUint32(&count) || count > maxLeaves || !syntax.ReadList(s, &list) {
		return nil, errState
	}
	p.leaves = make([]*LeafNode, count)
	copy(p.leaves, current.tree.leaves())
	for !list.Empty() {
		var i uint32
		var present bool
		if !list.ReadUint32(&i) || i >= count || !syntax.ReadOptional(&list, &present) {
			return nil, errState
		}
		p.leaves[i] = nil
		if !present {
			continue
		}
		l := new(LeafNode)
		if !syntax.ReadVector(&list, (*[]byte)(&l.SignatureKey)) {
			return nil, errState
		}
		if err := readOwn(&list, &l.Credential); err != nil {
			return nil, err
		}
		l.SignatureKey = bytes.Clone(l.SignatureKey)
		p.leaves[i] = l
	}
	p.secrets, err = current.suite.unmarshalEpochSecrets(s)
	return p, err
}

// addOutgoing writes our pending commit as the difference that it makes. Its secret tree is part of State as long as
// the commit is pending, since nothing of it can have been used.
func (g *Group) addOutgoing(b *cryptobyte.Builder) {
	next := g.outgoing.next
	b.AddValue(next.context)
	syntax.AddVector(b, next.confirmationTag)
	addReInit(b, next.reInit)
	b.AddUint32(next.tree.leafCount())
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for x := range nodeIndex(len(next.tree.slots)) {
			if !g.state.tree.sameNode(next.tree, x) {
				b.AddUint32(uint32(x))
				addOptionalNode(b, next.tree.slots[x], true)
			}
		}
	})
	g.addMemberEpoch(b, g.outgoing.member)
	b.AddValue(g.outgoing.member.secrets.tree)
}

// sameNode reports whether both trees share what is at x.
func (t *ratchetTree) sameNode(o *ratchetTree, x nodeIndex) bool {
	if int(x) >= len(t.slots) {
		return o.blank(x)
	}
	if t.blank(x) || o.blank(x) {
		return t.blank(x) == o.blank(x)
	}
	a, b := t.slots[x], o.slots[x]
	return a.leaf == b.leaf && a.parent == b.parent
}

func (g *Group) readOutgoing(s *cryptobyte.String, version uint8) error {
	context := new(GroupContext)
	if err := readOwn(s, context); err != nil {
		return err
	}
	var tag []byte
	if !syntax.ReadVector(s, &tag) {
		return errState
	}
	reInit, err := readReInit(s)
	if err != nil {
		return err
	}
	t, err := readTreeDifference(s, g.state.tree)
	if err != nil {
		return err
	}
	suite := g.state.suite
	next, err := restoredState(suite, context, t, bytes.Clone(tag), reInit)
	if err != nil {
		return err
	}
	member, err := readMemberEpoch(s, suite, true, version)
	if err != nil {
		return err
	}
	if member.secrets.tree, err = suite.unmarshalSecretTree(s); err != nil {
		return err
	}
	g.outgoing = &StagedCommit{
		base:   g.state,
		next:   next,
		sender: Sender{Type: SenderMember, Leaf: g.leaf},
		leaf:   g.leaf,
		member: &member,
	}
	return nil
}

func readTreeDifference(s *cryptobyte.String, base *ratchetTree) (*ratchetTree, error) {
	var leaves uint32
	var list cryptobyte.String
	if !s.ReadUint32(&leaves) || leaves == 0 || leaves > maxLeaves || fullSize(leaves) != leaves || !syntax.ReadList(s, &list) {
		return nil, errState
	}
	// new leaves are taken from the left: a larger tree has its left half full
	if uint64(leaves) > 2*(uint64(base.leafCount())+uint64(len(list))) {
		return nil, errState
	}
	list = bytes.Clone(list)
	t := &ratchetTree{suite: base.suite, slots: make([]*treeNode, treeWidth(leaves))}
	copy(t.slots, base.slots)
	for x := range t.slots {
		// no hashes: which of them still hold is not worth telling
		if n := t.slots[x]; n != nil {
			t.slots[x] = &treeNode{leaf: n.leaf, parent: n.parent}
		}
	}
	for !list.Empty() {
		var x uint32
		if !list.ReadUint32(&x) || uint64(x) >= uint64(len(t.slots)) {
			return nil, errState
		}
		n, err := readTreeNode(&list, nodeIndex(x))
		if err != nil {
			return nil, err
		}
		t.slots[x] = n
	}
	return t, nil
}

// RatchetState is what changes with each message: the secret trees of the current and the past epochs. In a large
// group it is long; RatchetChanges has it in pieces.
func (g *Group) RatchetState() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(ratchetStateVersion)
	for _, p := range g.past {
		b.AddUint64(p.framing.epoch)
		b.AddValue(p.secrets.tree)
	}
	if !g.out {
		b.AddUint64(g.state.context.Epoch)
		b.AddValue(g.secrets.tree)
	}
	return b.Bytes()
}

// RestoreGroup decodes what State and RatchetState returned at the same time.
func RestoreGroup(cfg Config, c *Client, state, ratchets []byte) (*Group, error) {
	g, err := restoreGroup(cfg, c, state)
	if err != nil {
		return nil, err
	}
	if err := g.readRatchets(ratchets); err != nil {
		return nil, err
	}
	return g, nil
}

// restoreGroup decodes what State returned; the secret trees are still to be attached.
func restoreGroup(cfg Config, c *Client, state []byte) (*Group, error) {
	if cfg.Application == nil {
		return nil, errNoApplication
	}
	s := cryptobyte.String(state)
	var version, flags uint8
	var public []byte
	if !s.ReadUint8(&version) || version == 0 || version > stateVersion || !s.ReadUint8(&flags) || !validFlags(flags) ||
		!syntax.ReadVector(&s, &public) {
		return nil, errState
	}
	// the public part is shared with the group, the rest is read into memory of its own: secrets do not outlive their
	// use in what the caller gave us
	in := cryptobyte.String(bytes.Clone(public))
	st, err := readPublicState(&in)
	if err != nil {
		return nil, err
	}
	if !in.Empty() {
		return nil, errState
	}
	if _, err := cfg.suiteOf(st.suite.id); err != nil {
		return nil, err
	}
	if c.SignatureKey.suite.id != st.suite.id {
		return nil, errOtherSuite
	}
	g := &Group{view: view{cfg: cfg, state: st, member: true}, client: c, joining: flags&flagJoining != 0, out: flags&flagOut != 0}
	if err := g.readMember(&s, flags, version); err != nil {
		return nil, err
	}
	if !s.Empty() {
		return nil, errState
	}
	return g, nil
}

// readMember reads what follows the public state.
func (g *Group) readMember(s *cryptobyte.String, flags, version uint8) error {
	suite := g.state.suite
	var err error
	if g.memberEpoch, err = readMemberEpoch(s, suite, !g.out, version); err != nil {
		return err
	}
	if g.pending, err = readPending(s, suite); err != nil {
		return err
	}
	var past, resumption cryptobyte.String
	if !syntax.ReadList(s, &past) || !syntax.ReadList(s, &resumption) {
		return errState
	}
	for !past.Empty() {
		if len(g.past) >= maxPast {
			return errState
		}
		p, err := readPast(&past, g.state)
		if err != nil {
			return err
		}
		g.past = append(g.past, p)
	}
	for !resumption.Empty() {
		if len(g.resumption) >= maxResumption {
			return errState
		}
		var r resumptionPSK
		var secret []byte
		if !resumption.ReadUint64(&r.epoch) || !syntax.ReadVector(&resumption, &secret) {
			return errState
		}
		r.secret = bytes.Clone(secret)
		g.resumption = append(g.resumption, r)
	}
	if flags&flagOutgoing != 0 {
		return g.readOutgoing(s, version)
	}
	return nil
}

// readRatchets attaches the secret trees.
func (g *Group) readRatchets(data []byte) error {
	s := cryptobyte.String(data)
	var version uint8
	if !s.ReadUint8(&version) || version != ratchetStateVersion {
		return errState
	}
	attach := func(e *epochSecrets, epoch uint64) error {
		var got uint64
		if !s.ReadUint64(&got) || got != epoch {
			return errors.New("mls: ratchet state of another epoch")
		}
		var err error
		e.tree, err = g.state.suite.unmarshalSecretTree(&s)
		return err
	}
	for _, p := range g.past {
		if err := attach(p.secrets, p.framing.epoch); err != nil {
			return err
		}
	}
	if !g.out {
		if err := attach(g.secrets, g.state.context.Epoch); err != nil {
			return err
		}
	}
	if !s.Empty() {
		return errState
	}
	return nil
}
