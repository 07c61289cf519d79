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
	outboxKnown    = 1024               // rooms without anything to deliver whose state is remembered
	outboxFirst    = time.Second        // the first wait after a failure (NT-4)
	outboxLongest  = time.Hour          // and the longest
	outboxPatience = 7 * 24 * time.Hour // after which a provider that is away is looked for but once a day
	outboxDaily    = 24 * time.Hour
	outboxRefusals = 3                // of one room, after which it is parked
	helloEvery     = 5 * time.Second  // a provider that asks for something is there: try again, but not sooner
	answeredEvery  = time.Second      // one that answers, but does not take what is for it, is not asked at every answer
	unparkEvery    = 10 * time.Minute // nor what it has refused sooner than that
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

	outcomes func(string) // counts

	mu      sync.Mutex
	lanes   map[string]*lane
	stopped bool
}

// lane is everything that waits for one provider.
type lane struct {
	domain  mimi.ProviderID
	jobs    map[int64]*job       // by room
	drained map[int64]*db.Outbox // how far rooms have got that have no job now; the database may hear of it later
	ready   []*job
	workers int
	held    bool // the operator wants nothing to be sent

	failures  int       // in a row; while there are some, one room is tried at a time
	since     time.Time // when they began
	alarmed   bool      // that it has been away for too long was said
	timer     *time.Timer
	heard     time.Time // when it has answered something while it was waited for
	notBefore time.Time // it has asked to be left alone until then
	helloed   time.Time

	parked   map[int64]string // rooms of which it has refused the events, with their URIs
	unparked time.Time
}

// job is a room that has, or may have, something for the lane's provider.
type job struct {
	room  int64
	uri   string
	woken bool       // something has been added since a worker has taken it
	state *db.Outbox // as last stored or known to be; nil: not read yet

	refusals int
	failures int
}

func newOutbox(ctx context.Context, running *sync.WaitGroup, store *db.DB, p *peers, now func() time.Time, log *slog.Logger) *outbox {
	return &outbox{db: store, peers: p, now: now, log: log, context: ctx, running: running, lanes: make(map[string]*lane),
		outcomes: func(string) {}}
}

// load takes up what was not delivered when the server stopped.
func (o *outbox) load(ctx context.Context) error {
	var open []db.Outbox
	err := o.db.Read(ctx, func(tx *db.Tx) (err error) {
		open, err = tx.OpenOutboxes()
		return err
	})
	for _, b := range open {
		if b.Parked != 0 {
			o.mu.Lock()
			if l := o.lane(b.Provider); l != nil {
				l.parked[b.Room] = b.URI
			}
			o.mu.Unlock()
		}
		o.add(b.Room, b.URI, b.Provider)
	}
	return err
}

// stop lets no more deliveries begin.
func (o *outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
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
	if _, parked := l.parked[room]; parked {
		return // what is new waits behind what was refused
	}
	if j := l.jobs[room]; j != nil {
		j.woken = true
		return
	}
	j := &job{room: room, uri: uri, state: l.drained[room]}
	delete(l.drained, room)
	l.jobs[room] = j
	l.ready = append(l.ready, j)
	o.employ(l)
}

// lane returns a provider's lane. The caller holds the lock.
func (o *outbox) lane(provider string) *lane {
	l := o.lanes[provider]
	if l == nil {
		domain, err := mimi.NewProviderID(provider)
		if err != nil {
			o.log.Error("a follower's domain is none", "error", err.Error())
			return nil
		}
		l = &lane{domain: domain, jobs: make(map[int64]*job), drained: make(map[int64]*db.Outbox), parked: make(map[int64]string)}
		o.lanes[provider] = l
	}
	return l
}

