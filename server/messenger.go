package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/web/api"
)

// socketAccount is who opened a websocket, according to the session cookie.
type socketAccount struct {
	Session     int64 // ends the socket when it ends
	User        mimi.UserID
	DisplayName string
}

// messengerConfig is what a messenger needs from the rest of the server.
type messengerConfig struct {
	DB       *db.DB
	Identity *authority
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	Metrics  *metrics

	DialPeer       dialTLS       // how to connect to other providers; nil: not at all
	FederationBase func() string // how the URLs begin at which they reach us
}

// messenger serves the websockets of browsers: it knows who is connected, decides as hub of our rooms and hands every
// event to the devices it is for.
type messenger struct {
	messengerConfig
	domain   mimi.ProviderID
	root     *identity.Root
	hub      *localHub
	follower *follower
	peers    *peers
	outbox   *outbox
	fanout   *fanout
	metrics  *messengerMetrics

	consents *consents

	submits     *limiter // messages of a device
	asks        *limiter // other requests of a user
	claims      *limiter // key material, by requester and target
	peerAsks    *limiter // requests of another provider
	peerQueries *limiter // and its searches for people
	meetings    *limiter // providers that are met by their asking, by certificate and network
	refusals    *limiter // lines in the log
	serving     atomic.Int64
	outsides    outsideLimits
	names       foreignNames
	bodies      budget

	context context.Context // ends with close
	stop    context.CancelFunc
	running sync.WaitGroup // sockets and the goroutines below

	mu      sync.Mutex
	sockets map[*socket]struct{}
	closed  bool
}

// The limits of what one person or device may ask for. They are far above what people do: they exist for broken clients.
const (
	submitBurst, submitEvery = 4000, time.Millisecond
	askBurst, askEvery       = 2000, 20 * time.Millisecond
	claimBurst, claimEvery   = 40, 15 * time.Second
)

// newMessenger starts a messenger. It ends with close, which must come before the database is closed.
func newMessenger(c messengerConfig) (*messenger, error) {
	domain, err := mimi.NewProviderID(c.Identity.Domain())
	if err != nil {
		return nil, err
	}
	root, err := identity.ParseRoot(c.Identity.RootDER())
	if err != nil {
		return nil, err
	}
	metrics := newMessengerMetrics(c.Metrics.registry)
	m := &messenger{messengerConfig: c, domain: domain, root: root, metrics: metrics, sockets: make(map[*socket]struct{}),
		submits: newLimiter(submitBurst, submitEvery), asks: newLimiter(askBurst, askEvery),
		claims: newLimiter(claimBurst, claimEvery), peerAsks: newLimiter(peerAskBurst, peerAskEvery),
		peerQueries: newLimiter(peerQueryBurst, peerQueryEvery),
		meetings:    newLimiter(meetBurst, meetEvery), refusals: newLimiter(refusalBurst, refusalEvery), outsides: newOutsideLimits()}
	m.context, m.stop = context.WithCancel(context.Background())
	m.peers = newPeers(domain, root, c.DB, c.DialPeer, c.Now, c.Log)
	m.outbox = newOutbox(m.context, &m.running, c.DB, m.peers, c.Now, c.Log)
	m.peers.alive = m.outbox.answered
	m.peers.requests = func(endpoint, outcome string) { metrics.peerCalls.WithLabelValues(endpoint, outcome).Inc() }
	m.outbox.outcomes = func(outcome string) { metrics.outbox.WithLabelValues(outcome).Inc() }
	m.fanout = newFanout(metrics, m.outbox)
	config := mls.Config{Now: c.Now, Rand: c.Rand, Application: &room.Application{Roots: m.peers}}
	rooms := newRoomCache(c.DB, config)
	m.hub = newLocalHub(&localHub{
		db: c.DB, authority: c.Identity, domain: domain, now: c.Now, rand: c.Rand, log: c.Log, fanout: m.fanout, metrics: metrics,
		mls: config, rooms: rooms, material: m.material,
	})
	m.follower = &follower{db: c.DB, rooms: rooms, fanout: m.fanout, metrics: metrics, log: c.Log, lines: m.refusals, now: c.Now, echoes: newEchoes()}
	if err := errors.Join(m.peers.load(m.context), m.outbox.load(m.context)); err != nil {
		m.stop()
		return nil, err
	}
	m.consents = newConsents(consents{db: c.DB, domain: domain, now: c.Now, log: c.Log, hint: m.hintConsents, post: m.peers.post}, c.Metrics.registry)
	m.running.Go(m.fanout.run)
	m.running.Go(func() { m.consents.run(m.context) })
	m.running.Go(func() { m.follower.watchEchoes(m.context) })
	m.running.Go(m.keepAlive)
	m.running.Go(m.prune)
	return m, nil
}

