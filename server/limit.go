package server

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter counts attempts by key in token buckets. Its memory is fixed: keys share 4,096 buckets by a secret hash, so
// nobody can choose whom they share one with.
type limiter struct {
	burst float64
	every time.Duration // until one token comes back

	seed    maphash.Seed
	mu      sync.Mutex
	buckets [4096]bucket
}

type bucket struct {
	spent float64
	last  int64 // Unix milliseconds
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: float64(burst), every: every, seed: maphash.MakeSeed()}
}

// take spends a token of key. Without one it reports how long to wait.
func (l *limiter) take(key string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key)
	ms := now.UnixMilli()
	if ms > b.last {
		b.spent = max(0, b.spent-float64(ms-b.last)*float64(time.Millisecond)/float64(l.every))
	}
	b.last = ms // a clock that was set back only stops the refilling for a moment
	if b.spent+1 > l.burst {
		return time.Duration((b.spent + 1 - l.burst) * float64(l.every)), false
	}
	b.spent++
	return 0, true
}

// refund gives a token of key back: the attempt was a good one.
func (l *limiter) refund(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key)
	b.spent = max(0, b.spent-1)
}

func (l *limiter) bucket(key string) *bucket {
	return &l.buckets[maphash.String(l.seed, key)%uint64(len(l.buckets))]
}

// network names whom an address belongs to: itself, or its /64 with IPv6, where one subscriber has that many.
func network(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := ap.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return remote
	}
	return prefix.String()
}
