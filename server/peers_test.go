package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/db"
	"kith/mimi"
)

func TestDI4TemplatesOfOthers(t *testing.T) {
	room := map[string]string{"roomId": "mimi://a.example/r/x y"}
	consent := map[string]string{"targetDomain": "mimi://a.example", "targetUser": "mimi://a.example/u/alice"}
	for _, c := range []struct {
		template, want string
		vars           map[string]string
	}{
		{"https://h.example/v1/{roomId}/update", "https://h.example/v1/mimi%3A%2F%2Fa.example%2Fr%2Fx%20y/update", room},
		{"https://h.example:8443/?room={roomId}&x=1", "https://h.example:8443/?room=mimi%3A%2F%2Fa.example%2Fr%2Fx%20y&x=1", room},
		{"https://h.example/{version}/{roomId}", "https://h.example//mimi%3A%2F%2Fa.example%2Fr%2Fx%20y", room}, // RFC 6570: undefined is empty
		{"https://h.example/{targetUser}", "https://h.example/mimi%3A%2F%2Fa.example%2Fu%2Falice", consent},
		{"https://h.example/{targetDomain}", "https://h.example/mimi%3A%2F%2Fa.example", consent},
		{"https://h.example/{+roomId}", "", room},
		{"https://h.example/{/roomId*}", "", room},
		{"https://h.example/{roomId,x}", "", room},
		{"https://h.example/{roomId:3}", "", room},
		{"https://h.example/{roomId", "", room},
		{"https://h.example/{}", "", room},
		{"https://h.example/fixed", "", room},
		{"https://h.example/{user}", "", room},
	} {
		d := &directory{templates: map[string]string{endpointUpdate: c.template}}
		got, err := d.expand(endpointUpdate, c.vars)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v", c.template, got, err)
		}
	}
	if _, err := (&directory{}).expand(endpointUpdate, room); err == nil {
		t.Error("an endpoint that is not there")
	}
}

