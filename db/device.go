package db

// Device is one of a user's devices.
type Device struct {
	ID           int64
	Client       string // client URI
	User         string // user URI
	Name         string
	SignatureKey []byte
	Certificate  []byte // DER
	CreatedAt    int64
	SeenAt       int64
	Cursor       int64 // the last event the device says it has stored
}

const deviceColumns = `id, client, user, name, signature_key, certificate, created_at, seen_at, cursor`

func scanDevice(d *Device, row func(...any) error) error {
	return row(&d.ID, &d.Client, &d.User, &d.Name, &d.SignatureKey, &d.Certificate, &d.CreatedAt, &d.SeenAt, &d.Cursor)
}

// CreateDevice stores a new device and returns its id. A client URI that is taken is [ErrExists].
func (tx *Tx) CreateDevice(d Device) (int64, error) {
	return tx.insert(`INSERT INTO device (client, user, name, signature_key, certificate, created_at, seen_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, d.Client, d.User, d.Name, d.SignatureKey, d.Certificate, tx.Now(), tx.Now())
}

// DeviceByClient finds a device by its client URI, or returns [ErrNotFound].
func (tx *Tx) DeviceByClient(client string) (Device, error) {
	var d Device
	err := scanDevice(&d, func(dest ...any) error {
		return tx.one(`SELECT `+deviceColumns+` FROM device WHERE client = ?`, []any{client}, dest...)
	})
	return d, err
}

// DevicesOf returns the devices of a user, oldest first.
func (tx *Tx) DevicesOf(user string) ([]Device, error) {
	return collect(tx, `SELECT `+deviceColumns+` FROM device WHERE user = ? ORDER BY id`, []any{user}, scanDevice)
}

// CountDevices returns how many devices a user has.
func (tx *Tx) CountDevices(user string) (n int, err error) {
	return n, tx.one(`SELECT count(*) FROM device WHERE user = ?`, []any{user}, &n)
}

// RenewDevice replaces a device's certificate.
func (tx *Tx) RenewDevice(id int64, certificate []byte) error {
	_, err := tx.exec(`UPDATE device SET certificate = ?, seen_at = ? WHERE id = ?`, certificate, tx.Now(), id)
	return err
}

// SetDeviceCursor notes what a device has stored. It never goes back.
func (tx *Tx) SetDeviceCursor(id, cursor int64) error {
	_, err := tx.exec(`UPDATE device SET cursor = max(cursor, ?), seen_at = ? WHERE id = ?`, cursor, tx.Now(), id)
	return err
}

// DeleteDevice forgets a device, with its KeyPackages, its part in rooms and the sessions that speak for it.
func (tx *Tx) DeleteDevice(id int64) error {
	return tx.touchOne(`DELETE FROM device WHERE id = ?`, id)
}
