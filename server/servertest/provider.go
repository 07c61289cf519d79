package servertest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"kith/mimi"
	"kith/server"
	"kith/web/api"
	"kith/web/client"
)

// Net is a world of providers and users in one process: real servers over a network in memory, users with the real
// user agent. Inside synctest the whole world runs on fake time.
type Net struct {
	now       func() time.Time
	providers []*Provider
	users     []*User
}

// NewNet makes an empty world whose clock begins at start.
func NewNet(start time.Time) *Net {
	offset := time.Until(start)
	return &Net{now: func() time.Time { return time.Now().Add(offset) }}
}

// Close stops everybody, the users first.
func (n *Net) Close() error {
	var errs []error
	for _, u := range n.users {
		u.Stop()
	}
	for _, p := range n.providers {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// Provider is a server with a data directory; it can be stopped and started again.
type Provider struct {
	Domain mimi.ProviderID
	Dir    string
	Log    *Log

	net    *Net
	config server.Config

	mu       sync.Mutex
	server   *server.Server
	http     *http.Server
	network  *Network // nil while stopped
	accounts map[string]Account
}

// Log keeps what a server logs.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Provider starts a provider for a domain, with accounts.
func (n *Net) Provider(ctx context.Context, domain, dir string, accounts ...string) (*Provider, error) {
	id, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	p := &Provider{Domain: id, Dir: dir, Log: new(Log), net: n, accounts: map[string]Account{}}
	p.config = server.Config{Domain: domain, Data: dir, Dev: true, Now: n.now, PasswordMemory: 64,
		Log: slog.New(slog.NewTextHandler(p.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	list, err := Accounts(ctx, dir, id, n.now(), accounts...)
	if err != nil {
		return nil, err
	}
	for i, name := range accounts {
		p.accounts[name] = list[i]
	}
	n.providers = append(n.providers, p)
	return p, p.Start(ctx)
}

// Start starts a stopped provider.
func (p *Provider) Start(ctx context.Context) error {
	s, err := server.New(ctx, p.config)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server, p.network = s, NewNetwork()
	p.http = &http.Server{Handler: s.Handler()}
	web, network := p.http, p.network
	go func() { _ = web.Serve(network) }()
	return nil
}

// Stop ends the provider as a supervisor would, except that it leaves no time to its connections.
func (p *Provider) Stop() error {
	p.mu.Lock()
	s, web := p.server, p.http
	p.server, p.http, p.network = nil, nil, nil
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	err := web.Close()
	return errors.Join(err, s.Close(context.Background()))
}

func (p *Provider) current() *Network {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.network
}

// User is a person at one browser: an account, a store that survives, and a session of the real user agent.
type User struct {
	Account Account
	Store   *client.MemStore
	Session *client.Session
	Wire    *Log // every websocket message, both ways

	provider *Provider
	mu       sync.Mutex
	offline  bool
	conns    map[*userConn]bool
	stop     context.CancelFunc
	done     chan struct{}
}

// User opens a browser for an account of the provider. The same account may have several.
func (p *Provider) User(name string) *User {
	u := &User{Account: p.accounts[name], Store: client.NewMemStore(), Wire: new(Log), provider: p, conns: map[*userConn]bool{}}
	p.net.users = append(p.net.users, u)
	u.Start()
	return u
}

// Start starts the session from the store.
func (u *User) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s, done := client.New(client.Config{Store: u.Store, Transport: u, DeviceName: "test", Now: u.provider.net.now}), make(chan struct{})
	u.Session, u.stop, u.done = s, cancel, done
	go func() {
		defer close(done)
		_ = s.Run(ctx) // its error is a matter of its context
	}()
}

// Stop ends the session, as closing the browser does; the store stays.
func (u *User) Stop() {
	u.stop()
	<-u.done
}

// SetOffline takes the network away, or gives it back.
func (u *User) SetOffline(offline bool) {
	u.mu.Lock()
	u.offline = offline
	var conns []*userConn
	for c := range u.conns {
		conns = append(conns, c)
	}
	u.mu.Unlock()
	for _, c := range conns {
		if offline {
			_ = c.Close()
		}
	}
}

// Dial implements client.Transport.
func (u *User) Dial(ctx context.Context) (client.Conn, error) {
	network := u.provider.current()
	u.mu.Lock()
	offline := u.offline
	u.mu.Unlock()
	if offline || network == nil {
		return nil, errors.New("servertest: no network")
	}
	ws, _, err := websocket.Dial(ctx, "http://"+u.provider.Domain.Host()+api.Path, &websocket.DialOptions{
		HTTPClient: network.Client(), HTTPHeader: http.Header{"Cookie": {"kith_session=" + u.Account.Token}},
		CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	c := &userConn{u: u, ws: ws}
	u.mu.Lock()
	u.conns[c] = true
	u.mu.Unlock()
	return c, nil
}

// userConn is a websocket as the user agent wants it.
type userConn struct {
	u  *User
	ws *websocket.Conn
}

// Read implements client.Conn.
func (c *userConn) Read(ctx context.Context) ([]byte, error) {
	_, data, err := c.ws.Read(ctx)
	if code := websocket.CloseStatus(err); code >= 0 {
		return nil, &client.CloseError{Code: int(code), Reason: "closed"}
	}
	_, _ = c.u.Wire.Write(data)
	return data, err
}

// Write implements client.Conn.
func (c *userConn) Write(ctx context.Context, data []byte) error {
	_, _ = c.u.Wire.Write(data)
	return c.ws.Write(ctx, websocket.MessageBinary, data)
}

// Close implements client.Conn.
func (c *userConn) Close() error {
	c.u.mu.Lock()
	delete(c.u.conns, c)
	c.u.mu.Unlock()
	return c.ws.CloseNow()
}
