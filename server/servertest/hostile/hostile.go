// Package hostile is a provider that speaks the protocol and lies. It has a domain, a certificate that is in order, an
// identity authority and devices with MLS keys, all those of a real provider, so that nothing but the lie itself is a
// reason to refuse it; [Peer.Ask] says to others whatever it likes. It is used by tests only.
package hostile

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/server/servertest"
	"kith/web/api"
)

// Peer is a hostile provider.
type Peer struct {
	*servertest.Provider
	net       *servertest.Net
	key       ed25519.PrivateKey // of its identity authority
	root      *x509.Certificate
	directory atomic.Pointer[http.HandlerFunc]
	kept      http.Client
}

// New starts a hostile provider for a domain, with accounts.
func New(ctx context.Context, n *servertest.Net, domain, dir string, accounts ...string) (*Peer, error) {
	p := &Peer{net: n}
	p.kept.Transport = &http.Transport{DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := mimi.NewProviderID(strings.TrimSuffix(strings.TrimPrefix(address, "mimi."), ":443"))
		if err != nil {
			return nil, err
		}
		return p.Connect(ctx, Request{To: to})
	}}
	var err error
	if p.Provider, err = n.Provider(ctx, domain, dir, accounts...); err != nil {
		return nil, err
	}
	p.InFront(p.between)
	var seed, cert []byte
	err = p.Read(ctx, func(tx *db.Tx) (err error) {
		if seed, err = tx.Setting("identity_root_key"); err == nil {
			cert, err = tx.Setting("identity_root_certificate")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.key = ed25519.NewKeyFromSeed(seed)
	p.root, err = x509.ParseCertificate(cert)
	return p, err
}

// between stands before the real provider: a directory of its own may be shown in place of the true one.
func (p *Peer) between(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d := p.directory.Load(); d != nil && r.URL.Path == "/.well-known/mimi-protocol-directory" {
			(*d)(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ShowDirectory answers who asks for the directory; nil shows the true one again.
func (p *Peer) ShowDirectory(h http.HandlerFunc) {
	if h == nil {
		p.directory.Store(nil)
		return
	}
	p.directory.Store(&h)
}

// Request is what a hostile provider asks another one. Where a field is empty, it is as it should be.
type Request struct {
	To          mimi.ProviderID
	Endpoint    string
	Target      string   // the identifier in the path
	Path        string   // the whole path instead
	From        []string // From headers
	Host        string
	Server      string           // name asked for in the handshake
	Certificate *tls.Certificate // shown there
	Anonymous   bool             // no certificate is shown
	Keep        bool             // over the connection of the last such request, if it is still there
	Body        io.Reader
}

// Answer is what came back.
type Answer struct {
	Status int
	Body   []byte
	Header http.Header
}

// Ask sends a request, over a connection of its own unless it says otherwise.
func (p *Peer) Ask(ctx context.Context, r Request) (*Answer, error) {
	host := "mimi." + r.To.Host()
	path := r.Path
	if path == "" {
		path = "/mimi/v1/" + r.Endpoint + "/" + url.PathEscape(r.Target)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+path, r.Body)
	if err != nil {
		return nil, err
	}
	req.Host = r.Host
	if r.Host == "" {
		req.Host = r.To.Host()
	}
	req.Header["From"] = r.From
	if r.From == nil {
		req.Header.Set("From", "mimi@"+p.Domain.Host())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Connect(ctx, r) }}}
	if r.Keep {
		client = &p.kept
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &Answer{resp.StatusCode, body, resp.Header}, err
}

// Close ends the connections that were kept.
func (p *Peer) Close() { p.kept.CloseIdleConnections() }

// Connect makes the connection that a request needs.
func (p *Peer) Connect(ctx context.Context, r Request) (*tls.Conn, error) {
	raw, err := p.net.Internet.Dial(ctx, p.Domain.Host(), r.To.Host()+":443")
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: p.net.CA.Roots(), Time: p.net.Now, ServerName: r.Server, NextProtos: []string{"http/1.1"}}
	if cfg.ServerName == "" {
		cfg.ServerName = "mimi." + r.To.Host()
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		switch {
		case r.Anonymous:
			return new(tls.Certificate), nil
		case r.Certificate != nil:
			return r.Certificate, nil
		}
		return p.net.CA.Certificate(p.Domain.Host())
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// Certify lets the authority of the provider vouch for anybody's device, other providers' users included.
func (p *Peer) Certify(client mimi.ClientID, user mimi.UserID, key mls.SignaturePublicKey) ([]byte, error) {
	var uris []*url.URL
	for _, s := range []string{client.String(), user.String()} {
		u, err := url.Parse(s)
		if err != nil {
			return nil, err
		}
		uris = append(uris, u)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	now := p.net.Now()
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "device"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, URIs: uris}
	return x509.CreateCertificate(rand.Reader, t, p.root, ed25519.PublicKey(key), p.key)
}

// Usurp lets another authority vouch for devices from now on.
func (p *Peer) Usurp(root *x509.Certificate, key ed25519.PrivateKey) { p.root, p.key = root, key }

// Lie starts the provider anew with certificates of an authority that nobody believes.
func (p *Peer) Lie() error {
	ca, err := servertest.NewCA(p.net.Now)
	if err != nil {
		return err
	}
	p.SetCA(ca)
	return errors.Join(p.Stop(), p.Start(context.Background()))
}

// Device is a device at the hostile provider, whose requests can be sent by any way.
type Device struct {
	*servertest.Device
	Conn *servertest.Conn
}

// Device makes a device of an account; it believes the authorities of the given providers.
func (p *Peer) Device(ctx context.Context, account string, trusted ...*servertest.Provider) (*Device, error) {
	a, ok := p.Account(account)
	if !ok {
		return nil, fmt.Errorf("hostile: no account %q", account)
	}
	conn, err := servertest.Dial(ctx, p.net.Client(account+"@"+p.Domain.Host()), "https://"+p.Domain.Host(), a)
	if err != nil {
		return nil, err
	}
	d, err := servertest.Register(ctx, conn, a, p.net.Now)
	if err != nil {
		return nil, err
	}
	for _, other := range trusted {
		root, err := other.Root(ctx)
		if err == nil {
			err = d.Trust(root)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := d.Hello(ctx, conn); err != nil {
		return nil, err
	}
	return &Device{d, conn}, d.Publish(ctx, conn, 20)
}

// Grant lets somebody add the device's user to rooms.
func (d *Device) Grant(ctx context.Context, to mimi.UserID) error {
	e := wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: to, TargetURI: d.User}
	body, err := e.Bytes()
	if err == nil {
		_, err = d.Conn.Call(ctx, api.OpConsent, "", body)
	}
	return err
}

// Enter takes events until the device is in a room.
func (d *Device) Enter(ctx context.Context, room mimi.RoomID) error {
	for d.Rooms[room] == nil {
		if _, err := d.Receive(ctx, d.Conn); err != nil {
			return err
		}
	}
	return nil
}
