package mls

import (
	"bytes"
	"maps"
	"slices"
)

// check compares each member with what is true in its epoch, and the hub with the last one.
func (m *model) check() {
	m.t.Helper()
	for _, d := range m.devices {
		if d.ready() {
			m.checkMember(d)
		}
	}
	if p := m.hub.public; p != nil {
		e := m.truth[m.hub.epoch()]
		if p.Epoch() != m.hub.epoch() || !bytes.Equal(p.state.framing.context, e.context) || !bytes.Equal(p.state.confirmationTag, e.tag) ||
			!bytes.Equal(must[[]byte](m.t)(p.RatchetTree()), m.hub.tree) || !sameData(p.AppData(), e.dictionary) {
			m.fatalf("the hub is not what the members are")
		}
	}
}

func sameData(a, b AppDataDictionary) bool {
	return slices.EqualFunc(a, b, func(a, b ComponentData) bool { return a.ID == b.ID && bytes.Equal(a.Data, b.Data) })
}

// checkMember compares one member's view with that of its epoch. The context holds the tree hash, the confirmed
// transcript hash and the extensions.
func (m *model) checkMember(d *device) {
	m.t.Helper()
	g := d.g
	e := m.truth[g.Epoch()]
	if !bytes.Equal(g.state.framing.context, e.context) || !bytes.Equal(g.ConfirmationTag(), e.tag) {
		m.fatalf("%s has another context at epoch %d", d.name, g.Epoch())
	}
	if !bytes.Equal(g.EpochAuthenticator(), e.authenticator) ||
		!bytes.Equal(must[[]byte](m.t)(g.Export("model", []byte("context"), 40)), e.exported) {
		m.fatalf("%s has other secrets at epoch %d", d.name, g.Epoch())
	}
	var members []LeafIndex
	for _, x := range g.Members() {
		members = append(members, x.Index)
	}
	if !slices.Equal(members, e.members) || !sameData(g.AppData(), e.dictionary) {
		m.fatalf("%s has other members or data at epoch %d", d.name, g.Epoch())
	}
	// RFC 9420, Section 4.2: a member knows the keys of the nodes on its direct path at which it is not unmerged
	want := []nodeIndex{g.leaf.node()}
	for _, x := range directPath(g.leaf.node(), g.state.tree.leafCount()) {
		if p := g.state.tree.parentAt(x); p != nil && !slices.Contains(p.UnmergedLeaves, g.leaf) {
			want = append(want, x)
		}
	}
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(g.keys)); !slices.Equal(have, want) {
		m.fatalf("%s, leaf %d, has the keys of %v, not of %v", d.name, g.leaf, have, want)
	}
	for x, key := range g.keys {
		if !bytes.Equal(key.public, g.state.tree.publicKey(x)) {
			m.fatalf("%s has another key for node %d than the tree", d.name, x)
		}
	}
}

// saved is the stored form of a member.
type saved struct{ state, ratchets []byte }

// save encodes a member, looks for what must not be stored any more and bounds the size.
func (m *model) save(d *device) saved {
	m.t.Helper()
	s := saved{must[[]byte](m.t)(d.g.State()), must[[]byte](m.t)(d.g.RatchetState())}
	for i, secret := range d.used {
		if bytes.Contains(s.state, secret) || bytes.Contains(s.ratchets, secret) {
			m.fatalf("%s still stores a secret (%d of %d) that it has used", d.name, i, len(d.used))
		}
	}
	tree, context := len(must[RatchetTree](m.t)(d.g.RatchetTree())), len(d.g.state.framing.context)
	pending := 0
	for i := range d.g.pending {
		pending += len(must[[]byte](m.t)(marshal(&d.g.pending[i].Proposal))) + 256
	}
	leaves := int(d.g.state.tree.leafCount())
	// the tree, a pending commit's part of it, and of each past epoch its context and who changed
	limit := 2*tree + pending + 8*context + (maxPast+2)*(1024+120*leaves) + maxResumption*64
	if len(s.state) > limit {
		m.fatalf("%s stores %d octets of state, more than %d", d.name, len(s.state), limit)
	}
	// two secrets, and of each skipped message its generation, key and nonce
	suite := d.g.state.suite
	ratchet := 2 * (5 + suite.hashSize + maxStored*(4+suite.keySize+suite.nonceSize))
	if limit := (maxPast + 1) * (32 + leaves*(ratchet+2*suite.hashSize+16)); len(s.ratchets) > limit {
		m.fatalf("%s stores %d octets of ratchets, more than %d", d.name, len(s.ratchets), limit)
	}
	return s
}