func TestDI5DirectoriesOfOthers(t *testing.T) {
	b := peerNamed(t, "b.example")
	for _, good := range []string{`{}`, `{"update":"https://b.example/{roomId}","new":{"x":[1]},"x-ohttpGateway":7}`,
		`{"update":7,"notify":"https://b.example/n/{roomId}"}`, `{"x-identityRoots":["AAAA","!"]}`} {
		if _, err := parseDirectory([]byte(good), b); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{``, `[]`, `null 1`, `"x"`, `{"update":"http://b.example/{roomId}"}`, `{"update":"/{roomId}"}`,
		`{"update":"https:///{roomId}"}`, `{"update":"https://user@b.example/{roomId}"}`, `{"update":"ftp://b.example/{roomId}"}`,
		`{"update":"https://b.example/{roomId}#x"}`, `{"x-identityRoots":"AAAA"}`, `{"x-identityRoots":[1]}`} {
		if _, err := parseDirectory([]byte(bad), b); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	d, err := parseDirectory([]byte(`{"update":"https://b.example/{roomId}","notify":"https://n.example:8443/{roomId}"}`), b)
	if err != nil || len(d.hosts()) != 2 || len(d.templates) != 2 {
		t.Errorf("%v, %v", d, err)
	}
}

func TestNT4RetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, " 120 ": 2 * time.Minute, "-1": 0, "soon": 0, "1.5": 0,
		"99999999": maxRetryAfter, "99999999999999999999": 0, "Sun, 22 Nov 2026 12:10:00 GMT": 10 * time.Minute,
		"Sun, 22 Nov 2026 11:00:00 GMT": 0, "Sun, 22 Nov 2099 11:00:00 GMT": maxRetryAfter} {
		if got := retryAfterOf(header, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestLimiterFasterThanMilliseconds: what comes back in less than a millisecond is counted all the same.
func TestLimiterFasterThanMilliseconds(t *testing.T) {
	l := newLimiter(100, 200*time.Microsecond)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	taken := func() (n int) {
		for n = 0; n < 1000; n++ {
			if _, ok := l.take("b.example", now); !ok {
				break
			}
		}
		return n
	}
	if n := taken(); n != 100 {
		t.Errorf("a burst of %d", n)
	}
	now = now.Add(2 * time.Millisecond)
	if n := taken(); n != 10 {
		t.Errorf("%d came back in 2 ms", n)
	}
}

func TestBudgetOfBodies(t *testing.T) {
	var b budget
	var peers []*peer
	for range 5 {
		peers = append(peers, &peer{})
	}
	if b.take(peers[0], maxPeerBodies+1) || !b.take(peers[0], maxPeerBodies) || b.take(peers[0], 1) {
		t.Error("one provider's share is not its bound")
	}
	for _, q := range peers[1:4] {
		if !b.take(q, maxPeerBodies) {
			t.Error("others have less because of it")
		}
	}
	if b.take(peers[4], 1) {
		t.Error("all together have more than there is")
	}
	b.give(peers[0], maxPeerBodies)
	if !b.take(peers[4], 1) || b.held != 3*maxPeerBodies+1 {
		t.Errorf("%d held", b.held)
	}
}

// TestPeerProblems: what goes wrong with a connection gets the word that the administrator's page explains.
func TestPeerProblems(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}, peerNoName},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, peerNoAnswer},
		{context.DeadlineExceeded, peerNoAnswer},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, peerBadChain},
		{x509.HostnameError{Host: "b.example", Certificate: &x509.Certificate{}}, peerBadChain},
		{errDirectory, peerDirectory},
		{fmt.Errorf("more: %w", errBadAnswer), peerBadAnswer},
	} {
		if got := peerProblem(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	// An alert of the other side, as crypto/tls really reports it: it does not want our certificate.
	refusing := httptest.NewUnstartedServer(http.NotFoundHandler())
	refusing.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	refusing.Config.ErrorLog = nil
	refusing.StartTLS()
	defer refusing.Close()
	_, err := refusing.Client().Post(refusing.URL, "", strings.NewReader("x"))
	if got := peerProblem(err); got != peerRefuses {
		t.Errorf("%v: %q", err, got)
	}
}

// TestPeerAddressGuard: names that lead into this machine or the network behind it are not dialled.
func TestPeerAddressGuard(t *testing.T) {
	dial := Config{Listen: ":443"}.dialPublic()
	for _, address := range []string{"127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "192.168.1.1:1", "169.254.169.254:80", "[fe80::1]:1", "[fd00::1]:1",
		"0.0.0.0:1", "[::]:1", "100.64.0.1:1", "[::ffff:127.0.0.1]:1", "[64:ff9b::7f00:1]:1", "[64:ff9b:1::7f00:1]:1", "[2002:7f00:1::]:1",
		"[2001:0:1::1]:1", "[::7f00:1]:1", "[fec0::1]:1", "224.0.0.1:1", "255.255.255.255:1", "localhost:1", "240.0.0.1:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := dial(ctx, "tcp", address)
		cancel()
		if !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestPeersAreBounded: names that anybody can make us look for are not kept for ever, those that mean something are.
func TestPeersAreBounded(t *testing.T) {
	s := newSite(t)
	m := s.chat.(*messenger)
	also := func(*db.Tx) error { return nil }
	if err := m.peers.setVerdict(t.Context(), peerNamed(t, "kept.example"), db.VerdictDeny, also); err != nil {
		t.Fatal(err)
	}
	busy := m.peers.get(peerNamed(t, "busy.example"))
	busy.slots <- struct{}{}
	for i := range 3 * maxPeers {
		m.peers.get(peerNamed(t, fmt.Sprintf("n%d.example", i)))
		m.peers.note(m.peers.get(peerNamed(t, fmt.Sprintf("n%d.example", i))), peerNoName, true)
	}
	all := m.peers.all()
	if len(all) > maxPeers {
		t.Errorf("%d providers in memory", len(all))
	}
	if q := m.peers.get(peerNamed(t, "kept.example")); q.verdict != db.VerdictDeny || m.peers.get(peerNamed(t, "busy.example")) != busy {
		t.Error("one that means something was forgotten")
	}
	err := s.db.Read(t.Context(), func(tx *db.Tx) error {
		rows, err := tx.Peers()
		if len(rows) != 1 {
			t.Errorf("%d providers in the database", len(rows))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPeerHealthIsNotWrittenAllTheTime: a provider whose answers change from one to the next costs no write for each.
func TestPeerHealthIsNotWrittenAllTheTime(t *testing.T) {
	s := newSite(t)
	m := s.chat.(*messenger)
	err := s.db.Write(t.Context(), func(tx *db.Tx) error { return tx.MeetPeer("b.example") })
	if err != nil {
		t.Fatal(err)
	}
	q := m.peers.get(peerNamed(t, "b.example"))
	for range 1000 {
		m.peers.note(q, peerBusy, false)
		m.peers.note(q, "", false)
	}
	if n := strings.Count(s.log.String(), "another provider"); n > 2 {
		t.Errorf("%d lines in the log", n)
	}
	s.clock.add(time.Minute)
	m.peers.note(q, peerNoAnswer, true)
	var row db.Peer
	err = s.db.Write(t.Context(), func(tx *db.Tx) (err error) { row, err = tx.Peer("b.example"); return err })
	if err != nil || row.Error != peerNoAnswer {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestDirectoryWaitersShareTheFailure: a hundred who wait for the same directory do not try one after the other.
func TestDirectoryWaitersShareTheFailure(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store, err := db.Open(t.Context(), dir, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := newPeers(peerNamed(t, "a.example"), nil, store, nil, time.Now, slog.New(slog.DiscardHandler))
		var attempts atomic.Int32
		p.client = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			attempts.Add(1)
			time.Sleep(time.Minute)
			return nil, errors.New("connection refused")
		})}
		q := p.get(peerNamed(t, "b.example"))
		results := make(chan error, 100)
		start := time.Now()
		for range 100 {
			go func() {
				_, err := p.directoryOf(t.Context(), q)
				results <- err
			}()
		}
		for range 100 {
			if err := <-results; err == nil {
				t.Error("a directory from nowhere")
			}
		}
		if n, took := attempts.Load(), time.Since(start); n != 1 || took != time.Minute {
			t.Errorf("%d attempts, %v", n, took)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAnswersOfPeersAreBounded: no provider fills our memory with its answers.
func TestAnswersOfPeersAreBounded(t *testing.T) {
	s := newSite(t)
	m := s.chat.(*messenger)
	m.peers.client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(endless{})}, nil
	})}
	d := &directory{templates: map[string]string{}}
	for endpoint, variable := range endpointVariable {
		d.templates[endpoint] = "https://b.example/{" + variable + "}"
	}
	q := m.peers.get(peerNamed(t, "b.example"))
	q.directory, q.fetched = d, s.now()
	for endpoint, variable := range endpointVariable {
		_, err := m.peers.post(t.Context(), q.domain, endpoint, map[string]string{variable: "x"}, nil)
		if !errors.Is(err, opHubAway) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if q.problem != peerBadAnswer {
		t.Errorf("problem %q", q.problem)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestAwayPeerIsTriedByOneAtATime: while a provider is away, whoever asks besides is answered at once.
func TestAwayPeerIsTriedByOneAtATime(t *testing.T) {
	q := &peer{domain: mimi.ProviderID{}, slots: make(chan struct{}, maxPeerRequests)}
	leave, err := q.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second, err := q.enter(t.Context()); err != nil {
		t.Error("two at once with one that is there")
	} else {
		second()
	}
	q.away = true
	if _, err := q.enter(t.Context()); !errors.Is(err, opHubAway) {
		t.Errorf("a second attempt: %v", err)
	}
	leave()
	if _, err := q.enter(t.Context()); err != nil || q.waiting.Load() != 0 {
		t.Errorf("nobody tries any more: %v", err)
	}
}
