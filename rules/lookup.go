package rules

import (
	"fmt"
	"reflect"
	"slices"
)

// readable is saysTrue when all that a program reads is there, else why not. A failure
// that no retry heals outweighs what is still missing; that outweighs a healable one.
func (e *evaluator) readable(p *program) status {
	st := saysTrue
	for _, i := range p.reads {
		k := e.look(i)
		switch {
		case !k.there:
			st = pending
		case k.err == nil:
		case !e.p.defers[i]:
			return failed
		case st != pending:
			st = deferred
		}
	}
	for _, i := range p.errs {
		if !e.look(i).there {
			st = pending
		}
	}
	if e.partial != nil && e.lacks(p, anyFilter) {
		return pending
	}
	return st
}

// awaits reports whether facts that p reads are still to come.
func (e *evaluator) awaits(p *program) bool {
	return slices.ContainsFunc(p.reads, func(i int) bool { return !e.look(i).there })
}

// look asks for a filter's facts, once a Decide.
func (e *evaluator) look(i int) *known {
	k := &e.known[i]
	if k.asked {
		return k
	}
	k.asked = true
	if e.p.offs[i] {
		k.there, k.value = true, e.p.zero[i]
		e.env[e.p.names[i]] = k.value
		return k
	}
	k.value, k.err, k.there = e.facts.Lookup(e.p.names[i])
	if !k.there {
		return k
	}
	if zero := e.p.zero[i]; reflect.TypeOf(k.value) != reflect.TypeOf(zero) {
		if k.err == nil {
			k.err = fmt.Errorf("%s: facts are %T, not %T", e.p.names[i], k.value, zero)
		}
		k.value = withError(zero, k.err)
	}
	e.env[e.p.names[i]] = k.value
	return k
}

// withError puts err's text into the error fact of zero facts.
func withError(zero any, err error) any {
	v := reflect.New(reflect.TypeOf(zero)).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("expr") == "error" && f.Type.Kind() == reflect.String {
			v.Field(i).SetString(err.Error())
		}
	}
	return v.Interface()
}

func (e *evaluator) run(p *program) (any, error) {
	if p.score {
		e.env[scoreWord] = e.score
	}
	return e.vm.Run(p.vm, e.env)
}
