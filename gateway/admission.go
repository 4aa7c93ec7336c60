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
	rate  buckets // new connections, a minute
	wrong buckets // unknown recipients, an hour: see harvest.go
}

func newAdmission(lim *Limits) *admission {
	return &admission{lim: lim, open: map[netip.Prefix]int{}, rate: newBuckets(lim.RatePerIP, time.Minute), wrong: newBuckets(lim.UnknownRcpts, time.Hour)}
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

// enterFrom counts one more connection from addr, or says why not: it has too many, opens them
// too fast, or is a harvester.
func (a *admission) enterFrom(addr netip.Addr, now time.Time) (why string) {
	n := network(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.harvests(n, now) {
		return "Too many unknown recipients from your address"
	}
	if a.lim.ConnectionsPerIP > 0 && a.open[n] >= a.lim.ConnectionsPerIP || a.rate.most > 0 && a.rate.left(n, now) < 1 {
		return "Too many connections from your address"
	}
	a.rate.take(n, now, 1)
	a.open[n]++
	return ""
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

// unknown counts a recipient that does not exist: how long to wait before that is said, or that it
// was the last one.
func (a *admission) unknown(addr netip.Addr, now time.Time) (wait time.Duration, over bool) {
	if a.wrong.most <= 0 {
		return 0, false
	}
	n := network(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrong.take(n, now, 1)
	left := a.wrong.left(n, now)
	slow := a.wrong.most*(1-1.0/patience) - left
	return time.Duration(min(max(slow, 0)*float64(slowStep), float64(slowMost))), left < 1
}

// harvester reports whether addr has named too many recipients that do not exist.
func (a *admission) harvester(addr netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.harvests(network(addr), now)
}

func (a *admission) harvests(n netip.Prefix, now time.Time) bool {
	return a.wrong.most > 0 && len(a.wrong.known) > 0 && a.wrong.left(n, now) < 1
}

// vouch gives addr back what unknown has taken.
func (a *admission) vouch(addr netip.Addr, now time.Time, much int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wrong.known) > 0 {
		a.wrong.take(network(addr), now, -float64(much))
	}
}
