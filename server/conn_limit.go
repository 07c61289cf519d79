package server

import (
	"net"
	"net/http"
	"sync"
)

// Connections that have not yet shown that somebody with a purpose is at the other end: their TLS handshake, or their first
// request, is not done. Each costs memory and the work of a handshake before anything is known of who it is.
const (
	maxGreeting        = 256  // from one network
	maxGreetingForAll  = 2048 // from everywhere
	maxConnections     = 4096 // from one network, greeting or not
	connectionsTracked = 1 << 16
)

// connLimit counts the connections of an HTTP server by the network they come from.
type connLimit struct {
	mu       sync.Mutex
	greeting int
	nets     map[string]*connCount
	conns    map[net.Conn]bool // whether it is still greeting
}

type connCount struct{ greeting, all int }

func newConnLimit() *connLimit {
	return &connLimit{nets: make(map[string]*connCount), conns: make(map[net.Conn]bool)}
}

// state is for http.Server.ConnState. It is called for a new connection before anything is read from it.
func (l *connLimit) state(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !l.enter(c) {
			_ = c.Close() // the server finds it closed, and says so
		}
	case http.StateActive:
		l.greeted(c)
	case http.StateHijacked, http.StateClosed:
		l.leave(c)
	}
}

func (l *connLimit) enter(c net.Conn) bool {
	from := network(c.RemoteAddr().String())
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nets[from]
	if n == nil {
		n = new(connCount)
	}
	if n.greeting >= maxGreeting || n.all >= maxConnections || l.greeting >= maxGreetingForAll || len(l.conns) >= connectionsTracked {
		return false
	}
	n.greeting++
	n.all++
	l.greeting++
	l.nets[from], l.conns[c] = n, true
	return true
}

func (l *connLimit) greeted(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[c] {
		l.conns[c] = false
		l.greeting--
		l.nets[network(c.RemoteAddr().String())].greeting--
	}
}

func (l *connLimit) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	greeting, ok := l.conns[c]
	if !ok {
		return
	}
	delete(l.conns, c)
	from := network(c.RemoteAddr().String())
	n := l.nets[from]
	n.all--
	if greeting {
		n.greeting--
		l.greeting--
	}
	if n.all == 0 {
		delete(l.nets, from)
	}
}
