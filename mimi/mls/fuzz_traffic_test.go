package mls

import (
	"bytes"
	"slices"
	"testing"
)

// traffic is a recorded scenario: the state of everybody in one epoch and the messages of it.
type traffic struct {
	cfg     Config
	hub     []byte
	members []recorded
	groups  []*Group // the same, for messages that consume nothing
	private []*Group // the same in the end, for their keys
	joiner  *Client
	outside *SignatureKey
	msgs    [][]byte
}

// recorded is a member as it is stored.
type recorded struct {
	client *Client
	saved
}

// recordTraffic plays a group that has blank parents, unmerged leaves and a past, with proposals of all kinds pending
// for hub and members, and records messages of all kinds.
func recordTraffic(f testing.TB) *traffic {
	f.Helper()
	w, key := outsideWorld(f, 74)
	w.commit("c", CommitOptions{})
	w.add("a", "d", "e", "g", "h")
	w.commit("g", CommitOptions{Proposals: []Proposal{RemoveProposal(w.members["e"].OwnLeaf()), AppDataUpdateProposal(7, []byte("seven"))}})
	w.cfg.PSK = func(id *PreSharedKeyID) []byte { return append([]byte("psk"), id.ID...) }
	for _, g := range w.members {
		g.cfg.PSK = w.cfg.PSK
	}
	names := []string{"m0", "a", "b", "c", "d", "g", "h"}
	tr := &traffic{cfg: w.cfg, outside: key, joiner: w.client("x")}
	record := func(m *Message) *Message {
		tr.msgs = append(tr.msgs, must[[]byte](f)(m.Bytes()))
		return m
	}
	_, add := w.keyPackage("k")
	w.tell("b", record(must[*Message](f)(w.members["b"].ProposeUpdate(nil))))
	w.tell("c", record(must[*Message](f)(w.members["c"].Propose(RemoveProposal(w.members["h"].OwnLeaf()), nil))))
	w.tell("d", record(must[*Message](f)(w.members["d"].SelfRemove(nil))))
	w.tell("", record(must[*Message](f)(ProposeExternal(w.hub.Context(), 0, key, AppDataUpdateProposal(8, []byte("by the hub")), nil))))
	psk := must[Proposal](f)(w.members["b"].NewPSKProposal([]byte("id")))
	w.tell("b", record(must[*Message](f)(w.members["b"].Propose(psk, nil))))
	w.tell("", record(must[*Message](f)(ProposeJoin(w.hub.Context(), tr.joiner.SignatureKey, must[*KeyPackageSecrets](f)(NewKeyPackage(w.cfg, tr.joiner, Lifetime{0, 1 << 40}, nil)).KeyPackage, nil))))
	tr.hub = must[[]byte](f)(w.hub.State())
	for _, name := range names {
		g := w.members[name]
		tr.members = append(tr.members, recorded{g.client, saved{must[[]byte](f)(g.State()), must[[]byte](f)(g.RatchetState())}})
	}
	for i := range tr.members {
		tr.groups = append(tr.groups, tr.restore(f, i))
	}
	// what follows is not processed: it is what the fuzzer changes
	commit := func(by string, o CommitOptions) {
		record(must[*CommitBundle](f)(w.members[by].Commit(o)).Commit)
		w.members[by].DiscardPending()
	}
	commit("a", CommitOptions{Proposals: []Proposal{AddProposal(add.KeyPackage)}})
	commit("m0", CommitOptions{ForcePath: true, Proposals: []Proposal{GroupContextExtensionsProposal(w.hub.Context().Extensions)}})
	commit("g", CommitOptions{Proposals: []Proposal{RemoveProposal(1)}})
	for _, g := range w.members {
		g.pending = nil
	}
	commit("a", CommitOptions{Proposals: []Proposal{AddProposal(add.KeyPackage), AppDataRemoveProposal(7)}})
	commit("c", CommitOptions{})
	tree := must[RatchetTree](f)(w.hub.RatchetTree())
	for _, list := range [][]Proposal{nil, {AppDataUpdateProposal(9, []byte("joined"))}, {psk}} {
		_, b, err := JoinExternal(w.cfg, tr.joiner, w.hub.GroupInfo(), tree, list, nil)
		if err != nil {
			f.Fatal(err)
		}
		record(b.Commit)
	}
	for _, p := range []Proposal{AddProposal(add.KeyPackage), AppDataRemoveProposal(7), GroupContextExtensionsProposal(nil)} {
		record(must[*Message](f)(w.members["g"].Propose(p, []byte("aad"))))
		record(must[*Message](f)(w.members["g"].privately(p, []byte("aad"))))
	}
	record(must[*Message](f)(w.members["a"].Encrypt([]byte("aad"), []byte("text"))))
	b, _, err := w.members["a"].privateCommit(CommitOptions{})
	if err != nil {
		f.Fatal(err)
	}
	record(b.Commit)
	for _, name := range names {
		tr.private = append(tr.private, w.members[name])
	}
	return tr
}

