package server_test

import (
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest"
)

// TestKM11LastResortOfBefore: a package of last resort that an earlier version has taken in is not handed out either.
func TestKM11LastResortOfBefore(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		alice, id := p.device("alice"), p.room("r1")
		must(alice.CreateRoom(t.Context(), alice.c, id, "", mimi.UserID{}))
		bob, err := servertest.Register(t.Context(), p.dial("bob"), p.accounts["bob"], p.config.Now)
		must(err)
		now := p.config.Now()
		life := mls.Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(30 * 24 * time.Hour).Unix())}
		last, err := mls.NewLastResortKeyPackage(bob.Config, bob.MLS, life, nil)
		must(err)
		ref, err := last.KeyPackage.Ref()
		must(err)
		body, err := last.KeyPackage.Bytes()
		must(err)
		store, err := db.Open(t.Context(), p.dir, db.Options{Now: p.config.Now})
		must(err)
		must(store.Write(t.Context(), func(tx *db.Tx) error {
			d, err := tx.DeviceByClient(bob.Client.String())
			if err != nil {
				return err
			}
			return tx.AddKeyPackage(db.KeyPackage{Ref: ref, Device: d.ID, Suite: int64(room.Suite), NotAfter: int64(life.NotAfter) * 1000, Body: body})
		}))
		must(store.Close())
		resp, err := alice.Claim(t.Context(), alice.c, id, bob.User)
		must(err)
		if len(resp.Clients) != 1 || resp.Clients[0].ClientStatus != wire.ClientKeyMaterialExhausted || resp.Clients[0].KeyPackage != nil {
			t.Errorf("%+v", resp)
		}
	})
}
