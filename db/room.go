package db

// Room is a room this provider is the hub of.
type Room struct {
	ID      int64
	URI     string
	GroupID string
	Direct  string // both user URIs of a room for two, in one string; empty for groups
	State   []byte // the hub's public view of the MLS group
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

// RoomByURI finds a room, or returns [ErrNotFound].
func (tx *Tx) RoomByURI(uri string) (Room, error) {
	var r Room
	err := tx.one(`SELECT id, uri, group_id, ifnull(direct, ''), state FROM room WHERE uri = ?`, []any{uri},
		&r.ID, &r.URI, &r.GroupID, &r.Direct, &r.State)
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

// RoomsOf returns the URIs of the rooms a user participates in, oldest room first.
func (tx *Tx) RoomsOf(user string) ([]string, error) {
	return collect(tx, `SELECT r.uri FROM room_user u JOIN room r ON r.id = u.room WHERE u.user = ? ORDER BY r.id`,
		[]any{user}, scanString)
}

func scanString(s *string, row func(...any) error) error { return row(s) }
