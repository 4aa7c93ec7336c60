package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/filters"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// rcptBed is a bed with one transaction that has begun.
func rcptBed(t *testing.T, p decider, fs []filters.Filter, change ...func(*Config)) (*bed, *conversation, *transaction) {
	t.Helper()
	b := newBed(t, p, fs, change...)
	c := b.talk()
	t.Cleanup(func() { c.end(nil) })
	d, r := c.begin(addr(t, "alice@sender.test"), mail.Options{})
	if r != nil {
		t.Fatal(r)
	}
	return b, c, d.(*transaction)
}

func say(t testing.TB, tx *transaction, to string) string {
	t.Helper()
	r := tx.rcpt(mail.RcptTo{Address: addr(t, to)})
	if r == nil {
		return "250"
	}
	return r.String()
}

func TestS40_OnlyOurDomainsAndNoRoutes(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil)
	for to, code := range map[string]string{
		"v@ext.test": "550 5.7.1", "v%ext.test@example.org": "553 5.1.3", "ext.test!v@example.org": "553 5.1.3",
		`"v@ext.test"@example.org`: "553 5.1.3", "v@[127.0.0.1]": "550 5.7.1", "v@[IPv6:::1]": "550 5.7.1",
		"v@sub.example.org": "550 5.7.1", "v@EXAMPLE.ORG": "250", `"v w"@example.org`: "250", "postmaster@example.org": "250",
		`"v@ext.test> X="@example.org`: "553 5.1.3",
	} {
		if got := say(t, tx, to); !strings.HasPrefix(got, code) {
			t.Errorf("%s: %s, want %s", to, got, code)
		}
	}
	if r := tx.rcpt(mail.RcptTo{}); r == nil || r.Code != 550 {
		t.Errorf("the null recipient: %v", r)
	}
	if n := len(b.up.begun); n != 1 {
		t.Errorf("%d transactions with the internal server", n)
	}
}

func TestS45_TheInternalServersOwnAnswerAtRcpt(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil)
	b.up.rcpt = map[string]*mail.Reply{
		"unknown@example.org": {Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user\r\nhere"},
		"busy@example.org":    {Code: 450, Enhanced: [3]int{4, 2, 0}, Text: "mailbox busy"},
		"odd@example.org":     {Code: 354, Text: "go ahead"},
	}
	for to, want := range map[string]string{"unknown@example.org": "550 5.1.1 no such user here", "busy@example.org": "450 4.2.0 mailbox busy", "odd@example.org": "451 4.3.0 Try again later", "known@example.org": "250"} {
		if got := say(t, tx, to); got != want {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
}

func TestUnreachableInternalServer(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil)
	b.named = map[string]error{"begin": errInner}
	for _, to := range []string{"a@example.org", "b@example.org"} {
		if got := say(t, tx, to); !strings.HasPrefix(got, "451 4.4.1") || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", to, got)
		}
	}
	if slices.Index(b.calls, "begin") != len(b.calls)-1 {
		t.Errorf("asked again: %v", b.calls)
	}
	if r := tx.ready(); r != replyAllDeferred {
		t.Errorf("DATA: %v", r)
	}
	tx.abandon(nil)
	if e := b.j.order[0]; e.Result != "deferred" || e.Outcomes[0].Do != "defer" {
		t.Errorf("%+v", e)
	}
}

func TestMailRefusedByTheInternalServer(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil)
	b.named = map[string]error{"begin": &mail.Reply{Code: 552, Enhanced: [3]int{5, 3, 4}, Text: "too big for me"}}
	if got := say(t, tx, "a@example.org"); got != "552 5.3.4 too big for me" {
		t.Error(got)
	}
}

func TestReady(t *testing.T) {
	_, _, tx := rcptBed(t, fakeRules{}, nil)
	if r := tx.ready(); r.Code != 503 {
		t.Errorf("no RCPT: %v", r)
	}
	say(t, tx, "v@ext.test")
	if r := tx.ready(); r.String() != "554 5.5.1 No valid recipients" {
		t.Errorf("all refused: %v", r)
	}
	say(t, tx, "v@example.org")
	if r := tx.ready(); r != nil {
		t.Errorf("one accepted: %v", r)
	}
}

func TestS47_TooManyRecipients(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil, func(c *Config) { c.Limits.Recipients = 3 })
	for i := range 3 {
		if got := say(t, tx, fmt.Sprintf("u%d@example.org", i)); got != "250" {
			t.Fatal(got)
		}
	}
	if got := say(t, tx, "u3@example.org"); !strings.HasPrefix(got, "452 4.5.3") {
		t.Error(got)
	}
	if got := say(t, tx, "u1@example.org"); got != "250" {
		t.Errorf("the same again: %s", got)
	}
	if r := tx.data(&textUpload{text: sample}); !r.OK() || len(b.delivered()) != 3 {
		t.Errorf("%v, delivered to %v", r, b.delivered())
	}
}

