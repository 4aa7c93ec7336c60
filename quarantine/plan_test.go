package quarantine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/search"
	"postern/store"
)

// Lists are read in their order, by the way that leads there: nothing is sorted, and no table is
// read from end to end, but the one that stands in that order.
func TestListsAreReadInOrder(t *testing.T) {
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{DB: db, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); db.Close() })
	fill(t, s)
	const inOrder, words = "SEARCH s USING PRIMARY KEY (bin=?", "SCAN f VIRTUAL TABLE"
	for _, c := range []struct {
		name string
		q    Query
		way  string
	}{
		{"all that waits", Query{}, inOrder},
		{"all", Query{State: Any}, inOrder},
		{"a late page", Query{Cursor: "5000"}, "SEARCH s USING PRIMARY KEY (bin=? AND seq<?"},
		{"of two days", Query{Since: time.UnixMicro(100)}, "SEARCH s USING PRIMARY KEY (bin=? AND seq>?"},
		{"a class", Query{Class: "spam"}, "sought_class (class=? AND bin=?"},
		{"two classes", Query{Where: search.OfText("class", search.In, "spam", "virus")}, "sought_class (class=? AND bin=?"},
		{"a rule, page by page", Query{Rule: "r", Cursor: "5000"}, "sought_rule (rule=? AND bin=? AND seq<?"},
		{"a user", Query{Only: []string{"a@a.example", "b@a.example"}}, "sought_rcpt (rcpt=? AND bin=?"},
		{"an operator", Query{Only: []string{"@a.example"}, State: Any}, "sought_domain (domain=? AND bin=?"},
		{"a user in a class", Query{Only: []string{"few@a.example"}, Class: "spam"}, "sought_rcpt (rcpt=? AND bin=?"},
		{"the few of a common class", Query{Class: "spam", Where: search.OfText("rule", search.Equal, "rare")}, "sought_rule (rule=? AND bin=?"},
		{"a sender", Query{Sender: "a@a.example"}, "sought_sender (sender=? AND bin=?"},
		{"words", Query{Text: "invoice"}, words},
		{"words in a common class", Query{Class: "spam", Text: "invoice"}, words},
		{"words in a rare class", Query{Class: "virus", Text: "invoice"}, "sought_class (class=? AND bin=?"},
		{"a part of a subject", Query{Where: search.OfText("subject", search.Begins, "re: inv")}, words},
		{"two letters", Query{Text: "in"}, inOrder},
		{"not a class", Query{Where: search.No(search.OfText("class", search.Equal, "spam"))}, inOrder},
	} {
		p, err := s.plan(t.Context(), &c.q)
		if err == nil {
			err = p.from(c.q.Cursor)
		}
		if err != nil {
			t.Fatal(c.name, err)
		}
		text, args := p.statement(51)
		ways := explained(t, db, text, args)
		if strings.Contains(ways, "TEMP B-TREE") || strings.Contains(ways, "SCAN s\n") || !strings.Contains(ways, c.way) {
			t.Errorf("%s: %s\n%s", c.name, text, ways)
		}
	}
}

// fill makes the class spam and the word invoice common, the rule rare and the class virus rare.
func fill(t testing.TB, s *Store) {
	t.Helper()
	err := s.o.DB.Write(t.Context(), func(tx *store.Tx) error {
		for i := range 2 * few {
			class, rule, rcpt := "spam", "r", "a@a.example"
			if i%500 == 0 {
				class, rule, rcpt = "virus", "rare", "few@a.example"
			}
			if i%500 == 1 {
				rule = "rare"
			}
			_, err := tx.Exec(`INSERT INTO sought VALUES (1, ?, 0, 1, ?, 'kept', ?, ?, ?, 'a.example', 'a@a.example', 'a.example', '192.0.2.1', '', ?, 0, 1, 1, 'invoice', '', '')`,
				i+1, fmt.Sprint("id", i), class, rule, rcpt, i+1)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func explained(t testing.TB, db *store.DB, text string, args []any) string {
	t.Helper()
	rows, err := db.Reader().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatal(text, err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		b.WriteString(detail + "\n")
	}
	return b.String()
}
