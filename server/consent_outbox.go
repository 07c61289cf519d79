package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/wire"
)

// How long what our users say about consent is offered to a provider that does not take it.
const (
	consentLife     = 7 * 24 * time.Hour
	consentPause    = 5 * time.Second // after the first failed attempt, then twice as long each time
	consentPauseMax = time.Hour
	consentAtOnce   = 8 // providers that are spoken to at the same time
)

// queue queues a message about the scope of e. It reports false when too many wait for that provider.
func (c *consents) queue(tx *db.Tx, op wire.ConsentOperation, e *wire.ConsentEntry) (bool, error) {
	entry := wire.ConsentEntry{ConsentOperation: op, RequesterURI: e.RequesterURI, TargetURI: e.TargetURI, RoomID: e.RoomID}
	body, err := entry.Bytes()
	if err != nil {
		return false, err
	}
	to, answer := e.TargetURI, op == wire.ConsentGrant || op == wire.ConsentRevoke
	if answer {
		to = e.RequesterURI
	}
	host := to.Provider().Host()
	n, err := tx.CountQueuedConsents(host)
	if err != nil || n >= maxConsentQueue {
		return false, err
	}
	return true, tx.QueueConsent(db.ConsentMessage{Provider: host, Answer: answer, Requester: e.RequesterURI.String(),
		Target: e.TargetURI.String(), Room: e.RoomID.String(), Body: body})
}

// queued is queue for what one of our users says, who is told when it is too much.
func (c *consents) queued(o consentOutcome, tx *db.Tx, op wire.ConsentOperation, e *wire.ConsentEntry) (consentOutcome, error) {
	ok, err := c.queue(tx, op, e)
	if err == nil && !ok {
		err = opRateLimited
	}
	o.queued = true
	return o, err
}

// run is the goroutine that sends what is queued, until ctx ends.
func (c *consents) run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	var mu sync.Mutex
	busy := make(map[string]bool) // providers that are being spoken to
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		heads, err := c.heads(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, db.ErrClosed) {
				c.log.Error("consents to send not read", "error", err.Error())
			}
			timer.Reset(time.Minute)
			continue
		}
		pause := time.Hour
		for _, h := range heads {
			if wait := time.Duration(h.Due-c.now().UnixMilli()) * time.Millisecond; wait > 0 {
				pause = min(pause, wait)
				continue
			}
			mu.Lock()
			free := !busy[h.Provider] && len(busy) < consentAtOnce
			if free {
				busy[h.Provider] = true
			}
			mu.Unlock()
			if !free {
				continue // whoever ends wakes us
			}
			sending.Go(func() {
				c.send(ctx, h)
				mu.Lock()
				delete(busy, h.Provider)
				mu.Unlock()
				poke(c.wake)
			})
		}
		timer.Reset(pause)
	}
}

func (c *consents) heads(ctx context.Context) (heads []db.ConsentMessage, err error) {
	err = c.db.Read(ctx, func(tx *db.Tx) error {
		heads, err = tx.ConsentHeads()
		return err
	})
	return heads, err
}

// send offers one message to its provider and notes what came of it. One that the provider refuses is refused again; one
// that it did not take comes later.
func (c *consents) send(ctx context.Context, m db.ConsentMessage) {
	done, unknown, wait := c.offer(ctx, m)
	if ctx.Err() != nil {
		return
	}
	now := c.now().UnixMilli()
	told := false
	err := c.db.Write(ctx, func(tx *db.Tx) (err error) {
		if !done && now-m.Since < consentLife.Milliseconds() {
			pause := max(min(wait, consentPauseMax), min(consentPause<<min(m.Tries, 16), consentPauseMax))
			return tx.DelayConsent(m.ID, now+pause.Milliseconds())
		}
		if told, err = c.noSuchTarget(tx, m, unknown); err != nil {
			return err
		}
		return tx.ForgetConsent(m.ID)
	})
	if err != nil && !errors.Is(err, db.ErrClosed) {
		c.log.Error("delivery of a consent not noted", "error", err.Error())
	}
	if told {
		c.hint(m.Requester)
	}
}

// noSuchTarget ends a request of which its provider says that there is no such target.
func (c *consents) noSuchTarget(tx *db.Tx, m db.ConsentMessage, unknown bool) (bool, error) {
	if !unknown || m.Answer {
		return false, nil
	}
	row, err := tx.Consent(m.Requester, m.Target, m.Room)
	if err != nil || row.Asked == 0 || row.Answer != db.ConsentOpen {
		return false, err
	}
	row.Answer = db.ConsentDenied
	return true, tx.SetConsent(row)
}

// offer sends one message. done means that it need not be sent again, wait for how long the provider does not want it.
func (c *consents) offer(ctx context.Context, m db.ConsentMessage) (done, unknown bool, wait time.Duration) {
	to, err := mimi.NewProviderID(m.Provider)
	if err != nil {
		c.log.Error("a consent is for no provider", "error", err.Error())
		return true, false, 0
	}
	// DI-4: whichever of the two the other's directory has. Ours names the domain, so that no path of ours tells a user.
	endpoint, vars := endpointRequestConsent, map[string]string{"targetDomain": to.String(), "targetUser": m.Target}
	if m.Answer {
		endpoint, vars = endpointUpdateConsent, map[string]string{"requesterDomain": to.String(), "requesterUser": m.Requester}
	}
	a, err := c.post(ctx, to, endpoint, vars, m.Body)
	switch {
	case err != nil:
		return false, false, 0
	case a.status == http.StatusTooManyRequests, a.status >= http.StatusInternalServerError:
		return false, false, a.wait
	case a.status >= http.StatusBadRequest:
		c.log.Warn("a consent was refused", "peer", m.Provider, "endpoint", endpoint, "status", a.status)
	}
	return true, a.status == http.StatusNotFound, 0
}
