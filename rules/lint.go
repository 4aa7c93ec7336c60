package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Lint looks for rules that load, but are hardly meant: that can never match or never be
// reached, that repeat or contradict one before them, that trust what anybody can write,
// that ask for a filter which is not configured. What it cannot follow it does not
// complain about. The warnings come in the order of the rules. It looks at each pair of
// rules, so it is for check and plan, not for the way of a message.
func (p *Policy) Lint() []Warning {
	l := linter{p: p, solver: newSolver(p.words.closedValues), paths: make([][]string, len(p.rules))}
	for i, r := range p.rules {
		l.paths[i] = r.paths(i)
	}
	for i, r := range p.rules {
		for _, d := range r.doubts {
			l.out = append(l.out, d.at.warn(r.name, "unknown-value", d.hint, "%s", d.msg))
		}
		if len(r.info.Off) > 0 {
			l.off(r)
		} else if len(r.doubts) == 0 {
			l.dead(i)
		}
		l.trust(r)
	}
	return l.out
}

type linter struct {
	p      *Policy
	solver *solver
	paths  [][]string // of each rule, sorted
	out    []Warning
}

func (l *linter) warn(r *rule, code, hint, format string, args ...any) {
	l.out = append(l.out, r.at.warn(r.name, code, hint, format, args...))
}

// paths lists the values that a rule's condition is about.
func (r *rule) paths(number int) (out []string) {
	r.when.leaves(func(n *node) {
		if n.leaf.fixed == 0 {
			out = append(out, n.leaf.path(number))
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// path names the value that a leaf is about. The score is another one in each rule.
func (l *leaf) path(rule int) string {
	if l.score {
		return strconv.Itoa(rule) + ":" + l.atom.path
	}
	return l.atom.path
}

// off says that a rule asks for what nobody finds out. The built-in rules ask for what
// there may be.
func (l *linter) off(r *rule) {
	if r.file == builtinName {
		return
	}
	said := make(map[string]bool)
	r.when.leaves(func(n *node) {
		if o := n.leaf.off; o != "" && !said[o] {
			said[o] = true
			l.out = append(l.out, n.leaf.at.warn(r.name, "filter-off", "configure it, or take this out",
				"%s is not configured, so this is neither true nor false", o))
		}
	})
}

// dead looks for what keeps a rule from ever deciding.
func (l *linter) dead(i int) {
	r := l.p.rules[i]
	matches := goal{r.when, true, i}
	if !l.solver.can(matches) {
		l.warn(r, "never-matches", "", "its condition can never hold")
		return
	}
	if r.shadow {
		return
	}
	for j, earlier := range l.p.rules[:i] {
		if earlier.shadow || len(earlier.info.Off) > 0 || !l.related(i, j) || r.do == None && earlier.do == None && !r.same(earlier) {
			continue
		}
		if r.do != None && earlier.do == None {
			continue
		}
		if !l.solver.can(matches, goal{earlier.when, false, j}) {
			l.overtaken(r, earlier, !l.solver.can(goal{earlier.when, true, j}, goal{r.when, false, i}))
			return
		}
	}
	l.overtakenByAll(i)
}

// related reports whether two rules speak of the same, or the earlier one of everything.
func (l *linter) related(i, j int) bool {
	if len(l.paths[j]) == 0 {
		return true
	}
	return slices.ContainsFunc(l.paths[j], func(path string) bool {
		_, ok := slices.BinarySearch(l.paths[i], path)
		return ok
	})
}

// same reports whether two rules that go on to the next do the same.
func (r *rule) same(o *rule) bool {
	return r.score == o.score && r.does == o.does
}

// overtaken says that an earlier rule leaves nothing to this one.
func (l *linter) overtaken(r, earlier *rule, equal bool) {
	where := fmt.Sprintf("rule %s (line %d)", earlier.name, earlier.line)
	if earlier.file != r.file {
		where = fmt.Sprintf("rule %s (%s:%d)", earlier.name, earlier.file, earlier.line)
	}
	switch {
	case r.do == None && earlier.do == None:
		if equal {
			l.warn(r, "repeats", "take one of them out", "%s has the same condition and does the same", where)
		}
	case equal && r.do == earlier.do:
		l.warn(r, "repeats", "take one of them out", "%s has the same condition and does the same", where)
	case equal && r.do != None:
		l.warn(r, "contradicts", "take one of them out", "%s has the same condition and does %s: this one is never reached", where, earlier.do)
	case r.do != earlier.do:
		l.warn(r, "never-reached", "move it in front of that rule, if it is meant as an exception", "%s decides on all that this one matches", where)
	default:
		l.warn(r, "never-reached", "take it out", "%s decides on all that this one matches", where)
	}
}

// overtakenByAll looks whether the simple rules before this one leave anything to it.
func (l *linter) overtakenByAll(i int) {
	goals := []goal{{l.p.rules[i].when, true, i}}
	var names []string
	for j, earlier := range l.p.rules[:i] {
		if earlier.do != None && !earlier.shadow && len(earlier.info.Off) == 0 && plainly(earlier.when, false) {
			goals = append(goals, goal{earlier.when, false, j})
			names = append(names, earlier.name)
		}
	}
	if len(names) < 2 || l.solver.can(goals...) {
		return
	}
	for k := len(goals) - 1; k > 0; k-- { // which of them are to blame?
		if fewer := slices.Delete(slices.Clone(goals), k, k+1); !l.solver.can(fewer...) {
			goals, names = fewer, slices.Delete(names, k-1, k)
		}
	}
	l.warn(l.p.rules[i], "never-reached", "", "the rules %s decide on all that this one matches", strings.Join(names, ", "))
}

// plainly reports whether a condition that is to be so demands something of each leaf,
// without alternatives.
func plainly(n *node, want bool) bool {
	switch {
	case n.op == opLeaf:
		return true
	case n.op == opNot:
		return plainly(n.kids[0], !want)
	case (n.op == opAnd) != want:
		return false
	}
	for _, k := range n.kids {
		if !plainly(k, want) {
			return false
		}
	}
	return true
}
