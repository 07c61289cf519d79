package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/db"
	"kith/web"
)

// acmeProblem is why there is no certificate: a key of the catalogue, and the authority's own words for the log.
type acmeProblem struct {
	key    string
	kind   string // the authority's name for it, where we have none
	detail string
	wait   time.Duration // how long the authority wants to be left alone
}

const (
	problemUnreachable = "tls.unreachable" // the authority, by us
	problemUntrusted   = "tls.untrusted"
	problemNotACME     = "tls.not_acme"
	problemStore       = "tls.store"
	problemClock       = "tls.clock"
	problemDNS         = "tls.dns"
	problemConnection  = "tls.connection" // we, by the authority
	problemElsewhere   = "tls.elsewhere"
	problemCAA         = "tls.caa"
	problemLimited     = "tls.limited"
	problemRejected    = "tls.rejected"
	problemContact     = "tls.contact"
	problemAccount     = "tls.account"
	problemRefused     = "tls.refused"
)

// acmeProblems maps the error types of the protocol to sentences.
//
// RFC 8555, Section 6.7
var acmeProblems = map[string]string{
	"dns": problemDNS, "connection": problemConnection, "unauthorized": problemElsewhere, "incorrectresponse": problemElsewhere,
	"tls": problemElsewhere, "caa": problemCAA, "ratelimited": problemLimited, "rejectedidentifier": problemRejected,
	"unsupportedidentifier": problemRejected, "invalidcontact": problemContact, "unsupportedcontact": problemContact,
	"externalaccountrequired": problemAccount, "accountdoesnotexist": problemAccount, "useractionrequired": problemAccount,
	"serverinternal": problemUnreachable,
}

// wireProblem is an error as the authority sends it.
type wireProblem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// problemOf finds the sentence for an error. challenge says that it is about looking for us, and not about a request.
func problemOf(p wireProblem, challenge bool) *acmeProblem {
	kind := strings.ToLower(p.Type[strings.LastIndexByte(p.Type, ':')+1:])
	key, ok := acmeProblems[kind]
	switch {
	case !ok:
		key = problemRefused
	case kind == "unauthorized" && !challenge:
		key = problemAccount
	}
	// Authorities differ in what they call a name that does not resolve and a port that nobody answers on.
	if detail := strings.ToLower(p.Detail); challenge && key != problemCAA {
		switch {
		case strings.Contains(detail, "resolv") || strings.Contains(detail, "nxdomain"):
			key = problemDNS
		case strings.HasPrefix(detail, "failed to connect"):
			key = problemConnection
		}
	}
	return &acmeProblem{key: key, kind: kind, detail: clipped(p.Detail)}
}

func clipped(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Join(strings.Fields(s), " ")
}

// text is the sentence for the operator.
func (p *acmeProblem) text(name string, c Config, next time.Time) web.Text {
	authority := c.ACMEDirectory
	if u, err := url.Parse(authority); err == nil && u.Host != "" {
		authority = u.Host
	}
	port := "443"
	if c.ListenHTTP != "" {
		port = "443, 80"
	}
	return web.T(p.key, "name", name, "authority", authority, "port", port, "kind", p.kind, "url", c.ACMEDirectory,
		"email", c.ACMEEmail, "when", next.UTC().Format("2006-01-02 15:04 UTC"))
}

// retry is how long to wait after the nth attempt. Who has lost the way to the authority finds it again at once; a name
// that the authority cannot reach may be tried five times an hour at the largest one, and each attempt counts twice
// with both kinds of challenge.
func (p *acmeProblem) retry(attempt int) time.Duration {
	switch p.key {
	case problemUnreachable, problemUntrusted, problemStore:
		return min(5*time.Second<<min(attempt, 6), 5*time.Minute)
	case problemClock: // each attempt is a certificate, of which there may be five in a week
		return 6 * time.Hour
	case problemLimited:
		return min(max(p.wait, 15*time.Minute), 6*time.Hour)
	}
	steps := []time.Duration{2 * time.Minute, 8 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}
	return steps[min(attempt, len(steps)-1)]
}

// witness is the way to the authority. It listens: autocert drops what the authority says about a failed challenge.
type witness struct {
	way     http.RoundTripper
	stopped context.Context
	url     string // the directory's

	mu    sync.Mutex
	found *acmeProblem
}

const maxACMEBody = 1 << 20

// RoundTrip implements http.RoundTripper. It reads the whole answer, so that nothing outlives it.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(w.stopped, cancel)()
	resp, err := w.way.RoundTrip(r.WithContext(ctx))
	if err != nil {
		w.note(unreachable(err))
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxACMEBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		w.note(unreachable(err))
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	w.note(heard(resp, body, r.URL.String() == w.url))
	return resp, nil
}

func unreachable(err error) *acmeProblem {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var other x509.HostnameError
	key := problemUnreachable
	if errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &other) {
		key = problemUntrusted
	}
	return &acmeProblem{key: key, detail: clipped(err.Error())}
}

// heard finds a problem in an answer, or nil.
func heard(resp *http.Response, body []byte, directory bool) *acmeProblem {
	if resp.StatusCode >= 400 {
		var p wireProblem
		if json.Unmarshal(body, &p) != nil || p.Type == "" {
			switch {
			case resp.StatusCode == http.StatusTooManyRequests:
				p.Type = "rateLimited"
			case resp.StatusCode >= 500:
				p.Type = "serverInternal"
			case directory:
				return &acmeProblem{key: problemNotACME, detail: resp.Status}
			}
		}
		if strings.HasSuffix(p.Type, ":badNonce") {
			return nil // repeated at once
		}
		found := problemOf(p, false)
		found.wait = waitOf(resp.Header.Get("Retry-After"))
		return found
	}
	if directory {
		var d struct {
			Order string `json:"newOrder"`
		}
		if json.Unmarshal(body, &d) != nil || d.Order == "" {
			return &acmeProblem{key: problemNotACME}
		}
		return nil
	}
	return failedChallenge(body)
}

// failedChallenge reads an authorization.
//
// RFC 8555, Section 7.1.4
func failedChallenge(body []byte) *acmeProblem {
	var authorization struct {
		Status     string `json:"status"`
		Challenges []struct {
			Error *wireProblem `json:"error"`
		} `json:"challenges"`
	}
	if json.Unmarshal(body, &authorization) != nil || authorization.Status != "invalid" {
		return nil
	}
	for _, c := range authorization.Challenges {
		if c.Error != nil {
			return problemOf(*c.Error, true)
		}
	}
	return nil
}

// waitOf reads Retry-After in seconds; a date is not worth the trouble, as we have bounds of our own.
func waitOf(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 || seconds > 7*24*3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (w *witness) note(p *acmeProblem) {
	if p == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = p
}

func (w *witness) last() *acmeProblem {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found
}

// problem is what err itself tells, or what was heard last.
func (w *witness) problem(err error) *acmeProblem {
	switch text := err.Error(); {
	case strings.HasSuffix(text, "certificate is not valid yet") || strings.HasSuffix(text, "expired certificate"):
		return &acmeProblem{key: problemClock, detail: clipped(text)}
	case errors.Is(err, db.ErrDiskFull) || errors.Is(err, db.ErrClosed):
		return &acmeProblem{key: problemStore}
	}
	if p := w.last(); p != nil {
		return p
	}
	return &acmeProblem{key: problemRefused, kind: "other", detail: clipped(err.Error())}
}
