package rules

import (
	"fmt"
	"reflect"
	"time"

	"github.com/expr-lang/expr/vm"

	"postern/mail"
)

// Facts is what is known of one recipient's copy at this moment.
type Facts interface {
	// Lookup gives a filter's facts. known is false while it runs or was not started; after
	// a failure value is the zero facts with only the error field set.
	Lookup(name string) (value any, err error, known bool)
}

// Shared is what Facts may be besides: most of them are the same for all recipients of a
// message, and what is said of those need be found out only once.
type Shared interface {
	Facts
	Memory() *Memory      // the same for all who share
	Own(name string) bool // this filter's facts are not shared
}

// A Memory keeps what leaves said of shared facts. It is for one policy and one goroutine;
// the zero one is empty.
type Memory struct{ said []status }

// noObjection is what a message is told that no rule decided about.
const noObjection = "no rule objected"

// Decide walks the rules in their order. The first that matches and has a disposition
// decides; one without adds its score and its effects, which belong to the verdict
// whatever it is. When a rule cannot be decided before more is known, waiting names what
// to gather next, and the verdict is empty: Decide again with it. It may be called from
// several goroutines, and costs little enough to be called often.
func (p *Policy) Decide(f Facts) (Verdict, []string) {
	e := p.pool.Get().(*evaluator)
	e.begin(f)
	defer e.release()
	i := e.course()
	if i < len(p.rules) && e.steps[i].state == waits {
		return Verdict{}, e.waitingFor(p.rules[i])
	}
	return e.verdict(i), nil
}

// begin takes up a message.
func (e *evaluator) begin(f Facts) {
	e.facts = f
	if e.shared, _ = f.(Shared); e.shared != nil && e.shared.Memory().said == nil {
		e.shared.Memory().said = make([]status, e.p.leaves)
	}
	if e.partial, _ = f.(Partial); e.partial != nil && !e.partial.Partial() {
		e.partial = nil
	}
}

// course walks the rules and gives the number of the one that ends the walk, be it that it
// decides or that it has to wait; behind the last when none does.
func (e *evaluator) course() int {
	for i, r := range e.p.rules {
		if r.shadow {
			continue
		}
		e.steps[i] = e.walk(r)
		if e.steps[i].state == matched && r.tripped {
			continue // it has no say; what it cannot know it holds up as ever
		}
		switch e.steps[i].state {
		case waits, hinges, breaks:
			return i
		case matched:
			if r.do.final() {
				e.steps[i] = e.certain(i, e.steps, false)
			}
			switch {
			case e.steps[i].state == skipped:
			case r.do != None:
				return i
			default:
				e.score += r.score
			}
		}
	}
	return len(e.p.rules)
}

// A walked is the state of one rule.
type walked uint8

const (
	skipped walked = iota // false or unknown
	matched
	waits  // for facts
	hinges // on a filter that gave no answer: a retry may help
	breaks // it failed while it ran
)

type step struct {
	state walked
	truth Truth
}

// An evaluator holds the state of one Decide; they are pooled.
type evaluator struct {
	p       *Policy
	facts   Facts
	shared  Shared  // facts again, or nil
	partial Partial // facts again, or nil
	final   bool    // nothing more will come: texts are not waited for
	vm      vm.VM
	env     map[string]any
	known   []known  // by filter
	leaves  []status // by leaf
	steps   []step   // by rule
	score   float64
	doubt   *rule  // without an answer, because of which a rule is not final
	lacking *leaf  // what is waited for to be certain
	key     []byte // of a trace
}

// known is what a look-up gave.
type known struct {
	asked, there bool
	err          error
	value        any
}

func newEvaluator(p *Policy) *evaluator {
	return &evaluator{p: p, vm: vm.VM{MemoryBudget: maxMemory}, env: map[string]any{scoreWord: 0.0},
		known: make([]known, len(p.names)), leaves: make([]status, p.leaves), steps: make([]step, len(p.rules))}
}

// release forgets the message and gives the evaluator back.
func (e *evaluator) release() {
	clear(e.env)
	clear(e.known)
	clear(e.leaves)
	clear(e.steps)
	clear(e.vm.Stack[:cap(e.vm.Stack)])
	clear(e.vm.Variables)
	e.facts, e.shared, e.partial, e.final, e.score, e.env[scoreWord] = nil, nil, nil, false, 0, 0.0
	e.doubt, e.lacking = nil, nil
	e.p.pool.Put(e)
}

// walk finds out where a rule stands.
func (e *evaluator) walk(r *rule) step {
	s := r.when.fold(e.leaf)
	switch {
	case s == isTrue:
		for _, i := range r.says {
			if !e.final && (!r.shadow || r.gather) && !e.look(i).there { // a shadow is not worth a wait
				return step{waits, True}
			}
		}
		return step{matched, True}
	case s == isFalse:
		return step{skipped, False}
	case s&isTrue == 0:
		return step{skipped, Unknown}
	case e.firstPending(r.when) != nil:
		return step{waits, Unknown}
	}
	// What could still be true rests on filters without an answer or on leaves that broke.
	// Were the former plainly unknown, could it still?
	if r.when.fold(func(n *node) set {
		if s := e.leaves[n.number]; s != deferred && s != failed {
			return s.set()
		}
		return isUnknown
	})&isTrue == 0 {
		return step{hinges, Unknown}
	}
	return step{breaks, Unknown}
}

