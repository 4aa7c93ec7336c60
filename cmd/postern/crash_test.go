package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/journal"
	"postern/quarantine"
)

var crashKills = flag.Int("crash.kills", 5, "how often TestCrash kills the gateway")

// crashSessions is how many clients keep it busy.
const crashSessions = 10

// crashRules decide by the subject, so that the ledger knows what has to become of a message.
const crashRules = `include: builtin
rules:
  - {name: held, when: 'content.subject == "held"', class: policy, do: quarantine, because: "held"}
  - {name: mixed, when: 'content.subject == "mixed" and rcpt.local == "b"', class: policy, do: quarantine, because: "held for b"}
  - {name: gone, when: 'content.subject == "gone"', class: policy, do: discard, because: "discarded"}
  - {name: half-gone, when: 'content.subject == "half" and rcpt.local == "b"', class: policy, do: discard, because: "discarded for b"}
  - {name: refused, when: 'content.subject == "refused"', class: policy, do: reject, because: "refused"}
`

// A fate is what has to become of a message that was answered 250.
type fate struct{ delivered, held, discarded string } // recipients: "a", "b", "ab"

// crashKinds gives each kind of message its subject, its sender (the internal server refuses
// those named no4 and no5 after their final dot) and its fate; without one it is to be refused.
var crashKinds = []struct {
	often           int
	subject, sender string
	to              string
	fate            fate
}{
	{8, "clean", "eve", "a", fate{delivered: "a"}},
	{2, "group", "eve", "ab", fate{delivered: "ab"}},
	{4, "held", "eve", "a", fate{held: "a"}},
	{4, "mixed", "eve", "ab", fate{delivered: "a", held: "b"}},
	{1, "gone", "eve", "a", fate{discarded: "a"}},
	{1, "half", "eve", "ab", fate{delivered: "a", discarded: "b"}},
	{1, "refused", "eve", "a", fate{}},
	{1, "clean", "no4", "a", fate{}},
	{1, "mixed", "no4", "ab", fate{}},
	{1, "mixed", "no5", "ab", fate{}},
}

// A sending is one message and what its sender knows of it. Its bytes can be made again from
// its number, so that the ledger stays small.
type sending struct {
	n, kind  int
	accepted bool
	refused  string // a definite refusal, as said
	unknown  int    // attempts whose reply never came, though the final dot may have been read
	held     string // the id in the reply, when that was ours
}

// message makes the bytes of a sending.
func (s *sending) message() []byte {
	r := rand.New(rand.NewPCG(7, uint64(s.n)))
	size := r.IntN(4_000)
	switch {
	case s.n%150 == 149:
		size = 1_200_000 // spooled to a file
	case s.n%20 == 19:
		size = 50_000 + r.IntN(100_000)
	}
	return []byte(letter(fmt.Sprintf("crash-%d", s.n), crashKinds[s.kind].subject, randomText(r, size)))
}

// numberOf finds the number in a message as the internal server or the quarantine has it.
func numberOf(text []byte) int {
	_, rest, _ := strings.Cut(string(text[:min(len(text), 8<<10)]), "\r\nMessage-ID: <crash-")
	digits, _, _ := strings.Cut(rest, "@")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}

// A door tells the clients where the gateway is, while it runs.
type door struct {
	mu      sync.Mutex
	addr    string
	changed chan struct{}
}

