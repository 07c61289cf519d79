package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/web/api"
)

// Config is what a Session needs from outside.
type Config struct {
	Store      Store
	Transport  Transport
	DeviceName string           // what the user's other devices call this one
	Post       func(View)       // news for the pages, in order; must not block; nil: nobody looks
	Now        func() time.Time // nil: time.Now
	Rand       io.Reader        // nil: crypto/rand
	// VerifyEd25519 verifies many signatures at once; see mls.Config. nil: mls does it.
	VerifyEd25519 func(checks []SignatureCheck) error
	// ExchangeX25519 exchanges keys for many encryptions at once; see mls.Config. nil: mls does it.
	ExchangeX25519 func(publicKeys []HPKEPublicKey) ([]X25519Exchange, error)
}

type (
	// HPKEPublicKey is a key with which ExchangeX25519 is to make an exchange.
	HPKEPublicKey = mls.HPKEPublicKey
	// X25519Exchange is what ExchangeX25519 returns for a key.
	X25519Exchange = mls.X25519Exchange
)

// SignatureCheck is a signature that VerifyEd25519 is to verify.
type SignatureCheck = mls.SignatureCheck

// suite is the cipher suite of our rooms.
const suite = mls.X25519AES128GCMSHA256Ed25519

// Session is one user agent. Its methods may be called from any goroutine while Run runs; each returns an *Error or
// a context's error.
type Session struct {
	cfg Config

	mu      sync.Mutex
	engine  *engine       // nil between two engines
	ready   chan struct{} // closed as soon as engine is set
	over    chan struct{} // closed when Run returns
	problem *Error        // why there is no engine
}

// New makes a Session; Run brings it to life.
func New(cfg Config) *Session {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Post == nil {
		cfg.Post = func(View) {}
	}
	return &Session{cfg: cfg, ready: make(chan struct{}), over: make(chan struct{})}
}

// errSignedOut ends a session for good, errOtherUser an engine: the connection belongs to somebody else now. After
// errDisowned the next engine is that of a new device.
var (
	errSignedOut = errors.New("client: signed out")
	errOtherUser = errors.New("client: another user signed in")
	errDisowned  = errors.New("client: the provider does not know this device")
	errStopped   = errors.New("client: engine stopped")
)

// Run lives until ctx ends or the user signs out. It starts an engine from the store, and another one whenever the
// store refused something: what is stored is always a state from which all can go on.
func (s *Session) Run(ctx context.Context) error {
	defer close(s.over)
	for failures := 0; ctx.Err() == nil; {
		e, err := s.start(ctx)
		if err == nil {
			failures = 0
			s.publish(e)
			err = e.run()
			s.withdraw()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errSignedOut):
			s.report(fail(CodeSignedOut, "signed out"))
			return nil
		case errors.Is(err, errOtherUser), errors.Is(err, errDisowned):
			continue
		}
		s.report(describe(err))
		failures++
		sleep(ctx, backoff(failures))
	}
	return nil
}

// start loads an engine for the user this browser profile belongs to, asking the provider if nobody knows.
func (s *Session) start(ctx context.Context) (*engine, error) {
	known, err := s.cfg.Store.Get(ctx, keyUser)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	if len(known) > 0 {
		user, err := mimi.ParseUserID(string(known))
		if err != nil {
			return nil, err
		}
		return loadEngine(ctx, s.cfg, user)
	}
	g, err := askGreeting(ctx, s.cfg.Transport)
	if err != nil {
		return nil, err
	}
	user, err := mimi.ParseUserID(g.User)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Commit(ctx, []Op{{keyUser, []byte(g.User)}}); err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	return loadEngine(ctx, s.cfg, user)
}

// askGreeting connects only to learn who is signed in.
func askGreeting(ctx context.Context, t Transport) (*api.Greeting, error) {
	conn, err := t.Dial(ctx)
	if err != nil {
		return nil, errOffline
	}
	defer conn.Close()
	g, _, err := readGreeting(ctx, conn)
	var closed *CloseError
	if err != nil && !errors.As(err, &closed) {
		err = errOffline
	}
	return g, err
}

func (s *Session) publish(e *engine) {
	s.mu.Lock()
	s.engine, s.problem = e, nil
	close(s.ready)
	s.mu.Unlock()
}

func (s *Session) withdraw() {
	s.mu.Lock()
	s.engine, s.ready = nil, make(chan struct{})
	s.mu.Unlock()
}

// report tells the pages that there is no engine, and why.
func (s *Session) report(err *Error) {
	s.mu.Lock()
	s.problem = err
	s.mu.Unlock()
	state := StateError
	if err.Code == CodeOffline {
		state = StateLoading // nothing is wrong yet
	}
	s.cfg.Post(View{ViewState, StateView{State: state, Connecting: true, Error: err}})
}

// current waits for an engine.
func (s *Session) current(ctx context.Context) (*engine, error) {
	for {
		s.mu.Lock()
		e, ready := s.engine, s.ready
		s.mu.Unlock()
		if e != nil {
			return e, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.over:
			return nil, fail(CodeSignedOut, "session is over")
		}
	}
}

// with runs an operation on the current engine. Operations that changed nothing because the engine went away before
// are told as internal; the user may try again.
func with[T any](ctx context.Context, s *Session, op func(e *engine, ctx context.Context) (T, error)) (T, error) {
	e, err := s.current(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := op(e, ctx)
	if err != nil {
		return v, describe(err)
	}
	return v, nil
}

// describe turns any error into one for people.
func describe(err error) *Error {
	var known *Error
	var status *statusError
	var closed *CloseError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &closed) && closed.Code == closeSignedOut:
		return fail(CodeSignedOut, "the session ended")
	case errors.As(err, &closed):
		return fail(CodeOffline, "no connection")
	case errors.As(err, &status):
		return status.describe()
	case errors.Is(err, ErrNoSpace):
		return fail(CodeDiskFull, "no space left in this browser")
	case errors.Is(err, errOffline), errors.Is(err, errLinkLost):
		return fail(CodeOffline, "no connection")
	case errors.Is(err, errSignedOut):
		return fail(CodeSignedOut, "signed out")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(CodeOffline, "no answer in time")
	}
	return fail(CodeInternal, err.Error())
}

// backoff is the pause after so many failures in a row: one second to one minute, half of it by chance.
func backoff(failures int) time.Duration {
	d := min(time.Second<<min(failures-1, 6), time.Minute)
	return d/2 + jitter(d/2)
}

// longBackoff is backoff for what may take days: one second to five minutes.
func longBackoff(failures int) time.Duration {
	d := min(time.Second<<min(failures-1, 9), 5*time.Minute)
	return d/2 + jitter(d/2)
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(mathrand.Int64N(int64(d) + 1))
}

// sleep pauses unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