func (tr *traffic) restore(t testing.TB, i int) *Group {
	m := tr.members[i]
	return must[*Group](t)(RestoreGroup(tr.cfg, m.client, m.state, m.ratchets))
}

// octets reads a fuzzer's program: zeros where it has ended.
type octets []byte

func (o *octets) next() int {
	if len(*o) == 0 {
		return 0
	}
	c := (*o)[0]
	*o = (*o)[1:]
	return int(c)
}

func (o *octets) pair() int { return o.next()<<8 | o.next() }

// damage changes the encoding of a message, with pieces of another.
func damage(data, other []byte, program *octets) []byte {
	data = bytes.Clone(data)
	for len(*program) > 0 && len(data) > 0 {
		switch op, at := program.next(), program.pair()%len(data); op % 4 {
		case 0:
			data[at] ^= 1 << (program.next() % 8)
		case 1:
			data = data[:at]
		case 2:
			from := program.pair() % len(other)
			data = slices.Concat(data[:at], other[from:min(len(other), from+program.next())], data[at:])
		case 3:
			from := program.pair() % len(other)
			copy(data[at:], other[from:min(len(other), from+program.next())])
		}
	}
	return data
}

// exchange changes the fields of a public message, with those of another.
func exchange(m, o *PublicMessage, program *octets) {
	c, d := &m.content, &o.content
	for len(*program) > 0 {
		switch op := program.next(); op % 12 {
		case 0:
			c.sender = d.sender
		case 1:
			c.sender.Leaf = LeafIndex(program.next() % 10)
		case 2:
			c.epoch += uint64(program.next()) - 1
		case 3:
			c.authenticatedData = d.authenticatedData
		case 4:
			m.auth = o.auth
		case 5:
			m.membershipTag = o.membershipTag
		case 6:
			c.contentType, c.proposal, c.commit = d.contentType, d.proposal, d.commit
		case 7:
			if c.proposal != nil && d.proposal != nil {
				c.proposal.Remove = LeafIndex(program.next() % 12)
				c.proposal.Type, c.proposal.Add, c.proposal.Update = d.proposal.Type, d.proposal.Add, d.proposal.Update
			}
		default:
			if c.commit != nil {
				exchangeCommit(c.commit, d, op%12, program)
			}
		}
	}
}

// exchangeCommit does it to a commit.
func exchangeCommit(c *Commit, d *framedContent, op int, program *octets) {
	list, i := c.Proposals, program.next()
	switch {
	case op == 8 && d.commit != nil:
		c.Proposals = d.commit.Proposals
	case op == 8 && d.proposal != nil:
		c.Proposals = append(slices.Clone(list), ProposalOrRef{Proposal: d.proposal})
	case op == 9 && len(list) > 0:
		if i %= len(list); program.next()%2 == 0 {
			c.Proposals = slices.Delete(slices.Clone(list), i, i+1)
		} else {
			c.Proposals = append(slices.Clone(list), list[i])
		}
	case op == 10 && program.next()%3 == 0:
		c.Path = nil
	case op == 10 && d.commit != nil && d.commit.Path != nil:
		c.Path = d.commit.Path
	case op == 11 && c.Path != nil && len(c.Path.Nodes) > 0:
		exchangePath(c.Path, d, i, program)
	}
}

