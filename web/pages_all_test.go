package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/people"
	"postern/review"
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

// Pinning changes the rules: it is offered to those who may put rules in force, and to nobody else.
func TestPinIsOfferedToWhoMay(t *testing.T) {
	for role, want := range map[people.Role]bool{people.Admin: true, people.Operator: false} {
		b := newBed(t, role)
		if body := b.get("/m/" + b.desk.rows[0].ID); strings.Contains(body, "/pin") != want || !strings.Contains(body, "Make a rule from this") {
			t.Errorf("%s: is offered to pin: %v", role, !want)
		}
	}
}

// A refusal says why, as far as the desk tells it.
func TestRefusalSaysWhy(t *testing.T) {
	for words, err := range map[string]error{
		"You may not do that.":                               review.ErrForbidden,
		"You may not do that. Only an administrator does.":   fmt.Errorf("%w: only an administrator does", review.ErrForbidden),
		"It is not as it was any more: look again. 3 match.": fmt.Errorf("%w: 3 match", review.ErrChanged),
	} {
		if _, got := status(err); got != words {
			t.Errorf("%q instead of %q", got, words)
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
