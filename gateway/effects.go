package gateway

import (
	"mime"
	"strings"

	"postern/mail"
	"postern/rules"
)

// EffectSpecs lists the effects that rules may name.
func EffectSpecs() []rules.EffectSpec {
	var list []rules.EffectSpec
	for _, e := range effects {
		list = append(list, rules.EffectSpec{Name: e.name, Args: e.args})
	}
	return list
}

// What rules may change on the way is a line of this table. Effects change the header of a
// relayed copy only; what is held stays as it was received.
var effects = []struct { // a constant table
	name  string
	args  []string // names of the parameters, for the messages of the rule compiler
	apply func(e *edits, args []string)
}{
	{"add_header", []string{"name", "value"}, (*edits).addHeader},
	{"remove_header", []string{"name"}, (*edits).removeHeader},
	{"tag_subject", []string{"tag"}, (*edits).tagSubject},
}

// edits are the changes to one header.
type edits struct {
	add    []byte   // fields for our block
	remove []string // names
	tags   []string // in front of the subject, the first outermost
}

// editsOf collects the changes; effects that nobody knows are left out: the compiler has
// refused them long before.
func editsOf(list []rules.Effect) edits {
	var e edits
	for _, x := range list {
		for _, known := range effects {
			if known.name == x.Name && len(known.args) == len(x.Args) {
				known.apply(&e, x.Args)
			}
		}
	}
	return e
}

func (e *edits) addHeader(args []string) {
	if fieldName(args[0]) {
		e.add = appendField(e.add, args[0], args[1])
	}
}

func (e *edits) removeHeader(args []string) { e.remove = append(e.remove, args[0]) }

func (e *edits) tagSubject(args []string) {
	if tag := strings.TrimSpace(bounded(args[0], 100)); tag != "" {
		e.tags = append(e.tags, tag)
	}
}

// fieldName reports whether s is a field name (RFC 5322 2.2) of a length that leaves room.
func fieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 76
}

func (e *edits) removes(f *mail.Field) bool {
	for _, name := range e.remove {
		if strings.EqualFold(bareName(f), name) {
			return true
		}
	}
	return false
}

// subject gives a Subject field with the tags before its text, which stays as it came, encoded
// words and folds and all. ok is false when the tags are there already.
func (e *edits) subject(f *mail.Field) (field []byte, ok bool) {
	body := string(f.Body())
	text := strings.TrimLeft(body, " \t\r\n")
	var d mime.WordDecoder
	plain, err := d.DecodeHeader(mail.Unfold([]byte(text)))
	if err != nil {
		plain = text
	}
	tag := strings.Join(e.tags, " ")
	if strings.HasPrefix(plain, tag) {
		return nil, false
	}
	if strings.HasPrefix(text, "=?") && fieldText(tag) != tag {
		tag += " " // the blank between two encoded words is not part of the text (RFC 2047 6.2)
	}
	out := f.Name + ": " + strings.TrimRight(fieldText(tag), " ")
	if body == text || body[0] == ' ' && len(out)+strings.IndexByte(body+"\n", '\n') > 78 {
		out += "\r\n " + text // starts on a line of its own, as long as that may be
		if text == "" {
			return append([]byte(out), "\r\n"...), true
		}
		return []byte(out), true
	}
	return append([]byte(out), body...), true
}
