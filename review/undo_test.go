package review_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

// An administrator of some domains neither looks at acts of others nor undoes them.
func TestW07_ActsOfOtherDomains(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org")
	done, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Undoing: true})
	if err != nil {
		t.Fatal(err)
	}
	other := admin()
	other.ID, other.Login, other.Domains = "id-other", "other", []string{"elsewhere.example"}
	if _, err := b.Acted(t.Context(), other, done.ID); !errors.Is(err, review.ErrNotFound) {
		t.Errorf("seen: %v", err)
	}
	if err := b.Undo(t.Context(), other, done.ID); !errors.Is(err, review.ErrNotFound) {
		t.Errorf("undone: %v", err)
	}
	if err := b.Undo(t.Context(), admin(), done.ID); err != nil {
		t.Error(err)
	}
}

// What can be undone waits, is shown as waiting, and leaves nothing when it is undone.
func TestUndo(t *testing.T) {
	b := newBed(t)
	b.run(t)
	it := b.hold(t, "spam", "ann@example.org")
	act := review.Act{Do: review.Release, IDs: ids(it.ID), Undoing: true}
	done, err := b.Do(t.Context(), operator(), act)
	if err != nil || done.ID == "" || done.Due.Sub(b.clock.Now()) != review.Grace || done.Count != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if again, err := b.Do(t.Context(), operator(), act); err != nil || again.ID != done.ID {
		t.Errorf("%+v, %v", again, err)
	}
	row := list(t, b, operator(), review.Find{}).Rows[0]
	if row.Pending == nil || row.Pending.ID != done.ID || row.Pending.Do != review.Release || row.Pending.By != "olga" {
		t.Errorf("%+v", row.Pending)
	}
	if row := list(t, b, ann(), review.Find{}).Rows[0]; row.Pending != nil {
		t.Errorf("a user sees %+v", row.Pending)
	}
	if err := b.Undo(t.Context(), ben(), done.ID); err != review.ErrNotFound {
		t.Error(err)
	}
	before := b.lines(t)
	if err := b.Undo(t.Context(), operator(), done.ID); err != nil {
		t.Error(err)
	}
	if l := b.last(t); b.lines(t) != before+1 || l.Act != "undo" || l.Object != done.ID || !strings.Contains(string(l.Before), it.ID) {
		t.Errorf("%+v", l)
	}
	if err := b.Undo(t.Context(), operator(), done.ID); err != nil {
		t.Errorf("again: %v", err)
	}
	b.clock.Add(time.Minute)
	other := b.hold(t, "spam", "ann@example.org")
	second, err := b.Do(t.Context(), operator(), review.Act{Do: review.Delete, IDs: ids(other.ID), Undoing: true})
	if err != nil {
		t.Fatal(err)
	}
	b.clock.Add(review.Grace)
	b.hurry(t)
	if d := b.wait(t, operator(), second.ID); d.Tally.Done != 1 || states(t, b, other.ID) != "deleted" {
		t.Errorf("%+v", d)
	}
	if l := b.last(t); l.Act != "delete" || l.Who != "olga" || l.Object != other.ID {
		t.Errorf("%+v", l)
	}
	if err := b.Undo(t.Context(), operator(), second.ID); !errors.Is(err, review.ErrTooLate) {
		t.Error(err)
	}
	if b.sink.all() != 0 || states(t, b, it.ID) != "kept" {
		t.Error("what was undone was done")
	}
}

// hurry has Run look at once, as any act does.
func (b *bed) hurry(t testing.TB) {
	t.Helper()
	it := b.hold(t, "spam", "nobody@example.org")
	if _, err := b.Do(t.Context(), operator(), review.Act{Do: review.Delete, IDs: ids(it.ID), Undoing: true}); err != nil {
		t.Fatal(err)
	}
}

// At the last moment: either undone or done, never both, and never neither.
func TestUndoRace(t *testing.T) {
	b := newBed(t)
	b.run(t)
	var undone, late atomic.Int32
	for i := range 40 {
		it := b.hold(t, "spam", "ann@example.org")
		done, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Undoing: true})
		if err != nil {
			t.Fatal(err)
		}
		b.clock.Add(review.Grace)
		var wg sync.WaitGroup
		wg.Go(func() { b.hurry(t) })
		wg.Go(func() {
			time.Sleep(time.Duration(i%8) * 3 * time.Millisecond) // spreads the moments over what Run needs
			switch err := b.Undo(t.Context(), operator(), done.ID); {
			case err == nil:
				undone.Add(1)
				b.clock.Add(time.Minute)
				if b.sink.count(it.ID, "ann@example.org") != 0 || states(t, b, it.ID) != "kept" {
					t.Error("undone and done")
				}
			case errors.Is(err, review.ErrTooLate):
				late.Add(1)
				b.wait(t, operator(), done.ID)
				if b.sink.count(it.ID, "ann@example.org") != 1 || states(t, b, it.ID) != "released" {
					t.Error("neither undone nor done")
				}
			default:
				t.Error(err)
			}
		})
		wg.Wait()
	}
	t.Logf("undone %d, too late %d", undone.Load(), late.Load())
}

