// Package rules turns rule files and facts into verdicts. Compile checks the files and says
// every mistake with its place; Policy.Decide walks the rules for one recipient's copy, says
// what is still to be found out, and in the end gives the verdict with the sentence why and
// the trace of the walk. It is pure: no I/O besides the list files read at load, no clock,
// and the same facts give the same verdict, in whatever order they come.
package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// engine is part of every version: raise it when the meaning of rules changes.
const engine = "postern rules 1"

// Options say what rules can speak about.
type Options struct {
	Vocabulary Vocabulary
	Effects    []EffectSpec
	Off        []string // filters that are not configured: what rests on them is unknown
	Defer      []string // filters without whose answer a message is put off, not passed on
	Files      fs.FS    // where inList finds its files; nil: nowhere
}

// A Policy is a compiled set of rules. It never changes and may be used by several
// goroutines.
type Policy struct {
	compiled
	pool    sync.Pool // of *evaluator
	tracing sync.RWMutex
	traces  map[string]*trace // by the state of leaves and rules
}

// compiled is what Compile found out.
type compiled struct {
	rules    []*rule
	tests    []Test
	names    []string // of filters
	zero     []any    // zero facts of each
	offs     []bool   // of each: not configured
	defers   []bool   // of each: no answer means later
	received []int    // index of message.received in its struct
	leaves   int
	shadows  bool // there are shadow rules
	version  string
	words    Vocabulary
}

// A rule is one compiled rule.
type rule struct {
	info    RuleInfo
	name    string
	class   string
	file    string
	line    int
	place   string // file and line for people
	do      Disposition
	score   float64
	shadow  bool
	gather  bool // what a shadow rule needs is found out for it
	tripped bool // its breaker is open
	when    *node
	because template
	reply   *replyText
	effects []call
	at      spot   // of its name
	does    string // its effects as written
	doubts  []doubt
	unknown unanswered
	fragile bool  // its condition can fail while it runs
	says    []int // filters whose facts its texts show; they are waited for when it matches
}

type call struct {
	name string
	args []template
}

// Compile turns rule files into a policy. They are read in the order of their names. No
// files give a policy that delivers everything. The error is of type Errors and has every
// mistake of every file, unless the options themselves are wrong.
func Compile(files []Source, o Options) (*Policy, error) {
	if err := o.Vocabulary.check(); err != nil {
		return nil, err
	}
	c := &compiler{o: o, names: o.Vocabulary.names(), index: make(map[string]int), hash: sha256.New()}
	c.tables = newTables()
	for i, name := range c.names {
		c.index[name] = i
	}
	c.setup()
	fmt.Fprintf(c.hash, "%s off %q defer %q\n", engine, o.Off, o.Defer)
	texts, tests := c.read(files)
	p := newPolicy(compiled{names: c.names, words: o.Vocabulary, offs: make([]bool, len(c.names)), defers: make([]bool, len(c.names)), zero: make([]any, len(c.names))})
	for i, name := range c.names {
		p.offs[i] = slices.Contains(o.Off, name)
		p.defers[i], p.zero[i] = slices.Contains(o.Defer, name), o.Vocabulary[name]
	}
	p.received = c.receivedAt()
	for i := range texts {
		p.rules = append(p.rules, c.rule(&texts[i]))
		p.shadows = p.shadows || texts[i].shadow
	}
	c.checkTests(tests, texts)
	c.refuseGuesses(p.rules)
	if len(c.errs) > 0 {
		slices.SortStableFunc(c.errs, func(a, b *Error) int {
			return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
		})
		return nil, c.errs
	}
	p.tests, p.leaves = tests, c.leaves
	p.version = hex.EncodeToString(c.hash.Sum(nil)[:6])
	return p, nil
}

func newPolicy(c compiled) *Policy {
	p := &Policy{compiled: c, traces: make(map[string]*trace)}
	p.pool.New = func() any { return newEvaluator(p) }
	return p
}

