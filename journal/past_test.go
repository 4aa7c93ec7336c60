package journal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// sent records a message from eve@friend.example to ana@example.org with these facts.
func sent(t testing.TB, s *Store, at time.Time, do, facts string, change ...func(*Entry)) {
	t.Helper()
	e := sample(at, "ana@example.org")
	e.Envelope.Sender = address("Eve@friend.example")
	e.Outcomes[0].Do = do
	e.Facts = map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(facts), &e.Facts); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(e)
	}
	if err := s.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

const spfPass = `{"spf":{"result":"pass","domain":"friend.example"}}`

func TestDeliveredCountsWhatWasDeliveredAndProven(t *testing.T) {
	for _, c := range []struct {
		what, do, facts string
		counts          bool
		change          func(*Entry)
	}{
		{"SPF passes", "deliver", spfPass, true, nil},
		{"DMARC passes for the same domain", "deliver", `{"spf":{"result":"fail","domain":"friend.example"},"dmarc":{"result":"pass","domain":"friend.example"}}`, true, nil},
		{"DMARC passes for another", "deliver", `{"dmarc":{"result":"pass","domain":"evil.example"}}`, false, nil},
		{"SPF passes for the EHLO name", "deliver", `{"spf":{"result":"pass","domain":"evil.example"}}`, false, nil},
		{"SPF passes everybody", "deliver", `{"spf":{"result":"pass","domain":"friend.example","permissive":true}}`, false, nil},
		{"nothing is proven", "deliver", `{"spf":{"result":"none","domain":"friend.example"},"dkim":{"result":"pass","domain":"friend.example"}}`, false, nil},
		{"no facts", "deliver", `{}`, false, nil},
		{"held", "quarantine", spfPass, false, nil},
		{"refused", "reject", spfPass, false, nil},
		{"to another", "deliver", spfPass, false, func(e *Entry) { e.Outcomes[0].Recipient = address("ben@example.org") }},
		{"from another", "deliver", spfPass, false, func(e *Entry) { e.Envelope.Sender = address("bob@friend.example") }},
		{"later", "deliver", spfPass, false, func(e *Entry) { e.Received = start.Add(time.Hour) }},
		{"in a long entry, which is packed", "deliver", strings.TrimSuffix(spfPass, "}") + `,"content":{"subject":"` + strings.Repeat("x", 9000) + `"}}`, true, nil},
	} {
		s := open(t, t.TempDir(), Options{})
		at := start.Add(-time.Hour)
		if c.change == nil {
			c.change = func(*Entry) {}
		}
		sent(t, s, at, c.do, c.facts, c.change)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, first, last, err := s.Delivered(t.Context(), address("eve@FRIEND.example"), address("Ana@example.org"), start)
		if err != nil || (n == 1) != c.counts || n > 1 || first.Equal(at) != c.counts || last.Equal(at) != c.counts {
			t.Errorf("%s: %d, %v, %v, %v", c.what, n, first, last, err)
		}
	}
}

func TestDeliveredIsBounded(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i := range pastCount + 50 {
		sent(t, s, start.Add(time.Duration(i)*time.Minute), "deliver", spfPass)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, first, last, err := s.Delivered(t.Context(), address("eve@friend.example"), address("ana@example.org"), start.Add(24*time.Hour))
	if n != pastCount || !first.Equal(start.Add(50*time.Minute)) || !last.Equal(start.Add(149*time.Minute)) || err != nil {
		t.Error(n, first, last, err)
	}
	if n, _, _, err := s.Delivered(t.Context(), address("eve@friend.example"), address("ana@example.org"), start.Add(3*time.Minute)); n != 3 || err != nil {
		t.Error(n, err)
	}
}

// The query goes by indexes alone: through the sender's entries, and from each straight to the
// recipient.
func TestDeliveredUsesIndexes(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	rows, err := s.o.DB.Reader().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+pastQuery, "a", 1, 2, "b", 3)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	text := strings.Join(plan, "\n")
	for _, want := range []string{"SEARCH entries USING COVERING INDEX entries_sender (sender=? AND seq<?)", "SEARCH r USING PRIMARY KEY (rcpt=? AND entry=?)", "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
}

// A sender with thousands of messages to others, and one with some to this recipient.
func BenchmarkDelivered(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	for i := range 5000 {
		sent(b, s, start.Add(time.Duration(i)*time.Minute), "deliver", spfPass, func(e *Entry) {
			e.Outcomes[0].Recipient = address(fmt.Sprintf("r%d@example.org", i%100))
			if i%10 > 0 {
				e.Envelope.Sender = address(fmt.Sprintf("s%d@friend.example", i%100))
			}
		})
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, from, to string }{
		{"nobody", "x@friend.example", "r1@example.org"}, {"others", "eve@friend.example", "r1@example.org"}, {"this", "s1@friend.example", "r1@example.org"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, _, err := s.Delivered(b.Context(), address(c.from), address(c.to), start.Add(time.Hour*1000)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
