package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
)

const (
	maxPeerRequests = 64               // under way to one provider
	peerWithin      = 60 * time.Second // a provider that takes longer for an answer is away
	maxPeerAnswer   = 16 << 20
	healthEvery     = time.Minute // how often it is written down that all is well
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

	mu   sync.Mutex
	list map[string]*peer
}

// peer is one other provider.
type peer struct {
	domain  mimi.ProviderID
	slots   chan struct{} // our requests under way
	serving chan struct{} // and its own

	fetching chan struct{} // one directory at a time

	mu        sync.Mutex
	directory *directory
	fetched   time.Time
	roots     []*identity.Root // pinned
	healthy   time.Time        // when it was last noted that it answers
	problem   string
}

// The words for what can be wrong with a peer; the administrator's page explains them.
const (
	peerNoName    = "no_name"      // its domain is unknown to DNS
	peerNoAnswer  = "no_answer"    // nobody answers
	peerBadChain  = "certificate"  // its certificate is not good
	peerRefuses   = "refuses_us"   // it does not accept who we are
	peerDirectory = "directory"    // it has no usable directory
	peerBadAnswer = "bad_answer"   // it answers something else than the protocol's
	peerBusy      = "busy"         // it says to come later
	peerNewRoots  = "new_identity" // its identity roots are not those we have pinned
)

func newPeers(self mimi.ProviderID, own *identity.Root, store *db.DB, dial dialTLS, now func() time.Time, log *slog.Logger) *peers {
	p := &peers{self: self, db: store, now: now, log: log, list: make(map[string]*peer)}
	me := p.get(self)
	me.roots = []*identity.Root{own}
	if dial != nil {
		p.client = &http.Client{
			Transport: &http.Transport{DialTLSContext: dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
				ResponseHeaderTimeout: peerWithin, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10},
			// A redirect could lead anywhere, to this machine too: providers say where they are in their directory.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       peerWithin,
		}
	}
	return p
}

// load reads what was pinned before.
func (p *peers) load(ctx context.Context) error {
	var rows []db.Peer
	err := p.db.Read(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.Peers()
		return err
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		domain, err := mimi.NewProviderID(row.Domain)
		if err != nil || domain == p.self {
			continue
		}
		if roots, err := parseRoots(row.Roots, domain); err == nil {
			p.get(domain).roots = roots
		} else {
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
		q = &peer{domain: domain, slots: make(chan struct{}, maxPeerRequests), serving: make(chan struct{}, maxPeerInFlight),
			fetching: make(chan struct{}, 1)}
		p.list[domain.Host()] = q
	}
	return q
}

// Root implements room.Roots.
func (p *peers) Root(domain mimi.ProviderID) *identity.Root {
	p.mu.Lock()
	q := p.list[domain.Host()]
	p.mu.Unlock()
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.roots) == 0 {
		return nil
	}
	return q.roots[0]
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
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roots, nil
}

// answer is what a peer has answered.
type peerAnswer struct {
	status int
	body   []byte
	wait   time.Duration // Retry-After
}

// post sends a request to an endpoint of a provider. vars are the values for its URL template. Every status is an answer;
// an error means that there is none: opHubAway, or opPeerRefused where the operator wants nothing to do with it.
//
// draft-ietf-mimi-protocol-06, Sections 4.1 and 5
func (p *peers) post(ctx context.Context, domain mimi.ProviderID, endpoint string, vars map[string]string, body []byte) (*peerAnswer, error) {
	if p.client == nil || domain == p.self {
		return nil, opPeerRefused
	}
	q := p.get(domain)
	select {
	case q.slots <- struct{}{}:
		defer func() { <-q.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for fresh := false; ; fresh = true {
		a, err := p.try(ctx, q, endpoint, vars, body)
		// DI-2: an address that is not right any more is looked up again, once.
		stale := err != nil || a.status == http.StatusNotFound || a.status == http.StatusMisdirectedRequest
		if !stale || fresh || !q.forgetDirectory(p.now()) {
			if err != nil {
				p.failed(ctx, q, err)
				return nil, awayUnless(ctx, err)
			}
			p.answered(q, a)
			return a, nil
		}
	}
}

func awayUnless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refusal *opError
	if errors.As(err, &refusal) {
		return refusal
	}
	return opHubAway
}

func (p *peers) try(ctx context.Context, q *peer, endpoint string, vars map[string]string, body []byte) (*peerAnswer, error) {
	d, err := p.directoryOf(ctx, q)
	if err != nil {
		return nil, err
	}
	url, err := d.expand(endpoint, vars)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, errDirectory
	}
	req.Host = q.domain.Host()                    // TR-1
	req.Header.Set("From", "mimi@"+p.self.Host()) // TR-2
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &peerAnswer{status: resp.StatusCode, wait: retryAfterOf(resp.Header.Get("Retry-After"))}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxPeerAnswer+1)); err != nil {
		return nil, err
	}
	if len(a.body) > maxPeerAnswer {
		return nil, errBadAnswer
	}
	return a, nil
}

func retryAfterOf(header string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(header))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 24*3600)) * time.Second
}

var (
	errDirectory = errors.New("server: unusable directory of a peer")
	errBadAnswer = errors.New("server: unusable answer of a peer")
)

// failed notes that a peer did not answer.
func (p *peers) failed(ctx context.Context, q *peer, err error) {
	if ctx.Err() != nil {
		return // we did not wait for it
	}
	p.note(q, peerProblem(err))
}

// answered notes how a peer has answered.
func (p *peers) answered(q *peer, a *peerAnswer) {
	switch {
	case a.status == http.StatusForbidden || a.status == http.StatusUnauthorized:
		p.note(q, peerRefuses)
	case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
		p.note(q, peerBusy)
	case a.status >= 500:
		p.note(q, peerBadAnswer)
	default:
		p.note(q, "")
	}
}

// peerProblem finds the word for why there is no answer.
func peerProblem(err error) string {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var host x509.HostnameError
	switch {
	case errors.Is(err, errDirectory):
		return peerDirectory
	case errors.Is(err, errBadAnswer):
		return peerBadAnswer
	case errors.As(err, &dns):
		return peerNoName
	case errors.As(err, &verify), errors.As(err, &host):
		return peerBadChain
	case errors.As(err, &alert):
		return peerRefuses
	}
	return peerNoAnswer
}

// note writes down how a peer is, when that is news.
func (p *peers) note(q *peer, problem string) {
	now := p.now()
	q.mu.Lock()
	news := problem != q.problem || problem == "" && now.Sub(q.healthy).Abs() > healthEvery
	if problem == "" {
		q.healthy = now
	}
	if changed := problem != q.problem; changed && problem != "" {
		p.log.Warn("another provider has a problem", "peer", q.domain.Host(), "problem", problem)
	} else if changed {
		p.log.Info("another provider is well again", "peer", q.domain.Host())
	}
	q.problem = problem
	q.mu.Unlock()
	if news {
		p.db.Enqueue(func(tx *db.Tx) error { return tx.PeerHealth(q.domain.Host(), now.UnixMilli(), problem) }, func(error) {})
	}
}
