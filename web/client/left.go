package client

import (
	"context"
	"errors"
	"strings"

	"kith/mimi"
	"kith/web/api"
)

// Our provider has no state of another provider's rooms: it learns from its devices that they are no longer in one
// (NT-12), for else it would take the room's events for them for ever.

func (e *engine) loadLeft(list []KV) {
	for _, kv := range list {
		if id, err := mimi.ParseRoomID(strings.TrimPrefix(kv.Key, keyLeft)); err == nil {
			e.left[id] = true
		}
	}
}

// noteLeft has our provider told that this device is no longer in a room of another one.
func (e *engine) noteLeft(b *batch, r *room) {
	if r.id.Provider() == e.user.Provider() {
		return
	}
	e.left[r.id] = true
	b.put(r.key(keyLeft), nil)
	b.then = append(b.then, e.startTelling)
}

// returned: the device is in the room again, and our provider knows that from the event that let it in.
func (e *engine) returned(b *batch, r *room) {
	if e.left[r.id] {
		delete(e.left, r.id)
		b.del(r.key(keyLeft))
	}
}

// startTelling tells until everything is told; without a connection the next one starts it again.
func (e *engine) startTelling() {
	if e.telling || len(e.left) == 0 || !e.ready() {
		return
	}
	e.telling = true
	e.spawn(func(ctx context.Context) {
		for failures := 0; ctx.Err() == nil; {
			var id mimi.RoomID
			// The acknowledgement goes first: the provider sees from it of which membership we speak.
			if e.wait(ctx, func() bool { return !e.ready() || e.acked >= e.cursor }) != nil {
				return
			}
			err := e.do(ctx, func() error {
				for id = range e.left {
					break
				}
				e.telling = !id.IsZero() && e.ready()
				if !e.telling {
					return errStopped
				}
				return nil
			})
			if err != nil {
				return
			}
			_, err = e.call(ctx, api.OpLeft, id.String(), nil)
			var status *statusError
			if errors.As(err, &status) && status.temporary() {
				failures++
				sleep(ctx, longBackoff(failures))
				continue
			}
			if err == nil || status != nil {
				_ = e.do(ctx, func() error { return e.told(id) })
			}
		}
	})
}

// told forgets what our provider knows now, or does not want to know.
func (e *engine) told(id mimi.RoomID) error {
	if !e.left[id] {
		return nil
	}
	delete(e.left, id)
	b := new(batch)
	b.del(keyLeft + id.String())
	return e.commit(b)
}
