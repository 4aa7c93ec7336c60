package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// An admission counts connections: how many are open, in all and from each network, and how
// fast each network opens them. A network is an IPv4 address or an IPv6 /64, which one
// customer has.
type admission struct {
	lim *Limits

	mu    sync.Mutex
	total int
	open  map[netip.Prefix]int
	rate  map[netip.Prefix]bucket
}

// A bucket holds the connections that a network may open at once; it fills up again with
// time, to Limits.RatePerIP in a minute.
type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory of the rates. Past it the full ones go, and if none is full,
// all: for a moment the rate is not limited, the number of connections still is.
const maxBuckets = 1 << 16

func newAdmission(lim *Limits) *admission {
	return &admission{lim: lim, open: map[netip.Prefix]int{}, rate: map[netip.Prefix]bucket{}}
}

func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // an invalid address has an invalid prefix, which is one network too
	return p
}

// reserve is the share of Limits.Connections, on top of it, that is for those who have none yet:
// a few who open as many as they may do not keep everybody out (S-31).
const reserve = 10

// enter counts one more connection, unless there are too many. first is the only one of its
// network, or one of ours.
func (a *admission) enter(first bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := a.lim.Connections
	if first {
		most += most / reserve
	}
	if a.lim.Connections > 0 && a.total >= most {
		return false
	}
	a.total++
	return true
}

func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
}

// count is how many connections are open.
func (a *admission) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// enterFrom counts one more connection from addr, unless it has too many or opens them too fast.
func (a *admission) enterFrom(addr netip.Addr, now time.Time) bool {
	n := network(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lim.ConnectionsPerIP > 0 && a.open[n] >= a.lim.ConnectionsPerIP || !a.take(n, now) {
		return false
	}
	a.open[n]++
	return true
}

// alone reports whether a network has one connection and no more.
func (a *admission) alone(addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[network(addr)] == 1
}

func (a *admission) leaveFrom(addr netip.Addr) {
	n := network(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[n]--; a.open[n] <= 0 {
		delete(a.open, n)
	}
}

// take takes one from the bucket of n. It is called with a.mu held.
func (a *admission) take(n netip.Prefix, now time.Time) bool {
	most := float64(a.lim.RatePerIP)
	if most <= 0 {
		return true
	}
	b, known := a.rate[n]
	if !known {
		if len(a.rate) >= maxBuckets {
			a.prune(now, most)
		}
		b = bucket{left: most, at: now}
	}
	b = bucket{left: b.refilled(now, most), at: now}
	ok := b.left >= 1
	if ok {
		b.left--
	}
	a.rate[n] = b
	return ok
}

func (b bucket) refilled(now time.Time, most float64) float64 {
	return min(most, b.left+now.Sub(b.at).Minutes()*most)
}

func (a *admission) prune(now time.Time, most float64) {
	for n, b := range a.rate {
		if b.refilled(now, most) >= most {
			delete(a.rate, n)
		}
	}
	if len(a.rate) >= maxBuckets {
		clear(a.rate)
	}
}
