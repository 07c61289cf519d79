package db

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The errors that callers tell apart with errors.Is.
var (
	ErrNotFound = errors.New("db: not found")
	ErrExists   = errors.New("db: already exists")
	ErrDiskFull = errors.New("db: the disk is full or cannot be written")
	ErrInUse    = errors.New("db: the data directory is in use by another process")
	ErrNewer    = errors.New("db: the database was written by a newer version of kith")
	ErrClosed   = errors.New("db: closed")
)

// wrap gives the driver's errors the names above. The driver's text is kept for the log; it holds no stored values.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	var e *sqlite.Error
	if !errors.As(err, &e) || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrExists) {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	switch e.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// busy reports whether another connection holds the lock that was asked for.
func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}
