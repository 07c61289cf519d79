package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

var errAddress = errors.New("server: address is not a public one")

// dialPublic connects to other providers. Their names are theirs to choose, and could lead to this machine or into the
// network behind it, so only public addresses are dialled; on a server that itself listens on a loopback or private
// address, which has been set up to be tried out or for one house, such ones as well.
func (c Config) dialPublic() func(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(c.Listen)
	own, err := netip.ParseAddr(host)
	if err != nil {
		own = netip.IPv6Unspecified()
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || !mayDial(ap.Addr().Unmap(), own.Unmap()) {
			return errAddress
		}
		return nil
	}}
	return dialer.DialContext
}

// notPublic are addresses that are no host's of the public network, or lead to another address that they hold.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // RFC 1122, Section 3.2.1.3
	netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598, Section 7
	netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112, Section 4
	netip.MustParsePrefix("::/96"),          // RFC 4291, Section 2.5.5.1
	netip.MustParsePrefix("64:ff9b::/96"),   // RFC 6052, Section 2.1
	netip.MustParsePrefix("64:ff9b:1::/48"), // RFC 8215, Section 3
	netip.MustParsePrefix("2001::/32"),      // RFC 4380, Section 2.6
	netip.MustParsePrefix("2002::/16"),      // RFC 3056, Section 2
	netip.MustParsePrefix("fec0::/10"),      // RFC 3879, Section 4
}

// mayDial reports whether addr is public, or no less so than the address we listen on.
func mayDial(addr, own netip.Addr) bool {
	switch {
	case addr.IsLoopback():
		return own.IsLoopback()
	case addr.IsPrivate():
		return own.IsPrivate() || own.IsLoopback()
	}
	return addr.IsGlobalUnicast() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(addr) })
}
