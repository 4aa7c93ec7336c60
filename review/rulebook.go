package review

import (
	"fmt"
	"strings"
	"time"
)

// A Rulebook is the rules in force, for the rules page.
type Rulebook struct {
	Version  string       `json:"version"` // as journal entries name it; the Base of a Draft
	N        int64        `json:"n"`       // in the history; 0: not in it
	Files    []RuleFile   `json:"files"`   // in the order in which they are read
	Days     int          `json:"days"`    // that Rules count
	Rules    []RuleUse    `json:"rules"`   // in their order
	Warnings []string     `json:"warnings,omitempty"`
	Tests    []TestResult `json:"tests,omitempty"`
	Builtin  bool         `json:"builtin"`           // no rule files: the built-in policy
	Fixed    string       `json:"fixed,omitempty"`   // why nothing can be applied here
	Problem  string       `json:"problem,omitempty"` // why files that were changed by hand are not in force
}

// A RuleFile is one file of a set: its name has no folder and ends in .yaml.
type RuleFile struct {
	Name string `json:"name"`
	Text string `json:"text"` // of a Draft: "" takes the file away
}

// A RuleProblem is what is wrong with a draft.
type RuleProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

func (p *RuleProblem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, strings.TrimSuffix(p.Text+"; "+p.Hint, "; "))
}

// A Draft is rule files that somebody works on; what is not named stays as it is in force.
type Draft struct {
	Files []RuleFile `json:"files"` // one, of a draft that was made from a message
	Base  string     `json:"base"`  // Version that it was made from; ErrChanged when another is in force
	Note  string     `json:"note,omitempty"`
	Force bool       `json:"force,omitempty"` // apply although tests fail
}

// OnlyErrors in place of days has a draft looked at for mistakes and doubts alone, quick enough
// to be asked for while somebody types.
const OnlyErrors = -1

// A Trial is what a draft would do.
type Trial struct {
	Problems []RuleProblem `json:"problems,omitempty"` // with one, nothing else is told
	Warnings []RuleProblem `json:"warnings,omitempty"` // it loads, but is hardly meant
	Version  string        `json:"version,omitempty"`  // that it would have
	New      []string      `json:"new,omitempty"`      // rules
	Changed  []string      `json:"changed,omitempty"`
	Gone     []string      `json:"gone,omitempty"`
	Tests    []TestResult  `json:"tests,omitempty"`
	Failed   int           `json:"failed"` // of the tests
	Replay   *Replayed     `json:"replay,omitempty"`
}

// A TestResult is one test beside the rules.
type TestResult struct {
	Name string `json:"name"`
	File string `json:"file"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

// Replayed is a draft held against past mail, the newest first.
type Replayed struct {
	Days        int       `json:"days"`
	Since       time.Time `json:"since"`  // how far back it got
	Cut         bool      `json:"cut"`    // there is more mail than could be looked at
	Looked      int       `json:"looked"` // messages
	Decisions   int       `json:"decisions"`
	Unchanged   int       `json:"unchanged"`
	Undecidable int       `json:"undecidable"`
	Missing     []string  `json:"missing,omitempty"` // facts that the undecidable hang on
	Changes     []Change  `json:"changes,omitempty"` // largest first
	Matches     []Match   `json:"matches,omitempty"` // what the new and changed rules decide
}

// A Change is copies that would fare otherwise, in the same way.
type Change struct {
	What    string   `json:"what"` // "newly held", "newly delivered", …, "other effects"
	Rule    string   `json:"rule"`
	Was     string   `json:"was"` // delivered, held, …
	WasRule string   `json:"was_rule"`
	Effects []string `json:"effects,omitempty"` // of "other effects": +tag_subject, -add_header
	Because string   `json:"because"`           // of the first of them, as it would be
	Count   int      `json:"count"`
	Rows    []Row    `json:"rows"` // some
}

// A Match is copies that a rule would decide.
type Match struct {
	Rule  string `json:"rule"`
	Count int    `json:"count"`
	Rows  []Row  `json:"rows"` // some
}

// A RuleVersion is one set of the history.
type RuleVersion struct {
	N      int64     `json:"n"`
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	How    string    `json:"how"`
	Note   string    `json:"note,omitempty"`
	Live   bool      `json:"live"`
	Rules  int       `json:"rules"`
	Forced bool      `json:"forced,omitempty"` // though its tests failed
}
