package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// Doubles for the neighbours of the flow. Each call is counted and can be made to fail.

// faults makes the nth call of all neighbours fail, or those of a name.
type faults struct {
	mu    sync.Mutex
	calls []string
	nth   int              // 0: none
	named map[string]error // by call
	after func(call string)
}

var errInner = errors.New("inner secret /var/lib/db.sqlite 10.0.0.7:5432")

func (f *faults) call(name string) error {
	f.mu.Lock()
	f.calls = append(f.calls, name)
	n, err := len(f.calls), f.named[name]
	f.mu.Unlock()
	if f.after != nil {
		f.after(name)
	}
	if err != nil {
		return err
	}
	if n == f.nth {
		return fmt.Errorf("%s: %w", name, errInner)
	}
	return nil
}

type fakeUpstream struct {
	*faults
	ext    mail.Extensions
	routes map[string]string      // by domain; "" is the default
	rcpt   map[string]*mail.Reply // refusals at RCPT, by address
	data   map[string]*mail.Reply // reply to the data, by route
	each   map[string]*mail.Reply // and by address, as LMTP has it
	begun  []mail.Envelope
	got    []delivered1
	open   int
}

// delivered1 is one message that the internal server took.
type delivered1 struct {
	route string
	to    []string
	bytes []byte
	env   mail.Envelope
}

func (u *fakeUpstream) Route(to mail.Address) string { return u.routes[to.Domain] }
func (u *fakeUpstream) Extensions() mail.Extensions  { return u.ext }
func (u *fakeUpstream) Begin(_ context.Context, route string, env mail.Envelope) (Delivery, error) {
	if err := u.call("begin"); err != nil {
		return nil, err
	}
	u.begun = append(u.begun, env)
	u.open++
	return &fakeDelivery{u: u, route: route, env: env}, nil
}

type fakeDelivery struct {
	u      *fakeUpstream
	route  string
	env    mail.Envelope
	closed bool
}

func (d *fakeDelivery) Rcpt(_ context.Context, to mail.RcptTo) error {
	if err := d.u.call("rcpt"); err != nil {
		return err
	}
	if r := d.u.rcpt[to.Address.String()]; r != nil {
		return r
	}
	return nil
}

func (d *fakeDelivery) Send(_ context.Context, to []mail.RcptTo, size int64, src Source) ([]mail.Reply, error) {
	var b bytes.Buffer
	for {
		p, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		b.Write(p)
	}
	if err := d.u.call("send"); err != nil {
		return nil, err
	}
	if int64(b.Len()) != size {
		return nil, fmt.Errorf("size %d was promised, %d came", size, b.Len())
	}
	reply := mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "queued as 4711"}
	if r := d.u.data[d.route]; r != nil {
		reply = *r
	}
	var replies []mail.Reply
	got := delivered1{route: d.route, bytes: b.Bytes(), env: d.env}
	for _, r := range to {
		said := reply
		if own := d.u.each[r.Address.String()]; own != nil {
			said = *own
		}
		replies = append(replies, said)
		if said.OK() {
			got.to = append(got.to, r.Address.String())
		}
	}
	if len(got.to) > 0 {
		d.u.got = append(d.u.got, got)
	}
	return replies, nil
}

func (d *fakeDelivery) Close() error {
	if d.closed {
		panic("closed twice")
	}
	d.closed = true
	d.u.open--
	return nil
}

type fakeQuarantine struct {
	*faults
	items map[string]*quarantine.Item
	bytes map[string][]byte
}

func (q *fakeQuarantine) Hold(_ context.Context, it *quarantine.Item, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := q.call("hold"); err != nil {
		return err
	}
	c := *it
	q.items[it.ID], q.bytes[it.ID] = &c, b
	return nil
}

func (q *fakeQuarantine) Keep(_ context.Context, id string) error {
	if err := q.call("keep"); err != nil {
		return err
	}
	q.items[id].State = quarantine.Kept
	return nil
}

