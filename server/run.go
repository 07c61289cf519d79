package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Run serves a provider until ctx ends, and then stops in good order: it takes no more requests, tells the sockets to go
// and writes down what is queued, all within ten seconds. out is for what the operator has to do next.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	if err := cfg.canServe(); err != nil {
		return err
	}
	if cfg.Federation != "" || cfg.ACMEDirectory != "" || cfg.ACMEEmail != "" {
		cfg.Log.Warn("-federation and -acme-… do nothing in this version yet")
	}
	secure, err := cfg.tls()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("server: cannot listen on %s: %w", cfg.Listen, cause(err))
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	cfg.Listen = listener.Addr().String()
	// A migration may take a while; until it is done the server says so instead of being silent.
	var current atomic.Value
	current.Store(http.HandlerFunc(starting))
	httpServer := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current.Load().(http.HandlerFunc)(w, r)
	}), cfg.Log)
	failed := make(chan error, 2)
	go func() { failed <- httpServer.Serve(listener) }()
	redirects, err := redirect(cfg, failed)
	if err == nil {
		err = serve(ctx, cfg, httpServer, &current, out, failed)
	}
	_ = httpServer.Close() // whatever is left after a stop in good order
	if redirects != nil {
		_ = redirects.Close()
	}
	return err
}

// serve opens the provider behind a server that listens already, waits for ctx and stops.
func serve(ctx context.Context, cfg Config, httpServer *http.Server, current *atomic.Value, out io.Writer, failed <-chan error) error {
	s, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	current.Store(http.HandlerFunc(s.Handler().ServeHTTP))
	s.log.Info("serving", "listen", cfg.Listen, "dev", cfg.Dev)
	if err = s.invite(ctx, out); err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
			err = fmt.Errorf("server: stopped listening: %w", cause(err))
		}
	}
	s.log.Info("stopping")
	s.state.Store(stateStopping)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = httpServer.Shutdown(drain) }) // what is not done by then is cut off
	closed := s.chat.Close(drain)
	wg.Wait()
	return errors.Join(err, closed, s.release())
}

// starting answers until the provider is open.
func starting(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "2")
	switch r.URL.Path {
	case "/healthz":
		health(w, r)
	case "/readyz":
		plain(w, http.StatusServiceUnavailable, stateMigrating+"\n")
	default:
		plain(w, http.StatusServiceUnavailable, "Kith is starting. Please try again in a moment.\n")
	}
}

// redirect sends plain HTTP to HTTPS, where that was asked for.
func redirect(cfg Config, failed chan<- error) (*http.Server, error) {
	if cfg.ListenHTTP == "" || cfg.Dev {
		return nil, nil
	}
	listener, err := net.Listen("tcp", cfg.ListenHTTP)
	if err != nil {
		return nil, fmt.Errorf("server: cannot listen on %s: %w", cfg.ListenHTTP, cause(err))
	}
	base := cfg.baseURL(cfg.Listen)
	server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, base+r.URL.RequestURI(), http.StatusMovedPermanently)
	}), cfg.Log)
	go func() { failed <- server.Serve(listener) }()
	return server, nil
}

// tls loads the certificate from its files, and again whenever they have changed, so that a renewal needs no restart.
func (c Config) tls() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	f := &certificateFiles{cert: c.TLSCert, key: c.TLSKey, now: c.Now, log: c.Log}
	if _, err := f.get(nil); err != nil {
		return nil, fmt.Errorf("server: certificate of -tls-cert and -tls-key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.get, NextProtos: []string{"h2", "http/1.1"}}, nil
}

type certificateFiles struct {
	cert, key string
	now       func() time.Time
	log       *slog.Logger

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	current *tls.Certificate
}

// get looks at the files at most once a minute. A broken pair never replaces one that works.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.current != nil && now.Sub(f.checked).Abs() < time.Minute {
		return f.current, nil
	}
	f.checked = now
	changed := f.changed
	for _, name := range []string{f.cert, f.key} {
		if fi, err := os.Stat(name); err == nil && fi.ModTime().After(changed) {
			changed = fi.ModTime()
		}
	}
	if f.current != nil && changed.Equal(f.changed) {
		return f.current, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		if f.current != nil {
			f.log.Error("new certificate is not usable, keeping the old one", "error", err.Error())
			return f.current, nil
		}
		return nil, err
	}
	f.current, f.changed = &pair, changed
	return f.current, nil
}

// cause strips what the operator knows already from a network error.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// dropText keeps net/http's own messages out of the log but for the fact: they quote what clients sent.
type dropText struct{ slog.Handler }

// Handle logs that a connection failed.
func (h dropText) Handle(ctx context.Context, r slog.Record) error {
	return h.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "connection failed", r.PC))
}
