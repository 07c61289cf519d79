package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"kith/db"
	"kith/web/api"
)

const (
	healthEvery = time.Minute     // how often it is written down that all is well
	healthNews  = 5 * time.Second // and, at most, that something has changed
)

// peerHealth is how a peer is. The lock of the peer guards it.
type peerHealth struct {
	problem string    // the word for what is wrong; empty: it answers
	away    bool      // the last attempt brought no answer
	expires time.Time // of the certificate that it showed last

	written   string // the problem that is in the database
	writtenAt time.Time

	refused    uint64 // its requests that we have refused
	refusal    string // the code of the last one
	refusedEnd time.Time
}

// The words for what can be wrong with a peer; the administrator's page explains them.
const (
	peerNoName    = "no_name"     // its domain is unknown to DNS
	peerNoAnswer  = "no_answer"   // nobody answers
	peerBadChain  = "certificate" // its certificate is not good
	peerRefuses   = "refuses_us"  // it does not accept who we are
	peerDirectory = "directory"   // it has no usable directory
	peerBadAnswer = "bad_answer"  // it answers something else than the protocol's
	peerBusy      = "busy"        // it says to come later
)

var peerProblems = []string{peerNoName, peerNoAnswer, peerBadChain, peerRefuses, peerDirectory, peerBadAnswer, peerBusy}

func (q *peer) isAway() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.away
}

// saw notes until when the certificate of a connection is good.
func (q *peer) saw(cs *tls.ConnectionState) {
	if cert, err := peerCertificate(cs); err == nil {
		q.mu.Lock()
		q.expires = cert.NotAfter
		q.mu.Unlock()
	}
}

// failed notes that a peer did not answer.
func (p *peers) failed(ctx context.Context, q *peer, err error) {
	var refusal *opError
	if ctx.Err() != nil || errors.As(err, &refusal) {
		return // we did not wait for it, or did not ask
	}
	p.note(q, peerProblem(err), true)
}

// answered notes how a peer has answered. A refusal of what somebody asked for is no sign of bad health; that it wants
// nothing to do with us is.
func (p *peers) answered(q *peer, endpoint string, a *peerAnswer) {
	problem := ""
	switch {
	case a.status == http.StatusUnauthorized, a.refusesUs():
		problem = peerRefuses
	case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
		problem = peerBusy
	case a.status >= 500, a.status < 200, a.status >= 300 && a.status < 400:
		problem = peerBadAnswer
	}
	p.note(q, problem, false)
	if problem == "" && endpoint != endpointNotify { // the outbox knows itself what became of what it sent
		p.alive(q.domain)
	}
}

// refusesUs reports whether a provider says that it wants nothing to do with us, as ours do.
func (a *peerAnswer) refusesUs() bool {
	return a.status == http.StatusForbidden && strings.TrimSpace(string(a.body)) == api.CodePeerRefused
}

// peerProblem finds the word for why there is no answer.
func peerProblem(err error) string {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var op *net.OpError
	switch {
	case errors.Is(err, errDirectory):
		return peerDirectory
	case errors.Is(err, errBadAnswer):
		return peerBadAnswer
	case errors.As(err, &dns):
		return peerNoName
	case errors.As(err, &verify), errors.As(err, &host):
		return peerBadChain
	case errors.As(err, &op) && op.Op == "remote error": // as crypto/tls calls an alert of the other side
		return peerRefuses
	}
	return peerNoAnswer
}

// note remembers how a peer is, and writes it down when that is news and not too often: one whose answers change from one
// to the next must not keep the database busy.
func (p *peers) note(q *peer, problem string, away bool) {
	now, host := p.now(), q.domain.Host()
	q.mu.Lock()
	q.problem, q.away = problem, away
	since := now.Sub(q.writtenAt).Abs()
	changed := problem != q.written && since > healthNews
	news := changed || problem == "" && since > healthEvery
	if news {
		q.written, q.writtenAt = problem, now
	}
	expires := int64(0)
	if !q.expires.IsZero() {
		expires = q.expires.UnixMilli()
	}
	q.mu.Unlock()
	switch {
	case changed && problem != "":
		p.log.Warn("another provider has a problem", "peer", host, "problem", problem)
	case changed:
		p.log.Info("another provider is well again", "peer", host)
	}
	if news {
		p.db.Enqueue(func(tx *db.Tx) error { return tx.PeerHealth(host, now.UnixMilli(), problem, expires) }, p.noted)
	}
}

func (p *peers) noted(err error) {
	if err != nil && !errors.Is(err, db.ErrClosed) {
		p.log.Error("health of a peer not stored", "error", err.Error())
	}
}

// refusing counts a request of a peer that we have refused.
func (p *peers) refusing(q *peer, code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused++
	q.refusal, q.refusedEnd = code, p.now()
}