// An act that waits survives a restart, and one that a crash broke off is ended and noted: what was
// perhaps delivered is not sent again.
func TestActsSurviveACrash(t *testing.T) {
	dir, clock := t.TempDir(), quarantinetest.NewClock()
	b := bedIn(t, dir, clock)
	waiting, broken := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spam", "ann@example.org")
	first, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(waiting.ID), Undoing: true})
	if err != nil {
		t.Fatal(err)
	}
	// The crash comes while the message is with the internal server: Send never returns.
	hang, there := make(chan struct{}), make(chan struct{})
	b.sink.slow = func() { close(there); <-hang }
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer func() { _ = recover() }()
		_, _ = b.Do(context.Background(), operator(), review.Act{Do: review.Release, IDs: ids(broken.ID)})
	}()
	<-there
	b.db.Close()
	b.held.Close()

	after := bedIn(t, dir, clock)
	clock.Add(time.Minute)
	after.run(t)
	if d := after.wait(t, operator(), first.ID); d.Tally.Done != 1 || after.sink.count(waiting.ID, "ann@example.org") != 1 {
		t.Errorf("%+v", d)
	}
	for end := time.Now().Add(20 * time.Second); after.lines(t) < 2 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	if l := after.last(t); after.lines(t) != 2 || l.Result == "" {
		t.Errorf("%d lines, %+v", after.lines(t), l)
	}
	if states(t, after, broken.ID) != "releasing" || after.sink.count(broken.ID, "ann@example.org") != 0 {
		t.Error(states(t, after, broken.ID))
	}
	if it, err := after.held.Get(t.Context(), broken.ID); err != nil || it.State != quarantine.Releasing {
		t.Error(it, err)
	}
	close(hang)
	<-gone
}

// Who has lost the right meanwhile has lost it, also for what waits.
func TestActsAreAskedAgain(t *testing.T) {
	now := operator()
	b := newBed(t, func(o *review.Options) {
		o.Fresh = func(_ context.Context, who *people.Actor) (*people.Actor, error) {
			if now == nil {
				return nil, errors.New("gone")
			}
			return now, nil
		}
	})
	one, two := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spam", "ann@example.org")
	act := func(id string) string {
		done, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(id), Undoing: true})
		if err != nil {
			t.Fatal(err)
		}
		return done.ID
	}
	a, c := act(one.ID), act(two.ID)
	b.clock.Add(time.Minute)
	now.Role = people.Auditor
	b.run(t)
	for _, id := range ids(a, c) {
		if d := b.wait(t, operator(), id); d.Tally.Done != 0 || d.Tally.Refused != 1 {
			t.Errorf("%+v", d)
		}
	}
	if b.sink.all() != 0 || b.lines(t) != 2 || b.last(t).Result != "refused" {
		t.Errorf("%d sent, %+v", b.sink.all(), b.last(t))
	}
}

// An act on everything takes what matches and nobody saw in vain: dangerous mail is left out, what
// came later too, and only the copies that match are touched.
func TestBulk(t *testing.T) {
	b := newBed(t)
	for i := range 30 {
		b.hold(t, "spam", fmt.Sprintf("u%d@example.org", i), "ben@example.org")
	}
	att := b.hold(t, "attachment", "ann@example.org", "ben@example.org")
	ticked := b.hold(t, "attachment", "ben@example.org")
	b.hold(t, "policy", "ann@example.org")
	find := &review.Find{Recipient: "ben@example.org"}
	s, err := b.Summary(t.Context(), operator(), review.Act{Do: review.Delete, Find: find})
	if err != nil || s.Items.N != 32 || len(s.Dangerous) != 2 || s.Senders != 1 || len(s.Words) < 2 || b.lines(t) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := b.Do(t.Context(), operator(), review.Act{Do: review.Delete, Find: find, Expect: 31}); !errors.Is(err, review.ErrChanged) || b.last(t).Result != "refused" {
		t.Error(err)
	}
	done := do(t, b, operator(), review.Act{Do: review.Delete, Find: find, Expect: 32, Also: ids(ticked.ID)})
	if done.Tally.Done != 31 || done.Tally.Left != 1 || states(t, b, att.ID) != "kept kept" || states(t, b, ticked.ID) != "deleted" {
		t.Errorf("%+v", done)
	}
	if l := b.last(t); l.Act != "delete" || !strings.Contains(string(l.After), `"done":31`) || !strings.Contains(l.Note, "left out") {
		t.Errorf("%+v %s", l, l.After)
	}
	if page := list(t, b, operator(), review.Find{Class: "spam"}); len(page.Rows) != 30 {
		t.Errorf("the other copies: %+v", page.Total)
	}
}