func (m *model) restore(d *device, s saved) {
	m.t.Helper()
	g, err := RestoreGroup(m.cfg, d.client, s.state, s.ratchets)
	if err != nil {
		m.fatalf("%s cannot be restored: %v", d.name, err)
	}
	d.g, d.pieces = g, nil // which begins with all pieces
}

// restart saves and restores a member, with the ratchet state whole or in pieces, and saves it again, which gives the
// same octets.
func (m *model) restart(d *device) {
	m.t.Helper()
	before := m.save(d)
	if m.chance(50) {
		m.storePieces(d)
		list := d.pieces.list()
		g, err := RestoreGroupFrom(m.cfg, d.client, before.state, list)
		if err != nil {
			m.fatalf("%s cannot be restored from %d pieces: %v", d.name, len(list), err)
		}
		d.g = g
		m.stats["from pieces"]++
	} else {
		m.restore(d, before)
	}
	after := m.save(d)
	if !bytes.Equal(after.state, before.state) || !bytes.Equal(after.ratchets, before.ratchets) {
		m.fatalf("%s is not what it was before the restart", d.name)
	}
}

// storePieces stores the pieces of the ratchet state that have changed, and looks for what must not be stored.
func (m *model) storePieces(d *device) {
	m.t.Helper()
	if d.pieces == nil {
		d.pieces = pieceStore{}
	}
	d.pieces.save(m.t, d.g)
	for id, data := range d.pieces {
		for _, secret := range d.used {
			if bytes.Contains(data, secret) {
				m.fatalf("%s still stores a secret that it has used in %v", d.name, id)
			}
		}
	}
}

func (m *model) maybeRestart(d *device, percent int) {
	if m.chance(percent) {
		m.restart(d)
	}
}

// spend notes secrets that must not be found in the stored state any more. The last ones are kept.
func (d *device) spend(secrets ...[]byte) {
	for _, s := range secrets {
		if len(s) > 0 {
			d.used = append(d.used, bytes.Clone(s))
		}
	}
	if n := len(d.used); n > 150 {
		d.used = slices.Clone(d.used[n-100:])
	}
}

// enter begins a new epoch, or gives up a commit, and notes what is superseded by it.
func (m *model) enter(d *device, f func() error) {
	m.t.Helper()
	old := map[string]bool{}
	addKeys := func(keys treeKeys) {
		for _, k := range keys {
			old[string(must[[]byte](m.t)(k.bytes()))] = true
		}
	}
	addSecrets := func(e *epochSecrets) {
		for _, s := range [][]byte{e.exporter, e.authenticator, e.external, e.confirmation, e.init} {
			old[string(s)] = true
		}
	}
	addKeys(d.g.keys)
	addSecrets(d.g.secrets)
	if o := d.g.outgoing; o != nil {
		addKeys(o.member.keys)
		addSecrets(o.member.secrets)
		old[string(o.member.secrets.resumption)] = true
	}
	for _, p := range d.g.pending {
		if p.leafKey != nil {
			old[string(must[[]byte](m.t)(p.leafKey.bytes()))] = true
		}
	}
	if err := f(); err != nil {
		m.fatalf("%s: %v", d.name, err)
	}
	for _, k := range d.g.keys {
		delete(old, string(must[[]byte](m.t)(k.bytes())))
	}
	for _, p := range d.g.pending {
		if p.leafKey != nil {
			delete(old, string(must[[]byte](m.t)(p.leafKey.bytes())))
		}
	}
	for _, s := range [][]byte{d.g.secrets.exporter, d.g.secrets.authenticator, d.g.secrets.external, d.g.secrets.confirmation, d.g.secrets.init, d.g.secrets.resumption} {
		delete(old, string(s))
	}
	for _, s := range slices.Sorted(maps.Keys(old)) {
		d.spend([]byte(s))
	}
}