// exchangePath does it to an UpdatePath.
func exchangePath(p *UpdatePath, d *framedContent, i int, program *octets) {
	nodes := slices.Clone(p.Nodes)
	p.Nodes = nodes
	i %= len(nodes)
	switch j := program.next(); j % 6 {
	case 0:
		p.Nodes = nodes[:i]
	case 1:
		p.Nodes = append(nodes, nodes[i])
	case 2:
		nodes[i].EncryptionKey = nodes[j/6%len(nodes)].EncryptionKey
	case 3:
		nodes[i].EncryptedPathSecret = nodes[j/6%len(nodes)].EncryptedPathSecret
	case 4:
		p.LeafNode.Extensions = append(p.LeafNode.Extensions, Extension{Type: ExtensionType(j / 6)})
	case 5:
		p.LeafNode.EncryptionKey = nodes[i].EncryptionKey
		if d.commit != nil && d.commit.Path != nil {
			p.LeafNode = d.commit.Path.LeafNode
		}
	}
}

// resign gives a changed message the signature, and the membership tag, of whoever it says it is from; leaf does so
// to the leaves inside, too. It is what a client can do that follows no rules.
func (tr *traffic) resign(m *PublicMessage, leaf bool) *PublicMessage {
	f := tr.private[0].state.framing
	c := m.content
	c.body = nil
	var key *SignatureKey
	own := LeafIndex(0)
	switch c.sender.Type {
	case SenderMember:
		for _, g := range tr.private {
			if g.leaf == c.sender.Leaf {
				key, own = g.client.SignatureKey, g.leaf
			}
		}
	case SenderExternal:
		key = tr.outside
	default:
		key = tr.joiner.SignatureKey
		for i := LeafIndex(0); tr.private[0].state.tree.leaf(i) != nil; i++ {
			own = i + 1
		}
	}
	if key == nil {
		return m
	}
	if leaf && c.commit != nil && c.commit.Path != nil {
		l := &c.commit.Path.LeafNode
		l.SignatureKey = key.Public()
		if l.sign(key, f.groupID, own) != nil {
			return m
		}
	}
	if leaf && c.proposal != nil && c.proposal.Update != nil && c.proposal.Update.sign(key, f.groupID, own) != nil {
		return m
	}
	ac, err := f.signContent(key, WireFormatPublicMessage, c)
	if err != nil {
		return m
	}
	ac.auth.confirmationTag = m.auth.confirmationTag
	again, err := f.protectPublic(tr.private[0].secrets.membership, ac)
	if err != nil {
		return m
	}
	return again
}

// unseen are the refusals of members for reasons that a hub cannot see: what depends on secrets.
var unseen = []string{
	"mls: invalid confirmation tag", "mls: decryption failed", "mls: path secret does not match the tree",
	"mls: invalid membership tag", "mls: our own message", "mls: invalid HPKE key", "mls: no key for our own update",
}

