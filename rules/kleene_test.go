package rules

import (
	"math/rand/v2"
	"testing"
)

// TestKleeneTables holds and, or and not against the tables of Kleene's strong logic.
func TestKleeneTables(t *testing.T) {
	values := []set{isFalse, isUnknown, isTrue} // in Kleene's order: and is min, or is max
	for i, a := range values {
		if got, want := a.not(), values[2-i]; got != want {
			t.Errorf("not %b = %b, want %b", a, got, want)
		}
		for j, b := range values {
			if got, want := a.and(b), values[min(i, j)]; got != want {
				t.Errorf("%b and %b = %b, want %b", a, b, got, want)
			}
			if got, want := a.or(b), values[max(i, j)]; got != want {
				t.Errorf("%b or %b = %b, want %b", a, b, got, want)
			}
		}
	}
}

// TestSetsOfValues: a set is what its members give, each with each.
func TestSetsOfValues(t *testing.T) {
	each := func(s set, f func(set)) {
		for _, v := range []set{isFalse, isTrue, isUnknown} {
			if s&v != 0 {
				f(v)
			}
		}
	}
	for a := set(1); a <= anything; a++ {
		for b := set(1); b <= anything; b++ {
			var and, or set
			each(a, func(x set) { each(b, func(y set) { and |= x.and(y); or |= x.or(y) }) })
			if a.and(b) != and || a.or(b) != or {
				t.Errorf("%03b, %03b: and %03b want %03b, or %03b want %03b", a, b, a.and(b), and, a.or(b), or)
			}
		}
	}
}

func randomNode(r *rand.Rand, depth int, leaves *int) *node {
	switch k := r.IntN(4); {
	case depth == 0 || k == 0:
		*leaves++
		return &node{op: opLeaf, number: *leaves - 1}
	case k == 1:
		return randomNode(r, depth-1, leaves).negated()
	default:
		return join(opAnd+op(k-2), randomNode(r, depth-1, leaves), randomNode(r, depth-1, leaves))
	}
}

// TestFoldIsExact: with every leaf once in the tree, the set of a tree is exactly what it
// can become when its leaves get one value each.
func TestFoldIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 0
		tree := randomNode(r, 4, &n)
		if n > 7 {
			continue
		}
		can := make([]set, n)
		for i := range can {
			can[i] = []set{isFalse, isTrue, isUnknown, either, anything}[r.IntN(5)]
		}
		var reached set
		var assign func(i int, now []set)
		assign = func(i int, now []set) {
			if i == n {
				reached |= tree.fold(func(l *node) set { return now[l.number] })
				return
			}
			for _, v := range []set{isFalse, isTrue, isUnknown} {
				if can[i]&v != 0 {
					assign(i+1, append(now[:i:i], v))
				}
			}
		}
		assign(0, nil)
		if got := tree.fold(func(l *node) set { return can[l.number] }); got != reached {
			t.Fatalf("fold gives %03b, reachable is %03b", got, reached)
		}
	}
}
