package server

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kith/db"
	"kith/mimi"
)

const (
	outboxWorkers  = 16                 // rooms that are delivered to one provider at a time
	outboxFirst    = time.Second        // the first wait after a failure (NT-4)
	outboxLongest  = time.Hour          // and the longest
	outboxPatience = 7 * 24 * time.Hour // after which a provider that is away is waited for no more
	outboxRefusals = 3                  // of one room, after which it is parked
	helloEvery     = 5 * time.Second    // a provider that asks for something is there: try again, but not sooner
)

// outboxPage bounds one request of notify.
var outboxPage = db.Page{Rows: 512, Bytes: 1 << 20}

// everything is the page of a request that is repeated: its end is known.
var everything = db.Page{Rows: 1 << 20, Bytes: 1 << 30}

// outbox brings the events of our rooms to the providers that follow them. Nothing is copied for a follower: it has a
// cursor into the room's log. For one room and follower there is one request at a time, and what may have arrived is sent
// again with the same octets.
type outbox struct {
	db      *db.DB
	peers   *peers
	now     func() time.Time
	log     *slog.Logger
	context context.Context
	running *sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is everything that waits for one provider.
type lane struct {
	domain  mimi.ProviderID
	jobs    map[int64]*job // by room
	ready   []*job
	workers int

	failures int       // in a row; while there are some, one room is tried at a time
	since    time.Time // when they began
	timer    *time.Timer
	helloed  time.Time
	parked   bool // some of its rooms are, perhaps
}

// job is a room that has, or may have, something for the lane's provider.
type job struct {
	room  int64
	uri   string
	woken bool       // something has been added since a worker has taken it
	state *db.Outbox // as last stored or known to be; nil: not read yet

	refusals int
}

func newOutbox(ctx context.Context, running *sync.WaitGroup, store *db.DB, p *peers, now func() time.Time, log *slog.Logger) *outbox {
	return &outbox{db: store, peers: p, now: now, log: log, context: ctx, running: running, lanes: make(map[string]*lane)}
}

// load takes up what was not delivered when the server stopped.
func (o *outbox) load(ctx context.Context) error {
	var open []db.Outbox
	err := o.db.Read(ctx, func(tx *db.Tx) (err error) {
		open, err = tx.OpenOutboxes()
		return err
	})
	for _, b := range open {
		if b.Parked == 0 {
			o.add(b.Room, b.URI, b.Provider)
		} else if l := o.lane(b.Provider); l != nil {
			l.parked = true
		}
	}
	return err
}

// wake tells that a room has something new for providers.
func (o *outbox) wake(r *liveRoom, providers []string) {
	for _, p := range providers {
		o.add(r.id, r.uri, p)
	}
}

func (o *outbox) add(room int64, uri, provider string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lane(provider)
	if l == nil {
		return
	}
	if j := l.jobs[room]; j != nil {
		j.woken = true
		return
	}
	j := &job{room: room, uri: uri}
	l.jobs[room] = j
	l.ready = append(l.ready, j)
	o.employ(l)
}

// lane returns a provider's lane. The caller holds the lock, but while the server starts.
func (o *outbox) lane(provider string) *lane {
	l := o.lanes[provider]
	if l == nil {
		domain, err := mimi.NewProviderID(provider)
		if err != nil {
			o.log.Error("a follower's domain is none", "error", err.Error())
			return nil
		}
		l = &lane{domain: domain, jobs: make(map[int64]*job)}
		o.lanes[provider] = l
	}
	return l
}

// employ starts workers for what is ready, as many as there may be. The caller holds the lock.
func (o *outbox) employ(l *lane) {
	limit := outboxWorkers
	switch {
	case l.timer != nil || o.context.Err() != nil:
		return
	case l.failures > 0:
		limit = 1
	}
	for waiting := len(l.ready); waiting > 0 && l.workers < limit; waiting-- {
		l.workers++
		o.running.Go(func() { o.work(l) })
	}
}

// work delivers what is ready, a batch of one room after the other.
func (o *outbox) work(l *lane) {
	for {
		o.mu.Lock()
		if len(l.ready) == 0 || l.timer != nil || o.context.Err() != nil {
			l.workers--
			o.mu.Unlock()
			return
		}
		j := l.ready[0]
		l.ready = slices.Delete(l.ready, 0, 1)
		j.woken = false
		o.mu.Unlock()

		r := o.deliver(l.domain, j)

		o.mu.Lock()
		o.settle(l, j, r)
		o.mu.Unlock()
	}
}

// delivery is how an attempt went.
type delivery struct {
	drained bool          // there was nothing to deliver
	away    bool          // the provider is, or wants to be left alone
	refused bool          // it does not want this
	wait    time.Duration // what it asks for
}

// settle decides what happens to a room after an attempt. The caller holds the lock.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (o *outbox) settle(l *lane, j *job, r delivery) {
	switch {
	case l.jobs[j.room] != j: // it was parked meanwhile
	case r.away:
		l.ready = slices.Insert(l.ready, 0, j)
		o.pause(l, r.wait)
	case r.refused:
		o.refused(l, j)
	case r.drained && !j.woken:
		l.failures = 0
		delete(l.jobs, j.room)
	default:
		l.failures, j.refusals = 0, 0
		l.ready = append(l.ready, j)
		o.employ(l)
	}
}

