package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"postern/mail"
	"postern/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.DB = db
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); db.Close() })
	return s
}

func address(s string) mail.Address {
	a, err := mail.ParseAddress(s, true)
	if err != nil {
		panic(err)
	}
	return a
}

// sample is an entry of the usual size.
func sample(at time.Time, to ...string) *Entry {
	e := &Entry{
		ID: ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String(), Received: at, Policy: "3f2a", Subject: "Ihr Konto über 1 €", From: `"Bank" <service@bank.example>`,
		MessageID: "<1@bank.example>", Size: 4096, Result: "held", Took: 25 * time.Millisecond,
		Reply: mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "held for review"},
		Facts: map[string]json.RawMessage{
			"spf":     json.RawMessage(`{"result":"softfail","domain":"evil.example","reason":""}`),
			"dkim":    json.RawMessage(`{"signatures":[{"result":"fail","domain":"x.example"}],"result":"none"}`),
			"dmarc":   json.RawMessage(`{"result":"fail","policy":"reject","domain":"bank.example"}`),
			"content": json.RawMessage(`{"subject":"` + strings.Repeat("x", 60) + `","links":["` + strings.Repeat("https://a.example/", 60) + `"]}`),
		},
		Filters: []Timing{{Name: "spf", State: "done", Took: time.Millisecond}, {Name: "dkim", State: "done"}, {Name: "dmarc", State: "done"}},
		Steps:   []Step{{At: 1, What: "mail"}, {At: 2, What: "rcpt", Why: "250"}, {At: 3, What: "decided", Why: "dmarc"}},
	}
	e.Envelope = mail.Envelope{ID: e.ID, Received: at, Sender: address("Mallory@evil.example"),
		Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.7"), Helo: "evil.example", ESMTP: true}}
	for _, s := range to {
		a := address(s)
		e.Envelope.Recipients = append(e.Envelope.Recipients, mail.RcptTo{Address: a})
		e.Outcomes = append(e.Outcomes, Outcome{Recipient: a, Do: "quarantine", Verdict: "reject", Rule: "spoof", Class: "spoof",
			Because: "it is not from bank.example", Score: 2.5, Reply: "250 2.0.0 held", Held: e.ID,
			Rules: json.RawMessage(`[{"rule":"spoof","result":"true","matched":true,"shadow":false}]`)})
	}
	return e
}

func record(t testing.TB, s *Store, e *Entry) *Entry {
	t.Helper()
	if err := s.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e
}

func ids(t testing.TB, s *Store, q Query) (list []string) {
	t.Helper()
	for {
		entries, next, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.ID)
		}
		if next == "" {
			return list
		}
		q.Cursor = next
	}
}

