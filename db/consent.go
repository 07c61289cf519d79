package db

// The answers to a request for consent.
const (
	ConsentOpen    = 0
	ConsentGranted = 1
	ConsentDenied  = 2
)

// Consent is what is known about one user's wish to fetch the KeyPackages of another, for one room or for all.
type Consent struct {
	Requester string // user URI
	Target    string // user URI
	Room      string // room URI; empty: every room
	Asked     int64  // when the requester asked; 0: it did not, or it has taken it back
	Answer    int    // the target's
	Changed   int64
}

// ConsentMessage is a word about consent on its way to another provider.
type ConsentMessage struct {
	ID        int64
	Provider  string // domain
	Answer    bool   // from target to requester; otherwise from requester to target
	Requester string
	Target    string
	Room      string
	Body      []byte
	Since     int64
	Tries     int
	Due       int64
}

// ConsentPeer counts what a provider has sent about consent.
type ConsentPeer struct {
	Provider string // domain
	Received int64
	Dropped  int64 // over a limit
}

const consentColumns = `requester, target, room, asked, answer, changed`

func scanConsent(c *Consent, row func(...any) error) error {
	return row(&c.Requester, &c.Target, &c.Room, &c.Asked, &c.Answer, &c.Changed)
}

// Consent returns what is known of exactly one scope; what nobody has spoken of is neither asked for nor answered.
func (tx *Tx) Consent(requester, target, room string) (Consent, error) {
	c := Consent{Requester: requester, Target: target, Room: room}
	list, err := collect(tx, `SELECT `+consentColumns+` FROM consent WHERE requester = ? AND target = ? AND room = ?`,
		[]any{requester, target, room}, scanConsent)
	if len(list) > 0 {
		c = list[0]
	}
	return c, err
}

// SetConsent stores what is known of one scope. What is neither asked for nor answered is forgotten.
func (tx *Tx) SetConsent(c Consent) error {
	if c.Asked == 0 && c.Answer == ConsentOpen {
		_, err := tx.exec(`DELETE FROM consent WHERE requester = ? AND target = ? AND room = ?`, c.Requester, c.Target, c.Room)
		return err
	}
	_, err := tx.exec(`INSERT INTO consent (`+consentColumns+`) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (requester, target, room)
		DO UPDATE SET asked = excluded.asked, answer = excluded.answer, changed = excluded.changed`,
		c.Requester, c.Target, c.Room, c.Asked, c.Answer, tx.Now())
	return err
}

// ConsentsBetween returns all scopes of a pair.
func (tx *Tx) ConsentsBetween(requester, target string) ([]Consent, error) {
	return collect(tx, `SELECT `+consentColumns+` FROM consent WHERE requester = ? AND target = ? ORDER BY room`,
		[]any{requester, target}, scanConsent)
}

// ConsentsOf returns what concerns a user as requester or target, but nothing that comes from those the user has blocked:
// up to limit entries, the latest first.
func (tx *Tx) ConsentsOf(user string, limit int) ([]Consent, error) {
	return collect(tx, `SELECT `+consentColumns+` FROM consent WHERE requester = ?1
		UNION SELECT `+consentColumns+` FROM consent WHERE target = ?1
			AND NOT EXISTS (SELECT 1 FROM block WHERE user = ?1 AND blocked = consent.requester)
		ORDER BY changed DESC, requester, target, room LIMIT ?2`, []any{user, limit}, scanConsent)
}

// CountRequestsTo returns how many requests to a user wait for an answer.
func (tx *Tx) CountRequestsTo(target string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent WHERE target = ? AND asked > 0 AND answer = 0`, []any{target}, &n)
}

// CountRequestsBy returns how many requests of a user wait for an answer.
func (tx *Tx) CountRequestsBy(requester string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent WHERE requester = ? AND asked > 0 AND answer = 0`, []any{requester}, &n)
}

// CountRequestsFrom returns how many requests of a provider's users wait for an answer. provider is its URI.
func (tx *Tx) CountRequestsFrom(provider string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent WHERE requester >= ?1 || '/' AND requester < ?1 || '0' AND asked > 0 AND answer = 0`,
		[]any{provider}, &n)
}

// CountRequestsBetween returns how many requests of a provider's users to a user wait for an answer. provider is its URI.
func (tx *Tx) CountRequestsBetween(provider, target string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent WHERE target = ?2 AND requester >= ?1 || '/' AND requester < ?1 || '0'
		AND asked > 0 AND answer = 0`, []any{provider, target}, &n)
}

