package rules

import (
	"math"
	"slices"
)

// A goal is a condition and whether it is to hold.
type goal struct {
	n    *node
	want bool
	rule int // score means another thing in each rule
}

// A claim is what one leaf demands of a value.
type claim struct {
	*atom
	holds bool
}

// A solver finds out whether conditions can hold together. It knows texts, numbers and
// truth values; when a question is too long for it, it says that they can.
type solver struct {
	closed func(path string) []string
	ids    map[string]int // of paths
	words  [][]string     // closed values by path
	claims [][]claim      // by path
	trail  []int          // paths in the order of their claims
	todo   []goal         // of one question
	budget int
}

const solverBudget = 2000 // alternatives tried for one question

func newSolver(closed func(string) []string) *solver {
	return &solver{closed: closed, ids: make(map[string]int)}
}

// can reports whether all goals can hold together.
func (s *solver) can(goals ...goal) bool {
	s.budget = solverBudget
	s.todo = append(s.todo[:0], goals...)
	ok := s.hold(s.todo, nil)
	s.back(0)
	return ok
}

func (s *solver) back(to int) {
	for _, id := range s.trail[to:] {
		s.claims[id] = s.claims[id][:len(s.claims[id])-1]
	}
	s.trail = s.trail[:to]
}

// hold claims what the goals demand for sure, then tries the alternatives one by one. It uses
// the list of what is to do up, but leaves later as it is.
func (s *solver) hold(todo, later []goal) bool {
	for len(todo) > 0 {
		g := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch {
		case g.n.op == opLeaf:
			if !s.claim(g) {
				return false
			}
		case g.n.op == opNot:
			todo = append(todo, goal{g.n.kids[0], !g.want, g.rule})
		case (g.n.op == opAnd) == g.want:
			for _, k := range g.n.kids {
				todo = append(todo, goal{k, g.want, g.rule})
			}
		default:
			later = append(later, g)
		}
	}
	if len(later) == 0 {
		return true
	}
	g, mark := later[0], len(s.trail)
	for _, k := range g.n.kids {
		if s.budget--; s.budget < 0 {
			return true
		}
		if s.hold([]goal{{k, g.want, g.rule}}, later[1:len(later):len(later)]) {
			return true
		}
		s.back(mark)
	}
	return false
}

// claim adds what a leaf demands, and reports whether that can be.
func (s *solver) claim(g goal) bool {
	l := g.n.leaf
	if l.fixed != 0 {
		return (l.fixed == isTrue) == g.want
	}
	path := l.path(g.rule)
	id, ok := s.ids[path]
	if !ok {
		id = len(s.claims)
		s.ids[path] = id
		s.claims = append(s.claims, nil)
		s.words = append(s.words, s.closed(path))
	}
	s.claims[id] = append(s.claims[id], claim{&l.atom, g.want != l.atom.negate})
	s.trail = append(s.trail, id)
	return s.consistent(id)
}

// consistent reports whether some value meets all claims on a path.
func (s *solver) consistent(id int) bool {
	claims := s.claims[id]
	switch c := claims[0]; {
	case c.values != nil:
		return someText(claims, s.words[id])
	case c.op != "":
		return someNumber(claims)
	}
	for _, c := range claims[1:] {
		if c.holds != claims[0].holds {
			return false
		}
	}
	return true
}

func someText(claims []claim, words []string) bool {
	for _, c := range claims {
		if c.holds {
			words = c.values
			break
		}
	}
	if words == nil {
		return true // none of them is demanded, and there are others
	}
	return slices.ContainsFunc(words, func(w string) bool {
		for _, c := range claims {
			if slices.Contains(c.values, w) != c.holds {
				return false
			}
		}
		return true
	})
}

// someNumber tries each number that is named, those just beside it, and those between.
func someNumber(claims []claim) bool {
	tries := make([]float64, 0, 4*len(claims))
	for _, c := range claims {
		tries = append(tries, c.number, math.Nextafter(c.number, math.Inf(-1)), math.Nextafter(c.number, math.Inf(1)))
	}
	return slices.ContainsFunc(tries, func(v float64) bool {
		for _, c := range claims {
			if compares(v, c.op, c.number) != c.holds {
				return false
			}
		}
		return true
	})
}

func compares(v float64, op string, with float64) bool {
	switch op {
	case "<":
		return v < with
	case "<=":
		return v <= with
	case ">":
		return v > with
	case ">=":
		return v >= with
	}
	return v == with
}
