package server

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"kith/db"
	"kith/mimi"
	"kith/mimi/room"
)

const maxRooms = 256 // rooms that are kept in memory though nobody uses them

// localRoom is a room in memory.
type localRoom struct {
	cache *roomCache
	uri   string
	place *list.Element
	users int // who holds it, guarded by the cache's lock

	mu     sync.Mutex // held while deciding; an update holds it until its outcome is committed
	loaded bool
	id     int64
	hub    *room.Hub

	// The fanout's own once loaded.
	audience []int64 // devices that get its events
	readers  []int64 // and those of them that get its messages
}

// roomCache keeps rooms in memory while they are in use, and the most recently used ones after that. A room is in use
// also while something of it is on its way through the database or the fanout: what is loaded is never older than what
// was decided.
type roomCache struct {
	hub    *localHub
	mu     sync.Mutex
	rooms  map[string]*localRoom
	recent list.List // *localRoom, most recently used first
}

func (c *roomCache) init(h *localHub) {
	c.hub = h
	c.rooms = make(map[string]*localRoom)
	c.recent.Init()
}

// acquire returns a room, loading it where necessary, or opUnknown. The caller gives it back with release.
func (c *roomCache) acquire(ctx context.Context, id mimi.RoomID) (*localRoom, error) {
	uri := id.String()
	c.mu.Lock()
	r := c.rooms[uri]
	if r == nil {
		r = &localRoom{cache: c, uri: uri}
		r.place = c.recent.PushFront(r)
		c.rooms[uri] = r
	} else {
		c.recent.MoveToFront(r.place)
	}
	r.users++
	c.mu.Unlock()

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded {
		return r, nil
	}
	if err := r.load(ctx); err != nil {
		r.release()
		if errors.Is(err, db.ErrNotFound) {
			err = opUnknown
		}
		return nil, err
	}
	return r, nil
}

func (r *localRoom) load(ctx context.Context) error {
	h := r.cache.hub
	return h.db.Read(ctx, func(tx *db.Tx) error {
		row, err := tx.RoomByURI(r.uri)
		if err != nil {
			return err
		}
		last, err := tx.LastTime(row.ID)
		if err != nil {
			return err
		}
		members, err := tx.Members(row.ID)
		if err != nil {
			return err
		}
		state, err := room.Restore(h.mls, row.State, uint64(last))
		if err != nil {
			return err
		}
		audience := make([]int64, len(members))
		var silent []int64
		for i, m := range members {
			audience[i] = m.Device
			if !m.Messages {
				silent = append(silent, m.Device)
			}
		}
		r.id, r.hub, r.audience, r.readers, r.loaded = row.ID, state, audience, without(audience, silent), true
		return nil
	})
}

// retain keeps the room in memory for one more user.
func (r *localRoom) retain() {
	r.cache.mu.Lock()
	r.users++
	r.cache.mu.Unlock()
}

// release gives the room back.
func (r *localRoom) release() {
	c := r.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	r.users--
	for c.recent.Len() > maxRooms {
		oldest := c.recent.Back()
		for oldest != nil && oldest.Value.(*localRoom).users > 0 {
			oldest = oldest.Prev()
		}
		if oldest == nil {
			return
		}
		c.recent.Remove(oldest)
		delete(c.rooms, oldest.Value.(*localRoom).uri)
	}
}
