package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/mail"
	"postern/recall"
	"postern/store"
)

// kept is a recall.Store in a folder, and how often it was written.
type kept struct {
	*recall.Store
	writes int
}

func (k *kept) Took(ctx context.Context, m recall.Taken) error {
	k.writes++
	return k.Store.Took(ctx, m)
}

func (k *kept) Panicked(ctx context.Context, p recall.Poison) error {
	k.writes++
	return k.Store.Panicked(ctx, p)
}

// restarted gives a bed as a process has that starts on the folder now.
func restarted(t *testing.T, db *store.DB, fs []filters.Filter) (*bed, *kept) {
	t.Helper()
	s, err := recall.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{Store: s}
	taken, err := s.Taken(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	poisons, err := s.Poisons(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return false }}}}, fs)
	b.recall = k
	b.recalls(taken, poisons)
	return b, k
}

func recallDB(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A message whose 250 was not read is known after a restart, to the byte; others cost no row.
func TestD13_KnownAfterARestart(t *testing.T) {
	db := recallDB(t)
	to := []string{"a@example.org", "b@example.org"}
	first, k := restarted(t, db, twoFilters())
	c := first.talk()
	first.submit(t, c, to, &textUpload{text: sample})
	c.end(errQuit)
	if k.writes != 0 {
		t.Errorf("%d rows for a message whose reply was read", k.writes)
	}
	c = first.talk()
	r, _ := first.submit(t, c, to, &textUpload{text: sample, n: 7})
	c.end(errors.New("connection reset by peer"))
	first.noted()
	if k.writes != 1 || !r.OK() {
		t.Fatalf("%d rows, %v", k.writes, r)
	}
	again, _ := restarted(t, db, twoFilters())
	defer again.noted()
	for _, tt := range []struct {
		name, text string
		to         []string
		want       int // messages at the internal server
	}{
		{"again, in other pieces", sample, to, 0},
		{"other bytes of the same length", strings.Replace(sample, "a", "b", 1), to, 1},
		{"one byte more", sample + "x", to, 1},
		{"one recipient less", sample, to[:1], 1},
		{"the recipients another way round", sample, []string{to[1], to[0]}, 1},
	} {
		again.up.got = nil
		c := again.talk()
		r, _ := again.submit(t, c, tt.to, &textUpload{text: tt.text, n: 64})
		c.end(nil)
		if !r.OK() || len(again.up.got) != tt.want {
			t.Errorf("%s: %v, %d messages, want %d", tt.name, r, len(again.up.got), tt.want)
		}
	}
	again.up.got, again.now = nil, func() time.Time { return time.Now().Add(25 * time.Hour) }
	if again.submit(t, again.talk(), to, &textUpload{text: sample}); len(again.up.got) != 1 {
		t.Error("a day later it is still taken for a second try")
	}
}

// What cannot be noted is relayed twice at worst, and nobody waits for it.
func TestD13_NothingCanBeNoted(t *testing.T) {
	db := recallDB(t)
	b, _ := restarted(t, db, twoFilters())
	defer b.noted()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // this process knows it all the same
		c := b.talk()
		if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample}); !r.OK() {
			t.Error(r)
		}
		c.end(errors.New("connection reset by peer"))
	}
	if len(b.up.got) != 1 {
		t.Errorf("%d messages", len(b.up.got))
	}
}

// Each of the attempts of a poison message meets another process: it is held at the third.
func TestD19_PoisonIsKnownAfterARestart(t *testing.T) {
	db := recallDB(t)
	boom := []filters.Filter{{Name: "body", Stage: mail.Data, Facts: textFacts{}, Gather: func(_ context.Context, in *filters.Input) (any, error) {
		if text, _ := io.ReadAll(in.Body.Open()); strings.Contains(string(text), "boom") {
			panic("secret")
		}
		return textFacts{}, nil
	}}}
	for n, want := range []string{"451", "451", "250"} {
		b, k := restarted(t, db, boom)
		send := func(text string) string {
			c := b.talk()
			defer c.end(nil)
			r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: text})
			return r.String()
		}
		if r := send(sample + "well\r\n"); !strings.HasPrefix(r, "250") || k.writes != 0 || len(b.up.got) != 1 {
			t.Errorf("a message of that length: %s, %d rows", r, k.writes)
		}
		if r := send(sample + "boom\r\n"); !strings.HasPrefix(r, want) {
			t.Errorf("attempt %d: %s, want %s", n+1, r, want)
		}
		if len(b.q.items) != n/2 {
			t.Errorf("attempt %d: %d held", n+1, len(b.q.items))
		}
	}
}

// A panic while the message comes ends its transaction at once, though the message is not whole.
func TestD19_APanicWithinTheUpload(t *testing.T) {
	b, k := restarted(t, recallDB(t), twoFilters())
	blocks := 0
	done := make(chan string, 1)
	go func() {
		r, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample, n: 7, before: func() {
			if blocks++; blocks == 3 {
				panic("upload")
			}
		}})
		done <- r.String()
	}()
	select {
	case r := <-done:
		if r != replyLater.String() || k.writes != 0 {
			t.Errorf("%s, %d rows", r, k.writes)
		}
	case <-time.After(joinLimit / 2):
		t.Fatal("it waits for the rest of the message")
	}
}
