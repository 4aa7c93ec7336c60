package rules

import (
	"testing"
	"time"
)

func TestExamplesByType(t *testing.T) {
	type inner struct {
		Words []string `expr:"words" enum:"pass fail"`
		N     int      `expr:"n"`
		Deep  []struct {
			Name string `expr:"name" example:".name == \"y\""`
		} `expr:"deep"`
	}
	type facts struct {
		Yes  bool              `expr:"yes"`
		Text string            `expr:"text"`
		Word string            `expr:"word" enum:"none reject"`
		Odd  string            `expr:"odd" enum:"a b"`
		Own  string            `expr:"own" example:"lower(x.own) == \"z\""`
		Map  map[string]string `expr:"map"`
		At   time.Time         `expr:"at"`
		List []inner           `expr:"list"`
		One  inner             `expr:"one"`
	}
	want := map[string]string{
		"x.yes": "x.yes", "x.text": `x.text != ""`, "x.word": `x.word == "reject"`, "x.odd": `x.odd == "a"`, "x.own": `lower(x.own) == "z"`,
		"x.map": `x.map["x-spam"] != ""`, "x.at": `x.at > date("2026-12-01")`, "x.list": "len(x.list) > 0",
		"x.list[].words": `any(x.list, "fail" in .words)`, "x.list[].n": "any(x.list, .n > 0)", "x.list[].deep": "any(x.list, len(.deep) > 0)",
		"x.list[].deep[].name": `any(x.list, any(.deep, .name == "y"))`,
		"x.one":                "len(x.one.deep) > 0", "x.one.words": `"fail" in x.one.words`, "x.one.n": "x.one.n > 0", "x.one.deep": "len(x.one.deep) > 0",
		"x.one.deep[].name": `any(x.one.deep, .name == "y")`,
	}
	v := Vocabulary{"x": facts{}}
	all := Describe(v)
	if len(all) != len(want) {
		t.Errorf("%d facts", len(all))
	}
	for _, f := range all {
		if f.Example != want[f.Name] {
			t.Errorf("%s: %s, not %s", f.Name, f.Example, want[f.Name])
		}
	}
}

// A word that is never in a list is told, with what was meant.
func TestWordsOfAListAreKnown(t *testing.T) {
	type facts struct {
		Error   string   `expr:"error"`
		Defects []string `expr:"defects" enum:"date_missing dup_header"`
	}
	p, err := Compile([]Source{{"a.yaml", []byte(`rules: [{name: a, when: '"dup_headr" in x.defects', do: quarantine}]`)}}, Options{Vocabulary: Vocabulary{"x": facts{}}})
	if err != nil {
		t.Fatal(err)
	}
	if w := p.Lint(); len(w) != 1 || w[0].Code != "unknown-value" || w[0].Msg != `x.defects never has "dup_headr"` || w[0].Hint != "did you mean dup_header?" {
		t.Errorf("%+v", w)
	}
}
