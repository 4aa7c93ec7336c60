package review_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/journal"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

// told records the story of a held message of which dan@example.org's copy was delivered.
func (b *bed) told(t testing.TB, it *quarantine.Item) *journal.Entry {
	t.Helper()
	e := &journal.Entry{ID: it.Envelope.ID, Received: it.Received, Policy: "p1", Envelope: it.Envelope, Subject: it.Subject, From: it.From, Size: it.Size,
		Result: "mixed", Took: 300 * time.Millisecond,
		Facts: map[string]json.RawMessage{"spf": json.RawMessage(`{"result":"fail"}`), "dkim": json.RawMessage(`{"result":"none"}`), "dmarc": json.RawMessage(`{"result":"fail"}`),
			"content":  json.RawMessage(`{"attachments":[{"type":"application/pdf"},{"type":"image/png"},{"type":"application/pdf"},{"type":"text/html","archive":"a.zip"}]}`),
			"throttle": json.RawMessage(`{"rcpt":"dan@example.org"}`)},
		Filters: []journal.Timing{{Name: "spf", State: journal.Done, Began: time.Millisecond, Took: 20 * time.Millisecond}, {Name: "clamav", State: journal.NotNeeded}},
		Steps:   []journal.Step{{At: time.Millisecond, What: "started", Why: "spf"}, {At: 200 * time.Millisecond, What: "decided"}, {At: 250 * time.Millisecond, What: "relay", Why: "dan@example.org"}},
	}
	e.Envelope.Client = mail.Client{Addr: netip.MustParseAddr("192.0.2.7"), Helo: "mx.evil.example", TLS: "TLS1.3"}
	e.Envelope.Recipients = append(e.Envelope.Recipients, mail.RcptTo{Address: quarantinetest.Address("dan@example.org")})
	for _, c := range it.Copies {
		e.Outcomes = append(e.Outcomes, journal.Outcome{Recipient: c.Recipient.Address, Do: "quarantine", Rule: c.Rule, Class: c.Class, Because: c.Because, Held: it.ID, Place: "20-spoof.yaml:12", Rules: json.RawMessage(`[{"rule":"secret-rule"}]`)})
	}
	e.Outcomes = append(e.Outcomes, journal.Outcome{Recipient: quarantinetest.Address("dan@example.org"), Do: "deliver", Upstream: "250 ok dan"})
	if err := b.story.RecordDurably(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e
}

// A held message whose story the journal does not keep any more can be looked at all the same.
func TestMessageWithoutStory(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org")
	for _, who := range []*people.Actor{admin(), operator(), of("example.org"), auditor(), ann()} {
		m, err := b.Message(t.Context(), who, it.ID)
		if err != nil {
			t.Fatal(who.Login, err)
		}
		if m.Entry != nil || m.Answer != nil || m.Subject != it.Subject || len(m.Timeline) == 0 {
			t.Errorf("%s: %+v", who.Login, m)
		}
	}
}

// The page of a message: who, where, why, and all that was done with it, from connect to the last
// act; for a user nothing of other recipients.
func TestMessage(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org", "ben@example.org")
	b.told(t, it)
	b.clock.Add(time.Second)
	r, err := b.Content(t.Context(), ann(), it.ID, "text")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	b.clock.Add(time.Second)
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID), To: []mail.Address{quarantinetest.Address("ben@example.org")}, Reason: "known sender"})
	b.clock.Add(time.Second)
	do(t, b, ann(), review.Act{Do: review.Seen, IDs: ids(it.ID)})

	m, err := b.Message(t.Context(), operator(), it.ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds, words []string
	for i, e := range m.Timeline {
		if i > 0 && e.At.Before(m.Timeline[i-1].At) {
			t.Errorf("%v comes after %v", m.Timeline[i-1], e)
		}
		kinds = append(kinds, e.Kind)
		words = append(words, e.Who+" "+e.What+" "+e.Why)
	}
	if got := strings.Join(kinds, " "); got != "session session session session filter verdict verdict verdict delivery delivery delivery delivery person person person" {
		t.Errorf("%s\n%s", got, strings.Join(words, "\n"))
	}
	all := strings.Join(words, "\n")
	for _, want := range []string{"192.0.2.7 mail from <mallory@evil.example>", "quarantine for <ann@example.org>", "delivered to <dan@example.org>", "ann@example.org read", "olga released to ben@example.org known sender", "marked as seen"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if m.FromName != "Bank" || m.FromAddress != "service@bank.example" || !m.Mismatch || m.Auth != (review.Auth{SPF: "fail", DKIM: "none", DMARC: "fail"}) ||
		strings.Join(m.Attachments, " ") != "application/pdf image/png" || m.Place != "20-spoof.yaml:12" || !m.Text || m.Class != "spam" {
		t.Errorf("%+v", m.Row)
	}

	m, err = b.Message(t.Context(), ann(), it.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"dan@", "ben@", "delivered", "mixed", "olga", "throttle", "relay", "secret-rule", "20-spoof.yaml"} {
		if strings.Contains(string(text), hidden) {
			t.Errorf("a user reads %q in %s", hidden, text)
		}
	}
	if m.Entry == nil || len(m.Entry.Outcomes) != 1 || m.Entry.Result != "held" {
		t.Errorf("%+v", m.Entry)
	}
	// The auditor sees what became of it, but not its text.
	if m, err = b.Message(t.Context(), auditor(), it.ID); err != nil || m.Text || len(m.Copies) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// Mail that is not held has a page for those who read the journal.
func TestTrackAndOtherMail(t *testing.T) {
	b := newBed(t)
	e := &journal.Entry{ID: quarantinetest.ID(b.clock.Now()), Received: b.clock.Now(), Result: "refused", Subject: "hello", From: "a@b.example", MessageID: "<1@b.example>",
		Envelope: mail.Envelope{Sender: quarantinetest.Address("a@b.example"), Recipients: []mail.RcptTo{{Address: quarantinetest.Address("ann@example.org")}, {Address: quarantinetest.Address("x@other.example")}}},
		Facts:    map[string]json.RawMessage{"spf": json.RawMessage(`{"result":"pass"}`)},
		Outcomes: []journal.Outcome{{Recipient: quarantinetest.Address("ann@example.org"), Do: "reject", Rule: "r1"}, {Recipient: quarantinetest.Address("x@other.example"), Do: "deliver"}}}
	if err := b.story.RecordDurably(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who  *people.Actor
		find review.Find
		want int
	}{
		{operator(), review.Find{}, 1}, {operator(), review.Find{Query: e.ID}, 1}, {operator(), review.Find{Query: "<1@b.example>"}, 1}, {operator(), review.Find{Query: "hello"}, 1},
		{operator(), review.Find{Query: "nothing"}, 0}, {operator(), review.Find{Rule: "r1"}, 1}, {of("other.example"), review.Find{}, 1}, {of("other.example"), review.Find{Rule: "r1"}, 0},
		{of("other.example"), review.Find{Recipient: "ann@example.org"}, 0}, {of("third.example"), review.Find{}, 0}, {of("third.example"), review.Find{Query: e.ID}, 0},
	} {
		page, err := b.Track(t.Context(), c.who, c.find)
		if err != nil || len(page.Rows) != c.want {
			t.Errorf("%s %+v: %+v, %v", c.who.Login, c.find, page, err)
			continue
		}
		if c.want == 1 && (page.Rows[0].ID != e.ID || page.Rows[0].Auth.SPF != "pass") {
			t.Errorf("%+v", page.Rows[0])
		}
		if text, _ := json.Marshal(page); c.who.Domains != nil && strings.Contains(string(text), "ann@") {
			t.Errorf("%s", text)
		}
	}
	m, err := b.Message(t.Context(), of("other.example"), e.ID)
	if err != nil || m.Result != "delivered" || len(m.Entry.Outcomes) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if text, _ := json.Marshal(m); strings.Contains(string(text), "ann@") || strings.Contains(string(text), "refuse") {
		t.Errorf("%s", text)
	}
	for _, who := range []*people.Actor{ann(), of("third.example")} {
		if _, err := b.Message(t.Context(), who, e.ID); err != review.ErrNotFound {
			t.Errorf("%s: %v", who.Login, err)
		}
	}
}

// New mail is told to everybody who listens and may see it, once; who does not read is not waited
// for.
func TestArrivals(t *testing.T) {
	b := newBed(t)
	b.hold(t, "spam", "ann@example.org") // was there before
	ctx, cancel := context.WithCancel(t.Context())
	hers, err := b.Arrivals(ctx, ann())
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.Arrivals(ctx, operator())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Arrivals(ctx, operator()); err != nil { // never reads
		t.Fatal(err)
	}
	next := func(c <-chan review.Row) string {
		select {
		case r := <-c:
			return r.ID
		case <-time.After(20 * time.Second):
			return "nothing"
		}
	}
	invisible := quarantinetest.Item(b.clock.Now(), "ann@example.org")
	if err := b.held.Hold(t.Context(), invisible, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	his := b.hold(t, "spam", "ben@example.org")
	both := b.hold(t, "spam", "ben@example.org", "ann@example.org")
	if got := next(hers); got != both.ID {
		t.Errorf("%s, want %s", got, both.ID)
	}
	if a, c := next(all), next(all); a != his.ID || c != both.ID {
		t.Errorf("%s %s", a, c)
	}
	if err := b.held.Keep(t.Context(), invisible.ID); err != nil {
		t.Fatal(err)
	}
	if a, c := next(all), next(hers); a != invisible.ID || c != invisible.ID {
		t.Errorf("%s %s, want %s", a, c, invisible.ID)
	}
	// A row that is dropped gives its number to the next.
	dropped := quarantinetest.Item(b.clock.Now(), "ann@example.org")
	if err := b.held.Hold(t.Context(), dropped, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := b.held.Drop(t.Context(), dropped.ID); err != nil {
		t.Fatal(err)
	}
	last := b.hold(t, "spam", "ben@example.org")
	if got := next(all); got != last.ID {
		t.Fatalf("%s, want %s", got, last.ID)
	}
	cancel()
	for range hers { // closed
	}
	if _, err := b.Arrivals(t.Context(), nil); err == nil {
		t.Error("nobody listens")
	}
}
