package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kith/mimi"
)

// maxRetryAfter bounds what a provider may ask us to wait for.
const maxRetryAfter = 24 * time.Hour

// peerAnswer is what a peer has answered.
type peerAnswer struct {
	status int
	body   []byte
	wait   time.Duration // Retry-After
}

var (
	errDirectory = errors.New("server: unusable directory of a peer")
	errBadAnswer = errors.New("server: unusable answer of a peer")
)

// maxAnswer bounds the answers to an endpoint. Only two are more than a few words.
func maxAnswer(endpoint string) int64 {
	switch endpoint {
	case endpointGroupInfo:
		return maxBulkBody
	case endpointKeyMaterial:
		return 4 << 20
	case endpointIdentifierQuery:
		return 1 << 20
	}
	return 64 << 10
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
	if !p.admits(q) {
		return nil, opPeerRefused
	}
	leave, err := q.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	a, err := p.try(ctx, q, endpoint, vars, body)
	if p.worthAnother(ctx, q, endpoint, a, err) {
		a, err = p.try(ctx, q, endpoint, vars, body)
	}
	if err != nil {
		p.requests(endpoint, "away")
		p.failed(ctx, q, err)
		return nil, awayUnless(ctx, err)
	}
	p.requests(endpoint, strconv.Itoa(a.status/100)+"xx")
	p.answered(q, endpoint, a)
	return a, nil
}

// enter waits for a turn. While a provider is away it is tried by one at a time: the others would only wait as well, and
// hold what they are about to send.
func (q *peer) enter(ctx context.Context) (leave func(), err error) {
	if q.waiting.Add(1) > maxPeerWaiting || q.isAway() && len(q.slots) > 0 {
		q.waiting.Add(-1)
		return nil, opHubAway
	}
	defer q.waiting.Add(-1)
	select {
	case q.slots <- struct{}{}:
		return func() { <-q.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// worthAnother reports whether a request should be sent once more, with a directory that is fetched anew (DI-2): what was
// asked is not there any more, or the connection did not come about. Of a request that may have arrived only keyMaterial
// would do harm when it is repeated.
func (p *peers) worthAnother(ctx context.Context, q *peer, endpoint string, a *peerAnswer, err error) bool {
	var refusal *opError
	var timeout net.Error
	switch {
	case ctx.Err() != nil, errors.As(err, &refusal):
		return false
	case err == nil && a.status != http.StatusNotFound && a.status != http.StatusMisdirectedRequest:
		return false
	case errors.As(err, &timeout) && timeout.Timeout():
		return false
	case err != nil && endpoint == endpointKeyMaterial && !notSent(err):
		return false
	}
	return q.forgetDirectory(p.now())
}

// notSent reports whether an error says that there never was a connection.
func notSent(err error) bool {
	var op *net.OpError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &verify)
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
	if endpoint != endpointKeyMaterial {
		// Repeated, everything else has the effect of one (UP-13, SM-4, NT-5), so a connection that turns out to be dead is
		// replaced by the transport. It is not sent.
		req.Header["Idempotency-Key"] = nil
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	q.saw(resp.TLS)
	a := &peerAnswer{status: resp.StatusCode, wait: retryAfterOf(resp.Header.Get("Retry-After"), p.now())}
	limit := maxAnswer(endpoint)
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, err
	}
	if int64(len(a.body)) > limit {
		return nil, errBadAnswer
	}
	return a, nil
}

// retryAfterOf reads a number of seconds or a date.
//
// RFC 9110, Section 10.2.3
func retryAfterOf(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}
