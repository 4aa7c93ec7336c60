package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

type journalStep = journal.Step

func twoFilters() []filters.Filter { return []filters.Filter{bodyFilter()} }

// slow gives a filter that answers when told, or fails.
func slow(name string, stage mail.Stage, answer textFacts, err error, delay func() time.Duration, lazy bool) filters.Filter {
	return filters.Filter{Name: name, Stage: stage, Facts: textFacts{}, Lazy: lazy,
		Gather: func(ctx context.Context, in *filters.Input) (any, error) {
			t := time.NewTimer(delay())
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			if stage == mail.Data {
				<-in.Body.Done()
			}
			return answer, err
		}}
}

// Invariant 1.
func TestInvariant1_TimingNeverChangesAVerdict(t *testing.T) {
	is := func(want string) func(any) bool { return func(v any) bool { return v.(textFacts).Text == want } }
	stages := []mail.Stage{mail.Connect, mail.Sender, mail.Data}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var list []fakeRule
		type made struct {
			name, text string
			stage      mail.Stage
			err        error
			lazy       bool
		}
		var fs []made
		for i := range 6 {
			f := made{name: fmt.Sprintf("f%d", i), text: []string{"yes", "no"}[r.IntN(2)], stage: stages[r.IntN(3)], lazy: r.IntN(4) == 0}
			if r.IntN(8) == 0 {
				f.err = errInner
			}
			fs = append(fs, f)
			do := []rules.Disposition{rules.Deliver, rules.Quarantine, rules.Reject, rules.Defer, rules.Discard}[r.IntN(5)]
			list = append(list, fakeRule{fact: f.name, when: is("yes"), verdict: rules.Verdict{Do: do, Rule: f.name}})
		}
		want := ""
		for try := range 6 {
			var filt []filters.Filter
			for _, f := range fs {
				d := time.Duration(r.IntN(3)) * time.Duration(r.IntN(2000)) * time.Microsecond
				filt = append(filt, slow(f.name, f.stage, textFacts{Text: f.text}, f.err, func() time.Duration { return d }, f.lazy))
			}
			b := newBed(t, fakeRules{list}, filt)
			c := b.talk()
			b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample, n: 20})
			c.end(nil)
			o := b.j.order[len(b.j.order)-1].Outcomes[0]
			got := o.Do + " " + o.Rule
			if try == 0 {
				want = got
			} else if got != want {
				t.Fatalf("seed %d: %q, then %q", seed, want, got)
			}
		}
	}
}

// safe checks invariants 2 and 3 for one transaction after its reply.
func safe(b *bed, reply *mail.Reply, discard []string, to ...string) error {
	kept, held := b.q.in(quarantine.Kept), b.q.in(quarantine.Held)
	if !reply.OK() {
		if len(kept) > 0 {
			return fmt.Errorf("refused, yet kept for %v", kept)
		}
		return nil
	}
	for _, a := range to {
		durable := len(b.j.durable) > 0 && slices.Contains(discard, a)
		if !slices.Contains(b.delivered(), a) && !slices.Contains(kept, a) && !slices.Contains(held, a) && !durable {
			return fmt.Errorf("250, but %s has no copy", a)
		}
	}
	return nil
}

