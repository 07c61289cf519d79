package server

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
)

const maxRooms = 256 // rooms that are kept in memory though nobody uses them

// liveRoom is a room in memory: one of ours, or one of another provider in which our users are.
type liveRoom struct {
	cache *roomCache
	uri   string
	place *list.Element
	users int // who holds it, guarded by the cache's lock

	mu     sync.Mutex // held while deciding; an update holds it until its outcome is committed
	loaded bool
	hub    *room.Hub // nil where another provider is the hub

	// Do not change once loaded.
	id      int64
	foreign bool // another provider is the hub

	// The fanout's own once loaded.
	audience  []int64  // devices that get its events
	readers   []int64  // and those of them that get its messages
	followers []string // domains of the providers that get its events
}

// roomCache keeps rooms in memory while they are in use, and the most recently used ones after that. A room is in use
// also while something of it is on its way through the database or the fanout: what is loaded is never older than what
// was decided.
type roomCache struct {
	db     *db.DB
	mls    mls.Config
	mu     sync.Mutex
	rooms  map[string]*liveRoom
	recent list.List // *liveRoom, most recently used first
}

func newRoomCache(store *db.DB, config mls.Config) *roomCache {
	c := &roomCache{db: store, mls: config, rooms: make(map[string]*liveRoom)}
	c.recent.Init()
	return c
}

// acquire returns a room, loading it where necessary, or opUnknown. The caller gives it back with release.
func (c *roomCache) acquire(ctx context.Context, id mimi.RoomID) (*liveRoom, error) {
	uri := id.String()
	c.mu.Lock()
	r := c.rooms[uri]
	if r == nil {
		r = &liveRoom{cache: c, uri: uri}
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
		r.discard()
		if errors.Is(err, db.ErrNotFound) {
			err = opUnknown
		}
		return nil, err
	}
	return r, nil
}

func (r *liveRoom) load(ctx context.Context) error {
	return r.cache.db.Read(ctx, func(tx *db.Tx) error {
		row, err := tx.RoomByURI(r.uri)
		if err != nil {
			return err
		}
		members, err := tx.Members(row.ID)
		if err != nil {
			return err
		}
		if row.Hub == "" {
			if err := r.restore(tx, row); err != nil {
				return err
			}
		}
		audience := make([]int64, len(members))
		var silent []int64
		for i, m := range members {
			audience[i] = m.Device
			if !m.Messages {
				silent = append(silent, m.Device)
			}
		}
		r.foreign = row.Hub != ""
		r.id, r.audience, r.readers, r.loaded = row.ID, audience, without(audience, silent), true
		return nil
	})
}

// restore loads what only the hub knows of a room.
func (r *liveRoom) restore(tx *db.Tx, row db.Room) error {
	last, err := tx.LastTime(row.ID)
	if err != nil {
		return err
	}
	followers, err := tx.Followers(row.ID)
	if err != nil {
		return err
	}
	r.followers = nil
	for _, f := range followers {
		r.followers = append(r.followers, f.Provider)
	}
	r.hub, err = room.Restore(r.cache.mls, row.State, uint64(last))
	return err
}

// retain keeps the room in memory for one more user.
func (r *liveRoom) retain() {
	r.cache.mu.Lock()
	r.users++
	r.cache.mu.Unlock()
}

// discard gives a room back that could not be loaded. It keeps no place in memory: names of rooms that do not exist would
// drive out those that do.
func (r *liveRoom) discard() {
	c := r.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.users--; r.users == 0 {
		c.recent.Remove(r.place)
		delete(c.rooms, r.uri)
	}
}

// release gives the room back.
func (r *liveRoom) release() {
	c := r.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	r.users--
	for c.recent.Len() > maxRooms {
		oldest := c.recent.Back()
		for oldest != nil && oldest.Value.(*liveRoom).users > 0 {
			oldest = oldest.Prev()
		}
		if oldest == nil {
			return
		}
		c.recent.Remove(oldest)
		delete(c.rooms, oldest.Value.(*liveRoom).uri)
	}
}
