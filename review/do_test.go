package review_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

func do(t testing.TB, b *bed, who *people.Actor, a review.Act) *review.Done {
	t.Helper()
	before := b.lines(t)
	done, err := b.Do(t.Context(), who, a)
	if err != nil {
		t.Fatalf("%s %v: %v", a.Do, a.IDs, err)
	}
	if n := b.lines(t) - before; !a.Undoing && n != 1 {
		t.Errorf("%s %v left %d lines", a.Do, a.IDs, n)
	}
	return done
}

func refused(t testing.TB, b *bed, who *people.Actor, a review.Act, want error) {
	t.Helper()
	before := b.lines(t)
	_, err := b.Do(t.Context(), who, a)
	if !errors.Is(err, want) {
		t.Errorf("%s by %s: %v, want %v", a.Do, who.Login, err, want)
		return
	}
	if n := b.lines(t) - before; n != 1 {
		t.Errorf("%s by %s left %d lines", a.Do, who.Login, n)
	} else if l := b.last(t); l.Result != "refused" || l.Act != string(a.Do) || l.Who != who.Login {
		t.Errorf("%+v", l)
	}
}

func ids(list ...string) []string { return list }

func states(t testing.TB, b *bed, id string) string {
	t.Helper()
	it, err := b.held.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, c := range it.Copies {
		s = append(s, string(c.State))
	}
	return strings.Join(s, " ")
}

func TestReleaseAndDelete(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org", "ben@example.org")
	done := do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Reason: "known"})
	if done.Items[0].Result != "done" || !strings.Contains(done.Words, "released to ann@example.org") || states(t, b, it.ID) != "released released" {
		t.Errorf("%+v", done)
	}
	l := b.last(t)
	var after map[string]string
	if json.Unmarshal(l.After, &after); after["ann@example.org"] != "released" || l.Reason != "known" || l.Object != it.ID || l.Result != "done" || l.By != "page" {
		t.Errorf("%+v %s", l, l.After)
	}
	if done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)}); done.Items[0].Result != "already" || b.sink.all() != 2 {
		t.Errorf("%+v, %d sent", done, b.sink.all())
	}
	it = b.hold(t, "spam", "ann@example.org", "ben@example.org")
	do(t, b, ann(), review.Act{Do: review.Delete, IDs: ids(it.ID)})
	if states(t, b, it.ID) != "deleted kept" {
		t.Error(states(t, b, it.ID))
	}
	if done = do(t, b, ann(), review.Act{Do: review.Delete, IDs: ids(it.ID)}); done.Items[0].Result != "already" {
		t.Errorf("%+v", done)
	}
	do(t, b, operator(), review.Act{Do: review.Delete, IDs: ids(it.ID)})
	if done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)}); done.Items[0].Result != "failed" || states(t, b, it.ID) != "deleted deleted" {
		t.Errorf("%+v", done)
	}
}

// The recipients that are named, and nobody else; others than those it is held for get nothing.
func TestReleaseToSome(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org", "ben@example.org", "cid@example.org")
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID), To: []mail.Address{quarantinetest.Address("BEN@example.org")}, Copy: true})
	if states(t, b, it.ID) != "kept released kept" || b.sink.count(it.ID, "olga@example.org") != 1 || b.sink.all() != 2 {
		t.Error(states(t, b, it.ID), b.sink.got)
	}
	var input *review.InputError
	if _, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID), To: []mail.Address{quarantinetest.Address("x@example.org")}}); !errors.As(err, &input) {
		t.Error(err)
	}
	stranger := actor(people.Operator, "ext", "ext@elsewhere.example")
	if _, err := b.Do(t.Context(), stranger, review.Act{Do: review.Release, IDs: ids(it.ID), Copy: true}); !errors.As(err, &input) {
		t.Error(err)
	}
	// The command line may name further recipients in our domains.
	root := admin()
	root.By = people.ByCommand
	do(t, b, root, review.Act{Do: review.Release, IDs: ids(it.ID), To: []mail.Address{quarantinetest.Address("x@example.org")}})
	if b.sink.count(it.ID, "x@example.org") != 1 || states(t, b, it.ID) != "kept released kept" {
		t.Error(b.sink.got)
	}
}

