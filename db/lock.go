package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// dirLock says that a data directory belongs to one process. It is an exclusive transaction on an empty SQLite database
// of its own: that is portable, and the operating system releases it when the process ends in any way.
type dirLock struct {
	db   *sql.DB
	conn *sql.Conn
}

// lockDir takes the directory's lock, waiting for it at most wait.
func lockDir(ctx context.Context, dir string, wait time.Duration) (*dirLock, error) {
	timeout := fmt.Sprintf("_pragma=busy_timeout(%d)", wait.Milliseconds())
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, lockName), timeout))
	if err != nil {
		return nil, wrap(err)
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		db.Close()
		if busy(err) {
			return nil, fmt.Errorf("%w (%s)", ErrInUse, dir)
		}
		return nil, wrap(err)
	}
	return &dirLock{db, conn}, nil
}

func (l *dirLock) release() error { return errors.Join(l.conn.Close(), l.db.Close()) }
