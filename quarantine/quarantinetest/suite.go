// Package quarantinetest is what every quarantine must do, whatever it is stored in.
package quarantinetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/mail"
	"postern/quarantine"
)

// Start is where the suite's clock begins.
func Start() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// A Clock is moved by hand.
type Clock struct{ now atomic.Int64 }

// NewClock stands at Start.
func NewClock() *Clock {
	c := &Clock{}
	c.now.Store(Start().UnixNano())
	return c
}

// Now is the time that it shows.
func (c *Clock) Now() time.Time { return time.Unix(0, c.now.Load()).UTC() }

// Add moves it.
func (c *Clock) Add(d time.Duration) { c.now.Add(int64(d)) }

// ID makes an id as the gateway does.
func ID(at time.Time) string {
	return ulid.MustNew(ulid.Timestamp(at), rand.NewChaCha8([32]byte{byte(rand.Int()), byte(rand.Int()), byte(rand.Int()), byte(rand.Int())})).String()
}

// Address parses one.
func Address(s string) mail.Address {
	a, err := mail.ParseAddress(s, true)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", s, err))
	}
	return a
}

// Item is a held spoof from mallory@evil.example for these recipients.
func Item(at time.Time, to ...string) *quarantine.Item {
	it := &quarantine.Item{
		ID: ID(at), Received: at, Subject: "Ihr Konto über 1 €", From: `"Bank" <service@bank.example>`, Policy: "p1",
		Envelope: mail.Envelope{Sender: Address("mallory@evil.example"), Received: at},
	}
	it.Envelope.ID = it.ID
	for _, s := range to {
		r := mail.RcptTo{Address: Address(s), Notify: "NEVER"}
		it.Envelope.Recipients = append(it.Envelope.Recipients, r)
		it.Copies = append(it.Copies, quarantine.Copy{Recipient: r, Class: "spoof", Rule: "dmarc", Because: "it is not from bank.example", Score: 4.5})
	}
	return it
}

// Message is text with some that compresses and some that does not.
func Message(size int) []byte {
	b := bytes.Repeat([]byte("Subject: hello\r\n\r\n"), size/18+1)[:size]
	for i := size / 2; i < size; i++ {
		b[i] = byte(rand.Int())
	}
	return b
}

// Hold holds and keeps a message.
func Hold(t testing.TB, s *quarantine.Store, it *quarantine.Item, message []byte) *quarantine.Item {
	t.Helper()
	if err := s.Hold(t.Context(), it, bytes.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	return it
}

// Read gives a message's bytes.
func Read(t testing.TB, s *quarantine.Store, id string) ([]byte, error) {
	t.Helper()
	r, err := s.Content(t.Context(), id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Open makes an empty quarantine that goes by clock.
type Open func(t *testing.T, clock *Clock) *quarantine.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, *quarantine.Store, *Clock){
		"HoldIsInvisibleUntilKeep": holdIsInvisible,
		"ContentIsAsReceived":      contentIsAsReceived,
		"DropLeavesNothing":        dropLeavesNothing,
		"EqualContentIsFound":      equalContent,
		"HostileWords":             hostileWords,
		"Queries":                  queries,
		"PagesAreStable":           pagesAreStable,
		"ReleaseIsClaimedOnce":     releaseOnce,
		"ReleaseByRecipient":       releaseByRecipient,
		"SpamWaitsForNobody":       spamWaitsForNobody,
		"Delete":                   deletes,
		"ParallelHolds":            parallelHolds,
		"ExpireByAge":              expireByAge,
		"D17_ClockJump":            clockJump,
	} {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, open(t, clock), clock)
		})
	}
}

func all(t testing.TB, s *quarantine.Store, q quarantine.Query) []string {
	t.Helper()
	var ids []string
	for {
		items, next, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		if next == "" {
			break
		}
		q.Cursor = next
	}
	if n, err := s.Count(t.Context(), q); err != nil || n != len(ids) {
		t.Errorf("count says %d (%v), the list has %d", n, err, len(ids))
	}
	return ids
}

