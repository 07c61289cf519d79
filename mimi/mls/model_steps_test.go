package mls

import (
	"fmt"
	"slices"
)

// stepSend has a device send a text.
func (m *model) stepSend() {
	if d := m.pick((*device).ready); d != nil {
		m.text(d)
	}
}

func (m *model) text(d *device) {
	l := m.encrypt(d)
	m.haunt(l)
	m.hub.submit(l)
}

// encrypt makes a text and notes the key that it consumed.
func (m *model) encrypt(d *device) *letter {
	use := ratchetUse{d.g.Epoch(), applicationRatchet}
	used := m.consumed(d.g.secrets, d.g.leaf, applicationRatchet, d.counts[use])
	text := fmt.Sprint("text ", m.next, " ", m.r.IntN(1000))
	l := m.letter(letterText, d, must[*Message](m.t)(d.g.Encrypt(m.r.octets(8), []byte(text))))
	l.private, l.text, l.leaf, l.generation = true, text, d.g.leaf, d.counts[use]
	d.counts[use]++
	d.spend(used...)
	return l
}

// stepExport has a device take the secret of its epoch for a component, which it gets once and which is everybody's.
func (m *model) stepExport() {
	d := m.pick((*device).ready)
	if d == nil {
		return
	}
	id := ComponentID(m.r.IntN(3) * 1000)
	epoch := d.g.Epoch() + 1 // 0 is never
	secret, err := d.g.SafeExportSecret(id)
	if d.exports[id] == epoch {
		if err != ErrExported {
			m.fatalf("%s exports again: %v", d.name, err)
		}
		return
	}
	if err != nil {
		m.fatalf("%s cannot export: %v", d.name, err)
	}
	d.exports[id] = epoch
	d.spend(secret)
	all := m.truth[d.g.Epoch()].exports
	if all[id] == nil {
		all[id] = secret
	}
	equal(m.t, "exported secret", secret, all[id])
}

// stepBurst has a device send so many texts that the bounds of those who miss most of them are exceeded.
func (m *model) stepBurst() {
	d := m.pick((*device).ready)
	if d == nil {
		return
	}
	n := maxStored + 2 + m.r.IntN(10)
	if m.chance(10) {
		n = maxSkip + 2
	}
	letters := make([]*letter, n)
	for i := range letters {
		letters[i] = m.encrypt(d)
	}
	arrived := []*letter{letters[n-1]}
	for range 6 {
		if l := letters[m.r.IntN(n)]; !slices.Contains(arrived, l) {
			arrived = append(arrived, l)
		}
	}
	m.r.Shuffle(len(arrived), func(i, j int) { arrived[i], arrived[j] = arrived[j], arrived[i] })
	for _, l := range arrived {
		m.hub.take(l)
	}
}

// commit has a device commit what it knows and these proposals.
func (m *model) commit(d *device, proposals []Proposal) *letter {
	m.t.Helper()
	o := CommitOptions{Proposals: proposals, ForcePath: m.chance(50), RenewLeaf: m.chance(10), AAD: m.r.octets(8)}
	var b *CommitBundle
	var err error
	if m.hub.public == nil {
		b, m.lastCommit, err = d.g.privateCommit(o)
	} else {
		b, err = d.g.Commit(o)
	}
	if err != nil {
		m.fatalf("%s cannot commit: %v", d.name, err)
	}
	l := m.commitLetter(d, b)
	if l.private {
		l.leaf, l.generation = d.g.leaf, d.handshakes()
	}
	m.maybeRestart(d, 30)
	return l
}

// commitLetter is the letter with a commit.
func (m *model) commitLetter(d *device, b *CommitBundle) *letter {
	l := m.letter(letterCommit, d, b.Commit)
	l.bundle, l.private = b, b.Commit.Private != nil
	l.tree = must[RatchetTree](m.t)(b.Staged.RatchetTree())
	l.commit = m.lastCommit
	if !l.private {
		l.commit = b.Commit.Public.Commit()
	}
	for _, p := range b.Staged.Proposals() {
		if p.Ref != nil {
			l.refs = append(l.refs, p.Ref)
		}
	}
	d.sent = l
	return l
}

// handshakes is the generation of the next private handshake of a device.
func (d *device) handshakes() uint32 {
	use := ratchetUse{d.g.Epoch(), handshakeRatchet}
	d.counts[use]++
	return d.counts[use] - 1
}

func (m *model) stepCommit() {
	d := m.pick((*device).idle)
	if d == nil {
		return
	}
	var list []Proposal
	for range m.r.IntN(3) {
		if p, ok := m.proposal(d, m.r.IntN(kindsByValue)); ok && fits(list, p) {
			list = append(list, p)
		}
	}
	m.hub.submit(m.commit(d, list))
}

