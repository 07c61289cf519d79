package db

// Follower is a provider that receives a room's events now.
type Follower struct {
	Provider string // domain
	Messages bool   // false: only what moves the group on
}

// AddFollower makes a provider receive a room's events from one on, unless it does already.
func (tx *Tx) AddFollower(room int64, provider string, fromEvent int64) error {
	if err := followers.beginOnce(tx, room, provider, fromEvent); err != nil {
		return err
	}
	// One that has followed before may still have something to get from that time.
	_, err := tx.exec(`INSERT INTO outbox (room, provider, cursor, sending) VALUES (?1, ?2, ?3, ?3) ON CONFLICT DO NOTHING`,
		room, provider, fromEvent-1)
	return err
}

// EndFollower makes an event the last one of a room that a provider receives.
func (tx *Tx) EndFollower(room int64, provider string, toEvent int64) error {
	return followers.end(tx, room, provider, toEvent)
}

// SetFollowerMessages says whether a provider gets a room's messages from an event on, which is none itself.
func (tx *Tx) SetFollowerMessages(room int64, provider string, fromEvent int64, messages bool) error {
	return followers.setMessages(tx, room, provider, fromEvent, messages)
}

// Followers returns the providers that receive a room's events now.
func (tx *Tx) Followers(room int64) ([]Follower, error) {
	return collect(tx, `SELECT provider, messages FROM follower WHERE room = ? AND to_event IS NULL ORDER BY provider`, []any{room},
		func(f *Follower, row func(...any) error) error { return row(&f.Provider, &f.Messages) })
}

// HasFollowed reports whether a provider receives events of a room, or has once.
func (tx *Tx) HasFollowed(room int64, provider string) (ok bool, err error) {
	return ok, tx.one(`SELECT EXISTS (SELECT 1 FROM follower WHERE provider = ? AND room = ?)`, []any{provider, room}, &ok)
}

// AddWelcomeTarget makes a Welcome go to a provider.
func (tx *Tx) AddWelcomeTarget(event int64, provider string) error {
	_, err := tx.exec(`INSERT INTO welcome_target (event, provider) VALUES (?, ?) ON CONFLICT DO NOTHING`, event, provider)
	return err
}

// Outbox says how far a provider has got with a room.
type Outbox struct {
	Room     int64
	URI      string // of the room
	Provider string
	Cursor   int64 // the last event it has
	Sending  int64 // the last event of the request under way; Cursor: none is
	Parked   int64 // since when nothing is tried any more; 0: it is
}

const outboxColumns = `o.room, r.uri, o.provider, o.cursor, o.sending, o.parked FROM outbox o JOIN room r ON r.id = o.room`

func scanOutbox(o *Outbox, row func(...any) error) error {
	return row(&o.Room, &o.URI, &o.Provider, &o.Cursor, &o.Sending, &o.Parked)
}

// Outbox returns how far a provider has got with a room, or [ErrNotFound].
func (tx *Tx) Outbox(room int64, provider string) (Outbox, error) {
	var o Outbox
	err := scanOutbox(&o, func(dest ...any) error {
		return tx.one(`SELECT `+outboxColumns+` WHERE o.room = ? AND o.provider = ?`, []any{room, provider}, dest...)
	})
	return o, err
}

// OpenOutboxes lists those that may have something to deliver, parked ones included.
func (tx *Tx) OpenOutboxes() ([]Outbox, error) {
	return collect(tx, `SELECT `+outboxColumns+` WHERE o.sending > o.cursor
		OR o.cursor < (SELECT max(e.id) FROM event e INDEXED BY event_room WHERE e.room = o.room)`, nil, scanOutbox)
}

// SetOutbox notes what a provider has, and the end of the request that is about to be sent to it.
func (tx *Tx) SetOutbox(room int64, provider string, cursor, sending int64) error {
	_, err := tx.exec(`UPDATE outbox SET cursor = ?, sending = ?, parked = 0 WHERE room = ? AND provider = ?`, cursor, sending, room, provider)
	return err
}

// ParkOutbox stops the attempts to deliver a room to a provider, or takes them up again with at 0.
func (tx *Tx) ParkOutbox(room int64, provider string, at int64) error {
	_, err := tx.exec(`UPDATE outbox SET parked = ? WHERE room = ? AND provider = ?`, at, room, provider)
	return err
}

// FollowerEvents returns what a provider receives of a room behind a cursor, in order; upTo ends it, 0 means the head. The
// second result is the cursor up to which that is all, as the snapshot shows it.
func (tx *Tx) FollowerEvents(room int64, provider string, after, upTo int64, p Page) (page []Event, cursor int64, err error) {
	if upTo == 0 {
		if err := tx.one(`SELECT ifnull(max(id), 0) FROM event INDEXED BY event_room WHERE room = ?`, []any{room}, &upTo); err != nil {
			return nil, 0, err
		}
	}
	if page, err = tx.forFollower(room, provider, after, upTo, p.Rows); err != nil {
		return nil, 0, err
	}
	size := 0
	for i := range page {
		e := &page[i]
		if err := tx.one(`SELECT body FROM event WHERE id = ?`, []any{e.ID}, &e.Body); err != nil {
			return nil, 0, err
		}
		if size += len(e.Body); size > p.Bytes && i > 0 {
			return page[:i], page[i-1].ID, nil
		}
	}
	if len(page) == p.Rows {
		return page, page[len(page)-1].ID, nil
	}
	return page, max(after, upTo), nil
}

// forFollower lists what a provider receives of a room with after < id <= upTo, without bodies.
func (tx *Tx) forFollower(room int64, provider string, after, upTo int64, rows int) ([]Event, error) {
	return collect(tx, `SELECT e.id, e.ts, e.kind FROM event e INDEXED BY event_room
		WHERE e.room = ?1 AND e.id > ?2 AND e.id <= ?3 AND e.kind <> 0
		AND EXISTS (SELECT 1 FROM follower f WHERE f.provider = ?4 AND f.room = ?1 AND f.from_event <= e.id
			AND (f.to_event IS NULL OR f.to_event >= e.id) AND (e.kind <> 1 OR f.messages))
		AND (e.kind <> 4 OR EXISTS (SELECT 1 FROM welcome_target w WHERE w.event = e.id AND w.provider = ?4))
		ORDER BY e.id LIMIT ?5`, []any{room, after, upTo, provider, rows},
		func(e *Event, row func(...any) error) error { return row(&e.ID, &e.Time, &e.Kind) })
}