func holdIsInvisible(t *testing.T, s *quarantine.Store, clock *Clock) {
	it := Item(clock.Now(), "a@example.org")
	message := Message(5000)
	if err := s.Hold(t.Context(), it, bytes.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), it.ID); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("a held message is visible: %v", err)
	}
	if ids := all(t, s, quarantine.Query{State: quarantine.Any}); len(ids) > 0 {
		t.Errorf("a held message is listed: %v", ids)
	}
	if _, err := s.StartRelease(t.Context(), it.ID, "eve"); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("a held message can be released: %v", err)
	}
	for range 2 {
		if err := s.Keep(t.Context(), it.ID); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Get(t.Context(), it.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != quarantine.Kept || got.Subject != it.Subject || got.From != it.From || got.Size != 5000 || got.Policy != "p1" ||
		!got.Received.Equal(it.Received) || got.Envelope.Sender != it.Envelope.Sender || !got.Expires.Equal(it.Expires) || got.SHA256 != it.SHA256 {
		t.Errorf("got %+v, held %+v", got, it)
	}
	if len(got.Copies) != 1 || got.Copies[0].Recipient != it.Copies[0].Recipient || got.Copies[0].State != quarantine.Kept ||
		got.Copies[0].Score != 4.5 || got.Copies[0].Because != it.Copies[0].Because {
		t.Errorf("copies: %+v", got.Copies)
	}
	if err := s.Drop(t.Context(), it.ID); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("a kept message was dropped: %v", err)
	}
	if err := s.Keep(t.Context(), ID(clock.Now())); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("keep of nothing: %v", err)
	}
}

