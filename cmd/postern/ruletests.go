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

// runRuleTests runs the tests that stand beside the rules: without network and clamd, so that
// they say the same everywhere. What a test does not say of DNS or the scanner is empty, and
// with it SPF, DKIM and DMARC are none. It prints each failure and returns how many there are.
func runRuleTests(w io.Writer, cfg *Config) (failed, all int, err error) {
	on := *cfg
	if len(on.ClamAV.Addresses) == 0 { // a rule about viruses can be tested where there is no clamd
		on.ClamAV.Addresses = []string{"unix:/"}
	}
	zone, err := dnsfake.Parse("")
	if err != nil {
		return 0, 0, err
	}
	fs := filterList(&on, zone)
	policy, err := compile(&on, fs)
	if err != nil {
		return 0, 0, fmt.Errorf("the rules do not load:\n%w", err)
	}
	j := &judge{policy: policy, guess: true, close: func() {},
		filters: slices.DeleteFunc(fs, func(f filters.Filter) bool { return f.Name == "clamav" })}
	tests := policy.Tests()
	for i := range tests {
		t := &tests[i]
		wrong, err := j.ruleTest(t)
		if err != nil {
			wrong = []string{err.Error()}
		}
		if len(wrong) > 0 {
			failed++
			fmt.Fprintf(w, "FAIL  test %q (%s:%d): %s\n", t.Name, filepath.Base(t.File), t.Line, strings.Join(wrong, "; "))
		}
	}
	return failed, len(tests), nil
}

// ruleTest tells what differs from what a test expects. A message file stands relative to the
// folder of its rule file.
func (j *judge) ruleTest(t *rules.Test) ([]string, error) {
	base := map[string]any{}
	if t.Message != "" {
		file := t.Message
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(t.File), file)
		}
		env := mail.Envelope{Received: time.Now(), Client: mail.Client{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Helo: "localhost", ESMTP: true},
			Recipients: []mail.RcptTo{{Address: mail.Address{Local: "postmaster", Domain: "example.org"}}}}
		res, err := j.judgeFile(env, file)
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
	return t.Expect.Differences(&v), nil
}

// rulesTestCmd runs the tests beside the rules.
type rulesTestCmd struct {
	Config string `short:"c" help:"Configuration file (default: ${default_file} when it exists)." placeholder:"FILE" type:"path"`
	Rules  string `help:"Folder of rule files." placeholder:"DIR"`
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
	failed, all, err := runRuleTests(out.out, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "%d of %d tests pass\n", all-failed, all)
	if failed > 0 {
		return fmt.Errorf("rules test: %d failed", failed)
	}
	return nil
}