// TestC39_ParallelRelease: a hundred at once, twice over, and each copy is sent once.
func TestC39_ParallelRelease(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org", "ben@example.org")
	results := map[string]int{}
	var mu sync.Mutex
	for range 2 {
		var wg sync.WaitGroup
		for i := range 100 {
			who := []*people.Actor{operator(), admin(), ann(), ben()}[i%4]
			wg.Go(func() {
				done, err := b.Do(t.Context(), who, review.Act{Do: review.Release, IDs: ids(it.ID)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				results[done.Items[0].Result]++
			})
		}
		wg.Wait()
	}
	if b.sink.count(it.ID, "ann@example.org") != 1 || b.sink.count(it.ID, "ben@example.org") != 1 {
		t.Errorf("sent: %v", b.sink.got)
	}
	if results["done"] < 1 || results["done"] > 2 || results["done"]+results["already"] != 200 {
		t.Error(results)
	}
	if n := b.lines(t); n != 200 {
		t.Errorf("%d lines", n)
	}
}

// Two desks on one database, as the daemon and a command are.
func TestC39_ParallelProcesses(t *testing.T) {
	a := newBed(t)
	c := bedIn(t, a.dir, a.clock)
	for range 10 {
		it := a.hold(t, "spam", "ann@example.org")
		var wg sync.WaitGroup
		for _, b := range []*bed{a, c, a, c} {
			wg.Go(func() {
				if _, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := a.sink.count(it.ID, "ann@example.org") + c.sink.count(it.ID, "ann@example.org"); n != 1 {
			t.Errorf("sent %d times", n)
		}
	}
}

func TestReleaseFails(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org", "ben@example.org")
	fates := map[string]review.Sent{"ann@example.org": {Fate: review.Unsent, Reply: "connection refused"}, "ben@example.org": {Fate: review.Turned, Reply: "451 busy"}}
	b.sink.fate = func(to string) review.Sent { return fates[to] }
	done := do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	if done.Items[0].Result != "failed" || !strings.Contains(done.Words, "connection refused") || states(t, b, it.ID) != "kept kept" || b.last(t).Result != "failed" {
		t.Errorf("%+v", done)
	}
	got, _ := b.held.Get(t.Context(), it.ID)
	if !strings.Contains(got.Copies[1].Note, "451 busy") {
		t.Errorf("%+v", got.Copies[1])
	}
	// What is perhaps delivered is not sent again, unless somebody says so.
	fates["ann@example.org"] = review.Sent{Fate: review.Unclear, Reply: "EOF"}
	done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	if done.Items[0].Result != "unclear" || states(t, b, it.ID) != "releasing kept" {
		t.Errorf("%+v %s", done, states(t, b, it.ID))
	}
	b.sink.fate = nil
	done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	if states(t, b, it.ID) != "releasing released" || b.sink.count(it.ID, "ann@example.org") != 1 {
		t.Errorf("%+v %s", done, states(t, b, it.ID))
	}
	if done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)}); done.Items[0].Result != "unclear" {
		t.Errorf("%+v", done)
	}
	if done = do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Again: true}); done.Items[0].Result != "done" || b.sink.count(it.ID, "ann@example.org") != 2 {
		t.Errorf("%+v", done)
	}
}

