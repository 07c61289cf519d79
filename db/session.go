package db

// Session is a signed-in browser.
type Session struct {
	ID        int64
	Hash      []byte // SHA-256 of the cookie's token
	Account   int64
	CreatedAt int64
	SeenAt    int64
	ExpiresAt int64
}

// AddSession stores a session and returns its id. Of one account only the keep most recent sessions stay: the number of
// rows is bounded without trusting a clock.
func (tx *Tx) AddSession(s Session, keep int) (int64, error) {
	id, err := tx.insert(`INSERT INTO session (hash, account, created_at, seen_at, expires_at) VALUES (?, ?, ?, ?, ?)`,
		s.Hash, s.Account, s.CreatedAt, s.SeenAt, s.ExpiresAt)
	if err != nil {
		return 0, err
	}
	_, err = tx.exec(`DELETE FROM session WHERE account = ?1 AND id <> ?2 AND id NOT IN
		(SELECT id FROM session WHERE account = ?1 ORDER BY seen_at DESC, id DESC LIMIT ?3)`, s.Account, id, keep)
	return id, err
}

// SessionByHash returns the session whose token has this hash together with its account, or [ErrNotFound].
func (tx *Tx) SessionByHash(hash []byte) (s Session, a Account, err error) {
	err = tx.one(`SELECT s.id, s.hash, s.account, s.created_at, s.seen_at, s.expires_at, `+accountColumns+`
		FROM session s JOIN account a ON a.id = s.account WHERE s.hash = ?`, []any{hash},
		&s.ID, &s.Hash, &s.Account, &s.CreatedAt, &s.SeenAt, &s.ExpiresAt,
		&a.ID, &a.Username, &a.DisplayName, &a.Password, &a.Admin, &a.CreatedAt, &a.DisabledAt)
	return s, a, err
}

// SessionEnd returns when a session expires, or [ErrNotFound] if it has ended.
func (tx *Tx) SessionEnd(id int64) (expires int64, err error) {
	return expires, tx.one(`SELECT expires_at FROM session WHERE id = ?`, []any{id}, &expires)
}

// ExtendSession moves the end of a session on.
func (tx *Tx) ExtendSession(id, seen, expires int64) error {
	return tx.touchOne(`UPDATE session SET seen_at = ?, expires_at = ? WHERE id = ?`, seen, expires, id)
}

// SessionDevice returns the device that a session speaks for, 0 while that is not known, or [ErrNotFound].
func (tx *Tx) SessionDevice(id int64) (device int64, err error) {
	return device, tx.one(`SELECT coalesce(device, 0) FROM session WHERE id = ?`, []any{id}, &device)
}

// SetSessionDevice notes which device a session speaks for: it ends with it.
func (tx *Tx) SetSessionDevice(id, device int64) error {
	return tx.touchOne(`UPDATE session SET device = ? WHERE id = ?`, device, id)
}

// DeleteSession ends a session; one that has ended is no error.
func (tx *Tx) DeleteSession(id int64) error {
	_, err := tx.exec(`DELETE FROM session WHERE id = ?`, id)
	return err
}

// DeleteSessionsOf ends all sessions of an account.
func (tx *Tx) DeleteSessionsOf(account int64) error {
	_, err := tx.exec(`DELETE FROM session WHERE account = ?`, account)
	return err
}

// LastSeen returns when each account was last seen, by account.
func (tx *Tx) LastSeen() (map[int64]int64, error) {
	seen := make(map[int64]int64)
	err := tx.each(`SELECT account, max(seen_at) FROM session GROUP BY account`, nil, func(scan func(...any) error) error {
		var account, at int64
		err := scan(&account, &at)
		seen[account] = at
		return err
	})
	return seen, err
}
