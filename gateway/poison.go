package gateway

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"postern/recall"
	"postern/rules"
)

// A message at which the program itself fails is put off, since whoever sends it again may meet a
// better one. It would come again for days, and then bounce: at the third attempt it is held, with
// nothing of it looked at.
const (
	poisonTries = 2 // that failed
	poisonMax   = recall.PoisonMax
)

// contents tells the bytes of one message from those of another, whoever sends them.
type contents struct {
	size int64
	sum  [sha256.Size]byte
}

// poisons counts attempts that ended in a panic, by content. It is empty as a rule.
type poisons struct {
	some  atomic.Bool
	mu    sync.Mutex
	tries map[contents]int
}

// load sets how often one failed in a process before this one.
func (p *poisons) load(c contents, tries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tries == nil {
		p.tries = map[contents]int{}
	}
	p.tries[c] = tries
	p.some.Store(true)
}

func (p *poisons) add(c contents) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tries == nil {
		p.tries = map[contents]int{}
	}
	if _, known := p.tries[c]; !known && len(p.tries) >= poisonMax {
		for old := range p.tries { // any
			delete(p.tries, old)
			break
		}
	}
	p.tries[c]++
	p.some.Store(true)
}

// like tells whether some message of the size failed often enough.
func (p *poisons) like(size int64) bool {
	if !p.some.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, n := range p.tries {
		if c.size == size && n >= poisonTries {
			return true
		}
	}
	return false
}

// poison tells whether this message failed often enough. It is summed up only for that.
func (t *transaction) poison() bool {
	if !t.g.poisons.like(t.body.Size()) {
		return false
	}
	c, ok := t.contents()
	if !ok {
		return false
	}
	t.g.poisons.mu.Lock()
	defer t.g.poisons.mu.Unlock()
	return t.g.poisons.tries[c] >= poisonTries
}

// isolate decides for a message at which we failed before: it is held for everybody, unseen.
func (t *transaction) isolate(rcpts []*recipient) {
	t.note("poison", "it made Postern fail twice")
	t.work.cut(errDecided)
	for _, r := range rcpts {
		r.verdict = rules.Verdict{Do: rules.Quarantine, Rule: "poison", Class: "malformed",
			Because: "Postern itself failed twice while it looked at this message, so nobody has looked into it; the log has the cause"}
		r.decided = true
	}
}