func TestDuplicateRecipientsGetOneCopyAndTheFirstAnswer(t *testing.T) {
	b, _, tx := rcptBed(t, fakeRules{}, nil)
	b.up.rcpt = map[string]*mail.Reply{"no@example.org": {Code: 550, Text: "no"}}
	for _, to := range []string{"a@example.org", "a@EXAMPLE.org", "no@example.org", "no@example.org"} {
		say(t, tx, to)
	}
	if n := len(slices.DeleteFunc(slices.Clone(b.calls), func(s string) bool { return s != "rcpt" })); n != 2 {
		t.Errorf("%d RCPT", n)
	}
	tx.data(&textUpload{text: sample})
	if got := b.delivered(); !slices.Equal(got, []string{"a@example.org"}) {
		t.Errorf("delivered to %v", got)
	}
}

func TestS19_OptionsThatTheInternalServerLacksAreRefused(t *testing.T) {
	b := newBed(t, fakeRules{}, nil, func(c *Config) { c.Limits.MessageSize = 1000 })
	b.up.ext = mail.Extensions{Size: 5000}
	for _, tt := range []struct {
		from string
		o    mail.Options
		code int
	}{
		{"a@b.test", mail.Options{UTF8: true}, 550}, {"ö@b.test", mail.Options{}, 550}, {"a@b.test", mail.Options{Body: "8BITMIME"}, 555},
		{"a@b.test", mail.Options{Ret: "FULL"}, 555}, {"a@b.test", mail.Options{Size: 1001}, 552}, {"a@b.test", mail.Options{Size: 1000, Body: "7BIT"}, 0}, {"", mail.Options{}, 0},
	} {
		_, r := b.talk().begin(addr(t, tt.from), tt.o)
		if r == nil && tt.code != 0 || r != nil && r.Code != tt.code {
			t.Errorf("%s %+v: %v, want %d", tt.from, tt.o, r, tt.code)
		}
	}
	d, _ := b.talk().begin(mail.Address{}, mail.Options{})
	if r := d.rcpt(mail.RcptTo{Address: addr(t, "a@example.org"), Notify: "NEVER"}); r == nil || r.Code != 555 {
		t.Errorf("NOTIFY: %v", r)
	}
	if got := b.extensions().Size; got != 1000 {
		t.Errorf("SIZE %d", got)
	}
}

func TestNoPolicyNoMail(t *testing.T) {
	b := newBed(t, fakeRules{}, nil)
	b.policy.Store(nil)
	if _, r := b.talk().begin(mail.Address{}, mail.Options{}); r == nil || r.Code != 451 {
		t.Errorf("%v", r)
	}
}

// refuser refuses at RCPT by a fact of the sender; the wait is only for what is under way.
func TestVerdictsKnownAtRcptRefuseThere(t *testing.T) {
	yes := func(v any) bool { return v.(textFacts).Text == "yes" }
	reject := rules.Verdict{Do: rules.Reject, Because: "listed", Reply: &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 9}, Text: "You are listed"}}
	release := make(chan struct{})
	f := filters.Filter{Name: "list", Stage: mail.Connect, Facts: textFacts{}, Gather: func(ctx context.Context, _ *filters.Input) (any, error) {
		<-release
		return textFacts{Text: "yes"}, nil
	}}
	b, _, tx := rcptBed(t, fakeRules{[]fakeRule{{fact: "list", when: yes, verdict: reject}}}, []filters.Filter{f, bodyFilter()})
	go close(release)
	if got := say(t, tx, "a@example.org"); got != "550 5.7.9 You are listed" {
		t.Error(got)
	}
	if len(b.up.begun) != 0 {
		t.Error("the internal server was asked")
	}
	tx.abandon(nil)
	if o := b.j.order[0].Outcomes[0]; o.Do != "reject" || o.Because != "listed" || o.Reply != "550 5.7.9 You are listed" {
		t.Errorf("%+v", o)
	}
}

