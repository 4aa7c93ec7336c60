package rules

import (
	"fmt"
	"slices"

	"postern/mail"
)

// An unanswered is what a rule makes of it that it stays unknown because a filter gave no
// answer. A filter that is not configured is not one that gives no answer: what rests on it
// is skipped.
type unanswered uint8

const (
	byFilter   unanswered = iota // what is set for the filter: skip, or defer
	skip                         // as if it did not hold
	putOff                       // 451: a retry may help
	quarantine                   // held
)

var unknownWords = []string{"skip", "defer", "quarantine"}

func (u unanswered) String() string {
	if u == byFilter {
		return ""
	}
	return unknownWords[u-1]
}

// set gives the values that a leaf of this status can take in its rule.
func (l *leaf) set(s status) set {
	switch {
	case s == failed && l.unknown > skip:
		return either
	case s == deferred && l.unknown == skip:
		return isUnknown
	}
	return s.set()
}

// sayUnknown puts into v what it means that r hangs on a filter without an answer.
func (e *evaluator) sayUnknown(v *Verdict, r *rule) {
	v.Because = fmt.Sprintf("%s gave no answer", e.silent(r))
	if e.doubt != nil {
		v.Because = fmt.Sprintf("rule %s would refuse it, but a check gave no answer with which rule %s could decide otherwise", r.name, e.doubt.name)
	}
	if r.unknown == quarantine {
		v.Do = Quarantine
		return
	}
	v.Do = Defer
	v.Reply = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "a check of this message gave no answer, please try again later"}
}

// silent names the filter without an answer on which a rule hangs.
func (e *evaluator) silent(r *rule) string {
	l := r.when.first(e.now, func(n *node) bool { return e.leaves[n.number] == deferred || e.leaves[n.number] == failed })
	if l == nil {
		return ""
	}
	return e.unanswering(l)
}

// unanswering names a filter that the leaf reads and that gave no answer.
func (e *evaluator) unanswering(l *leaf) string {
	for _, list := range [2][]int{l.reads, l.errs} {
		for _, i := range list {
			if e.look(i).err != nil {
				return e.p.names[i]
			}
		}
	}
	return ""
}

// final tells whether nothing can undo it: what is refused or dropped is gone.
func (d Disposition) final() bool { return d == Reject || d == Discard }

// certain is asked before rule i refuses or drops a message. It matches; but where filters
// gave no answer, would it whatever they had said, and would no rule before it have decided
// otherwise? If not, it is as unknown as they are. With live, shadow rules have a say, too.
func (e *evaluator) certain(i int, steps []step, live bool) step {
	if !e.anySilent(i) {
		return step{matched, True}
	}
	score := e.score
	defer func() { e.score = score }()
	e.score = 0
	var b bounds
	var lacking *leaf
	for j, r := range e.p.rules[:i+1] {
		if r.shadow && !live || r.tripped {
			continue
		}
		could := func(n *node) set { return e.could(n, b) }
		s := r.when.fold(could)
		unsure := s&isTrue != 0 && s != isTrue
		if unsure && lacking == nil {
			lacking = r.when.first(could, e.isPending)
		}
		if r.do == None && !(unsure && r.fragile) {
			b.add(r.score, s)
			if steps[j].state == matched {
				e.score += r.score
			}
			continue
		}
		if j == i && s == isTrue || j < i && (s&isTrue == 0 || r.do == e.p.rules[i].do && !r.fragile) {
			continue
		}
		if lacking != nil {
			e.lacking = lacking
			return step{waits, Unknown}
		}
		e.doubt = r
		if e.p.rules[i].unknown == skip {
			return step{skipped, Unknown}
		}
		return step{hinges, Unknown}
	}
	return step{matched, True}
}

// anySilent reports whether the first i+1 rules speak of a filter that gave no answer.
func (e *evaluator) anySilent(i int) bool { return slices.ContainsFunc(e.p.rules[:i+1], e.hangs) }

// hangs reports whether a rule speaks of a filter that gave no answer.
func (e *evaluator) hangs(r *rule) (found bool) {
	r.when.leaves(func(n *node) { found = found || e.unanswering(n.leaf) != "" })
	return found
}

// could gives the values that a leaf could have had with an answer of every filter.
func (e *evaluator) could(n *node, b bounds) set {
	l := n.leaf
	switch {
	case l.off != "" || l.fixed != 0:
		return e.leaf(n)
	case e.unanswering(l) != "":
		return either
	case l.score && b.low != b.high:
		return b.compare(l)
	}
	return e.leaf(n)
}

// refuseGuesses finds rules that would refuse or drop a message because a filter gave no
// answer: by its error, or by a score that was given for it. Whatever else is unknown, certain
// sees to.
func (c *compiler) refuseGuesses(rules []*rule) {
	var scored *rule // for an error
	for _, r := range rules {
		if r.when == nil {
			continue
		}
		guess := satisfied(r.when, true)
		switch {
		case r.do.final() && guess != nil:
			e := guess.at.file.fault(guess.at.place, fmt.Sprintf("%s must not rest on %s giving no answer", r.do, c.names[guess.errs[0]]),
				"do: defer has it tried again, do: quarantine holds it")
			c.errs = append(c.errs, e)
		case r.do.final() && scored != nil:
			r.when.leaves(func(n *node) {
				if n.leaf.score {
					e := n.leaf.at.file.fault(n.leaf.at.place, fmt.Sprintf("%s must not rest on a filter giving no answer, for which rule %s scores", r.do, scored.name),
						"do: quarantine holds it; or take .error out of that rule")
					c.errs = append(c.errs, e)
				}
			})
		case r.do == None && r.score != 0 && guess != nil && scored == nil:
			scored = r
		}
	}
}

// satisfied finds a leaf that a filter's failure alone lets be as it is wanted.
func satisfied(n *node, want bool) (found *leaf) {
	switch n.op {
	case opNot:
		return satisfied(n.kids[0], !want)
	case opLeaf:
		l := n.leaf
		if len(l.errs) == 0 || len(l.reads) > 0 || len(l.atom.values) == 1 && l.atom.values[0] == "" && l.atom.negate != want {
			return nil
		}
		return l
	}
	for _, k := range n.kids {
		if found == nil {
			found = satisfied(k, want)
		}
	}
	return found
}

// bounds are the sums between which a score lies when some of its parts are unknown.
type bounds struct{ low, high float64 }

func (b *bounds) add(score float64, s set) {
	switch {
	case s == isTrue:
		b.low, b.high = b.low+score, b.high+score
	case s&isTrue != 0:
		b.low, b.high = b.low+min(score, 0), b.high+max(score, 0)
	}
}

// compare says what a leaf about the score gives for all sums between the bounds.
func (b bounds) compare(l *leaf) set {
	if l.atom.path != scoreWord || l.atom.op == "" || l.atom.op == "==" {
		return either
	}
	low, high := compares(b.low, l.atom.op, l.atom.number), compares(b.high, l.atom.op, l.atom.number)
	if low != high {
		return either
	}
	return says(low != l.atom.negate).set()
}
