package mls

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// device is one client on its way into the group, in it, or removed.
type device struct {
	name    string
	client  *Client
	key     *KeyPackageSecrets // until the Welcome comes
	g       *Group             // nil before
	lost    bool               // its Welcome never comes
	joined  uint64             // its first epoch
	inbox   []*letter
	fetched int          // how much of the hub's log it has asked for
	done    map[int]bool // proposals that it has
	sent    *letter      // its commit that waits for the hub
	reads   map[sendersRatchet]*readModel
	counts  map[ratchetUse]uint32  // messages sent by itself
	exports map[ComponentID]uint64 // the last epoch of which it had a component's secret
	used    [][]byte               // secrets that must not be stored any more
	pieces  pieceStore             // of the ratchet state, nil if they have not been asked for
}

// sendersRatchet names a ratchet of a sender in an epoch, ratchetUse one of our own.
type (
	ratchetUse struct {
		epoch uint64
		kind  ratchetKind
	}
	sendersRatchet struct {
		ratchetUse
		leaf LeafIndex
	}
)

// readModel is what a receiver must know of a ratchet: where it is and which generations it has left out.
type readModel struct {
	next    uint32
	skipped []uint32
}

// outcome is what must come of a generation; a success is noted.
func (r *readModel) outcome(generation uint32, note bool) error {
	if generation < r.next {
		i := slices.Index(r.skipped, generation)
		if i < 0 {
			return ErrReplayed
		}
		if note {
			r.skipped = slices.Delete(r.skipped, i, i+1)
		}
		return nil
	}
	if generation-r.next > maxSkip {
		return errGeneration
	}
	if note {
		for g := r.next; g < generation; g++ {
			r.skipped = append(r.skipped, g)
		}
		r.skipped = r.skipped[max(0, len(r.skipped)-maxStored):]
		r.next = generation + 1
	}
	return nil
}

func (m *model) newDevice() *device {
	m.next++
	name := fmt.Sprint("n", m.next)
	return m.deviceOf(name, newTestClientOf(m.t, m.r, m.suite, name))
}

func (m *model) deviceOf(name string, c *Client) *device {
	return &device{
		name: name, client: c, done: map[int]bool{}, reads: map[sendersRatchet]*readModel{}, counts: map[ratchetUse]uint32{},
		exports: map[ComponentID]uint64{},
	}
}

// ready reports whether a device can act.
func (d *device) ready() bool { return d.g != nil && d.g.Active() && !d.g.joining }

// idle reports whether it can begin a commit.
func (d *device) idle() bool { return d.ready() && !d.g.HasPending() && d.sent == nil }

func (d *device) put(l *letter) { d.inbox = append(d.inbox, l) }

// send puts a letter into a device's inbox: perhaps never, twice, or before others.
func (m *model) send(d *device, l *letter) {
	if d.lost || d.g != nil && !d.g.Active() {
		return
	}
	if m.chance(4) {
		m.stats["lost"]++
		return
	}
	for range 1 + m.r.IntN(100)/94 {
		at := len(d.inbox)
		if m.chance(20) {
			at = m.r.IntN(at + 1)
		}
		d.inbox = slices.Insert(d.inbox, at, l)
	}
}

// stepOpen has a device open some of its letters.
func (m *model) stepOpen() {
	d := m.pick(func(d *device) bool { return len(d.inbox) > 0 })
	for range 1 + m.r.IntN(8) {
		if d == nil || len(d.inbox) == 0 {
			return
		}
		i := 0
		if m.chance(30) {
			i = m.r.IntN(len(d.inbox))
		}
		m.openAt(d, i)
	}
}

// openAt opens one letter, which stays in the inbox if its time has not come.
func (m *model) openAt(d *device, i int) (done bool) {
	l := d.inbox[i]
	if done = m.open(d, l); done {
		d.inbox = slices.Delete(d.inbox, i, i+1)
	}
	return done
}

// stepCatchUp has a device read all there is, with what it missed.
func (m *model) stepCatchUp() {
	if d := m.pick(func(d *device) bool { return !d.lost }); d != nil {
		m.catchUp(d)
	}
}