// TestC39_ScannedAgain: mail is looked at again before it goes anywhere; virus and malformed only
// by an administrator, who has to say so when the scanner objects.
func TestC39_ScannedAgain(t *testing.T) {
	b := newBed(t)
	spam, virus, malformed := b.hold(t, "spam", "ann@example.org"), b.hold(t, "virus", "ann@example.org"), b.hold(t, "malformed", "ann@example.org")
	for _, it := range []*quarantine.Item{virus, malformed} {
		refused(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)}, review.ErrForbidden)
		refused(t, b, ann(), review.Act{Do: review.Release, IDs: ids(it.ID)}, review.ErrNotFound) // sees neither
	}
	fails := func(who *people.Actor, a review.Act, want string) {
		t.Helper()
		done := do(t, b, who, a)
		if done.Items[0].Result != "failed" || !strings.Contains(done.Words, want) || states(t, b, a.IDs[0]) != "kept" {
			t.Errorf("%+v", done)
		}
	}
	b.scan.err = errors.New("no clamd")
	fails(operator(), review.Act{Do: review.Release, IDs: ids(spam.ID)}, "no answer")
	fails(admin(), review.Act{Do: review.Release, IDs: ids(virus.ID), Danger: true, Reason: "I know"}, "no answer")
	b.scan.err, b.scan.found = nil, "Eicar"
	fails(operator(), review.Act{Do: review.Release, IDs: ids(spam.ID)}, "found Eicar")
	fails(admin(), review.Act{Do: review.Release, IDs: ids(virus.ID)}, "says so")
	fails(admin(), review.Act{Do: review.Release, IDs: ids(virus.ID), Danger: true}, "why")
	refused(t, b, operator(), review.Act{Do: review.Release, IDs: ids(spam.ID), Danger: true, Reason: "x"}, review.ErrForbidden)
	if b.sink.all() != 0 {
		t.Fatal(b.sink.got)
	}
	done := do(t, b, admin(), review.Act{Do: review.Release, IDs: ids(virus.ID), Danger: true, Reason: "a sample for the lab"})
	if done.Items[0].Result != "done" || b.sink.marks[virus.ID] != "virus Eicar" || !strings.Contains(b.last(t).Note, "virus Eicar") {
		t.Errorf("%+v, %q", done, b.sink.marks)
	}
	b.scan.found = ""
	do(t, b, admin(), review.Act{Do: review.Release, IDs: ids(malformed.ID)})
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(spam.ID)})
	if b.sink.marks[malformed.ID] != "malformed" || b.sink.marks[spam.ID] != "" || b.scan.scans < 8 {
		t.Errorf("%q, %d scans", b.sink.marks, b.scan.scans)
	}
	// Without a scanner a virus stays where it is.
	b = newBed(t, func(o *review.Options) { o.Scanner = nil })
	virus, spam = b.hold(t, "virus", "ann@example.org"), b.hold(t, "spam", "ann@example.org")
	fails(admin(), review.Act{Do: review.Release, IDs: ids(virus.ID), Danger: true, Reason: "x"}, "no virus scanner")
	if done := do(t, b, admin(), review.Act{Do: review.Release, IDs: ids(spam.ID)}); done.Items[0].Result != "done" {
		t.Errorf("%+v", done)
	}
}

func TestReasons(t *testing.T) {
	b := newBed(t, func(o *review.Options) {
		o.Reasons = review.Reasons{Verbs: map[review.Verb]bool{review.Delete: true}, Classes: map[string]bool{"spoof": true}}
	})
	spoof, spam := b.hold(t, "spoof", "ann@example.org"), b.hold(t, "spam", "ann@example.org")
	var input *review.InputError
	for _, a := range []review.Act{{Do: review.Delete, IDs: ids(spam.ID)}, {Do: review.Release, IDs: ids(spoof.ID), Reason: "  "}} {
		if _, err := b.Do(t.Context(), operator(), a); !errors.As(err, &input) || !strings.Contains(err.Error(), "reason") {
			t.Errorf("%+v: %v", a, err)
		}
		s, err := b.Summary(t.Context(), operator(), a)
		if err != nil || !s.Reason {
			t.Errorf("%+v, %v", s, err)
		}
	}
	done := do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(spam.ID, spoof.ID)})
	if done.Tally.Done != 1 || done.Tally.Refused != 1 || states(t, b, spoof.ID) != "kept" {
		t.Errorf("%+v", done)
	}
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(spoof.ID), Reason: "asked by phone"})
}

