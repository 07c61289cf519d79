// Package acmetest runs a whole ACME certificate authority (pebble) in the process of a test, with a DNS server of its
// own that tells it where names are. It validates for real: it connects to the ports of whoever asks for a certificate.
//
// All providers of a test use the same two ports, each on an address of its own:
//
//	ca := acmetest.Start(t, acmetest.Options{Hosts: map[string]string{"a.example": "127.0.0.2", "b.example": "127.0.0.3"},
//		TLSPort: 443, HTTPPort: 80})
//
// A name that is not listed is where the name above it is, so mimi.a.example is at 127.0.0.2 too. Inside the process,
// server.Config takes ca.DirectoryURL as ACMEDirectory and ca.Pool() as PeerRoots. A program is started with
//
//	SSL_CERT_FILE=ROOTS kith -domain a.example -data DIR -listen 127.0.0.2:443 -listen-http 127.0.0.2:80 -acme-directory URL
//
// where ROOTS is ca.RootsFile(t) and URL is ca.DirectoryURL: the file has the roots of the certificates that are issued
// and of the authority's own. For the providers to find each other, /etc/hosts needs each domain and its mimi. name at
// its address (ca.HostsFile() has the lines); low ports need the right to use them.
package acmetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pebbleca "github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// Options say where the authority finds those who ask it.
type Options struct {
	Hosts    map[string]string // name to address; see [CA.Point]
	TLSPort  int               // where it looks for tls-alpn-01
	HTTPPort int               // where it looks for http-01
	Lifetime time.Duration     // of certificates; 90 days if zero
}

// CA is a certificate authority that runs until its test ends.
type CA struct {
	DirectoryURL string
	RootPEM      []byte // of the certificates it issues, and of its own server

	t       testing.TB
	handler http.Handler
	secure  *tls.Config
	address string

	mu     sync.Mutex
	hosts  map[string]string
	orders int
	server *http.Server // nil while it is down
}

// quiet makes pebble neither sleep nor refuse at random. It reads the environment of the process.
var quiet = sync.OnceValue(func() error {
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
})

// Start runs an authority on a port of 127.0.0.1.
func Start(t testing.TB, o Options) *CA {
	t.Helper()
	if err := quiet(); err != nil {
		t.Fatal(err)
	}
	c := &CA{t: t, hosts: maps.Clone(o.Hosts)}
	if c.hosts == nil {
		c.hosts = map[string]string{}
	}
	silent := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profile := pebbleca.Profile{Description: "test", ValidityPeriod: uint64(o.Lifetime / time.Second)}
	issuer := pebbleca.New(silent, store, "", "ecdsa", 0, 1, map[string]pebbleca.Profile{"default": profile})
	validator := va.New(silent, o.HTTPPort, o.TLSPort, false, c.startDNS(), store)
	front := wfe.New(silent, store, validator, issuer, []string{"ca.example"}, false, false, 1, 1)
	c.handler = c.count(front.Handler())
	certificate, own := ownCertificate(t)
	c.secure = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	c.RootPEM = append(issuer.GetRootCert(0).PEM(), own...)
	c.address = "127.0.0.1:0"
	c.Up()
	c.DirectoryURL = "https://" + c.address + wfe.DirectoryPath
	t.Cleanup(c.Down)
	return c
}

// count counts what people with rate limits count.
func (c *CA) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/order-plz" {
			c.mu.Lock()
			c.orders++
			c.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// Orders is how many certificates have been asked for.
func (c *CA) Orders() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orders
}

// Down makes the authority unreachable until Up.
func (c *CA) Down() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		_ = c.server.Close()
		c.server = nil
	}
}

// Up makes it reachable where it was.
func (c *CA) Up() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.address = l.Addr().String()
	server := &http.Server{Handler: c.handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	c.server = server
	go func() { _ = server.Serve(tls.NewListener(l, c.secure)) }()
}

// Pool has the roots.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.RootPEM)
	return pool
}

// RootsFile writes the roots to a file for SSL_CERT_FILE.
func (c *CA) RootsFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(name, c.RootPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// HostsFile has the lines for /etc/hosts that let the providers find each other.
func (c *CA) HostsFile() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		fmt.Fprintf(&b, "%s %s mimi.%s\n", c.hosts[name], name, name)
	}
	return b.String()
}

// Point says where a name is; with an empty address it is nowhere.
func (c *CA) Point(name, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts[name] = address
}

// where finds a name, or the one above it.
func (c *CA) where(name string) net.IP {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name = strings.TrimSuffix(strings.ToLower(name), "."); name != ""; _, name, _ = strings.Cut(name, ".") {
		if address, ok := c.hosts[name]; ok {
			return net.ParseIP(address).To4()
		}
	}
	return nil
}

// startDNS answers the authority's questions over TCP and returns where.
func (c *CA) startDNS() string {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		for _, q := range question.Question {
			ip := c.where(q.Name)
			if ip == nil {
				answer.Rcode = dns.RcodeNameError
			} else if q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: ip})
			}
		}
		_ = w.WriteMsg(answer) // who does not wait for it does not get it
	})}
	go func() { _ = server.ActivateAndServe() }()
	c.t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// ownCertificate is the one of the authority's own server.
func ownCertificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority's server"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
