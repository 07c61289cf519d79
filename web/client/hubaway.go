package client

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"kith/web/api"
)

// The hub of a room may be another provider's, and that may be away for days. What we want of it stays stored and is
// tried again: soon at first, then every few minutes, and at once when the room has news or the connection is new.

// slowHub is when people are told that a hub does not answer, long before it is given up.
const slowHub = 10 * time.Second

// callHub asks the hub of a room.
func (e *engine) callHub(ctx context.Context, l *link, op api.Op, r *room, body []byte) ([]byte, error) {
	var over atomic.Bool
	slow := time.AfterFunc(slowHub, func() {
		_ = e.do(ctx, func() error { e.showAway(r, r.away || e.link == l && !over.Load()); return nil })
	})
	defer slow.Stop()
	defer over.Store(true)
	return l.call(ctx, op, r.id.String(), body)
}

// isAway reports whether an operation failed because another provider could not be reached.
func isAway(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code == api.CodeHubUnreachable
}

// isKept reports whether a message is to be kept until its hub takes it, however long that takes: the hub cannot be
// reached, or it is another provider's and we are asked to come back later.
func (e *engine) isKept(r *room, err error) bool {
	var status *statusError
	later := errors.As(err, &status) && (status.status == api.StatusRateLimited || status.status == api.StatusUnavailable)
	return isAway(err) || later && r.id.Provider() != e.user.Provider()
}

// answered notes that the room's hub is there, if that is what the outcome of an operation tells.
func (e *engine) answered(r *room, err error) {
	var status *statusError
	if err == nil || errors.As(err, &status) && !isAway(err) {
		e.setAway(r, false)
	}
}

func (e *engine) setAway(r *room, away bool) {
	if away {
		r.failures++
	} else {
		r.failures = 0
	}
	e.showAway(r, away)
}

func (e *engine) showAway(r *room, away bool) {
	if r.away != away {
		r.away = away
		e.roomsChanged = true
	}
}

// awaitHub pauses a flow whose hub is away.
func (e *engine) awaitHub(ctx context.Context, r *room) {
	var failures, news int
	var l *link
	err := e.do(ctx, func() error {
		e.setAway(r, true)
		failures, news, l = r.failures, r.news, e.link
		return nil
	})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longBackoff(failures))
	defer cancel()
	_ = e.wait(ctx, func() bool { return r.news != news || e.link != nil && e.link != l })
}

// late is the error of an operation that waited in vain: for the room's hub, or for something else.
func (e *engine) late(ctx context.Context, r *room, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	_ = e.do(context.WithoutCancel(ctx), func() error {
		if r.away || r.id.Provider() != e.user.Provider() && e.link != nil {
			err = fail(CodeHubUnreachable, "the room's hub cannot be reached")
		}
		return nil
	})
	return err
}
