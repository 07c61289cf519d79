package mls

import (
	"slices"
)

// modelHub takes messages, decides their order and sends them on. It verifies what it can see.
type modelHub struct {
	m      *model
	key    *SignatureKey // the hub is the group's external sender
	public *PublicGroup  // nil where handshakes are private
	info   *GroupInfo
	tree   RatchetTree
	queue  []*letter       // received, not looked at
	log    []*letter       // accepted handshakes and texts, for those who missed them
	known  map[string]bool // accepted proposals of the epoch
}

// letterKind says what a letter is about.
type letterKind int

const (
	letterProposal letterKind = iota
	letterCommit
	letterText
	letterWelcome
	letterRefusal
)

// letter is something on its way to the hub or to a device.
type letter struct {
	id    int
	kind  letterKind
	data  []byte  // the MLSMessage
	from  *device // nil is somebody outside
	epoch uint64

	private    bool
	leaf       LeafIndex // of the sender of a private message
	generation uint32
	text       string

	proposal Proposal
	ref      ProposalRef
	refs     []ProposalRef // of a commit
	commit   *Commit
	bundle   *CommitBundle
	tree     RatchetTree // of the epoch after a commit
	of       *letter     // what is refused, or the commit of a Welcome
}

func (m *model) letter(kind letterKind, from *device, msg *Message) *letter {
	m.next++
	l := &letter{id: m.next, kind: kind, from: from}
	if msg != nil {
		l.data, l.epoch = must[[]byte](m.t)(msg.Bytes()), msg.Epoch()
	}
	return l
}

func (h *modelHub) epoch() uint64 { return h.info.GroupContext.Epoch }

// submit takes a letter now, or leaves it for later among others.
func (h *modelHub) submit(l *letter) {
	if h.m.chance(75) {
		h.take(l)
		return
	}
	h.queue = slices.Insert(h.queue, h.m.r.IntN(len(h.queue)+1), l)
}

// stepHub looks at what has been left.
func (m *model) stepHub() {
	if h := m.hub; len(h.queue) > 0 {
		l := h.queue[0]
		h.queue = h.queue[1:]
		h.take(l)
	}
}

// take accepts or refuses a letter.
func (h *modelHub) take(l *letter) {
	m := h.m
	ok := true
	switch l.kind {
	case letterText:
	case letterProposal:
		ok = h.takeProposal(l)
	case letterCommit:
		// a hub refuses commits for reasons of its own, too
		ok = !m.chance(5) && h.takeCommit(l)
	}
	if !ok {
		m.stats["refused"]++
		refusal := m.letter(letterRefusal, nil, nil)
		refusal.of = l
		if l.from != nil {
			l.from.put(refusal)
		}
		return
	}
	h.log = append(h.log, l)
	for _, d := range m.devices {
		m.send(d, l)
	}
	if l.kind == letterCommit && l.bundle.Welcome != nil {
		h.welcome(l)
	}
}

// restart saves and restores the hub.
func (h *modelHub) restart() {
	if h.public == nil {
		return
	}
	state := must[[]byte](h.m.t)(h.public.State())
	h.public = must[*PublicGroup](h.m.t)(RestorePublicGroup(h.m.cfg, state))
	equal(h.m.t, "hub state", must[[]byte](h.m.t)(h.public.State()), state)
}

// process has the verifier look at a public message of the current epoch; what devices made honestly is valid.
func (h *modelHub) process(l *letter) *Received {
	if h.public == nil || l.private {
		return nil
	}
	r, err := h.public.Process(must[*Message](h.m.t)(UnmarshalMessage(l.data)))
	if l.epoch < h.epoch() {
		if err != ErrPastEpoch {
			h.m.fatalf("hub at epoch %d, message of %d: %v", h.epoch(), l.epoch, err)
		}
		return nil
	}
	if err != nil {
		h.m.fatalf("hub refuses %v: %v", l.proposal.Type, err)
	}
	return r
}

func (h *modelHub) takeProposal(l *letter) bool {
	if l.epoch != h.epoch() {
		h.process(l)
		return false
	}
	if h.known[string(l.ref)] {
		return false
	}
	h.process(l)
	h.known[string(l.ref)] = true
	return true
}

func (h *modelHub) takeCommit(l *letter) bool {
	m := h.m
	if l.epoch != h.epoch() {
		h.process(l)
		return false
	}
	for _, ref := range l.refs {
		if !h.known[string(ref)] {
			return false
		}
	}
	if m.chance(30) {
		h.restart()
	}
	if r := h.process(l); r != nil {
		if err := h.public.Merge(r.Commit, l.bundle.GroupInfo); err != nil {
			m.fatalf("hub: %v", err)
		}
		equal(m.t, "context of the hub", h.public.state.framing.context, l.bundle.Staged.next.framing.context)
	}
	h.info, h.tree, h.known = l.bundle.GroupInfo, l.tree, map[string]bool{}
	m.learn(l.bundle.Staged.next, l.bundle.Staged.member.secrets)
	if d := l.from; d.g.joining {
		d.fetched = len(h.log)
		m.devices = append(m.devices, d)
	}
	m.stats["epochs"]++
	return true
}

// welcome brings in those whom a commit added. They will get what comes from now on.
func (h *modelHub) welcome(commit *letter) {
	m := h.m
	for _, x := range commit.bundle.Welcome.Secrets {
		d := m.waiting[string(x.NewMember)]
		if d == nil {
			m.fatalf("welcome for nobody")
		}
		delete(m.waiting, string(x.NewMember))
		l := m.letter(letterWelcome, nil, nil)
		l.of = commit
		d.fetched = len(h.log)
		m.devices = append(m.devices, d)
		if m.chance(4) {
			d.lost = true // and never joins: a leaf without anybody behind it
			m.stats["lost welcome"]++
			continue
		}
		d.put(l)
	}
}

// pending are the SelfRemove messages of the epoch, for those who join by an external commit.
func (h *modelHub) selfRemoves() []*Message {
	var list []*Message
	for _, l := range h.log {
		if l.kind == letterProposal && l.epoch == h.epoch() && l.proposal.Type == ProposalSelfRemove {
			list = append(list, must[*Message](h.m.t)(UnmarshalMessage(l.data)))
		}
	}
	return list
}
