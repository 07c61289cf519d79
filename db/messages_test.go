package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// messageStore is a database with three devices of two users and two rooms.
type messageStore struct {
	*DB
	devices []int64
	rooms   []int64
}

func newMessageStore(t *testing.T) *messageStore {
	t.Helper()
	d, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &messageStore{DB: d}
	s.write(t, func(tx *Tx) error {
		s.devices, s.rooms = nil, nil
		for i, user := range []string{"alice", "alice", "bob"} {
			id, err := tx.CreateDevice(Device{Client: fmt.Sprintf("mimi://a.example/d/%s/%d", user, i),
				User: "mimi://a.example/u/" + user, Name: "x", SignatureKey: []byte{byte(i)}, Certificate: []byte{1}})
			if err != nil {
				return err
			}
			s.devices = append(s.devices, id)
		}
		for i := range 2 {
			id, err := tx.CreateRoom(Room{URI: fmt.Sprintf("mimi://a.example/r/%d", i), GroupID: fmt.Sprint("g", i), State: []byte("s")})
			if err != nil {
				return err
			}
			s.rooms = append(s.rooms, id)
		}
		return nil
	})
	return s
}

func (s *messageStore) write(t *testing.T, fn func(*Tx) error) {
	t.Helper()
	if err := s.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (s *messageStore) read(t *testing.T, fn func(*Tx) error) {
	t.Helper()
	if err := s.Read(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestDevices(t *testing.T) {
	s := newMessageStore(t)
	err := s.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.CreateDevice(Device{Client: "mimi://a.example/d/alice/0", User: "u", Name: "again", SignatureKey: []byte{1}, Certificate: []byte{1}})
		return err
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("same client twice: %v", err)
	}
	s.write(t, func(tx *Tx) error {
		if err := tx.RenewDevice(s.devices[0], []byte("new")); err != nil {
			return err
		}
		if err := tx.SetDeviceCursor(s.devices[0], 7); err != nil {
			return err
		}
		return tx.SetDeviceCursor(s.devices[0], 5)
	})
	s.read(t, func(tx *Tx) error {
		list, err := tx.DevicesOf("mimi://a.example/u/alice")
		if err != nil || len(list) != 2 || list[0].Cursor != 7 || string(list[0].Certificate) != "new" {
			t.Errorf("devices %+v %v", list, err)
		}
		if n, err := tx.CountDevices("mimi://a.example/u/alice"); n != 2 || err != nil {
			t.Errorf("%d devices, %v", n, err)
		}
		if _, err := tx.DeviceByClient("mimi://a.example/d/nobody/0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown client: %v", err)
		}
		return nil
	})
}

func TestRooms(t *testing.T) {
	s := newMessageStore(t)
	for _, r := range []Room{{URI: "mimi://a.example/r/0", GroupID: "new"}, {URI: "new", GroupID: "g0"}} {
		r.State = []byte{}
		if err := s.Write(t.Context(), func(tx *Tx) error { _, err := tx.CreateRoom(r); return err }); !errors.Is(err, ErrExists) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	s.write(t, func(tx *Tx) error {
		_, err := tx.CreateRoom(Room{URI: "d1", GroupID: "d1", Direct: "a b", State: []byte{}})
		return err
	})
	if err := s.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.CreateRoom(Room{URI: "d2", GroupID: "d2", Direct: "a b", State: []byte{}})
		return err
	}); !errors.Is(err, ErrExists) {
		t.Errorf("a second room for the same two: %v", err)
	}
	for _, users := range [][]string{{"a", "b"}, {"b", "c"}, {}, {"a"}} {
		s.write(t, func(tx *Tx) error { return tx.SetRoomUsers(s.rooms[1], users) })
		s.read(t, func(tx *Tx) error {
			for _, u := range []string{"a", "b", "c"} {
				list, err := tx.RoomsOf(u)
				if err != nil || (len(list) == 1) != slices.Contains(users, u) {
					t.Errorf("users %v: %s is in %v, %v", users, u, list, err)
				}
			}
			return nil
		})
	}
	s.write(t, func(tx *Tx) error { return tx.SetRoomState(s.rooms[0], []byte("next")) })
	s.read(t, func(tx *Tx) error {
		if r, err := tx.RoomByURI("mimi://a.example/r/0"); err != nil || string(r.State) != "next" || r.Direct != "" {
			t.Errorf("%+v %v", r, err)
		}
		return nil
	})
}

