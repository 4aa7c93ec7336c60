package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"

	"postern/rules"
)

// print shows a result to a person: the verdict first, then why.
func (r *tryResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.File)
	for _, v := range r.Verdicts {
		where := "no rule decided"
		if v.Rule != "" {
			where = "rule " + v.Rule
			if v.File != "" {
				where += fmt.Sprintf(" (%s:%d)", v.File, v.Line)
			}
		}
		fmt.Fprintf(w, "  %s: %s, %s: %s\n    answer: %d %s %s\n", v.Recipient, v.Do, where, v.Because, v.Answer.Code, v.Answer.Enhanced, v.Answer.Text)
		for _, e := range v.Effects {
			fmt.Fprintf(w, "    effect: %s(%q)\n", e.Name, e.Args)
		}
		printSteps(w, "    ", v.Steps)
	}
	fmt.Fprintln(w, "  facts:")
	took := map[string]float64{}
	for _, t := range r.Timings {
		took[t.Name] = t.MS
	}
	names := make([]string, 0, len(r.Facts))
	for name := range r.Facts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := json.Marshal(r.Facts[name])
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(w, "    %s (%.1f ms): %s\n", name, took[name], text)
	}
}

// printSteps shows the walk: each rule looked at and what it said.
func printSteps(w io.Writer, indent string, steps []rules.Step) {
	for _, s := range steps {
		said := s.Result.String()
		if s.Matched {
			said = "matched"
			if s.Score != 0 {
				said += fmt.Sprintf(", score %+g", s.Score)
			}
		}
		if s.Shadow {
			said += " (shadow: without effect)"
		}
		if s.Why != "" {
			said += ": " + s.Why
		}
		fmt.Fprintf(w, "%s%-28s %s\n", indent, s.Rule, said)
		for _, l := range s.Leaves {
			fmt.Fprintf(w, "%s  %-7s %s\n", indent, l.Result, l.Text)
		}
	}
}
