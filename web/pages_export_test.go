package web

import (
	"encoding/csv"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/people"
)

// C-35: no cell of an export is taken for a formula, whatever stands in mail.
func TestC35_Export(t *testing.T) {
	b := newBed(t, people.Operator)
	one := b.desk.rows[0]
	b.desk.rows = nil
	hostile := []string{`=HYPERLINK("http://evil.example","x")`, "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1", "  =1+1", "＝1+1", "a\n=1+1", `"=1+1`, "|calc", "%0A=1", "plain, with a comma"}
	for i := range 1203 {
		r := one
		r.ID, r.Subject, r.FromName, r.Because = sampleID(i), hostile[i%len(hostile)], hostile[i%len(hostile)], hostile[i%len(hostile)]
		b.desk.rows = append(b.desk.rows, r)
	}
	for path, list := range map[string]string{"/export.csv": "held", "/log/export.csv": "log"} {
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="postern-`+list+`-2026-11-22.csv"` {
			t.Errorf("%s: %s", path, got)
		}
		rows, err := csv.NewReader(w.Body).ReadAll()
		if err != nil || len(rows) != 1204 {
			t.Fatalf("%s: %d rows, %v", path, len(rows), err)
		}
		for n, row := range rows[1:] {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(strings.TrimLeft(cell, " ")[:1], "=+-@\t\r\n|%") || strings.ContainsAny(cell, "\t\r\n") {
					t.Fatalf("row %d has the cell %q", n, cell)
				}
			}
		}
	}
}

// What a CSV cell cannot do to a spreadsheet, a URL cannot do to a list: what makes no sense in an address is left out.
func TestSpot(t *testing.T) {
	at := spotOf("/", map[string][]string{"q": {`rule == "a&b"`}, "class": {"spam"}, "since": {"2026-11-01"}, "until": {"nonsense"}, "cursor": {"7"}})
	if got := at.Here(); got != "/?class=spam&q=rule+%3D%3D+%22a%26b%22&since=2026-11-01" {
		t.Error(got)
	}
	if got := at.Link("class", ""); got != "/?q=rule+%3D%3D+%22a%26b%22&since=2026-11-01" {
		t.Error(got)
	}
	if got := fmt.Sprint(at.Narrows()); got != "[{since 2026-11-01}]" {
		t.Error(got)
	}
}
