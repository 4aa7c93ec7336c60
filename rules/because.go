package rules

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/mail"
)

// Limits of what a rule says.
const (
	maxValue    = 200 // bytes of one value put in
	maxSentence = 400
	maxArgument = 900  // bytes of an argument of an effect: with its name, a field of one line
	maxText     = 2000 // bytes of a template as written
)

// A template is text with {{expressions}} in it.
type template struct {
	parts []part
	needs []int // filters whose facts it shows
}

// A part is either text or an expression.
type part struct {
	text string
	expr *program
	off  bool // it reads a filter that is not configured
}

// template compiles a text.
func (c *compiler) template(s scalar) template {
	var t template
	runes := []rune(s.value)
	if len(s.value) > maxText {
		c.fault(s, 0, fmt.Sprintf("a text has at most %d characters", maxText), "")
		return t
	}
	text := 0
	for i := 0; i+1 < len(runes); i++ {
		if runes[i] != '{' || runes[i+1] != '{' {
			continue
		}
		end := closeBraces(runes, i+2)
		if end < 0 {
			c.fault(s, i, "{{ is never closed by }}", "")
			return t
		}
		t.parts = append(t.parts, part{text: plainText(string(runes[text:i]))})
		c.value(&t, s.part(i+2, end))
		i, text = end+1, end+2
	}
	t.parts = append(t.parts, part{text: plainText(string(runes[text:]))})
	slices.Sort(t.needs)
	t.needs = slices.Compact(t.needs)
	return t
}

// closeBraces finds }} outside of quotes, from i on.
func closeBraces(runes []rune, i int) int {
	quote := rune(0)
	for ; i+1 < len(runes); i++ {
		switch r := runes[i]; {
		case quote != 0 && r == '\\':
			i++
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case r == '}' && runes[i+1] == '}':
			return i
		}
	}
	return -1
}

// value compiles what stands between the braces.
func (c *compiler) value(t *template, s scalar) {
	tree, ok := c.parse(s)
	if !ok {
		return
	}
	if typ := tree.Node.Type(); !showable(typ) {
		c.fault(s, tree.Node.Location().From, fmt.Sprintf("this is a %s, which cannot be shown as text", typeName(typ)), "")
		return
	}
	p, err := c.program(tree, tree.Node)
	if err != nil {
		c.fault(s, 0, tidy(err.Error()), "")
		return
	}
	isOff := c.offName(p) != ""
	t.parts = append(t.parts, part{expr: &p, off: isOff})
	if !isOff {
		t.needs = append(append(t.needs, p.reads...), p.errs...)
	}
}

func showable(t reflect.Type) bool {
	return plainKind(t.Kind()) || t == timeType || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String
}

// plainText keeps a rule author's own words but for control characters.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r == '\u2028' || r == '\u2029' || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// show writes a value; what a client sent is reduced to printable ASCII.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return mail.Printable(v, maxValue)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		var b strings.Builder
		for i, s := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if b.WriteString(s); b.Len() > maxValue {
				break
			}
		}
		return mail.Printable(b.String(), maxValue)
	}
	return mail.Printable(fmt.Sprint(v), maxValue)
}

// render fills the template in. A fact that nobody knows is "unknown".
func (e *evaluator) render(t template) string {
	if len(t.parts) == 1 {
		return t.parts[0].text
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		switch {
		case p.off || e.readable(p.expr) != saysTrue:
			b.WriteString("unknown")
		default:
			v, err := e.run(p.expr)
			if err != nil {
				v = "?"
			}
			b.WriteString(show(v))
		}
	}
	return b.String()
}

// sentence renders what people read: on one line, bounded.
func (e *evaluator) sentence(t template) string {
	s := e.render(t)
	if strings.Contains(s, "  ") || strings.HasSuffix(s, " ") || strings.HasPrefix(s, " ") {
		s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
	}
	return cut(s, maxSentence)
}

// cut bounds a text, between characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// A replyText is what a deciding rule wants said.
type replyText struct {
	code     int
	enhanced [3]int
	text     template
}

var replyForm = regexp.MustCompile(`(?s)^([0-9]{3})[ \t]+(?:([0-9])\.([0-9]{1,3})\.([0-9]{1,3})[ \t]+)?(\S.*)$`)

// reply compiles "550 5.7.1 text". The code's class is the disposition's (RFC 5321 4.2.1),
// and so is the first number of the enhanced code (RFC 3463 2).
func (c *compiler) reply(s scalar, do Disposition) *replyText {
	m := replyForm.FindStringSubmatchIndex(s.value)
	if m == nil {
		c.fault(s, 0, "a reply is a code and a text", "write 550 5.7.1 and what is to be said")
		return nil
	}
	number := func(i int) int {
		if m[2*i] < 0 {
			return 0
		}
		n, _ := strconv.Atoi(s.value[m[2*i]:m[2*i+1]])
		return n
	}
	r := &replyText{code: number(1), enhanced: [3]int{number(2), number(3), number(4)}}
	class := map[Disposition]int{Reject: 5, Defer: 4}[do]
	switch {
	case do == Deliver:
		c.fault(s, 0, "what is delivered is answered by the internal server", "leave reply out")
	case class == 0 && r.code != 250:
		c.fault(s, 0, fmt.Sprintf("%s is answered with 250, not %d", do, r.code), "")
	case class != 0 && r.code/100 != class:
		c.fault(s, 0, fmt.Sprintf("%s is answered with %dxx, not %d", do, class, r.code), "")
	case r.code == 421 || r.code == 521:
		c.fault(s, 0, fmt.Sprintf("%d would end the connection", r.code), "")
	case m[4] >= 0 && r.enhanced[0] != r.code/100:
		c.fault(s, m[4], fmt.Sprintf("an enhanced code behind %d begins with %d", r.code, r.code/100), "")
	}
	if m[4] < 0 {
		r.enhanced = [3]int{r.code / 100, 7, 1}
		if r.code == 250 {
			r.enhanced = [3]int{2, 0, 0}
		}
	}
	r.text = c.template(s.part(utf8.RuneCountInString(s.value[:m[10]]), utf8.RuneCountInString(s.value)))
	return r
}

// fixed is the text of a template that shows no values.
func (t *template) fixed() (text string, ok bool) {
	if len(t.parts) != 1 || t.parts[0].expr != nil {
		return "", false
	}
	return t.parts[0].text, true
}
