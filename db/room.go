package db

// Room is a room this provider is the hub of, or one of another provider in which our users are.
type Room struct {
	ID      int64
	URI     string
	GroupID string // the room's URI where others are the hub
	Direct  string // both user URIs of a room for two, in one string; empty for groups
	State   []byte // the hub's public view of the MLS group; empty where others are the hub
	Hub     string // domain of the hub; empty: we are
}

// CreateRoom stores a new room and returns its id. A URI, group id or pair that is taken is [ErrExists].
func (tx *Tx) CreateRoom(r Room) (int64, error) {
	var direct any
	if r.Direct != "" {
		direct = r.Direct
	}
	return tx.insert(`INSERT INTO room (uri, group_id, direct, state, created_at) VALUES (?, ?, ?, ?, ?)`,
		r.URI, r.GroupID, direct, r.State, tx.Now())
}

// FollowRoom returns the id of a room of another provider, and makes its row where there is none.
func (tx *Tx) FollowRoom(uri, hub string) (int64, error) {
	_, err := tx.exec(`INSERT INTO room (uri, group_id, state, created_at, hub) VALUES (?1, ?1, x'', ?2, ?3) ON CONFLICT DO NOTHING`,
		uri, tx.Now(), hub)
	if err != nil {
		return 0, err
	}
	var id int64
	return id, tx.one(`SELECT id FROM room WHERE uri = ? AND hub = ?`, []any{uri, hub}, &id)
}

// RoomByURI finds a room, or returns [ErrNotFound].
func (tx *Tx) RoomByURI(uri string) (Room, error) {
	var r Room
	err := tx.one(`SELECT id, uri, group_id, ifnull(direct, ''), state, ifnull(hub, '') FROM room WHERE uri = ?`, []any{uri},
		&r.ID, &r.URI, &r.GroupID, &r.Direct, &r.State, &r.Hub)
	return r, err
}

// SetRoomState replaces the hub's view of a room.
func (tx *Tx) SetRoomState(room int64, state []byte) error {
	_, err := tx.exec(`UPDATE room SET state = ? WHERE id = ?`, state, room)
	return err
}

// SetRoomUsers makes the participant list of a room exactly users, which must not repeat.
func (tx *Tx) SetRoomUsers(room int64, users []string) error {
	keep := make(map[string]bool, len(users))
	for _, u := range users {
		keep[u] = true
	}
	stored, err := collect(tx, `SELECT user FROM room_user WHERE room = ?`, []any{room}, scanString)
	if err != nil {
		return err
	}
	for _, u := range stored {
		if keep[u] {
			delete(keep, u)
			continue
		}
		if _, err := tx.exec(`DELETE FROM room_user WHERE user = ? AND room = ?`, u, room); err != nil {
			return err
		}
	}
	for u := range keep {
		if _, err := tx.exec(`INSERT INTO room_user (user, room) VALUES (?, ?)`, u, room); err != nil {
			return err
		}
	}
	return nil
}

// RoomsOf returns the URIs of the rooms a user participates in, oldest room first. Of other providers' rooms we know only
// in which a device of the user is.
func (tx *Tx) RoomsOf(user string) ([]string, error) {
	return collect(tx, `SELECT r.uri FROM room r WHERE r.id IN (SELECT room FROM room_user WHERE user = ?1)
		OR r.hub IS NOT NULL AND r.id IN (SELECT m.room FROM member m JOIN device d ON d.id = m.device
			WHERE d.user = ?1 AND m.to_event IS NULL) ORDER BY r.id`, []any{user}, scanString)
}

// RoomMembersOf returns the client URIs of a user's devices that receive a room's events now.
func (tx *Tx) RoomMembersOf(room, user string) ([]string, error) {
	return collect(tx, `SELECT d.client FROM device d JOIN member m ON m.device = d.id AND m.to_event IS NULL
		JOIN room r ON r.id = m.room WHERE d.user = ? AND r.uri = ?`, []any{user, room}, scanString)
}

func scanString(s *string, row func(...any) error) error { return row(s) }
