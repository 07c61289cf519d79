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
	pending, err := withProvider(path, func(p *goose.Provider) (bool, error) {
		current, target, err := p.GetVersions(ctx)
		if err == nil && current > target {
			return false, fmt.Errorf("%w: it has schema %d, this version knows %d; start the newer version, or restore a backup",
				ErrNewer, current, target)
		}
		return current < target, err
	})
	if err != nil || !pending {
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
	_, err = withProvider(path, func(p *goose.Provider) (bool, error) {
		_, err := p.Up(ctx)
		return false, err
	})
	return err
}

// withProvider runs fn with goose on a connection of its own.
func withProvider(path string, fn func(*goose.Provider) (bool, error)) (bool, error) {
	db, err := sql.Open("sqlite", dsn(path, "_pragma=busy_timeout(5000)", "_pragma=journal_mode(wal)",
		"_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)", "_txlock=immediate", "_dqs=0"))
	if err != nil {
		return false, wrap(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return false, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return false, fmt.Errorf("db: migrations: %w", err)
	}
	ok, err := fn(p)
	if err != nil && !errors.Is(err, ErrNewer) {
		return false, fmt.Errorf("db: migration: %w", wrap(err))
	}
	return ok, err
}