// Invariants 2, 3, 6 and 7 under faults: each call to a neighbour fails once.
func TestInvariant2And3_EveryFaultOfANeighbour(t *testing.T) {
	d, q, x := rules.Verdict{Do: rules.Deliver}, rules.Verdict{Do: rules.Quarantine}, rules.Verdict{Do: rules.Discard}
	scenes := map[string]map[string]rules.Verdict{
		"deliver":                {"a@example.org": d},
		"hold":                   {"a@example.org": q},
		"both":                   {"a@example.org": d, "b@example.org": q},
		"discard":                {"a@example.org": x},
		"discard, deliver":       {"a@example.org": x, "b@example.org": d},
		"discard, hold":          {"a@example.org": x, "b@example.org": q},
		"two servers":            {"a@example.org": d, "b@other.test": d},
		"two servers and a hold": {"a@example.org": d, "b@other.test": d, "c@example.org": q, "d@example.org": x},
	}
	for name, verdicts := range scenes {
		var to, discard []string
		for a, v := range verdicts {
			to = append(to, a)
			if v.Do == rules.Discard {
				discard = append(discard, a)
			}
		}
		slices.Sort(to)
		for _, second := range []*mail.Reply{nil, {Code: 554, Text: "no"}} {
			for n := 0; ; n++ {
				b := newBed(t, byRecipient(verdicts), append(twoFilters(), toFilter()))
				b.up.routes = map[string]string{"other.test": "two"}
				b.up.data = map[string]*mail.Reply{"two": second}
				b.nth = n
				c := b.talk()
				reply, refused := b.submit(t, c, to, &textUpload{text: sample})
				c.end(nil)
				var accepted []string
				for _, a := range to {
					if refused[a] == nil {
						accepted = append(accepted, a)
					}
				}
				if err := safe(b, reply, discard, accepted...); err != nil {
					t.Errorf("%s, call %d of %v fails: %v", name, n, b.calls, err)
				}
				if len(b.up.got) > 0 && !reply.OK() {
					t.Errorf("%s, call %d of %v fails: taken, yet answered %v", name, n, b.calls, reply)
				}
				for _, r := range append(values(refused), reply) {
					if r.Code/100 == 5 && r.Code != 554 || strings.Contains(r.String(), "secret") || strings.Contains(r.String(), "10.0.0.7") {
						t.Errorf("%s, call %d of %v fails: says %q", name, n, b.calls, r)
					}
				}
				if n > 0 && b.calls[min(n, len(b.calls))-1] != "record" && len(b.j.entries) != 1 {
					t.Errorf("%s, call %d of %v fails: %d entries", name, n, b.calls, len(b.j.entries))
				}
				if n > len(b.calls) {
					break
				}
			}
		}
	}
}

func values(m map[string]*mail.Reply) (list []*mail.Reply) {
	for _, r := range m {
		list = append(list, r)
	}
	return list
}

// Invariant 4.
func TestInvariant4_AFailedFilterIsNeverClean(t *testing.T) {
	for name, gather := range map[string]func(context.Context, *filters.Input) (any, error){
		"error":   func(context.Context, *filters.Input) (any, error) { return textFacts{}, errInner },
		"panic":   func(context.Context, *filters.Input) (any, error) { panic("secret") },
		"type":    func(context.Context, *filters.Input) (any, error) { return 7, nil },
		"nothing": func(context.Context, *filters.Input) (any, error) { return nil, nil },
		"timeout": func(ctx context.Context, _ *filters.Input) (any, error) {
			<-ctx.Done()
			return textFacts{Text: "clean"}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := filters.Filter{Name: "scan", Stage: mail.Data, Facts: textFacts{}, Lazy: true, Timeout: 20 * time.Millisecond, Gather: gather}
			b := newBed(t, fakeRules{[]fakeRule{{fact: "scan", when: func(v any) bool { return v.(textFacts).Text == "virus" }, verdict: rules.Verdict{Do: rules.Quarantine}}}}, []filters.Filter{f})
			c := b.talk()
			reply, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample})
			c.end(nil)
			if reply.Code != 451 || len(b.up.got) != 0 {
				t.Errorf("%v, %d delivered", reply, len(b.up.got))
			}
			if st := b.j.order[0].Filters[0].State; st != "failed" && st != "timed out" {
				t.Errorf("journal says %q", st)
			}
		})
	}
}

