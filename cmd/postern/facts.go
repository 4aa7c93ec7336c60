package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/filters"
	"postern/gateway"
	"postern/mail"
	"postern/rules"
)

// A reference is what rules can be made of: docs/rules.md and rules facts tell the same.
type reference struct {
	Filters   []filterInfo        `json:"filters"`
	Facts     []factInfo          `json:"facts"`
	Functions []rules.FunctionDoc `json:"functions"`
	Effects   []effectInfo        `json:"effects"`
}

type filterInfo struct {
	Name  string       `json:"name"`
	Doc   string       `json:"doc"`
	Cost  filters.Cost `json:"cost"`
	Known string       `json:"known"` // the earliest reply that can rest on it
	Reads []string     `json:"reads,omitempty"`
}

type factInfo struct {
	rules.Fact
	Filter string       `json:"filter"`
	Cost   filters.Cost `json:"cost"`
	Known  string       `json:"known"`
}

type effectInfo struct {
	Usage string `json:"usage"`
	Doc   string `json:"doc"`
}

// newReference asks the program itself.
func newReference() *reference {
	r := &reference{Functions: rules.Functions()}
	all := filters.Catalogue()
	slices.SortFunc(all, func(a, b filters.Filter) int { return strings.Compare(a.Name, b.Name) })
	by := map[string]filterInfo{}
	for i := range all {
		f := &all[i]
		info := filterInfo{Name: f.Name, Doc: f.Doc, Cost: f.Cost, Known: known(f), Reads: f.After}
		by[f.Name] = info
		r.Filters = append(r.Filters, info)
	}
	for _, fact := range rules.Describe(filters.Vocabulary()) {
		name, rest, _ := strings.Cut(fact.Name, ".")
		info := factInfo{Fact: fact, Filter: name, Cost: by[name].Cost, Known: by[name].Known}
		if name == "message" && filters.KnownAtOnce(rest) {
			info.Known = atRcpt
		}
		r.Facts = append(r.Facts, info)
	}
	for _, e := range gateway.EffectSpecs(gateway.EffectScope{}) {
		r.Effects = append(r.Effects, effectInfo{e.Usage(), e.Doc})
	}
	return r
}

// When facts are known, as postern check calls it.
const (
	atRcpt    = "RCPT"
	endOfData = "end of data"
)

func known(f *filters.Filter) string {
	switch {
	case f.Later:
		return atRcpt + " or " + endOfData
	case f.Stage == mail.Data:
		return endOfData
	}
	return atRcpt
}

type rulesFactsCmd struct {
	Words []string `arg:"" optional:"" name:"word" help:"Only what has all these words in its name or meaning."`
	JSON  bool     `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (rulesFactsCmd) Help() string {
	return "Example:\n  postern rules facts\n  postern rules facts spf.result\n  postern rules facts link host\n\n" +
		"Costs, the cheapest first: free (what was said), header, body, DNS, database, scanner. What is known at RCPT can\n" +
		"refuse before the message comes."
}

// Run lists them.
func (c *rulesFactsCmd) Run(out output) error {
	r := newReference()
	r.pick(c.Words)
	if c.JSON {
		return printObject(out.out, r)
	}
	if len(r.Filters)+len(r.Facts)+len(r.Functions)+len(r.Effects) == 0 {
		return fmt.Errorf("nothing has these words: postern rules facts shows everything")
	}
	r.print(out.out)
	return nil
}

// pick leaves what has all the words.
func (r *reference) pick(words []string) {
	if len(words) == 0 {
		return
	}
	lacks := func(texts ...string) bool {
		text := strings.ToLower(strings.Join(texts, " "))
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
	}
	r.Facts = slices.DeleteFunc(r.Facts, func(f factInfo) bool { return lacks(f.Name, f.Doc) })
	r.Functions = slices.DeleteFunc(r.Functions, func(f rules.FunctionDoc) bool { return lacks(f.Signature, f.Doc) })
	r.Effects = slices.DeleteFunc(r.Effects, func(e effectInfo) bool { return lacks(e.Usage, e.Doc) })
	r.Filters = slices.DeleteFunc(r.Filters, func(f filterInfo) bool {
		return !slices.ContainsFunc(r.Facts, func(fact factInfo) bool { return fact.Filter == f.Name })
	})
}

// print tells it to a person, each filter with its facts.
func (r *reference) print(w io.Writer) {
	for _, f := range r.Filters {
		fmt.Fprintf(w, "%s\n", strings.ToUpper(f.Name))
		paragraph(w, "  ", fmt.Sprintf("%s Costs: %s. Known at %s.", f.Doc, f.Cost, f.Known))
		for _, fact := range r.Facts {
			if fact.Filter != f.Name {
				continue
			}
			fmt.Fprintf(w, "\n  %s  %s\n", fact.Name, fact.Type)
			paragraph(w, "      ", fact.told())
			paragraph(w, "      e.g. ", fact.Example)
		}
		fmt.Fprintln(w)
	}
	if len(r.Functions) > 0 {
		fmt.Fprintf(w, "FUNCTIONS\n")
	}
	for _, f := range r.Functions {
		fmt.Fprintf(w, "\n  %s\n", f.Signature)
		paragraph(w, "      ", f.Doc)
		paragraph(w, "      e.g. ", f.Example+" gives "+f.Result)
	}
	if len(r.Effects) > 0 {
		fmt.Fprintf(w, "\nEFFECTS\n")
	}
	for _, e := range r.Effects {
		fmt.Fprintf(w, "\n  %s\n", e.Usage)
		paragraph(w, "      ", e.Doc)
	}
}

// told is its meaning with what else there is to know.
func (f *factInfo) told() string {
	text := f.Doc
	if len(f.Values) > 0 && !strings.Contains(text, f.Values[len(f.Values)-1]) {
		text += " One of: " + strings.Join(f.Values, ", ") + "."
	}
	return text
}
