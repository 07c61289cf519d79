package server

import (
	"errors"

	"kith/db"
	"kith/mimi"
	"kith/web/api"
)

// devices lists what the user has signed in with.
func (s *socket) devices() ([]byte, error) {
	var rows []db.Device
	err := s.m.DB.Read(s.context, func(tx *db.Tx) (err error) {
		rows, err = tx.DevicesOf(s.account.User.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make(api.DeviceList, len(rows))
	for i, d := range rows {
		list[i] = api.Device{Client: d.Client, Name: d.Name, Created: uint64(d.CreatedAt), Seen: uint64(d.SeenAt)}
	}
	return list.Bytes()
}

// removeDevice forgets one of the user's devices. From now on it gets nothing, nobody can add it to a room, and the
// browser it was has to sign in again, as a new device. The hub takes it out of our rooms; in rooms elsewhere its leaves are
// for the user's other devices to remove.
func (s *socket) removeDevice(r *api.Request) error {
	client, err := mimi.ParseClientID(r.Target)
	if err != nil || len(r.Body) > 0 {
		return opBadRequest
	}
	if user, ok := client.User(); !ok || user != s.account.User {
		return opUnknown
	}
	var d db.Device
	err = s.m.DB.Read(s.context, func(tx *db.Tx) (err error) {
		d, err = tx.DeviceByClient(client.String())
		return err
	})
	if err == nil {
		err = s.m.evictDevice(s.context, d)
	}
	if err == nil {
		err = s.m.DB.Write(s.context, func(tx *db.Tx) error { return tx.DeleteDevice(d.ID) })
	}
	if errors.Is(err, db.ErrNotFound) {
		return nil // gone already: the answer may have been lost
	}
	if err != nil {
		return err
	}
	if other := s.m.fanout.socketOf(d.ID); other != nil && other != s {
		other.end(api.CloseSignedOut, api.ReasonSignedOut)
	}
	return nil
}

// bind notes which device the browser's session speaks for, once.
func (s *socket) bind(device int64) error {
	var bound int64
	err := s.m.DB.Read(s.context, func(tx *db.Tx) (err error) {
		bound, err = tx.SessionDevice(s.account.Session)
		return err
	})
	if err == nil && bound != device {
		err = s.m.DB.Write(s.context, func(tx *db.Tx) error { return tx.SetSessionDevice(s.account.Session, device) })
	}
	if errors.Is(err, db.ErrNotFound) {
		return nil // the session has ended meanwhile, and with it soon this socket
	}
	return err
}