func TestEntryComesBackAsRecorded(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	small := record(t, s, sample(start, "a@example.org", "b@example.org"))
	big := sample(start.Add(time.Second), "a@example.org")
	big.Facts["content"] = json.RawMessage(`"` + strings.Repeat("much ", 10000) + `"`)
	big.Facts["none"] = nil
	record(t, s, big)
	for _, e := range []*Entry{small, big} {
		got, err := s.Get(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if e == big {
			big.Facts["none"] = json.RawMessage("null")
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("got  %+v\nwant %+v", got, e)
		}
	}
	if got, err := s.Get(t.Context(), strings.ToLower(small.ID)+"-2"); err != nil || got.ID != small.ID {
		t.Errorf("by the id of a held item: %v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an entry that is not there: %v", err)
	}
}

func TestSearch(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	spoof := record(t, s, sample(start, "a@example.org", "B@sub.example.org"))
	refused := sample(start.Add(time.Hour), "c@example.net")
	refused.Result, refused.Subject, refused.Envelope.Sender, refused.MessageID = "refused", "ПРИВЕТ Invoice", mail.Address{}, "<2@x>"
	refused.Reply = mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "No such user"}
	refused.Envelope.Client.Addr = netip.MustParseAddr("2001:db8::1")
	refused.Outcomes[0] = Outcome{Recipient: address("c@example.net"), Do: "reject", Rule: "list", Class: "policy", Because: "nobody knows it", Upstream: "550 5.1.1 Mailbox unavailable"}
	record(t, s, refused)
	silent := sample(start.Add(2 * time.Hour))
	silent.Result = "abandoned"
	record(t, s, silent)
	for _, c := range []struct {
		name string
		q    Query
		want []*Entry
	}{
		{"all", Query{}, []*Entry{silent, refused, spoof}},
		{"id", Query{ID: spoof.ID}, []*Entry{spoof}},
		{"item's id", Query{ID: spoof.ID + "-3"}, []*Entry{spoof}},
		{"message id", Query{MessageID: "<2@x>"}, []*Entry{refused}},
		{"sender", Query{Sender: "mallory@EVIL.example"}, []*Entry{silent, spoof}},
		{"sender's domain", Query{Sender: "@evil.example"}, []*Entry{silent, spoof}},
		{"null sender", Query{Sender: "<>"}, []*Entry{refused}},
		{"recipient", Query{Recipient: "b@sub.example.org"}, []*Entry{spoof}},
		{"recipient's domain", Query{Recipient: "@example.net"}, []*Entry{refused}},
		{"part of a recipient", Query{Recipient: "example.o"}, []*Entry{spoof}},
		{"subject", Query{Subject: "привет"}, []*Entry{refused}},
		{"subject only", Query{Subject: "bank.example"}, nil},
		{"result", Query{Result: "abandoned"}, []*Entry{silent}},
		{"rule", Query{Rule: "list"}, []*Entry{refused}},
		{"class", Query{Class: "spoof"}, []*Entry{spoof}},
		{"client", Query{Client: "2001:db8::1"}, []*Entry{refused}},
		{"reply", Query{Reply: "no such USER"}, []*Entry{refused}},
		{"the internal server's reply", Query{Reply: "mailbox unavailable"}, []*Entry{refused}},
		{"words", Query{Text: "bank.example konto"}, []*Entry{silent, spoof}},
		{"wildcards are letters", Query{Text: "%"}, nil},
		{"since", Query{Since: refused.Received}, []*Entry{silent, refused}},
		{"until", Query{Until: refused.Received}, []*Entry{spoof}},
		{"two", Query{Sender: "@evil.example", Result: "held"}, []*Entry{spoof}},
	} {
		var want []string
		for _, e := range c.want {
			want = append(want, e.ID)
		}
		if got := ids(t, s, c.q); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
	if _, _, err := s.Search(t.Context(), Query{Cursor: "1.2'"}); err == nil {
		t.Error("a bad cursor was accepted")
	}
}

func TestPagesAreStable(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	want := map[string]bool{}
	for i := range 25 {
		want[record(t, s, sample(start.Add(time.Duration(i/5)*time.Second), "a@example.org")).ID] = true
	}
	q, seen := Query{Limit: 4}, 0
	for {
		entries, next, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !want[e.ID] {
				t.Errorf("%s came twice or later", e.ID)
			}
			delete(want, e.ID)
			seen++
		}
		if next == "" {
			break
		}
		q.Cursor = next
		record(t, s, sample(start.Add(time.Minute), "a@example.org"))
	}
	if len(want) > 0 || seen != 25 {
		t.Errorf("%d are missing", len(want))
	}
}

func TestRecordIsBatched(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	_, before := s.o.DB.Stats()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				record(t, s, sample(start, "a@example.org"))
			}
		})
	}
	wg.Wait()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, after := s.o.DB.Stats(); after-before > 100 {
		t.Errorf("%d commits for 800 entries", after-before)
	}
	if n := len(ids(t, s, Query{Limit: 500})); n != 800 {
		t.Errorf("%d entries", n)
	}
}

func TestRecordDurablyIsSeenByOthersAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Linger: time.Hour})
	e := sample(start, "a@example.org")
	if err := s.RecordDurably(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir, Options{}).Get(t.Context(), e.ID); err != nil || got.ID != e.ID {
		t.Error(err)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Linger: 50 * time.Millisecond})
	for range 30 {
		record(t, s, sample(start, "a@example.org"))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), sample(start)); !errors.Is(err, ErrClosed) {
		t.Errorf("recorded after Close: %v", err)
	}
	if n := len(ids(t, open(t, dir, Options{}), Query{})); n != 30 {
		t.Errorf("%d entries", n)
	}
}

func TestFullQueueWaitsWithinContext(t *testing.T) {
	s := open(t, t.TempDir(), Options{Queue: 1, Linger: -1})
	in, out := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { s.o.DB.Write(context.Background(), func(*store.Tx) error { close(in); <-out; return nil }) })
	<-in // nothing is written from here on
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	n := 0
	for ; err == nil; n++ {
		if n == 2 { // one in the batch, one in the queue: the next one waits
			cancel()
		}
		err = s.Record(ctx, sample(start, "a@example.org"))
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(out)
	wg.Wait()
	if got := len(ids(t, s, Query{})); got != n-1 {
		t.Errorf("%d entries, %d were taken", got, n-1)
	}
}

