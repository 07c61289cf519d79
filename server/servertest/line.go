package servertest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const window = 256 << 10 // octets on their way before a writer has to wait

// line is a connection in memory, with room for what nobody has read yet, as a socket has.
type line struct {
	link  *Link
	addrs [2]net.Addr

	mu     sync.Mutex
	change *sync.Cond
	ends   [2]end
	broken error // nothing goes any more
}

// end is one end of a line: what arrives there, and what its owner has said.
type end struct {
	chunks  []chunk
	size    int
	last    time.Time // when the newest chunk arrives: none overtakes another
	closed  bool
	readBy  deadline
	writeBy deadline
}

// chunk is what was written at once. One without octets is the end.
type chunk struct {
	at   time.Time
	data []byte
}

// deadline is a time after which waiting ends.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newLine(l *Link, from, to net.Addr) *line {
	w := &line{link: l, addrs: [2]net.Addr{from, to}}
	w.change = sync.NewCond(&w.mu)
	return w
}

func (w *line) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change.Broadcast()
}

// cutOff ends the connection for both ends; what was on its way is lost.
func (w *line) cutOff(reason error) {
	w.mu.Lock()
	if w.broken == nil {
		w.broken = reason
	}
	w.change.Broadcast()
	w.mu.Unlock()
	w.link.forget(w)
}

// arrived returns the first chunk if it is there. The caller holds the lock.
func (w *line) arrived(e *end) *chunk {
	if len(e.chunks) == 0 || w.link.stalled.Load() || time.Now().Before(e.chunks[0].at) {
		return nil
	}
	return &e.chunks[0]
}

// send puts octets on their way to an end. The caller holds the lock.
func (w *line) send(e *end, data []byte) {
	now := time.Now()
	at := now.Add(w.link.onTheWay(len(data)))
	if at.Before(e.last) {
		at = e.last
	}
	e.last = at
	e.chunks = append(e.chunks, chunk{at, data})
	e.size += len(data)
	if at.After(now) {
		time.AfterFunc(at.Sub(now), w.wake)
	}
	w.change.Broadcast()
}

// conn is an end of a line as its owner has it. It implements net.Conn.
type conn struct {
	w    *line
	side int
}

func (c *conn) own() *end  { return &c.w.ends[c.side] }
func (c *conn) peer() *end { return &c.w.ends[1-c.side] }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	e := c.own()
	for {
		switch {
		case e.closed:
			return 0, c.fault("read", net.ErrClosed)
		case e.readBy.passed():
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		case c.w.broken != nil:
			return 0, c.fault("read", c.w.broken)
		case len(p) == 0:
			return 0, nil
		}
		if first := c.w.arrived(e); first != nil {
			if len(first.data) == 0 {
				return 0, io.EOF
			}
			n := copy(p, first.data)
			if first.data = first.data[n:]; len(first.data) == 0 {
				e.chunks = e.chunks[1:]
			}
			e.size -= n
			c.w.change.Broadcast()
			return n, nil
		}
		c.w.change.Wait()
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (n int, err error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	own, peer := c.own(), c.peer()
	for len(p) > 0 {
		hungUp := c.w.arrived(own)
		switch {
		case own.closed:
			return n, c.fault("write", net.ErrClosed)
		case own.writeBy.passed():
			return n, c.fault("write", os.ErrDeadlineExceeded)
		case c.w.broken != nil:
			return n, c.fault("write", c.w.broken)
		case hungUp != nil && len(hungUp.data) == 0:
			return n, c.fault("write", syscall.EPIPE)
		case peer.closed: // which is not known here yet
			return n + len(p), nil
		case peer.size >= window:
			c.w.change.Wait()
			continue
		}
		m := min(len(p), window-peer.size)
		c.w.send(peer, append([]byte(nil), p[:m]...))
		n, p = n+m, p[m:]
	}
	return n, nil
}

// Close implements net.Conn. What was written before still arrives.
func (c *conn) Close() error {
	c.w.mu.Lock()
	e := c.own()
	first := !e.closed
	if first {
		e.closed = true
		e.chunks, e.size = nil, 0
		c.w.send(c.peer(), nil)
	}
	over := c.peer().closed
	c.w.mu.Unlock()
	if !first {
		return c.fault("close", net.ErrClosed)
	}
	if over {
		c.w.link.forget(c.w)
	}
	return nil
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.w.addrs[c.side] }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.w.addrs[1-c.side] }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.set(&c.own().readBy, t)
	c.set(&c.own().writeBy, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.set(&c.own().readBy, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.set(&c.own().writeBy, t)
	return nil
}

func (c *conn) set(d *deadline, t time.Time) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), c.w.wake)
	}
	c.w.change.Broadcast()
}