// leaf evaluates one leaf, once.
func (e *evaluator) leaf(n *node) set {
	st := e.leaves[n.number]
	if st == notNeeded {
		st = e.remember(n)
		e.leaves[n.number] = st
	}
	return n.leaf.set(st)
}

// remember is evaluate, for all who share what the leaf reads.
func (e *evaluator) remember(n *node) status {
	if e.shared == nil || n.leaf.score || e.owns(n.leaf.reads) || e.owns(n.leaf.errs) {
		return e.evaluate(n.leaf)
	}
	said := &e.shared.Memory().said[n.number]
	if *said == notNeeded {
		st := e.evaluate(n.leaf)
		if st == pending {
			return st
		}
		*said = st
	}
	return *said
}

func (e *evaluator) owns(filters []int) bool {
	for _, i := range filters {
		if e.shared.Own(e.p.names[i]) {
			return true
		}
	}
	return false
}

func (e *evaluator) evaluate(l *leaf) status {
	switch {
	case l.off != "":
		return off
	case l.fixed == isTrue:
		return saysTrue
	case l.fixed == isFalse:
		return saysFalse
	}
	if st := e.readable(&l.program); st == failed && l.unknown > skip && e.awaits(&l.program) {
		return pending // which filter gave no answer is said only when all of them have ended
	} else if st != saysTrue {
		return st
	}
	if l.dated {
		at := reflect.ValueOf(e.known[l.reads[0]].value).FieldByIndex(e.p.received).Interface().(time.Time)
		return says((l.since.IsZero() || !at.Before(l.since)) && (l.until.IsZero() || at.Before(l.until)))
	}
	v, err := e.run(&l.program)
	if b, ok := v.(bool); ok && err == nil {
		return says(b)
	}
	return broken
}

func says(b bool) status {
	if b {
		return saysTrue
	}
	return saysFalse
}

// first finds the first leaf, from the left, that is so and can matter when leaves can take
// the values that of gives.
func (n *node) first(of func(*node) set, is func(*node) bool) *leaf {
	if n.op == opLeaf {
		if is(n) {
			return n.leaf
		}
		return nil
	}
	for _, k := range n.kids {
		if s := k.fold(of); s&(s-1) == 0 {
			continue // it has one value whatever comes
		}
		if l := k.first(of, is); l != nil {
			return l
		}
	}
	return nil
}

// now gives the values that a leaf can take by what is known.
func (e *evaluator) now(n *node) set { return n.leaf.set(e.leaves[n.number]) }

func (e *evaluator) isPending(n *node) bool { return e.leaves[n.number] == pending }

// firstPending finds the first leaf whose facts are missing and can matter.
func (e *evaluator) firstPending(n *node) *leaf { return n.first(e.now, e.isPending) }

// lacked finds the leaf for which r waits; nil when only its texts do.
func (e *evaluator) lacked(r *rule) *leaf {
	if e.lacking != nil && !r.shadow {
		return e.lacking
	}
	return e.firstPending(r.when)
}

// waitingFor names the filters without which r cannot be decided.
func (e *evaluator) waitingFor(r *rule) []string {
	l := e.lacked(r)
	lists := [2][]int{r.says}
	if l != nil {
		lists = [2][]int{l.reads, l.errs}
	}
	var out []string
	for _, list := range lists {
		for _, i := range list {
			if !e.look(i).there || l != nil && e.lacks(&l.program, i) {
				out = append(out, e.p.names[i])
			}
		}
	}
	return out
}

// verdict is what rule number i decides; none does when i is behind the last.
func (e *evaluator) verdict(i int) Verdict {
	v := Verdict{Do: Deliver, Because: noObjection, Score: e.score}
	n := min(i+1, len(e.p.rules))
	t := e.trace(n)
	v.Steps, v.Trace = t.steps, t.json
	for j, r := range e.p.rules[:n] {
		switch {
		case r.shadow || e.steps[j].state != matched:
		case r.tripped:
			v.trip(r.name)
		case len(r.effects) > 0:
			v.Effects = e.effects(v.Effects, r)
		}
	}
	if i < len(e.p.rules) {
		e.say(&v, e.p.rules[i], e.steps[i].state)
	}
	if e.p.shadows {
		v.Wants = e.wants(n)
		v.Shadow = e.alternate(n, &v)
	}
	return v
}

// say puts into v what r decides.
func (e *evaluator) say(v *Verdict, r *rule, state walked) {
	v.Rule, v.Class, v.File, v.Line, v.Place = r.name, r.class, r.file, r.line, r.place
	switch state {
	case hinges:
		e.sayUnknown(v, r)
	case breaks:
		v.Do, v.Class = Quarantine, "policy"
		v.Because = fmt.Sprintf("rule %s could not be evaluated for this message", r.name)
	default:
		v.Do = r.do
		v.Because = e.sentence(r.because)
		if r.do == Deliver {
			v.Class = ""
		}
		if r.reply != nil {
			v.Reply = &mail.Reply{Code: r.reply.code, Enhanced: r.reply.enhanced,
				Text: mail.Printable(e.sentence(r.reply.text), maxSentence)}
		}
	}
}

func (e *evaluator) effects(out []Effect, r *rule) []Effect {
	for _, c := range r.effects {
		args := make([]string, len(c.args))
		for i, t := range c.args {
			args[i] = cut(e.render(t), maxArgument)
		}
		out = append(out, Effect{Name: c.name, Args: args, Rule: r.name})
	}
	return out
}