// employ starts workers for what is ready, as many as there may be. The caller holds the lock.
func (o *outbox) employ(l *lane) {
	limit := outboxWorkers
	switch {
	case l.timer != nil || l.held || o.stopped:
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
		if len(l.ready) == 0 || l.timer != nil || l.held || o.stopped || l.failures > 0 && l.workers > 1 {
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
	outcome outcome
	wait    time.Duration // what the provider asks for
}

// outcome says what became of an attempt.
type outcome string

const (
	outboxDelivered outcome = "delivered"
	outboxDrained   outcome = "drained" // there was nothing to deliver
	outboxAway      outcome = "away"    // the provider is, or wants to be left alone
	outboxRefused   outcome = "refused" // it does not want this
	outboxFailed    outcome = "failed"  // it cannot take this, now
	outboxHeld      outcome = "held"    // the operator does not want it
)

// settle decides what happens to a room after an attempt. The caller holds the lock.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (o *outbox) settle(l *lane, j *job, r delivery) {
	switch r.outcome {
	case outboxAway:
		// At the end: should it be this room that drives the provider away, the others have their turn.
		l.ready = append(l.ready, j)
		o.pause(l, r.wait)
		return
	case outboxHeld:
		l.ready = append(l.ready, j)
		if l.held = !o.peers.admits(o.peers.get(l.domain)); !l.held { // the operator has just changed it
			o.employ(l)
		}
		return
	case outboxRefused:
		if j.refusals++; j.refusals >= outboxRefusals {
			o.park(l, j)
		} else {
			o.later(l, j, max(r.wait, backoff(j.refusals)))
		}
	case outboxFailed:
		j.failures++
		o.later(l, j, max(r.wait, backoff(j.failures)))
	case outboxDrained:
		if !j.woken {
			delete(l.jobs, j.room)
			l.remember(j)
		} else {
			l.ready = append(l.ready, j)
		}
		return // which says nothing about the provider
	case outboxDelivered:
		j.refusals, j.failures = 0, 0
		l.ready = append(l.ready, j)
	}
	l.failures, l.alarmed, l.notBefore = 0, false, time.Time{}
	o.employ(l)
}

// remember keeps how far a room has got. Its next job would find in the database what is only about to be written there,
// and send again what has arrived. That is all that happens if it is forgotten after all.
func (l *lane) remember(j *job) {
	if j.state == nil {
		return
	}
	if len(l.drained) >= outboxKnown {
		clear(l.drained)
	}
	l.drained[j.room] = j.state
}

// backoff is how long to wait after a number of failures in a row: from a second to an hour, not in step with others.
func backoff(failures int) time.Duration {
	wait := outboxLongest
	if failures < 13 {
		wait = min(wait, outboxFirst<<(failures-1))
	}
	return wait - time.Duration(rand.Int64N(int64(wait/4)+1))
}

// pause leaves a provider alone for a while.
func (o *outbox) pause(l *lane, atLeast time.Duration) {
	if l.timer != nil || o.stopped {
		return // another worker has found out
	}
	now := o.now()
	if l.failures++; l.failures == 1 {
		l.since = now
	}
	if atLeast > 0 {
		l.notBefore = now.Add(atLeast)
	}
	wait := backoff(l.failures)
	if now.Sub(l.since) > outboxPatience {
		wait += outboxDaily
		if !l.alarmed {
			l.alarmed = true
			o.log.Warn("a provider has been away for a week, it is looked for once a day from now on", "peer", l.domain.Host(), "rooms", len(l.jobs))
		}
	}
	l.timer = time.AfterFunc(max(atLeast, wait), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		l.timer = nil
		o.employ(l)
	})
}

