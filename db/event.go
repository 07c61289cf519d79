package db

import "errors"

// The kinds of events. A create event marks where a room begins and is delivered to nobody; a welcome is delivered only
// to the devices whose membership begins with it.
const (
	EventCreate   = 0
	EventMessage  = 1
	EventProposal = 2
	EventCommit   = 3
	EventWelcome  = 4
)

// HashSize is the size of Event.Hash.
const HashSize = 16

// Event is one thing that happened in a room.
type Event struct {
	ID   int64 // cursor; assigned on append
	Room int64
	Time int64  // accepted_timestamp
	Kind int    // one of the Event constants
	Hash []byte // of the request that caused it, HashSize octets; nil for what else the request caused
	Body []byte // FanoutMessage
}

// AppendEvent stores an event and returns its id. A request that this room has seen before is stored once: fresh is then
// false, and the event is the one that was stored.
func (tx *Tx) AppendEvent(e Event) (stored Event, fresh bool, err error) {
	var hash any
	if e.Hash != nil {
		hash = e.Hash
	}
	id, err := tx.insertOnce(`INSERT INTO event (room, ts, kind, hash, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.Room, e.Time, e.Kind, hash, e.Body)
	if err != nil {
		return Event{}, false, err
	}
	if id == 0 {
		stored, err = tx.EventByHash(e.Room, e.Hash)
		return stored, false, err
	}
	e.ID = id
	return e, true, nil
}

// insertOnce is insert for a statement that may do nothing; it then returns 0.
func (tx *Tx) insertOnce(query string, args ...any) (int64, error) {
	r, err := tx.result(query, args)
	if err != nil {
		return 0, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, wrap(err)
	}
	id, err := r.LastInsertId()
	return id, wrap(err)
}

// EventByHash finds what a request caused in a room, without the body, or returns [ErrNotFound].
func (tx *Tx) EventByHash(room int64, hash []byte) (Event, error) {
	e := Event{Room: room, Hash: hash}
	err := tx.one(`SELECT id, ts, kind FROM event WHERE hash = ? AND room = ?`, []any{hash, room}, &e.ID, &e.Time, &e.Kind)
	return e, err
}

// EventBody returns the FanoutMessage of an event, or [ErrNotFound].
func (tx *Tx) EventBody(id int64) (body []byte, err error) {
	err = tx.one(`SELECT body FROM event WHERE id = ?`, []any{id}, &body)
	return body, err
}

// LastTime returns the accepted_timestamp of a room's newest event, or 0.
func (tx *Tx) LastTime(room int64) (ts int64, err error) {
	err = tx.one(`SELECT ts FROM event WHERE room = ? ORDER BY id DESC LIMIT 1`, []any{room}, &ts)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return ts, err
}

// Head returns the id of the newest event of all rooms, or 0.
func (tx *Tx) Head() (id int64, err error) {
	return id, tx.one(`SELECT ifnull(max(id), 0) FROM event`, nil, &id)
}

// Delivery is an event as a device receives it.
type Delivery struct {
	ID   int64
	Room string // room URI
	Body []byte
}

// Page bounds what one call of [Tx.Backlog] returns.
type Page struct {
	Rows   int   // at most so many events
	Bytes  int   // stop once the bodies are so large
	Window int64 // how far to look ahead at first; grows while there is little
}

// Backlog returns the next events of a device's stream behind a cursor, in order, and the cursor up to which the stream
// is complete with them. When that is the head there was nothing more at the time of this snapshot.
//
// It looks at a window of ids at a time: one seek in the room index for each of the device's memberships, so that a page
// costs the same in a log of any length, and doubles the window while the page is not full.
func (tx *Tx) Backlog(device, after int64, p Page) (page []Delivery, cursor int64, err error) {
	head, err := tx.Head()
	if err != nil || after >= head {
		return nil, max(after, head), err
	}
	cursor = after
	size := 0
	for window := p.Window; cursor < head && len(page) < p.Rows; window *= 2 {
		upTo := min(cursor+window, head)
		ids, err := tx.deliverable(device, cursor, upTo, p.Rows-len(page))
		if err != nil {
			return nil, 0, err
		}
		for _, d := range ids {
			if err := tx.one(`SELECT body FROM event WHERE id = ?`, []any{d.ID}, &d.Body); err != nil {
				return nil, 0, err
			}
			page, cursor, size = append(page, d), d.ID, size+len(d.Body)
			if size >= p.Bytes {
				return page, cursor, nil
			}
		}
		if len(page) < p.Rows {
			cursor = upTo
		}
	}
	return page, cursor, nil
}

// deliverable lists which events with after < id <= upTo a device receives, without bodies.
func (tx *Tx) deliverable(device, after, upTo int64, limit int) ([]Delivery, error) {
	return collect(tx, `SELECT e.id, r.uri FROM member m
		CROSS JOIN event e INDEXED BY event_room ON e.room = m.room
			AND e.id >= max(m.from_event, ?) AND e.id <= min(ifnull(m.to_event, ?), ?)
		JOIN room r ON r.id = m.room
		WHERE m.device = ? AND e.kind <> 0 AND (e.kind <> 4 OR e.id = m.from_event) AND (e.kind <> 1 OR m.messages)
		ORDER BY e.id LIMIT ?`, []any{after + 1, upTo, upTo, device, limit},
		func(d *Delivery, row func(...any) error) error { return row(&d.ID, &d.Room) })
}