// fits leaves out a second proposal by value of a kind that a commit may have once.
func fits(list []Proposal, p Proposal) bool {
	return !slices.ContainsFunc(list, func(o Proposal) bool {
		switch {
		case o.Type != p.Type:
			return false
		case p.Type == ProposalRemove:
			return o.Remove == p.Remove
		case p.Type == ProposalAppDataUpdate:
			return p.AppDataUpdate.Component == o.AppDataUpdate.Component && (p.AppDataUpdate.Remove || o.AppDataUpdate.Remove)
		}
		return p.Type == ProposalGroupContextExtensions
	})
}

func (m *model) stepAdd() {
	d := m.pick((*device).idle)
	if d == nil {
		return
	}
	var list []Proposal
	for range 1 + m.r.IntN(3+m.limit/10) {
		if p, ok := m.proposal(d, 0); ok {
			list = append(list, p)
		}
	}
	if len(list) > 0 {
		m.hub.take(m.commit(d, list))
	}
}

func (m *model) stepRemove() {
	d := m.pick((*device).idle)
	if d == nil {
		return
	}
	var list []Proposal
	for range 1 + max(0, len(m.hub.members())-m.limit) {
		if p, ok := m.proposal(d, 1); ok && fits(list, p) {
			list = append(list, p)
		}
	}
	if len(list) > 0 {
		m.hub.submit(m.commit(d, list))
	}
}

// stepRace has several commit in one epoch.
func (m *model) stepRace() {
	var letters []*letter
	for range 2 + m.r.IntN(2) {
		d := m.pick(func(d *device) bool { return d.idle() && d.g.Epoch() == m.hub.epoch() })
		if d == nil {
			break
		}
		letters = append(letters, m.commit(d, nil))
	}
	for _, l := range letters {
		m.hub.take(l)
	}
}

// kindsByValue is the number of kinds of proposal.
const kindsByValue = 8

// proposal makes one of a kind, as a device sees the group.
func (m *model) proposal(d *device, kind int) (Proposal, bool) {
	switch e := d.g.Epoch(); kind {
	case 0:
		if len(m.hub.members()) >= m.limit {
			return Proposal{}, false
		}
		return m.invite(d.g.state.tree), true
	case 1:
		members := d.g.Members()
		i := members[m.r.IntN(len(members))].Index
		return RemoveProposal(i), i != d.g.OwnLeaf()
	case 2:
		p, err := d.g.NewPSKProposal(m.r.octets(4))
		return p, err == nil
	case 3:
		nonce := make([]byte, d.g.state.suite.hashSize)
		_, _ = m.r.Read(nonce)
		return PSKProposal(&PreSharedKeyID{
			Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("group"), Epoch: e - min(e, uint64(m.r.IntN(20))), Nonce: nonce,
		}), true
	default:
		return m.dataProposal(d.g.Context(), kind)
	}
}

// dataProposal makes one that is about the application's data.
func (m *model) dataProposal(c *GroupContext, kind int) (Proposal, bool) {
	id := ComponentID(9 + m.r.IntN(3))
	switch kind {
	case 4:
		return GroupContextExtensionsProposal(c.Extensions.Set(ExtensionApplicationID, m.r.octets(8))), true
	case 5:
		return AppDataUpdateProposal(id, m.r.octets(40)), true
	case 6:
		_, has := appData(c).Get(id)
		return AppDataRemoveProposal(id), has
	default:
		return Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{id, m.r.octets(40)}}, true
	}
}

// invite is an Add of a new device, or of one that was removed and is not in the tree.
func (m *model) invite(t *ratchetTree) Proposal {
	d := m.newDevice()
	if i := slices.IndexFunc(m.former, func(d *device) bool { return !holds(t, d) }); i >= 0 && m.chance(40) {
		old := m.former[i]
		m.former = slices.Delete(m.former, i, i+1)
		d = m.deviceOf(old.name, old.client)
		m.stats["rejoined"]++
	}
	d.key = must[*KeyPackageSecrets](m.t)(NewKeyPackage(m.cfg, d.client, Lifetime{0, 1 << 40}, nil))
	m.waiting[string(must[KeyPackageRef](m.t)(d.key.KeyPackage.Ref()))] = d
	return AddProposal(d.key.KeyPackage)
}

// members are the leaves of the hub's epoch.
func (h *modelHub) members() []LeafIndex { return h.m.truth[h.epoch()].members }

