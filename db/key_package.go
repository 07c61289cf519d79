package db

// KeyPackage is a device's offer to be added to a group, good for one time.
type KeyPackage struct {
	Ref      []byte
	Device   int64
	Suite    int64
	NotAfter int64 // Unix milliseconds
	Body     []byte
}

// KeyClaim says whose KeyPackage was handed out, for which room.
type KeyClaim struct {
	Device int64
	Client string // the device's client URI
	Room   string // room URI, or empty
}

// AddKeyPackage stores an offer. One that was stored or claimed before is [ErrExists].
func (tx *Tx) AddKeyPackage(k KeyPackage) error {
	var claimed int
	if err := tx.one(`SELECT count(*) FROM key_claim WHERE ref = ?`, []any{k.Ref}, &claimed); err != nil {
		return err
	}
	if claimed > 0 {
		return ErrExists
	}
	_, err := tx.insert(`INSERT INTO key_package (ref, device, suite, not_after, body) VALUES (?, ?, ?, ?, ?)`,
		k.Ref, k.Device, k.Suite, k.NotAfter, k.Body)
	return err
}

// CountKeyPackages returns how many unclaimed packages of a device have not expired.
func (tx *Tx) CountKeyPackages(device int64) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM key_package WHERE device = ? AND not_after > ?`, []any{device, tx.Now()}, &n)
}

// KeyPackages returns up to limit unclaimed packages of a device for a suite that do not expire before a time, oldest first.
func (tx *Tx) KeyPackages(device, suite, notBefore int64, limit int) ([]KeyPackage, error) {
	return collect(tx, `SELECT ref, device, suite, not_after, body FROM key_package
		WHERE device = ? AND suite = ? AND not_after > ? ORDER BY id LIMIT ?`, []any{device, suite, notBefore, limit},
		func(k *KeyPackage, row func(...any) error) error {
			return row(&k.Ref, &k.Device, &k.Suite, &k.NotAfter, &k.Body)
		})
}

// ClaimKeyPackage takes a package out of the pool and remembers for which room. It returns [ErrNotFound] if somebody was
// faster, so nobody is ever given the same one.
func (tx *Tx) ClaimKeyPackage(ref []byte, room string) error {
	n, err := tx.exec(`INSERT INTO key_claim (ref, device, room, not_after)
		SELECT ref, device, ?, not_after FROM key_package WHERE ref = ?`, room, ref)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	_, err = tx.exec(`DELETE FROM key_package WHERE ref = ?`, ref)
	return err
}

// KeyClaim returns whose package a reference names, or [ErrNotFound] if it was never claimed, has been used or has
// expired since.
func (tx *Tx) KeyClaim(ref []byte) (KeyClaim, error) {
	var c KeyClaim
	err := tx.one(`SELECT c.device, d.client, c.room FROM key_claim c JOIN device d ON d.id = c.device WHERE c.ref = ? AND NOT c.used`,
		[]any{ref}, &c.Device, &c.Client, &c.Room)
	return c, err
}

// UseKeyClaim notes that a package has served: it is good for one time.
func (tx *Tx) UseKeyClaim(ref []byte) error {
	return tx.touchOne(`UPDATE key_claim SET used = 1 WHERE ref = ? AND NOT used`, ref)
}

// AddKeyForward notes that another provider has handed out a package for one of our rooms. One that is known is
// [ErrExists]: a package is handed out once.
func (tx *Tx) AddKeyForward(ref []byte, provider, room string, notAfter int64) error {
	_, err := tx.insert(`INSERT INTO key_forward (ref, provider, room, not_after) VALUES (?, ?, ?, ?)`, ref, provider, room, notAfter)
	return err
}

// KeyForward returns whose package a reference names, and for which room it was handed out, or [ErrNotFound].
func (tx *Tx) KeyForward(ref []byte) (provider, room string, err error) {
	err = tx.one(`SELECT provider, room FROM key_forward WHERE ref = ? AND NOT used`, []any{ref}, &provider, &room)
	return provider, room, err
}

// UseKeyForward notes that a package of another provider has served.
func (tx *Tx) UseKeyForward(ref []byte) error {
	return tx.touchOne(`UPDATE key_forward SET used = 1 WHERE ref = ? AND NOT used`, ref)
}

// PruneKeyPackages forgets packages and claims that have expired.
func (tx *Tx) PruneKeyPackages() error {
	if _, err := tx.exec(`DELETE FROM key_package WHERE not_after <= ?`, tx.Now()); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM key_forward WHERE not_after <= ?`, tx.Now()); err != nil {
		return err
	}
	_, err := tx.exec(`DELETE FROM key_claim WHERE not_after <= ?`, tx.Now())
	return err
}
