package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func open(t *testing.T, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func put(t *testing.T, db *DB, key string) error {
	t.Helper()
	return db.Write(t.Context(), func(tx *Tx) error { return tx.SetSetting(key, []byte(key)) })
}

func has(t *testing.T, db *DB, key string) bool {
	t.Helper()
	err := db.Read(t.Context(), func(tx *Tx) error { _, err := tx.Setting(key); return err })
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestWriteIsReadAfterReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20?#ü") // a name that would break an unescaped data source name
	db := open(t, dir, Options{})
	if err := put(t, db, "k"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db = open(t, dir, Options{}); !has(t, db, "k") {
		t.Error("a committed row is gone after reopening")
	}
	for _, name := range []string{fileName, lockName} {
		if _, err := os.Stat(filepath.Join(dir, name)); name == fileName && err != nil {
			t.Error(err)
		}
	}
}

func TestWriterPragmas(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000"} {
		err := db.Write(t.Context(), func(tx *Tx) error {
			var got string
			if err := tx.one("PRAGMA "+pragma, nil, &got); err != nil || got != want {
				return fmt.Errorf("%s = %q, %v; want %q", pragma, got, err, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	err := db.Read(t.Context(), func(tx *Tx) error { return tx.SetSetting("k", []byte{}) })
	if err == nil {
		t.Error("a reader could write")
	}
}

func TestFailedItemLeavesItsMatesAlone(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	bad := errors.New("refused")
	var mu sync.Mutex
	var order []int
	got := make(map[int]error)
	var wg sync.WaitGroup
	hold := make(chan struct{})
	db.Enqueue(func(*Tx) error { <-hold; return nil }, func(error) {}) // so that the rest becomes one batch
	for i := range 200 {
		wg.Add(1)
		db.Enqueue(func(tx *Tx) error {
			if err := tx.SetSetting(fmt.Sprint("k", i), []byte{1}); err != nil {
				return err
			}
			switch i {
			case 7, 8, 150:
				return bad
			case 20:
				panic("a bug")
			}
			return nil
		}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			order, got[i] = append(order, i), err
			wg.Done()
		})
	}
	close(hold)
	wg.Wait()
	if !slices.IsSorted(order) {
		t.Error("done was not called in the order of Enqueue")
	}
	for i := range 200 {
		failed := i == 7 || i == 8 || i == 150 || i == 20
		if (got[i] != nil) != failed || has(t, db, fmt.Sprint("k", i)) == failed {
			t.Errorf("item %d: error %v", i, got[i])
		}
		if (i == 7 || i == 150) && !errors.Is(got[i], bad) {
			t.Errorf("item %d: error %v", i, got[i])
		}
	}
}

func TestParallelWritesAndReads(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	for p := range 16 {
		wg.Go(func() {
			for i := range 100 {
				key := fmt.Sprint(p, "-", i)
				if err := put(t, db, key); err != nil {
					t.Error(err)
				}
				if !has(t, db, key) {
					t.Errorf("%s is not visible after Write returned", key)
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelledContext(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Write(ctx, func(tx *Tx) error {
		cancel() // too late: what has been queued is carried out
		return tx.SetSetting("k", []byte{})
	})
	if err != nil || !has(t, db, "k") {
		t.Errorf("write under way: %v", err)
	}
	if err := db.Write(ctx, func(*Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("write after cancel: %v", err)
	}
}

func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	for i := range 1000 {
		db.Enqueue(func(tx *Tx) error { return tx.SetSetting(fmt.Sprint(i), []byte{}) }, func(err error) {
			if err == nil {
				n.Add(1)
			}
		})
	}
	if err := db.Close(); err != nil || n.Load() != 1000 {
		t.Errorf("close: %v, %d of 1000 stored", err, n.Load())
	}
	if err := put(t, db, "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(dir, fileName+"-wal")); err == nil && fi.Size() > 0 {
		t.Errorf("the log holds %d bytes after Close", fi.Size())
	}
}

func TestDiskFull(t *testing.T) {
	db := open(t, t.TempDir(), Options{MaxPages: 64})
	var err error
	stored := 0
	for i := 0; err == nil && i < 1000; i++ {
		err = db.Write(t.Context(), func(tx *Tx) error { return tx.SetSetting(fmt.Sprint("k", i), make([]byte, 4096)) })
		if err == nil {
			stored++
		}
	}
	if !errors.Is(err, ErrDiskFull) || stored == 0 {
		t.Fatalf("after %d rows: %v", stored, err)
	}
	for i := range stored {
		if !has(t, db, fmt.Sprint("k", i)) {
			t.Errorf("row %d was acknowledged and is gone", i)
		}
	}
	if has(t, db, fmt.Sprint("k", stored)) {
		t.Error("a refused row is there")
	}
	// It goes on as soon as there is room again.
	err = db.Write(t.Context(), func(tx *Tx) error { _, err := tx.exec(`DELETE FROM setting WHERE key = 'k0'`); return err })
	if err == nil {
		err = put(t, db, "small")
	}
	if err != nil {
		t.Error(err)
	}
}

func TestExclusiveLock(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, Options{Exclusive: true})
	if _, err := Open(t.Context(), dir, Options{Exclusive: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("second server: %v", err)
	}
	tool := open(t, dir, Options{}) // a tool works beside the server
	if err := put(t, tool, "k"); err != nil || !has(t, first, "k") {
		t.Errorf("tool beside the server: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{Exclusive: true})
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	err := db.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir, Options{})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "9999") {
		t.Errorf("got %v", err)
	}
}

func TestHourlyCheckpointTruncatesTheLog(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	for i := range 50 {
		if err := put(t, db, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	db.writer.checkpoint() // nobody else uses the writer now
	if fi, err := os.Stat(filepath.Join(dir, fileName+"-wal")); err != nil && !errors.Is(err, os.ErrNotExist) || err == nil && fi.Size() != 0 {
		t.Errorf("log after a checkpoint: %v, %v", fi, err)
	}
}

func TestConcurrentOpenMigratesOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			db, err := Open(ctx, dir, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// As many readers as there may be all hold their snapshot when they first need a statement nobody has prepared yet.
func TestReadersPrepareTogether(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	if err := put(t, db, "k"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var inside, readers sync.WaitGroup
	n := cap(db.turns)
	inside.Add(n)
	for range n {
		readers.Go(func() {
			err := db.Read(ctx, func(tx *Tx) error {
				inside.Done()
				inside.Wait()
				_, err := tx.Setting("k")
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
}
