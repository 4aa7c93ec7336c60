package gateway

import (
	"strings"

	"postern/mail"
	"postern/rules"
)

// An EffectScope is what arguments of effects may name.
type EffectScope struct {
	Domains mail.DomainSet // addresses of effects lie in them
	Routes  []string       // names of internal servers, DefaultGroup among them
}

// EffectSpecs lists the effects that rules may name.
func EffectSpecs(s EffectScope) []rules.EffectSpec {
	var list []rules.EffectSpec
	for _, e := range effects {
		list = append(list, rules.EffectSpec{Name: e.name, Params: e.params(s), Doc: e.doc})
	}
	return list
}

// An effect is something that rules may have done to a message on its way.
type effect struct {
	name   string
	doc    string
	params func(s EffectScope) []rules.Param
	apply  func(e *edits, x *rules.Effect)
}

// What rules may change is a line of this table. Effects change what is delivered; what is held
// stays as it was received, and what is released is that.
var effects = []effect{ // a constant table
	{"add_header", "Adds a header field.", headerAndText, func(e *edits, x *rules.Effect) { e.addHeader(x.Args[0], x.Args[1]) }},
	{"remove_header", "Removes every header field of that name.", header, func(e *edits, x *rules.Effect) { e.remove = append(e.remove, x.Args[0]) }},
	{"tag_subject", "Puts a tag before the subject, unless it is there.", tagText, func(e *edits, x *rules.Effect) { e.tag(x.Args[0]) }},
}

func header(EffectScope) []rules.Param { return []rules.Param{{Name: "name", Check: checkHeaderName}} }

func headerAndText(EffectScope) []rules.Param {
	return []rules.Param{{Name: "name", Check: checkHeaderName}, {Name: "value", Text: true}}
}

func tagText(EffectScope) []rules.Param { return []rules.Param{{Name: "tag", Text: true}} }

// edits are what the effects of one verdict ask for.
type edits struct {
	add    []byte   // fields for our block
	remove []string // names
	tags   []string // in front of the subject, the first outermost
}

// editsOf collects what effects ask for; those that nobody knows are left out: the compiler has
// refused them long before.
func editsOf(list []rules.Effect) edits {
	var e edits
	for i := range list {
		for _, known := range effects {
			if known.name == list[i].Name && len(list[i].Args) > 0 {
				known.apply(&e, &list[i])
			}
		}
	}
	return e
}

func (e *edits) addHeader(name, value string) {
	if problem, _ := checkHeaderName(name); problem == "" {
		e.add = appendField(e.add, name, value)
	}
}

// tag takes what is on one line and is no encoded word, so that it is found again in a subject.
func (e *edits) tag(s string) {
	s = strings.ReplaceAll(bounded(s, 100), "=?", "= ?")
	if tag := strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " "); tag != "" {
		e.tags = append(e.tags, tag)
	}
}

func (e *edits) removes(f *mail.Field) bool {
	for _, name := range e.remove {
		if strings.EqualFold(bareName(f), name) {
			return true
		}
	}
	return false
}