// secretsOf are the secrets with which a member reads messages of an epoch.
func (d *device) secretsOf(epoch uint64) *epochSecrets {
	if d.g.Epoch() == epoch {
		return d.g.secrets
	}
	for _, p := range d.g.past {
		if p.framing.epoch == epoch {
			return p.secrets
		}
	}
	return nil
}

// peek derives what reading a private message will consume: its key, the secrets that the key came from, and the
// node of the secret tree above.
func (m *model) peek(d *device, l *letter, msg *Message) [][]byte {
	if msg.Private == nil || !d.g.Active() || d.secretsOf(l.epoch) == nil {
		return nil
	}
	secrets := d.secretsOf(l.epoch)
	data, err := secrets.openSenderData(msg.Private)
	if err != nil {
		m.fatalf("%s cannot read the sender of a message: %v", d.name, err)
	}
	if data.leaf != l.leaf || data.generation != l.generation {
		m.fatalf("message of leaf %d, generation %d, is of %d, %d", l.leaf, l.generation, data.leaf, data.generation)
	}
	return m.consumed(secrets, data.leaf, ratchetOf(msg.Private.contentType), data.generation)
}

// consumed lists the secrets that the use of one generation consumes.
func (m *model) consumed(secrets *epochSecrets, leaf LeafIndex, kind ratchetKind, generation uint32) [][]byte {
	use, err := secrets.tree.find(leaf, kind, generation)
	if err != nil {
		return nil
	}
	used := [][]byte{bytes.Clone(use.key)}
	if r := use.ratchets[kind]; generation >= r.generation {
		used = append(used, bytes.Clone(r.secret))
	}
	if use.split != nil {
		used = append(used, bytes.Clone(secrets.tree.nodes[use.split.top]))
	}
	return used
}

// leave is the end of a removed member. Its keys open nothing of the commit that removes it, and what is sent later it
// cannot read, whatever it kept.
func (m *model) leave(d *device, l *letter, s *StagedCommit) {
	context := *s.next.context
	context.ConfirmedTranscriptHash = d.g.state.context.ConfirmedTranscriptHash
	data := must[[]byte](m.t)(context.Bytes())
	if l.commit.Path == nil {
		m.fatalf("%s is removed without a path", d.name)
	}
	for _, node := range l.commit.Path.Nodes {
		for _, ct := range node.EncryptedPathSecret {
			for _, key := range d.g.keys {
				if _, err := key.DecryptWithLabel("UpdatePathNode", data, ct); err == nil {
					m.fatalf("%s opens the path that removes it", d.name)
				}
			}
		}
	}
	kept := m.save(d)
	d.sent = nil
	if err := d.g.Merge(s); err != nil {
		m.fatalf("%s: %v", d.name, err)
	}
	secrets := []saved{m.save(d)}
	if d.g.Active() || len(d.g.keys) > 0 || d.g.secrets != nil || len(secrets[0].ratchets) > 1 {
		m.fatalf("%s keeps secrets of the group that it left", d.name)
	}
	m.restart(d)
	if _, err := d.g.Encrypt(nil, nil); err != ErrInactive {
		m.fatalf("%s has left and encrypts: %v", d.name, err)
	}
	m.devices = slices.DeleteFunc(m.devices, func(x *device) bool { return x == d })
	m.former = append(m.former, d)
	m.ghosts = append(m.ghosts, must[*Group](m.t)(RestoreGroup(m.cfg, d.client, kept.state, kept.ratchets)))
	if n := len(m.ghosts); n > 4 {
		m.ghosts = slices.Clone(m.ghosts[n-4:])
	}
	m.stats["left"]++
}

// haunt has removed members that kept what they had to delete try what was sent after their removal, under its own
// epoch and under theirs.
func (m *model) haunt(l *letter) {
	for _, g := range m.ghosts {
		if l.epoch <= g.Epoch() {
			continue
		}
		msg := must[*Message](m.t)(UnmarshalMessage(l.data))
		if _, err := g.Process(msg); err != ErrFutureEpoch {
			m.fatalf("%s was removed and gets %v", g.client.Credential.Identity, err)
		}
		msg.Private.epoch = g.Epoch()
		if _, err := g.Process(msg); err == nil {
			m.fatalf("%s was removed and reads", g.client.Credential.Identity)
		}
		m.stats["haunted"]++
	}
}