// CountUnasked returns how many answers of a provider's users nobody here has asked for. provider is its URI.
func (tx *Tx) CountUnasked(provider string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent WHERE target >= ?1 || '/' AND target < ?1 || '0' AND asked = 0`,
		[]any{provider}, &n)
}

// Block notes that a user wants to hear nothing of another.
func (tx *Tx) Block(user, blocked string) error {
	_, err := tx.exec(`INSERT INTO block (user, blocked, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, user, blocked, tx.Now())
	return err
}

// Unblock takes a block back.
func (tx *Tx) Unblock(user, blocked string) error {
	_, err := tx.exec(`DELETE FROM block WHERE user = ? AND blocked = ?`, user, blocked)
	return err
}

// Blocked reports whether a user has blocked another.
func (tx *Tx) Blocked(user, other string) (bool, error) {
	var n int
	err := tx.one(`SELECT count(*) FROM block WHERE user = ? AND blocked = ?`, []any{user, other}, &n)
	return n > 0, err
}

// Blocks returns up to limit users whom a user has blocked, the latest first.
func (tx *Tx) Blocks(user string, limit int) ([]string, error) {
	return collect(tx, `SELECT blocked FROM block WHERE user = ? ORDER BY at DESC, blocked LIMIT ?`, []any{user, limit}, scanString)
}

// HasDeviceIn reports whether a device of a user receives the events of a room now. room is its URI.
func (tx *Tx) HasDeviceIn(user, room string) (bool, error) {
	var n int
	err := tx.one(`SELECT count(*) FROM device d JOIN member m ON m.device = d.id JOIN room r ON r.id = m.room
		WHERE d.user = ? AND r.uri = ? AND m.to_event IS NULL`, []any{user, room}, &n)
	return n > 0, err
}

// CountConsentMessage counts what a provider has sent, and what of it was over a limit.
func (tx *Tx) CountConsentMessage(provider string, dropped bool) error {
	_, err := tx.exec(`INSERT INTO consent_peer (provider, received, dropped) VALUES (?1, 1, ?2)
		ON CONFLICT (provider) DO UPDATE SET received = received + 1, dropped = dropped + ?2`, provider, dropped)
	return err
}

// ConsentPeers returns the counts of all providers that have sent something, by name.
func (tx *Tx) ConsentPeers() ([]ConsentPeer, error) {
	return collect(tx, `SELECT provider, received, dropped FROM consent_peer ORDER BY provider`, nil,
		func(p *ConsentPeer, row func(...any) error) error { return row(&p.Provider, &p.Received, &p.Dropped) })
}

// QueueConsent queues a message for its provider, in place of an older one about the same scope in the same direction.
func (tx *Tx) QueueConsent(m ConsentMessage) error {
	_, err := tx.exec(`DELETE FROM consent_outbox WHERE provider = ? AND answer = ? AND requester = ? AND target = ? AND room = ?`,
		m.Provider, m.Answer, m.Requester, m.Target, m.Room)
	if err != nil {
		return err
	}
	_, err = tx.insert(`INSERT INTO consent_outbox (provider, answer, requester, target, room, body, since, due)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)`, m.Provider, m.Answer, m.Requester, m.Target, m.Room, m.Body, tx.Now())
	return err
}

// ConsentHeads returns the next message for each provider, the earliest due first.
func (tx *Tx) ConsentHeads() ([]ConsentMessage, error) {
	return collect(tx, `SELECT id, provider, answer, requester, target, room, body, since, tries, due FROM consent_outbox
		WHERE id IN (SELECT min(id) FROM consent_outbox GROUP BY provider) ORDER BY due, id`, nil,
		func(m *ConsentMessage, row func(...any) error) error {
			return row(&m.ID, &m.Provider, &m.Answer, &m.Requester, &m.Target, &m.Room, &m.Body, &m.Since, &m.Tries, &m.Due)
		})
}

// CountQueuedConsents returns how many messages wait for a provider.
func (tx *Tx) CountQueuedConsents(provider string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM consent_outbox WHERE provider = ?`, []any{provider}, &n)
}

// DelayConsent notes a failed attempt and when the next one is due.
func (tx *Tx) DelayConsent(id, due int64) error {
	_, err := tx.exec(`UPDATE consent_outbox SET tries = tries + 1, due = ? WHERE id = ?`, due, id)
	return err
}

// ForgetConsent removes a message that was delivered or given up.
func (tx *Tx) ForgetConsent(id int64) error {
	_, err := tx.exec(`DELETE FROM consent_outbox WHERE id = ?`, id)
	return err
}
