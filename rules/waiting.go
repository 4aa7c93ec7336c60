package rules

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
