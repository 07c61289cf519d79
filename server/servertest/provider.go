package servertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/server"
)

// Provider is a server with a data directory; it can be stopped, killed and started again.
type Provider struct {
	Domain mimi.ProviderID
	Dir    string // where its data are now: elsewhere after each kill
	Log    *Log

	net    *Net
	base   string
	kills  int
	ca     atomic.Pointer[CA] // who certifies it
	skew   atomic.Int64       // of its clock, nanoseconds
	adjust func(*server.Config)

	mu       sync.Mutex
	inFront  func(http.Handler) http.Handler
	life     *life // nil while it does not run
	accounts map[string]Account
}

// life is a provider from its start to its end.
type life struct {
	server *server.Server
	http   *http.Server
	port   *Port
	dead   atomic.Bool // killed: nothing it does is seen by anybody any more
}

// Provider starts a provider for a domain, with accounts.
func (n *Net) Provider(ctx context.Context, domain, dir string, accounts ...string) (*Provider, error) {
	return n.ProviderWith(ctx, domain, dir, nil, accounts...)
}

// ProviderWith is Provider with another configuration than the usual one.
func (n *Net) ProviderWith(ctx context.Context, domain, dir string, adjust func(*server.Config), accounts ...string) (*Provider, error) {
	return n.provider(ctx, &Provider{adjust: adjust}, domain, dir, accounts)
}

func (n *Net) provider(ctx context.Context, p *Provider, domain, dir string, accounts []string) (*Provider, error) {
	id, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	p.Domain, p.Dir, p.Log, p.net, p.base, p.accounts = id, filepath.Join(dir, "0"), new(Log), n, dir, map[string]Account{}
	p.ca.Store(n.CA)
	list, err := Accounts(ctx, p.Dir, id, n.now(), accounts...)
	if err != nil {
		return nil, err
	}
	for i, name := range accounts {
		p.accounts[name] = list[i]
	}
	n.providers = append(n.providers, p)
	return p, p.Start(ctx)
}

// now is what the provider's clock shows.
func (p *Provider) now() time.Time { return p.net.now().Add(time.Duration(p.skew.Load())) }

// SetSkew sets the provider's clock wrong by so much.
func (p *Provider) SetSkew(d time.Duration) { p.skew.Store(int64(d)) }

// SetCA lets another authority certify the provider from now on.
func (p *Provider) SetCA(ca *CA) { p.ca.Store(ca) }

// Names are the host names under which the provider is reached.
func (p *Provider) Names() []string { return []string{p.Domain.Host(), "mimi." + p.Domain.Host()} }

func (p *Provider) config(l *life) server.Config {
	c := server.Config{Domain: p.Domain.Host(), Data: p.Dir, Now: p.now, PasswordMemory: 64,
		Log:         slog.New(slog.NewTextHandler(p.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Certificate: p.certificate, PeerRoots: p.net.CA.Roots(),
		PeerDial: func(ctx context.Context, _, address string) (net.Conn, error) {
			if l.dead.Load() {
				return nil, refusal()
			}
			conn, err := p.net.Internet.Dial(ctx, p.Domain.Host(), address)
			if err == nil && l.dead.Load() {
				return nil, errors.Join(refusal(), conn.Close())
			}
			return conn, err
		}}
	if p.adjust != nil {
		p.adjust(&c)
	}
	return c
}

// certificate returns the certificate of one of the provider's names.
func (p *Provider) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, name := range p.Names() {
		if strings.EqualFold(h.ServerName, name) {
			return p.ca.Load().Certificate(name)
		}
	}
	return nil, fmt.Errorf("servertest: no certificate for %q", h.ServerName)
}

// Running says whether the provider is up.
func (p *Provider) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life != nil
}

// Start starts a stopped provider.
func (p *Provider) Start(ctx context.Context) error {
	l := new(life)
	s, err := server.New(ctx, p.config(l))
	if err != nil {
		return err
	}
	l.server = s
	if l.port, err = p.net.Internet.Listen(p.Domain.Host(), p.Names()...); err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	l.http = s.HTTPServer(p.withMishaps(p.behind(s.Handler())))
	listener := tls.NewListener(l.port, s.TLSConfig())
	p.mu.Lock()
	p.life = l
	p.mu.Unlock()
	go func() { _ = l.http.Serve(listener) }()
	return nil
}

