package db

// spans is a table of who receives which part of a room's events: from_event to to_event, both included, and whether its
// messages or only what moves the group on.
type spans struct{ table, who string }

var (
	members   = spans{"member", "device"}
	followers = spans{"follower", "provider"}
)

// begin starts a part with an event. Doing it again with the same event changes nothing.
func (s spans) begin(tx *Tx, room int64, who any, fromEvent int64) error {
	_, err := tx.exec(`INSERT INTO `+s.table+` (`+s.who+`, room, from_event) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		who, room, fromEvent)
	return err
}

// beginOnce starts a part with an event, unless one goes on already.
func (s spans) beginOnce(tx *Tx, room int64, who any, fromEvent int64) error {
	_, err := tx.exec(`INSERT INTO `+s.table+` (`+s.who+`, room, from_event) SELECT ?1, ?2, ?3
		WHERE NOT EXISTS (SELECT 1 FROM `+s.table+` WHERE `+s.who+` = ?1 AND room = ?2 AND to_event IS NULL)`, who, room, fromEvent)
	return err
}

// end makes an event the last one of the part that goes on.
func (s spans) end(tx *Tx, room int64, who any, toEvent int64) error {
	_, err := tx.exec(`UPDATE `+s.table+` SET to_event = ? WHERE `+s.who+` = ? AND room = ? AND to_event IS NULL`,
		toEvent, who, room)
	return err
}

// setMessages says whether messages are received from an event on, which is none itself. Where no part goes on, or it is
// so already, nothing changes.
func (s spans) setMessages(tx *Tx, room int64, who any, fromEvent int64, messages bool) error {
	// A part that begins with this event or because of it has no earlier one to end.
	n, err := tx.exec(`UPDATE `+s.table+` SET messages = ? WHERE `+s.who+` = ? AND room = ? AND to_event IS NULL AND from_event >= ?`,
		messages, who, room, fromEvent)
	if err != nil || n > 0 {
		return err
	}
	n, err = tx.exec(`UPDATE `+s.table+` SET to_event = ? - 1 WHERE `+s.who+` = ? AND room = ? AND to_event IS NULL AND messages <> ?`,
		fromEvent, who, room, messages)
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.exec(`INSERT INTO `+s.table+` (`+s.who+`, room, from_event, messages) VALUES (?, ?, ?, ?)`, who, room, fromEvent, messages)
	return err
}
