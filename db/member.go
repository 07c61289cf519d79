package db

// Member is a device that receives a room's events now.
type Member struct {
	Device   int64
	Client   string // client URI
	Messages bool   // false: only what moves the group on
}

// AddMember makes a device receive a room's events from one on. Adding it again at the same event changes nothing.
func (tx *Tx) AddMember(room, device, fromEvent int64) error {
	return members.begin(tx, room, device, fromEvent)
}

// AddMemberOnce makes a device receive a room's events from one on, unless it does already.
func (tx *Tx) AddMemberOnce(room, device, fromEvent int64) error {
	return members.beginOnce(tx, room, device, fromEvent)
}

// EndMember makes an event the last one of a room that a device receives.
func (tx *Tx) EndMember(room, device, toEvent int64) error {
	return members.end(tx, room, device, toEvent)
}

// EndMemberKnown is EndMember for a device that says itself that it is out. It cannot speak of a membership that began
// behind what it has stored, which is at least up to an event; then it reports false and nothing changes.
func (tx *Tx) EndMemberKnown(room, device, toEvent, stored int64) (bool, error) {
	n, err := tx.exec(`UPDATE member SET to_event = ? WHERE device = ? AND room = ? AND to_event IS NULL
		AND from_event <= max(?, (SELECT cursor FROM device WHERE id = ?))`, toEvent, device, room, stored, device)
	return n > 0, err
}

// SetMemberMessages says whether a member gets a room's messages from an event on, which is none itself. One who is no
// member, or for whom it is so already, stays as it is.
func (tx *Tx) SetMemberMessages(room, device, fromEvent int64, messages bool) error {
	return members.setMessages(tx, room, device, fromEvent, messages)
}

// HostedRoomsOf returns the URIs of the rooms of ours whose events a device receives now.
func (tx *Tx) HostedRoomsOf(device int64) ([]string, error) {
	return collect(tx, `SELECT r.uri FROM member m JOIN room r ON r.id = m.room
		WHERE m.device = ? AND m.to_event IS NULL AND r.hub IS NULL ORDER BY r.id`, []any{device}, scanString)
}

// Members returns the devices that receive a room's events now, in the order of their registration.
func (tx *Tx) Members(room int64) ([]Member, error) {
	return collect(tx, `SELECT m.device, d.client, m.messages FROM member m JOIN device d ON d.id = m.device
		WHERE m.room = ? AND m.to_event IS NULL ORDER BY m.device`, []any{room},
		func(m *Member, row func(...any) error) error { return row(&m.Device, &m.Client, &m.Messages) })
}
