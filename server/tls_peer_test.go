package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// opened is a whole provider on a port of this machine, and how to ask it.
type opened struct {
	*Server
	address string
}

// open starts a provider with certificates of ca. Other providers are where net says.
func (ca *testCA) open(domain string, network map[string]string) *opened {
	ca.Helper()
	cfg := ca.provider(domain).cfg
	cfg.Data, cfg.PasswordMemory = ca.TempDir(), 64
	cfg.PeerDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		if to, ok := network[host]; ok {
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		}
		return nil, errors.New("no such host")
	}
	s, err := New(ca.Context(), cfg)
	if err != nil {
		ca.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ca.Fatal(err)
	}
	server := newHTTPServer(s.Handler(), s.log)
	go func() { _ = server.Serve(tls.NewListener(l, s.TLSConfig())) }()
	ca.Cleanup(func() {
		_ = server.Close()
		if err := s.Close(context.WithoutCancel(ca.Context())); err != nil {
			ca.Error(err)
		}
	})
	return &opened{s, l.Addr().String()}
}

// post asks under a server name, with a certificate and From headers.
func (o *opened) post(t *testing.T, name string, config *tls.Config, path string, from ...string) (int, string) {
	t.Helper()
	config = config.Clone()
	config.ServerName = name
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", o.address)
		}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+name+path, strings.NewReader("no request"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["From"] = from
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s as %q: %v", path, from, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Who asks is who the certificate is for; From only says which of its names is meant.
func TestTR2TR3FromIsTheCertificates(t *testing.T) {
	ca := newTestCA(t)
	b := ca.open("b.example", nil)
	a := ca.provider("a.example").peer()
	path := federationPrefix + endpointIdentifierQuery + "/" + url.PathEscape("mimi://nobody.example") // not us: not found
	for _, c := range []struct {
		from   []string
		status int
	}{
		{[]string{"mimi@a.example"}, http.StatusNotFound},
		{[]string{"mimi@c.example"}, http.StatusForbidden},
		{[]string{"mimi@b.example"}, http.StatusForbidden}, // ourselves
		{[]string{"mimi@mimi.a.example"}, http.StatusForbidden},
		{[]string{"mimi@sub.a.example"}, http.StatusForbidden},
		{nil, http.StatusBadRequest},
		{[]string{""}, http.StatusBadRequest},
		{[]string{"a.example"}, http.StatusBadRequest},
		{[]string{"alice@a.example"}, http.StatusBadRequest},
		{[]string{"MIMI@a.example"}, http.StatusBadRequest},
		{[]string{"mimi@a.example, mimi@c.example"}, http.StatusBadRequest},
		{[]string{"mimi@a.example", "mimi@c.example"}, http.StatusBadRequest},
		{[]string{"Mimi <mimi@a.example>"}, http.StatusBadRequest},
	} {
		if status, body := b.post(t, "mimi.b.example", a, path, c.from...); status != c.status || status == http.StatusNotFound && body != opUnknown.code+"\n" {
			t.Errorf("From %q: %d %s", c.from, status, body)
		}
	}
	// Over a browser's connection there is no such path.
	if status, body := b.post(t, "b.example", a, path, "mimi@a.example"); status != http.StatusNotFound || body == opUnknown.code+"\n" {
		t.Errorf("over a connection without a certificate: %d %s", status, body)
	}
	// And over a provider's connection there are no pages.
	if status, body := b.post(t, "mimi.b.example", a, "/signin", "mimi@a.example"); status != http.StatusNotFound {
		t.Errorf("a page: %d %s", status, body)
	}
}

// A certificate for the host that a provider's own directory names is as good as one for its domain, but only for that
// provider.
func TestTR4DelegatedHost(t *testing.T) {
	ca := newTestCA(t)
	network := map[string]string{}
	b := ca.open("b.example", network)
	a := ca.open("a.example", network)
	network["a.example"], network["mimi.a.example"] = a.address, a.address
	shown := ca.leaf("mimi.a.example")
	client := &tls.Config{RootCAs: ca.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }}
	path := federationPrefix + endpointIdentifierQuery + "/" + url.PathEscape("mimi://nobody.example") // not us: not found
	if status, body := b.post(t, "mimi.b.example", client, path, "mimi@a.example"); status != http.StatusNotFound || body != opUnknown.code+"\n" {
		t.Errorf("the host that a's directory names: %d %s", status, body)
	}
	shown = ca.leaf("other.example")
	if status, body := b.post(t, "mimi.b.example", client, path, "mimi@a.example"); status != http.StatusForbidden {
		t.Errorf("another host: %d %s", status, body)
	}
}
