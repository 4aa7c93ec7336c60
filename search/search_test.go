package search

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func columns() map[string]Column {
	return map[string]Column{
		"rule": {SQL: "rule"}, "size": {SQL: "size"}, "received": {SQL: "received"},
		"seen": {SQL: "EXISTS (SELECT 1 FROM seen WHERE by = ?)", Args: []any{"ana"}},
		"who":  {SQL: "(SELECT by FROM taken WHERE day > ?)", Args: []any{7}},
		"text": {Has: func(part string) (string, []any) {
			return "instr(a, ?) > 0 OR instr(b, ?) > 0", []any{part, part}
		}},
	}
}

// What is in SQL is of the program, what people said is in the arguments, in the order of the
// question marks.
func TestSQL(t *testing.T) {
	for _, c := range []struct {
		c    *Condition
		want string
		args string
	}{
		{nil, "TRUE", "[]"},
		{All(), "TRUE", "[]"},
		{Any(), "FALSE", "[]"},
		{OfText("rule", Equal, "X"), "rule = ?", "[x]"},
		{OfText("rule", In, "x", "y"), "rule IN (?, ?)", "[x y]"},
		{OfText("rule", In), "FALSE", "[]"},
		{OfText("rule", Has, "ü"), "instr(rule, ?) > 0", "[ü]"},
		{OfText("rule", Begins, "üb"), "substr(rule, 1, ?) = ?", "[2 üb]"},
		{OfText("rule", Ends, "üb"), "substr(rule, ?) = ?", "[-2 üb]"},
		{OfText("rule", Has, ""), "TRUE", "[]"},
		{OfText("rule", Equal, ""), "rule = ?", "[]"},
		{OfText("rule", Equal, "a\x00\xff"), "rule = ?", "[a\ufffd\ufffd]"},
		{No(OfText("rule", Equal, "x")), "NOT (rule = ?)", "[x]"},
		{All(OfNumber("size", More, 5), Any(True("seen"), OfNumber("size", Equal, 0.5)), nil), "(size > ? AND ((EXISTS (SELECT 1 FROM seen WHERE by = ?)) OR size = ?))", "[5 ana 0.5]"},
		{OfText("who", In, "a", "b"), "(SELECT by FROM taken WHERE day > ?) IN (?, ?)", "[7 a b]"},
		{OfText("who", Begins, "a"), "substr((SELECT by FROM taken WHERE day > ?), 1, ?) = ?", "[7 1 a]"},
		{OfText("text", Has, "x"), "(instr(a, ?) > 0 OR instr(b, ?) > 0)", "[x x]"},
		{OfTime("received", AtMost, time.UnixMicro(7)), "received <= ?", "[7]"},
	} {
		sql, args, err := c.c.SQL(columns())
		if err != nil || sql != c.want || fmt.Sprint(args) != c.args || strings.Count(sql, "?") != len(args) {
			t.Errorf("%v: %s %v, %v\nwant %s %s", c.c, sql, args, err, c.want, c.args)
		}
	}
	for _, c := range []*Condition{True("asked"), OfText("text", Equal, "x"), All(OfText("rule", Equal, "x"), OfText("rule; DROP", Has, "x")), OfNumber("size", Has, 1), OfText("rule", Less, "x")} {
		if sql, _, err := c.SQL(columns()); err == nil {
			t.Errorf("%v: %s", c, sql)
		}
	}
}

func TestMatch(t *testing.T) {
	value := func(field string) any {
		return map[string]any{"rule": "spoof", "size": 7.0, "received": time.UnixMicro(7), "seen": true}[field]
	}
	for _, c := range []struct {
		c    *Condition
		want bool
	}{
		{nil, true}, {All(), true}, {Any(), false}, {True("seen"), true}, {No(True("seen")), false},
		{OfText("rule", Equal, "SPOOF"), true}, {OfText("rule", In, "a", "spoof"), true}, {OfText("rule", Begins, "sp"), true}, {OfText("rule", Ends, "sp"), false},
		{OfNumber("size", More, 7), false}, {OfNumber("size", AtLeast, 7), true}, {OfTime("received", Less, time.UnixMicro(8)), true}, {OfTime("received", AtMost, time.UnixMicro(6)), false},
		{All(True("seen"), OfNumber("size", Equal, 7)), true}, {Any(OfNumber("size", Less, 7), OfText("rule", Has, "oo")), true}, {True("nothing of the kind"), false},
	} {
		if c.c.Match(value) != c.want {
			t.Errorf("%v is not %v", c.c, c.want)
		}
	}
	tree := All(OfText("a", Has, "x"), All(True("b"), No(True("c"))))
	if n := len(tree.Conjuncts()); n != 3 || !tree.Reads("c", "d") || tree.Reads("d") {
		t.Errorf("%d conjuncts", n)
	}
}
