package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/testkit"
)

var crashKills = flag.Int("crash.kills", 5, "how often TestD03_Crash kills the gateway")

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
	case err == nil && strings.HasPrefix(reply, "421 "):
		return errors.New(reply)
	case err == nil:
		s.refused = reply
	}
	return err
}

// TestD03_Crash kills the gateway again and again under load (D-03). Afterwards every message that
// was answered 250 is at the internal server, or in the quarantine, or in the journal when a
// rule discarded it, byte for byte; none is there twice unless a reply was lost with the
// process; and of what was refused nothing is kept.
func TestD03_Crash(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	sum := c.run(*crashKills, func(n int, g *running) {
		if n%8 == 7 { // while it starts and sweeps
			pause(t.Context(), rand.N(60*time.Millisecond))
		} else {
			g.ready(t)
			c.door.set(g.addr)
			pause(t.Context(), rand.N(500*time.Millisecond))
		}
		g.kill(t)
	})
	testkit.Figure(t, "%d kills; %v", *crashKills, sum)
}

// D-15: stopped gracefully under load, again and again, it loses no reply; so nothing is there
// twice, and nothing is in doubt.
func TestD15_RestartsUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	sum := c.run(5, func(_ int, g *running) {
		g.ready(t)
		c.door.set(g.addr)
		pause(t.Context(), 100*time.Millisecond+rand.N(300*time.Millisecond))
		if err := g.stop(t); err != nil {
			t.Errorf("ended with %v\n%s", err, g.log)
		}
	})
	if sum.unanswered+sum.doubts+sum.duplicates > 0 {
		t.Errorf("graceful stops: %v", sum)
	}
}

func newCrash(t *testing.T) *crash {
	c := &crash{t: t, door: door{changed: make(chan struct{})}, taken: map[string]int{}}
	for kind := range crashKinds {
		c.tickets = append(c.tickets, slices.Repeat([]int{kind}, crashKinds[kind].often)...)
	}
	return c
}

// run keeps the gateway busy while end ends it so many times, each in its own way, and then
// compares the ledger with what there is.
func (c *crash) run(times int, end func(n int, g *running)) crashSum {
	t := c.t
	inside, err := startSample("", func(step, sender string) string {
		switch {
		case step == "EHLO" && rand.IntN(2) == 0: // it goes by BDAT then
			return strings.Replace(sampleOffers, "250 ", "250-CHUNKING\n250 ", 1)
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
	t.Cleanup(inside.Close)
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/crash.yaml", crashRules)
	builtProgram(t)

	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute+10*time.Second*time.Duration(times), errors.New("too slow"))
	defer cancel()
	began := time.Now()
	var sessions sync.WaitGroup
	for range crashSessions {
		sessions.Go(func() { c.session(ctx) })
	}
	for n := range times {
		g := s.spawn(t)
		end(n, g)
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
	sum := c.audit(s)
	sum.took = time.Since(began)
	if sum.accepted < times {
		t.Errorf("no load: %v", sum)
	}
	return sum
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
