package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"postern/rules"
)

// What people read on a terminal: bounded, on one line where it stands for one thing, and
// never a stranger's control characters.

// wide is how many columns a line has.
const wide = 100

const zeroWidthJoiner = '\u200d'

// clip shows text of a stranger on a terminal: one line, no control characters, bounded.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == zeroWidthJoiner { // in many an emoji, and nothing without it
			return -1
		}
		if !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:max(n-1, 0)]) + "…"
	}
	return s
}

// clipAddress is clip for a From field, of which the address matters more than the name.
func clipAddress(s string, n int) string {
	if i := strings.LastIndexByte(s, '<'); i > 0 && utf8.RuneCountInString(s) > n {
		s = strings.Trim(s[i:], "<> ")
	}
	return clip(s, n)
}

// paragraph prints a label and text beside it, folded at blanks.
func paragraph(w io.Writer, label, text string) {
	indent := utf8.RuneCountInString(label)
	line, used := label, indent
	for word := range strings.FieldsSeq(clip(text, 2000)) {
		n := utf8.RuneCountInString(word)
		if used > indent && used+1+n > wide {
			fmt.Fprintln(w, line)
			line, used = strings.Repeat(" ", indent), indent
		}
		if used > indent {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// printSteps shows the walk: each rule looked at and what it said, its sub-expressions, and the
// facts in them with their values.
func printSteps(w io.Writer, indent string, steps []rules.Step, facts *factTable) {
	width := 0
	for _, s := range steps {
		width = max(width, len(s.Rule))
	}
	score := 0.0
	for i := range steps {
		s := &steps[i]
		said, notes := s.Result.String(), stepNotes(s)
		if s.Matched {
			said = "matched"
		}
		leaves := s.Leaves
		if len(leaves) == 1 && (len(notes) == 0 || s.Why != "" && !s.Shadow) { // it says it all
			notes, leaves = append([]string{leafWords(leaves[0].Text, facts, score)}, notes...), nil
		}
		line := fmt.Sprintf("%s%-*s  %-7s  %s", indent, width, s.Rule, said, strings.Join(notes, "; "))
		printWide(w, line, indent+"           ")
		for _, l := range leaves {
			said, text := l.Result.String(), l.Text
			if l.Why == rules.NotNeeded {
				said = "-"
			} else {
				text = leafWords(l.Text, facts, score)
			}
			if l.Why != "" {
				said += " (" + l.Why + ")"
			}
			printWide(w, fmt.Sprintf("%s  %-7s  %s", indent, said, text), indent+"           ")
		}
		if s.Matched {
			score += s.Score
		}
	}
}

// stepNotes is what is to be said of a rule besides.
func stepNotes(s *rules.Step) (notes []string) {
	if s.Matched && s.Score != 0 {
		notes = append(notes, fmt.Sprintf("score %+g", s.Score))
	}
	if s.Shadow {
		notes = append(notes, "shadow: without effect")
	}
	if s.Why != "" {
		notes = append(notes, s.Why)
	}
	return notes
}

// scoreWord is the sum so far in a sub-expression.
var scoreWord = regexp.MustCompile(`^score\b|[ (]score\b`)

// beside stands between a sub-expression and the values of its facts.
const beside = "  ← "

// leafWords is a sub-expression with the values of the facts in it, but for those that it says
// itself.
func leafWords(text string, facts *factTable, score float64) string {
	values := slices.DeleteFunc(facts.values(text), func(v string) bool { return strings.Contains(text, strings.Replace(v, " = ", " == ", 1)) })
	if scoreWord.MatchString(text) {
		values = append(values, fmt.Sprintf("score = %g", score))
	}
	if len(values) == 0 {
		return text
	}
	return text + beside + strings.Join(values, ", ")
}

// printWide prints a line; where it is too long, the values have one of their own.
func printWide(w io.Writer, line, indent string) {
	if text, values, ok := strings.Cut(line, beside); ok && utf8.RuneCountInString(line) > wide {
		fmt.Fprintln(w, clip(text, wide))
		line = indent + strings.TrimLeft(beside, " ") + values
	}
	fmt.Fprintln(w, strings.TrimRight(clip(line, wide), " "))
}

// gathered is one filter's part, for people.
type gathered struct {
	name  string
	state string // how it ended, and how long it took
	err   string
	facts json.RawMessage
}

// printGathered shows each filter with its facts under the names that rules use. What is empty
// is left out.
func printGathered(w io.Writer, list []gathered) {
	for _, g := range list {
		line := fmt.Sprintf("  %-10s %s", g.name, g.state)
		if g.err != "" {
			line += ": " + g.err
		}
		fmt.Fprintln(w, clip(line, wide))
		d := json.NewDecoder(bytes.NewReader(g.facts))
		d.UseNumber()
		p := factPrinter{w: w, d: d}
		if len(g.facts) > 0 {
			p.value(g.name)
		}
	}
}

// factPrinter walks the JSON of facts in its order.
type factPrinter struct {
	w    io.Writer
	d    *json.Decoder
	mute int
}

// maxShown is how many entries of a list people are shown, maxFact how many characters of a
// value, which is room for a SHA-256; --json has all.
const (
	maxShown = 10
	maxFact  = 66
)

func (p *factPrinter) value(name string) {
	t, err := p.d.Token()
	if err != nil {
		return
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			p.object(name)
		} else {
			p.list(name)
		}
		_, _ = p.d.Token()
	case string:
		if t != "" {
			p.print(name, strconv.Quote(t[:min(len(t), 4*maxFact)]))
		}
	case bool:
		if t {
			p.print(name, "true")
		}
	case json.Number:
		if t != "0" {
			p.print(name, t.String())
		}
	}
}

func (p *factPrinter) object(name string) {
	for p.d.More() {
		t, err := p.d.Token()
		if err != nil {
			return
		}
		key, _ := t.(string)
		member := name + "." + key
		if name == "content.header" || name == "content.headers" {
			member = name + "[" + strconv.Quote(clip(key, 60)) + "]"
		}
		quiet := member == "content.headers" // content.header has the first of each
		if quiet {
			p.mute++
		}
		p.value(member)
		if quiet {
			p.mute--
		}
	}
}

func (p *factPrinter) list(name string) {
	n := 0
	for ; p.d.More(); n++ {
		if n == maxShown {
			p.mute++
		}
		p.value(fmt.Sprintf("%s[%d]", name, n))
	}
	if n > maxShown {
		p.mute--
		p.print(name, fmt.Sprintf("… %d in all; --json shows them", n))
	}
}

func (p *factPrinter) print(name, value string) {
	if p.mute == 0 {
		fmt.Fprintf(p.w, "    %s = %s\n", name, clip(value, maxFact))
	}
}

// printJSON prints a list as JSON, one object a line.
func printJSON[T, U any](w io.Writer, list []T, as func(T) U) error {
	for _, v := range list {
		if err := printObject(w, as(v)); err != nil {
			return err
		}
	}
	return nil
}

// printObject prints v as JSON on one line. What a terminal could act on, or what turns the
// direction of text, is escaped: encoding/json leaves everything from DEL on as it is.
func printObject(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(text)+1)
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r < utf8.RuneSelf && r != 0x7f || unicode.IsGraphic(r):
			out = append(out, text[i:i+n]...)
		case r < 0x10000:
			out = fmt.Appendf(out, "\\u%04x", r)
		default:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, "\\u%04x\\u%04x", high, low)
		}
		i += n
	}
	_, err = w.Write(append(out, '\n'))
	return err
}