// Entries with facts of a megabyte, while the disk is slow: they wait in their transactions, not
// in memory without end, and all are written at last.
func TestS36_BytesThatWaitAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: -1})
	in, out := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { s.o.DB.Write(context.Background(), func(*store.Tx) error { close(in); <-out; return nil }) })
	<-in // nothing is written from here on
	big := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	const n = 200
	var taken atomic.Int32
	for range n {
		wg.Go(func() {
			e := sample(start, "a@example.org")
			e.Facts = map[string]json.RawMessage{"content": big}
			if err := s.Record(context.Background(), e); err != nil {
				t.Error(err)
			}
			taken.Add(1)
		})
	}
	for taken.Load() < maxQueued>>20-1 {
		time.Sleep(time.Millisecond)
	}
	if got := s.queued(); got > maxQueued {
		t.Errorf("%d bytes wait", got)
	}
	close(out)
	wg.Wait()
	if got, err := count(s); err != nil || got != n {
		t.Errorf("%d entries, %v", got, err)
	}
}

func count(s *Store) (n int, err error) {
	if err := s.Flush(context.Background()); err != nil {
		return 0, err
	}
	return n, s.o.DB.Reader().QueryRow("SELECT count(*) FROM entries").Scan(&n)
}

func TestOneBadEntryDoesNotCostTheOthers(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	a := record(t, s, sample(start, "a@example.org"))
	twice := *a
	record(t, s, &twice)
	poison := sample(start, "a@example.org")
	poison.Outcomes[0].Rules = json.RawMessage(`{"broken`)
	record(t, s, poison)
	b := record(t, s, sample(start.Add(time.Second), "b@example.org"))
	if got := ids(t, s, Query{}); !reflect.DeepEqual(got, []string{b.ID, a.ID}) {
		t.Errorf("got %v", got)
	}
	if s.Lost() != 2 || strings.Count(log.String(), "journal entry lost") != 2 {
		t.Errorf("%d lost, log: %s", s.Lost(), log.String())
	}
	if s.Err() != nil {
		t.Errorf("the journal itself is well: %v", s.Err())
	}
}

func TestFailedStoreIsSeenInHealth(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	s.o.DB.Write(t.Context(), func(*store.Tx) error { return store.ErrCorrupt })
	if err := s.RecordDurably(t.Context(), sample(start, "a@example.org")); !errors.Is(err, store.ErrFailed) {
		t.Errorf("got %v", err)
	}
	if !errors.Is(s.Err(), store.ErrFailed) {
		t.Errorf("health: %v", s.Err())
	}
}

