// Package db keeps everything a provider stores, in one SQLite database: accounts, sessions, links and settings,
// and what the hub knows of rooms, devices and events.
//
// Invariants. There is one writer: a goroutine that gathers what is waiting into one transaction (group commit) and
// answers only after COMMIT with synchronous=FULL, so what was answered survives a power cut. Readers run beside it
// on their own connections, each [DB.Read] on one consistent snapshot. All tables are STRICT, times are Unix
// milliseconds, ids of people and rooms are strings. SQL lives in the file of its table, as methods on [Tx].
//
// Limits. The package knows SQL and nothing of Kith's other packages. A function given to [DB.Write] or [DB.Enqueue]
// may run twice (in a batch, then alone if another member of the batch failed), so it must do nothing outside the
// transaction except assign its results.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

const (
	fileName = "kith.db"
	lockName = "kith.lock"

	maxQueue      = 8192 // items waiting for the writer before Enqueue blocks
	checkpointing = time.Hour
)

// Options are the choices a caller of [Open] has. The zero value is usable.
type Options struct {
	Now       func() time.Time // the clock; time.Now if nil
	Logger    *slog.Logger     // discarded if nil
	Exclusive bool             // hold the data directory for this process alone (the server does, tools do not)
	MaxPages  int64            // bound of the database's size in pages of 4 KiB; 0 is SQLite's own bound
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	now    func() time.Time
	log    *slog.Logger
	reads  *sql.DB
	turns  chan struct{} // one for each snapshot that may be open
	stmts  sync.Map      // query → *sql.Stmt on reads
	writer *writer
	lock   *dirLock
	close  func() error // once
}

// Open opens the database in dir, creating directory and database where absent, and migrates it to this binary's
// schema. It returns [ErrInUse] if another process holds the directory and [ErrNewer] if a newer binary wrote it.
func Open(ctx context.Context, dir string, o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("db: data directory: %w", err)
	}
	path, err := prepareFile(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{now: o.Now, log: o.Logger}
	db.close = sync.OnceValue(db.shut)
	if o.Exclusive {
		if db.lock, err = lockDir(ctx, dir, 0); err != nil {
			return nil, err
		}
	}
	if err := db.open(ctx, dir, path, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, dir, path string, o Options) (err error) {
	if err := migrate(ctx, dir, path, db.lock != nil); err != nil {
		return err
	}
	if db.writer, err = startWriter(ctx, path, o); err != nil {
		return err
	}
	db.reads, err = sql.Open("sqlite", dsn(path, "mode=ro", "_pragma=busy_timeout(5000)", "_pragma=query_only(1)",
		"_pragma=cache_size(-8000)"))
	if err != nil {
		return wrap(err)
	}
	n := max(4, 2*runtime.NumCPU())
	db.turns = make(chan struct{}, n)
	// Besides its snapshot, a reader needs a second connection while it prepares a statement that is new to the pool. The
	// bound is on snapshots: were it on connections alone, n readers could wait for each other's for ever.
	db.reads.SetMaxOpenConns(2 * n)
	db.reads.SetMaxIdleConns(n)
	db.reads.SetConnMaxIdleTime(time.Minute) // each keeps a cache: a quiet server gives the memory back
	return wrap(db.reads.PingContext(ctx))
}

// prepareFile makes the directory and an empty database file that only the owner may read.
func prepareFile(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("db: data directory: %w", err)
	}
	path := filepath.Join(dir, fileName)
	// The live file must never be opened and closed by us: that would drop SQLite's POSIX locks. Stat does not open it.
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("db: data directory: %w", err)
	}
	return path, f.Close()
}

// dsn writes the name of the database for the driver; only a name that begins with file: keeps its parameters.
func dsn(path string, params ...string) string {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return "file://" + (&url.URL{Path: p}).EscapedPath() + "?" + strings.Join(params, "&")
}

// Close ends the writer after what is queued, folds the write-ahead log into the database and releases the directory.
// Closing again does nothing.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	var errs []error
	if db.writer != nil {
		errs = append(errs, db.writer.stop())
	}
	if db.reads != nil {
		db.stmts.Range(func(_, s any) bool { errs = append(errs, s.(*sql.Stmt).Close()); return true })
		errs = append(errs, db.reads.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.release())
	}
	return errors.Join(errs...)
}

// Read runs fn on a snapshot. It must not write, and must not wait for anybody: a long read keeps the log from shrinking.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	select {
	case db.turns <- struct{}{}:
		defer func() { <-db.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := db.reads.BeginTx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	defer tx.Rollback() // ends the snapshot; there is nothing to keep
	return fn(&Tx{ctx: ctx, now: db.now, prepare: func(q string) (*sql.Stmt, error) {
		s, err := db.readStmt(ctx, q)
		if err != nil {
			return nil, err
		}
		return tx.StmtContext(ctx, s), nil
	}})
}

func (db *DB) readStmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := db.stmts.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := db.reads.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if old, loaded := db.stmts.LoadOrStore(query, s); loaded {
		s.Close()
		return old.(*sql.Stmt), nil
	}
	return s, nil
}

// Write runs fn in a transaction of the writer and returns after COMMIT, or with the reason why nothing was stored.
// ctx is looked at before queueing only: what has been queued is carried out, and its outcome is always known.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answer := make(chan error, 1)
	db.Enqueue(fn, func(err error) { answer <- err })
	return <-answer
}

// Enqueue queues fn for the writer, first in, first out. done is called by the writer after COMMIT, in the same order,
// or with the reason why nothing of fn was stored; it must be quick and must not write or enqueue. Enqueue blocks while
// the queue is full. After [DB.Close] done is called at once with [ErrClosed].
func (db *DB) Enqueue(fn func(*Tx) error, done func(error)) {
	db.writer.enqueue(item{fn, done})
}

// Queued returns how many items wait for the writer.
func (db *DB) Queued() int { return db.writer.queued() }