// Close implements chat.
func (m *messenger) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	for s := range m.sockets {
		s.end(websocket.StatusGoingAway, api.ReasonStopping)
	}
	m.mu.Unlock()
	m.stop()
	m.outbox.stop()
	m.peers.close()
	m.fanout.stop()
	gone := make(chan struct{})
	go func() {
		m.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SignOut implements chat: it ends the sockets of a session that has ended.
func (m *messenger) SignOut(session int64) {
	m.endWhere(func(s *socket) bool { return s.account.Session == session })
}

// SignOutUser implements chat: it ends the sockets of an account that was disabled or whose sessions have all ended.
func (m *messenger) SignOutUser(username string) {
	m.endWhere(func(s *socket) bool { return s.account.User.Name() == username })
}

func (m *messenger) endWhere(match func(*socket) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sockets {
		if match(s) {
			s.end(api.CloseSignedOut, api.ReasonSignedOut)
		}
	}
}

// add registers a new socket; it reports false when the messenger has been closed.
func (m *messenger) add(s *socket) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.sockets[s] = struct{}{}
	m.running.Add(1)
	m.metrics.sockets.Inc()
	return true
}

func (m *messenger) remove(s *socket) {
	m.mu.Lock()
	delete(m.sockets, s)
	m.mu.Unlock()
	m.metrics.sockets.Dec()
	m.running.Done()
}

const (
	checkEvery   = 5 * time.Second  // how often all sockets are looked at
	pingAfter    = 25 * time.Second // silence after which a socket is pinged
	pongWithin   = 20 * time.Second
	writeWithin  = 30 * time.Second // a reader that takes longer for one message is hopeless
	pruneEvery   = time.Hour
	pruneAtStart = time.Minute
)

// keepAlive pings silent sockets, so that middle boxes keep them and dead ones are noticed, and ends those whose reader
// has stopped reading or whose session has expired. One goroutine for all: an idle socket costs no timer.
func (m *messenger) keepAlive() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	var due []*socket
	for {
		select {
		case <-m.context.Done():
			return
		case <-tick.C:
		}
		now := time.Now() // a monotonic clock: not the one that is passed in
		wall := m.Now().UnixMilli()
		due = due[:0]
		m.mu.Lock()
		for s := range m.sockets {
			s.check(now)
			if s.sessionEnds <= wall {
				due = append(due, s)
			}
		}
		m.mu.Unlock()
		m.checkSessions(due, wall)
		clear(due)
	}
}

// checkSessions ends the sockets whose session has ended. The end that a socket has been told may be out of date: pages
// move it on. A new socket is looked up once too, for a session that ended while the socket was being opened.
func (m *messenger) checkSessions(due []*socket, now int64) {
	if len(due) == 0 {
		return
	}
	err := m.DB.Read(m.context, func(tx *db.Tx) error {
		for _, s := range due {
			ends, err := tx.SessionEnd(s.account.Session)
			if err != nil && !errors.Is(err, db.ErrNotFound) {
				return err
			}
			if s.sessionEnds = ends; ends <= now {
				s.end(api.CloseSignedOut, api.ReasonSignedOut)
			}
		}
		return nil
	})
	if err != nil && m.context.Err() == nil {
		m.Log.Warn("sessions not checked", "error", err.Error())
	}
}

// prune forgets expired KeyPackages, and joins that came to nothing, from time to time.
func (m *messenger) prune() {
	timer := time.NewTimer(pruneAtStart)
	defer timer.Stop()
	for {
		select {
		case <-m.context.Done():
			return
		case <-timer.C:
		}
		err := m.DB.Write(m.context, func(tx *db.Tx) error { return errors.Join(tx.PruneKeyPackages(), tx.PruneJoinIntents()) })
		if err != nil && !errors.Is(err, context.Canceled) {
			m.Log.Warn("what has expired was not removed", "error", err.Error())
		}
		if err := m.EvictDisabled(m.context); err != nil && m.context.Err() == nil { // what the command line did while we were down
			m.Log.Warn("devices of disabled accounts not taken out of rooms", "error", err.Error())
		}
		timer.Reset(pruneEvery)
	}
}
