package digest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
)

// The clock of these tests begins on Sunday 1 November 2026 at noon.

func (b *bed) wish(t testing.TB, address string, e Every) {
	t.Helper()
	who, _ := b.people.Owner(t.Context(), quarantinetest.Address(address), noAddr)
	if err := b.SetWish(t.Context(), who, who, e); err != nil {
		t.Fatal(err)
	}
}

func TestDigestsComeWhenWanted(t *testing.T) {
	b := newBed(t)
	b.wish(t, "off@example.org", Off)
	b.wish(t, "instant@example.org", Instant)
	b.wish(t, "hourly@example.org", Hourly)
	b.wish(t, "weekly@example.org", Weekly)
	all := []string{"off@example.org", "instant@example.org", "hourly@example.org", "daily@example.org", "weekly@example.org"}
	b.hold(t, "spam", all...) // before anybody looked for the first time, but within the hour
	b.tick(t, 0)
	b.tick(t, time.Minute)
	if got := b.mailer.to(); got != "instant" {
		t.Errorf("after a minute: %q", got)
	}
	b.hold(t, "spam", all...)
	for range 9 {
		b.tick(t, time.Minute)
	}
	if got := b.mailer.to(); got != "" {
		t.Errorf("within ten minutes of the last: %q", got)
	}
	b.tick(t, time.Minute)
	if got := b.mailer.to(); got != "instant" {
		t.Errorf("after eleven minutes: %q", got)
	}
	b.tick(t, 49*time.Minute) // 13:00
	if got := b.mailer.to(); got != "hourly" {
		t.Errorf("at one: %q", got)
	}
	b.tick(t, 17*time.Hour+59*time.Minute) // 6:59
	if got := b.mailer.to(); got != "" {
		t.Errorf("before seven: %q", got)
	}
	b.tick(t, time.Minute)
	if got := b.mailer.to(); got != "daily weekly" { // it is a Monday
		t.Errorf("at seven: %q", got)
	}
	for range 20 {
		b.tick(t, 12*time.Hour)
	}
	if got := b.mailer.to(); got != "" {
		t.Errorf("nothing is new, but digests went to %q", got)
	}
}

// Slots are at the time of the day that the clock on the wall shows, also when it is put back.
func TestSlots(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	b := newBed(t, func(o *Options) { o.Zone = berlin })
	for _, c := range []struct {
		e         Every
		now, want string
	}{
		{Daily, "2026-10-25T06:59:59+01:00", "2026-10-24T07:00:00+02:00"}, // it was put back this night
		{Daily, "2026-10-25T07:00:00+01:00", "2026-10-25T07:00:00+01:00"},
		{Weekly, "2026-11-02T06:59:00+01:00", "2026-10-26T07:00:00+01:00"},
		{Weekly, "2026-11-02T07:00:00+01:00", "2026-11-02T07:00:00+01:00"},
		{Weekly, "2026-11-08T23:00:00+01:00", "2026-11-02T07:00:00+01:00"},
		{Hourly, "2026-11-02T07:59:59+01:00", "2026-11-02T07:00:00+01:00"},
		{Instant, "2026-11-02T07:59:59+01:00", "2026-11-02T07:59:00+01:00"},
	} {
		now, _ := time.Parse(time.RFC3339, c.now)
		want, _ := time.Parse(time.RFC3339, c.want)
		if got := b.slot(c.e, now); !got.Equal(want) {
			t.Errorf("%s at %s: %s, want %s", c.e, c.now, got, c.want)
		}
	}
}

