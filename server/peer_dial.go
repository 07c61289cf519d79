package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
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

var (
	sharedAddresses = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598, Section 7
	thisNetwork     = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122, Section 3.2.1.3
	translated      = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052, Section 2.1
)

// mayDial reports whether addr is public, or no less so than the address we listen on.
func mayDial(addr, own netip.Addr) bool {
	switch {
	case addr.IsLoopback():
		return own.IsLoopback()
	case addr.IsPrivate():
		return own.IsPrivate() || own.IsLoopback()
	}
	return addr.IsGlobalUnicast() && !sharedAddresses.Contains(addr) && !thisNetwork.Contains(addr) && !translated.Contains(addr)
}