func (m *model) catchUp(d *device) {
	for _, l := range m.hub.log[min(d.fetched, len(m.hub.log)):] {
		// texts that are lost stay lost
		if l.kind != letterText && !slices.Contains(d.inbox, l) && !d.done[l.id] {
			d.put(l)
		}
	}
	for progress := true; progress; {
		progress = false
		for i := 0; i < len(d.inbox); {
			if m.openAt(d, i) {
				progress = true
			} else {
				i++
			}
		}
	}
	d.fetched = len(m.hub.log)
	if d.g != nil && d.g.Active() && !d.g.joining && d.g.Epoch() != m.hub.epoch() {
		m.fatalf("%s has caught up to epoch %d of %d: inbox %d", d.name, d.g.Epoch(), m.hub.epoch(), len(d.inbox))
	}
}

// stepAll has the hub and everybody look at all there is. Then everybody is at the hub's epoch and talks.
func (m *model) stepAll() {
	for len(m.hub.queue) > 0 {
		m.stepHub()
	}
	for _, d := range slices.Clone(m.devices) {
		if !d.lost {
			m.catchUp(d)
		}
	}
	for _, d := range slices.Clone(m.devices) {
		if d.ready() {
			m.text(d)
		}
	}
}

// open has a device open a letter and reports whether that was the end of it.
func (m *model) open(d *device, l *letter) (done bool) {
	switch {
	case l.kind == letterWelcome:
		return m.join(d, l)
	case l.kind == letterRefusal:
		m.refused(d, l.of)
		return true
	case d.g == nil:
		return false // its Welcome comes later
	case l.kind == letterCommit && l.from == d && d.sent == l:
		return m.accepted(d, l)
	}
	return m.receive(d, l)
}

// join enters the group by a Welcome.
func (m *model) join(d *device, l *letter) bool {
	if d.g != nil {
		m.fatalf("second welcome for %s", d.name)
	}
	w := must[*Welcome](m.t)(UnmarshalWelcome(must[[]byte](m.t)(l.of.bundle.Welcome.Bytes())))
	g, err := JoinWelcome(m.cfg, d.client, w, l.of.tree, d.key)
	if err != nil {
		m.fatalf("%s cannot join: %v", d.name, err)
	}
	d.g, d.joined = g, g.Epoch()
	// RFC 9420, Section 9.2 and 12.4.3.1: what the Welcome brought has been used
	secrets := must[*groupSecrets](m.t)(w.openSecrets(d.key))
	d.spend(must[[]byte](m.t)(d.key.initKey.bytes()), secrets.joinerSecret, secrets.pathSecret)
	d.key = nil
	m.stats["joined"]++
	return true
}

// refused handles the hub's refusal of something of ours.
func (m *model) refused(d *device, l *letter) {
	switch {
	case l.kind == letterProposal && d.g != nil:
		d.g.ForgetProposal(l.ref)
	case l.kind == letterCommit && d.sent == l:
		d.sent = nil
		if d.g.joining {
			d.g = nil // the join is dropped with its Group
			return
		}
		m.maybeRestart(d, 30)
		m.enter(d, func() error { d.g.DiscardPending(); return nil })
	}
}

// accepted handles our own commit when it comes back.
func (m *model) accepted(d *device, l *letter) bool {
	m.maybeRestart(d, 30)
	d.sent = nil
	if d.g.joining {
		d.joined = l.epoch + 1
		if _, err := d.g.Process(must[*Message](m.t)(UnmarshalMessage(l.data))); err != ErrPendingCommit {
			m.fatalf("%s joins and processes: %v", d.name, err)
		}
	} else {
		if _, err := d.g.Process(must[*Message](m.t)(UnmarshalMessage(l.data))); err != ErrOwnMessage {
			m.fatalf("own commit: %v", err)
		}
	}
	m.enter(d, d.g.MergePending)
	return true
}