// FuzzTraffic changes real messages, and signs them again as an insider can. Nobody panics or changes by what it
// refuses; hub and members agree on everything that both can see.
func FuzzTraffic(f *testing.F) {
	tr := recordTraffic(f)
	for i := range tr.msgs {
		f.Add(uint8(i), uint8(i+1), uint8(0), []byte(nil))
		f.Add(uint8(i), uint8(i+3), uint8(1), []byte{0, 0, 40, 1})
		for op := range byte(12) {
			f.Add(uint8(i), uint8(i+int(op)), uint8(6), []byte{op, 1, 2})
		}
	}
	f.Fuzz(func(t *testing.T, which, other, mode uint8, program []byte) {
		p := octets(program[:min(len(program), 64)])
		data, rest := tr.msgs[int(which)%len(tr.msgs)], tr.msgs[int(other)%len(tr.msgs)]
		if mode&2 == 0 {
			data = damage(data, rest, &p)
		}
		m, err := UnmarshalMessage(data)
		if err != nil {
			return
		}
		o := must[*Message](t)(UnmarshalMessage(rest))
		if mode&2 != 0 && m.Public != nil && o.Public != nil {
			exchange(m.Public, o.Public, &p)
			m.Public.content.body = nil
		}
		if mode&4 != 0 && m.Public != nil {
			m.Public = tr.resign(m.Public, mode&8 == 0)
		}
		// what cannot be encoded cannot be sent
		if data, err = m.Bytes(); err != nil {
			return
		}
		if m, err = UnmarshalMessage(data); err != nil {
			return
		}
		tr.feed(t, m, int(which))
	})
}

// feed has the hub and all members process a message and compares. Who is looked at in detail follows from turn.
func (tr *traffic) feed(t *testing.T, m *Message, turn int) {
	hub := must[*PublicGroup](t)(RestorePublicGroup(tr.cfg, tr.hub))
	_, hubErr := hub.Process(m)
	if m.Public != nil && (hubErr != nil || m.ContentType() == ContentTypeCommit) {
		equal(t, "state of the hub", must[[]byte](t)(hub.State()), tr.hub)
	}
	for i := range tr.members {
		err := tr.feedMember(t, m, i, i == turn%len(tr.members))
		switch {
		case m.Public == nil:
		case hubErr != nil && err == nil:
			t.Errorf("hub: %v, member %d accepts", hubErr, i)
		case hubErr == nil && err != nil && !slices.Contains(unseen, err.Error()):
			t.Errorf("the hub accepts, member %d: %v", i, err)
		case hubErr != nil && err.Error() != hubErr.Error() && !slices.Contains(unseen, err.Error()):
			t.Errorf("hub: %v, member %d: %v", hubErr, i, err)
		}
	}
}

// feedMember has a member process a message. A copy of one that is not looked at will do where no key is consumed.
func (tr *traffic) feedMember(t *testing.T, m *Message, i int, look bool) error {
	if m.Public != nil && !look {
		g := *tr.groups[i]
		_, err := g.Process(m)
		return err
	}
	g := tr.restore(t, i)
	r, err := g.Process(m)
	if err != nil {
		if err != ErrOwnMessage {
			equal(t, "state after an error", must[[]byte](t)(g.State()), tr.members[i].state)
		}
		equal(t, "ratchets after an error", must[[]byte](t)(g.RatchetState()), tr.members[i].ratchets)
		return err
	}
	if r.Commit != nil {
		equal(t, "state before the merge", must[[]byte](t)(g.State()), tr.members[i].state)
		if err := g.Merge(r.Commit); err != nil {
			t.Errorf("member %d cannot merge: %v", i, err)
		}
	}
	return nil
}

// What a scenario recorded is accepted as it is: the fuzzer begins with what works.
func TestTrafficIsGood(t *testing.T) {
	tr := recordTraffic(t)
	for n, data := range tr.msgs {
		m := must[*Message](t)(UnmarshalMessage(data))
		accepted := 0
		for i := range tr.members {
			switch err := tr.feedMember(t, m, i, true); err {
			case nil:
				accepted++
			case ErrOwnMessage, ErrReplayed:
			default:
				t.Errorf("message %d, member %d: %v", n, i, err)
			}
		}
		if m.ContentType() == ContentTypeCommit && accepted < len(tr.members)-1 {
			t.Errorf("commit %d is accepted by %d members", n, accepted)
		}
	}
	for i, g := range tr.groups {
		equal(t, "state of a member that only looked", must[[]byte](t)(g.State()), tr.members[i].state)
	}
}
