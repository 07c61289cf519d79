package db

// SetupToken is a link printed on the command line. Without an account it makes the first administrator, with one it
// sets that account's password anew.
type SetupToken struct {
	Hash      []byte // SHA-256 of the token
	Account   int64  // 0: the first administrator
	CreatedAt int64
	ExpiresAt int64
	UsedAt    int64 // 0: open
}

// AddSetupToken stores an open token.
func (tx *Tx) AddSetupToken(t SetupToken) error {
	_, err := tx.exec(`INSERT INTO setup_token (hash, account, created_at, expires_at) VALUES (?, nullif(?, 0), ?, ?)`,
		t.Hash, t.Account, t.CreatedAt, t.ExpiresAt)
	return err
}

// SetupToken returns the token with this hash, or [ErrNotFound].
func (tx *Tx) SetupToken(hash []byte) (t SetupToken, err error) {
	err = tx.one(`SELECT hash, coalesce(account, 0), created_at, expires_at, coalesce(used_at, 0) FROM setup_token WHERE hash = ?`,
		[]any{hash}, &t.Hash, &t.Account, &t.CreatedAt, &t.ExpiresAt, &t.UsedAt)
	return t, err
}

// UseSetupToken marks an open token as used, or returns [ErrNotFound] if it is not open. All other tokens for the same
// purpose end with it.
func (tx *Tx) UseSetupToken(t SetupToken, now int64) error {
	err := tx.touchOne(`UPDATE setup_token SET used_at = ?1 WHERE hash = ?2 AND used_at IS NULL AND expires_at > ?1`, now, t.Hash)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE setup_token SET used_at = ?1 WHERE used_at IS NULL AND account IS nullif(?2, 0)`, now, t.Account)
	return err
}
