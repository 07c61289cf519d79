package servertest

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Internet is a network in memory between places, with names, addresses and faults. It works inside testing/synctest,
// where sockets do not.
//
// A place is whatever may connect or listen: a provider's machine, or a device. Between two places lies one [Link].
type Internet struct {
	mu     sync.Mutex
	names  map[string]*Port // host names, without a port: everybody listens on 443 only
	places map[string]netip.Addr
	links  map[[2]string]*Link
	dialed []string
}

// NewInternet returns a network on which nobody is.
func NewInternet() *Internet {
	return &Internet{names: map[string]*Port{}, places: map[string]netip.Addr{}, links: map[[2]string]*Link{}}
}

// Port is where a place listens. It implements net.Listener.
type Port struct {
	net    *Internet
	place  string
	names  []string
	accept chan net.Conn
	closed chan struct{}

	mu   sync.Mutex
	over bool // closed; once it is, no connection comes through any more
}

const backlog = 128 // connections that nobody has accepted yet

// Listen makes a place answer under host names, on port 443.
func (n *Internet) Listen(place string, names ...string) (*Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		if n.names[name] != nil {
			return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
		}
	}
	p := &Port{net: n, place: place, names: names, accept: make(chan net.Conn, backlog), closed: make(chan struct{})}
	for _, name := range names {
		n.names[name] = p
	}
	return p, nil
}

// Accept implements net.Listener.
func (p *Port) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			return c, nil
		}
	case <-p.closed:
	}
	return nil, net.ErrClosed
}

// offer gives a connection to who listens.
func (p *Port) offer(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	select {
	case p.accept <- c:
		return true
	default: // nobody has accepted for long
		return false
	}
}

// Close implements net.Listener. Connections that exist stay.
func (p *Port) Close() error {
	p.mu.Lock()
	first := !p.over
	p.over = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	p.net.mu.Lock()
	for _, name := range p.names {
		delete(p.net.names, name)
	}
	p.net.mu.Unlock()
	close(p.closed)
	return nil
}

// Addr implements net.Listener.
func (p *Port) Addr() net.Addr { return p.net.addr(p.place) }

// addr is the address of a place, one for each, of the range that is set aside for measurements (RFC 2544).
func (n *Internet) addr(place string) net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.places[place]
	if !ok {
		i := len(n.places) + 1
		a = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		n.places[place] = a
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 443))
}

// Link returns what lies between two places.
func (n *Internet) Link(a, b string) *Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [2]string{min(a, b), max(a, b)}
	l := n.links[key]
	if l == nil {
		l = &Link{conns: map[*line]struct{}{}, random: rand.New(rand.NewPCG(uint64(len(n.links)), 7))}
		n.links[key] = l
	}
	return l
}

// Break ends all connections of a place at once, as the end of its process does.
func (n *Internet) Break(place string) {
	n.mu.Lock()
	var links []*Link
	for key, l := range n.links {
		if key[0] == place || key[1] == place {
			links = append(links, l)
		}
	}
	n.mu.Unlock()
	for _, l := range links {
		l.Break()
	}
}

// Dialed lists the addresses that somebody has tried to connect to, each once.
func (n *Internet) Dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dialed)
}

// Dial connects a place to a host.
func (n *Internet) Dial(ctx context.Context, place, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	if !slices.Contains(n.dialed, address) {
		n.dialed = append(n.dialed, address)
	}
	p := n.names[host]
	n.mu.Unlock()
	if p == nil || port != "443" {
		return nil, refusal()
	}
	return n.Link(place, p.place).dial(ctx, place, p)
}

func refusal() error { return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED} }

// Dialer is Dial of a place, in the form the net package has.
func (n *Internet) Dialer(place string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) { return n.Dial(ctx, place, address) }
}

// Link is what lies between two places, both directions of it. At first it is perfect.
type Link struct {
	cut      atomic.Bool
	stalled  atomic.Bool
	mu       sync.Mutex
	random   *rand.Rand
	least    time.Duration // what octets need from one end to the other
	most     time.Duration
	rate     int // octets in a second; 0: no limit
	lose     int // so many answers of the next requests get lost
	repeat   int // so many of the next requests arrive twice
	mishaps  float64
	conns    map[*line]struct{}
	restored chan struct{} // closed when a stall ends; nil: there is none
}

// Cut takes the link away: connections break, new ones are refused.
func (l *Link) Cut() {
	l.cut.Store(true)
	l.Break()
}

// Break ends the connections there are.
func (l *Link) Break() {
	for _, w := range l.all() {
		w.cutOff(syscall.ECONNRESET)
	}
}

// Stall lets nothing through, and nobody know of it: what is sent arrives when the link is healed.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.restored == nil {
		l.restored = make(chan struct{})
	}
	l.stalled.Store(true)
}

// Slow gives everything a time on its way between least and most, in order, and bounds the octets in a second (0: not).
func (l *Link) Slow(least, most time.Duration, rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.least, l.most, l.rate = least, max(least, most), rate
}

// LoseAnswers lets the next requests between providers be carried out and their answers get lost.
func (l *Link) LoseAnswers(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = n
}

// RepeatRequests lets the next requests between providers arrive twice.
func (l *Link) RepeatRequests(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.repeat = n
}

// Mishaps lets such a part of the requests between providers arrive twice or stay without their answer, by chance.
func (l *Link) Mishaps(part float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mishaps = part
}

// Heal makes the link perfect again. Broken connections stay broken; what a stall has held arrives.
func (l *Link) Heal() {
	l.mu.Lock()
	l.least, l.most, l.rate, l.lose, l.repeat, l.mishaps = 0, 0, 0, 0, 0, 0
	restored := l.restored
	l.restored = nil
	l.mu.Unlock()
	l.cut.Store(false)
	l.stalled.Store(false)
	if restored != nil {
		close(restored)
	}
	for _, w := range l.all() {
		w.wake()
	}
}

// mishap says what befalls a request.
func (l *Link) mishap() (repeat, lose bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.repeat > 0 {
		l.repeat--
		repeat = true
	}
	if l.lose > 0 {
		l.lose--
		lose = true
	}
	if l.mishaps > 0 {
		repeat = repeat || l.random.Float64() < l.mishaps
		lose = lose || l.random.Float64() < l.mishaps
	}
	return repeat, lose
}

func (l *Link) all() []*line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*line
	for w := range l.conns {
		list = append(list, w)
	}
	return list
}

// onTheWay is how long so many octets need.
func (l *Link) onTheWay(octets int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.least
	if l.most > l.least {
		d += time.Duration(l.random.Int64N(int64(l.most - l.least)))
	}
	if l.rate > 0 {
		d += time.Duration(octets) * time.Second / time.Duration(l.rate)
	}
	return d
}

// dial makes a connection over the link.
func (l *Link) dial(ctx context.Context, from string, to *Port) (net.Conn, error) {
	l.mu.Lock()
	restored := l.restored
	l.mu.Unlock()
	if restored != nil {
		select {
		case <-restored:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if d := l.onTheWay(0); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w := newLine(l, to.net.addr(from), to.Addr())
	l.mu.Lock()
	l.conns[w] = struct{}{}
	l.mu.Unlock()
	if l.cut.Load() {
		w.cutOff(syscall.ECONNRESET)
		return nil, refusal()
	}
	if to.offer(&conn{w, 1}) {
		return &conn{w, 0}, nil
	}
	w.cutOff(syscall.ECONNRESET)
	return nil, refusal()
}

func (l *Link) forget(w *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, w)
}
