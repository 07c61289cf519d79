package db

// intentLife is how long the hub may take to distribute an external commit that it has accepted.
const intentLife = 14 * 24 * 60 * 60 * 1000

// AddJoinIntent notes that a device is about to send an external commit, by the hash of its octets, to a room elsewhere.
func (tx *Tx) AddJoinIntent(room string, hash []byte, device int64) error {
	_, err := tx.exec(`INSERT INTO join_intent (room, hash, device, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, room, hash, device, tx.Now())
	return err
}

// JoinIntents returns the devices that have sent a commit.
func (tx *Tx) JoinIntents(room string, hash []byte) ([]int64, error) {
	return collect(tx, `SELECT device FROM join_intent WHERE room = ? AND hash = ?`, []any{room, hash},
		func(d *int64, row func(...any) error) error { return row(d) })
}

// DropJoinIntent forgets a commit that the hub has refused, or that has come.
func (tx *Tx) DropJoinIntent(room string, hash []byte) error {
	_, err := tx.exec(`DELETE FROM join_intent WHERE room = ? AND hash = ?`, room, hash)
	return err
}

// PruneJoinIntents forgets commits that never came.
func (tx *Tx) PruneJoinIntents() error {
	_, err := tx.exec(`DELETE FROM join_intent WHERE at < ?`, tx.Now()-intentLife)
	return err
}
