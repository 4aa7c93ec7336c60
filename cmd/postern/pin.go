package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"postern/journal"
	"postern/mail"
	"postern/rules"
	"postern/store"
)

// rulesPinCmd turns a past message into a test.
type rulesPinCmd struct {
	ID        string `arg:"" help:"Of the log line, of a reply, of X-Postern-Id, or of a held message."`
	Recipient string `help:"Whose copy, where there were several." placeholder:"ADDRESS"`
	Expect    string `help:"What should become of such mail: deliver, quarantine, reject, defer or discard (default: what was decided)." placeholder:"DO"`
	Anonymous bool   `help:"Only facts that rules read, and other names before each @."`
	Output    string `short:"o" help:"Rule file to add the test to (default: print it)." placeholder:"FILE"`
	Rules     string `help:"Folder of rule files (default: that of the configuration)." placeholder:"DIR"`
	storeFlags
}

// Help is shown by --help.
func (rulesPinCmd) Help() string {
	return "Example:\n  postern rules pin 01K9ZT0A6X2V9S3M8Q4R5W7Y1B --expect deliver -o rules/20-spoof.yaml\n\n" +
		"The test has the facts as they were and what you want to become of such mail: it fails until the rules agree.\n" +
		"What no filter found out then is empty in it, as in every test."
}

// Run pins.
func (c *rulesPinCmd) Run(out output) error {
	expect := rules.None
	if c.Expect != "" && (expect.UnmarshalText([]byte(c.Expect)) != nil || expect == rules.None) {
		return &usageError{fmt.Sprintf("--expect %q: it is deliver, quarantine, reject, defer or discard", c.Expect)}
	}
	ctx := context.Background()
	cfg, e, message, err := c.entry(ctx)
	if err != nil {
		return err
	}
	if c.Rules != "" {
		cfg.Rules = c.Rules
	}
	o, err := c.outcome(e)
	if err != nil {
		return err
	}
	p := newPin(e, o, expect)
	if policy, fs, err := offlineRules(cfg, c.Output); err == nil {
		if c.Anonymous { // what people wrote is nobody's
			message = nil
		}
		p.addTexts(ctx, e, message, policy.Reads(), fs)
		if c.Anonymous {
			p.anonymise(policy.Reads())
		}
	} else if c.Anonymous || c.Output == "" {
		return err
	}
	if c.Output == "" {
		_, err := fmt.Fprint(out.out, "tests:\n", p.text("  "))
		return err
	}
	if err := addTest(cfg, c.Output, p); err != nil {
		return err
	}
	return tellPinned(out.out, cfg, c.Output, p)
}

// entry reads the journal, and the message if it is kept, as the owner of the data folder; the
// rule file is written as who we are.
func (c *rulesPinCmd) entry(ctx context.Context) (cfg *Config, e *journal.Entry, message []byte, err error) {
	s := settings{Config: c.Config, Data: c.Data}
	if cfg, err = s.read(); err != nil {
		return nil, nil, nil, err
	}
	if why := noStore(cfg.Data); why != "" {
		return nil, nil, nil, fmt.Errorf("data folder %s: %s: name the gateway's with -c FILE or --data DIR", cfg.Data, why)
	}
	back, err := store.Lend(cfg.Data)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, back()) }()
	data, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return nil, nil, nil, err
	}
	defer data.close()
	e, err = data.journal.Get(ctx, c.ID)
	if errors.Is(err, journal.ErrNotFound) {
		err = fmt.Errorf("the journal has no entry %s: postern log search shows what there is", c.ID)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return cfg, e, data.keptMessage(ctx, e), nil
}

// outcome picks the recipient's copy that is to be pinned.
func (c *rulesPinCmd) outcome(e *journal.Entry) (*journal.Outcome, error) {
	var to mail.Address
	if c.Recipient != "" {
		list, err := addresses([]string{c.Recipient})
		if err != nil {
			return nil, err
		}
		to = list[0]
	}
	var judged []*journal.Outcome
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if len(o.Rules) > 0 && (c.Recipient == "" || o.Recipient == to) {
			judged = append(judged, o)
		}
	}
	switch {
	case len(judged) == 0 && c.Recipient != "":
		return nil, fmt.Errorf("the rules were not asked about a copy of %s for %s: postern log show %s", e.ID, to, e.ID)
	case len(judged) == 0:
		return nil, fmt.Errorf("the rules were not asked about %s: postern log show %s", e.ID, e.ID)
	}
	for _, o := range judged[1:] {
		if saidBy(o) != saidBy(judged[0]) {
			return nil, &usageError{fmt.Sprintf("%s had several recipients with different fates: name one with --recipient", e.ID)}
		}
	}
	return judged[0], nil
}

// saidBy is what the rules said of a copy.
func saidBy(o *journal.Outcome) [2]string {
	if o.Verdict != "" {
		return [2]string{o.Verdict, o.Rule}
	}
	return [2]string{o.Do, o.Rule}
}

// tellPinned runs the new test and says whether it passes.
func tellPinned(w io.Writer, cfg *Config, file string, p *pin) error {
	set, err := rulesBeside(cfg, file, nil)
	if err != nil {
		return err
	}
	report, err := set.test(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "pinned in %s: test %q\n", file, p.name)
	var failed testReport
	for _, f := range report.Failures {
		if f.Test == p.name {
			failed.Failures = append(failed.Failures, f)
		}
	}
	if len(failed.Failures) == 0 {
		fmt.Fprintln(w, "it passes with the rules as they are")
		return nil
	}
	if len(p.lacks) > 0 {
		fmt.Fprintf(w, "it has no %s, which rules read and nobody has kept: write it into the test, or it may fail whatever the rules are\n", strings.Join(p.lacks, ", "))
	} else {
		fmt.Fprintln(w, "it fails until the rules are changed:")
	}
	failed.printFailures(w)
	return nil
}

// notKept reminds of facts that a test cannot have.
func notKept(e *journal.Entry) string {
	var none []string
	for _, f := range e.Filters {
		if f.State == journal.NotNeeded || f.State == journal.Cancelled {
			none = append(none, f.Name)
		}
	}
	if len(none) == 0 {
		return ""
	}
	return "not found out then, so empty here: " + strings.Join(none, ", ")
}