func (q *fakeQuarantine) Drop(_ context.Context, id string) error {
	if err := q.call("drop"); err != nil {
		return err
	}
	if q.items[id].State != quarantine.Held {
		return errors.New("not held")
	}
	delete(q.items, id)
	return nil
}

func (q *fakeQuarantine) in(s quarantine.State) (to []string) {
	for _, it := range q.items {
		for _, c := range it.Copies {
			if it.State == s {
				to = append(to, c.Recipient.Address.String())
			}
		}
	}
	return to
}

type fakeJournal struct {
	*faults
	entries map[string]*journal.Entry
	order   []*journal.Entry
	durable []*journal.Entry
}

func (j *fakeJournal) put(e *journal.Entry) {
	_ = e.Encode()
	if j.entries[e.ID] != nil {
		panic("a second entry of one transaction")
	}
	j.entries[e.ID] = e
	j.order = append(j.order, e)
}

func (j *fakeJournal) Record(_ context.Context, e *journal.Entry) error {
	if err := j.call("record"); err != nil {
		return err
	}
	j.put(e)
	return nil
}

func (j *fakeJournal) RecordDurably(_ context.Context, e *journal.Entry) error {
	if err := j.call("record durably"); err != nil {
		return err
	}
	j.put(e)
	j.durable = append(j.durable, e)
	return nil
}

// fakeRules walk a list, first match first, as the real ones do.
type fakeRules struct{ list []fakeRule }

type fakeRule struct {
	fact    string
	when    func(v any) bool
	verdict rules.Verdict
}

func (p fakeRules) Version() string       { return "test-1" }
func (p fakeRules) ShadowNeeds() []string { return nil }
func (p fakeRules) GatherNeeds() []string { return nil }
func (p fakeRules) Needs() (names []string) {
	for _, r := range p.list {
		if r.fact != "" {
			names = append(names, r.fact)
		}
	}
	return names
}

func (p fakeRules) Decide(f rules.Facts) (rules.Verdict, []string) {
	for _, r := range p.list {
		if r.fact != "" {
			v, err, known := f.Lookup(r.fact)
			switch {
			case !known:
				return rules.Verdict{}, []string{r.fact}
			case errors.Is(err, filters.ErrOff):
				continue
			case err != nil:
				return rules.Verdict{Do: rules.Defer, Rule: "failed"}, nil
			case !r.when(v):
				continue
			}
		}
		r.verdict.Steps = []rules.Step{{Rule: r.verdict.Rule, Matched: true}}
		return r.verdict, nil
	}
	return rules.Verdict{Do: rules.Deliver, Because: "nothing speaks against it"}, nil
}

// always gives one verdict without a fact.
func always(v rules.Verdict) fakeRules { return fakeRules{[]fakeRule{{verdict: v}}} }

// byRecipient gives a verdict by address, at the end of data.
func byRecipient(m map[string]rules.Verdict) fakeRules {
	return fakeRules{[]fakeRule{
		{fact: "body", when: func(any) bool { return false }},
		{fact: "to", when: func(v any) bool { return m[v.(toFacts).Address].Do == rules.Deliver }, verdict: verdictOf(m, rules.Deliver)},
		{fact: "to", when: func(v any) bool { return m[v.(toFacts).Address].Do == rules.Quarantine }, verdict: verdictOf(m, rules.Quarantine)},
		{fact: "to", when: func(v any) bool { return m[v.(toFacts).Address].Do == rules.Reject }, verdict: verdictOf(m, rules.Reject)},
		{fact: "to", when: func(v any) bool { return m[v.(toFacts).Address].Do == rules.Defer }, verdict: verdictOf(m, rules.Defer)},
		{fact: "to", when: func(v any) bool { return m[v.(toFacts).Address].Do == rules.Discard }, verdict: verdictOf(m, rules.Discard)},
	}}
}

func verdictOf(m map[string]rules.Verdict, do rules.Disposition) rules.Verdict {
	for _, v := range m {
		if v.Do == do {
			return v
		}
	}
	return rules.Verdict{Do: do}
}