func TestSpam(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "policy", "ann@example.org", "ben@example.org")
	do(t, b, ann(), review.Act{Do: review.Spam, IDs: ids(it.ID)})
	if states(t, b, it.ID) != "spam kept" {
		t.Error(states(t, b, it.ID))
	}
	for who, want := range map[*people.Actor]int{ann(): 0, ben(): 1, operator(): 1} {
		page, err := b.List(t.Context(), who, review.Find{})
		if err != nil || len(page.Rows) != want {
			t.Errorf("%s: %d rows, %v", who.Login, len(page.Rows), err)
		}
	}
	if done := do(t, b, ann(), review.Act{Do: review.Spam, IDs: ids(it.ID)}); done.Items[0].Result != "already" {
		t.Errorf("%+v", done)
	}
	do(t, b, operator(), review.Act{Do: review.Spam, IDs: ids(it.ID)})
	if page, err := b.List(t.Context(), operator(), review.Find{View: "spam"}); err != nil || len(page.Rows) != 1 || page.Rows[0].State != "spam" {
		t.Errorf("%+v, %v", page, err)
	}
	do(t, b, ann(), review.Act{Do: review.Unspam, IDs: ids(it.ID)})
	if done := do(t, b, ann(), review.Act{Do: review.Unspam, IDs: ids(it.ID)}); done.Items[0].Result != "already" || states(t, b, it.ID) != "kept spam" {
		t.Errorf("%+v %s", done, states(t, b, it.ID))
	}
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	if states(t, b, it.ID) != "released released" {
		t.Error(states(t, b, it.ID))
	}
}

// TestC39_OneMailboxTwice: a stranger may name a mailbox twice, in other case. What became of one
// copy holds for both, and nothing is sent again that arrived.
func TestC39_OneMailboxTwice(t *testing.T) {
	for _, c := range []struct {
		lower, upper review.Fate
		result       string
		state        quarantine.State
	}{
		{review.Delivered, review.Delivered, review.ResultDone, quarantine.Released},
		{review.Unsent, review.Delivered, review.ResultFailed, quarantine.Released},
		{review.Delivered, review.Turned, review.ResultFailed, quarantine.Released},
		{review.Unsent, review.Unclear, review.ResultUnclear, quarantine.Releasing},
		{review.Unsent, review.Unsent, review.ResultFailed, quarantine.Kept},
	} {
		b := newBed(t)
		b.sink.fate = func(to string) review.Sent {
			if to == "ann@example.org" {
				return review.Sent{Fate: c.lower, Reply: "x"}
			}
			return review.Sent{Fate: c.upper, Reply: "y"}
		}
		it := b.hold(t, "spam", "ann@example.org", "Ann@example.org")
		done, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
		if err != nil || done.Items[0].Result != c.result || strings.Contains(done.Words, "could not be noted") {
			t.Errorf("%v %v: %+v, %v", c.lower, c.upper, done, err)
		}
		now, err := b.held.Get(t.Context(), it.ID)
		if err != nil || now.Copies[0].State != c.state || now.Copies[1].State != c.state {
			t.Errorf("%v %v: %+v, %v", c.lower, c.upper, now.Copies, err)
		}
	}
}

// A row says for which acts a reason is wanted, so that pages can ask for it in place.
func TestRowsTellWhereReasonsAreWanted(t *testing.T) {
	b := newBed(t, func(o *review.Options) {
		o.Reasons = review.Reasons{Verbs: map[review.Verb]bool{review.Delete: true}, Classes: map[string]bool{"spoof": true}}
	})
	spam, spoof := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spoof", "ann@example.org")
	for id, want := range map[string]string{spam.ID: "[delete]", spoof.ID: "[release delete]"} {
		m, err := b.Message(t.Context(), operator(), id)
		if err != nil || fmt.Sprint(m.Reasons) != want {
			t.Errorf("%v, want %s (%v)", m.Reasons, want, err)
		}
	}
}
