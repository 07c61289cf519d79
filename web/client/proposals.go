package client

import (
	"context"
	"errors"
	"time"

	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
)

// Proposals of others, and of the hub, take effect when some member commits them. Before we send anything we do, as
// RFC 9420, Section 12.4 demands (SM-6), and without that reason a little later, unless somebody else was faster.

// commitAfter and commitSpread are when we commit what others have proposed: members that are online do not all try at
// the same moment, and of those that do the hub takes the first.
const (
	commitAfter  = 300 * time.Millisecond
	commitSpread = 2 * time.Second
)

// onProposals keeps the proposals of a bundle, of which the first was processed already. Our own are known, but wait for
// a commit like the others.
func (e *engine) onProposals(b *batch, r *room, f *wire.FanoutMessage) string {
	for _, m := range f.MoreProposals {
		_, err := r.group.Process(m.Message)
		if err != nil && e.rootsWanted() {
			return heldForRoots // what is kept in memory by now will be known again then
		}
		if err != nil && !errors.Is(err, mls.ErrReplayed) && !errors.Is(err, mls.ErrOwnMessage) {
			e.drop(dropCrypto)
		}
	}
	r.saveGroup(b)
	e.notePending(b, r)
	if e.leavesUs(r) {
		e.departed(b, r, f.Timestamp)
	}
	return ""
}

// processStapled keeps the proposals that the hub has made for the epoch of a commit that comes with them (NT-10).
func (e *engine) processStapled(g *mls.Group, f *wire.FanoutMessage) {
	if len(f.ExternalProposals) == 0 {
		return
	}
	v, err := viewOf(g)
	if err == nil {
		err = rooms.ReceiveExternal(g, v, f)
	}
	if err != nil {
		e.drop(dropCrypto)
	}
}

// notePending remembers whether proposals wait for a commit, and sees to it that one comes.
func (e *engine) notePending(b *batch, r *room) {
	pending := len(r.group.ProposalsToCommit()) > 0
	if pending {
		b.then = append(b.then, func() { e.startCommitting(r) })
	}
	if pending == r.proposals {
		return
	}
	r.proposals = pending
	if pending {
		b.put(r.key(keyPending), nil)
	} else {
		b.del(r.key(keyPending))
	}
}

// startCommitting commits the pending proposals in a moment.
func (e *engine) startCommitting(r *room) {
	if r.committing {
		return
	}
	r.committing = true
	e.spawn(func(ctx context.Context) {
		if e.wait(ctx, e.ready) != nil {
			return
		}
		sleep(ctx, commitAfter+jitter(commitSpread))
		_ = e.do(ctx, func() error {
			r.committing = false
			return e.commitPending(r)
		})
	})
}

// commitPending makes a commit of the pending proposals, unless one of ours is on its way or cannot be.
func (e *engine) commitPending(r *room) error {
	if r.change != nil || !r.usable() {
		return nil
	}
	g, err := e.groupOf(r)
	if err != nil || g == nil || r.refused == g.Epoch() || leaving(g) || len(g.ProposalsToCommit()) == 0 {
		return err
	}
	r.change = &pendingChange{change: change{kind: changeCommit}}
	b := new(batch)
	b.put(r.key(keyChange), r.change.bytes())
	if err := e.commit(b); err != nil {
		return err
	}
	e.startChange(r)
	return nil
}

// leaving reports whether our own leaf is to be removed: a commit of ours would be refused.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func leaving(g *mls.Group) bool {
	for _, p := range g.PendingProposals() {
		own := p.Proposal.Type == mls.ProposalSelfRemove && p.Sender.Type == mls.SenderMember && p.Sender.Leaf == g.OwnLeaf()
		if own || p.Proposal.Type == mls.ProposalRemove && p.Proposal.Remove == g.OwnLeaf() {
			return true
		}
	}
	return false
}

// sweeps reports whether the staged commit contains only what others have proposed: what our change is for comes after.
func sweeps(g *mls.Group, c change) bool {
	staged := g.PendingCommit()
	if staged == nil || c.kind == changeCommit || c.kind == changeRenew {
		return false
	}
	for _, p := range staged.Proposals() {
		if p.Ref == nil {
			return false
		}
	}
	return true
}