// stepPropose has a device send a proposal by itself.
func (m *model) stepPropose() {
	d := m.pick((*device).ready)
	if d == nil {
		return
	}
	var msg *Message
	var err error
	switch kind := m.r.IntN(kindsByValue + 4); {
	case kind < kindsByValue:
		p, ok := m.proposal(d, kind)
		if !ok {
			return
		}
		msg, err = d.g.Propose(p, m.r.octets(8))
	case kind < kindsByValue+3:
		msg, err = d.g.ProposeUpdate(m.r.octets(4))
	default:
		own := func(p StagedProposal) bool {
			return p.Proposal.Type == ProposalSelfRemove && p.Sender == Sender{Type: SenderMember, Leaf: d.g.leaf}
		}
		if len(m.devices) < 5 || slices.ContainsFunc(d.g.PendingProposals(), own) {
			return
		}
		msg, err = d.g.SelfRemove(m.r.octets(4))
	}
	if err != nil {
		m.fatalf("%s cannot propose: %v", d.name, err)
	}
	pending := d.g.PendingProposals()
	l := m.letter(letterProposal, d, msg)
	l.proposal, l.ref, l.private = pending[len(pending)-1].Proposal, pending[len(pending)-1].Ref, msg.Private != nil
	d.done[l.id] = true
	if l.private {
		l.leaf, l.generation = d.g.leaf, d.handshakes()
	}
	m.maybeRestart(d, 30)
	m.hub.submit(l)
}

// stepOutside has the hub, as external sender, or somebody who wants to join propose something.
func (m *model) stepOutside() {
	c := &m.hub.info.GroupContext
	var p Proposal
	ok, join := true, m.chance(25)
	switch kind := m.r.IntN(6); {
	case join || kind == 0:
		if ok = len(m.hub.members()) < m.limit; ok {
			p = m.invite(m.hub.ratchetTree())
		}
	case kind == 1:
		members := m.hub.members()
		p, ok = RemoveProposal(members[m.r.IntN(len(members))]), len(members) > 4
	default:
		p, ok = m.dataProposal(c, 2+kind)
	}
	if !ok {
		return
	}
	var msg *Message
	if join {
		client := m.waiting[string(must[KeyPackageRef](m.t)(p.Add.Ref()))].client
		msg = must[*Message](m.t)(ProposeJoin(c, client.SignatureKey, p.Add, m.r.octets(4)))
	} else {
		msg = must[*Message](m.t)(ProposeExternal(c, 0, m.hub.key, p, m.r.octets(4)))
	}
	l := m.letter(letterProposal, nil, msg)
	ac := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: msg.Public.content, auth: msg.Public.auth}
	l.proposal, l.ref = p, must[ProposalRef](m.t)(must[*suite](m.t)(suiteOf(m.suite)).proposalRef(ac))
	m.hub.submit(l)
}

// stepExternal has a new device join by an external commit, or one that has lost its state come back in place of its
// leaf.
func (m *model) stepExternal() {
	var proposals []Proposal
	d := m.newDevice()
	t := m.hub.ratchetTree()
	if old := m.pick(func(d *device) bool { return d.g != nil }); m.chance(40) && len(m.devices) > 2 && old != nil {
		if !slices.Contains(m.hub.members(), old.g.leaf) || old.joined > m.hub.epoch() || old.g.joining || t.leaf(old.g.leaf) == nil || !holds(t, old) {
			return
		}
		d = m.deviceOf(old.name, old.client)
		proposals = append(proposals, RemoveProposal(old.g.leaf))
		m.devices = slices.DeleteFunc(m.devices, func(x *device) bool { return x == old })
		m.stats["resync"]++
	} else if len(m.hub.members()) >= m.limit {
		return
	}
	for kind := 5; kind < kindsByValue; kind++ {
		if p, ok := m.dataProposal(&m.hub.info.GroupContext, kind); ok && m.chance(30) && fits(proposals, p) {
			proposals = append(proposals, p)
		}
	}
	var leaving []*Message
	for _, msg := range m.hub.selfRemoves() {
		if len(proposals) == 0 || proposals[0].Type != ProposalRemove || msg.Public.Sender().Leaf != proposals[0].Remove {
			leaving = append(leaving, msg)
		}
	}
	g, b, err := JoinExternalWith(m.cfg, d.client, m.hub.info, m.hub.tree, proposals, leaving, m.r.octets(8))
	if err != nil {
		m.fatalf("external join: %v", err)
	}
	d.g = g
	l := m.commitLetter(d, b)
	m.maybeRestart(d, 50)
	m.hub.submit(l)
}

// ratchetTree is the tree of the hub's epoch.
func (h *modelHub) ratchetTree() *ratchetTree {
	return must[*ratchetTree](h.m.t)(unmarshalRatchetTree(must[*suite](h.m.t)(suiteOf(h.m.suite)), h.tree))
}

// holds reports whether a device has a leaf in the tree.
func holds(t *ratchetTree, d *device) bool {
	for _, l := range t.members {
		if string(l.SignatureKey) == string(d.client.SignatureKey.public) {
			return true
		}
	}
	return false
}
