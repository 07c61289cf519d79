package server

import (
	"net"
	"net/netip"
	"strings"

	"kith/mimi"
)

// federationAddress is where other providers reach this one. They are told apart from browsers by the name they ask for
// in the TLS handshake, so it is never the provider's own domain.
type federationAddress struct {
	host   string // the name, in lower case
	port   string // "" for that of Config.Listen
	listen string // an address besides Config.Listen to listen on; "" for none
}

// federation reads Config.Federation: a name, an address of this machine (the name is then mimi.<Domain>), or nothing but
// ":PORT". With a port of its own there is a listener of its own.
func (c Config) federation() (a federationAddress, err error) {
	a.host = "mimi." + c.Domain
	if c.Federation == "" {
		return a, nil
	}
	host, port, err := net.SplitHostPort(c.Federation)
	if err != nil {
		host, port = strings.Trim(c.Federation, "[]"), ""
	}
	a.port = port
	own, ownPort, _ := net.SplitHostPort(c.Listen)
	if _, err := netip.ParseAddr(host); err == nil {
		if a.port == "" {
			a.port = "443"
		}
		a.listen = net.JoinHostPort(host, a.port)
	} else {
		if host != "" {
			a.host = strings.ToLower(host)
		}
		if a.port != "" && a.port != ownPort {
			a.listen = net.JoinHostPort(own, a.port)
		}
	}
	if a.listen == c.Listen {
		a.listen = ""
	}
	return a, c.checkFederation(a, host)
}

func (c Config) checkFederation(a federationAddress, host string) error {
	if _, err := mimi.NewProviderID(a.host); err != nil {
		return Usage("-federation %q is not HOST or HOST:PORT", c.Federation)
	}
	if _, err := net.LookupPort("tcp", a.port); a.port != "" && err != nil {
		return Usage("-federation %q has no port number after the colon", c.Federation)
	}
	if a.host == c.Domain {
		return Usage("-federation needs a name that is not the domain itself: other providers are told apart by it, for example mimi.%s", c.Domain)
	}
	if c.Dev && !isLoopback(host) {
		return Usage("-dev listens on this machine only: use -federation 127.0.0.1:PORT, or leave out -dev")
	}
	return nil
}

// federationHost is the name under which other providers reach this one.
func (c Config) federationHost() string {
	a, _ := c.federation() // checked when c was completed
	return a.host
}

// federationBase is how the URLs begin at which other providers reach this one.
func (c Config) federationBase() string {
	a, _ := c.federation()
	port := a.port
	if _, own, err := net.SplitHostPort(c.Listen); err == nil && port == "" {
		port = own
	}
	if port == "443" || port == "" {
		return "https://" + a.host
	}
	return "https://" + net.JoinHostPort(a.host, port)
}
