package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"kith/db"
	"kith/web"
)

const (
	challengePrefix = "/.well-known/acme-challenge/"
	handshakeWait   = 10 * time.Second // how long a handshake waits for the first certificate
	lateCheck       = time.Hour
)

// autoTLS gets the certificates of this server from a certificate authority, and keeps them fresh (autocert). Two things
// differ from autocert alone. A handshake never makes an order: otherwise strangers could use up what the authority
// allows in a week, and a failure would be repeated every minute. And every client is shown the ECDSA certificate:
// autocert would order a second one, with RSA, for a client that speaks TLS 1.3 only.
type autoTLS struct {
	cfg   Config
	names []*autoName
	cache autocert.Cache  // set by start
	way   *http.Transport // to the authority

	turn    sync.Mutex // one first order at a time: it makes the account
	stopped context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// autoName is one name and its certificate.
type autoName struct {
	name  string
	first chan struct{} // closed when the first attempt has ended

	mu      sync.Mutex
	manager *autocert.Manager // of the attempt under way, or of the certificate
	answer  http.Handler      // manager's, for challenges over HTTP
	heard   *witness          // manager's
	ready   bool              // there is a certificate
	problem web.Text
	next    time.Time
}

func newAutoTLS(cfg Config, names ...string) *autoTLS {
	if cfg.ACMEDirectory == "" {
		cfg.ACMEDirectory = autocert.DefaultACMEDirectory
	}
	a := &autoTLS{cfg: cfg, way: http.DefaultTransport.(*http.Transport).Clone()}
	a.way.TLSClientConfig = &tls.Config{RootCAs: cfg.PeerRoots, MinVersion: tls.VersionTLS12}
	a.stopped, a.stop = context.WithCancel(context.Background())
	for _, name := range names {
		a.names = append(a.names, &autoName{name: name, first: make(chan struct{}), problem: web.T("tls.waiting", "name", name)})
	}
	return a
}

// start gets what is missing, in the background, and tries until it has it.
func (a *autoTLS) start(store *db.DB) {
	a.cache = acmeCache{store, a.cfg}
	for i, n := range a.names {
		a.running.Go(func() {
			if i > 0 { // what browsers need comes first
				select {
				case <-a.names[i-1].first:
				case <-a.stopped.Done():
				}
			}
			a.obtain(n)
		})
	}
	a.running.Go(a.watch)
}

// close ends all attempts. What autocert still tries on its own later reaches nobody.
func (a *autoTLS) close() {
	a.stop()
	a.running.Wait()
	a.way.CloseIdleConnections()
}

// obtain tries until there is a certificate for n. From then on autocert renews it.
func (a *autoTLS) obtain(n *autoName) {
	for attempt := 0; a.stopped.Err() == nil; attempt++ {
		problem, err := a.try(n)
		if err == nil || a.stopped.Err() != nil {
			n.end(attempt)
			return
		}
		wait := problem.retry(attempt)
		if a.cfg.acmeRetry > 0 {
			wait = a.cfg.acmeRetry
		}
		n.mu.Lock()
		n.next = a.cfg.Now().Add(wait)
		n.problem = problem.text(n.name, a.cfg, n.next)
		sentence := web.English.Text(n.problem)
		n.mu.Unlock()
		n.end(attempt)
		a.cfg.Log.Warn("no certificate", "name", n.name, "reason", sentence, "authority_says", problem.detail, "next_try", wait)
		select {
		case <-a.stopped.Done():
		case <-time.After(wait):
		}
	}
}

// end lets the handshakes go on that wait for the first attempt.
func (n *autoName) end(attempt int) {
	if attempt == 0 {
		close(n.first)
	}
}

// try makes one attempt, with a manager of its own: autocert repeats a failure for a minute without asking again.
func (a *autoTLS) try(n *autoName) (*acmeProblem, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	w := &witness{way: a.way, stopped: a.stopped, url: a.cfg.ACMEDirectory}
	m := &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: a.cache, HostPolicy: autocert.HostWhitelist(n.name), Email: a.cfg.ACMEEmail,
		Client: &acme.Client{DirectoryURL: a.cfg.ACMEDirectory, UserAgent: "kith", RetryBackoff: retryBackoff,
			HTTPClient: &http.Client{Transport: w, Timeout: 30 * time.Second}}}
	n.mu.Lock()
	n.manager, n.heard = m, w
	if a.cfg.ListenHTTP != "" {
		n.answer = m.HTTPHandler(http.NotFoundHandler())
	}
	n.mu.Unlock()
	certificate, err := m.GetCertificate(ecdsaHello(n.name))
	if err != nil {
		return w.problem(err), err
	}
	n.mu.Lock()
	n.ready, n.problem, n.next = true, web.Text{}, time.Time{}
	n.mu.Unlock()
	a.cfg.Log.Info("certificate", "name", n.name, "expires", certificate.Leaf.NotAfter)
	return nil, nil
}

// retryBackoff repeats a request soon and a few times; whole attempts are repeated by obtain. An authority that limits us
// is not asked again before its time.
func retryBackoff(n int, _ *http.Request, resp *http.Response) time.Duration {
	if n > 4 || resp.StatusCode == http.StatusTooManyRequests {
		return -1
	}
	return time.Duration(n) * 250 * time.Millisecond
}

// ecdsaHello asks autocert for the certificate with an ECDSA key.
func ecdsaHello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