// read reads the files in the order of their names and puts the built-in rules where they
// are included.
func (c *compiler) read(files []Source) (rules []ruleText, tests []Test) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	included := false
	for _, f := range files {
		t := c.readFile(f)
		tests = append(tests, t.tests...)
		if t.builtin < 0 {
			rules = append(rules, t.rules...)
			continue
		}
		if included {
			c.errs = append(c.errs, &Error{File: f.Name, Line: 1, Column: 1, Msg: "the built-in rules are included twice"})
		}
		included = true
		rules = append(rules, t.rules[:t.builtin]...)
		rules = append(rules, c.readFile(Builtin()).rules...)
		rules = append(rules, t.rules[t.builtin:]...)
	}
	names := make(map[string]scalar)
	for _, r := range rules {
		if first, ok := names[r.name]; ok && r.name != "" {
			at := first.places[0]
			c.fault(r.at, 0, fmt.Sprintf("there is a rule %q already", r.name), fmt.Sprintf("at %s:%d", first.file.name, at.line))
		}
		names[r.name] = r.at
	}
	return rules, tests
}

func (c *compiler) readFile(f Source) fileText {
	fmt.Fprintf(c.hash, "%q %d\n%s", f.Name, len(f.Text), f.Text)
	r := reader{file: newText(f.Name, string(f.Text)), errs: &c.errs, effects: c.o.Effects, vocabulary: c.o.Vocabulary}
	return r.read(f)
}

// receivedAt finds the fact message.received, the one clock that rules see.
func (c *compiler) receivedAt() []int {
	facts, ok := c.o.Vocabulary["message"]
	if !ok {
		return nil
	}
	t := reflect.TypeOf(facts)
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("expr") == "received" && f.Type == timeType {
			return f.Index
		}
	}
	return nil
}

// rule compiles one rule. What it returns is of no use when there were mistakes.
func (c *compiler) rule(t *ruleText) *rule {
	r := &rule{name: t.name, class: t.class, do: t.do, score: t.score, shadow: t.shadow, gather: t.gather,
		file: t.at.file.name, line: t.at.places[0].line, at: t.at.spot(0), unknown: t.unknown}
	c.doubted = nil
	r.place = fmt.Sprintf("%s:%d", path.Base(filepath.ToSlash(r.file)), r.line)
	if !t.when.empty() {
		r.when = c.condition(t.when)
	} else if t.when.file != nil {
		c.fault(t.when, 0, "when is empty", "write true for a rule that always matches")
	}
	if !t.from.IsZero() || !t.until.IsZero() {
		r.when = join(opAnd, c.dateLeaf(t), r.when)
	}
	if t.because.file != nil {
		r.because = c.template(t.because)
	} else {
		r.because = template{parts: []part{{text: "rule " + t.name + " matched"}}}
	}
	if t.reply.file != nil && t.do != None {
		r.reply = c.reply(t.reply, t.do)
	}
	for _, e := range t.effects {
		call := call{name: e.name.value}
		for _, a := range e.args {
			call.args = append(call.args, c.template(a))
			r.does += "\x00" + a.value
		}
		r.does += "\x01" + e.name.value
		r.effects = append(r.effects, call)
	}
	r.says, r.doubts = r.shows(), c.doubted
	if r.when != nil {
		r.when.leaves(func(n *node) {
			n.leaf.unknown = t.unknown
			r.fragile = r.fragile || n.leaf.mention.breaks
		})
	}
	r.info = c.describe(t, r)
	return r
}

// dateLeaf is the condition that a rule is in force when the message arrives.
func (c *compiler) dateLeaf(t *ruleText) *node {
	i, ok := c.index["message"]
	if !ok || c.receivedAt() == nil {
		c.fault(t.at, 0, "from and until need the fact message.received", "")
		return nil
	}
	var b strings.Builder
	b.WriteString("message.received")
	if !t.from.IsZero() {
		b.WriteString(" from " + t.from.Format(time.RFC3339))
	}
	if !t.until.IsZero() {
		b.WriteString(" until " + t.until.Format(time.RFC3339))
	}
	return c.newLeaf(leaf{text: b.String(), at: t.at.spot(0), atom: atom{path: b.String()}, dated: true, since: t.from, until: t.until, program: program{reads: []int{i}, facts: []ref{{i, "received"}}}})
}

// shows lists the filters whose facts the texts of a rule show.
func (r *rule) shows() (out []int) {
	if r.do != None {
		out = append(out, r.because.needs...)
		if r.reply != nil {
			out = append(out, r.reply.text.needs...)
		}
	}
	for _, e := range r.effects {
		for _, t := range e.args {
			out = append(out, t.needs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