func TestQuarantineKnownAtRcptIsStillOffered(t *testing.T) {
	b, _, tx := rcptBed(t, always(rules.Verdict{Do: rules.Quarantine}), nil)
	b.up.rcpt = map[string]*mail.Reply{"unknown@example.org": {Code: 550, Text: "unknown"}}
	if got := say(t, tx, "unknown@example.org"); got != "550 5.0.0 unknown" {
		t.Error(got)
	}
	if got := say(t, tx, "known@example.org"); got != "250" {
		t.Error(got)
	}
	if r := tx.data(&textUpload{text: sample}); r.String() != "250 2.0.0 OK "+tx.env.ID {
		t.Errorf("%v", r)
	}
	it := b.q.items[tx.env.ID]
	if it == nil || it.State != quarantine.Kept || it.Subject != "hello" || it.From != "Alice <alice@sender.test>" || it.Copies[0].Class != "policy" || it.Policy != "test-1" || len(it.Envelope.Recipients) != 1 {
		t.Errorf("%+v", it)
	}
}

func TestDecidedEarlyStartsNothing(t *testing.T) {
	ran := false
	f := bodyFilter()
	f.Gather = func(context.Context, *filters.Input) (any, error) { ran = true; return textFacts{}, nil }
	b, _, tx := rcptBed(t, fakeRules{[]fakeRule{{verdict: rules.Verdict{Do: rules.Deliver}}, {fact: "body"}}}, []filters.Filter{f})
	say(t, tx, "a@example.org")
	if r := tx.data(&textUpload{text: sample}); !r.OK() || ran || len(b.up.got) != 1 {
		t.Errorf("%v, filter ran: %v", r, ran)
	}
}

func TestLazyFiltersStartOnlyWhenNothingElseCanDecide(t *testing.T) {
	for _, listed := range []string{"yes", "no"} {
		ran := false
		scan := filters.Filter{Name: "scan", Stage: mail.Data, Facts: textFacts{}, Lazy: true, Gather: func(context.Context, *filters.Input) (any, error) {
			ran = true
			return textFacts{}, nil
		}}
		after := filters.Filter{Name: "after", Stage: mail.Data, Facts: textFacts{}, After: []string{"scan"}, Gather: func(ctx context.Context, in *filters.Input) (any, error) {
			_, err := in.Fact(ctx, "scan")
			return textFacts{}, err
		}}
		body := slow("body", mail.Data, textFacts{Text: listed}, nil, func() time.Duration { return time.Millisecond }, false)
		yes := func(v any) bool { return v.(textFacts).Text == "yes" }
		b, _, tx := rcptBed(t, fakeRules{[]fakeRule{{fact: "body", when: yes, verdict: rules.Verdict{Do: rules.Quarantine}}, {fact: "after", when: yes}}},
			[]filters.Filter{body, after, scan})
		say(t, tx, "a@example.org")
		if r := tx.data(&textUpload{text: sample}); !r.OK() {
			t.Errorf("%v", r)
		}
		if ran != (listed == "no") {
			t.Errorf("listed %s: the scan ran: %v", listed, ran)
		}
		if e := b.j.order[0]; (e.Facts["after"] != nil) != ran || e.Facts["body"] == nil {
			t.Errorf("facts %s", e.Facts)
		}
	}
}

