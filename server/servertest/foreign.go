package servertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"kith/mimi"
)

// Foreign is a provider of another make: it has a name, certificates and an address, and no manners but those that a test
// gives it.
type Foreign struct {
	Domain mimi.ProviderID

	net    *Net
	client *http.Client
	http   *http.Server
	port   *Port
}

// Foreign makes a provider that answers with handler on its domain and on mimi.<domain>, and asks others for a certificate
// as our own do. It speaks the given protocols of HTTP, or HTTP/2 and HTTP/1.1.
func (n *Net) Foreign(domain string, handler http.Handler, protocols ...string) (*Foreign, error) {
	f, err := n.Impostor(domain)
	if err != nil {
		return nil, err
	}
	if f.port, err = n.Internet.Listen(domain, domain, "mimi."+domain); err != nil {
		return nil, err
	}
	f.http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	if len(protocols) == 0 {
		protocols = []string{"h2", "http/1.1"}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Time: n.now, ClientAuth: tls.RequestClientCert, NextProtos: protocols,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return n.CA.Certificate(h.ServerName) }}
	go func() { _ = f.http.Serve(tls.NewListener(f.port, config)) }()
	return f, nil
}

// Impostor is somebody with a certificate for a domain who only asks: the domain's own provider may be there as well.
func (n *Net) Impostor(domain string) (*Foreign, error) {
	id, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	f := &Foreign{Domain: id, net: n}
	f.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: f.dial}}
	return f, nil
}

func (f *Foreign) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := f.net.Internet.Dial(ctx, f.Domain.Host(), address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: f.net.CA.Roots(), Time: f.net.now, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return f.net.CA.Certificate(f.Domain.Host())
		}})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// Close ends it.
func (f *Foreign) Close() error {
	f.client.CloseIdleConnections()
	if f.http == nil {
		return nil
	}
	return errors.Join(f.port.Close(), f.http.Close())
}

// Answer is what a provider has answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post asks a provider for something about a target; change, if not nil, makes the request another one.
func (f *Foreign) Post(ctx context.Context, to *Provider, endpoint, target string, body []byte, change func(*http.Request)) (*Answer, error) {
	at := "https://mimi." + to.Domain.Host() + "/mimi/v1/" + endpoint + "/" + url.PathEscape(target)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = to.Domain.Host()
	r.Header.Set("From", "mimi@"+f.Domain.Host())
	r.Header.Set("Content-Type", "application/octet-stream")
	if change != nil {
		change(r)
	}
	return f.Do(r)
}

// Do sends any request.
func (f *Foreign) Do(r *http.Request) (*Answer, error) {
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return &Answer{resp.StatusCode, resp.Header, answer}, err
}
