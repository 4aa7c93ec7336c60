package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"postern/rules"
)

// rulesCmd shows what rules can be made of.
type rulesCmd struct {
	Facts    rulesFactsCmd    `cmd:"" help:"Every fact, function and effect: type, meaning, what it costs, when it is known, an example."`
	Test     rulesTestCmd     `cmd:"" help:"Run the tests that stand beside the rules."`
	Shadow   rulesShadowCmd   `cmd:"" help:"What shadow rules would have had done, with examples."`
	Pin      rulesPinCmd      `cmd:"" help:"Turn a past message into a test."`
	Replay   rulesReplayCmd   `cmd:"" help:"Decide the journal's mail again under a rule set, and show what would be different."`
	Plan     rulesPlanCmd     `cmd:"" help:"What a folder of rules would change: mistakes, lints, tests, and past mail that it would decide otherwise."`
	Apply    rulesApplyCmd    `cmd:"" help:"Put a folder of rules in force, in one step."`
	History  rulesHistoryCmd  `cmd:"" help:"Each set of rules that was in force: when, by whom, why."`
	Rollback rulesRollbackCmd `cmd:"" help:"Put an earlier version in force again."`
	List     rulesListCmd     `cmd:"" help:"Each rule with hits, last hit, shadow hits, mean cost and the state of its breaker."`
	Breaker  rulesBreakerCmd  `cmd:"" help:"Rules that suddenly decide far more than they used to."`
	Builtin  rulesBuiltinCmd  `cmd:"" help:"Print the built-in policy, as a start for rule files of your own."`
}

// Help is shown by --help.
func (rulesCmd) Help() string {
	return "Example:\n  postern rules facts\n  postern rules test --rules rules\n  postern rules builtin"
}

type rulesBuiltinCmd struct{}

// Help is shown by --help.
func (rulesBuiltinCmd) Help() string {
	return "Example:\n  postern rules builtin > rules/10-builtin.yaml"
}

// Run prints it.
func (rulesBuiltinCmd) Run(out output) error {
	_, err := out.out.Write(rules.Builtin().Text)
	return err
}

// printRules shows each rule with what it needs and the earliest reply it can give.
func printRules(w io.Writer, list []rules.RuleInfo, earliest []string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tDOES\tCLASS\tNEEDS\tEARLIEST REPLY\tFILE")
	for i, r := range list {
		needs := r.Needs
		for _, name := range r.Off {
			needs = append(needs, name+" (off)")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s:%d\n", r.Name, does(&r), r.Class, strings.Join(needs, " "), earliest[i], filepath.Base(r.File), r.Line)
	}
	return t.Flush()
}

// does is what a rule does when it matches, in a word or two.
func does(r *rules.RuleInfo) string {
	words := r.Do.String()
	if r.Do == rules.None {
		words = fmt.Sprintf("score %+g", r.Score)
	}
	if r.Shadow {
		words += " (shadow)"
	}
	return words
}
