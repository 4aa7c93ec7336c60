package web

import (
	"strings"
	"testing"
	"time"

	"postern/people"
)

// Every page is there for who may see it, and carries no script or style of its own.
func TestEveryPage(t *testing.T) {
	b := newBed(t, people.Admin)
	for name, path := range everyPage() {
		began := time.Now()
		body := b.get(path)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		for _, bad := range []string{" style=", "<style", "onclick", `"javascript:`, `"http://`, `"https://`} {
			if body = strings.ReplaceAll(body, "http://www.w3.org", ""); strings.Contains(body, bad) && name != "raw" {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}

// A message that does not stay in memory is shown all the same.
func TestLargeMessage(t *testing.T) {
	b := newBed(t, people.Operator)
	id := b.desk.rows[0].ID
	b.desk.raw[id] = "From: a@b.example\r\nSubject: large\r\n\r\nIts beginning.\r\n" + strings.Repeat("0123456789012345678901234567890123456789\r\n", 80_000)
	if body := b.get("/m/" + id); !strings.Contains(body, "Its beginning.") || !strings.Contains(body, "only the beginning is shown") {
		t.Error("the text of a large message is not shown")
	}
}
