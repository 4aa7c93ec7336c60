package main

import (
	"fmt"
	"io"
	"strings"
)

// print shows the plan on one screen.
func (p *rulePlan) print(w io.Writer) {
	into := p.Into
	if into == "" {
		into = "the built-in policy"
	}
	fmt.Fprintf(w, "%s in place of %s\n\n", p.Dir, into)
	for _, c := range p.Files {
		fmt.Fprintf(w, "file    %-8s %s\n", c.What, c.File)
	}
	if len(p.Files) == 0 {
		fmt.Fprintln(w, "file    none differs")
	}
	if len(p.Carried) > 0 {
		paragraph(w, "stays   ", strings.Join(p.Carried, ", "))
	}
	for _, x := range []struct {
		what  string
		names []string
	}{{"new", p.Rules.New}, {"changed", p.Rules.Changed}, {"gone", p.Rules.Gone}} {
		if len(x.names) > 0 {
			paragraph(w, fmt.Sprintf("rule    %-8s ", x.what), strings.Join(x.names, ", "))
		}
	}
	for _, e := range p.Errors {
		fmt.Fprintf(w, "error   %s\n", strings.TrimSpace(e.String()))
	}
	for _, l := range p.Lint {
		fmt.Fprintf(w, "lint    %s\n", &l)
	}
	if p.Tests != nil {
		p.Tests.printFailures(w)
		fmt.Fprint(w, "tests   ")
		p.Tests.printSum(w)
	}
	p.printReplay(w)
	fmt.Fprintln(w)
	if p.OK {
		fmt.Fprintf(w, "It may be applied: %d rules, version %s.\n", p.Rules.All, p.Version)
	}
}

// printReplay shows what would have become of past mail.
func (p *rulePlan) printReplay(w io.Writer) {
	switch {
	case p.Replay == nil && p.NoReplay != "":
		fmt.Fprintf(w, "replay  none: %s\n", p.NoReplay)
	case p.Replay != nil:
		fmt.Fprint(w, "replay  ")
		p.Replay.print(w)
	}
}

// String gives a mistake with its place.
func (e checkError) String() string {
	if e.File == "" {
		return e.Message
	}
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Snippet != "" {
		s += "\n" + e.Snippet
	}
	if e.Hint != "" {
		s += " " + e.Hint
	}
	return s
}
