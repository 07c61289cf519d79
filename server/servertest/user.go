package servertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"kith/mimi"
	"kith/web/api"
	"kith/web/client"
)

// User is a person at one browser: an account, a store that survives, and a session of the real user agent.
type User struct {
	Account Account
	Name    string // of the device, for tests: alice/1
	Store   *client.MemStore
	Session *client.Session
	Wire    *Log // every websocket message, both ways

	provider *Provider // nil for a UserAt
	clock    func() time.Time
	base     string // how the provider's URLs begin
	http     *http.Client
	skew     atomic.Int64
	mu       sync.Mutex
	offline  bool
	conns    map[*userConn]bool
	stop     context.CancelFunc
	done     chan struct{}
}

// User opens a browser for an account of the provider. The same account may have several.
func (p *Provider) User(name string) *User {
	n := 1
	for _, u := range p.net.users {
		if u.Account.User == p.accounts[name].User {
			n++
		}
	}
	u := &User{Account: p.accounts[name], Name: fmt.Sprintf("%s/%d", name, n), Store: client.NewMemStore(), Wire: new(Log),
		provider: p, clock: p.net.now, base: "https://" + p.Domain.Host(), conns: map[*userConn]bool{}}
	u.http = p.net.Client(u.place())
	p.net.users = append(p.net.users, u)
	u.Start()
	return u
}

// UserAt opens a browser for an account of a provider that is no part of a [Net]: a program on a real network, whose
// URLs begin with base and which is reached by an HTTP client.
func UserAt(a Account, name, base string, network *http.Client) *User {
	u := &User{Account: a, Name: name, Store: client.NewMemStore(), Wire: new(Log), clock: time.Now, base: base, http: network, conns: map[*userConn]bool{}}
	u.Start()
	return u
}

// place is the device's own, so that its link can have faults of its own.
func (u *User) place() string { return u.Name + "@" + u.provider.Domain.Host() }

// Link is what lies between the device and its provider.
func (u *User) Link() *Link { return u.provider.net.Internet.Link(u.place(), u.provider.Domain.Host()) }

// Client returns an HTTP client at a place, which trusts the world's authority. Each request has a connection of its own.
func (n *Net) Client(place string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: n.Internet.Dialer(place), DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: n.CA.Roots(), Time: n.now}}}
}

// Page asks the provider for a page as the user's browser does, with a form if there is one, and returns its status and text.
func (u *User) Page(ctx context.Context, path string, form url.Values) (int, string, error) {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, u.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Cookie", "kith_session="+u.Account.Token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := u.http.Transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// SetSkew sets the clock of the device wrong by so much.
func (u *User) SetSkew(d time.Duration) { u.skew.Store(int64(d)) }

func (u *User) now() time.Time { return u.clock().Add(time.Duration(u.skew.Load())) }

// Start starts the session from the store.
func (u *User) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s, done := client.New(client.Config{Store: u.Store, Transport: u, DeviceName: "test", Now: u.now}), make(chan struct{})
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
	u.mu.Lock()
	offline := u.offline
	u.mu.Unlock()
	if offline {
		return nil, errors.New("servertest: no network")
	}
	ws, _, err := websocket.Dial(ctx, u.base+api.Path, &websocket.DialOptions{
		HTTPClient: u.http, HTTPHeader: http.Header{"Cookie": {"kith_session=" + u.Account.Token}},
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

// Acquaint lets all these users add each other to rooms, as people do who know each other.
func Acquaint(ctx context.Context, users ...*User) error {
	said := make(map[[2]mimi.UserID]bool) // by one device of each is enough
	for _, u := range users {
		for _, other := range users {
			pair := [2]mimi.UserID{u.Account.User, other.Account.User}
			if pair[0].Provider() == pair[1].Provider() || said[pair] {
				continue
			}
			said[pair] = true
			if err := u.Session.AcceptRequest(ctx, other.Account.User.String(), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// Another opens a further browser for the same account of a [Provider].
func (u *User) Another() *User { return u.provider.User(u.Account.User.Name()) }
