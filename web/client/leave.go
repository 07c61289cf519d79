package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// leaveEcho is how long a device waits for its own leave to come back.
const leaveEcho = 5 * time.Second

// goodbyeTime is how long signing out waits for rooms and provider to hear of it.
const goodbyeTime = 4 * time.Second

// leave takes this user out of a group: off the list, with all devices. Nobody can commit his own removal, so it is
// proposed, and the next member who is there commits it; from the hub's answer on, it counts.
//
// draft-ietf-mimi-protocol-06, Section 3.5
func (e *engine) leave(ctx context.Context, id string) error {
	return e.requestIf(ctx, id, change{kind: changeLeave}, func(v *rooms.View) bool {
		return !v.State().Base.FixedMembership && v.Can(e.user, policy.CanRemoveSelf)
	})
}

// bundle frames proposals, to be sent as one unit. The group forgets them: a proposal of ours that the hub has not
// accepted must not get into a commit, and once it has, this device has no use for the group.
func (e *engine) bundle(r *room, list []mls.Proposal) (*wire.UpdateRequest, error) {
	g := r.group
	r.group = nil // as it is stored
	req, _, err := rooms.NewProposalRequest(g, list)
	return req, err
}

// stageLeave makes the proposals of a leave upon the present epoch.
func (e *engine) stageLeave(b *batch, r *room, p *pendingChange, v *rooms.View) error {
	list, err := rooms.Leave(v, e.dev.client)
	if err != nil {
		return err
	}
	req, err := e.bundle(r, list)
	if err != nil {
		return err
	}
	if p.request, err = req.Bytes(); err != nil {
		return err
	}
	p.hash = hashOf(req.ProposalOrCommit.Raw)
	b.put(r.key(keyChange), p.bytes())
	return nil
}

// departed ends a room that this user has left, once the hub has accepted that.
func (e *engine) departed(b *batch, r *room, timestamp uint64) {
	e.depart(b, r, timestamp, &message{notice: NoticeLeft, sender: e.user.String(), whom: e.user.String()})
}

// departSoon lets what was accepted before the leave arrive: the leave itself comes back behind it. From a hub elsewhere
// its answer is faster than its events. Not every hub sends a leave back to who leaves, so that is not waited for long.
func (e *engine) departSoon(r *room, p *pendingChange, timestamp uint64) {
	e.spawn(func(ctx context.Context) {
		sleep(ctx, leaveEcho)
		_ = e.do(ctx, func() error {
			if r.change != p {
				return nil
			}
			b := new(batch)
			e.departed(b, r, timestamp)
			return e.commit(b)
		})
	})
}

// leavesUs reports whether pending proposals are those of another device of ours that leaves the room for all of them.
func (e *engine) leavesUs(r *room) bool {
	v, err := viewOf(r.group)
	if err != nil {
		return false
	}
	own := v.Participants().Find(e.user.String())
	for _, p := range r.group.PendingProposals() {
		m, ok := v.Member(p.Sender.Leaf)
		if p.Sender.Type != mls.SenderMember || !ok || m.User != e.user || p.Proposal.AppDataUpdate == nil ||
			uint16(p.Proposal.AppDataUpdate.Component) != policy.ParticipantList {
			continue
		}
		u, err := policy.UnmarshalParticipantsUpdate(p.Proposal.AppDataUpdate.Update)
		if err == nil && own >= 0 && slices.Contains(u.RemovedIndices, uint32(own)) {
			return true
		}
	}
	return false
}

// deleteRoom takes a room that this user is no longer in off the list, with everything that was written in it.
func (e *engine) deleteRoom(ctx context.Context, id string) error {
	return e.do(ctx, func() error {
		r, err := e.find(id)
		if err != nil {
			return err
		}
		if !r.rec.removed {
			return fail(CodeNotAllowed, "still in the room")
		}
		b := new(batch)
		for _, kind := range []string{keyMessage, keyMID, keyOutbox, keyEcho, keyLink} {
			list, err := e.store.Range(ctx, r.rowKey(kind, ""), "", "", 0, false)
			if err != nil {
				return err
			}
			for _, kv := range list {
				b.del(kv.Key)
			}
		}
		r.out = nil
		e.forget(b, r)
		return e.commit(b)
	})
}

// goodbye takes this device out of everything as far as that goes in a moment: its leaves out of the rooms, itself off
// the provider's list, so that nobody adds it anywhere. What does not work is no reason to stay signed in.
func (e *engine) goodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	var l *link
	var requests []*api.Request
	err := e.do(ctx, func() error {
		if l = e.link; l == nil || e.dev == nil {
			return errOffline
		}
		for _, r := range e.rooms {
			if body := e.exit(r); body != nil {
				requests = append(requests, &api.Request{Op: api.OpUpdate, Target: r.id.String(), Body: body})
			}
		}
		return nil
	})
	if err != nil {
		return
	}
	var all sync.WaitGroup
	for _, q := range requests {
		all.Go(func() { _, _ = l.call(ctx, q.Op, q.Target, q.Body) })
	}
	all.Wait()
	_, _ = l.call(ctx, api.OpRemoveDevice, e.dev.client.String(), nil)
}

// exit is the proposal to remove this device's leaf from a room; nil if that cannot be made now.
func (e *engine) exit(r *room) []byte {
	g, err := e.groupOf(r)
	if err != nil || g == nil || !r.usable() || g.HasPending() {
		return nil
	}
	req, err := e.bundle(r, []mls.Proposal{mls.SelfRemoveProposal()})
	if err != nil {
		return nil
	}
	body, err := req.Bytes()
	if err != nil {
		return nil
	}
	return body
}

// isLost tells a refusal of the device itself from all others.
func isLost(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == api.StatusNotFound
}

// disown begins anew after the provider has forgotten this device: somebody removed it, or the provider was restored
// from a backup that is older. What was written stays; keys and groups are of no use, and the rooms are entered again
// by the device that is made now.
func (e *engine) disown() error {
	list, err := e.store.Range(e.ctx, "", "", "", 0, false)
	if err != nil {
		return err
	}
	b := new(batch)
	for _, kv := range list {
		for _, gone := range []string{keyDevice, keyCursor, keyPackage, keyGroup, keyRatchet, keyChange, keyJoin, keyEcho} {
			if strings.HasPrefix(kv.Key, gone) {
				b.del(kv.Key)
			}
		}
	}
	for _, r := range e.rooms {
		r.rec.broken = r.rec.order > 0 && !r.rec.removed
		b.put(r.key(keyRoom), r.rec.bytes())
		for _, o := range r.out {
			o.request, o.hash = nil, "" // to be encrypted anew
			b.put(r.outKey(o), o.bytes())
		}
	}
	if err := e.commit(b); err != nil {
		return err
	}
	e.cancel(errDisowned)
	return errDisowned
}