// backoff is how long to wait after a number of failures in a row: from a second to an hour, not in step with others.
func backoff(failures int) time.Duration {
	wait := outboxLongest
	if failures < 13 {
		wait = min(wait, outboxFirst<<(failures-1))
	}
	return wait - time.Duration(rand.Int64N(int64(wait/4)+1))
}

// pause leaves a provider alone for a while. One that has been away for too long is waited for no more, until it shows up.
func (o *outbox) pause(l *lane, atLeast time.Duration) {
	if l.timer != nil {
		return // another worker has found out
	}
	if l.failures++; l.failures == 1 {
		l.since = o.now()
	}
	if o.now().Sub(l.since) > outboxPatience {
		o.log.Warn("a provider has been away for too long, its events wait until it shows up", "peer", l.domain.Host(), "rooms", len(l.jobs))
		for _, j := range l.jobs {
			o.park(l, j)
		}
		return
	}
	l.timer = time.AfterFunc(max(atLeast, backoff(l.failures)), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		l.timer = nil
		o.employ(l)
	})
}

// refused tries a room again later, and parks it when that does not help.
func (o *outbox) refused(l *lane, j *job) {
	if j.refusals++; j.refusals >= outboxRefusals {
		o.log.Warn("a provider refuses the events of a room", "peer", l.domain.Host())
		o.park(l, j)
		return
	}
	time.AfterFunc(backoff(j.refusals), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if l.jobs[j.room] == j {
			l.ready = append(l.ready, j)
			o.employ(l)
		}
	})
}

// park gives up on a room for a provider, in a way that survives a restart.
func (o *outbox) park(l *lane, j *job) {
	l.parked = true
	delete(l.jobs, j.room)
	l.ready = slices.DeleteFunc(l.ready, func(other *job) bool { return other == j })
	at, provider := o.now().UnixMilli(), l.domain.Host()
	o.db.Enqueue(func(tx *db.Tx) error { return tx.ParkOutbox(j.room, provider, at) }, o.noted)
}

func (o *outbox) noted(err error) {
	if err != nil && !errors.Is(err, db.ErrClosed) && o.context.Err() == nil {
		o.log.Error("outbox not stored", "error", err.Error())
	}
}