// The journal tells apart what was done, stopped since the message was decided without it, and
// never started; and how long a time limit was waited for.
func TestStatesOfFiltersInTheJournal(t *testing.T) {
	yes := func(v any) bool { return v.(textFacts).Text == "yes" }
	wait := func(ctx context.Context, _ *filters.Input) (any, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	fs := []filters.Filter{
		slow("a", mail.Data, textFacts{Text: "yes"}, nil, func() time.Duration { return 0 }, false),
		{Name: "b", Stage: mail.Data, Facts: textFacts{}, Gather: wait},
		{Name: "c", Stage: mail.Data, Facts: textFacts{}, Lazy: true, Gather: wait},
		{Name: "d", Stage: mail.Sender, Facts: textFacts{}, Timeout: time.Millisecond, Gather: wait},
		slow("e", mail.Sender, textFacts{}, errors.New("no answer"), func() time.Duration { return 0 }, false),
	}
	seen := fakeRule{when: func(any) bool { return false }}
	list := []fakeRule{seen, seen, {fact: "a", when: yes, verdict: rules.Verdict{Do: rules.Quarantine}}, {fact: "b"}, {fact: "c"}}
	list[0].fact, list[1].fact = "d", "e"
	b, _, tx := rcptBed(t, lenient{fakeRules{list}}, fs)
	say(t, tx, "a@example.org")
	if r := tx.data(&textUpload{text: sample}); !r.OK() {
		t.Fatal(r)
	}
	want := map[string]string{"a": "done", "b": "cancelled: decided", "c": "not needed", "d": "timed out: timed out: context deadline exceeded", "e": "failed: no answer"}
	for _, f := range b.j.order[0].Filters {
		got := f.State
		if f.Error != "" {
			got += ": " + f.Error
		}
		if got != want[f.Name] {
			t.Errorf("%s: %s, want %s", f.Name, got, want[f.Name])
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("no word of %v", want)
	}
}

// lenient rules take a filter without an answer for one that says no.
type lenient struct{ fakeRules }

func (l lenient) Decide(f rules.Facts) (rules.Verdict, []string) {
	return l.fakeRules.Decide(noErrors{f})
}

type noErrors struct{ rules.Facts }

func (n noErrors) Lookup(name string) (any, error, bool) {
	v, _, known := n.Facts.Lookup(name)
	return v, nil, known
}

// A rule that holds or discards may choose the words of the 250; the first recipient's rule that
// has some is heard, unless the internal server has spoken.
func TestWordsOfARuleThatDoesNotRefuse(t *testing.T) {
	words := &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "Held: ask\r\npostmaster"}
	for _, tt := range []struct {
		do   map[string]rules.Disposition
		want string
	}{
		{map[string]rules.Disposition{"a@example.org": rules.Quarantine}, "250 2.0.0 Held: ask postmaster"},
		{map[string]rules.Disposition{"a@example.org": rules.Discard}, "250 2.0.0 Held: ask postmaster"},
		{map[string]rules.Disposition{"a@example.org": rules.Reject, "b@example.org": rules.Quarantine}, "250 2.0.0 Held: ask postmaster"},
		{map[string]rules.Disposition{"a@example.org": rules.Deliver, "b@example.org": rules.Quarantine}, "250 2.0.0 queued as 4711"},
	} {
		verdicts, to := map[string]rules.Verdict{}, []string{}
		for a, do := range tt.do {
			v := rules.Verdict{Do: do, Reply: words}
			if do == rules.Reject {
				v.Reply = nil
			}
			verdicts[a], to = v, append(to, a)
		}
		slices.Sort(to)
		b := newBed(t, byRecipient(verdicts), append(twoFilters(), toFilter()))
		c := b.talk()
		if r, _ := b.submit(t, c, to, &textUpload{text: sample}); r.String() != tt.want {
			t.Errorf("%v: %s, want %s", tt.do, r, tt.want)
		}
		c.end(nil)
	}
}

// Whatever becomes of a copy, the journal has a sentence why.
func TestWhyWhenNoRuleRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bed)
		u      textUpload
		want   string
	}{
		{"delivered", func(*bed) {}, textUpload{text: sample}, "nothing speaks against it"},
		{"RCPT refused", func(b *bed) {
			b.up.rcpt = map[string]*mail.Reply{"a@example.org": {Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user"}}
		}, textUpload{text: sample}, "the internal server refused it: 550 5.1.1 no such user"},
		{"data refused", func(b *bed) {
			b.up.data = map[string]*mail.Reply{"": {Code: 452, Enhanced: [3]int{4, 3, 1}, Text: "full"}}
		},
			textUpload{text: sample}, "the internal server refused it: 452 4.3.1 full"},
		{"unreachable", func(b *bed) { b.named = map[string]error{"begin": errInner} }, textUpload{text: sample}, replyUnreachable.Text},
		{"bare LF", func(*bed) {}, textUpload{text: sample, lf: true}, replyBareNewline.Text},
	} {
		b := newBed(t, fakeRules{}, nil)
		tt.change(b)
		c := b.talk()
		b.submit(t, c, []string{"a@example.org"}, &tt.u)
		c.end(nil)
		if o := b.j.order[0].Outcomes[0]; o.Because != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, o.Because, tt.want)
		}
	}
}

// A fact may become known between the walk that misses it and the look whether it is under way.
func TestAFactThatComesBetweenTwoLooks(t *testing.T) {
	for range 300 {
		fast := filters.Filter{Name: "fast", Stage: mail.Data, Facts: textFacts{}, Gather: func(context.Context, *filters.Input) (any, error) { return textFacts{}, nil }}
		b := newBed(t, fakeRules{[]fakeRule{{fact: "fast", when: func(any) bool { return false }}}}, []filters.Filter{fast})
		c := b.talk()
		if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample}); !r.OK() {
			t.Fatal(r)
		}
		c.end(nil)
	}
}

// Rules that wait for what is known would walk for ever.
func TestRulesThatNeverDecide(t *testing.T) {
	b, _, tx := rcptBed(t, stubborn{fakeRules{[]fakeRule{{fact: "body"}}}}, twoFilters())
	say(t, tx, "a@example.org")
	if r := tx.data(&textUpload{text: sample}); r != replyLater || len(b.up.got) != 0 {
		t.Errorf("%v", r)
	}
}

type stubborn struct{ fakeRules }

func (stubborn) Decide(rules.Facts) (rules.Verdict, []string) {
	return rules.Verdict{}, []string{"body"}
}