// later tries a room again after a while, in which the others go on.
func (o *outbox) later(l *lane, j *job, wait time.Duration) {
	time.AfterFunc(wait, func() {
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
	o.log.Warn("a provider refuses the events of a room", "peer", l.domain.Host())
	delete(l.jobs, j.room)
	l.parked[j.room] = j.uri
	at, provider := o.now().UnixMilli(), l.domain.Host()
	o.db.Enqueue(func(tx *db.Tx) error { return tx.ParkOutbox(j.room, provider, at) }, o.noted)
}

func (o *outbox) noted(err error) {
	if err != nil && !errors.Is(err, db.ErrClosed) && o.context.Err() == nil {
		o.log.Error("outbox not stored", "error", err.Error())
	}
}

// answered tells that a provider has answered something else: a pause for it is over. Without this the attempt that its own
// request had caused, and that met a provider still held to be away, would have lengthened the pause.
func (o *outbox) answered(domain mimi.ProviderID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[domain.Host()]
	now := o.now()
	if l == nil || l.timer == nil || now.Before(l.notBefore) || now.Sub(l.heard).Abs() < answeredEvery {
		return
	}
	l.heard = now
	o.hurry(l)
}

// hello tells that a provider is there: it has asked for something. What waits for it is tried now, unless it
// wants to be left alone, and what it has refused is offered again from time to time.
func (o *outbox) hello(domain mimi.ProviderID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[domain.Host()]
	now := o.now()
	if l == nil || now.Sub(l.helloed).Abs() < helloEvery || now.Before(l.notBefore) {
		return
	}
	l.helloed = now
	if len(l.parked) > 0 && now.Sub(l.unparked).Abs() >= unparkEvery {
		o.unpark(l)
	}
	o.hurry(l)
}

// hurry ends the pause of a lane. The caller holds the lock.
func (o *outbox) hurry(l *lane) {
	if l.timer != nil && l.timer.Stop() {
		l.timer = nil
	}
	o.employ(l)
}

// unpark takes up again what was parked for a provider. The caller holds the lock.
func (o *outbox) unpark(l *lane) {
	l.unparked = o.now()
	parked := l.parked
	l.parked = make(map[int64]string)
	for room, uri := range parked {
		if l.jobs[room] == nil {
			j := &job{room: room, uri: uri}
			l.jobs[room] = j
			l.ready = append(l.ready, j)
		}
	}
}

// resume takes up everything for a provider, because the operator says so.
func (o *outbox) resume(domain mimi.ProviderID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lanes[domain.Host()]; l != nil {
		l.held, l.notBefore, l.failures = false, time.Time{}, 0
		o.unpark(l)
		o.hurry(l)
	}
}

// resumeAll looks again whether the operator wants anything to be sent.
func (o *outbox) resumeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lanes {
		l.held = false
		o.employ(l)
	}
}

// awaySince tells since when a provider does not take what is sent to it; zero: it does.
func (o *outbox) awaySince(domain mimi.ProviderID) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lanes[domain.Host()]; l != nil && l.failures > 0 {
		return l.since
	}
	return time.Time{}
}

// deliver sends the next batch of a room. What is wrong with one room alone must not stop the others: only who is not
// there, or says that it is overloaded, is left alone.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (o *outbox) deliver(domain mimi.ProviderID, j *job) (r delivery) {
	body, drained, err := o.prepare(domain.Host(), j)
	if err != nil {
		o.noted(err)
		return delivery{outcome: outboxFailed}
	}
	if drained {
		return delivery{outcome: outboxDrained}
	}
	defer func() { o.outcomes(string(r.outcome)) }()
	a, err := o.peers.post(o.context, domain, endpointNotify, map[string]string{"roomId": j.uri}, body)
	var refusal *opError
	switch {
	case errors.As(err, &refusal) && refusal == opPeerRefused:
		return delivery{outcome: outboxHeld}
	case err != nil:
		return delivery{outcome: outboxAway}
	case a.status >= 200 && a.status < 300:
		j.state.Cursor = j.state.Sending
		return delivery{outcome: outboxDelivered}
	case a.status == 403, a.status == 404, a.status == 410:
		return delivery{outboxRefused, a.wait}
	case a.status == 429, a.status > 500:
		return delivery{outboxAway, a.wait}
	}
	return delivery{outboxFailed, a.wait}
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
	if errors.Is(err, db.ErrNotFound) {
		return nil, true, nil // the room is gone
	}
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
