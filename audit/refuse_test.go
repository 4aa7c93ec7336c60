package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/audit"
	"postern/store"
)

// clocked is a log whose clock the test moves.
func clocked(t *testing.T) (*audit.Log, *time.Time) {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l, err := audit.Open(t.Context(), audit.Options{DB: db, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return l, &now
}

func refuse(t *testing.T, l *audit.Log, who, act, object string) {
	t.Helper()
	if err := l.Refuse(t.Context(), audit.Line{Who: who, By: "page", Act: act, Object: object, Result: "refused", Note: "not allowed"}); err != nil {
		t.Fatal(err)
	}
}

// newest gives the lines, newest first, after the chain was checked.
func newest(t *testing.T, l *audit.Log) []audit.Line {
	t.Helper()
	if _, _, err := l.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines, err := l.List(t.Context(), audit.Query{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// W-13: the same refusal is one line an hour, with a count; what differs has a line of its own.
func TestW13_RepeatedRefusalsAreCounted(t *testing.T) {
	l, now := clocked(t)
	for range 500 {
		refuse(t, l, "una", "approve", "A")
		*now = now.Add(time.Second)
	}
	if lines := newest(t, l); len(lines) != 1 || lines[0].Note != "not allowed" {
		t.Fatalf("%+v", lines)
	}
	refuse(t, l, "ben", "approve", "A")
	refuse(t, l, "una", "approve", "B")
	refuse(t, l, "una", "deny", "A")
	if lines := newest(t, l); len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	*now = now.Add(time.Hour)
	refuse(t, l, "una", "approve", "A")
	lines := newest(t, l)
	if len(lines) != 5 || lines[0].Note != "not allowed (and 499 more of the same, from 12:00 to 12:08 UTC)" {
		t.Fatalf("%+v", lines[0])
	}
	refuse(t, l, "una", "approve", "A")
	*now = now.Add(time.Hour)
	if err := l.Settle(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if lines = newest(t, l); len(lines) != 6 || !strings.HasPrefix(lines[0].Note, "1 more of the same, from 13:08 to 13:08 UTC") || lines[0].Object != "A" || lines[0].Result != "refused" {
		t.Fatalf("%+v", lines[0])
	}
	if err := l.Settle(t.Context(), true); err != nil || len(newest(t, l)) != 6 {
		t.Error("counted twice", err)
	}
}

// Nobody fills the log by trying something else each time, and nobody hides others by it.
func TestW13_ManyRefusalsAreBounded(t *testing.T) {
	l, now := clocked(t)
	for i := range 1000 {
		refuse(t, l, "una", []string{"look", "release"}[i%2], fmt.Sprint(i))
	}
	refuse(t, l, "ben", "look", "1")
	lines := newest(t, l)
	if len(lines) != 61 || lines[0].Who != "ben" {
		t.Fatalf("%d lines, the last of %s", len(lines), lines[0].Who)
	}
	*now = now.Add(time.Hour)
	refuse(t, l, "una", "look", "new")
	lines = newest(t, l)
	told := ""
	for _, line := range lines[:2] {
		told += line.Act + " " + line.Note + " " + string(line.After) + "\n"
	}
	if len(lines) != 63 || !strings.Contains(told, `many 940 more attempts were refused`) || !strings.Contains(told, `{"acts":{"look":470,"release":470}}`) || !strings.Contains(told, "look not allowed") {
		t.Fatalf("%d lines\n%s", len(lines), told)
	}
}

// What was counted is told at the end of the program, and a clock that is put back counts nothing for ever.
func TestW13_CountsAreNotLost(t *testing.T) {
	l, now := clocked(t)
	refuse(t, l, "una", "look", "A")
	refuse(t, l, "una", "look", "A")
	if err := l.Settle(t.Context(), true); err != nil || len(newest(t, l)) != 2 {
		t.Fatal(err, newest(t, l))
	}
	refuse(t, l, "una", "look", "A")
	*now = now.Add(-1000 * time.Hour)
	refuse(t, l, "una", "look", "A")
	refuse(t, l, "una", "look", "A")
	if lines := newest(t, l); len(lines) < 4 {
		t.Errorf("%+v", lines)
	}
}

// Whoever is not signed in is told by where they come from, and all of them together fill no log.
func TestW13_StrangersAreBounded(t *testing.T) {
	l, now := clocked(t)
	for i := range 400 {
		for range 1 + 5/(i+1) {
			line := audit.Line{By: "page", From: fmt.Sprintf("2001:db8::%x", i), Act: "sign-in", Object: "password", Result: "refused"}
			if err := l.Refuse(t.Context(), line); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, _, err := l.Verify(t.Context()); n != 300 || err != nil {
		t.Fatal(n, err)
	}
	*now = now.Add(time.Hour)
	if err := l.Settle(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if n, _, err := l.Verify(t.Context()); n != 306 || err != nil {
		t.Fatal(n, err)
	}
}
