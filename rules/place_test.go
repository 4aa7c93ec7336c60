package rules

import (
	"errors"
	"strings"
	"testing"
)

// TestPlacesOfMistakes finds a misspelled name at its very place, however the expression is
// quoted, folded or escaped.
func TestPlacesOfMistakes(t *testing.T) {
	const x = "HERE"
	for _, when := range []string{
		`HERE`,
		`spf.result == "fail" and HERE`,
		`'spf.result == "it''s" and HERE'`,
		`"spf.result == \"\u00fcx\x41\\n\" and HERE"`,
		`spf.result == 'größe' and HERE`,
		"spf.result == \"fail\"\n      and   HERE",
		"\"spf.result == 'a' \\\n      and HERE\"",
		"'spf.result == \"a\"\n\n      and HERE'",
		"|\n      spf.result == 'a'\n        and (\n      HERE)",
		"|-\n      HERE",
		">\n      spf.result == 'a'\n      and not\n\n      HERE",
		">-\n        spf.result == 'a' and\n          client.trusted and\n        HERE",
		"|2\n      spf.result == 'a' and HERE",
		"    HERE   # comment HERE",
		"\r\n      spf.result == 'a'\r\n      and HERE\r",
	} {
		text := "rules:\n  - name: a\n    do: discard\n    when: " + when + "\n"
		_, err := Compile([]Source{{"t.yaml", []byte(text)}}, testOptions())
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, "unknown name HERE") {
			t.Errorf("%q: %v", when, err)
			continue
		}
		before, _, _ := strings.Cut(text, x)
		line := 1 + strings.Count(before, "\n")
		column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
		if e.Line != line || e.Column != column {
			t.Errorf("%q: at %d:%d, want %d:%d\n%v", when, e.Line, e.Column, line, column, e)
		}
		caret := strings.Split(e.Snippet, "\n")
		if at := strings.Index(caret[1], "^"); string([]rune(caret[0])[at:at+4]) != x {
			t.Errorf("%q: the caret is elsewhere:\n%s", when, e.Snippet)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	words := []string{"result", "domain", "policy", "inNetwork"}
	for word, want := range map[string]string{"reslt": "result", "polciy": "policy", "RESULT": "result", "innetwrok": "inNetwork", "zebra": "", "x": ""} {
		hint := didYouMean(word, words)
		if want == "" && hint != "" || want != "" && !strings.Contains(hint, want+"?") {
			t.Errorf("%s: %q", word, hint)
		}
	}
}
