package rules

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// A trace is the steps of one walk, also as JSON.
type trace struct {
	steps []Step
	json  []byte
}

// maxTraces is how many different traces are kept: ordinary mail has a handful.
const maxTraces = 256

// trace gives the steps of the first n rules. Shadow rules are evaluated here, after the
// verdict, with what is known by then: they can neither change it nor have it wait.
func (e *evaluator) trace(n int) *trace {
	score := e.score
	e.score = 0
	for i, r := range e.p.rules[:n] {
		if r.shadow {
			e.steps[i] = e.walk(r)
		} else if e.steps[i].state == matched {
			e.score += r.score
		}
	}
	e.score = score
	if !e.plain(n) {
		return e.newTrace(n)
	}
	p := e.p
	p.tracing.RLock()
	t := p.traces[string(e.key)]
	p.tracing.RUnlock()
	if t != nil {
		return t
	}
	t = e.newTrace(n)
	p.tracing.Lock()
	defer p.tracing.Unlock()
	if len(p.traces) < maxTraces {
		p.traces[string(e.key)] = t
	}
	return t
}

// plain makes the key of a trace: the state of all leaves and of the first n rules. It reports
// whether that is all the trace depends on: it also tells how a filter failed.
func (e *evaluator) plain(n int) bool {
	e.key = e.key[:0]
	for _, s := range e.leaves {
		if s == failed || s == deferred || s == pending {
			return false
		}
		e.key = append(e.key, byte(s))
	}
	for _, s := range e.steps[:n] {
		e.key = append(e.key, byte(s.state)<<4|byte(s.truth))
	}
	return true
}

// newTrace writes the steps of the first n rules down.
func (e *evaluator) newTrace(n int) *trace {
	steps := e.walked(n)
	text, err := json.Marshal(steps)
	if err != nil { // strings, numbers and truth values: it cannot fail
		text = []byte("[]")
	}
	return &trace{steps, text}
}

func (e *evaluator) walked(n int) []Step {
	total := 0
	for _, s := range e.leaves {
		if s != notNeeded {
			total++
		}
	}
	steps, leaves := make([]Step, n), make([]Leaf, 0, total)
	for i, r := range e.p.rules[:n] {
		st := e.steps[i]
		steps[i] = Step{Rule: r.name, Result: st.truth, Matched: st.state == matched, Shadow: r.shadow}
		if st.state == matched {
			steps[i].Do, steps[i].Score = r.do, r.score
		}
		if st.truth == Unknown {
			steps[i].Why = e.why(r.when)
		}
		first := len(leaves)
		r.when.leaves(func(n *node) {
			if s := e.leaves[n.number]; s != notNeeded {
				leaves = append(leaves, Leaf{Text: n.leaf.text, Result: s.truth()})
			}
		})
		steps[i].Leaves = leaves[first:len(leaves):len(leaves)]
	}
	return steps
}

// why says which facts an unknown rests on.
func (e *evaluator) why(n *node) string {
	var out []string
	add := func(s string) {
		for _, o := range out {
			if o == s {
				return
			}
		}
		out = append(out, s)
	}
	n.leaves(func(n *node) {
		switch e.leaves[n.number] {
		case off:
			add(n.leaf.off + " is off")
		case broken:
			add(n.leaf.text + " could not be evaluated")
		case failed, deferred, pending:
			for _, list := range [2][]int{n.leaf.reads, n.leaf.errs} {
				for _, i := range list {
					switch k := e.look(i); {
					case !k.there:
						add(e.p.names[i] + " was not gathered")
					case errors.Is(k.err, context.DeadlineExceeded):
						add(e.p.names[i] + " timed out")
					case k.err != nil:
						add(e.p.names[i] + " failed")
					}
				}
			}
		}
	})
	return strings.Join(out, ", ")
}

// deferredFilter names the filter whose silence has a rule put off.
func (e *evaluator) deferredFilter(n *node) (name string) {
	n.leaves(func(n *node) {
		if name != "" || e.leaves[n.number] != deferred {
			return
		}
		for _, i := range n.leaf.reads {
			if e.look(i).err != nil && e.p.defers[i] {
				name = e.p.names[i]
				return
			}
		}
	})
	return name
}
