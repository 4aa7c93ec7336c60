package review

import "time"

// A Rulebook is the rules in force, for the rules page.
type Rulebook struct {
	Version  string     `json:"version"` // as journal entries name it
	N        int64      `json:"n"`       // in the history; 0: not in it
	Files    []RuleFile `json:"files"`
	Rules    []RuleUse  `json:"rules"`
	Warnings []string   `json:"warnings,omitempty"`
	Builtin  bool       `json:"builtin"` // no rule files: the built-in policy
}

// A RuleFile is one file of a set.
type RuleFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A RuleProblem is what is wrong with a draft.
type RuleProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// A Draft is rule files that somebody works on; what is not named stays as it is in force.
type Draft struct {
	Files []RuleFile `json:"files"`
	Base  string     `json:"base"` // Version that it was made from; ErrChanged when another is in force
	Note  string     `json:"note,omitempty"`
	Force bool       `json:"force,omitempty"` // apply although tests fail
}

// A Trial is what a draft would do.
type Trial struct {
	Problems []RuleProblem `json:"problems,omitempty"` // with one, nothing else is told
	Warnings []string      `json:"warnings,omitempty"`
	Tests    []TestResult  `json:"tests,omitempty"`
	Replay   *Replayed     `json:"replay,omitempty"`
}

// A TestResult is one test beside the rules.
type TestResult struct {
	Name string `json:"name"`
	File string `json:"file"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

// Replayed is a draft held against past mail.
type Replayed struct {
	Days        int      `json:"days"`
	Looked      int      `json:"looked"`
	Unchanged   int      `json:"unchanged"`
	Undecidable int      `json:"undecidable"`
	Changes     []Change `json:"changes,omitempty"` // largest first
}

// A Change is messages that would fare otherwise, in the same way.
type Change struct {
	What  string `json:"what"` // "newly held", "newly delivered", …
	Rule  string `json:"rule"`
	Count int    `json:"count"`
	Rows  []Row  `json:"rows"` // some
}

// A RuleVersion is one set of the history.
type RuleVersion struct {
	N    int64     `json:"n"`
	At   time.Time `json:"at"`
	Who  string    `json:"who"`
	How  string    `json:"how"`
	Note string    `json:"note,omitempty"`
	Live bool      `json:"live"`
}