func TestSplit(t *testing.T) {
	yes := func(v any) bool { return strings.HasPrefix(v.(toFacts).Address, "q") }
	_, _, tx := rcptBed(t, fakeRules{[]fakeRule{{fact: "to", when: yes, verdict: rules.Verdict{Do: rules.Quarantine}}}}, []filters.Filter{toFilter()}, func(c *Config) { c.Split = true })
	for to, want := range map[string]string{"a@example.org": "250", "b@example.org": "250"} {
		if got := say(t, tx, to); got != want {
			t.Errorf("%s: %s", to, got)
		}
	}
	if got := say(t, tx, "q@example.org"); !strings.HasPrefix(got, "451 4.5.3") {
		t.Error(got)
	}
}

func TestFlawsAndBrokenUploads(t *testing.T) {
	gone := fmt.Errorf("%w: connection reset", errUploadBroken)
	tests := []struct {
		name   string
		u      textUpload
		change func(*Config)
		want   string
	}{
		{"S-05 bare CR", textUpload{text: sample, cr: true}, nil, "550 5.5.2"},
		{"S-05 bare CR in normalize", textUpload{text: sample, cr: true}, func(c *Config) { c.BareNewline = "normalize" }, "550 5.5.2"},
		{"S-05 bare LF", textUpload{text: sample, lf: true}, nil, "550 5.5.2"},
		{"S-05 bare LF in normalize", textUpload{text: sample, lf: true}, func(c *Config) { c.BareNewline = "normalize" }, "250 2.0.0"},
		{"S-18 NUL", textUpload{text: sample, nul: true}, nil, "550 5.6.0"},
		{"S-18 NUL allowed", textUpload{text: sample, nul: true}, func(c *Config) { c.AllowNUL = true }, "250 2.0.0"},
		{"S-03 broken", textUpload{text: sample, end: gone}, nil, "451 4.4.2"},
		{"S-25 too big", textUpload{text: sample, end: errTooBig}, nil, "552 5.3.4"},
		{"too slow a decision", textUpload{text: sample}, func(c *Config) { c.Limits.Decide = time.Nanosecond }, "451 4.3.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			change := tt.change
			if change == nil {
				change = func(*Config) {}
			}
			wait := slow("body", mail.Data, textFacts{}, nil, func() time.Duration { return 5 * time.Millisecond }, false)
			b, _, tx := rcptBed(t, fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return false }}}}, []filters.Filter{wait}, change)
			say(t, tx, "a@example.org")
			r := tx.data(&tt.u)
			if !strings.HasPrefix(r.String(), tt.want) {
				t.Errorf("%v, want %s", r, tt.want)
			}
			if taken := len(b.up.got) == 1; taken != r.OK() {
				t.Errorf("%v, delivered: %v", r, taken)
			}
			if b.spool.InMemory() != 0 {
				t.Errorf("%d bytes left in memory", b.spool.InMemory())
			}
		})
	}
}

func TestD06_NoRoomForTheMessage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	b, _, tx := rcptBed(t, fakeRules{}, nil, func(c *Config) { c.SpoolDir = dir })
	say(t, tx, "a@example.org")
	u := &textUpload{text: sample + strings.Repeat("x\r\n", 1<<20), n: 1 << 16}
	if r := tx.data(u); r != replyFull || u.text != "" || len(b.up.got) != 0 {
		t.Errorf("%v, %d bytes not read", r, len(u.text))
	}
	for _, err := range []error{quarantine.ErrFull, syscall.ENOSPC} {
		b, _, tx := rcptBed(t, always(rules.Verdict{Do: rules.Quarantine}), nil)
		b.named = map[string]error{"hold": fmt.Errorf("write: %w", err)}
		say(t, tx, "a@example.org")
		if r := tx.data(&textUpload{text: sample}); r != replyFull {
			t.Errorf("%v: %v", err, r)
		}
		if b.Healthy() == nil {
			t.Error("healthy with a full quarantine")
		}
	}
}

