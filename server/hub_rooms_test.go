package server

import (
	"errors"
	"fmt"
	"testing"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
)

// TestUnknownRoomsTakeNoPlace: whoever asks for rooms that do not exist drives none that does out of memory.
func TestUnknownRoomsTakeNoPlace(t *testing.T) {
	store, err := db.Open(t.Context(), t.TempDir(), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c := newRoomCache(store, mls.Config{})
	id := func(name string) mimi.RoomID {
		room, err := mimi.ParseRoomID("mimi://a.example/r/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return room
	}
	err = store.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.FollowRoom(id("known").String(), "a.example")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	known, err := c.acquire(t.Context(), id("known"))
	if err != nil {
		t.Fatal(err)
	}
	known.release()
	for i := range 2 * maxRooms {
		if _, err := c.acquire(t.Context(), id(fmt.Sprint("x", i))); !errors.Is(err, opUnknown) {
			t.Fatal(err)
		}
	}
	if len(c.rooms) != 1 || c.recent.Len() != 1 || c.rooms[known.uri] != known {
		t.Errorf("%d rooms in memory, %d in order", len(c.rooms), c.recent.Len())
	}
}
