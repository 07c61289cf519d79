package server

import (
	"context"
	"time"

	"kith/db"
)

// actionDisable is how the audit log calls the disabling of an account.
const actionDisable = "disable user"

const watchEvery = 30 * time.Second

// watch follows the audit log for what the command line, another process, did to accounts, and ends the sockets of those
// that were disabled: their sessions are gone, but a socket that is open asks for none.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := int64(-1) // the first look only finds the end of the log
	for {
		var err error
		if last, err = s.look(ctx, last); err != nil && ctx.Err() == nil {
			s.log.Warn("audit log not read", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look acts on the lines of the audit log after last and returns the id of the newest.
func (s *Server) look(ctx context.Context, last int64) (int64, error) {
	var names []string
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		if last < 0 {
			newest, err := tx.AuditLog(1)
			if err != nil {
				return err
			}
			last = 0
			if len(newest) > 0 {
				last = newest[0].ID
			}
			return nil
		}
		entries, err := tx.AuditAfter(last, maxShown)
		if err != nil {
			return err
		}
		for _, e := range entries {
			last = e.ID
			if e.Action != actionDisable {
				continue
			}
			a, err := tx.Account(e.Account)
			if err != nil {
				return err
			}
			names = append(names, a.Username)
		}
		return nil
	})
	for _, name := range names {
		s.chat.SignOutUser(name)
	}
	if err == nil && len(names) > 0 {
		err = s.chat.EvictDisabled(ctx)
	}
	return last, err
}