func TestD18_PruneByAge(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	now := start
	for i := range 1203 {
		record(t, s, sample(now.Add(-time.Duration(i)*time.Hour*2), "a@example.org"))
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := s.Prune(t.Context(), now)
	if err != nil || n != 1203-90*12-1 {
		t.Errorf("%d removed, %v", n, err)
	}
	var left int
	if err := s.o.DB.Reader().QueryRow("SELECT count(*) FROM recipients").Scan(&left); err != nil || left != 90*12+1 {
		t.Errorf("%d outcomes left, %v", left, err)
	}
	if n, err := s.Prune(t.Context(), now.AddDate(10, 0, 0)); err != nil || n != 0 {
		t.Errorf("D-17: %d removed after a jump of the clock, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Prune(ctx, now.Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type recorder struct{ got []*Entry }

func (r *recorder) Record(_ context.Context, e *Entry) error        { r.got = append(r.got, e); return nil }
func (r *recorder) RecordDurably(_ context.Context, e *Entry) error { return errors.New("full") }

func TestTeeTellsEachSinkOnce(t *testing.T) {
	n := 0
	next := &recorder{}
	tee := Tee(next, func(*Entry) { n++ }, func(*Entry) { n += 10 })
	if err := tee.Record(t.Context(), sample(start)); err != nil || n != 11 || len(next.got) != 1 {
		t.Errorf("%d, %v", n, err)
	}
	if err := tee.RecordDurably(t.Context(), sample(start)); err == nil || n != 22 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestC36_OneLineAMessage(t *testing.T) {
	var out bytes.Buffer
	sink := LogSink(slog.New(slog.NewJSONHandler(&out, nil)))
	plain := sample(start, "a@example.org")
	sink(plain)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"id": plain.ID, "result": "held", "client": "192.0.2.7", "helo": "evil.example", "sender": "Mallory@evil.example", "rcpt": "a@example.org",
		"subject": plain.Subject, "size": 4096.0, "rule": "spoof", "class": "spoof", "because": "it is not from bank.example",
		"reply": "250 2.0.0 held for review", "spf": "softfail", "dkim": "none", "dmarc": "fail", "took_ms": 25.0, "held": plain.ID,
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	hostile := "x\n{\"level\":\"ERROR\"}\r\x1b[31m\x00\x7f\u0085\u2028\u202e\xff" + strings.Repeat("ä", 1000)
	for _, text := range []bool{false, true} {
		out.Reset()
		log := slog.New(slog.NewJSONHandler(&out, nil))
		if text {
			log = slog.New(slog.NewTextHandler(&out, nil))
		}
		sink := LogSink(log)
		const events = 20
		for range events {
			e := sample(start, "a@example.org")
			e.Subject, e.From, e.MessageID, e.Envelope.Client.Helo = hostile, hostile, hostile, hostile
			e.Envelope.Sender.Local, e.Outcomes[0].Because, e.Outcomes[0].Rule, e.Outcomes[0].Upstream = hostile, hostile, hostile, hostile
			e.Reply.Text = hostile
			e.Facts["spf"] = json.RawMessage(`{"result":"` + strings.Repeat("y", 1000) + `"}`)
			for range 5000 {
				e.Envelope.Recipients = append(e.Envelope.Recipients, e.Envelope.Recipients[0])
				e.Outcomes = append(e.Outcomes, e.Outcomes[0])
			}
			sink(e)
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != events {
			t.Errorf("%d lines for %d messages", n, events)
		}
		if i := bytes.IndexFunc(out.Bytes(), func(r rune) bool {
			return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x202e || r == 0xfffd
		}); i >= 0 {
			t.Errorf("unprintable: %q", out.Bytes()[max(0, i-20):i+4])
		}
		if n := out.Len() / events; n > 20*logField {
			t.Errorf("%d bytes a line", n)
		}
	}
}

// Who was refused at RCPT is no recipient of the message, but whoever looks for the address in
// the log has to find it, and why.
func TestLogLineNamesTheRefused(t *testing.T) {
	unknown := Outcome{Recipient: address("nobody@example.org"), Do: "reject", Reply: "550 5.1.1 unknown"}
	for _, tt := range []struct {
		name string
		make func() *Entry
		want map[string]any
	}{
		{"all", func() *Entry {
			e := sample(start)
			e.Outcomes, e.Reply = []Outcome{unknown}, mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "unknown"}
			return e
		}, map[string]any{"refused": "nobody@example.org", "reply": "550 5.1.1 unknown", "rcpt": nil, "refusal": nil}},
		{"one of two", func() *Entry {
			e := sample(start, "a@example.org")
			e.Outcomes = append([]Outcome{unknown}, e.Outcomes...)
			return e
		}, map[string]any{"rcpt": "a@example.org", "refused": "nobody@example.org", "refusal": "550 5.1.1 unknown",
			"reply": "250 2.0.0 held for review", "because": "it is not from bank.example"}},
	} {
		var out bytes.Buffer
		LogSink(slog.New(slog.NewJSONHandler(&out, nil)))(tt.make())
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for key, want := range tt.want {
			if line[key] != want {
				t.Errorf("%s: %s is %v, want %v", tt.name, key, line[key], want)
			}
		}
	}
}

func FuzzMember(f *testing.F) {
	f.Add([]byte(`{"a":{"result":"x"},"result":"pass","b":"\"result\":\"no"}`))
	f.Add([]byte(`{"result`))
	f.Add([]byte(`{"x":"\`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := member(b, "result")
		compact := &bytes.Buffer{}
		if json.Compact(compact, b) != nil {
			return // only no panic is asked for
		}
		var want struct{ Result any }
		dec := map[string]any{}
		if json.Unmarshal(compact.Bytes(), &dec) != nil || strings.Count(compact.String(), `"result"`) > 1 || bytes.ContainsAny(b, "\\\x80\xff") {
			return
		}
		want.Result = dec["result"]
		if s, ok := want.Result.(string); ok && !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || r < ' ' }) && member(compact.Bytes(), "result") != s {
			t.Errorf("%s: got %q (%q), want %q", b, member(compact.Bytes(), "result"), got, s)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	entries := make([]*Entry, b.N)
	for i := range entries {
		entries[i] = sample(start.Add(time.Duration(i)*80*time.Microsecond), "a@example.org")
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for _, e := range entries {
		record(b, s, e)
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/op")
}

// cpu is what the process has used so far, all threads: a busy disk does not count.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEncode(b *testing.B) {
	var x encoder
	e := sample(start, "a@example.org")
	b.ReportAllocs()
	for b.Loop() {
		var r row
		if err := x.row(&r, e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogSink(b *testing.B) {
	sink := LogSink(slog.New(slog.NewJSONHandler(discard{}, nil)))
	e := sample(start, "a@example.org")
	b.ReportAllocs()
	for b.Loop() {
		sink(e)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
