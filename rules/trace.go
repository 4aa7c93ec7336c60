package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
		if s.state == hinges {
			return false
		}
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
	for _, r := range e.p.rules[:n] {
		r.when.leaves(func(*node) { total++ })
	}
	steps, leaves := make([]Step, n), make([]Leaf, 0, total)
	for i, r := range e.p.rules[:n] {
		st := e.steps[i]
		steps[i] = Step{Rule: r.name, Result: st.truth, Matched: st.state == matched, Shadow: r.shadow, Breaker: r.tripped}
		if st.state == matched {
			steps[i].Do, steps[i].Score = r.do, r.score
		}
		if st.truth == Unknown {
			steps[i].Why = e.why(r)
		}
		first := len(leaves)
		r.when.leaves(func(n *node) {
			s := e.leaves[n.number]
			l := Leaf{Text: n.leaf.text, Result: s.truth()}
			switch {
			case s == notNeeded || s == pending && st.truth != Unknown:
				l.Why = NotNeeded
			case l.Result == Unknown:
				l.Why = strings.Join(e.unknowns(nil, n), ", ")
			}
			leaves = append(leaves, l)
		})
		steps[i].Leaves = leaves[first:len(leaves):len(leaves)]
	}
	return steps
}

// why says which facts an unknown rests on.
func (e *evaluator) why(r *rule) string {
	var out []string
	r.when.leaves(func(n *node) { out = e.unknowns(out, n) })
	if len(out) == 0 && e.doubt != nil {
		var silent []string
		e.doubt.when.leaves(func(n *node) { silent = e.unanswered(silent, n.leaf) })
		out = append(out, fmt.Sprintf("rule %s could decide otherwise: %s", e.doubt.name, strings.Join(silent, ", ")))
	}
	return strings.Join(out, ", ")
}

// unknowns adds to out why a leaf is unknown.
func (e *evaluator) unknowns(out []string, n *node) []string {
	switch e.leaves[n.number] {
	case off:
		return addNew(out, n.leaf.off+" is off")
	case broken:
		return addNew(out, n.leaf.text+" could not be evaluated")
	case failed, deferred, pending:
		return e.unanswered(out, n.leaf)
	}
	return out
}

// unanswered adds to out which filters gave a leaf no answer, and how.
func (e *evaluator) unanswered(out []string, l *leaf) []string {
	for _, list := range [2][]int{l.reads, l.errs} {
		for _, i := range list {
			switch k := e.look(i); {
			case !k.there:
				out = addNew(out, e.p.names[i]+" was not gathered")
			case errors.Is(k.err, context.DeadlineExceeded):
				out = addNew(out, e.p.names[i]+" timed out")
			case k.err != nil:
				out = addNew(out, e.p.names[i]+" failed")
			}
		}
	}
	return out
}

func addNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
