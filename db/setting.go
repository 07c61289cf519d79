package db

// Setting returns the value stored under key, or [ErrNotFound].
func (tx *Tx) Setting(key string) (value []byte, err error) {
	err = tx.one(`SELECT value FROM setting WHERE key = ?`, []any{key}, &value)
	return value, err
}

// SetSetting stores value under key.
func (tx *Tx) SetSetting(key string, value []byte) error {
	_, err := tx.exec(`INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
		key, value)
	return err
}