// holdMany holds spam, as many at a time as share a commit.
func (b *bed) holdMany(t testing.TB, n int, to string) {
	t.Helper()
	b.clock.Add(time.Second)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			it := quarantinetest.Item(b.clock.Now(), to)
			it.State, it.Copies[0].Class = quarantine.Kept, "spam"
			if err := b.held.Hold(t.Context(), it, strings.NewReader("Subject: x\r\n\r\nhello\r\n")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Thousands are carried out by Run, while others act; it can be undone before, and goes on after a
// restart.
func TestBulkInBackground(t *testing.T) {
	dir, clock := t.TempDir(), quarantinetest.NewClock()
	b := bedIn(t, dir, clock)
	const n = 620
	b.holdMany(t, n, "ann@example.org")
	find := &review.Find{Class: "spam"}
	done, err := b.Do(t.Context(), ann(), review.Act{Do: review.Delete, Find: find, Expect: n})
	if err != nil || done.State != "waiting" || done.Count != n {
		t.Fatalf("%+v, %v", done, err)
	}
	late := b.hold(t, "spam", "ann@example.org")
	if p := list(t, b, operator(), review.Find{Limit: 2}).Rows; p[0].Pending != nil || p[1].Pending == nil || p[1].Pending.ID != done.ID || p[1].Pending.Do != review.Delete {
		t.Errorf("%+v", p)
	}
	if p := list(t, b, operator(), review.Find{Limit: 2}).Rows; p[1].Pending.By != "ann@example.org" {
		t.Errorf("%+v", p[1].Pending)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); b.Run(ctx) }()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if d, err := b.Acted(t.Context(), ann(), done.ID); err != nil || d.Tally.Done > 0 {
			break
		}
	}
	cancel() // a stop in the midst of it
	<-ran
	after := bedIn(t, dir, clock)
	after.run(t)
	if d := after.wait(t, ann(), done.ID); d.Tally.Done != n {
		t.Errorf("%+v", d)
	}
	if states(t, after, late.ID) != "kept" || after.lines(t) != 1 {
		t.Errorf("%s, %d lines", states(t, after, late.ID), after.lines(t))
	}
}

// What waits is done with the scopes of the token that wanted it, and by the same person.
func TestActsKeepTheirActor(t *testing.T) {
	var got *people.Actor
	b := newBed(t, func(o *review.Options) {
		o.Fresh = func(_ context.Context, who *people.Actor) (*people.Actor, error) { got = who; return who, nil }
	})
	it := b.hold(t, "spam", "ann@example.org")
	who := ann()
	who.By, who.Scopes, who.From, who.Subaddress = people.ByToken, []people.Permission{people.SeeMail, people.Release}, netip.MustParseAddr("192.0.2.1"), true
	done, err := b.Do(t.Context(), who, review.Act{Do: review.Release, IDs: ids(it.ID), Undoing: true})
	if err != nil {
		t.Fatal(err)
	}
	b.clock.Add(time.Minute)
	b.run(t)
	if d := b.wait(t, who, done.ID); d.Tally.Done != 1 || !reflect.DeepEqual(got, who) {
		t.Errorf("%+v\n%+v\n%+v", d, got, who)
	}
	if l := b.last(t); l.By != "token" || l.From != "192.0.2.1" {
		t.Errorf("%+v", l)
	}
}

// What came after a summary is left alone, also when others that it showed are gone.
func TestEverythingEndsWhereTheSummaryDid(t *testing.T) {
	b := newBed(t)
	first, second := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spam", "ann@example.org")
	find := review.Find{Class: "spam"}
	s, err := b.Summary(t.Context(), operator(), review.Act{Do: review.Delete, Find: &find})
	if err != nil || s.Items.N != 2 || s.Until.IsZero() {
		t.Fatalf("%+v %v", s, err)
	}
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(first.ID)})
	later := b.hold(t, "spam", "ann@example.org")
	find.Until = s.Until
	if done := do(t, b, operator(), review.Act{Do: review.Delete, Find: &find, Expect: s.Items.N}); done.Count != 1 {
		t.Errorf("%+v", done)
	}
	if got := states(t, b, first.ID) + " " + states(t, b, second.ID) + " " + states(t, b, later.ID); got != "released deleted kept" {
		t.Error(got)
	}
}
