package server

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
)

const (
	maxPeerRequests = 64               // under way to one provider
	maxPeerWaiting  = 512              // and waiting for their turn
	peerWithin      = 60 * time.Second // a provider that takes longer for an answer is away
	peerPing        = 15 * time.Second // silence after which a connection is asked whether it still is one

	maxPeers = 4096 // kept in memory, beyond those that are pinned or that the administrator has named
)

// dialTLS connects to another provider, with TLS.
type dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)

// peers is what we know of other providers, and the way to them. Each is known by its domain; its directory says where
// the endpoints are, its identity roots are pinned when they are first seen.
type peers struct {
	self   mimi.ProviderID
	db     *db.DB
	now    func() time.Time
	log    *slog.Logger
	client *http.Client // nil: this server has nothing to do with others
	mode   atomic.Value // peerMode

	// Set before anything is sent.
	alive    func(mimi.ProviderID)          // it has answered
	requests func(endpoint, outcome string) // counts

	mu   sync.Mutex
	list map[string]*peer
}

// peer is one other provider.
type peer struct {
	domain   mimi.ProviderID
	slots    chan struct{} // our requests under way
	waiting  atomic.Int32  // and those that wait for one
	serving  chan struct{} // its own under way
	fetching chan struct{} // one directory at a time
	held     int64         // octets of its requests in memory; guarded by the budget they are taken from

	mu        sync.Mutex
	met       bool // it has shown that it exists, now or before the server started
	directory *directory
	fetched   time.Time
	looked    time.Time        // when its people last made us fetch it, see lookAgain
	attempts  int              // to fetch it
	failure   error            // of the last one
	roots     []*identity.Root // pinned
	verdict   string           // the administrator's
	suspended bool
	peerHealth
}

func newPeers(self mimi.ProviderID, own *identity.Root, store *db.DB, dial dialTLS, now func() time.Time, log *slog.Logger) *peers {
	p := &peers{self: self, db: store, now: now, log: log, list: make(map[string]*peer),
		alive: func(mimi.ProviderID) {}, requests: func(string, string) {}}
	p.mode.Store(modeOpen)
	me := p.get(self)
	me.roots = []*identity.Root{own}
	if dial != nil {
		p.client = &http.Client{
			Transport: &http.Transport{DialTLSContext: dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
				ResponseHeaderTimeout: peerWithin, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
				// A connection that has died unnoticed would be used again and again, each request waiting in vain.
				HTTP2: &http.HTTP2Config{SendPingTimeout: peerPing, PingTimeout: peerPing}},
			// A redirect could lead anywhere, to this machine too: providers say where they are in their directory.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       peerWithin,
		}
	}
	return p
}

// load reads what was pinned before, and what the administrator has decided.
func (p *peers) load(ctx context.Context) error {
	var rows []db.Peer
	mode := modeOpen
	err := p.db.Read(ctx, func(tx *db.Tx) (err error) {
		if mode, err = readMode(tx); err != nil {
			return err
		}
		rows, err = tx.Peers()
		return err
	})
	if err != nil {
		return err
	}
	p.mode.Store(mode)
	for _, row := range rows {
		domain, err := mimi.NewProviderID(row.Domain)
		if err != nil || domain == p.self {
			continue
		}
		q := p.get(domain)
		q.met = true
		q.verdict, q.suspended = row.Verdict, row.Suspended != 0
		q.problem, q.written = row.Error, row.Error
		if q.roots, err = parseRoots(row.Roots, domain); err != nil {
			p.log.Error("stored identity roots of a peer", "peer", row.Domain, "error", err.Error())
		}
	}
	return nil
}

func (p *peers) close() {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
}

// get returns what is known of a provider.
func (p *peers) get(domain mimi.ProviderID) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.list[domain.Host()]
	if q == nil {
		if len(p.list) >= maxPeers {
			p.forget()
		}
		q = &peer{domain: domain, slots: make(chan struct{}, maxPeerRequests), serving: make(chan struct{}, maxPeerInFlight),
			fetching: make(chan struct{}, 1)}
		p.list[domain.Host()] = q
	}
	return q
}

// forget drops who is only a name: anybody can make us look for any number of domains. The caller holds the lock.
func (p *peers) forget() {
	for host, q := range p.list {
		if q.mu.TryLock() {
			name := len(q.roots) == 0 && q.verdict == db.VerdictNone && !q.suspended
			q.mu.Unlock()
			if name && len(q.slots)+len(q.serving)+len(q.fetching) == 0 && q.waiting.Load() == 0 {
				delete(p.list, host)
			}
		}
	}
}

// met reports whether a provider is more than a name.
func (p *peers) met(domain mimi.ProviderID) bool {
	p.mu.Lock()
	q := p.list[domain.Host()]
	p.mu.Unlock()
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.met
}

func (q *peer) meet() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.met = true
}

// all lists the providers that are in memory.
func (p *peers) all() []*peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.list))
}

// Root implements room.Roots.
func (p *peers) Root(domain mimi.ProviderID) *identity.Root {
	if roots := p.Roots(domain); len(roots) > 0 {
		return roots[0]
	}
	return nil
}

// Roots implements room.RootSet: more than one is pinned while a provider changes from one authority to another.
func (p *peers) Roots(domain mimi.ProviderID) []*identity.Root {
	p.mu.Lock()
	q := p.list[domain.Host()]
	p.mu.Unlock()
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roots
}

// rootsFor returns the pinned roots of a provider; one that is met for the first time is asked for them.
func (p *peers) rootsFor(ctx context.Context, domain mimi.ProviderID) ([]*identity.Root, error) {
	q := p.get(domain)
	q.mu.Lock()
	roots := q.roots
	q.mu.Unlock()
	if len(roots) > 0 {
		return roots, nil
	}
	if _, err := p.directoryOf(ctx, q); err != nil {
		return nil, awayUnless(ctx, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roots, nil
}
