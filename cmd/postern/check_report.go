package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"postern/rules"
)

// A checkReport is what check found out: the fields are a contract of --json.
type checkReport struct {
	OK       bool            `json:"ok"`
	Version  string          `json:"version,omitempty"` // of the rules
	Errors   []checkError    `json:"errors"`
	Warnings []string        `json:"warnings"`
	Rules    []checkedRule   `json:"rules"`
	Tests    *testReport     `json:"tests,omitempty"`
	Lint     []rules.Warning `json:"lint"`   // rules that load, but are hardly meant
	Checks   []checkLine     `json:"checks"` // each part that was asked, in order

	force bool
	out   io.Writer // findings are printed as they come; nil: not at all
}

// A checkError is one mistake; those of rule files have a place.
type checkError struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Snippet string `json:"snippet,omitempty"` // the line with a caret below it
}

// A checkedRule is a rule with the earliest point at which it can answer.
type checkedRule struct {
	rules.RuleInfo
	Earliest string `json:"earliest"` // RCPT, end of data, never
}

// A checkLine is one finding.
type checkLine struct {
	State string `json:"state"` // ok warn FAIL
	Text  string `json:"text"`
}

func (r *checkReport) say(state, format string, args ...any) {
	l := checkLine{state, fmt.Sprintf(format, args...)}
	r.Checks = append(r.Checks, l)
	if r.out != nil {
		fmt.Fprintf(r.out, "%-4s  %s\n", l.State, l.Text)
	}
}

func (r *checkReport) ok(format string, args ...any) { r.say("ok", format, args...) }

func (r *checkReport) warn(format string, args ...any) {
	r.say("warn", format, args...)
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

func (r *checkReport) fail(format string, args ...any) {
	r.say("FAIL", format, args...)
	r.Errors = append(r.Errors, checkError{Message: fmt.Sprintf(format, args...)})
}

func (r *checkReport) fails() bool { return len(r.Errors) > 0 }

// failed notes what ended the check.
func (r *checkReport) failed(err error) {
	r.Errors = append(r.Errors, mistakes(err)...)
	r.OK = !r.fails()
}

// mistakes takes an error apart into what is wrong, and where.
func mistakes(err error) []checkError {
	if err == nil {
		return nil
	}
	var all rules.Errors
	if errors.As(err, &all) {
		out := make([]checkError, len(all))
		for i, e := range all {
			out[i] = checkError{e.File, e.Line, e.Column, e.Msg, e.Hint, e.Snippet}
		}
		return out
	}
	return []checkError{{Message: err.Error()}}
}

// candidate tells of rules that load, and of their tests.
func (r *checkReport) candidate(c *candidate) error {
	list := c.rules.Rules()
	r.Version, r.Tests = c.rules.Version(), c.tests
	earliest := earliestReplies(list, c.filters)
	for i := range list {
		r.Rules = append(r.Rules, checkedRule{list[i], earliest[i]})
	}
	if r.out != nil {
		fmt.Fprintf(r.out, "configuration: ok\nrules: %d, version %s\n\n", len(list), r.Version)
		if err := printRules(r.out, list, earliest); err != nil {
			return err
		}
		fmt.Fprintln(r.out)
		r.Tests.printFailures(r.out)
	}
	r.Lint = append([]rules.Warning{}, c.rules.Lint()...)
	for _, w := range r.Lint {
		r.warn("%s", w)
	}
	for _, rule := range list {
		if !rule.Until.IsZero() && rule.Until.Before(time.Now()) {
			r.warn("rule %s (%s:%d) is over since %s: take it out", rule.Name, rule.File, rule.Line, rule.Until.Format(time.RFC3339))
		}
	}
	switch failed := c.passes(); {
	case failed != nil && r.force:
		r.warn("%d of %d tests beside the rules fail", c.tests.Failed, c.tests.All)
	case failed != nil:
		r.fail("%d of %d tests beside the rules fail: a start and a reload refuse them", c.tests.Failed, c.tests.All)
	case c.tests.All > 0:
		r.ok("%d tests beside the rules pass", c.tests.All)
	}
	return nil
}
