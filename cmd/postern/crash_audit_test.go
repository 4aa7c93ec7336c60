package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"postern/journal"
	"postern/quarantine"
)

// A crashSum is what a run comes to.
type crashSum struct {
	took                       time.Duration
	messages                   int
	accepted, refused          int // answered so
	unanswered                 int // attempts whose reply was lost, though the final dot may have been read
	delivered, held, discarded int // copies
	doubts                     int // copies kept though nobody was told: the reply was lost with the process
	duplicates                 int // copies beyond one: sent again after a lost reply
	lost                       int // copies that were answered 250 and are nowhere
}

func (s crashSum) String() string {
	return fmt.Sprintf("%.1f s: %d messages, %d accepted, %d refused; %d copies delivered, %d held, %d discarded; %d replies lost with the process: %d copies kept in doubt, %d duplicates; %d lost",
		s.took.Seconds(), s.messages, s.accepted, s.refused, s.delivered, s.held, s.discarded, s.unanswered, s.doubts, s.duplicates, s.lost)
}

// audit compares the ledger with what there is.
func (c *crash) audit(s *site) (sum crashSum) {
	t := c.t
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStores(t.Context(), cfg, slog.New(slog.DiscardHandler), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	if r, err := st.quarantine.Sweep(t.Context(), 0); err != nil || r.Kept.Count+r.Missing.Count+r.Perhaps.Count+r.Voided.Count+r.Leftover.Count > 0 {
		t.Errorf("after a graceful stop a sweep finds %+v, %v", r, err)
	}
	found := evidence{delivered: c.taken, discarded: c.discarded(st.journal)}
	found.held, found.items = c.kept(st.quarantine)
	sum.messages = len(c.ledger)
	for _, s := range c.ledger {
		c.auditOne(s, &found, &sum)
	}
	for _, w := range c.wrong[:min(len(c.wrong), 20)] {
		t.Error(w)
	}
	return sum
}

// evidence is how many copies there are, by number and recipient.
type evidence struct {
	delivered, held, discarded map[string]int
	items                      map[string]bool // ids of held mail
}

func (c *crash) auditOne(s *sending, found *evidence, sum *crashSum) {
	k := &crashKinds[s.kind]
	wanted := k.fate != fate{}
	attempts := s.unknown // that may have left something
	sum.unanswered += s.unknown
	switch {
	case s.accepted:
		attempts++
		sum.accepted++
		if !wanted {
			c.t.Errorf("%d (%s) was to be refused and was accepted", s.n, k.subject)
		}
		if s.held != "" && k.fate.held != "" && !found.items[s.held] {
			c.t.Errorf("%d: the client was told %s, which is not there", s.n, s.held)
		}
	case s.refused != "":
		sum.refused++
		if wanted {
			c.t.Errorf("%d (%s): %s", s.n, k.subject, s.refused)
		}
	}
	for _, r := range k.to {
		to, at := string(r), copyOf(s.n, string(r))
		delivered, held, discarded := found.delivered[at], found.held[at], found.discarded[at]
		sum.delivered += delivered
		sum.held += held
		sum.discarded += discarded
		lost := strings.Contains(k.fate.delivered, to) && delivered == 0 ||
			strings.Contains(k.fate.held, to) && held == 0 ||
			strings.Contains(k.fate.discarded, to) && discarded+held == 0
		if s.accepted && lost {
			sum.lost++
			c.t.Errorf("LOST: %d (%s) for %s was answered 250: delivered %d, held %d, discarded %d times", s.n, k.subject, to, delivered, held, discarded)
		}
		sum.duplicates += max(0, delivered-1)
		if strings.Contains(k.fate.held, to) && s.accepted {
			sum.doubts += max(0, held-1)
		} else {
			sum.doubts += held
		}
		if delivered > attempts || held > attempts {
			c.t.Errorf("%d (%s) for %s: %d delivered and %d held of %d attempts that may count", s.n, k.subject, to, delivered, held, attempts)
		}
		if delivered > 0 && !strings.Contains(k.fate.delivered, to) {
			c.t.Errorf("%d (%s) was delivered to %s", s.n, k.subject, to)
		}
	}
}

// kept reads the quarantine, every byte of it: how many copies there are of each, and the ids.
func (c *crash) kept(q *quarantine.Store) (copies map[string]int, ids map[string]bool) {
	t := c.t
	copies, ids = map[string]int{}, map[string]bool{}
	for cursor := ""; ; {
		items, next, err := q.List(t.Context(), quarantine.Query{State: quarantine.Any, Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			ids[it.ID] = true
			r, err := q.Content(t.Context(), it.ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			r.Close()
			n := numberOf(text)
			if s := c.find(n); err != nil || s == nil || !bytes.Equal(text, s.message()) {
				t.Errorf("%s is held in another shape (message %d, %v)", it.ID, n, err)
				continue
			}
			for _, k := range it.Copies {
				copies[copyOf(n, k.Recipient.Address.Local)]++
			}
		}
		if cursor = next; cursor == "" {
			return copies, ids
		}
	}
}

// discarded reads the journal's lines of discards.
func (c *crash) discarded(j *journal.Store) map[string]int {
	found := map[string]int{}
	for _, rule := range []string{"gone", "half-gone"} {
		for cursor := ""; ; {
			entries, next, err := j.Search(c.t.Context(), journal.Query{Rule: rule, Limit: 500, Cursor: cursor})
			if err != nil {
				c.t.Fatal(err)
			}
			for _, e := range entries {
				for _, o := range e.Outcomes {
					if o.Do == "discard" {
						found[copyOf(numberOf([]byte("\r\nMessage-ID: "+e.MessageID)), o.Recipient.Local)]++
					}
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	return found
}
