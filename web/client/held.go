package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kith/mimi"
	"kith/mimi/wire"
)

// An event that cannot be processed yet is held: stored as it came, the cursor behind it, so that the provider may
// forget it. There are two reasons. One that needs an identity root that is not known blocks its room: everything of
// the room that comes after it is held too, in order, and so is what we want to send there. One from a future epoch
// waits alone for the commits before it, which a provider on the way may have delivered late (NT-13).

// Answers of apply that are not reasons to drop an event, but to hold it.
const (
	heldForRoots = "held for identity roots"
	heldForEpoch = "held for a commit"
)

// gapPatience is how long events of a future epoch wait for the commits before them; maxEarly is how many may wait.
const (
	gapPatience = 5 * time.Second
	maxEarly    = 256
)

func (r *room) heldKey(cursor uint64) string { return r.rowKey(keyHeld, fmt.Sprintf("%016x", cursor)) }

// loadHeld notes a held event. What the room waits for is found out by trying.
func (e *engine) loadHeld(r *room, rest string, _ []byte) error {
	cursor, ok := parseSeq(rest)
	if !ok {
		return errRecord
	}
	r.held = append(r.held, cursor)
	r.blocked = true
	return nil
}

// receive applies an event of the stream or holds it; it returns why the event was of no use, or "".
func (e *engine) receive(b *batch, id mimi.RoomID, cursor uint64, message []byte) string {
	if r := e.rooms[id]; r != nil {
		r.news++
		e.setAway(r, false)
		if r.blocked {
			e.hold(b, r, cursor, message)
			return ""
		}
	}
	reason := e.apply(b, id, message)
	switch reason {
	case heldForRoots:
		r := e.roomFor(id)
		r.blocked = true
		b.then = append(b.then, func() { e.roomsChanged = true })
		e.hold(b, r, cursor, message)
	case heldForEpoch:
		r := e.rooms[id]
		if len(r.held) >= maxEarly {
			e.breakRoom(b, r)
			return dropFutureEpoch
		}
		e.hold(b, r, cursor, message)
		e.awaitGap(r)
	default:
		return reason
	}
	return ""
}

func (e *engine) hold(b *batch, r *room, cursor uint64, message []byte) {
	r.held = append(r.held, cursor)
	b.put(r.heldKey(cursor), message)
}

// releaseAll tries what is held in all rooms.
func (e *engine) releaseAll() {
	for _, r := range e.rooms {
		e.startRelease(r)
	}
}

// startRelease tries what is held in a room, in the order in which it came.
func (e *engine) startRelease(r *room) {
	if len(r.held) == 0 {
		return
	}
	r.scan = 0
	if r.releasing {
		return
	}
	r.releasing = true
	e.spawn(func(ctx context.Context) {
		for more := true; more; {
			err := e.do(ctx, func() (err error) { more, err = e.releaseNext(r); return err })
			if err != nil {
				return
			}
		}
	})
}

// releaseNext tries one event, everything it changes and its end in one commit. It reports whether there is another.
func (e *engine) releaseNext(r *room) (more bool, err error) {
	if r.scan >= len(r.held) {
		return false, e.released(r)
	}
	cursor := r.held[r.scan]
	message, err := e.store.Get(context.WithoutCancel(e.ctx), r.heldKey(cursor))
	if err != nil {
		return false, e.storeFailed(err)
	}
	epoch := r.epoch()
	b := new(batch)
	switch reason := e.apply(b, r.id, message); reason {
	case heldForRoots:
		r.releasing, r.blocked = false, true
		return false, nil
	case heldForEpoch:
		r.scan++
		return true, nil
	case "":
	default:
		e.drop(reason)
	}
	if e.ctx.Err() != nil {
		return false, e.stopped()
	}
	r.held = slices.DeleteFunc(r.held, func(c uint64) bool { return c == cursor })
	b.del(r.heldKey(cursor))
	if r.epoch() != epoch {
		r.scan = 0 // what was too early before may be next now
	}
	return true, e.commit(b)
}

// released ends the waiting of a room: what is left is only of epochs to come.
func (e *engine) released(r *room) error {
	e.roomsChanged = e.roomsChanged || r.blocked
	r.releasing, r.blocked = false, false
	if len(r.held) > 0 {
		e.awaitGap(r)
	}
	e.startOutbox(r)
	e.startChange(r)
	return e.dropEmpty(r)
}

// dropEmpty forgets a room that has come to nothing: it was only known for what was held, or for a join that failed.
func (e *engine) dropEmpty(r *room) error {
	if r.rec.order > 0 || r.join != nil || r.joining || r.change != nil || r.blocked {
		return nil
	}
	b := new(batch)
	e.forgetHeld(b, r)
	delete(e.rooms, r.id)
	return e.commit(b)
}

// epoch is that of the group, 0 if there is none in memory.
func (r *room) epoch() uint64 {
	if r.group == nil {
		return 0
	}
	return r.group.Epoch()
}

// awaitGap rejoins the room if the commits that are missing do not come.
func (e *engine) awaitGap(r *room) {
	if r.gap {
		return
	}
	r.gap = true
	e.spawn(func(ctx context.Context) {
		for waiting := true; waiting; {
			var before uint64
			if e.wait(ctx, e.ready) != nil || e.do(ctx, func() error { before = r.epoch(); return nil }) != nil {
				return
			}
			sleep(ctx, gapPatience)
			err := e.do(ctx, func() error {
				waiting = len(r.held) > 0 && !r.blocked && !r.rec.broken && r.join == nil
				if !waiting || r.epoch() != before || !e.ready() {
					return nil
				}
				b := new(batch)
				e.breakRoom(b, r)
				waiting = false
				return e.commit(b)
			})
			if err != nil {
				return
			}
		}
		_ = e.do(ctx, func() error { r.gap = false; return nil })
	})
}

// early reports whether a message is of an epoch that our pending external commit leads to, or of a later one.
func (r *room) early(f *wire.FanoutMessage) bool {
	req, err := wire.UnmarshalUpdateRequest(r.join.request)
	return err == nil && f.Message.Epoch() > req.ProposalOrCommit.Epoch()
}

// forgetHeld deletes what is held of a room.
func (e *engine) forgetHeld(b *batch, r *room) {
	for _, cursor := range r.held {
		b.del(r.heldKey(cursor))
	}
	r.held, r.blocked = nil, false
}

// storeFailed ends the engine because the store could not be read.
func (e *engine) storeFailed(err error) error {
	err = storeError(err)
	e.cancel(err)
	return err
}