func (p *Provider) end() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.life
	p.life = nil
	return l
}

// Stop ends the provider as a supervisor would, except that it leaves no time to its connections.
func (p *Provider) Stop() error {
	l := p.end()
	if l == nil {
		return nil
	}
	err := l.http.Close()
	return errors.Join(err, l.server.Close(context.Background()))
}

// Kill ends the provider as SIGKILL does: its connections break, and what it had written by then is what the next Start
// finds. What it does after that nobody sees: it works on without a network, on files that are thrown away.
func (p *Provider) Kill() error {
	l := p.end()
	if l == nil {
		return nil
	}
	l.dead.Store(true)
	_ = l.port.Close()
	p.net.Internet.Break(p.Domain.Host()) // from here on it can promise nothing to anybody
	old := p.Dir
	p.kills++
	p.Dir = filepath.Join(p.base, fmt.Sprint(p.kills))
	err := snapshot(old, p.Dir)
	p.net.Internet.Break(p.Domain.Host()) // what was being accepted or dialled just then
	err = errors.Join(err, l.http.Close(), l.server.Close(context.Background()))
	return errors.Join(err, os.RemoveAll(old))
}

// snapshot copies a data directory as it is at one moment. It holds the database's write lock meanwhile, so that the log
// is whole; a checkpoint may go on, but only brings over what is in the log too.
func snapshot(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	store, err := db.Open(context.Background(), from, db.Options{})
	if err != nil {
		return err
	}
	err = store.Write(context.Background(), func(*db.Tx) error {
		return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
			name := strings.TrimPrefix(path, from)
			switch {
			case err != nil:
				return err
			case entry.IsDir():
				return os.MkdirAll(filepath.Join(to, name), 0o700)
			case strings.HasSuffix(name, "-shm") || strings.Contains(name, ".lock"):
				return nil // these say who uses the files, not what is in them
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, name), data, 0o600)
		})
	})
	return errors.Join(err, store.Close())
}

// Account is the account of a name.
func (p *Provider) Account(name string) (Account, bool) {
	a, ok := p.accounts[name]
	return a, ok
}

// Root is the provider's identity authority.
func (p *Provider) Root(ctx context.Context) (der []byte, err error) {
	err = p.Read(ctx, func(tx *db.Tx) (err error) {
		der, err = tx.Setting("identity_root_certificate")
		return err
	})
	return der, err
}

// Read looks into the provider's database, whether it runs or not.
func (p *Provider) Read(ctx context.Context, fn func(*db.Tx) error) error {
	store, err := db.Open(ctx, p.Dir, db.Options{Now: p.now})
	if err != nil {
		return err
	}
	return errors.Join(store.Read(ctx, fn), store.Close())
}

// InFront puts a handler in front of the provider's own, now and after each start; nil takes it away.
func (p *Provider) InFront(wrap func(next http.Handler) http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFront = wrap
}

func (p *Provider) behind(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		wrap := p.inFront
		p.mu.Unlock()
		if wrap == nil {
			next.ServeHTTP(w, r)
			return
		}
		wrap(next).ServeHTTP(w, r)
	})
}

// withMishaps lets happen to requests of other providers what their link has in store: an answer gets lost after the
// request was carried out, or a request arrives twice.
func (p *Provider) withMishaps(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, from, ok := strings.Cut(r.Header.Get("From"), "@")
		if !ok || r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		p.net.asked(from, p.Domain.Host(), r.URL.Path)
		repeat, lose := p.net.Internet.Link(from, p.Domain.Host()).mishap()
		if repeat {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			first := r.Clone(r.Context())
			first.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(&nobody{header: http.Header{}}, first)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		if lose {
			next.ServeHTTP(&nobody{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// nobody is to whom a lost answer goes.
type nobody struct{ header http.Header }

// Header implements http.ResponseWriter.
func (n *nobody) Header() http.Header { return n.header }

// Write implements http.ResponseWriter.
func (n *nobody) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (n *nobody) WriteHeader(int) {}