func contentIsAsReceived(t *testing.T, s *quarantine.Store, clock *Clock) {
	for _, size := range []int{0, 1, 4096, 128 << 10, 5 << 20} {
		message := Message(size)
		it := Hold(t, s, Item(clock.Now(), "a@example.org"), message)
		got, err := Read(t, s, it.ID)
		if err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d bytes came back as %d: %v", size, len(got), err)
		}
		if err := s.Verify(t.Context(), it.ID); err != nil {
			t.Error(err)
		}
	}
	u, err := s.Usage(t.Context())
	if err != nil || u.Items != 5 || u.Bytes < 1<<20 || u.Bytes > 6<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func dropLeavesNothing(t *testing.T, s *quarantine.Store, clock *Clock) {
	it := Item(clock.Now(), "a@example.org")
	if err := s.Hold(t.Context(), it, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Drop(t.Context(), it.ID); err != nil {
			t.Fatal(err)
		}
	}
	broken := Item(clock.Now(), "a@example.org")
	gone := errors.New("client gone")
	err := s.Hold(t.Context(), broken, io.MultiReader(strings.NewReader("half"), errReader{gone}))
	if !errors.Is(err, gone) {
		t.Errorf("the reader's error is lost: %v", err)
	}
	u, err := s.Usage(t.Context())
	if err != nil || u.Items != 0 || u.Bytes != 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	clock.Add(2 * time.Hour)
	r, err := s.Sweep(t.Context(), 0)
	if err != nil || r.Kept.Count+r.Orphans.Count+r.Voided.Count+r.Missing.Count != 0 {
		t.Errorf("left over: %+v, %v", r, err)
	}
	if err := s.Hold(t.Context(), &quarantine.Item{ID: "../../etc/x", Copies: it.Copies}, strings.NewReader("x")); err == nil {
		t.Error("C-34: a name that is not ours was accepted")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func equalContent(t *testing.T, s *quarantine.Store, clock *Clock) {
	message := Message(1000)
	a := Hold(t, s, Item(clock.Now(), "a@example.org"), message)
	Hold(t, s, Item(clock.Now(), "a@example.org"), Message(1000))
	b := Hold(t, s, Item(clock.Now().Add(time.Minute), "a@example.org"), message)
	if ids := all(t, s, quarantine.Query{SHA256: a.SHA256}); len(ids) != 2 || ids[0] != b.ID || ids[1] != a.ID {
		t.Errorf("got %v", ids)
	}
}

func hostileWords(t *testing.T, s *quarantine.Store, clock *Clock) {
	hostile := []string{`'; DROP TABLE items; --`, "nul\x00byte", "\xff\xfe broken", strings.Repeat("ä", 5000), "%_\\", "line\nbreak"}
	for _, w := range hostile {
		it := Item(clock.Now(), "a@example.org")
		it.Subject, it.From, it.Copies[0].Because, it.Copies[0].Rule = w, w, w, w
		it.Envelope.Sender = mail.Address{Local: w, Domain: "evil.example"}
		it.Envelope.Sender.Local = "x"
		Hold(t, s, it, []byte(w))
	}
	if ids := all(t, s, quarantine.Query{}); len(ids) != len(hostile) {
		t.Errorf("%d items", len(ids))
	}
	for _, w := range []string{`'; DROP TABLE items; --`, "%", "_", "äää"} {
		q := quarantine.Query{Subject: w}
		if ids := all(t, s, q); len(ids) != 1 {
			t.Errorf("subject %q: %d items", w, len(ids))
		}
	}
}

func queries(t *testing.T, s *quarantine.Store, clock *Clock) {
	spoof := Hold(t, s, Item(clock.Now(), "a@example.org", "B@sub.example.org"), Message(10))
	virus := Item(clock.Now().Add(time.Hour), "c@example.net")
	virus.Subject, virus.Envelope.Sender = "ПРИВЕТ Invoice", mail.Address{}
	virus.Copies[0].Class, virus.Copies[0].Rule, virus.Copies[0].Because = "virus", "clamav", "it carries Eicar"
	Hold(t, s, virus, Message(10))
	spam := Item(clock.Now().Add(2*time.Hour), "a@example.org")
	spam.Copies[0].Class, spam.Copies[0].Rule = "spam", "gtube"
	Hold(t, s, spam, Message(10))
	if err := s.Delete(t.Context(), spam.ID, "root"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    quarantine.Query
		want []*quarantine.Item
	}{
		{"all that waits", quarantine.Query{}, []*quarantine.Item{virus, spoof}},
		{"any", quarantine.Query{State: quarantine.Any}, []*quarantine.Item{spam, virus, spoof}},
		{"deleted", quarantine.Query{State: quarantine.Deleted}, []*quarantine.Item{spam}},
		{"class", quarantine.Query{Class: "virus"}, []*quarantine.Item{virus}},
		{"rule", quarantine.Query{Rule: "dmarc"}, []*quarantine.Item{spoof}},
		{"recipient", quarantine.Query{Recipient: "A@Example.org"}, []*quarantine.Item{spoof}},
		{"recipient's domain", quarantine.Query{Recipient: "@sub.example.org"}, []*quarantine.Item{spoof}},
		{"part of a recipient", quarantine.Query{Recipient: "example.n"}, []*quarantine.Item{virus}},
		{"sender", quarantine.Query{Sender: "MALLORY@evil.example"}, []*quarantine.Item{spoof}},
		{"sender's domain", quarantine.Query{Sender: "@evil.example"}, []*quarantine.Item{spoof}},
		{"part of a sender", quarantine.Query{Sender: "mallo"}, []*quarantine.Item{spoof}},
		{"null sender", quarantine.Query{Sender: "<>"}, []*quarantine.Item{virus}},
		{"subject in any script and case", quarantine.Query{Subject: "привет inv"}, []*quarantine.Item{virus}},
		{"sentence is no subject", quarantine.Query{Subject: "eicar"}, nil},
		{"words", quarantine.Query{Text: "eicar invoice"}, []*quarantine.Item{virus}},
		{"since", quarantine.Query{Since: virus.Received}, []*quarantine.Item{virus}},
		{"until", quarantine.Query{Until: virus.Received}, []*quarantine.Item{spoof}},
		{"two conditions", quarantine.Query{Class: "spoof", Recipient: "c@example.net"}, nil},
	} {
		var want []string
		for _, it := range c.want {
			want = append(want, it.ID)
		}
		if got := all(t, s, c.q); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
	if _, _, err := s.List(t.Context(), quarantine.Query{Cursor: "1' OR 1=1"}); err == nil {
		t.Error("a bad cursor was accepted")
	}
}

func pagesAreStable(t *testing.T, s *quarantine.Store, clock *Clock) {
	want := map[string]bool{}
	for i := range 25 {
		want[Hold(t, s, Item(clock.Now().Add(time.Duration(i/5)*time.Second), "a@example.org"), Message(10)).ID] = true
	}
	q := quarantine.Query{Limit: 4}
	seen := map[string]bool{}
	var last *quarantine.Item
	for {
		items, next, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if seen[it.ID] {
				t.Errorf("%s came twice", it.ID)
			}
			if last != nil && it.Received.After(last.Received) {
				t.Error("not newest first")
			}
			seen[it.ID], last = true, it
		}
		if next == "" {
			break
		}
		q.Cursor = next
		Hold(t, s, Item(clock.Now().Add(time.Minute), "a@example.org"), Message(10)) // arrives between two pages
	}
	for id := range want {
		if !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d items, want %d", len(seen), len(want))
	}
}

func releaseOnce(t *testing.T, s *quarantine.Store, clock *Clock) {
	it := Hold(t, s, Item(clock.Now(), "a@example.org"), Message(10))
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			_, err := s.StartRelease(t.Context(), it.ID, fmt.Sprint("user", i))
			var st *quarantine.StateError
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &st) && errors.Is(err, quarantine.ErrState) && st.State == quarantine.Releasing:
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 99 {
		t.Errorf("C-39: %d winners, %d told that it is being released", won.Load(), lost.Load())
	}
	if err := s.Delete(t.Context(), it.ID, "x"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("deleted while it is being released: %v", err)
	}
	if err := s.FinishRelease(t.Context(), it.ID, false, "451 try later"); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), it.ID); got.State != quarantine.Kept || got.Note != "451 try later" {
		t.Errorf("after a failed release: %+v", got)
	}
	if _, err := s.StartRelease(t.Context(), it.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishRelease(t.Context(), it.ID, true, "250 2.0.0 taken"); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), it.ID); got.State != quarantine.Released || got.By != "anna" || got.Copies[0].By != "anna" || got.Copies[0].Note != "250 2.0.0 taken" {
		t.Errorf("after the release: %+v", got)
	}
	if _, err := s.StartRelease(t.Context(), it.ID, "eve"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("released twice: %v", err)
	}
	if err := s.FinishRelease(t.Context(), it.ID, true, ""); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("finished twice: %v", err)
	}
}

