package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/server/servertest"
	"kith/web/api"
)

func (m *member) devices() api.DeviceList {
	m.t.Helper()
	body, err := m.c.Call(m.t.Context(), api.OpDevices, "", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	list, err := api.UnmarshalDeviceList(body)
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

// signInAgain gives an account another session, as a second browser has, and returns the one it had.
func (p *provider) signInAgain(name string) (before servertest.Account) {
	p.t.Helper()
	before = p.accounts[name]
	store, err := db.Open(p.t.Context(), p.dir, db.Options{Now: p.config.Now})
	if err != nil {
		p.t.Fatal(err)
	}
	defer store.Close()
	again := before
	again.Token = base64.RawURLEncoding.EncodeToString([]byte(before.Token)[1:33])
	hash, now := sha256.Sum256([]byte(again.Token)), p.config.Now()
	err = store.Write(p.t.Context(), func(tx *db.Tx) error {
		a, err := tx.AccountByName(name)
		if err != nil {
			return err
		}
		again.Session, err = tx.AddSession(db.Session{Hash: hash[:], Account: a.ID, CreatedAt: now.UnixMilli(), SeenAt: now.UnixMilli(),
			ExpiresAt: now.Add(24 * time.Hour).UnixMilli()}, 10)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.accounts[name] = again
	return before
}

// A removed device is gone with its KeyPackages, its connection ends, and so does the session it used.
func TestRemovedDeviceIsForgotten(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		lost := p.device("alice")
		old := p.signInAgain("alice")
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r")
		if n := len(alice.devices()); n != 2 {
			t.Fatalf("%d devices", n)
		}
		if n := len(bob.devices()); n != 1 {
			t.Fatalf("bob sees %d devices", n)
		}
		_, err := alice.c.Call(t.Context(), api.OpRemoveDevice, bob.Client.String(), nil)
		refused(t, "somebody else's device", err, api.StatusNotFound, api.CodeNotFound)
		for range 2 { // the answer may get lost
			if _, err := alice.c.Call(t.Context(), api.OpRemoveDevice, lost.Client.String(), nil); err != nil {
				t.Fatal(err)
			}
		}
		lost.closed(api.CloseSignedOut, api.ReasonSignedOut)
		if list := alice.devices(); len(list) != 1 || list[0].Client != alice.Client.String() || list[0].Created == 0 {
			t.Fatalf("left: %v", list)
		}
		if err := bob.CreateRoom(t.Context(), bob.c, id, "", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		resp, err := bob.Claim(t.Context(), bob.c, id, alice.User)
		if err != nil || len(resp.Clients) != 1 || resp.Clients[0].ClientURI != alice.Client {
			t.Fatalf("claimed: %v %v", resp, err)
		}
		if _, err := servertest.Dial(t.Context(), p.network.Client(), "http://"+testDomain, old); err == nil {
			t.Fatal("the session of the lost device goes on")
		}
		p.reconnect(alice)
	})
}

// A device that is removed while it is a member of rooms leaves a hub that goes on, and its leaf can be removed.
func TestRoomsOutliveARemovedDevice(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r")
		p.group(id, alice, bob)
		if _, err := bob.c.Call(t.Context(), api.OpRemoveDevice, bob.Client.String(), nil); err != nil {
			t.Fatal(err)
		}
		alice.send(id, "still here")
		if got := alice.texts(1); got[0] != "still here" {
			t.Fatal(got)
		}
		if err := alice.Change(t.Context(), alice.c, id, func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, bob.User) }); err != nil {
			t.Fatal(err)
		}
		p.reconnect(alice)
		alice.send(id, "alone")
	})
}
