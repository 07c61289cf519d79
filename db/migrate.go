package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings the database at path to this binary's schema, one transaction for each migration. held says that the
// caller has the directory's lock already; otherwise it is taken for the time of the migration, so that a tool never
// changes the schema under a running server of another version.
func migrate(ctx context.Context, dir, path string, held bool) error {
	if pending, err := pending(ctx, path); err != nil || !pending {
		return err
	}
	if !held {
		lock, err := lockDir(ctx, dir, 5*time.Second)
		if errors.Is(err, ErrInUse) {
			return fmt.Errorf("%w: a server of an older version is running; stop it first", ErrInUse)
		}
		if err != nil {
			return err
		}
		defer lock.release()
	}
	// Somebody may have migrated while we waited for the lock; then Up finds nothing to do.
	db, p, err := provider(path, "_pragma=journal_mode(wal)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("db: migration: %w", wrap(err))
	}
	return nil
}

// pending compares the database's version with the last one this binary knows. It only reads: without the lock nothing
// may change the database.
func pending(ctx context.Context, path string) (bool, error) {
	db, p, err := provider(path)
	if err != nil {
		return false, err
	}
	defer db.Close()
	known := p.ListSources()
	target := known[len(known)-1].Version
	var tables, current int64
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'`).Scan(&tables)
	if err != nil || tables == 0 {
		return true, wrap(err)
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&current)
	if err == nil && current > target {
		return false, fmt.Errorf("%w: it has schema %d, this version knows %d; start the newer version, or restore a backup",
			ErrNewer, current, target)
	}
	return current < target, wrap(err)
}

// provider opens the database for goose, on connections of its own.
func provider(path string, params ...string) (*sql.DB, *goose.Provider, error) {
	params = append([]string{"_pragma=busy_timeout(5000)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)",
		"_txlock=immediate", "_dqs=0"}, params...)
	db, err := sql.Open("sqlite", dsn(path, params...))
	if err != nil {
		return nil, nil, wrap(err)
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("db: migrations: %w", err)
	}
	return db, p, nil
}
