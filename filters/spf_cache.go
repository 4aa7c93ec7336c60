package filters

import (
	"net/netip"
	"sync"
	"time"
)

// spfKey is all that an outcome depends on, unless a macro looked at the local part.
type spfKey struct {
	ip     netip.Addr
	helo   string
	domain string
}

// An spfCache remembers outcomes for a moment: bursts come from few clients and domains.
// Two generations bound it in time and in number.
type spfCache struct {
	now   func() time.Time
	mu    sync.Mutex
	young map[spfKey]spfSeen
	old   map[spfKey]spfSeen
}

type spfSeen struct {
	out     spfOutcome
	lookups int
	queries int
	until   time.Time
}

const (
	spfKeep    = 30 * time.Second
	spfEntries = 2048 // of one generation
)

func newSPFCache(now func() time.Time) *spfCache {
	return &spfCache{now: now, young: map[spfKey]spfSeen{}}
}

func (c *spfCache) get(k spfKey) (spfSeen, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.young[k]
	if !ok {
		s, ok = c.old[k]
	}
	if !ok || c.now().After(s.until) {
		return spfSeen{}, false
	}
	return s, true
}

func (c *spfCache) put(k spfKey, s spfSeen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= spfEntries {
		c.old, c.young = c.young, make(map[spfKey]spfSeen, spfEntries)
	}
	s.until = c.now().Add(spfKeep)
	c.young[k] = s
}