func TestSM4EventStoredOnce(t *testing.T) {
	s := newMessageStore(t)
	hash := bytes.Repeat([]byte{9}, HashSize)
	var first, second, other Event
	var fresh [3]bool
	s.write(t, func(tx *Tx) (err error) {
		if first, fresh[0], err = tx.AppendEvent(Event{Room: s.rooms[0], Time: 10, Kind: EventMessage, Hash: hash, Body: []byte("a")}); err != nil {
			return err
		}
		if second, fresh[1], err = tx.AppendEvent(Event{Room: s.rooms[0], Time: 11, Kind: EventMessage, Hash: hash, Body: []byte("a")}); err != nil {
			return err
		}
		other, fresh[2], err = tx.AppendEvent(Event{Room: s.rooms[1], Time: 11, Kind: EventMessage, Hash: hash, Body: []byte("a")})
		return err
	})
	if fresh != [3]bool{true, false, true} || second.ID != first.ID || second.Time != 10 || other.ID == first.ID {
		t.Errorf("%v %+v %+v %+v", fresh, first, second, other)
	}
	s.read(t, func(tx *Tx) error {
		if ts, err := tx.LastTime(s.rooms[0]); ts != 10 || err != nil {
			t.Errorf("last time %d %v", ts, err)
		}
		if ts, err := tx.LastTime(99); ts != 0 || err != nil {
			t.Errorf("last time of no room %d %v", ts, err)
		}
		if _, err := tx.EventByHash(s.rooms[0], hash[:8]); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown hash: %v", err)
		}
		return nil
	})
}

