package server

import (
	"crypto/ed25519"
	"encoding/base32"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/web/api"
)

const (
	suite          = mls.X25519AES128GCMSHA256Ed25519
	maxDevices     = 32 // of one user
	maxDeviceName  = 128
	deviceIDOctets = 10
)

// registerDevice makes a new device of the account, or renews the certificate of one. A device proves possession of its
// key with a signature over this connection's nonce. The same key sent again is the same device: the answer may have
// been lost.
func (s *socket) registerDevice(r *api.Request) ([]byte, error) {
	req, err := api.UnmarshalRegisterDeviceRequest(r.Body)
	if err != nil || len(req.SignatureKey) != ed25519.PublicKeySize || len(req.Name) > maxDeviceName || !utf8.ValidString(req.Name) {
		return nil, opBadRequest
	}
	if mls.VerifyWithLabel(suite, req.SignatureKey, api.LabelRegisterDevice, s.nonce[:], req.Signature) != nil {
		return nil, opBadSignature
	}
	fresh, err := s.m.newClientID(s.account.User)
	if err != nil {
		return nil, err
	}
	var d db.Device
	err = s.m.DB.Write(s.context, func(tx *db.Tx) error {
		d, err = s.certify(tx, r.Target, fresh, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return (&api.RegisterDeviceResponse{Client: d.Client, Certificate: d.Certificate}).Bytes()
}

// certify stores the device of a registration with a new certificate. target is the client URI it says it has.
func (s *socket) certify(tx *db.Tx, target string, fresh mimi.ClientID, req *api.RegisterDeviceRequest) (db.Device, error) {
	user := s.account.User
	devices, err := tx.DevicesOf(user.String())
	if err != nil {
		return db.Device{}, err
	}
	for _, d := range devices {
		if string(d.SignatureKey) != string(req.SignatureKey) {
			continue
		}
		if target != "" && target != d.Client {
			return db.Device{}, opConflict
		}
		client, err := mimi.ParseClientID(d.Client)
		if err != nil {
			return db.Device{}, err
		}
		if d.Certificate, err = s.m.Identity.IssueDevice(client, user, d.SignatureKey, s.m.Now()); err != nil {
			return db.Device{}, err
		}
		return d, tx.RenewDevice(d.ID, d.Certificate)
	}
	if target != "" {
		return db.Device{}, opUnknown
	}
	if len(devices) >= maxDevices {
		return db.Device{}, opTooLarge
	}
	d := db.Device{Client: fresh.String(), User: user.String(), Name: req.Name, SignatureKey: req.SignatureKey}
	if d.Certificate, err = s.m.Identity.IssueDevice(fresh, user, req.SignatureKey, s.m.Now()); err != nil {
		return db.Device{}, err
	}
	d.ID, err = tx.CreateDevice(d)
	return d, err
}

var deviceIDs = base32.StdEncoding.WithPadding(base32.NoPadding)

// newClientID makes up an id for a new device of a user.
func (m *messenger) newClientID(user mimi.UserID) (mimi.ClientID, error) {
	random := make([]byte, deviceIDOctets)
	if _, err := io.ReadFull(m.Rand, random); err != nil {
		return mimi.ClientID{}, err
	}
	return mimi.NewClientID(user, strings.ToLower(deviceIDs.EncodeToString(random)))
}

// hello makes the socket that of a device: its stream of events begins behind the cursor it names.
func (s *socket) hello(r *api.Request) error {
	req, err := api.UnmarshalHelloRequest(r.Body)
	if err != nil || req.Cursor > 1<<62 {
		return opBadRequest
	}
	client, err := mimi.ParseClientID(r.Target)
	if err != nil {
		return opBadRequest
	}
	if s.device != 0 {
		return opConflict
	}
	var d db.Device
	var available int
	var head int64
	err = s.m.DB.Read(s.context, func(tx *db.Tx) (err error) {
		if d, err = tx.DeviceByClient(client.String()); err != nil {
			return err
		}
		if available, err = tx.CountKeyPackages(d.ID); err != nil {
			return err
		}
		head, err = tx.Head()
		return err
	})
	// Somebody else's device and none at all look the same.
	if errors.Is(err, db.ErrNotFound) || err == nil && d.User != s.account.User.String() {
		return opUnknown
	}
	if err != nil {
		return err
	}
	if mls.VerifyWithLabel(suite, d.SignatureKey, api.LabelHello, api.HelloContent(s.nonce, d.Client), req.Signature) != nil {
		return opBadSignature
	}
	body, err := (&api.HelloResponse{KeyPackages: uint32(available), Head: uint64(head)}).Bytes()
	if err != nil {
		return err
	}
	answer, err := api.Bytes(&api.Response{ID: r.ID, Status: api.StatusOK, Body: body})
	if err != nil {
		return err
	}
	if err := s.bind(d.ID); err != nil {
		return err
	}
	s.client, s.device, s.stored = client, d.ID, time.Now()
	s.conn.SetReadLimit(readLimitBig)
	if old := s.m.fanout.register(s); old != nil {
		old.end(api.CloseReplaced, api.ReasonReplaced)
	}
	// A cursor from the future comes with a database from the past (a restored backup): go on with what will come.
	s.outgoing.startStream(answer, min(int64(req.Cursor), head))
	return nil
}

// marshalValue encodes one value of MLS.
func marshalValue(v cryptobyte.MarshalingValue) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddValue(v)
	return b.Bytes()
}
