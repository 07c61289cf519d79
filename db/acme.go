package db

// ACME returns what is kept under name for the certificate authority, or [ErrNotFound].
func (tx *Tx) ACME(name string) (value []byte, err error) {
	err = tx.one(`SELECT value FROM acme WHERE name = ?`, []any{name}, &value)
	return value, err
}

// SetACME keeps value under name.
func (tx *Tx) SetACME(name string, value []byte) error {
	_, err := tx.exec(`INSERT INTO acme (name, value, changed_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at`, name, value, tx.Now())
	return err
}

// DeleteACME forgets what is kept under name; there need not be anything.
func (tx *Tx) DeleteACME(name string) error {
	_, err := tx.exec(`DELETE FROM acme WHERE name = ?`, name)
	return err
}
