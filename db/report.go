package db

// maxUnverified bounds the open reports that nothing proves, maxVerified those from one provider that something does, with
// their messages: the oldest make room for new ones, so that nobody can fill the disk by reporting. keepHandled is how long
// a handled report is kept.
const (
	maxUnverified = 1000
	maxVerified   = 300
	keepHandled   = 90 * 24 * 3600 * 1000
)

// HubKey is a secret for the franks of messages accepted from a time on.
type HubKey struct {
	From int64 // Unix milliseconds
	Key  []byte
}

// HubKeys lists all hub keys in the order of their times.
func (tx *Tx) HubKeys() ([]HubKey, error) {
	return collect(tx, `SELECT from_ts, key FROM hub_key ORDER BY from_ts`, nil,
		func(k *HubKey, row func(...any) error) error { return row(&k.From, &k.Key) })
}

// AddHubKey stores a hub key. One for the same time is [ErrExists].
func (tx *Tx) AddHubKey(k HubKey) error {
	_, err := tx.insert(`INSERT INTO hub_key (from_ts, key) VALUES (?, ?)`, k.From, k.Key)
	return err
}

// Report is a report of abuse in one of our rooms.
type Report struct {
	ID         int64
	Hash       []byte // of where it came from and its octets
	At         int64
	Room       string
	Provider   string // domain it came from
	Reporter   string // user URI, or empty
	Abuser     string // user URI
	Reason     int64
	Note       string
	Unverified int // messages in it that the hub did not recognise
	Messages   []ReportedMessage
}

// ReportedMessage is a message that the hub has recognised.
type ReportedMessage struct {
	Time  int64  // accepted_timestamp
	Data  []byte // application data
	Frank []byte
	Text  string // what the data says to people
}

// AddReport stores a report; it is verified if it has a message. One that was stored before is not stored again.
func (tx *Tx) AddReport(r Report) error {
	verified := len(r.Messages) > 0
	id, err := tx.insertOnce(`INSERT INTO report (hash, at, room, provider, reporter, abuser, reason, note, unverified, verified)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		r.Hash, r.At, r.Room, r.Provider, r.Reporter, r.Abuser, r.Reason, r.Note, r.Unverified, verified)
	if err != nil || id == 0 {
		return err
	}
	for n, m := range r.Messages {
		_, err := tx.exec(`INSERT INTO report_message (report, n, ts, data, frank, text) VALUES (?, ?, ?, ?, ?, ?)`,
			id, n, m.Time, m.Data, m.Frank, m.Text)
		if err != nil {
			return err
		}
	}
	return tx.pruneReports(r.At, r.Provider)
}

func (tx *Tx) pruneReports(now int64, provider string) error {
	_, err := tx.exec(`DELETE FROM report WHERE handled_at < ?`, now-keepHandled)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM report WHERE id IN
		(SELECT id FROM report WHERE handled_at IS NULL AND verified = 0 ORDER BY id DESC LIMIT -1 OFFSET ?)`, maxUnverified)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM report WHERE id IN
		(SELECT id FROM report WHERE handled_at IS NULL AND verified = 1 AND provider = ? ORDER BY id DESC LIMIT -1 OFFSET ?)`, provider, maxVerified)
	return err
}

// OpenReports returns the newest open reports, verified or not, with their messages.
func (tx *Tx) OpenReports(verified bool, limit int) ([]Report, error) {
	list, err := collect(tx, `SELECT id, at, room, provider, reporter, abuser, reason, note, unverified FROM report
		WHERE handled_at IS NULL AND verified = ? ORDER BY id DESC LIMIT ?`, []any{verified, limit},
		func(r *Report, row func(...any) error) error {
			return row(&r.ID, &r.At, &r.Room, &r.Provider, &r.Reporter, &r.Abuser, &r.Reason, &r.Note, &r.Unverified)
		})
	for i := range list {
		if err != nil {
			break
		}
		list[i].Messages, err = collect(tx, `SELECT ts, data, frank, text FROM report_message WHERE report = ? ORDER BY n`, []any{list[i].ID},
			func(m *ReportedMessage, row func(...any) error) error {
				return row(&m.Time, &m.Data, &m.Frank, &m.Text)
			})
	}
	return list, err
}

// CountReports returns how many open reports there are, verified or not.
func (tx *Tx) CountReports(verified bool) (n int, err error) {
	err = tx.one(`SELECT count(*) FROM report WHERE handled_at IS NULL AND verified = ?`, []any{verified}, &n)
	return n, err
}

// HandleReport closes a report. It returns [ErrNotFound] if there is no such open one.
func (tx *Tx) HandleReport(id, by int64) error {
	n, err := tx.exec(`UPDATE report SET handled_at = ?, handled_by = ? WHERE id = ? AND handled_at IS NULL`, tx.Now(), by, id)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
