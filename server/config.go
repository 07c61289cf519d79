package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"kith/mimi"
)

// Config is what an operator chooses when starting a provider. The zero value of every field but Domain is usable.
type Config struct {
	Domain string // the provider's domain, for ever; "localhost" by default in Dev
	Data   string // the data directory; "data" by default
	Listen string // address of HTTPS; ":443" by default, in Dev of HTTP: "127.0.0.1:8080"
	Dev    bool   // plain HTTP on this machine alone

	ListenHTTP    string // address that redirects to HTTPS and answers the certificate authority; none by default
	TLSCert       string // PEM file with the certificate chain; none by default: certificates are fetched by ACME
	TLSKey        string // PEM file with its key
	Federation    string // HOST[:PORT] for other providers, see federation.go; mimi.<Domain> on Listen by default
	ACMEDirectory string // URL of the certificate authority; Let's Encrypt by default
	ACMEEmail     string // contact for it; none by default

	// What stands between this provider and others; tests put networks of their own here.
	PeerDial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the machine's network, public addresses only
	PeerRoots   *x509.CertPool                                                    // who vouches for their certificates and for the authority's; nil: the system's
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)              // for both of our names; nil: from files or by ACME

	Log  *slog.Logger     // discarded if nil
	Now  func() time.Time // the clock; time.Now if nil
	Rand io.Reader        // crypto/rand if nil

	PasswordMemory uint32 // KiB of one argon2id computation; 19,456 by default and at most 32,768
	MaxPages       int64  // bound of the database in pages of 4 KiB; none by default

	transport *transport    // made by Run before the database is open; otherwise by New
	acmeRetry time.Duration // replaces the first wait after the certificate authority has refused
}

// UsageError is an error in how the program was called.
type UsageError struct{ text string }

// Error returns the sentence for the operator.
func (e UsageError) Error() string { return e.text }

// Usage makes a [UsageError].
func Usage(format string, args ...any) error { return UsageError{fmt.Sprintf(format, args...)} }

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Domain == "" && c.Dev {
		c.Domain = "localhost"
	}
	c.Domain = strings.ToLower(c.Domain)
	if c.Domain == "" {
		return c, Usage("-domain is missing: the name under which people reach this server, for example -domain chat.example.org")
	}
	if _, err := mimi.NewProviderID(c.Domain); err != nil {
		return c, Usage("-domain %q is not a domain name", c.Domain)
	}
	if c.Data == "" {
		c.Data = "data"
	}
	if c.Listen == "" {
		c.Listen = ":443"
		if c.Dev {
			c.Listen = "127.0.0.1:8080"
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.PasswordMemory == 0 {
		c.PasswordMemory = 19 << 10
	}
	if c.PasswordMemory > maxPasswordMemory {
		return c, errors.New("server: more than 32 MiB for one password")
	}
	return c, c.checkListen()
}

func (c Config) checkListen() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return Usage("-tls-cert and -tls-key belong together")
	}
	if _, err := c.federation(); err != nil {
		return err
	}
	if u, err := url.Parse(c.ACMEDirectory); c.ACMEDirectory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return Usage("-acme-directory %q is not a URL that begins with https://", c.ACMEDirectory)
	}
	if c.ACMEEmail != "" && strings.Count(c.ACMEEmail, "@") != 1 {
		return Usage("-acme-email %q is not an e-mail address", c.ACMEEmail)
	}
	if !c.Dev {
		return nil
	}
	if c.TLSCert != "" {
		return Usage("-dev serves plain HTTP; leave out -tls-cert and -tls-key")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return Usage("-listen %q is not an address such as 127.0.0.1:8080", c.Listen)
	}
	if host != "localhost" && !isLoopback(host) {
		return Usage("-dev listens on this machine only: use -listen 127.0.0.1:PORT, or leave out -dev")
	}
	return nil
}

// isLoopback reports whether host is an address of this machine alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// automatic says whether certificates are fetched from a certificate authority.
func (c Config) automatic() bool { return !c.Dev && c.TLSCert == "" && c.Certificate == nil }

// canServe says whether c can be served to other machines.
func (c Config) canServe() error {
	if c.automatic() && !strings.Contains(c.Domain, ".") {
		return Usage("automatic TLS needs a domain name that other machines can find, which %q is not: "+
			"give -tls-cert and -tls-key, or try kith on this machine with -dev", c.Domain)
	}
	return nil
}

// baseURL is how links to this provider begin when it listens on addr.
func (c Config) baseURL(addr string) string {
	if c.Dev {
		return "http://" + addr
	}
	if _, port, err := net.SplitHostPort(addr); err == nil && port != "443" {
		return "https://" + net.JoinHostPort(c.Domain, port)
	}
	return "https://" + c.Domain
}

func randOf(c Config) io.Reader {
	if c.Rand == nil {
		return rand.Reader
	}
	return c.Rand
}