func releaseByRecipient(t *testing.T, s *quarantine.Store, clock *Clock) {
	a, b, c := Address("a@example.org"), Address("b@example.org"), Address("c@example.org")
	it := Hold(t, s, Item(clock.Now(), a.String(), b.String(), c.String()), Message(10))
	state := func(want quarantine.State, copies ...quarantine.State) {
		t.Helper()
		got, err := s.Get(t.Context(), it.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != want {
			t.Errorf("the item is %s, want %s", got.State, want)
		}
		for i, c := range got.Copies {
			if c.State != copies[i] {
				t.Errorf("copy %d is %s, want %s", i, c.State, copies[i])
			}
		}
	}
	claimed, err := s.StartRelease(t.Context(), it.ID, "anna", Address("A@example.org"))
	if err != nil || len(claimed) != 1 || claimed[0].Recipient.Address != a {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	state(quarantine.Releasing, quarantine.Releasing, quarantine.Kept, quarantine.Kept)
	if _, err := s.StartRelease(t.Context(), it.ID, "ben", a, b); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("all or none: %v", err)
	}
	if _, err := s.StartRelease(t.Context(), it.ID, "ben", b, Address("z@example.org")); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("a recipient that has no copy: %v", err)
	}
	state(quarantine.Releasing, quarantine.Releasing, quarantine.Kept, quarantine.Kept)
	claimed, err = s.StartRelease(t.Context(), it.ID, "ben") // what is left
	if err != nil || len(claimed) != 2 {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	if err := s.FinishRelease(t.Context(), it.ID, true, "250", a, b); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishRelease(t.Context(), it.ID, false, "550 unknown", c); err != nil {
		t.Fatal(err)
	}
	state(quarantine.Kept, quarantine.Released, quarantine.Released, quarantine.Kept)
	if err := s.Delete(t.Context(), it.ID, "ben", c); err != nil {
		t.Fatal(err)
	}
	state(quarantine.Released, quarantine.Released, quarantine.Released, quarantine.Deleted)
	if _, err := Read(t, s, it.ID); err != nil {
		t.Errorf("a released message can still be read: %v", err)
	}
}

func spamWaitsForNobody(t *testing.T, s *quarantine.Store, clock *Clock) {
	a, b := Address("a@example.org"), Address("b@example.org")
	it := Hold(t, s, Item(clock.Now(), a.String(), b.String()), Message(10))
	state := func(want quarantine.State, listed int) {
		t.Helper()
		got, err := s.Get(t.Context(), it.ID)
		if err != nil || got.State != want {
			t.Errorf("the item is %s (%v), want %s", got.State, err, want)
		}
		if ids := all(t, s, quarantine.Query{}); len(ids) != listed {
			t.Errorf("%d wait, want %d", len(ids), listed)
		}
	}
	for _, err := range []error{s.MarkSpam(t.Context(), it.ID, "anna", a), s.MarkSpam(t.Context(), it.ID, "anna")} {
		if err != nil {
			t.Error(err)
		}
	}
	state(quarantine.Spam, 0)
	if err := s.MarkSpam(t.Context(), it.ID, "anna"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("again: %v", err)
	}
	if err := s.UnmarkSpam(t.Context(), it.ID, "anna", b); err != nil {
		t.Error(err)
	}
	state(quarantine.Kept, 1)
	if claimed, err := s.StartRelease(t.Context(), it.ID, "ben"); err != nil || len(claimed) != 2 {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
	state(quarantine.Releasing, 1)
	if err := s.FinishRelease(t.Context(), it.ID, true, "250"); err != nil {
		t.Error(err)
	}
	state(quarantine.Released, 0)
}

func deletes(t *testing.T, s *quarantine.Store, clock *Clock) {
	it := Hold(t, s, Item(clock.Now(), "a@example.org", "b@example.org"), Message(1000))
	if err := s.Delete(t.Context(), it.ID, "a", Address("a@example.org")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t, s, it.ID); err != nil {
		t.Errorf("one deleted copy took the other along: %v", err)
	}
	if err := s.Delete(t.Context(), it.ID, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t, s, it.ID); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("content of a deleted message: %v", err)
	}
	got, err := s.Get(t.Context(), it.ID)
	if err != nil || got.State != quarantine.Deleted || got.By != "root" || got.Copies[0].By != "a" || got.Copies[1].By != "root" {
		t.Errorf("the row stays and tells who: %+v, %v", got, err)
	}
	if err := s.Delete(t.Context(), it.ID, "root"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("deleted twice: %v", err)
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Items != 0 || u.Bytes != 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if r, err := s.Sweep(t.Context(), 0); err != nil || r.Missing.Count+r.Leftover.Count+r.Orphans.Count != 0 {
		t.Errorf("a deleted message is no damage: %+v, %v", r, err)
	}
}

func parallelHolds(t *testing.T, s *quarantine.Store, clock *Clock) {
	const n = 64
	messages := make([][]byte, n)
	items := make([]*quarantine.Item, n)
	var wg sync.WaitGroup
	for i := range n {
		messages[i], items[i] = Message(1000+i), Item(clock.Now(), fmt.Sprintf("u%d@example.org", i))
		wg.Go(func() {
			if err := s.Hold(t.Context(), items[i], bytes.NewReader(messages[i])); err != nil {
				t.Error(err)
			} else if err := s.Keep(t.Context(), items[i].ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, it := range items {
		if got, err := Read(t, s, it.ID); err != nil || !bytes.Equal(got, messages[i]) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

func expireByAge(t *testing.T, s *quarantine.Store, clock *Clock) {
	old := Hold(t, s, Item(clock.Now(), "a@example.org"), Message(1000))
	stuck := Hold(t, s, Item(clock.Now(), "a@example.org"), Message(1000))
	var young *quarantine.Item
	for day := 0; day < 30; day++ {
		if n, err := s.Expire(t.Context(), clock.Now()); err != nil || n != 0 {
			t.Fatalf("day %d: %d removed, %v", day, n, err)
		}
		clock.Add(23 * time.Hour)
		if day == 10 {
			young = Hold(t, s, Item(clock.Now(), "a@example.org"), Message(1000))
		}
	}
	for range 2 {
		if n, err := s.Expire(t.Context(), clock.Now()); err != nil || n != 0 {
			t.Fatalf("%d removed, %v", n, err)
		}
		clock.Add(16 * time.Hour)
	}
	if _, err := s.StartRelease(t.Context(), stuck.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Expire(t.Context(), clock.Now()); err != nil || n != 1 {
		t.Fatalf("past its retention: %d removed, %v", n, err)
	}
	if _, err := s.Get(t.Context(), old.ID); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	for _, it := range []*quarantine.Item{young, stuck} {
		if _, err := Read(t, s, it.ID); err != nil {
			t.Error(err)
		}
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Items != 2 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func clockJump(t *testing.T, s *quarantine.Store, clock *Clock) {
	it := Hold(t, s, Item(clock.Now(), "a@example.org"), Message(10))
	if _, err := s.Expire(t.Context(), clock.Now()); err != nil {
		t.Fatal(err)
	}
	jumped := clock.Now().AddDate(10, 0, 0)
	for range 5 {
		if n, err := s.Expire(t.Context(), jumped); err != nil || n != 0 {
			t.Errorf("%d removed after a jump, %v", n, err)
		}
		jumped = jumped.Add(4 * time.Hour)
	}
	if _, err := Read(t, s, it.ID); err != nil {
		t.Error(err)
	}
}
