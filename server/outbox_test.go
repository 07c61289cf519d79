package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/db"
)

// TestNT4AWeekAway: a provider that has been away for more than a week is looked for once a day, the operator is told once,
// and what waits for it is not lost: it arrives when the provider is back, although that asks for nothing itself.
func TestNT4AWeekAway(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store, err := db.Open(ctx, dir, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		log := new(logBuffer)
		logger := slog.New(slog.NewTextHandler(log, nil))
		var mu sync.Mutex
		var attempts []time.Time
		back := time.Now().Add(15 * 24 * time.Hour)
		delivered := ""
		p := newPeers(peerNamed(t, "a.example"), nil, store, nil, time.Now, logger)
		p.client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasSuffix(r.URL.Path, directoryPath) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"notify":"https://b.example/{roomId}"}`))}, nil
			}
			if n := len(attempts); n == 0 || attempts[n-1].Before(time.Now()) { // the second try with a new directory is none of its own
				attempts = append(attempts, time.Now())
			}
			if time.Now().Before(back) {
				return nil, errors.New("away")
			}
			body, err := io.ReadAll(r.Body)
			delivered += string(body)
			return &http.Response{StatusCode: 201, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, err
		})}
		var running sync.WaitGroup
		o := newOutbox(ctx, &running, store, p, time.Now, logger)
		err = store.Write(ctx, func(tx *db.Tx) error {
			room, err := tx.CreateRoom(db.Room{URI: "mimi://a.example/r/x", GroupID: "x", State: []byte{}})
			if err != nil {
				return err
			}
			e, _, err := tx.AppendEvent(db.Event{Room: room, Time: 1, Kind: db.EventCommit, Hash: make([]byte, db.HashSize), Body: []byte("an event")})
			if err != nil {
				return err
			}
			return tx.AddFollower(room, "b.example", e.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.load(ctx); err != nil {
			t.Fatal(err)
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(attempts)
		}
		time.Sleep(8 * 24 * time.Hour)
		week := count()
		if week < 7*24 || week > 8*24*2 {
			t.Errorf("%d attempts in a week", week)
		}
		time.Sleep(6 * 24 * time.Hour)
		if n := count() - week; n < 4 || n > 7 {
			t.Errorf("%d attempts in the six days after it", n)
		}
		if n := strings.Count(log.String(), "away for a week"); n != 1 {
			t.Errorf("the operator was told %d times", n)
		}
		time.Sleep(3 * 24 * time.Hour)
		mu.Lock()
		if delivered != "an event" {
			t.Errorf("delivered %q", delivered)
		}
		mu.Unlock()
		o.stop()
		cancel()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOutboxHeldIsNotForgotten: the operator admits a provider again in the very moment in which an attempt finds that it is
// not: nothing is left lying.
func TestOutboxHeldIsNotForgotten(t *testing.T) {
	s := newSite(t)
	m := s.chat.(*messenger)
	b := peerNamed(t, "b.example")
	q := m.peers.get(b)
	m.outbox.mu.Lock()
	defer m.outbox.mu.Unlock()
	l := m.outbox.lane("b.example")
	l.timer = time.NewTimer(time.Hour) // so that nobody works on it
	defer l.timer.Stop()
	j := &job{room: 1, uri: "mimi://localhost/r/x"}
	l.jobs[1] = j
	m.outbox.settle(l, j, delivery{outcome: outboxHeld}) // by now it is admitted
	if l.held || len(l.ready) != 1 {
		t.Error("held although it is admitted")
	}
	q.mu.Lock()
	q.suspended = true
	q.mu.Unlock()
	l.ready = nil
	m.outbox.settle(l, j, delivery{outcome: outboxHeld})
	if !l.held || len(l.ready) != 1 {
		t.Error("not held although it is not admitted")
	}
}
