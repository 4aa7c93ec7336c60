package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/journal"
	"postern/policies"
	"postern/review"
	"postern/rules"
)

// maxTestName is how long the name of a test may be, in characters.
const maxTestName = 100

// Pin puts a test made of a message into the rules: facts without names of people, and what was
// decided. It goes the way of Apply, so that no test that fails gets in.
func (d *deskRules) Pin(ctx context.Context, id, name, who string, in review.Sight) (string, error) {
	e, o, err := d.judged(ctx, id, in)
	if err != nil {
		return "", err
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	live := d.p.policy.current()
	p := newPin(e, o, rules.None)
	reads := live.rules.Reads()
	p.addTexts(ctx, e, nil, reads, live.filters) // what people wrote is nobody's
	p.anonymise(reads)
	if name = strings.TrimSpace(name); name != "" {
		p.name = name
	}
	if utf8.RuneCountInString(p.name) > maxTestName || strings.ContainsFunc(p.name, unicode.IsControl) {
		return "", wrong("the name of a test has at most %d characters, on one line", maxTestName)
	}
	text := "tests:\n" + p.text("  ")
	if why := d.fixed(); why != "" {
		return text, &review.InputError{Text: why}
	}
	if err := d.byHand(live); err != nil {
		return text, err
	}
	return text, d.addPinned(p, live, o, who)
}

// addPinned puts a test behind those of the rule file that decided, or of the last one.
func (d *deskRules) addPinned(p *pin, live *candidate, o *journal.Outcome, who string) error {
	files := inForce(live)
	names := policies.Of("", files).Names()
	file, _, _ := strings.Cut(o.Place, ":")
	if !slices.Contains(names, file) {
		file = names[len(names)-1]
	}
	for _, t := range live.rules.Tests() {
		if t.Name == p.name {
			return wrong("there is a test %q already", p.name)
		}
	}
	text, err := withTest(string(files[file]), p)
	if err != nil {
		return wrong("the tests of %s stand on one line, behind which none can be put", file)
	}
	plan, problems, err := d.plan(live, []review.RuleFile{{Name: file, Text: text}})
	if err != nil {
		return err
	}
	if problems != nil {
		return wrong("%s", problems[0].Error())
	}
	t, c := d.look(plan, live)
	switch {
	case c == nil:
		return wrong("the rules would not load with the test: %s", t.Problems[0].Error())
	case t.Failed > live.tests.Failed:
		return wrong("the test would fail: %s", p.fails(t))
	}
	_, err = d.carryOut(plan, who, policies.Applied, fmt.Sprintf("test %q", p.name))
	return err
}

// fails says why the test of a pin does.
func (p *pin) fails(t *review.Trial) string {
	why := ""
	for _, x := range t.Tests {
		if x.Name == p.name {
			why = x.Why
		}
	}
	if len(p.lacks) > 0 {
		return fmt.Sprintf("it has no %s, which rules read and nobody has kept (%s)", strings.Join(p.lacks, ", "), why)
	}
	return cmp.Or(why, "nobody knows why")
}

// judged is the entry of a message, and the first copy in sight that rules were asked about.
func (d *deskRules) judged(ctx context.Context, id string, in review.Sight) (*journal.Entry, *journal.Outcome, error) {
	e, err := d.p.journal.Get(ctx, id)
	if errors.Is(err, journal.ErrNotFound) {
		err = review.ErrNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	seen := false
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if in != nil && !in(o.Recipient) {
			continue
		}
		if seen = true; len(o.Rules) > 0 {
			return e, o, nil
		}
	}
	if !seen {
		return nil, nil, review.ErrNotFound
	}
	return nil, nil, wrong("the rules were not asked about this message")
}
