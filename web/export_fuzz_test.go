package web

import (
	"encoding/csv"
	"strings"
	"testing"
)

// C-35: Whatever stands in a mail: its cell is one line, begins like no formula, and is read back
// as it was written.
func FuzzExportCell(f *testing.F) {
	for _, s := range []string{"=1", " =1", "\t=1", "\u3000＝1", "\"=1", "\u200b=1", "\ufeff+1", "\u202e=1", "a,b\r\nc", "\xff=1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		cell := inert(in)
		bare := strings.TrimLeftFunc(cell, func(r rune) bool { return strings.ContainsRune(" \u00a0\u3000\u200b\ufeff", r) })
		if strings.ContainsAny(cell, "\r\n\t\x00") || bare != "" && strings.ContainsAny(first(bare), "=+-@＝＋－＠|%") {
			t.Fatalf("%q became %q", in, cell)
		}
		var b strings.Builder
		w := csv.NewWriter(&b)
		if err := w.Write([]string{cell, "end"}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if got, err := csv.NewReader(strings.NewReader(b.String())).ReadAll(); err != nil || len(got) != 1 || got[0][0] != cell {
			t.Fatalf("%q was read back as %q, %v", cell, got, err)
		}
	})
}
