package main

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
	"postern/rules"
)

// A testReport is what came of the tests beside the rules.
type testReport struct {
	All       int           `json:"tests"`
	Failed    int           `json:"failed"`
	Failures  []testFailure `json:"failures"`
	Untouched []string      `json:"untouched"` // rules that matched in no test
	Rules     int           `json:"rules"`
}

// A testFailure is one test that does not say what it should.
type testFailure struct {
	Test  string             `json:"test"`
	File  string             `json:"file"`
	Line  int                `json:"line"`
	Error string             `json:"error,omitempty"` // why it could not be run
	Diff  []rules.Difference `json:"diff,omitempty"`
}

// test runs the tests that stand beside the rules: without network and clamd, so that
// they say the same everywhere. What a test does not say of DNS or the scanner is empty, and
// with it SPF, DKIM and DMARC are none.
func (s *ruleSet) test(cfg *Config) (*testReport, error) {
	on := *cfg
	if len(on.ClamAV.Addresses) == 0 { // a rule about viruses can be tested where there is no clamd
		on.ClamAV.Addresses = []string{"unix:/"}
	}
	zone, err := dnsfake.Parse("")
	if err != nil {
		return nil, err
	}
	fs := filterList(&on, outside{Resolver: zone})
	policy, err := s.compile(fs)
	if err != nil {
		return nil, err
	}
	j := &judge{policy: policy, guess: true, close: func() {},
		filters: slices.DeleteFunc(fs, func(f filters.Filter) bool { return f.Name == "clamav" })}
	tests := policy.Tests()
	report := &testReport{All: len(tests), Failures: []testFailure{}, Untouched: []string{}, Rules: len(policy.Rules())}
	touched := map[string]bool{}
	for i := range tests {
		t := &tests[i]
		diff, err := j.ruleTest(s, t, touched)
		if err == nil && len(diff) == 0 {
			continue
		}
		f := testFailure{Test: t.Name, File: filepath.Base(t.File), Line: t.Line, Diff: diff}
		if err != nil {
			f.Error = err.Error()
		}
		report.Failures = append(report.Failures, f)
	}
	report.Failed = len(report.Failures)
	for _, r := range policy.Rules() {
		if !touched[r.Name] {
			report.Untouched = append(report.Untouched, r.Name)
		}
	}
	return report, nil
}

// printFailures shows each test that fails: what it wants (-) and what it got (+).
func (r *testReport) printFailures(w io.Writer) {
	for _, f := range r.Failures {
		fmt.Fprintf(w, "FAIL  test %q (%s:%d)", f.Test, f.File, f.Line)
		if f.Error != "" {
			fmt.Fprintf(w, ": %s", f.Error)
		}
		fmt.Fprintln(w)
		for _, d := range f.Diff {
			fmt.Fprintf(w, "      - %s: %s\n      + %s: %s\n", d.What, d.Want, d.What, d.Got)
		}
	}
}

// printSum counts tests, and the rules that none of them touches.
func (r *testReport) printSum(w io.Writer) {
	fmt.Fprintf(w, "%d of %d tests pass\n", r.All-r.Failed, r.All)
	if n := len(r.Untouched); n > 0 {
		paragraph(w, fmt.Sprintf("%d of %d rules match in no test: ", n, r.Rules), strings.Join(r.Untouched, ", "))
	}
}

// ruleTest tells what differs from what a test expects, and notes the rules that matched. A
// message file stands relative to the folder of its rule file.
func (j *judge) ruleTest(s *ruleSet, t *rules.Test, touched map[string]bool) ([]rules.Difference, error) {
	base := map[string]any{}
	if t.Message != "" {
		text, err := s.message(t.Message)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", t.Message, err)
		}
		env := mail.Envelope{Received: time.Now(), Client: mail.Client{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Helo: "localhost", ESMTP: true},
			Recipients: []mail.RcptTo{{Address: mail.Address{Local: "postmaster", Domain: "example.org"}}}}
		res, err := j.judgeText(env, t.Message, text)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", t.Message, err)
		}
		for _, f := range j.filters {
			base[f.Name] = res.Facts[f.Name]
		}
	}
	facts, err := t.Over(filters.Vocabulary(), base)
	if err != nil {
		return nil, err
	}
	v, waiting := j.policy.Decide(facts)
	if waiting != nil {
		return nil, fmt.Errorf("it would wait for %s", strings.Join(waiting, ", "))
	}
	for _, s := range v.Steps {
		touched[s.Rule] = touched[s.Rule] || s.Matched
	}
	return t.Expect.Differences(&v), nil
}

// rulesTestCmd runs the tests beside the rules.
type rulesTestCmd struct {
	Config string `short:"c" help:"Configuration file (default: ${default_file} when it exists)." placeholder:"FILE" type:"path"`
	Rules  string `help:"Folder of rule files." placeholder:"DIR"`
	JSON   bool   `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (rulesTestCmd) Help() string {
	return "Example:\n  postern rules test --rules rules\n\nThe tests need no network: what they do not say of DNS and the virus scanner is empty."
}

// Run runs them.
func (c *rulesTestCmd) Run(out output) error {
	s := settings{Config: c.Config, decisions: decisions{Rules: c.Rules}}
	cfg, err := s.read()
	if err != nil {
		return err
	}
	set, err := readRules(cfg)
	if err != nil {
		return err
	}
	report, err := set.test(cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printObject(out.out, report); err != nil {
			return err
		}
	} else {
		report.printFailures(out.out)
		report.printSum(out.out)
	}
	if report.Failed > 0 {
		return fmt.Errorf("rules test: %d failed", report.Failed)
	}
	return nil
}
