package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const maxBatch = 500

// item is one unit of work for the writer.
type item struct {
	fn   func(*Tx) error
	done func(error)
}

// writer owns the only connection that writes. Everything below run is used by its goroutine alone.
type writer struct {
	log  *slog.Logger
	db   *sql.DB
	conn *sql.Conn
	tx   Tx
	prep map[string]*sql.Stmt

	mu      sync.Mutex
	queue   []item
	space   *sync.Cond // signalled when the queue has been taken
	closed  bool
	wake    chan struct{} // capacity 1: there is something to do
	stopped chan struct{} // closed when the goroutine has ended
}

func startWriter(ctx context.Context, path string, o Options) (*writer, error) {
	params := []string{"_pragma=busy_timeout(5000)", "_pragma=journal_mode(wal)", "_pragma=synchronous(FULL)",
		"_pragma=foreign_keys(1)", "_pragma=temp_store(memory)", "_txlock=immediate", "_defensive=1", "_dqs=0"}
	if o.MaxPages > 0 {
		params = append(params, fmt.Sprintf("_pragma=max_page_count(%d)", o.MaxPages))
	}
	db, err := sql.Open("sqlite", dsn(path, params...))
	if err != nil {
		return nil, wrap(err)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, wrap(err)
	}
	w := &writer{log: o.Logger, db: db, conn: conn, prep: make(map[string]*sql.Stmt),
		wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	w.space = sync.NewCond(&w.mu)
	// No context of a caller reaches the writer's transaction: a cancelled one would interrupt its batch mates.
	w.tx = Tx{ctx: context.Background(), now: o.Now, prepare: w.prepare}
	go w.run()
	return w, nil
}

func (w *writer) enqueue(it item) {
	w.mu.Lock()
	for len(w.queue) >= maxQueue && !w.closed {
		w.space.Wait()
	}
	if w.closed {
		w.mu.Unlock()
		it.done(ErrClosed)
		return
	}
	w.queue = append(w.queue, it)
	w.mu.Unlock()
	w.poke()
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// take moves the whole queue out, reusing spare for what comes next.
func (w *writer) take(spare []item) (all []item, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.queue = w.queue, spare[:0]
	w.space.Broadcast()
	return all, w.closed
}

func (w *writer) run() {
	defer close(w.stopped)
	tick := time.NewTicker(checkpointing)
	defer tick.Stop()
	var spare []item
	for {
		select {
		case <-w.wake:
		case <-tick.C:
			w.checkpoint()
		}
		all, closed := w.take(spare)
		for rest := all; len(rest) > 0; {
			n := min(len(rest), maxBatch)
			w.batch(rest[:n])
			rest = rest[n:]
		}
		clear(all)
		spare = all
		if closed && len(all) == 0 {
			return
		}
		if closed {
			w.poke()
		}
	}
}

// batch commits all items together. If one of them fails, nothing of the batch is kept: those before it are committed
// again without it, it is tried once more alone, and the rest goes on, so that one refusal takes no mates down and costs
// a few transactions, not one for each. The order once queued is kept either way.
func (w *writer) batch(items []item) {
	for len(items) > 0 {
		n, err := w.commit(items)
		switch {
		case err == nil:
			for _, it := range items {
				it.done(nil)
			}
			return
		case len(items) == 1:
			items[0].done(err)
			return
		case n == len(items): // COMMIT itself failed, whoever is to blame
			for i := range items {
				w.batch(items[i : i+1])
			}
			return
		}
		w.batch(items[:n])
		w.batch(items[n : n+1])
		items = items[n+1:]
	}
}

// commit runs the items in one transaction and returns nil only after COMMIT, that is after fsync; n items had run well.
func (w *writer) commit(items []item) (n int, err error) {
	if err := w.command("BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	for n = 0; n < len(items) && err == nil; {
		if err = w.call(items[n].fn); err == nil {
			n++
		}
	}
	if err == nil {
		err = w.command("COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself (a full disk); then there is no transaction and this only says so.
		_ = w.command("ROLLBACK")
	}
	return n, err
}

// call turns a panic of fn into its error: the goroutine serves everybody, and the transaction is rolled back.
func (w *writer) call(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic in a transaction", "stack", string(debug.Stack()))
			err = errors.New("db: panic in a transaction")
		}
	}()
	return fn(&w.tx)
}

func (w *writer) command(query string) error {
	s, err := w.prepare(query)
	if err != nil {
		return wrap(err)
	}
	_, err = s.ExecContext(context.Background())
	return wrap(err)
}

// prepare keeps every statement it was asked for: the texts are constants of this package.
func (w *writer) prepare(query string) (*sql.Stmt, error) {
	if s, ok := w.prep[query]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	w.prep[query] = s
	return s, nil
}

// checkpoint folds the log into the database and truncates it. A reader in the way only postpones it.
func (w *writer) checkpoint() {
	if err := w.command("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		w.log.Warn("checkpoint postponed", "error", err.Error())
	}
}

// stop refuses new work, carries out what is queued and closes the connection.
func (w *writer) stop() error {
	w.mu.Lock()
	w.closed = true
	w.space.Broadcast()
	w.mu.Unlock()
	w.poke()
	<-w.stopped
	w.checkpoint()
	var errs []error
	for _, s := range w.prep {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}
