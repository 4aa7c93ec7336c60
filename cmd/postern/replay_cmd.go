package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// rulesReplayCmd decides stored mail again.
type rulesReplayCmd struct {
	storeFlags
	Rules     string   `help:"Folder of rule files to try (default: those of the configuration)." placeholder:"DIR"`
	Since     Duration `help:"Not older than this, such as 12h or 30d (default: all that the journal has)." placeholder:"SPAN"`
	Recompute bool     `help:"Gather missing facts again where the message is still in quarantine. DNS is asked as it is today."`
	JSON      bool     `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (rulesReplayCmd) Help() string {
	return "Example:\n  postern rules replay --since 30d --rules /etc/postern/rules.new\n\n" +
		"It changes nothing. Rules see the facts that were gathered then; a decision that would need others is undecidable,\n" +
		"and so is one about the text of a message, which the journal does not keep."
}

// Run replays.
func (c *rulesReplayCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	if c.Rules != "" {
		a.cfg.Rules = c.Rules
	}
	var since time.Time
	if c.Since > 0 {
		since = time.Now().Add(-time.Duration(c.Since))
	}
	report, err := a.replay(ctx, since, c.Recompute)
	if err != nil {
		return err
	}
	if c.JSON {
		return printObject(out.out, report)
	}
	report.print(out.out)
	return nil
}

// replay decides what the journal tells of again, under the rules of the configuration.
func (a *archive) replay(ctx context.Context, since time.Time, recompute bool) (*replayReport, error) {
	j, err := newJudge(a.cfg, "", a.stores)
	if err != nil {
		return nil, fmt.Errorf("the rules do not load:\n%w", err)
	}
	defer j.close()
	p := newReplay(j.policy, j.filters)
	if recompute {
		p.regather = a.regather(j)
	}
	return p.run(ctx, a.journal, since)
}

// print shows the report to a person: the counts, then each change with its first examples.
func (r *replayReport) print(w io.Writer) {
	if r.Decisions == 0 {
		fmt.Fprintln(w, "The journal has no decisions in that time.")
		return
	}
	fmt.Fprintf(w, "%d messages, %d decisions: %s\n", r.Messages, r.Decisions, r.summary())
	if r.OtherRule > 0 {
		fmt.Fprintf(w, "%d of the unchanged by another rule\n", r.OtherRule)
	}
	if r.GatheredAgain > 0 {
		fmt.Fprintf(w, "%d messages in quarantine were looked at again\n", r.GatheredAgain)
	}
	for _, g := range r.Changes {
		if g.Would == g.Was {
			fmt.Fprintf(w, "\n%d %s with other effects: %s\n", g.Count, didWord(g.Would), clip(strings.Join(g.Effects, ", "), 10*wide))
		} else {
			fmt.Fprintf(w, "\n%d newly %s (was %s)\n", g.Count, didBy(g.Would, g.Rule), didBy(g.Was, g.WasRule))
		}
		g.printExamples(w)
	}
	if len(r.Missing) > 0 {
		fmt.Fprintln(w, "\nundecidable, since nobody knows what these were:")
		for _, m := range r.Missing {
			fmt.Fprintf(w, "  %6d  %s\n", m.Count, m.Fact)
		}
	}
	if r.Contradictions > 0 {
		fmt.Fprintf(w, "\n%d decisions of these very rules came out differently then: that is a fault of Postern, please report it\n", r.Contradictions)
	}
}

// didBy says what was done, and by which rule where one had it done.
func didBy(do, rule string) string {
	if rule == "" {
		return didWord(do)
	}
	return didWord(do) + " by " + rule
}