// What somebody may not see, has acted on, or has been told of is in no digest.
func TestDigestsHaveWhatIsNew(t *testing.T) {
	b := newBed(t)
	b.tick(t, 0)
	b.clock.Add(time.Hour)
	b.hold(t, "virus", "a@example.org")
	b.hold(t, "malformed", "a@example.org")
	gone := b.hold(t, "spam", "a@example.org")
	if err := b.held.Delete(t.Context(), gone.ID, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	b.hold(t, "spam", "elsewhere@example.com")
	b.tick(t, 19*time.Hour)
	if got := b.mailer.to(); got != "" {
		t.Errorf("a digest of nothing to %q", got)
	}
	b.hold(t, "spam", "a@example.org", "b@example.org")
	failed := b.hold(t, "spam", "a@example.org")
	b.tick(t, day)
	if len(b.mailer.sent) != 2 || !strings.HasPrefix(b.mailer.sent[0].Subject, "2 messages") || !strings.HasPrefix(b.mailer.sent[1].Subject, "1 message ") {
		t.Fatalf("%+v", b.mailer.sent)
	}
	if strings.Contains(b.mailer.sent[0].Text, "b@example.org") {
		t.Error("a learns of b")
	}
	b.mailer.sent = nil
	if _, err := b.held.StartRelease(t.Context(), failed.ID, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := b.held.FinishRelease(t.Context(), failed.ID, false, "it is down"); err != nil {
		t.Fatal(err)
	}
	b.tick(t, day)
	if got := b.mailer.to(); got != "" {
		t.Errorf("told again: %q", got)
	}
}

// Whoever has several addresses gets one digest, at the first of them.
func TestDigestForAllAddresses(t *testing.T) {
	b := newBed(t)
	p := &people.Person{Login: "ann", Role: people.Admin, Addresses: []mail.Address{quarantinetest.Address("ann@elsewhere.test"), quarantinetest.Address("ann@example.org"), quarantinetest.Address("info@example.org")}}
	b.people["ann@example.org"], b.people["info@example.org"] = p, p
	b.tick(t, 0)
	b.hold(t, "spam", "info@example.org")
	b.hold(t, "spam", "ann@example.org", "info@example.org")
	b.hold(t, "virus", "ann@example.org") // also an administrator has a user's rights here
	b.tick(t, day)
	if len(b.mailer.sent) != 1 || b.mailer.sent[0].To.String() != "ann@example.org" || !strings.HasPrefix(b.mailer.sent[0].Subject, "2 messages") {
		t.Fatalf("%+v", b.mailer.sent)
	}
	if !strings.Contains(b.mailer.sent[0].Text, "To: info@example[.]org") {
		t.Error(b.mailer.sent[0].Text)
	}
}

// A digest that could not be sent is tried again, less and less often, and not for ever; one that
// is refused is not. Nobody gets one twice.
func TestDigestsAreTriedAgain(t *testing.T) {
	b := newBed(t)
	b.tick(t, 0)
	b.hold(t, "spam", "a@example.org")
	b.mailer.err = errDown
	b.tick(t, day)
	tries := func() int { return b.counted["digest deferred"] }
	b.tick(t, time.Minute)
	if tries() != 1 {
		t.Errorf("%d tries within a minute", tries())
	}
	b.tick(t, 5*time.Minute)
	if tries() != 2 {
		t.Errorf("%d tries after six", tries())
	}
	b.mailer.err = nil
	b.tick(t, time.Hour)
	b.tick(t, time.Hour)
	if got := b.mailer.to(); got != "a" {
		t.Errorf("then it went to %q", got)
	}
	b.hold(t, "spam", "a@example.org")
	b.mailer.err = fmt.Errorf("no mail to a: %w", ErrRefused)
	b.tick(t, day)
	b.mailer.err = nil
	b.tick(t, day)
	if got := b.mailer.to(); got != "" || b.counted["digest failed"] != 1 {
		t.Errorf("refused, but it went to %q: %v", got, b.counted)
	}
	b.hold(t, "spam", "a@example.org")
	b.mailer.err = errDown
	b.counted = map[string]int{}
	for range 100 {
		b.tick(t, 4*time.Hour)
	}
	if b.counted["digest deferred"] != maxTries-1 || b.counted["digest failed"] != 1 {
		t.Errorf("%v", b.counted)
	}
}

// After a crash between sending and noting it the digest goes out once more, later, and no more.
func TestDigestAfterACrash(t *testing.T) {
	b := newBed(t)
	b.tick(t, 0)
	b.hold(t, "spam", "a@example.org")
	b.clock.Add(day)
	for _, e := range []Every{Daily} {
		if err := b.pass(t.Context(), e, b.now(), lateBy); err != nil {
			t.Fatal(err)
		}
	}
	if debt, err := b.claim(t.Context()); err != nil || debt == nil { // and here the power goes
		t.Fatal(debt, err)
	}
	again, err := Open(t.Context(), b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.Digests = again
	b.tick(t, time.Minute)
	if got := b.mailer.to(); got != "" {
		t.Errorf("at once: %q", got)
	}
	for range 10 {
		b.tick(t, 5*time.Minute)
	}
	if got := b.mailer.to(); got != "a" {
		t.Errorf("%q", got)
	}
}

// A clock that jumps sends nothing twice, and does not stop digests for ever.
func TestDigestsAndTheClock(t *testing.T) {
	b := newBed(t)
	b.tick(t, 0)
	b.hold(t, "spam", "a@example.org")
	b.tick(t, day)
	if got := b.mailer.to(); got != "a" {
		t.Fatalf("%q", got)
	}
	b.tick(t, 300*day)
	b.tick(t, -300*day)
	b.tick(t, day)
	b.hold(t, "spam", "a@example.org")
	b.tick(t, day)
	if got := b.mailer.to(); got != "a" {
		t.Errorf("%q", got)
	}
}

func TestWishes(t *testing.T) {
	b := newBed(t)
	a, _ := b.people.Owner(t.Context(), quarantinetest.Address("a@example.org"), noAddr)
	other, _ := b.people.Owner(t.Context(), quarantinetest.Address("b@example.org"), noAddr)
	admin := &people.Actor{Person: people.Person{Login: "root", Role: people.Admin}, By: people.ByPage}
	if chosen, holds, err := b.Wish(t.Context(), a); chosen != As || holds != Daily || err != nil {
		t.Error(chosen, holds, err)
	}
	if err := b.SetWish(t.Context(), other, a, Off); err == nil {
		t.Error("b silences a")
	}
	if err := b.SetWish(t.Context(), a, a, "often"); err != ErrInterval {
		t.Error(err)
	}
	if err := b.SetWish(t.Context(), admin, a, Weekly); err != nil {
		t.Error(err)
	}
	if chosen, holds, err := b.Wish(t.Context(), a); chosen != Weekly || holds != Weekly || err != nil {
		t.Error(chosen, holds, err)
	}
	if err := b.SetWish(t.Context(), a, a, As); err != nil {
		t.Error(err)
	}
	if chosen, holds, _ := b.Wish(t.Context(), a); chosen != As || holds != Daily {
		t.Error(chosen, holds)
	}
	if _, _, err := b.Wish(t.Context(), admin); err != ErrNoAddress {
		t.Error(err)
	}
	var got []string
	for _, l := range b.lines {
		got = append(got, l.Who+" "+l.Result+" "+string(l.Before)+" "+string(l.After))
	}
	if want := `b@example.org refused  ,root done "" "weekly",a@example.org done "weekly" ""`; strings.Join(got, ",") != want {
		t.Errorf("%s", strings.Join(got, ","))
	}
}

// Show and Send look back as far as they are told to, and only Send notes it.
func TestDigestByHand(t *testing.T) {
	b := newBed(t)
	b.hold(t, "spam", "a@example.org")
	to := quarantinetest.Address("a@example.org")
	b.clock.Add(time.Hour)
	for range 2 {
		if l, err := b.Show(t.Context(), to, b.now().Add(-day)); err != nil || l == nil {
			t.Fatal(l, err)
		}
	}
	if n, err := b.Send(t.Context(), to, b.now().Add(-day)); n != 1 || err != nil || b.mailer.to() != "a" {
		t.Error(n, err)
	}
	if n, err := b.Send(t.Context(), to, b.now().Add(-day)); n != 0 || err != nil || b.mailer.to() != "" {
		t.Error(n, err)
	}
	if _, err := b.Send(t.Context(), quarantinetest.Address("x@example.com"), b.now()); err != ErrNoAddress {
		t.Error(err)
	}
}

// What is held of one day, also very much of it, is counted and bounded.
func TestDigestIsBounded(t *testing.T) {
	b := newBed(t, func(o *Options) { o.MaxItems = 5 })
	b.tick(t, 0)
	for i := range 25 {
		b.holdAs(t, func(it *quarantine.Item) { it.Copies[0].Class = []string{"spam", "policy"}[i%2] }, "a@example.org")
	}
	b.tick(t, day)
	text := b.mailer.sent[0].Text
	if strings.Count(text, "Show: ") != 5 || !strings.Contains(text, "\nAnd 20 more.\n") || !strings.HasPrefix(text, "25 messages are held for you\n") {
		t.Error(text)
	}
	b.mailer.sent = nil
	b.tick(t, day)
	if got := b.mailer.to(); got != "" {
		t.Error("the rest comes later:", got)
	}
}