func (d *door) set(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr = addr
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *door) wait(ctx context.Context) (string, error) {
	for {
		d.mu.Lock()
		addr, changed := d.addr, d.changed
		d.mu.Unlock()
		if addr != "" {
			return addr, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// A crash is one run of the test.
type crash struct {
	t        *testing.T
	door     door
	draining atomic.Bool // nothing new is sent
	tickets  []int       // kinds, each as often as it is to be sent

	mu     sync.Mutex
	ledger []*sending     // by number
	taken  map[string]int // "number/recipient": copies at the internal server
	wrong  []string
}

func (c *crash) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// next is a new message.
func (c *crash) next() *sending {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &sending{n: len(c.ledger), kind: c.tickets[rand.IntN(len(c.tickets))]}
	c.ledger = append(c.ledger, s)
	return s
}

// find gives the sending of a message; nil for a message that nobody sent.
func (c *crash) find(n int) *sending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 || n >= len(c.ledger) {
		return nil
	}
	return c.ledger[n]
}

// took is the internal server's ear.
func (c *crash) took(m sampleMail) {
	n := numberOf(m.Data)
	s := c.find(n)
	if s == nil {
		c.complain("the internal server got what nobody sent: %.300q", m.Data)
		return
	}
	if _, same := ours(m.Data, s.message()); !same {
		c.complain("message %d was delivered in another shape", n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range m.Recipients {
		c.taken[copyOf(n, to)]++
	}
}

func copyOf(n int, to string) string { return fmt.Sprintf("%d/%s", n, to[:1]) }

// session sends until the test drains, and then until what it has begun has a definite answer:
// as a mail server does, it sends again what was not answered.
func (c *crash) session(ctx context.Context) {
	var s *sending
	for {
		addr, err := c.door.wait(ctx)
		if err != nil {
			c.complain("a session ended with a message unanswered: %v", err)
			return
		}
		x, err := dial(addr)
		for n := 1 + rand.IntN(20); err == nil && n > 0; n-- {
			if s == nil {
				if c.draining.Load() {
					_, _ = x.say("QUIT")
					x.conn.Close()
					return
				}
				s = c.next()
			}
			if err = s.attempt(x); err == nil {
				s = nil
			}
		}
		if x != nil {
			x.conn.Close()
		}
	}
}

// attempt sends it once; nil when it has its answer.
func (s *sending) attempt(x *speaker) error {
	k := &crashKinds[s.kind]
	var to []string
	for _, r := range k.to {
		to = append(to, string(r)+"@example.org")
	}
	reply, dotted, err := x.mail(k.sender+"@friend.example", to, s.message())
	switch {
	case err != nil && dotted:
		s.unknown++
	case err == nil && strings.HasPrefix(reply, "250 2.0.0 "):
		s.accepted = true
		s.held, _ = strings.CutPrefix(reply, "250 2.0.0 OK ")
		if s.held == reply {
			s.held = ""
		}
	case err == nil:
		s.refused = reply
	}
	return err
}

// TestCrash kills the gateway again and again under load (D-03). Afterwards every message that
// was answered 250 is at the internal server, or in the quarantine, or in the journal when a
// rule discarded it, byte for byte; none is there twice unless a reply was lost with the
// process; and of what was refused nothing is kept.
func TestCrash(t *testing.T) {
	t.Parallel()
	c := &crash{t: t, door: door{changed: make(chan struct{})}, taken: map[string]int{}}
	for kind := range crashKinds {
		c.tickets = append(c.tickets, slices.Repeat([]int{kind}, crashKinds[kind].often)...)
	}
	inside, err := startSample("", func(step, sender string) string {
		switch {
		case step == "DOT" && strings.HasPrefix(sender, "no4"):
			return "451 4.2.2 Mailbox full"
		case step == "DOT" && strings.HasPrefix(sender, "no5"):
			return "554 5.6.0 Not wanted"
		}
		return ""
	}, c.took)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/crash.yaml", crashRules)
	builtProgram(t)
	began := time.Now()

	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute+5*time.Second*time.Duration(*crashKills), errors.New("too slow"))
	defer cancel()
	var sessions sync.WaitGroup
	for range crashSessions {
		sessions.Go(func() { c.session(ctx) })
	}
	for n := range *crashKills {
		g := s.spawn(t)
		if n%8 == 7 { // while it starts and sweeps
			pause(ctx, rand.N(60*time.Millisecond))
		} else {
			g.ready(t)
			c.door.set(g.addr)
			pause(ctx, rand.N(500*time.Millisecond))
		}
		g.kill(t)
		c.door.set("")
	}
	g := s.spawn(t)
	g.ready(t)
	c.draining.Store(true)
	c.door.set(g.addr)
	sessions.Wait()
	if err := g.stop(t); err != nil {
		t.Errorf("the last one ended with %v\n%s", err, g.log)
	}
	took := time.Since(began)
	c.audit(s, took)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// audit compares the ledger with what there is.
func (c *crash) audit(s *site, took time.Duration) {
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
	kept, items := c.kept(st.quarantine)
	lines := c.discarded(st.journal)

	sum := map[string]int{}
	for _, s := range c.ledger {
		k := &crashKinds[s.kind]
		refusable := k.fate == fate{}
		attempts := s.unknown // that may have left something
		switch {
		case s.accepted:
			sum["accepted"]++
			attempts++
			if refusable {
				t.Errorf("%d (%s) was to be refused and was accepted", s.n, k.subject)
			}
			if s.held != "" && k.fate.held != "" && !items[s.held] {
				t.Errorf("%d: the client was told %s, which is not there", s.n, s.held)
			}
		case s.refused != "":
			sum["refused"]++
			if !refusable {
				t.Errorf("%d (%s): %s", s.n, k.subject, s.refused)
			}
		}
		sum["lost replies"] += s.unknown
		for _, r := range k.to {
			at, to := copyOf(s.n, string(r)), string(r)
			delivered, held, line := c.taken[at], kept[at], lines[at]
			sum["delivered"] += delivered
			sum["held"] += held
			sum["discarded"] += line
			if s.accepted {
				lost := true
				switch {
				case strings.Contains(k.fate.delivered, to) && delivered == 0:
					t.Errorf("LOST: %d (%s) was accepted and never delivered to %s", s.n, k.subject, to)
				case strings.Contains(k.fate.held, to) && held == 0:
					t.Errorf("LOST: %d (%s) was accepted and is not held for %s", s.n, k.subject, to)
				case strings.Contains(k.fate.discarded, to) && line+held == 0:
					t.Errorf("LOST: %d (%s) was accepted, and the journal does not know that it was discarded for %s", s.n, k.subject, to)
				default:
					lost = false
				}
				if lost {
					sum["lost"]++
				}
				sum["duplicates"] += max(0, delivered-1) + max(0, held-1)
			}
			if !s.accepted || !strings.Contains(k.fate.held, to) {
				sum["doubts"] += held
			}
			if delivered > attempts || held > attempts {
				t.Errorf("%d (%s) for %s: %d delivered and %d held of %d attempts that may count", s.n, k.subject, to, delivered, held, attempts)
			}
			if delivered > 0 && !strings.Contains(k.fate.delivered, to) {
				t.Errorf("%d (%s) was delivered to %s", s.n, k.subject, to)
			}
		}
	}
	for _, w := range c.wrong[:min(len(c.wrong), 20)] {
		t.Error(w)
	}
	if sum["accepted"] < *crashKills {
		t.Errorf("only %d messages were accepted: no load", sum["accepted"])
	}
	t.Logf("crash: %d kills in %.1f s (%.2f s each): %d messages, %d accepted, %d refused; %d copies delivered, %d held, %d discarded; %d replies lost with the process: %d copies kept in doubt, %d duplicates; %d lost",
		*crashKills, took.Seconds(), took.Seconds()/float64(max(1, *crashKills)), len(c.ledger), sum["accepted"], sum["refused"], sum["delivered"], sum["held"], sum["discarded"], sum["lost replies"], sum["doubts"], sum["duplicates"], sum["lost"])
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
