package rules

import (
	"os"
	"strings"
	"testing"
	"time"

	"postern/search"
)

// searchFields are those of the tests.
func searchFields() map[string]search.Field {
	return map[string]search.Field{
		"rule":         {Type: search.Text, Example: `rule == "spoof"`},
		"class":        {Type: search.Text, Values: []string{"virus", "spoof", "spam"}},
		"subject":      {Type: search.Text, Example: `subject contains "invoice"`},
		"text":         {Type: search.Text},
		"rcpt":         {Type: search.Text},
		"rcpt.domain":  {Type: search.Text, Example: `rcpt.domain == "a.example"`},
		"size":         {Type: search.Number, Example: "size > 1048576"},
		"message.size": {Type: search.Number, Is: "size", Example: "size > 1048576"},
		"score":        {Type: search.Number},
		"received":     {Type: search.Time, Example: `received > ago("2d")`},
		"seen":         {Type: search.Bool},
		"asked":        {Type: search.Bool},
	}
}

var searchNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func parseSearch(s string) (*search.Condition, error) {
	return ParseSearch(s, searchFields(), searchNow)
}

// A search is understood as it was meant: the second column is what it is, written out.
func TestSearchParsed(t *testing.T) {
	for _, c := range [][2]string{
		{`rule == "Spoof" and rcpt.domain == "A.example" and received > ago("2d")`,
			`((rule == ["spoof"] and rcpt.domain == ["a.example"]) and received > 2026-11-20T12:00:00Z)`},
		{`class in ["spam", "virus"] or not (size > 1024 * 1024)`, `(class in ["spam" "virus"] or not(size > 1048576))`},
		{`"a.example" == rcpt.domain && 5 < size`, `(rcpt.domain == ["a.example"] and size > 5)`},
		{`subject not contains "x" || subject endsWith ".exe"`, `(not(subject contains ["x"]) or subject endsWith [".exe"])`},
		{`rcpt not in ["a@b", "c@d"]`, `not(rcpt in ["a@b" "c@d"])`},
		{`message.size >= -1.5`, `size >= -1.5`},
		{`received < date("2026-12-01") and received >= date("2026-11-01T08:00:00+01:00")`, `(received < 2026-12-01T00:00:00Z and received >= 2026-11-01T07:00:00Z)`},
		{`received > ago("1w1d90m")`, `received > 2026-11-14T10:30:00Z`},
		{`seen`, `seen`},
		{`not seen and asked == true`, `(not(seen) and asked)`},
		{`seen != true`, `not(seen)`},
		{`subject startsWith 'Re: "x"'`, `subject startsWith ["re: \"x\""]`},
		{`"Invoice" and rule == "x"`, `(text contains ["invoice"] and rule == ["x"])`},

		// Plain words.
		{``, `nil`},
		{" \t\n", `nil`},
		{`Invoice`, `text contains ["invoice"]`},
		{`terms and conditions`, `(text contains ["terms"] and text contains ["and"] and text contains ["conditions"])`},
		{`not in stock`, `(text contains ["not"] and text contains ["in"] and text contains ["stock"])`},
		{`size`, `text contains ["size"]`},
		{`seen them`, `(text contains ["seen"] and text contains ["them"])`},
		{`"quarterly report" ana`, `(text contains ["quarterly report"] and text contains ["ana"])`},
		{`"rule == 5" x`, `(text contains ["rule == 5"] and text contains ["x"])`},
		{`Ana <ana@a.example>`, `(text contains ["ana"] and text contains ["ana@a.example"])`},
		{`' OR 1=1 --`, `(text contains ["'"] and text contains ["or"] and text contains ["1=1"] and text contains ["--"])`},
		{`x"; DROP TABLE items; --`, `(text contains ["x"] and text contains [";"] and text contains ["drop"] and text contains ["table"] and text contains ["items;"] and text contains ["--"])`},
		{`a < b`, `(text contains ["a"] and text contains ["b"])`},
		{`subject: hello`, `(text contains ["subject:"] and text contains ["hello"])`},
		{"caf\xff\x00", "text contains [\"caf\ufffd\ufffd\"]"},
		{`"`, `nil`},
	} {
		got, err := parseSearch(c[0])
		if err != nil {
			t.Errorf("%s: %v", c[0], err)
			continue
		}
		if s := got.String(); s != c[1] {
			t.Errorf("%s:\n got %s\nwant %s", c[0], s, c[1])
		}
	}
}

// What is wrong is told with its place and a way out; the texts stand in a golden file.
func TestSearchMistakes(t *testing.T) {
	const golden = "../testdata/rules/search.err"
	var b strings.Builder
	for _, s := range []string{
		`rul == "spoof"`,
		`rule = "spoof"`,
		`rule == spoof`,
		`rule == rcpt`,
		`rule == 5`,
		`rule == "spoof`,
		`class == "spma"`,
		`class in ["spam", "virsu"]`,
		`class in "spam"`,
		`subject matches "^Re"`,
		`subject > "a"`,
		`text == "x"`,
		`size == "big"`,
		`size contains "1"`,
		`received > "2026-12-01"`,
		`received > ago("2 days")`,
		`received > ago(2)`,
		`received > age("2d")`,
		`received > date("tomorrow")`,
		`received > ago("99999999999h")`,
		`seen == "yes"`,
		`invoice and rule == "x"`,
		`rule == "x" and`,
		`rule == "x") or (1 == 1`,
		`inNetwork(client, "10.0.0.0/8") and rule == "x"`,
		`any(rcpt, # == "x")`,
		`rule == "x"; rule == "y"`,
		"rule == \"x\" and\n  sise > 5",
		`rule == "x" ? seen : asked`,
		`1 == 1 and rule == "x"`,
		`rule + "x" == "y"`,
		`rule == "x" and $env`,
		`rule == "x" and size`,
		`rule == "x" or rcpt.dom == "y"`,
		strings.Repeat("(", 200) + `rule == "x"`,
		strings.Repeat("not ", 400) + `rule == "x"`,
		strings.Repeat("a ", 21),
		strings.Repeat("ab", 2100),
	} {
		c, err := parseSearch(s)
		if err == nil {
			t.Errorf("%.80s: it is %v", s, c)
			continue
		}
		b.WriteString(cut(s, 120) + "\n" + err.Error() + "\n\n")
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := os.ReadFile(golden)
	if b.String() != string(want) {
		t.Errorf("errors differ from %s:\n%s", golden, &b)
	}
}

// Whatever is written, it is either a condition that can be asked of a message and put into
// SQL without a letter of its own, or an error with a place.
func FuzzParseSearch(f *testing.F) {
	for _, s := range []string{`rule == "x" and size > 5`, `not seen`, `a b "c d"`, `received > ago("2d")`, `class in ["spam"]`, `rule == "x" ?. y`} {
		f.Add(s)
	}
	columns := map[string]search.Column{}
	for name := range searchFields() {
		columns[name] = search.Column{SQL: "c"}
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseSearch(s)
		if err != nil {
			for _, e := range err.(Errors) {
				if e.File != SearchName || e.Line < 1 || e.Column < 1 || e.Msg == "" || e.Snippet == "" {
					t.Errorf("%q: %#v", s, e)
				}
			}
			return
		}
		text, args, err := c.SQL(columns)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(text, " (),?<>=cABDEFILNORSTUinrstub10") != "" || strings.Count(text, "?") != len(args) {
			t.Errorf("%q: %s, %d arguments", s, text, len(args))
		}
		c.Match(func(string) any { return "x" })
	})
}
