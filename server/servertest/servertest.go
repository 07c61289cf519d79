// Package servertest drives a provider from outside, as devices do: real websockets, real frames, real MLS groups, over
// any network, the one in memory included. [Accounts] prepares a data directory, [Conn] is a websocket, [Device] is a
// device with its keys and groups.
//
// It is a second, simpler client beside web/client: it keeps everything in memory, does one thing at a time and shows
// its caller every frame, so that tests can misbehave at any point. It is used by tests and by the benchmark only.
package servertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"kith/db"
	"kith/mimi"
)

// Account is a person with an account and a signed-in browser.
type Account struct {
	User    mimi.UserID
	Token   string // of the session cookie
	Session int64
}

// Accounts makes accounts with a session each in the database of dir, which may belong to a running server or to none. The
// first one is an administrator.
func Accounts(ctx context.Context, dir string, domain mimi.ProviderID, now time.Time, names ...string) ([]Account, error) {
	store, err := db.Open(ctx, dir, db.Options{Now: func() time.Time { return now }})
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, len(names))
	err = store.Write(ctx, func(tx *db.Tx) error {
		for i, name := range names {
			if accounts[i], err = account(tx, domain, now, name, i == 0); err != nil {
				return err
			}
		}
		return nil
	})
	return accounts, errors.Join(err, store.Close())
}

func account(tx *db.Tx, domain mimi.ProviderID, now time.Time, name string, admin bool) (Account, error) {
	user, err := mimi.NewUserID(domain, name)
	if err != nil {
		return Account{}, err
	}
	id, err := tx.AddAccount(db.Account{Username: name, DisplayName: "Display " + name, Admin: admin, CreatedAt: now.UnixMilli()})
	if err != nil {
		return Account{}, err
	}
	secret := sha256.Sum256([]byte("session of " + name))
	token := base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(token))
	session, err := tx.AddSession(db.Session{Hash: hash[:], Account: id, CreatedAt: now.UnixMilli(), SeenAt: now.UnixMilli(),
		ExpiresAt: now.Add(90 * 24 * time.Hour).UnixMilli()}, 10)
	return Account{User: user, Token: token, Session: session}, err
}

// Network is a network in memory with one server in it. It works inside testing/synctest, where sockets do not.
type Network struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewNetwork returns a network without connections.
func NewNetwork() *Network {
	return &Network{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener for the server.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that exist stay.
func (n *Network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// Dial connects to the server.
func (n *Network) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.accept <- server:
		return client, nil
	case <-n.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Client returns an HTTP client whose requests go over the network.
func (n *Network) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
}

// StatusError is a response that is not api.StatusOK.
type StatusError struct {
	Status uint16
	Code   string
}

// Error says what was refused.
func (e *StatusError) Error() string {
	return fmt.Sprintf("servertest: status %d %s", e.Status, e.Code)
}
