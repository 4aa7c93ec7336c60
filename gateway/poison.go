package gateway

import (
	"sync"
	"sync/atomic"

	"postern/rules"
)

// A message at which the program itself fails is put off, since whoever sends it again may meet a
// better one. It would come again for days, and then bounce: at the third attempt it is held, with
// nothing of it looked at.
const (
	poisonTries = 2 // that failed
	poisonMax   = 1000
)

// contents tells the bytes of one message from those of another, whoever sends them.
type contents struct {
	size int64
	sum  uint64
}

// poisons counts attempts that ended in a panic, by content. It is empty as a rule.
type poisons struct {
	some  atomic.Bool
	mu    sync.Mutex
	tries map[contents]int
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

func (p *poisons) enough(c contents) bool {
	if !p.some.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tries[c] >= poisonTries
}

func (t *transaction) contents() contents { return contents{t.body.Size(), t.content.Sum64()} }

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