// hello tells that a provider is there: it has asked for something. What waits for it is tried now, and what was given up
// is taken up again.
func (o *outbox) hello(domain mimi.ProviderID) {
	o.mu.Lock()
	l := o.lanes[domain.Host()]
	now := o.now()
	if l == nil || now.Sub(l.helloed).Abs() < helloEvery {
		o.mu.Unlock()
		return
	}
	l.helloed = now
	parked := l.parked
	l.parked = false
	if l.timer != nil && l.timer.Stop() {
		l.timer = nil
		o.employ(l)
	}
	o.mu.Unlock()
	if parked {
		o.running.Go(func() { o.noted(o.resume(o.context, domain)) })
	}
}

// resume takes up what was parked for a provider.
func (o *outbox) resume(ctx context.Context, domain mimi.ProviderID) error {
	var parked []db.Outbox
	err := o.db.Write(ctx, func(tx *db.Tx) error {
		open, err := tx.OpenOutboxes()
		if err != nil {
			return err
		}
		parked = parked[:0]
		for _, b := range open {
			if b.Provider != domain.Host() {
				continue
			}
			if err := tx.ParkOutbox(b.Room, b.Provider, 0); err != nil {
				return err
			}
			parked = append(parked, b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range parked {
		o.add(b.Room, b.URI, b.Provider)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lanes[domain.Host()]; l != nil {
		l.failures = 0
		if l.timer != nil && l.timer.Stop() {
			l.timer = nil
		}
		o.employ(l)
	}
	return nil
}

// waiting returns how many rooms have something for a provider that it has not taken yet, and since when it is away.
func (o *outbox) waiting(domain mimi.ProviderID) (rooms int, away time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[domain.Host()]
	if l == nil {
		return 0, time.Time{}
	}
	if l.failures > 0 {
		away = l.since
	}
	return len(l.jobs), away
}

// deliver sends the next batch of a room.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (o *outbox) deliver(domain mimi.ProviderID, j *job) delivery {
	body, drained, err := o.prepare(domain.Host(), j)
	if err != nil {
		o.noted(err)
		return delivery{away: true}
	}
	if drained {
		return delivery{drained: true}
	}
	a, err := o.peers.post(o.context, domain, endpointNotify, map[string]string{"roomId": j.uri}, body)
	switch {
	case err != nil:
		return delivery{away: true}
	case a.status >= 200 && a.status < 300:
		j.state.Cursor = j.state.Sending
		return delivery{}
	case a.status == 403, a.status == 404, a.status == 410:
		return delivery{refused: true, wait: a.wait}
	}
	return delivery{away: true, wait: a.wait}
}

// prepare makes the body of the next request and notes its end, so that it is the same if it has to be sent again. drained
// means that there is nothing to send; what has arrived is then noted without anybody waiting for it.
func (o *outbox) prepare(provider string, j *job) (body []byte, drained bool, err error) {
	var events []db.Event
	var end int64
	err = o.db.Read(o.context, func(tx *db.Tx) (err error) {
		if j.state == nil {
			state, err := tx.Outbox(j.room, provider)
			if err != nil {
				return err
			}
			j.state = &state
		}
		upTo, page := int64(0), outboxPage
		if j.state.Sending > j.state.Cursor {
			upTo, page = j.state.Sending, everything
		}
		events, end, err = tx.FollowerEvents(j.room, provider, j.state.Cursor, upTo, page)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	repeated := j.state.Sending > j.state.Cursor
	for _, e := range events {
		body = append(body, e.Body...)
	}
	if drained = len(events) == 0; drained {
		cursor := max(end, j.state.Cursor)
		o.db.Enqueue(func(tx *db.Tx) error { return tx.SetOutbox(j.room, provider, cursor, cursor) }, o.noted)
		j.state.Cursor, j.state.Sending = cursor, cursor
		return nil, true, nil
	}
	if repeated {
		return body, false, nil
	}
	cursor := j.state.Cursor
	if err := o.db.Write(o.context, func(tx *db.Tx) error { return tx.SetOutbox(j.room, provider, cursor, end) }); err != nil {
		return nil, false, err
	}
	j.state.Sending = end
	return body, false, nil
}