func TestD13_ASecondTryAfterALostReplyIsNotRelayedAgain(t *testing.T) {
	gone := errors.New("connection reset by peer")
	to := []string{"a@example.org"}
	tests := []struct {
		name   string
		before func(b *bed, c *conversation) // after the first 250
		again  func(b *bed)
		text   string
		to     []string
		want   int // messages at the internal server
	}{
		{name: "reply lost", before: func(_ *bed, c *conversation) { c.end(gone) }, want: 1},
		{name: "QUIT", before: func(_ *bed, c *conversation) { c.end(errQuit) }, want: 2},
		{name: "cut after another command", before: func(_ *bed, c *conversation) { c.hello("again", true, ""); c.end(gone) }, want: 2},
		{name: "still connected", before: func(*bed, *conversation) {}, want: 2},
		{name: "other bytes", before: func(_ *bed, c *conversation) { c.end(gone) }, text: sample + "x\r\n", want: 2},
		{name: "other recipients", before: func(_ *bed, c *conversation) { c.end(gone) }, to: []string{"b@example.org"}, want: 2},
		{name: "a day later", before: func(b *bed, c *conversation) {
			c.end(gone)
			b.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
		}, want: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, fakeRules{}, nil)
			c := b.talk()
			defer c.end(nil)
			b.submit(t, c, to, &textUpload{text: sample})
			tt.before(b, c)
			if tt.text == "" {
				tt.text = sample
			}
			if tt.to == nil {
				tt.to = to
			}
			if r, _ := b.submit(t, b.talk(), tt.to, &textUpload{text: tt.text}); !r.OK() {
				t.Errorf("%v", r)
			}
			if len(b.up.got) != tt.want {
				t.Errorf("%d messages, want %d", len(b.up.got), tt.want)
			}
		})
	}
	t.Run("of two copies one is held", func(t *testing.T) {
		b := newBed(t, byRecipient(map[string]rules.Verdict{"a@example.org": {Do: rules.Deliver}, "b@example.org": {Do: rules.Quarantine}}), append(twoFilters(), toFilter()))
		for range 3 {
			c := b.talk()
			if r, _ := b.submit(t, c, []string{"a@example.org", "b@example.org"}, &textUpload{text: sample}); !r.OK() {
				t.Error(r)
			}
			c.end(gone)
		}
		if len(b.up.got) != 1 || len(b.q.items) != 1 {
			t.Errorf("%d delivered, %d held", len(b.up.got), len(b.q.items))
		}
	})
	t.Run("while the first is on its way", func(t *testing.T) {
		b := newBed(t, fakeRules{}, nil)
		first, hungUp := b.talk(), false
		first.gone = func() bool { return hungUp }
		second := func() string {
			r, _ := b.submit(t, b.talk(), to, &textUpload{text: sample})
			return r.String()
		}
		b.after = func(call string) {
			if call != "send" {
				return
			}
			b.after = nil
			hungUp = true
			if r := second(); r != replyLater.String() {
				t.Errorf("for a client that hung up meanwhile: %s", r)
			}
		}
		b.submit(t, first, to, &textUpload{text: sample})
		if r := second(); !strings.HasPrefix(r, "250") {
			t.Errorf("when it was taken, before we saw that the client is gone: %s", r)
		}
		if len(b.up.got) != 1 {
			t.Errorf("%d delivered", len(b.up.got))
		}
	})
	t.Run("held is not remembered", func(t *testing.T) {
		b := newBed(t, always(rules.Verdict{Do: rules.Quarantine}), nil)
		for range 2 {
			c := b.talk()
			b.submit(t, c, to, &textUpload{text: sample})
			c.end(gone)
		}
		if len(b.q.items) != 2 {
			t.Errorf("%d held", len(b.q.items))
		}
	})
	t.Run("bounded", func(t *testing.T) {
		var r resends
		for i := range resendMax + 100 {
			r.add(memory{fingerprint{size: int64(i)}, "", time.Now()})
		}
		oldest, _ := r.begin(fingerprint{size: 99}, nil, "", time.Now())
		next, _ := r.begin(fingerprint{size: 100}, nil, "", time.Now())
		if len(r.known) != resendMax || len(r.order) != resendMax || oldest != unsent || next != wasTaken {
			t.Errorf("%d known, %d in order", len(r.known), len(r.order))
		}
	})
}

func TestD14_AClientThatLeaves(t *testing.T) {
	gone := errors.New("connection reset by peer")
	for call, want := range map[string]string{"send": "delivered", "rcpt": "abandoned"} {
		b := newBed(t, fakeRules{}, nil)
		c := b.talk()
		b.after = func(name string) {
			if name == call {
				b.after = nil
				c.end(gone)
			}
		}
		d, _ := c.begin(mail.Address{}, mail.Options{})
		d.rcpt(mail.RcptTo{Address: addr(t, "a@example.org")})
		d.data(&textUpload{text: sample})
		if e := b.j.order[0]; len(b.j.order) != 1 || e.Result != want || len(b.up.got) != map[string]int{"delivered": 1}[want] {
			t.Errorf("gone at %s: %s, %d delivered", call, e.Result, len(b.up.got))
		}
		if b.up.open != 0 {
			t.Errorf("gone at %s: a delivery is left open", call)
		}
	}
}

type panicRules struct {
	fakeRules
	left *int // walks before the panic
}

