package audit_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"postern/audit"
	"postern/store"
)

func open(t *testing.T, dir string) (*audit.Log, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l, err := audit.Open(t.Context(), audit.Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	return l, db
}

func note(t *testing.T, l *audit.Log, lines ...audit.Line) {
	t.Helper()
	for _, line := range lines {
		if err := l.Note(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoteAndList(t *testing.T) {
	l, _ := open(t, t.TempDir())
	for i := range 7 {
		note(t, l, audit.Line{Who: fmt.Sprintf("p%d", i%2), By: "page", Act: "release", Object: fmt.Sprint(i), Result: "done", After: json.RawMessage(`{"a":1}`)})
	}
	page, err := l.List(t.Context(), audit.Query{Limit: 3})
	if err != nil || len(page) != 3 || page[0].N != 7 || page[2].N != 5 || string(page[0].After) != `{"a":1}` || page[0].Before != nil {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = l.List(t.Context(), audit.Query{Before: page[2].N, Who: "p1"})
	if err != nil || len(page) != 2 || page[0].Object != "3" {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err = l.List(t.Context(), audit.Query{Object: "2", Act: "release"}); err != nil || len(page) != 1 || page[0].N != 3 {
		t.Errorf("%+v, %v", page, err)
	}
}

// Words of a line come from strangers: they are bounded and never break the row.
func TestHostileWords(t *testing.T) {
	l, _ := open(t, t.TempDir())
	note(t, l, audit.Line{Who: "a\x00'; DROP TABLE acts_log; --", Act: "read", Object: strings.Repeat("é", 5000), Note: "\xff\xfe", After: json.RawMessage(`{`)},
		audit.Line{After: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)})
	page, err := l.List(t.Context(), audit.Query{})
	if err != nil || len(page) != 2 || len(page[1].Object) > 320 || !json.Valid(page[1].After) || len(page[0].After) > 100 {
		t.Errorf("%+v, %v", page, err)
	}
	if n, _, err := l.Verify(t.Context()); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// Lines of many at once have numbers without gaps and one chain.
func TestParallelNotes(t *testing.T) {
	dir := t.TempDir()
	a, _ := open(t, dir)
	b, _ := open(t, dir)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if err := []*audit.Log{a, b}[i%2].Note(context.Background(), audit.Line{Act: "release", Object: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, head, err := a.Verify(t.Context()); n != 60 || err != nil || len(head) != 64 {
		t.Error(n, head, err)
	}
}

// What fails leaves no line, and a line that cannot be written undoes what came with it.
func TestNoteWith(t *testing.T) {
	l, _ := open(t, t.TempDir())
	cause := errors.New("no")
	if err := l.NoteWith(t.Context(), audit.Line{Act: "x"}, func(*store.Tx) error { return cause }); !errors.Is(err, cause) {
		t.Error(err)
	}
	if err := l.NoteAfter(t.Context(), func(*store.Tx) (*audit.Line, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
	if n, _, err := l.Verify(t.Context()); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestW13_AppendOnly: nothing changes a line, neither by a statement of ours, nor by somebody with
// a hand on the file who first takes the triggers away.
func TestW13_AppendOnly(t *testing.T) {
	dir := t.TempDir()
	l, db := open(t, dir)
	for i := range 5 {
		note(t, l, audit.Line{Who: "ann", Act: "release", Object: fmt.Sprint(i), Result: "done"})
	}
	for _, statement := range []string{
		"UPDATE acts_log SET who = 'bob' WHERE n = 2",
		"DELETE FROM acts_log WHERE n = 5",
		"INSERT OR REPLACE INTO acts_log SELECT n, at, 'bob', by_way, origin, act, object, result, reason, note, before, after, hash FROM acts_log WHERE n = 2",
		"INSERT INTO acts_log SELECT 9, at, who, by_way, origin, act, object, result, reason, note, before, after, hash FROM acts_log WHERE n = 2",
	} {
		err := db.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(statement); return err })
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if n, _, err := l.Verify(t.Context()); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	for _, c := range []struct{ statement, says string }{
		{"UPDATE acts_log SET result = 'refused' WHERE n = 2", "line 2 "},
		{"UPDATE acts_log SET who = 'annr', act = 'elease' WHERE n = 3", "line 3 "},
		{"UPDATE acts_log SET at = at + 1 WHERE n = 1", "line 1 "},
		{"DELETE FROM acts_log WHERE n = 4", "line 4 is missing"},
		{"DELETE FROM acts_log WHERE n = 1", "line 1 is missing"},
	} {
		t.Run(c.statement, func(t *testing.T) { tampered(t, dir, c.statement, c.says) })
	}
}

// tampered does it to a copy of the database.
func tampered(t *testing.T, dir, statement, says string) {
	other := t.TempDir()
	raw, err := sql.Open("sqlite", filepath.Join(dir, store.File))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec("VACUUM INTO ?", filepath.Join(other, store.File)); err != nil {
		t.Fatal(err)
	}
	hand, err := sql.Open("sqlite", filepath.Join(other, store.File))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"DROP TRIGGER acts_log_no_update", "DROP TRIGGER acts_log_no_delete", statement} {
		if _, err := hand.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	hand.Close()
	l, _ := open(t, other)
	if _, _, err := l.Verify(t.Context()); !errors.Is(err, audit.ErrTampered) || !strings.Contains(err.Error(), says) {
		t.Error(err)
	}
}
