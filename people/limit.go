package people

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// maxKeys bounds the memory of a limiter: about a megabyte.
const maxKeys = 10_000

// A limiter gives each key some tries at once and a further one each so often. A key that goes on
// without success waits longer and longer.
type limiter struct {
	burst float64
	every time.Duration
	mu    sync.Mutex
	keys  map[string]*bucket
}

type bucket struct {
	tries float64
	at    time.Time
	fails int // since the last success, of those that were let through
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: float64(burst), every: every, keys: map[string]*bucket{}}
}

// maxKey is longer than any login with an address of a client.
const maxKey = 400

// short stands for a key in memory: what is tried as a login may be as long as a request.
func short(key string) string {
	if len(key) <= maxKey {
		return key
	}
	h := sha256.Sum256([]byte(key))
	return string(h[:])
}

// take asks for a try; wait is how long to be patient when there is none.
func (l *limiter) take(key string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key = short(key)
	b := l.keys[key]
	if b == nil {
		if len(l.keys) >= maxKeys {
			l.forget(now)
		}
		b = &bucket{tries: l.burst, at: now}
		l.keys[key] = b
	}
	l.refill(b, now)
	if b.tries < 1 {
		return time.Duration((1 - b.tries) * float64(l.pace(b))), false
	}
	b.tries--
	b.fails++
	return 0, true
}

// give puts a try back, after a success: only failures are counted.
func (l *limiter) give(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.keys[short(key)]; b != nil {
		l.refill(b, now)
		b.tries, b.fails = min(b.tries+1, l.burst), 0
	}
}

// pace is how long a further try takes to come: up to sixteen times longer for who goes on.
func (l *limiter) pace(b *bucket) time.Duration {
	return l.every << min(max(b.fails-int(l.burst), 0)/4, 4)
}

func (l *limiter) refill(b *bucket, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tries = min(b.tries+float64(d)/float64(l.pace(b)), l.burst)
	}
	if b.tries == l.burst {
		b.fails = 0
	}
	b.at = now
}

// forget makes room: first whoever has all tries again, then those that have most.
func (l *limiter) forget(now time.Time) {
	for least := l.burst; len(l.keys) > maxKeys*9/10 && least > -1; least-- {
		for key, b := range l.keys {
			l.refill(b, now)
			if b.tries >= least && len(l.keys) > maxKeys*9/10 {
				delete(l.keys, key)
			}
		}
	}
}

// place is what counts as one client: an IPv4 address, or the /64 that a site of IPv6 has.
func place(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, err := a.Prefix(64)
		if err == nil {
			return p.String()
		}
	}
	return a.String()
}