// TestBacklogAgainstModel makes random histories and compares pages of every size with a plain model of the rules.
func TestBacklogAgainstModel(t *testing.T) {
	s := newMessageStore(t)
	rng := rand.New(rand.NewPCG(3, 4))
	type span struct {
		device, room, from, to int64
		silent                 bool
	}
	var open, spans []span
	var events []Event
	s.write(t, func(tx *Tx) error {
		open, spans, events = nil, nil, nil
		for range 400 {
			room := s.rooms[rng.IntN(2)]
			kind := []int{EventMessage, EventMessage, EventMessage, EventCommit, EventWelcome, EventCreate}[rng.IntN(6)]
			e, _, err := tx.AppendEvent(Event{Room: room, Kind: kind, Body: make([]byte, rng.IntN(300))})
			if err != nil {
				return err
			}
			events = append(events, e)
			device := s.devices[rng.IntN(3)]
			i := slices.IndexFunc(open, func(p span) bool { return p.device == device && p.room == room })
			switch {
			case kind == EventWelcome && i < 0:
				open = append(open, span{device, room, e.ID, 1 << 60, false})
				err = tx.AddMember(room, device, e.ID)
			case kind == EventCommit && i >= 0 && rng.IntN(4) == 0:
				open[i].to = e.ID
				spans = append(spans, open[i])
				open = slices.Delete(open, i, i+1)
				err = tx.EndMember(room, device, e.ID)
			case kind == EventCommit && i >= 0 && rng.IntN(2) == 0:
				silent := rng.IntN(2) == 0
				if open[i].silent != silent {
					before := open[i]
					before.to = e.ID - 1
					spans = append(spans, before)
					open[i].from, open[i].silent = e.ID, silent
				}
				err = tx.SetMemberMessages(room, device, e.ID, !silent)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	spans = append(spans, open...)
	for _, device := range s.devices {
		var want []int64
		for _, e := range events {
			if slices.ContainsFunc(spans, func(p span) bool {
				return p.device == device && p.room == e.Room && p.from <= e.ID && e.ID <= p.to && e.Kind != EventCreate &&
					(e.Kind != EventWelcome || e.ID == p.from) && (e.Kind != EventMessage || !p.silent)
			}) {
				want = append(want, e.ID)
			}
		}
		for _, p := range []Page{{1, 1 << 20, 1}, {7, 1 << 20, 16}, {1000, 500, 64}, {1000, 1 << 20, 1 << 20}} {
			for _, start := range []int64{0, 17, 399, 400, 500} {
				got := s.drain(t, device, start, p)
				skip, _ := slices.BinarySearch(want, start+1)
				if !slices.Equal(got, want[skip:]) {
					t.Fatalf("device %d from %d by %+v: %v, want %v", device, start, p, got, want[skip:])
				}
			}
		}
	}
}

// drain reads a device's stream page by page.
func (s *messageStore) drain(t *testing.T, device, cursor int64, p Page) (ids []int64) {
	t.Helper()
	for {
		var page []Delivery
		next, head := cursor, int64(0)
		s.read(t, func(tx *Tx) (err error) {
			page, next, err = tx.Backlog(device, cursor, p)
			if err == nil {
				head, err = tx.Head()
			}
			return err
		})
		for _, d := range page {
			ids = append(ids, d.ID)
		}
		if next < cursor || next == cursor && cursor < head {
			t.Fatalf("cursor %d → %d, head %d", cursor, next, head)
		}
		if cursor = next; cursor >= head {
			return ids
		}
	}
}

func TestBacklogManyRooms(t *testing.T) {
	s := newMessageStore(t)
	const rooms, perRoom = 300, 10
	s.write(t, func(tx *Tx) error {
		for i := range rooms {
			room, err := tx.CreateRoom(Room{URI: fmt.Sprint("many", i), GroupID: fmt.Sprint("many", i), State: []byte{}})
			if err != nil {
				return err
			}
			if err := tx.AddMember(room, s.devices[0], 1); err != nil {
				return err
			}
			for range perRoom {
				if _, _, err := tx.AppendEvent(Event{Room: room, Kind: EventMessage, Body: []byte("x")}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	start := time.Now()
	if got := s.drain(t, s.devices[0], 0, Page{Rows: 256, Bytes: 1 << 20, Window: 1024}); len(got) != rooms*perRoom {
		t.Errorf("%d events", len(got))
	}
	t.Logf("%d events of %d rooms in %v", rooms*perRoom, rooms, time.Since(start))
}

func TestKM5KeyPackageClaimedOnceUnderConcurrency(t *testing.T) {
	s := newMessageStore(t)
	later := time.Now().Add(time.Hour).UnixMilli()
	s.write(t, func(tx *Tx) error {
		for i := range 20 {
			if err := tx.AddKeyPackage(KeyPackage{Ref: []byte{byte(i)}, Device: s.devices[0], Suite: 1, NotAfter: later, Body: []byte("kp")}); err != nil {
				return err
			}
		}
		return nil
	})
	var claimed sync.Map
	var count atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				var ref []byte
				err := s.Write(context.Background(), func(tx *Tx) error {
					ref = nil
					list, err := tx.KeyPackages(s.devices[0], 1, tx.Now(), 1)
					if err != nil || len(list) == 0 {
						return err
					}
					ref = list[0].Ref
					return tx.ClaimKeyPackage(ref, "room")
				})
				if err != nil {
					t.Error(err)
					return
				}
				if ref == nil {
					continue
				}
				count.Add(1)
				if _, twice := claimed.LoadOrStore(string(ref), true); twice {
					t.Errorf("package %x handed out twice", ref)
				}
			}
		})
	}
	wg.Wait()
	if count.Load() != 20 {
		t.Errorf("%d packages claimed, want 20", count.Load())
	}
	if err := s.Write(t.Context(), func(tx *Tx) error { return tx.ClaimKeyPackage([]byte{3}, "room") }); !errors.Is(err, ErrNotFound) {
		t.Errorf("claiming again: %v", err)
	}
	if err := s.Write(t.Context(), func(tx *Tx) error {
		return tx.AddKeyPackage(KeyPackage{Ref: []byte{3}, Device: s.devices[0], Suite: 1, NotAfter: later, Body: []byte("kp")})
	}); !errors.Is(err, ErrExists) {
		t.Errorf("publishing a claimed package again: %v", err)
	}
	s.read(t, func(tx *Tx) error {
		c, err := tx.KeyClaim([]byte{3})
		if err != nil || c.Device != s.devices[0] || c.Room != "room" || c.Client != "mimi://a.example/d/alice/0" {
			t.Errorf("%+v %v", c, err)
		}
		return nil
	})
	s.write(t, func(tx *Tx) error { return tx.UseKeyClaim([]byte{3}) })
	for name, fn := range map[string]func(*Tx) error{
		"finding a used one": func(tx *Tx) error { _, err := tx.KeyClaim([]byte{3}); return err },
		"using it again":     func(tx *Tx) error { return tx.UseKeyClaim([]byte{3}) },
		"using none":         func(tx *Tx) error { return tx.UseKeyClaim([]byte{99}) },
	} {
		if err := s.Write(t.Context(), fn); !errors.Is(err, ErrNotFound) {
			t.Errorf("KM-8: %s: %v", name, err)
		}
	}
	if err := s.Write(t.Context(), func(tx *Tx) error {
		return tx.AddKeyPackage(KeyPackage{Ref: []byte{3}, Device: s.devices[0], Suite: 1, NotAfter: later, Body: []byte("kp")})
	}); !errors.Is(err, ErrExists) {
		t.Errorf("publishing a used package again: %v", err)
	}
}

func TestKM9ExpiredKeyPackagesAreNotHandedOut(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "data"), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s := &messageStore{DB: d}
	var device int64
	s.write(t, func(tx *Tx) (err error) {
		if device, err = tx.CreateDevice(Device{Client: "c", User: "u", Name: "", SignatureKey: []byte{1}, Certificate: []byte{1}}); err != nil {
			return err
		}
		for i, notAfter := range []int64{999_999, 1_000_000, 1_000_001, 2_000_000} {
			if err := tx.AddKeyPackage(KeyPackage{Ref: []byte{byte(i)}, Device: device, Suite: 1, NotAfter: notAfter, Body: []byte("kp")}); err != nil {
				return err
			}
		}
		return tx.ClaimKeyPackage([]byte{2}, "")
	})
	s.read(t, func(tx *Tx) error {
		list, err := tx.KeyPackages(device, 1, tx.Now(), 10)
		if n, _ := tx.CountKeyPackages(device); err != nil || len(list) != 1 || list[0].Ref[0] != 3 || n != 1 {
			t.Errorf("%+v %d %v", list, n, err)
		}
		if other, err := tx.KeyPackages(device, 2, tx.Now(), 10); err != nil || len(other) != 0 {
			t.Errorf("another suite: %v %v", other, err)
		}
		return nil
	})
	now = now.Add(time.Second)
	s.write(t, (*Tx).PruneKeyPackages)
	s.read(t, func(tx *Tx) error {
		if _, err := tx.KeyClaim([]byte{2}); !errors.Is(err, ErrNotFound) {
			t.Errorf("claim outlives its package: %v", err)
		}
		return nil
	})
}

func TestMembers(t *testing.T) {
	s := newMessageStore(t)
	s.write(t, func(tx *Tx) error {
		for _, d := range s.devices {
			if err := errors.Join(tx.AddMember(s.rooms[0], d, 5), tx.AddMember(s.rooms[0], d, 5)); err != nil {
				return err
			}
		}
		return errors.Join(tx.EndMember(s.rooms[0], s.devices[1], 8),
			tx.SetMemberMessages(s.rooms[0], s.devices[1], 9, false), // a member no more
			tx.SetMemberMessages(s.rooms[0], s.devices[2], 5, false),
			tx.SetMemberMessages(s.rooms[1], s.devices[0], 9, false)) // and never one
	})
	s.read(t, func(tx *Tx) error {
		list, err := tx.Members(s.rooms[0])
		if err != nil || len(list) != 2 || list[0].Device != s.devices[0] || list[1].Client != "mimi://a.example/d/bob/2" ||
			!list[0].Messages || list[1].Messages {
			t.Errorf("%+v %v", list, err)
		}
		return nil
	})
}

// TestNT12MembershipThatBeganLater: who says that it is out of a room cannot mean a membership of which it has not heard.
func TestNT12MembershipThatBeganLater(t *testing.T) {
	s := newMessageStore(t)
	s.write(t, func(tx *Tx) error {
		room, device := s.rooms[0], s.devices[0]
		if err := errors.Join(tx.AddMember(room, device, 5), tx.AddMember(room, s.devices[1], 5)); err != nil {
			return err
		}
		for _, c := range []struct {
			stored int64
			want   bool
		}{{4, false}, {5, true}, {9, false}} {
			if ended, err := tx.EndMemberKnown(room, device, 7, c.stored); err != nil || ended != c.want {
				t.Errorf("stored %d: ended %v, %v", c.stored, ended, err)
			}
		}
		if list, err := tx.Members(room); err != nil || len(list) != 1 || list[0].Device != s.devices[1] {
			t.Errorf("members: %+v %v", list, err)
		}
		if err := errors.Join(tx.AddMember(room, device, 9), tx.SetDeviceCursor(device, 8)); err != nil {
			return err
		}
		if ended, err := tx.EndMemberKnown(room, device, 12, 0); err != nil || ended {
			t.Errorf("a later membership ended: %v %v", ended, err)
		}
		if err := tx.SetDeviceCursor(device, 9); err != nil {
			return err
		}
		if ended, err := tx.EndMemberKnown(room, device, 12, 0); err != nil || !ended {
			t.Errorf("a membership that the device knows does not end: %v %v", ended, err)
		}
		return nil
	})
}
