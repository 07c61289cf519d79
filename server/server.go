// Package server is one provider: it wires the database, the hub of its rooms, the identity CA, the pages and the socket
// that browsers speak to.
//
// Invariants. What was answered as accepted is on disk. The text of an internal error never leaves, and no log line holds
// content, keys, tokens or full URIs of users: requests are logged by route. All time and randomness come in with [Config].
//
// Limits. TLS ends here: a proxy in front that ends it itself would hide which provider connects. What other providers can
// make this one do is bounded for each of them and for all together, in requests, memory and time (peer_limits.go), and so
// is what our users can make it ask of others (abroad.go); there is no bound on what a hub may store here for rooms that
// our users are in. A provider is identified by certificates that public authorities vouch for; there are no pinned keys.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kith/db"
	"kith/mimi"
)

const (
	stateMigrating = "migrating"
	stateReady     = "ready"
	stateStopping  = "stopping"

	drainTime = 8 * time.Second // of the 10 a supervisor gives

	settingBaseURL = "base_url"
)

// chat is the messaging side of the server.
type chat interface {
	// ServeSocket speaks with a browser until either leaves.
	ServeSocket(w http.ResponseWriter, r *http.Request, who principal)
	// Federation is every address that other providers reach, with a certificate.
	Federation() http.Handler
	// ServeDirectory tells other providers where that is.
	ServeDirectory(w http.ResponseWriter, r *http.Request)
	// PeerStates lists the other providers.
	PeerStates(ctx context.Context) (peerMode, []peerState, error)
	// ChangePeer does with one what the administrator wants, and also in the same transaction.
	ChangePeer(ctx context.Context, domain mimi.ProviderID, change peerChange, seen []string, also func(*db.Tx) error) error
	// SetPeerMode decides with which ones anything is exchanged.
	SetPeerMode(ctx context.Context, mode peerMode, also func(*db.Tx) error) error
	// EvictDisabled takes the devices of disabled accounts out of our rooms.
	EvictDisabled(ctx context.Context) error
	// SignOutUser ends the sockets of an account.
	SignOutUser(username string)
	// SignOut ends the sockets of a session.
	SignOut(session int64)
	// Close tells all sockets to go and waits until they have gone, or ctx ends.
	Close(ctx context.Context) error
}

// Server is a provider that is open. Make one with [New].
type Server struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	db        *db.DB
	identity  *authority
	passwords *passwords
	metrics   *metrics
	figures   http.Handler // of metrics
	chat      chat
	transport *transport
	handler   http.Handler
	state     atomic.Value // string

	// Attempts to sign in, see attempt.
	perAddress *limiter
	perPair    *limiter
	perAccount *limiter

	stopWatch context.CancelFunc
	watching  sync.WaitGroup

	mu      sync.Mutex
	baseURL string
}

// New opens the database and everything on it. The server answers as soon as its Handler is asked; Close releases it.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, now: cfg.Now, metrics: newMetrics(),
		// Ten wrong passwords at once and then one in 30 s for an account from one address; three times that for the
		// address, where a whole family may live; and a bound for an account that many addresses guess at.
		perAddress: newLimiter(30, 10*time.Second), perPair: newLimiter(10, 30*time.Second), perAccount: newLimiter(60, 20*time.Second)}
	if s.transport = cfg.transport; s.transport == nil {
		if s.transport, err = newTransport(cfg); err != nil {
			return nil, err
		}
	}
	s.figures = s.metrics.handler(s.log)
	s.state.Store(stateReady)
	s.db, err = db.Open(ctx, cfg.Data, db.Options{Now: cfg.Now, Logger: cfg.Log, Exclusive: true, MaxPages: cfg.MaxPages})
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.handler = s.routes()
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWatch = stop
	s.watching.Go(func() { s.watch(watch) })
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.identity, err = openAuthority(ctx, s.db, s.cfg.Domain, s.cfg.Rand, s.now); err != nil {
		return err
	}
	if s.passwords, err = newPasswords(s.cfg.PasswordMemory, s.cfg.Rand); err != nil {
		return err
	}
	if err := s.setBase(ctx, s.cfg.baseURL(s.cfg.Listen)); err != nil {
		return err
	}
	s.metrics.gauge("kith_db_queue", "Writes waiting for the database.", func() float64 { return float64(s.db.Queued()) })
	s.chat, err = s.openChat()
	return err
}

// setBase remembers how links to this server begin, for the command line too. It writes only what has changed: a server
// on a full disk must still start.
func (s *Server) setBase(ctx context.Context, base string) error {
	s.mu.Lock()
	s.baseURL = base
	s.mu.Unlock()
	old := ""
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		b, err := tx.Setting(settingBaseURL)
		old = string(b)
		return err
	})
	if old == base || err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	return s.db.Write(ctx, func(tx *db.Tx) error { return tx.SetSetting(settingBaseURL, []byte(base)) })
}

func (s *Server) base() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.baseURL
}

// Handler returns the server's pages, static files and socket.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends all sockets, carries out what is queued and closes the database.
func (s *Server) Close(ctx context.Context) error {
	s.state.Store(stateStopping)
	return errors.Join(s.chat.Close(ctx), s.release())
}

// release closes what is below the sockets.
func (s *Server) release() error {
	if s.transport.acme != nil {
		s.transport.acme.close()
	}
	s.stopWatch()
	s.watching.Wait()
	s.passwords.close()
	return s.db.Close()
}

// methodOf and routeOf name a request without its path.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return r.Method
	}
	return "other"
}

func routeOf(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

func statusLabel(status int) (int, string) {
	if status == 0 {
		status = http.StatusOK
	}
	return status, strconv.Itoa(status)
}

// HTTPServer serves the pages and the socket, or something that stands before them, as Run does: within the same bounds.
func (s *Server) HTTPServer(h http.Handler) *http.Server { return newHTTPServer(h, s.log) }

// newHTTPServer bounds what a slow or silent client can hold.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      5 * time.Minute, // a large static file on a slow line; sockets are taken over and not bound by it
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         newConnLimit().state,
		ErrorLog:          slog.NewLogLogger(dropText{log.Handler()}, slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
}
