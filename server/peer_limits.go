package server

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"kith/mimi"
)

// The limits of what other providers may ask for. Each has its own, so that none takes from another; those of all together
// protect the machine.
const (
	maxPeerInFlight  = 128  // requests of one provider under way
	maxPeersInFlight = 1024 // and of all

	peerAskBurst, peerAskEvery = 20_000, 200 * time.Microsecond

	// Searches for people. A provider asks so for the names of whom its users meet, about once an hour for each.
	peerQueryBurst, peerQueryEvery = 2000, 100 * time.Millisecond

	// Octets of bodies in memory, of one provider and of all.
	maxPeerBodies  = 64 << 20
	maxPeersBodies = 256 << 20

	peerReadWithin  = 30 * time.Second // a body that takes longer is not waited for
	peerWriteWithin = 30 * time.Second // nor is who takes an answer more slowly

	// Providers that a certificate, or a network, may be the first to speak for: a certificate for any name below a domain
	// would make us look for any number of directories.
	meetBurst, meetEvery = 16, 5 * time.Minute

	// Lines in the log about one provider's requests that were refused.
	refusalBurst, refusalEvery = 5, time.Minute
)

// budget is the memory for bodies of other providers' requests.
type budget struct {
	mu   sync.Mutex
	held int64
}

// take grows what a peer's request holds.
func (b *budget) take(q *peer, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held+n > maxPeersBodies || q.held+n > maxPeerBodies {
		return false
	}
	b.held += n
	q.held += n
	return true
}

func (b *budget) give(q *peer, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	q.held -= n
}

// admission is one request of a provider on its way through the limits.
type admission struct {
	m    *messenger
	q    *peer
	held int64
}

// admitPeer bounds what one provider may ask for at a time. What is admitted ends with done.
func (m *messenger) admitPeer(from mimi.ProviderID) (*admission, error) {
	q := m.peers.get(from)
	if !m.peers.admits(q) {
		return nil, q.turnedAway()
	}
	if m.serving.Add(1) > maxPeersInFlight {
		m.serving.Add(-1)
		return nil, opBusy
	}
	select {
	case q.serving <- struct{}{}:
	default:
		m.serving.Add(-1)
		return nil, opRateLimited
	}
	a := &admission{m: m, q: q}
	if _, ok := m.peerAsks.take(from.Host(), m.Now()); !ok {
		a.done()
		return nil, opRateLimited
	}
	m.outbox.hello(from)
	return a, nil
}

func (a *admission) done() {
	<-a.q.serving
	a.m.serving.Add(-1)
	a.m.bodies.give(a.q, a.held)
}

// read reads the body of a request. Memory is taken as it arrives, not as it is promised.
func (a *admission) read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, opTooLarge
	}
	// The server's own limit is for a whole connection of HTTP/1.1; this one is for one slow body of HTTP/2 as well.
	control := http.NewResponseController(w)
	err := errors.Join(control.SetReadDeadline(time.Now().Add(peerReadWithin)), control.SetWriteDeadline(time.Now().Add(peerReadWithin+peerWriteWithin)))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	var body []byte
	for step := int64(16 << 10); ; step = min(2*step, 1<<20) {
		if !a.m.bodies.take(a.q, step) {
			return nil, opBusy
		}
		a.held += step
		start := len(body)
		body = append(body, make([]byte, step)...)
		n, err := io.ReadFull(r.Body, body[start:])
		body = body[:start+n]
		switch {
		case int64(len(body)) > limit:
			return nil, opTooLarge
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && (r.ContentLength < 0 || r.ContentLength == int64(len(body))):
			return body, nil
		case err != nil:
			return nil, opBadRequest
		}
	}
}

// mayMeet reports whether somebody who shows a certificate may make us look for a provider that we do not know yet.
func (m *messenger) mayMeet(cert *x509.Certificate, remote string) bool {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	now := m.Now()
	_, certificate := m.meetings.take("key "+string(sum[:]), now)
	_, address := m.meetings.take("at "+network(remote), now)
	return certificate && address
}
