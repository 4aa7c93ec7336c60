package rules

// Replay decides on facts of the past: what is not there now never comes. missing is nil when
// the verdict is one whatever the missing facts were; else it lists what the verdict hangs on,
// as "clamav" for a filter that did not run and "content.text" for a fact that was not kept,
// and the verdict is empty. The verdict has no steps and no effects, and its texts show what is
// missing as unknown. For the same policy, and the facts of a decision, it is that decision.
func (p *Policy) Replay(f Facts) (v Verdict, missing []string) {
	e := p.pool.Get().(*evaluator)
	e.begin(f)
	e.final = true
	defer e.release()
	return e.replay()
}

func (e *evaluator) replay() (v Verdict, missing []string) {
	i := e.course()
	if i == len(e.p.rules) {
		return Verdict{Do: Deliver, Because: noObjection, Score: e.score}, nil
	}
	if e.steps[i].state == waits {
		return Verdict{}, e.missing(e.p.rules[i])
	}
	v.Score = e.score
	e.say(&v, e.p.rules[i], e.steps[i].state)
	return v, nil
}

// missing names what r waits for.
func (e *evaluator) missing(r *rule) (out []string) {
	l := e.lacked(r)
	for _, name := range e.waitingFor(r) {
		i, _ := e.p.index(name)
		if !e.look(i).there {
			out = append(out, name)
			continue
		}
		for _, f := range l.facts {
			if f.filter == i && e.partial.Lacks(name, f.fact) {
				out = append(out, name+"."+f.fact)
			}
		}
	}
	return out
}