type toFacts struct {
	Error   string `json:"error,omitempty"`
	Address string `json:"address"`
}

type textFacts struct {
	Error string `json:"error,omitempty"`
	Text  string `json:"text"`
}

func toFilter() filters.Filter {
	return filters.Filter{Name: "to", Stage: mail.Recipient, Facts: toFacts{}, Inline: true,
		Gather: func(_ context.Context, in *filters.Input) (any, error) {
			return toFacts{Address: in.Recipient.String()}, nil
		}}
}

// bodyFilter reads the whole message.
func bodyFilter() filters.Filter {
	return filters.Filter{Name: "body", Stage: mail.Data, Facts: textFacts{},
		Gather: func(_ context.Context, in *filters.Input) (any, error) {
			b, err := io.ReadAll(in.Body.Open())
			return textFacts{Text: string(b)}, err
		}}
}

// textUpload is an upload from memory, in blocks of n bytes.
type textUpload struct {
	text        string
	n           int
	end         error // nil: io.EOF
	cr, lf, nul bool
	before      func() // called before each block
}

func (u *textUpload) Next() ([]byte, error) {
	if u.before != nil {
		u.before()
	}
	if u.text == "" {
		if u.end != nil {
			return nil, u.end
		}
		return nil, io.EOF
	}
	n := len(u.text)
	if u.n > 0 {
		n = min(n, u.n)
	}
	p := []byte(u.text[:n])
	u.text = u.text[n:]
	return p, nil
}

func (u *textUpload) Waits() bool { return true }

func (u *textUpload) Flaws() (bool, bool, bool) { return u.cr, u.lf, u.nul }

// A bed is a gateway among doubles.
type bed struct {
	*Gateway
	*faults
	up *fakeUpstream
	q  *fakeQuarantine
	j  *fakeJournal
}

func newBed(t testing.TB, p decider, fs []filters.Filter, change ...func(*Config)) *bed {
	t.Helper()
	domains, err := mail.NewDomainSet([]string{"example.org", "other.test"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Hostname: "gw.test", Domains: domains, Limits: DefaultLimits(), SpoolDir: t.TempDir()}
	for _, c := range change {
		c(&cfg)
	}
	f := &faults{}
	b := &bed{faults: f,
		up: &fakeUpstream{faults: f, ext: mail.Extensions{EightBitMIME: true, DSN: true, UTF8: true}},
		q:  &fakeQuarantine{faults: f, items: map[string]*quarantine.Item{}, bytes: map[string][]byte{}},
		j:  &fakeJournal{faults: f, entries: map[string]*journal.Entry{}}}
	b.Gateway = New(cfg, Deps{Upstream: b.up, Quarantine: b.q, Journal: b.j})
	policy, err := NewPolicy(p, fs)
	if err != nil {
		t.Fatal(err)
	}
	b.SetPolicy(policy)
	return b
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s, true)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func (b *bed) talk() *conversation {
	c := b.connect(context.Background(), mail.Client{Addr: netip.MustParseAddr("192.0.2.7"), Port: 4321}).(*conversation)
	c.hello("mx.sender.test", true, "")
	return c
}

// submit runs one whole transaction; refused is by address what RCPT said.
func (b *bed) submit(t testing.TB, c *conversation, to []string, u *textUpload) (reply *mail.Reply, refused map[string]*mail.Reply) {
	t.Helper()
	tx, r := c.begin(addr(t, "alice@sender.test"), mail.Options{})
	if r != nil {
		return r, nil
	}
	refused = map[string]*mail.Reply{}
	for _, a := range to {
		if r := tx.rcpt(mail.RcptTo{Address: addr(t, a)}); r != nil {
			refused[a] = r
		}
	}
	if r := tx.ready(); r != nil {
		tx.abandon(nil)
		return r, refused
	}
	return tx.data(u), refused
}

const sample = "From: Alice <alice@sender.test>\r\nTo: bob@example.org\r\nSubject: hello\r\nMessage-ID: <1@sender.test>\r\n\r\nHi Bob\r\n"