func (p panicRules) Decide(f rules.Facts) (rules.Verdict, []string) {
	if *p.left--; *p.left < 0 {
		panic("secret")
	}
	return rules.Verdict{}, []string{"body"}
}

// A message at which a filter panics is put off twice and then held, unseen and with the reason;
// its like from elsewhere as well, and no other message.
func TestD19_PoisonIsHeldAtTheThirdAttempt(t *testing.T) {
	b := newBed(t, fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return false }}}}, []filters.Filter{{Name: "body", Stage: mail.Data, Facts: textFacts{},
		Gather: func(_ context.Context, in *filters.Input) (any, error) {
			if text, _ := io.ReadAll(in.Body.Open()); strings.Contains(string(text), "boom") {
				panic("secret")
			}
			return textFacts{}, nil
		}}})
	send := func(text string) string {
		t.Helper()
		r, _ := b.submit(t, b.talk(), []string{"a@example.org", "b@example.org"}, &textUpload{text: text})
		return r.String()
	}
	const boom = sample + "boom\r\n"
	for n, want := range []string{"451 4.3.0", "451 4.3.0", "250 2.0.0 OK"} {
		if r := send(boom); !strings.HasPrefix(r, want) {
			t.Errorf("attempt %d: %s, want %s", n+1, r, want)
		}
		if r := send(sample); !strings.HasPrefix(r, "250") {
			t.Errorf("another message: %s", r)
		}
		if r := send(boom + strconv.Itoa(n)); !strings.HasPrefix(r, "451") {
			t.Errorf("a message that is alike: %s", r)
		}
	}
	if len(b.q.items) != 1 || len(b.up.got) != 3 {
		t.Fatalf("%d held, %d delivered", len(b.q.items), len(b.up.got))
	}
	for _, it := range b.q.items {
		if len(it.Copies) != 2 || it.Copies[0].Class != "malformed" || it.Copies[0].Rule != "poison" || !strings.Contains(it.Copies[0].Because, "failed twice") || strings.Contains(it.Copies[0].Because, "secret") {
			t.Errorf("%+v", it.Copies)
		}
	}
	for range 3 * poisonMax {
		b.poisons.add(contents{size: rand.Int64()})
	}
	if n := len(b.poisons.tries); n > poisonMax {
		t.Errorf("%d are remembered", n)
	}
}

func TestD19_APanicIsOneTransactionsTrouble(t *testing.T) {
	needs := fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return false }}}}
	for left, at := range []string{"RCPT", "data"} {
		b, _, tx := rcptBed(t, panicRules{needs, &left}, twoFilters())
		got := say(t, tx, "a@example.org")
		if at == "data" {
			got = tx.data(&textUpload{text: sample}).String()
		}
		if got != replyLater.String() {
			t.Errorf("at %s: %s", at, got)
		}
		tx.abandon(nil)
		if len(b.j.order) != 1 || b.up.open != 0 {
			t.Errorf("at %s: %d entries, %d deliveries open", at, len(b.j.order), b.up.open)
		}
	}
	for call, kept := range map[string]int{"drop": 1, "second send": 2} {
		t.Run("what was taken stays taken, panic at "+call, func(t *testing.T) {
			d, q := rules.Verdict{Do: rules.Deliver}, rules.Verdict{Do: rules.Quarantine}
			b := newBed(t, byRecipient(map[string]rules.Verdict{"a@example.org": d, "b@other.test": d, "c@example.org": q}), append(twoFilters(), toFilter()))
			b.up.routes = map[string]string{"other.test": "two"}
			sends := 0
			b.after = func(name string) {
				if name == "send" {
					sends++
				}
				if name == call || sends == 2 && call == "second send" {
					b.after = nil
					panic("secret")
				}
			}
			to := []string{"a@example.org", "b@other.test", "c@example.org"}
			c := b.talk()
			reply, _ := b.submit(t, c, to, &textUpload{text: sample})
			c.end(nil)
			if err := safe(b, reply, nil, to...); err != nil || !reply.OK() || len(b.q.in(quarantine.Kept)) != kept {
				t.Errorf("%v: %v, kept for %v", reply, err, b.q.in(quarantine.Kept))
			}
		})
	}
}

