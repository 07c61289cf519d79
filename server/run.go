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
	"sync"
	"sync/atomic"
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
	if cfg.transport, err = newTransport(cfg); err != nil {
		return err
	}
	listeners, err := cfg.listen()
	if err != nil {
		return err
	}
	// A migration may take a while; until it is done the server says so instead of being silent.
	var current atomic.Value
	current.Store(http.HandlerFunc(starting))
	httpServer := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current.Load().(http.HandlerFunc)(w, r)
	}), cfg.Log)
	failed := make(chan error, len(listeners)+1)
	for _, l := range listeners {
		go func() { failed <- httpServer.Serve(l) }()
	}
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

// listen opens the address for browsers and, where it is another one, that for other providers, and notes in c where
// they are.
func (c *Config) listen() (all []net.Listener, err error) {
	federation, err := c.federation()
	if err != nil {
		return nil, err
	}
	open := func(address string, secure bool) (at string) {
		l, e := net.Listen("tcp", address)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("server: cannot listen on %s: %w", address, cause(e)))
			return address
		}
		at = l.Addr().String()
		if secure {
			l = tls.NewListener(l, c.transport.config())
		}
		all = append(all, l)
		return at
	}
	c.Listen = open(c.Listen, !c.Dev)
	if federation.listen != "" {
		if at := open(federation.listen, true); federation.host == "mimi."+c.Domain {
			c.Federation = at
		}
	}
	if err != nil {
		for _, l := range all {
			_ = l.Close()
		}
		return nil, err
	}
	return all, nil
}

// serve opens the provider behind a server that listens already, waits for ctx and stops.
func serve(ctx context.Context, cfg Config, httpServer *http.Server, current *atomic.Value, out io.Writer, failed <-chan error) error {
	s, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	if cfg.transport.acme != nil {
		cfg.transport.acme.start(s.db)
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

// redirect sends plain HTTP to HTTPS, where that was asked for, and answers the certificate authority there.
func redirect(cfg Config, failed chan<- error) (*http.Server, error) {
	if cfg.ListenHTTP == "" || cfg.Dev {
		return nil, nil
	}
	listener, err := net.Listen("tcp", cfg.ListenHTTP)
	if err != nil {
		return nil, fmt.Errorf("server: cannot listen on %s: %w", cfg.ListenHTTP, cause(err))
	}
	base := cfg.baseURL(cfg.Listen)
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, base+r.URL.RequestURI(), http.StatusMovedPermanently)
	})
	if cfg.transport.acme != nil {
		handler = cfg.transport.acme.http(handler)
	}
	server := newHTTPServer(handler, cfg.Log)
	go func() { failed <- server.Serve(listener) }()
	return server, nil
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
