package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
)

// table gives the facts for the walk; those of the first recipient, where they differ.
func (r *tryResult) table() *factTable {
	facts := map[string]json.RawMessage{}
	for name, v := range r.Facts {
		if text, err := json.Marshal(v); err == nil {
			facts[name] = text
		}
	}
	return newFactTable(facts)
}

// print shows a result to a person: the verdict first, then why.
func (r *tryResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", clip(r.File, wide))
	facts := r.table()
	for _, v := range r.Verdicts {
		fmt.Fprintf(w, "\n%s: %s\n", clip(v.Recipient, wide), didWord(v.Do.String()))
		paragraph(w, "  because  ", v.Because)
		if v.Rule != "" {
			fmt.Fprintf(w, "  rule     %s (%s:%d)\n", v.Rule, v.File, v.Line)
		}
		paragraph(w, "  answer   ", fmt.Sprintf("%d %s %s", v.Answer.Code, v.Answer.Enhanced, v.Answer.Text))
		for _, e := range v.Effects {
			paragraph(w, "  effect   ", e.String())
		}
		if len(v.Steps) > 0 {
			fmt.Fprintln(w, "  rules")
			printSteps(w, "    ", v.Steps, facts)
		}
		printFlips(w, "  ", v.Flip)
	}
	fmt.Fprintln(w, "\nfilters and the facts that they found (empty ones left out; --json has all)")
	list := make([]gathered, len(r.Timings))
	for i, t := range r.Timings {
		text, err := json.Marshal(r.Facts[t.Name])
		if err != nil {
			text = []byte(strconv.Quote(err.Error()))
		}
		list[i] = gathered{name: t.Name, state: fmt.Sprintf("%.1f ms", t.MS), facts: text}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	printGathered(w, list)
}
