package gateway

import (
	"slices"
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
	bytes  bool // it changes the message, not only where it goes
	params func(s EffectScope) []rules.Param
	apply  func(e *edits, x *rules.Effect)
}

// What rules may change is a line of this table. Effects change what is delivered; what is held
// stays as it was received, and what is released is that.
var effects = []effect{ // a constant table
	{"add_header", "Adds a header field.", true, headerAndText, func(e *edits, x *rules.Effect) { e.addHeader(x.Args[0], x.Args[1]) }},
	{"remove_header", "Removes every header field of that name.", true, header, func(e *edits, x *rules.Effect) { e.remove = append(e.remove, x.Args[0]) }},
	{"tag_subject", "Puts a tag before the subject, unless it is there.", true, tagText, func(e *edits, x *rules.Effect) { e.tag(x.Args[0]) }},
	{"redirect", "Gives the recipient's copy to another address of ours instead.", false, address, func(e *edits, x *rules.Effect) { e.redirect = parsed(x.Args[0]) }},
	{"bcc", "Gives the same to another address of ours, too, such as an archive.", false, address, func(e *edits, x *rules.Effect) { e.bcc = append(e.bcc, parsed(x.Args[0])) }},
	{"route", "Sends the recipient's copy through another internal server, by its name in routes.", false, server, func(e *edits, x *rules.Effect) { e.route = x.Args[0] }},
	{stripEffect, "Takes files out of the message; the whole of it stays in quarantine.", true, files, func(*edits, *rules.Effect) {}},
	{bannerEffect, "Puts a text above the text of the message.", true, bodyText, func(*edits, *rules.Effect) {}},
	{disclaimerEffect, "Puts a text below the text of the message.", true, bodyText, func(*edits, *rules.Effect) {}},
	{notifyEffect, "Tells an address of ours about the message, whatever becomes of it; every 10 minutes at most.", false, noticeArgs, func(*edits, *rules.Effect) {}},
	{"throttle", "Puts mail off (451) that is more than so many copies in that time, of one client, sender or recipient.", false, rateParams, (*edits).throttle},
}

func address(s EffectScope) []rules.Param {
	return []rules.Param{{Name: "address", Check: checkOwnAddress(s.Domains)}}
}

func noticeArgs(s EffectScope) []rules.Param {
	return append(address(s), rules.Param{Name: "text", Text: true, Optional: true})
}

func server(s EffectScope) []rules.Param {
	return []rules.Param{{Name: "name", Check: rules.OneOf(s.Routes...)}}
}

func rateParams(EffectScope) []rules.Param {
	return []rules.Param{{Name: "by", Check: rules.OneOf(perClient, perSender, perRecipient)},
		{Name: "count", Check: checkCount}, {Name: "duration", Check: checkSpan}}
}

func files(EffectScope) []rules.Param {
	return []rules.Param{{Name: "what", Many: true, Check: checkWhat}}
}

func bodyText(EffectScope) []rules.Param { return []rules.Param{{Name: "text", Text: true}} }

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

	redirect mail.Address // where the copy goes instead; of several, the last
	bcc      []mail.Address
	route    string // "" is that of the address; of several, the last
	rates    []rate
}

// parsed reads an address that was checked when the rules were loaded.
func parsed(s string) mail.Address {
	a, _ := mail.ParseAddress(s, false)
	return a
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

// onMessage leaves out what changes no byte of the message: copies that differ in nothing else
// are sent together.
func onMessage(list []rules.Effect) []rules.Effect {
	beside := func(x rules.Effect) bool {
		return slices.ContainsFunc(effects, func(known effect) bool { return known.name == x.Name && !known.bytes })
	}
	if !slices.ContainsFunc(list, beside) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), beside)
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