func TestTrustedRelaysMoveFilters(t *testing.T) {
	var stages []mail.Stage
	list := filters.Filter{Name: "list", Stage: mail.Connect, Relayed: true, Facts: textFacts{}, Inline: true, Gather: func(_ context.Context, in *filters.Input) (any, error) {
		stage := mail.Connect
		if in.Body != nil {
			stage = mail.Data
		}
		stages = append(stages, stage)
		return textFacts{}, nil
	}}
	b := newBed(t, fakeRules{[]fakeRule{{fact: "list", when: func(any) bool { return false }}}}, []filters.Filter{list}, func(c *Config) {
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.128/25")}
	})
	for _, a := range []string{"192.0.2.7", "192.0.2.129", "::ffff:192.0.2.130"} {
		c := b.connect(context.Background(), mail.Client{Addr: netip.MustParseAddr(a)}).(*conversation)
		b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample})
		c.end(nil)
	}
	if !slices.Equal(stages, []mail.Stage{mail.Connect, mail.Data, mail.Data}) {
		t.Errorf("%v", stages)
	}
}

func TestNewPolicyRefuses(t *testing.T) {
	f := func(name string, stage mail.Stage, after ...string) filters.Filter {
		return filters.Filter{Name: name, Stage: stage, After: after, Facts: textFacts{}}
	}
	needs := func(names ...string) (p fakeRules) {
		for _, n := range names {
			p.list = append(p.list, fakeRule{fact: n})
		}
		return p
	}
	tests := []struct {
		name, want string
		needs      fakeRules
		fs         []filters.Filter
	}{
		{"a cycle", "wait for each other: a → b → c → a", needs("a"), []filters.Filter{f("a", mail.Data, "b"), f("b", mail.Data, "c"), f("c", mail.Data, "a")}},
		{"unknown", `"a" reads "zz"`, needs("a"), []filters.Filter{f("a", mail.Data, "zz")}},
		{"later", `"a" (connect) reads "b", which is known at data`, needs("a"), []filters.Filter{f("a", mail.Connect, "b"), f("b", mail.Data)}},
		{"of one recipient", `"a" (data) reads "b"`, needs("a"), []filters.Filter{f("a", mail.Data, "b"), f("b", mail.Recipient)}},
		{"twice", "twice", needs("a"), []filters.Filter{f("a", mail.Data), f("a", mail.Data)}},
		{"nothing", "", needs("off"), []filters.Filter{f("a", mail.Data, "zz")}},
	}
	for _, tt := range tests {
		p, err := NewPolicy(tt.needs, tt.fs)
		if tt.want == "" && (err != nil || !p.off["off"] || len(p.Filters()) != 0) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestJournalFailureChangesNoReply(t *testing.T) {
	b := newBed(t, fakeRules{}, nil)
	b.named = map[string]error{"record": errInner}
	if r, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample}); !r.OK() {
		t.Errorf("%v", r)
	}
	if b.Healthy() == nil {
		t.Error("healthy without a journal")
	}
	b.named = nil
	b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample})
	if err := b.Healthy(); err != nil {
		t.Errorf("still unwell: %v", err)
	}
}

func BenchmarkData(b *testing.B) {
	for _, size := range []int{4 << 10, 130 << 10} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			text := sample + strings.Repeat("0123456789abcdef\r\n", size/18)
			bed := newBed(b, fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return false }}}}, []filters.Filter{slow("body", mail.Data, textFacts{}, nil, func() time.Duration { return 0 }, false)})
			bed.q.faults, bed.j.faults, bed.up.faults = &faults{}, &faults{}, &faults{}
			c := bed.talk()
			defer c.end(nil)
			to := mail.RcptTo{Address: mail.Address{Local: "a", Domain: "example.org"}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				d, _ := c.begin(mail.Address{}, mail.Options{})
				d.rcpt(to)
				if r := d.data(&textUpload{text: text, n: 32 << 10}); !r.OK() {
					b.Fatal(r)
				}
				bed.up.got, bed.j.order, bed.calls = nil, nil, nil
				clear(bed.j.entries)
			}
		})
	}
}

// Who breaks an upload off, between two chunks for one, is told nothing of it, and the journal says so.
func TestS28_ABrokenUploadHasNoReplyInTheJournal(t *testing.T) {
	for _, cause := range []error{errChunks, errors.New("connection reset by peer"), errTooSlow} {
		b, _, tx := rcptBed(t, fakeRules{}, nil)
		say(t, tx, "a@example.org")
		if r := tx.data(&textUpload{text: sample, end: fmt.Errorf("%w: %w", errUploadBroken, cause)}); r.OK() {
			t.Errorf("%v: %v", cause, r)
		}
		if len(b.j.order) != 1 {
			t.Fatalf("%v: %d entries", cause, len(b.j.order))
		}
		if e := b.j.order[0]; e.Result != abandoned || e.Reply.Code != 0 || len(e.Outcomes) != 1 || e.Outcomes[0].Reply != "" || e.Outcomes[0].Do != "" {
			t.Errorf("%v: %s, %v, %+v", cause, e.Result, e.Reply, e.Outcomes)
		}
	}
}
