package policies

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"postern/store"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVersions(t *testing.T) {
	s := openStore(t, t.TempDir())
	if _, err := s.Version(t.Context(), 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty history: %v", err)
	}
	at := time.UnixMicro(1_770_000_000_123_456)
	for i, forced := range []bool{false, true, false} {
		v := &Version{At: at.Add(time.Duration(i) * time.Hour), Who: "ana", How: Applied, Note: "why not", Policy: "ab", Rules: i, Forced: forced,
			Print: set([]string{"a", "b", "a"}[i]).Print(), Files: set([]string{"a", "b", "a"}[i])}
		if n, err := s.Record(t.Context(), v); err != nil || n != int64(i+1) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	latest, err := s.Version(t.Context(), 0)
	if err != nil || latest.N != 3 || !latest.At.Equal(at.Add(2*time.Hour)) || latest.Who != "ana" || latest.Note != "why not" || !reflect.DeepEqual(latest.Files, set("a")) {
		t.Errorf("%+v, %v", latest, err)
	}
	if v, err := s.Version(t.Context(), 2); err != nil || !v.Forced || !reflect.DeepEqual(v.Files, set("b")) {
		t.Errorf("%+v, %v", v, err)
	}
	if list, err := s.Versions(t.Context(), 2); err != nil || len(list) != 2 || list[0].N != 3 || list[1].N != 2 {
		t.Errorf("%v, %v", list, err)
	}
	for version, want := range map[string][2]bool{"a": {true, false}, "b": {true, true}, "c": {false, false}} {
		if known, forced, err := s.Known(t.Context(), set(version).Print()); err != nil || known != want[0] || forced != want[1] {
			t.Errorf("%s: known %v, forced %v, %v", version, known, forced, err)
		}
	}
}

func TestOrders(t *testing.T) {
	dir := t.TempDir()
	command, gateway := openStore(t, dir), openStore(t, dir)
	now := time.Now()
	if _, err := command.Order(t.Context(), &Order{At: now.Add(-time.Hour), What: Reload}); err != nil {
		t.Fatal(err)
	}
	n, err := command.Order(t.Context(), &Order{At: now, Who: "ana", What: Reset, Arg: "spam"})
	if err != nil {
		t.Fatal(err)
	}
	open, err := gateway.Orders(t.Context(), now)
	if err != nil || len(open) != 1 || open[0].N != n || open[0].Who != "ana" || open[0].What != Reset || open[0].Arg != "spam" {
		t.Fatalf("%v, %v", open, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := command.Await(ctx, n); !errors.Is(err, context.Canceled) {
		t.Errorf("an answer that nobody gave: %v", err)
	}
	if err := gateway.Answer(t.Context(), n, now, errors.New("no")); err != nil {
		t.Fatal(err)
	}
	if o, err := command.Await(t.Context(), n); err != nil || !o.Done || o.Problem != "no" {
		t.Errorf("%+v, %v", o, err)
	}
	if open, err := gateway.Orders(t.Context(), now); err != nil || len(open) != 0 {
		t.Errorf("answered: %v, %v", open, err)
	}
}

func TestBreakerStates(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, want := range []map[string]json.RawMessage{{"a": json.RawMessage(`{"x":1}`), "b": json.RawMessage(`2`)}, {"b": json.RawMessage(`3`)}} {
		if err := s.SaveBreakers(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Breakers(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %v", got, err)
		}
	}
}
