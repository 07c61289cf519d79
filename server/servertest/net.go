package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// Net is a world of providers and users in one process: real servers with real TLS over a network in memory, users with
// the real user agent. Inside synctest the whole world runs on fake time.
type Net struct {
	Internet *Internet
	CA       *CA

	now       func() time.Time
	passed    atomic.Int64 // nanoseconds, see Pass
	providers []*Provider
	users     []*User

	mu       sync.Mutex
	requests []string
}

// NewNet makes an empty world whose clock begins at start.
func NewNet(start time.Time) (*Net, error) {
	offset := time.Until(start)
	n := &Net{Internet: NewInternet()}
	n.now = func() time.Time { return time.Now().Add(offset + time.Duration(n.passed.Load())) }
	var err error
	n.CA, err = NewCA(n.now)
	return n, err
}

// Now is what all clocks show that are right.
func (n *Net) Now() time.Time { return n.now() }

// Pass lets time go by at once, for everybody's clock: nobody is there to see it pass.
func (n *Net) Pass(d time.Duration) { n.passed.Add(int64(d)) }

// Close stops everybody, the users first.
func (n *Net) Close() error {
	var errs []error
	for _, u := range n.users {
		u.Stop()
	}
	for _, p := range n.providers {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// Until waits, in fake time, until something is true: whenever nobody has anything to do it looks again. It says
// whether it has become true.
func Until(within time.Duration, cond func() bool) bool {
	step := 10 * time.Millisecond
	for end := time.Now().Add(within); ; {
		synctest.Wait()
		if cond() {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
		time.Sleep(step)
		step = min(step*5/4, time.Second)
	}
}

// Log keeps what a server logs.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// asked notes a request between providers.
func (n *Net) asked(from, to, path string) {
	endpoint, _, _ := strings.Cut(strings.TrimPrefix(path, "/mimi/v1/"), "/")
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, from+" "+to+" "+endpoint)
}

// Requests are the requests between providers since it was last asked, in the order in which they came: who asked whom
// for what, as "a.example b.example notify".
func (n *Net) Requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.requests
	n.requests = nil
	return list
}

// linkOf is the link between two providers.
func (n *Net) linkOf(a, b *Provider) *Link { return n.Internet.Link(a.Domain.Host(), b.Domain.Host()) }

// Links are the links between all providers.
func (n *Net) Links() []*Link {
	var all []*Link
	for i, a := range n.providers {
		for _, b := range n.providers[i+1:] {
			all = append(all, n.linkOf(a, b))
		}
	}
	return all
}

// StartAll starts every provider that is down.
func (n *Net) StartAll(ctx context.Context) error {
	for _, p := range n.providers {
		if p.Running() {
			continue
		}
		if err := p.Start(ctx); err != nil {
			return fmt.Errorf("servertest: start of %s: %w", p.Domain.Host(), err)
		}
	}
	return nil
}
