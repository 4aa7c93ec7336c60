package gateway

import (
	"net/netip"
	"time"
)

// buckets hold what a network may still do. A bucket that is not there is full; what was taken
// comes back with time, all of it in span.
type buckets struct {
	most  float64 // 0 or less: no limit
	span  time.Duration
	known map[netip.Prefix]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory of the rates. Past it the full ones go, and if none is full,
// all: for a moment the rate is not limited, the number of connections still is.
const maxBuckets = 1 << 16

func newBuckets(most int, span time.Duration) buckets {
	return buckets{most: float64(most), span: span, known: map[netip.Prefix]bucket{}}
}

// left is what n may still take now.
func (b *buckets) left(n netip.Prefix, now time.Time) float64 {
	k, known := b.known[n]
	if !known {
		return b.most
	}
	return min(b.most, k.left+float64(now.Sub(k.at))/float64(b.span)*b.most)
}

// take takes much from the bucket of n, or gives it back when much is less than nothing. What is
// not there is not taken.
func (b *buckets) take(n netip.Prefix, now time.Time, much float64) {
	if b.most <= 0 {
		return
	}
	if _, known := b.known[n]; !known {
		if much <= 0 {
			return
		}
		if len(b.known) >= maxBuckets {
			b.prune(now)
		}
	}
	left := min(max(b.left(n, now)-much, 0), b.most)
	if left >= b.most {
		delete(b.known, n)
		return
	}
	b.known[n] = bucket{left: left, at: now}
}

func (b *buckets) prune(now time.Time) {
	for n := range b.known {
		if b.left(n, now) >= b.most {
			delete(b.known, n)
		}
	}
	if len(b.known) >= maxBuckets {
		clear(b.known)
	}
}
