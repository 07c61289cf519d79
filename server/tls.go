package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/crypto/acme"
)

// transport is what a provider shows and believes in TLS handshakes. It is made before the database is open, so that a
// server can answer while it starts.
//
// One port serves browsers and other providers. The name that a client asks for tells them apart: only who asks for the
// name of the federation is asked for a certificate of its own (TR-5).
type transport struct {
	cfg        Config
	federation string // the name, see federationAddress
	show       func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	files      *certificateFiles // nil unless certificates are in files
	acme       *autoTLS          // nil unless they are fetched
}

func newTransport(cfg Config) (t *transport, err error) {
	t = &transport{cfg: cfg, federation: cfg.federationHost(), show: noCertificate}
	switch {
	case cfg.Certificate != nil:
		t.show = cfg.Certificate
	case cfg.TLSCert != "":
		if t.files, err = openFiles(cfg); err != nil {
			return nil, err
		}
		t.show = t.files.get
	case cfg.Dev && cfg.Federation == "": // plain HTTP alone
	case cfg.Dev:
		certificate, err := selfSigned(cfg)
		if err != nil {
			return nil, err
		}
		t.show = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
	default:
		t.acme = newAutoTLS(cfg, cfg.Domain, t.federation)
		t.show = t.acme.get
	}
	return t, nil
}

func noCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errors.New("server: there is no certificate")
}

// TLSConfig is what a listener in front of [Server.Handler] needs: it serves browsers and other providers alike.
func (s *Server) TLSConfig() *tls.Config { return s.transport.config() }

func (t *transport) config() *tls.Config {
	web := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.show, NextProtos: []string{"h2", "http/1.1"}, Time: t.cfg.Now}
	federation := t.federationConfig(t.verifyPeer)
	local := t.federationConfig(presented)
	// The authority looks at a self-signed certificate and goes; it has none of its own.
	probe := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.show, NextProtos: []string{acme.ALPNProto}, Time: t.cfg.Now}
	web.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case isProbe(h) && t.acme != nil:
			return probe, nil
		case !strings.EqualFold(h.ServerName, t.federation):
			return nil, nil
		case t.cfg.Dev && onThisMachine(h.Conn):
			return local, nil
		}
		return federation, nil
	}
	return web
}

// isProbe reports whether a certificate authority is looking for the answer to its challenge.
//
// RFC 8737, Section 3
func isProbe(h *tls.ClientHelloInfo) bool {
	return len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == acme.ALPNProto
}

// federationConfig is for other providers: both sides show who they are. Authorities give certificates for servers only,
// which crypto/tls would refuse from a client, so the chain is verified here, and at every handshake: there are no
// tickets. ClientCAs stays nil; a list of authorities would keep some clients from showing what they have.
//
// draft-ietf-mimi-protocol-06, Section 4.1
func (t *transport) federationConfig(verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: t.show, NextProtos: []string{"h2", "http/1.1"}, Time: t.cfg.Now,
		ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true, VerifyConnection: verify}
}

// verifyPeer demands a chain to an authority we believe. Whose certificate it is, is decided for each request.
func (t *transport) verifyPeer(cs tls.ConnectionState) error {
	leaf, err := peerCertificate(&cs)
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: t.cfg.PeerRoots, Intermediates: between, CurrentTime: t.cfg.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return err
}

// presented is content with any certificate: both providers are on this machine and were started to be tried out.
func presented(cs tls.ConnectionState) error {
	_, err := peerCertificate(&cs)
	return err
}

var errNoPeer = errors.New("server: the connection shows no provider's certificate")

// peerCertificate returns the certificate of the provider at the other end. That its chain is good was verified in the
// handshake, on connections for the name of the federation only.
func peerCertificate(cs *tls.ConnectionState) (*x509.Certificate, error) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return nil, errNoPeer
	}
	return cs.PeerCertificates[0], nil
}

// verifyPeerName demands that a certificate authenticates a provider's domain: one of its dNSNames is the domain.
// Only the name that the request claims is looked for; the list of names never tells who somebody is.
//
// draft-ietf-mimi-protocol-06, Section 4.1
// RFC 6125, Section 6.4
func verifyPeerName(cert *x509.Certificate, domain string) error {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return fmt.Errorf("server: %q is no domain name", domain)
	}
	return cert.VerifyHostname(domain)
}

// peerTLS is for connections to other providers. The certificate of our domain is shown to whoever asks for one.
func (s *Server) peerTLS() *tls.Config { return s.transport.peer() }

func (t *transport) peer() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: t.cfg.PeerRoots, NextProtos: []string{"h2", "http/1.1"}, Time: t.cfg.Now,
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// As if somebody had asked for our domain in TLS 1.3, by a client that knows ECDSA.
			return t.show(&tls.ClientHelloInfo{ServerName: t.cfg.Domain, SupportedVersions: []uint16{tls.VersionTLS13},
				SignatureSchemes: r.SignatureSchemes, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
		}}
}

// peerDialer makes TLS connections to other providers on those that dial makes, for http.Transport.DialTLSContext. It
// differs from peerTLS in one thing: on a server that is tried out, certificates of providers on this machine need no
// authority.
func (s *Server) peerDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		config := s.peerTLS()
		config.ServerName = host
		if s.cfg.Dev && onThisMachine(raw) {
			config.InsecureSkipVerify = true
			config.VerifyConnection = func(cs tls.ConnectionState) error { return verifyPeerName(cs.PeerCertificates[0], host) }
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return conn, nil
	}
}

func onThisMachine(c net.Conn) bool {
	if c == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// byServerName hands requests to the side that the TLS connection was made for. The Host header must agree: otherwise who
// connects as a browser, without a certificate, could ask for what is for providers.
//
// RFC 9110, Section 15.5.20
func (s *Server) byServerName(web, federation http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.TLS == nil: // plain HTTP, on this machine only
			web.ServeHTTP(w, r)
		case misdirected(r, s.transport.federation, s.cfg.Domain):
			plain(w, http.StatusMisdirectedRequest, "This connection was made for another name.\n")
		case strings.EqualFold(r.TLS.ServerName, s.transport.federation):
			federation.ServeHTTP(w, r)
		default:
			web.ServeHTTP(w, r)
		}
	})
}

// misdirected reports whether a request is for another name than its connection; ports do not matter. Providers may name
// our domain or the host of the federation: both are us, and both are asked for a certificate.
//
// draft-ietf-mimi-protocol-06, Section 4.1
func misdirected(r *http.Request, federation, domain string) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name := r.TLS.ServerName
	if name == "" { // who asks for an address names none in the handshake
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		return err != nil
	}
	return !strings.EqualFold(host, name) && !(strings.EqualFold(name, federation) && strings.EqualFold(host, domain))
}