// Invariant 5.
func TestInvariant5_ATransactionEndsUnderThePolicyItBeganWith(t *testing.T) {
	b := newBed(t, always(rules.Verdict{Do: rules.Quarantine}), twoFilters())
	c := b.talk()
	other, err := NewPolicy(versioned{always(rules.Verdict{Do: rules.Deliver})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &textUpload{text: sample, n: 10, before: func() { b.SetPolicy(other) }}
	b.submit(t, c, []string{"a@example.org"}, u)
	b.submit(t, c, []string{"b@example.org"}, &textUpload{text: sample})
	b.submit(t, b.talk(), []string{"c@example.org"}, &textUpload{text: sample})
	var got []string
	for _, e := range b.j.order {
		got = append(got, e.Result+" "+e.Policy)
	}
	if want := []string{"held test-1", "held test-1", "delivered test-2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

type versioned struct{ fakeRules }

func (versioned) Version() string { return "test-2" }

// Invariant 6, for every end that a transaction can have.
func TestInvariant6_ExactlyOneEntryWhateverTheEnd(t *testing.T) {
	gone := errors.New("connection reset by peer")
	tests := []struct {
		name, result string
		run          func(b *bed, c *conversation, tx *transaction)
	}{
		{"reset after MAIL", "abandoned", func(_ *bed, _ *conversation, tx *transaction) { tx.abandon(nil) }},
		{"reset after RCPT, twice", "abandoned", func(_ *bed, _ *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			tx.abandon(nil)
			tx.abandon(gone)
		}},
		{"only refused recipients", "refused", func(_ *bed, _ *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@elsewhere.test")})
			tx.abandon(nil)
		}},
		{"connection cut", "abandoned", func(_ *bed, c *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			c.end(gone)
		}},
		{"next MAIL", "abandoned", func(_ *bed, c *conversation, tx *transaction) {
			c.begin(mail.Address{}, mail.Options{})
		}},
		{"upload cut", "abandoned", func(_ *bed, _ *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			if r := tx.data(&textUpload{text: sample, end: errUploadBroken}); r.Code != 451 {
				t.Errorf("said %v", r)
			}
			tx.abandon(nil)
		}},
		{"client gone while it is decided", "abandoned", func(_ *bed, c *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			tx.data(&textUpload{text: sample, before: func() { c.end(gone) }})
			tx.abandon(nil)
		}},
		{"too big", "refused", func(_ *bed, _ *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			if r := tx.data(&textUpload{text: sample, end: errTooBig}); r.Code != 552 {
				t.Errorf("said %v", r)
			}
		}},
		{"done", "delivered", func(_ *bed, _ *conversation, tx *transaction) {
			tx.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
			tx.data(&textUpload{text: sample})
			tx.abandon(nil)
			if tx.rcpt(mail.RcptTo{Address: addr(t, "b@example.org")}) == nil || tx.data(&textUpload{}).OK() {
				t.Error("goes on after its end")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, fakeRules{}, nil)
			c := b.talk()
			d, _ := c.begin(addr(t, "alice@sender.test"), mail.Options{})
			tx := d.(*transaction)
			tt.run(b, c, tx)
			if e := b.j.entries[tx.env.ID]; e == nil || e.Result != tt.result {
				t.Errorf("entry %+v, want %s", e, tt.result)
			}
			c.end(nil)
			if b.up.open != 0 {
				t.Errorf("%d deliveries left open", b.up.open)
			}
		})
	}
}

// The journal says what the client was told, not what it would have been told at DATA.
func TestEntryOfATransactionWithoutData(t *testing.T) {
	for _, tt := range []struct{ to, said string }{
		{"", ""},
		{"a@elsewhere.test", "550 5.7.1 Relaying denied"},
		{"a@elsewhere.test a@example.org", ""},
	} {
		b := newBed(t, fakeRules{}, nil)
		c := b.talk()
		d, _ := c.begin(addr(t, "alice@sender.test"), mail.Options{})
		tx := d.(*transaction)
		for to := range strings.FieldsSeq(tt.to) {
			tx.rcpt(mail.RcptTo{Address: addr(t, to)})
		}
		c.end(nil)
		said := ""
		if e := b.j.entries[tx.env.ID]; e.Reply.Code != 0 {
			said = e.Reply.String()
		}
		if said != tt.said {
			t.Errorf("RCPT %q: the journal says %q, want %q", tt.to, said, tt.said)
		}
	}
}

// Invariant 7 for what cannot be reached by a failing call.
func TestInvariant7_NoInnerTextReachesAClient(t *testing.T) {
	for _, err := range []error{errInner, fmt.Errorf("dial: %w", errInner), io.ErrUnexpectedEOF, context.DeadlineExceeded,
		&mail.Reply{Code: 354, Text: "secret"}, &mail.Reply{Code: 999, Text: "secret"}, &mail.Reply{Code: 421, Text: "secret"}, (*mail.Reply)(nil)} {
		if r := safeReply(err); r.Code != 451 || strings.Contains(r.Text, "secret") {
			t.Errorf("%v becomes %v", err, r)
		}
	}
	r := safeReply(fmt.Errorf("wrapped: %w", &mail.Reply{Code: 554, Enhanced: [3]int{4, 1, 1}, Text: "no\r\n250 2.0.0 yes\x00é"}))
	if r.String() != "554 5.0.0 no 250 2.0.0 yes??" {
		t.Errorf("%q", r)
	}
}
