package rules

import "fmt"

// A Warning is something in rules that loads, but is hardly meant. Codes: unknown-value,
// never-matches, never-reached, repeats, contradicts, filter-off, from-alone,
// from-without-proof, whole-provider.
type Warning struct {
	Rule    string `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"` // in characters, from 1
	Code    string `json:"code"`
	Msg     string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do; "" when nobody knows
	Snippet string `json:"-"`              // the line, and below it a caret under the place
}

// String gives it as an Error is printed, with the rule and the code.
func (w Warning) String() string {
	e := Error{File: w.File, Line: w.Line, Column: w.Column, Hint: w.Hint, Snippet: w.Snippet,
		Msg: fmt.Sprintf("rule %s: %s [%s]", w.Rule, w.Msg, w.Code)}
	return e.Error()
}

// spot is a place in a rule file.
type spot struct {
	file *text
	place
}

func (s scalar) spot(rune int) spot {
	if len(s.places) == 0 {
		return spot{file: s.file}
	}
	return spot{s.file, s.places[max(0, min(rune, len(s.places)-1))]}
}

func (s spot) warn(rule, code, hint, format string, args ...any) Warning {
	e := s.file.fault(s.place, fmt.Sprintf(format, args...), hint)
	return Warning{Rule: rule, File: e.File, Line: e.Line, Column: e.Column, Code: code, Msg: e.Msg, Hint: e.Hint, Snippet: e.Snippet}
}