// expect is what must come of a letter: nil, or the error.
func (m *model) expect(d *device, l *letter, note bool) error {
	g := d.g
	switch {
	case !g.Active():
		return ErrInactive
	case g.joining:
		return ErrPendingCommit
	case l.epoch > g.Epoch():
		return ErrFutureEpoch
	case l.epoch < g.Epoch() && (l.kind != letterText || l.epoch < d.joined || g.Epoch()-l.epoch > maxPast):
		return ErrPastEpoch
	case l.from == d:
		return ErrOwnMessage
	}
	if l.private {
		key := sendersRatchet{ratchetUse{l.epoch, handshakeRatchet}, l.leaf}
		if l.kind == letterText {
			key.kind = applicationRatchet
		}
		if d.reads[key] == nil {
			d.reads[key] = &readModel{}
		}
		if l.kind == letterCommit && d.lacks(l) {
			note = false // what cannot be understood yet is kept for later
		}
		if err := d.reads[key].outcome(l.generation, note); err != nil {
			return err
		}
	}
	switch {
	case l.kind == letterProposal && d.done[l.id]:
		return ErrReplayed
	case l.kind == letterCommit && d.lacks(l):
		return errEarly
	}
	return nil
}

// errEarly stands for the refusal of a commit of which we have not got all proposals.
var errEarly = fmt.Errorf("mls: commit refers to an unknown proposal")

func (d *device) lacks(l *letter) bool {
	return slices.ContainsFunc(l.refs, func(ref ProposalRef) bool { return d.g.stored(ref) == nil })
}

// receive processes a message of somebody else, or one of our own that comes back, and compares the outcome with the
// model's.
func (m *model) receive(d *device, l *letter) (done bool) {
	msg := must[*Message](m.t)(UnmarshalMessage(l.data))
	want := m.expect(d, l, false)
	if m.chance(10) {
		// a crash after processing and before saving: everything is as before and happens again
		before := m.save(d)
		if _, err := d.g.Process(msg); !sameOutcome(err, want) {
			m.fatalf("%s at %d gets %v of epoch %d: %v, want %v", d.name, d.g.Epoch(), l.kind, l.epoch, err, want)
		}
		m.restore(d, before)
	}
	var before saved
	checked := want != nil && m.chance(25)
	if checked {
		before = m.save(d)
	}
	used := m.peek(d, l, msg)
	r, err := d.g.Process(msg)
	if !sameOutcome(err, want) {
		m.fatalf("%s at %d (since %d) gets %v of epoch %d, generation %d: %v, want %v", d.name, d.g.Epoch(), d.joined, l.kind, l.epoch, l.generation, err, want)
	}
	m.expect(d, l, true)
	if checked {
		after := m.save(d)
		equal(m.t, "state after an error", after.state, before.state)
		equal(m.t, "ratchets after an error", after.ratchets, before.ratchets)
	}
	if err != nil {
		return err != ErrFutureEpoch && err != ErrPendingCommit && !sameOutcome(err, errEarly)
	}
	m.stats["processed"]++
	switch l.kind {
	case letterText:
		m.stats["texts read"]++
		if string(r.Application) != l.text || r.Epoch != l.epoch || r.Sender.Leaf != l.leaf || string(r.Credential.Identity) != l.from.name {
			m.fatalf("%s reads %q, want %q", d.name, r.Application, l.text)
		}
	case letterProposal:
		d.done[l.id] = true
		if !bytes.Equal(r.Ref, l.ref) {
			m.fatalf("%s has another reference of a proposal", d.name)
		}
	case letterCommit:
		m.merge(d, l, r.Commit)
	}
	d.spend(used...)
	if d.pieces != nil && m.chance(20) {
		m.storePieces(d)
	}
	return true
}

func sameOutcome(err, want error) bool {
	return err == want || err != nil && want == errEarly && strings.HasSuffix(err.Error(), "unknown proposal")
}

// merge enters the epoch of a commit of somebody else; a crash in between changes nothing.
func (m *model) merge(d *device, l *letter, s *StagedCommit) {
	if m.chance(10) {
		m.restart(d)
		if err := d.g.Merge(s); err != ErrStaleCommit {
			m.fatalf("commit staged before a restart: %v", err)
		}
		s = must[*Received](m.t)(d.g.Process(must[*Message](m.t)(UnmarshalMessage(l.data)))).Commit
	}
	if s.Removed() {
		m.leave(d, l, s)
		return
	}
	if d.g.outgoing != nil {
		d.sent = nil // it has lost the race
		m.stats["lost races"]++
	}
	m.enter(d, func() error { return d.g.Merge(s) })
}
