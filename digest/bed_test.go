package digest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/audit"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
	"postern/store"
)

// A bed is digests on a real store, with doubles for those who act and send.
type bed struct {
	*Digests
	clock   *quarantinetest.Clock
	held    *quarantine.Store
	desk    *fakeDesk
	people  fakePeople
	mailer  *fakeMailer
	lines   []audit.Line
	counted map[string]int
	n       uint64
}

// noAddr is this machine.
var noAddr netip.Addr

func newBed(t testing.TB, change ...func(*Options)) *bed {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bed{clock: quarantinetest.NewClock(), desk: &fakeDesk{}, people: fakePeople{}, mailer: &fakeMailer{}, counted: map[string]int{}}
	if b.held, err = quarantine.Open(t.Context(), quarantine.Options{DB: db, Clock: b.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.held.Close() })
	domains, err := mail.NewDomainSet([]string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{DB: db, Held: b.held, Desk: b.desk, People: b.people, Mailer: b.mailer, Audit: b, Domains: domains,
		Default: Daily, At: 7 * time.Hour, Zone: time.UTC, Origin: "https://quarantine.example.org", Host: "mx.example.org",
		Key: testKey(), ReplyDomain: "reply.example.org", Clock: b.clock.Now, Counted: func(what, result string) { b.counted[what+" "+result]++ }}
	for _, c := range change {
		c(&o)
	}
	if b.Digests, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) NoteWith(ctx context.Context, l audit.Line, do func(*store.Tx) error) error {
	b.lines = append(b.lines, l)
	return b.o.DB.Write(ctx, do)
}

func (b *bed) Refuse(ctx context.Context, l audit.Line) error {
	return b.NoteWith(ctx, l, func(*store.Tx) error { return nil })
}

// hold holds a message of a class for some recipients, received now.
func (b *bed) hold(t testing.TB, class string, to ...string) *quarantine.Item {
	t.Helper()
	return b.holdAs(t, func(it *quarantine.Item) {
		for i := range it.Copies {
			it.Copies[i].Class = class
		}
	}, to...)
}

func (b *bed) holdAs(t testing.TB, change func(*quarantine.Item), to ...string) *quarantine.Item {
	t.Helper()
	it := quarantinetest.Item(b.clock.Now(), to...)
	b.n++
	var random [10]byte
	copy(random[:], fmt.Sprintf("%010d", b.n))
	id := ulid.ULID{}
	_ = id.SetTime(ulid.Timestamp(b.clock.Now()))
	_ = id.SetEntropy(random[:])
	it.ID = id.String()
	change(it)
	return quarantinetest.Hold(t, b.held, it, []byte("Subject: x\r\n\r\nhello\r\n"))
}

// tick lets time pass and does what is due.
func (b *bed) tick(t testing.TB, after time.Duration) {
	t.Helper()
	b.clock.Add(after)
	if err := b.Tick(t.Context(), lateBy); err != nil && !errors.Is(err, errDown) {
		t.Fatal(err)
	}
}

type fakePeople map[string]*people.Person // by address

func (p fakePeople) Owner(_ context.Context, to mail.Address, from netip.Addr) (*people.Actor, error) {
	who := people.Person{ID: "p-" + to.String(), Login: to.String(), Role: people.User, Addresses: []mail.Address{to}}
	if known := p[to.String()]; known != nil {
		who = *known
		who.Role = people.User
	}
	return &people.Actor{Person: who, By: people.ByMail, From: from, Rights: people.DefaultRights()}, nil
}

var errDown = errors.New("the internal server is down")

type fakeMailer struct {
	err  error
	sent []*mail.Letter
}

func (m *fakeMailer) Post(_ context.Context, l *mail.Letter) error {
	if m.err != nil {
		return m.err
	}
	m.sent = append(m.sent, l)
	return nil
}

// to gives to whom mails went since the last call.
func (m *fakeMailer) to() string {
	var list []string
	for _, l := range m.sent {
		list = append(list, l.To.Local)
	}
	m.sent = nil
	slices.Sort(list)
	return strings.Join(list, " ")
}

type fakeDesk struct {
	untold []review.Answered
	told   []int64
	acts   []string
	to     []mail.Address // of the last one
	result string
	words  string
	err    error
}

func (d *fakeDesk) Untold(context.Context, int) ([]review.Answered, error) {
	var out []review.Answered
	for _, a := range d.untold {
		if !slices.Contains(d.told, a.N) {
			out = append(out, a)
		}
	}
	return out, nil
}

func (d *fakeDesk) Told(_ context.Context, n int64) error {
	d.told = append(d.told, n)
	return nil
}

func (d *fakeDesk) Do(_ context.Context, who *people.Actor, a review.Act) (*review.Done, error) {
	d.acts = append(d.acts, fmt.Sprintf("%s %s %v to %v by %s %s from %s role %s", a.Do, a.IDs[0], len(a.IDs), a.To[0], who.Login, who.By, who.From, who.Role))
	d.to = a.To
	if d.err != nil {
		return nil, d.err
	}
	return &review.Done{Items: []review.ItemDone{{ID: a.IDs[0], Result: d.result, Words: d.words}}}, nil
}
