package filters

import (
	"sync"
	"time"
)

// A dnsCache keeps answers as long as their TTL, the least recently used go first when
// there are too many or they take too much memory.
type dnsCache struct {
	now     func() time.Time
	entries int
	bytes   int

	mu   sync.Mutex
	all  map[dnsQuestion]*dnsEntry
	ring dnsEntry // its next is the most, its prev the least recently used
	used int
}

type dnsEntry struct {
	q          dnsQuestion
	a          *dnsAnswer
	until      time.Time
	size       int
	prev, next *dnsEntry
}

func newDNSCache(entries, bytes int, now func() time.Time) *dnsCache {
	c := &dnsCache{now: now, entries: entries, bytes: bytes, all: map[dnsQuestion]*dnsEntry{}}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

// get returns a fresh answer, or nil.
func (c *dnsCache) get(q dnsQuestion) *dnsAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.all[q]
	if e == nil {
		return nil
	}
	if !c.now().Before(e.until) {
		c.remove(e)
		return nil
	}
	e.unlink()
	c.front(e)
	return e.a
}

// put keeps an answer for its TTL; one without is not kept.
func (c *dnsCache) put(q dnsQuestion, a *dnsAnswer) {
	if a.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.all[q]; old != nil {
		c.remove(old)
	}
	e := &dnsEntry{q: q, a: a, until: c.now().Add(a.ttl), size: a.bytes() + len(q.name) + 128}
	if e.size > c.bytes {
		return
	}
	c.all[q] = e
	c.used += e.size
	c.front(e)
	for len(c.all) > c.entries || c.used > c.bytes {
		c.remove(c.ring.prev)
	}
}

func (c *dnsCache) remove(e *dnsEntry) {
	e.unlink()
	delete(c.all, e.q)
	c.used -= e.size
}

func (e *dnsEntry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (c *dnsCache) front(e *dnsEntry) {
	e.prev, e.next = &c.ring, c.ring.next
	e.prev.next, e.next.prev = e, e
}

// size tells how many answers there are and what they take.
func (c *dnsCache) size() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all), c.used
}
