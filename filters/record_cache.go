package filters

import "sync"

// A recordCache keeps parsed DNS records by their text, so that it never has to know how long one
// is valid. Its size is bounded; any entry may go when it is full. What it gives never changes.
type recordCache[T any] struct {
	parse func(txt string) *T

	mu     sync.Mutex
	parsed map[string]*T
}

const (
	maxCachedRecords = 1000
	maxCachedText    = 4096 // bytes of a record; longer ones are parsed each time
)

func (c *recordCache[T]) get(txt string) *T {
	c.mu.Lock()
	v := c.parsed[txt]
	c.mu.Unlock()
	if v != nil {
		return v
	}
	if v = c.parse(txt); len(txt) > maxCachedText {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parsed == nil {
		c.parsed = make(map[string]*T)
	}
	for old := range c.parsed {
		if len(c.parsed) < maxCachedRecords {
			break
		}
		delete(c.parsed, old)
	}
	c.parsed[txt] = v
	return v
}
