package rules

import (
	"fmt"
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	far := strings.Repeat("long", 20)
	for _, c := range []struct {
		name string
		own  string
		want int
	}{
		{"example.org", "example.org", 0},
		{"EXAMPLE.org", "example.org", 0},
		{" ann   boss ", "Ann Boss", 0},
		{"Ann\u200b Boss", "Ann Boss", 0}, // nothing that shows
		{"IT Support", "it support", 0},
		{"examp1e.org", "example.org", 1},        // a digit
		{"exampIe.org", "example.org", 1},        // a capital I
		{"exarnple.org", "example.org", 1},       // rn for m
		{"ехаmрlе.org", "example.org", 1},        // Cyrillic е х а р е
		{"example.оrg", "example.org", 1},        // Cyrillic о
		{"εxαmple.org", "example.org", 1},        // Greek
		{"éxámple.org", "example.org", 1},        // accents
		{"ｅｘａｍｐｌｅ.org", "example.org", 1},        // full width
		{"𝐞𝐱𝐚𝐦𝐩𝐥𝐞.org", "example.org", 1},        // mathematical
		{"3x4mp13.0rg", "example.org", 1},        // digits throughout
		{"xn--xample-9uf.org", "example.org", 1}, // еxample with a Cyrillic е
		{"exampl.org", "example.org", 1},
		{"exampel.org", "example.org", 1}, // neighbours swapped
		{"example.com", "example.org", 3},
		{"examples.net", "example.org", 4},
		{"mail.example.org", "example.org", 5},
		{"vvebmail.example", "webmail.example", 1},
		{"clara", "dara", 1},
		{"Αnn Βoss", "Ann Boss", 1}, // Greek capitals
		{"Boss, Ann", "Ann Boss", 9},
		{"", "example.org", 10},
		{"completely different", "example.org", 10},
		{far, "example.org", 10},
		{far + far, far[:60], 10},
		{"\xff\xfe", "example.org", 10},
		{"xn--", "example.org", 10},
	} {
		p := compile(t, rulesOf("name: a\n    when: 'true'\n    do: discard\n    because: '{{distance(client.helo, \""+c.own+"\", \"not this one at all\")}}'"))
		v := decide(t, p, factMap{"client": clientFacts{Helo: c.name}}.all())
		if v.Because != fmt.Sprint(c.want) {
			t.Errorf("distance(%q, %q) = %s, want %d", c.name, c.own, v.Because, c.want)
		}
	}
}

// TestConfusablesAreOneToOne: no character stands in two lines of the table, and none of the
// plain letters stands for another.
func TestConfusablesAreOneToOne(t *testing.T) {
	seen := make(map[rune]string)
	for line := range strings.SplitSeq(confusables, "\n") {
		looks, like, _ := strings.Cut(line, " ")
		for _, r := range like {
			if seen[r] != "" || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				t.Errorf("%c looks like %s and %s", r, seen[r], looks)
			}
			seen[r] = looks
		}
	}
	if len(seen) < 200 {
		t.Errorf("only %d characters", len(seen))
	}
}

// FuzzDistance: whatever the name, the answer is in its bounds, and a name is no distance from
// itself.
func FuzzDistance(f *testing.F) {
	for _, s := range []string{"example.org", "xn--xample-9uf.org", "ехаmрlе.org", "𝐞𝐱", "\xff", "a\u0301\u200d", strings.Repeat("rn", 200), "ﷺﷺﷺ"} {
		f.Add(s, "example.org")
	}
	f.Fuzz(func(t *testing.T, name, ours string) {
		c := compiler{tables: newTables()}
		if prepareOwn(&c, 1, ours) != nil {
			return
		}
		v, err := nearest(&c.tables, []any{name, ours})
		if d, ok := v.(int); err != nil || !ok || d < 0 || d > maxDistance {
			t.Fatalf("distance(%q, %q) = %v, %v", name, ours, v, err)
		}
		if v, _ := nearest(&c.tables, []any{ours, ours}); v != 0 {
			t.Fatalf("distance(%q, itself) = %v", ours, v)
		}
	})
}

func BenchmarkDistance(b *testing.B) {
	c := compiler{tables: newTables()}
	names := []any{"sales.exarnple.com"}
	for _, own := range []string{"example.org", "example.net", "example.com"} {
		if err := prepareOwn(&c, 1, own); err != nil {
			b.Fatal(err)
		}
		names = append(names, own)
	}
	for b.Loop() {
		_, _ = nearest(&c.tables, names)
	}
}