func (a *autoTLS) find(name string) *autoName {
	for _, n := range a.names {
		if strings.EqualFold(n.name, name) {
			return n
		}
	}
	return nil
}

// get is tls.Config.GetCertificate.
func (a *autoTLS) get(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	n := a.find(h.ServerName)
	if n == nil {
		return nil, errors.New("server: asked for the certificate of another name")
	}
	n.mu.Lock()
	manager, ready := n.manager, n.ready
	n.mu.Unlock()
	if isProbe(h) && manager != nil {
		return manager.GetCertificate(h)
	}
	if !ready {
		if manager = n.await(h.Context()); manager == nil {
			return nil, fmt.Errorf("server: there is no certificate for %s yet", n.name)
		}
	}
	return manager.GetCertificate(ecdsaHello(n.name))
}

// await waits a moment for the first attempt: after a restart it takes no time, and a fresh one is worth some seconds.
func (n *autoName) await(ctx context.Context) *autocert.Manager {
	if ctx == nil { // a ClientHelloInfo that was made by hand
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	select {
	case <-n.first:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready {
		return nil
	}
	return n.manager
}

// http answers the authority's challenges on the port for plain HTTP and passes everything else on. As long as there is
// no certificate, it says why instead of sending people to HTTPS.
func (a *autoTLS) http(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, challengePrefix) {
			a.challenge(w, r)
			return
		}
		if reason := a.missing(); !reason.None() {
			w.Header().Set("Retry-After", "60")
			if r.URL.Path == "/healthz" {
				health(w, r)
				return
			}
			plain(w, http.StatusServiceUnavailable, web.LanguageOf(r).Text(reason)+"\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RFC 8555, Section 8.3
func (a *autoTLS) challenge(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	var answer http.Handler
	if n := a.find(host); n != nil {
		n.mu.Lock()
		answer = n.answer
		n.mu.Unlock()
	}
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	r = r.Clone(r.Context())
	r.Host = strings.ToLower(host) // autocert takes no port
	answer.ServeHTTP(w, r)
}

// missing says why browsers cannot connect, or nothing.
func (a *autoTLS) missing() web.Text {
	n := a.names[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.problem
}

// status says how the certificates are.
func (a *autoTLS) status() []web.CertificateRow {
	var all []web.CertificateRow
	for _, n := range a.names {
		n.mu.Lock()
		s := web.CertificateRow{Name: n.name, Problem: n.problem, Next: n.next}
		manager, ready, heard := n.manager, n.ready, n.heard
		n.mu.Unlock()
		if ready {
			s.Expires, s.Problem = a.late(n.name, manager, heard)
		}
		all = append(all, s)
	}
	return all
}

// late says when a certificate expires, and what is wrong if it should have been renewed by now: autocert does so when a
// third of its life is left, at most 30 days, and is silent about failures.
func (a *autoTLS) late(name string, m *autocert.Manager, heard *witness) (time.Time, web.Text) {
	c, err := m.GetCertificate(ecdsaHello(name))
	if err != nil {
		return time.Time{}, heard.problem(err).text(name, a.cfg, time.Time{})
	}
	end := c.Leaf.NotAfter
	due := min(end.Sub(c.Leaf.NotBefore)/3, 30*24*time.Hour)
	if a.cfg.Now().Before(end.Add(-due * 4 / 5)) {
		return end, web.Text{}
	}
	if p := heard.last(); p != nil {
		return end, p.text(name, a.cfg, time.Time{})
	}
	return end, web.T("tls.late", "name", name, "when", end.UTC().Format("2006-01-02 15:04 UTC"))
}

// watch says in the log when a renewal fails for long.
func (a *autoTLS) watch() {
	tick := time.NewTicker(lateCheck)
	defer tick.Stop()
	for {
		select {
		case <-a.stopped.Done():
			return
		case <-tick.C:
		}
		for _, s := range a.status() {
			if !s.Expires.IsZero() && !s.Problem.None() {
				a.cfg.Log.Warn("certificate not renewed", "name", s.Name, "expires", s.Expires, "reason", web.English.Text(s.Problem))
			}
		}
	}
}

// acmeCache keeps in the database what autocert wants to find again after a restart, for each authority by itself: who has
// tried Kith with one for tests wants other certificates from the real one.
type acmeCache struct {
	db  *db.DB
	cfg Config
}

func (c acmeCache) name(key string) string { return c.cfg.ACMEDirectory + " " + key }

// Get implements autocert.Cache.
func (c acmeCache) Get(ctx context.Context, key string) (value []byte, err error) {
	err = c.db.Read(ctx, func(tx *db.Tx) (err error) { value, err = tx.ACME(c.name(key)); return err })
	if errors.Is(err, db.ErrNotFound) {
		return nil, autocert.ErrCacheMiss
	}
	return value, err
}

// Put implements autocert.Cache. autocert uses a certificate that could not be stored, and says nothing: the next start
// would order another one.
func (c acmeCache) Put(ctx context.Context, key string, value []byte) error {
	err := c.db.Write(ctx, func(tx *db.Tx) error { return tx.SetACME(c.name(key), value) })
	if err != nil && !errors.Is(err, db.ErrClosed) {
		c.cfg.Log.Error("certificate not stored", "error", err.Error())
	}
	return err
}

// Delete implements autocert.Cache.
func (c acmeCache) Delete(ctx context.Context, key string) error {
	return c.db.Write(ctx, func(tx *db.Tx) error { return tx.DeleteACME(c.name(key)) })
}
