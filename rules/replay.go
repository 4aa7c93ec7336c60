package rules

// Replay decides on facts of the past: what is not there now never comes. missing is nil when
// the verdict is one whatever the missing facts were; else it lists what the verdict hangs on,
// as "clamav" for a filter that did not run and "content.text" for a fact that was not kept,
// and the verdict is empty. The verdict has no steps, and its texts show what is missing as
// unknown. Its effects are told only where it delivers, and have no arguments where these show
// facts. For the same policy, and the facts of a decision, it is that decision.
func (p *Policy) Replay(f Facts) (v Verdict, missing []string) {
	e := p.pool.Get().(*evaluator)
	e.begin(f)
	e.final = true
	defer e.release()
	return e.replay()
}

func (e *evaluator) replay() (v Verdict, missing []string) {
	i := e.course()
	switch {
	case i == len(e.p.rules):
		v = Verdict{Do: Deliver, Because: noObjection, Score: e.score}
	case e.steps[i].state == waits:
		return Verdict{}, e.missing(e.p.rules[i])
	default:
		v.Score = e.score
		e.say(&v, e.p.rules[i], e.steps[i].state)
	}
	if v.Do == Deliver {
		v.Effects = e.asWritten(min(i+1, len(e.p.rules)))
	}
	return v, nil
}

// asWritten lists the effects of the first n rules.
func (e *evaluator) asWritten(n int) (out []Effect) {
	for i, r := range e.p.rules[:n] {
		switch {
		case r.shadow || e.steps[i].state != matched:
		case r.tripped:
			out = append(out, Effect{Name: "add_header", Args: []string{BreakerHeader, r.name}, Rule: r.name})
		default:
			for _, c := range r.effects {
				out = append(out, c.written(r.name))
			}
		}
	}
	return out
}

// written is an effect of a rule with its arguments, unless these show facts.
func (c *call) written(rule string) Effect {
	x := Effect{Name: c.name, Rule: rule}
	args := make([]string, len(c.args))
	for i := range c.args {
		text, fixed := c.args[i].fixed()
		if !fixed {
			return x
		}
		args[i] = cut(text, maxArgument)
	}
	x.Args = args
	return x
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
