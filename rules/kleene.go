package rules

// A set holds the truth values that a piece of a condition can still take. A value that
// is known is a set of one; a fact that is not there yet leaves all three; a filter that
// gave no answer, but may next time, leaves true and false. What is decided while facts
// are missing is therefore what would be decided with all of them.
type set uint8

const (
	isFalse set = 1 << iota
	isTrue
	isUnknown

	either   = isFalse | isTrue
	anything = isFalse | isTrue | isUnknown
)

func (a set) and(b set) set {
	r := (a | b) & isFalse
	r |= a & b & isTrue
	if a&isUnknown != 0 && b&^isFalse != 0 || b&isUnknown != 0 && a&^isFalse != 0 {
		r |= isUnknown
	}
	return r
}

func (a set) not() set {
	return a&isUnknown | a&isFalse<<1 | a&isTrue>>1
}

func (a set) or(b set) set { return a.not().and(b.not()).not() }

// A status is what became of a leaf.
type status uint8

const (
	notNeeded status = iota // never evaluated: it could not matter
	saysFalse
	saysTrue
	failed   // unknown: a filter gave no answer
	off      // unknown: the filter is not configured
	deferred // a filter gave no answer, and a retry may help
	broken   // the expression failed while it ran
	pending  // a fact is not there yet
)

// set gives the values that a leaf of this status can take.
func (s status) set() set {
	switch s {
	case saysFalse:
		return isFalse
	case saysTrue:
		return isTrue
	case failed, off:
		return isUnknown
	case deferred, broken:
		return either
	}
	return anything
}

func (s status) truth() Truth {
	switch s {
	case saysFalse:
		return False
	case saysTrue:
		return True
	}
	return Unknown
}

type op uint8

const (
	opLeaf op = iota
	opNot
	opAnd
	opOr
)

// A node is a condition: a leaf, or nodes joined.
type node struct {
	op     op
	kids   []*node
	leaf   *leaf
	number int // of the leaf in the policy
}

// join puts two conditions together; nil when one of them had a mistake.
func join(o op, l, r *node) *node {
	if l == nil || r == nil {
		return nil
	}
	n := &node{op: o}
	for _, k := range []*node{l, r} {
		if k.op == o {
			n.kids = append(n.kids, k.kids...)
		} else {
			n.kids = append(n.kids, k)
		}
	}
	return n
}

func (n *node) negated() *node {
	if n == nil {
		return nil
	}
	return &node{op: opNot, kids: []*node{n}}
}

// leaves calls f for each leaf, from left to right.
func (n *node) leaves(f func(n *node)) {
	if n.op == opLeaf {
		f(n)
	}
	for _, k := range n.kids {
		k.leaves(f)
	}
}

// fold joins the sets of the leaves. and and or stop where the rest cannot matter.
func (n *node) fold(of func(*node) set) set {
	switch n.op {
	case opNot:
		return n.kids[0].fold(of).not()
	case opAnd:
		s := isTrue
		for _, k := range n.kids {
			if s = s.and(k.fold(of)); s == isFalse {
				break
			}
		}
		return s
	case opOr:
		s := isFalse
		for _, k := range n.kids {
			if s = s.or(k.fold(of)); s == isTrue {
				break
			}
		}
		return s
	}
	return of(n)
}
