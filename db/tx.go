package db

import (
	"context"
	"database/sql"
	"time"
)

// Tx is a transaction: a snapshot inside [DB.Read], a write inside [DB.Write] and [DB.Enqueue]. It ends with the function
// it was given to. Its exported methods are in the files of the tables.
type Tx struct {
	ctx     context.Context
	now     func() time.Time
	prepare func(query string) (*sql.Stmt, error)
}

// Now returns the time in Unix milliseconds, as stored.
func (tx *Tx) Now() int64 { return tx.now().UnixMilli() }

// exec runs a statement and returns the number of rows it touched.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	r, err := tx.result(query, args)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return n, wrap(err)
}

// insert runs an INSERT and returns the rowid of the new row.
func (tx *Tx) insert(query string, args ...any) (int64, error) {
	r, err := tx.result(query, args)
	if err != nil {
		return 0, err
	}
	id, err := r.LastInsertId()
	return id, wrap(err)
}

func (tx *Tx) result(query string, args []any) (sql.Result, error) {
	s, err := tx.prepare(query)
	if err != nil {
		return nil, wrap(err)
	}
	r, err := s.ExecContext(tx.ctx, args...)
	return r, wrap(err)
}

// one reads one row into dest, a list of pointers; without a row it returns [ErrNotFound].
func (tx *Tx) one(query string, args []any, dest ...any) error {
	s, err := tx.prepare(query)
	if err != nil {
		return wrap(err)
	}
	return wrap(s.QueryRowContext(tx.ctx, args...).Scan(dest...))
}

// each calls scan for every row. scan must use its argument as sql.Row.Scan and must not use the transaction.
func (tx *Tx) each(query string, args []any, scan func(func(dest ...any) error) error) error {
	s, err := tx.prepare(query)
	if err != nil {
		return wrap(err)
	}
	rows, err := s.QueryContext(tx.ctx, args...)
	if err != nil {
		return wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return wrap(err)
		}
	}
	return wrap(rows.Err())
}

// collect reads all rows into a slice; scan fills one T through the given scan function.
func collect[T any](tx *Tx, query string, args []any, scan func(*T, func(dest ...any) error) error) ([]T, error) {
	var all []T
	err := tx.each(query, args, func(row func(...any) error) error {
		var t T
		if err := scan(&t, row); err != nil {
			return err
		}
		all = append(all, t)
		return nil
	})
	return all, err
}
