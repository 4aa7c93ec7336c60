package main

import (
	"io"
	"reflect"
	"testing"
	"time"

	"postern/gateway"
	"postern/journal"
	"postern/quarantine"

	"github.com/oklog/ulid/v2"
)

// Retention as configured: what is past it goes, what is not stays.
func TestTidyRemovesWhatIsPastItsRetention(t *testing.T) {
	s := newSite(t, "127.0.0.1:9", "quarantine: {keep: 5d}\njournal: {keep: 9d}\n")
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(t.Context(), cfg, newLog(cfg, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	now := time.Now()
	ids := map[string]string{}
	for name, days := range map[string]int{"old": 10, "middle": 6, "new": 1} {
		received, id := now.Add(-time.Duration(days)*24*time.Hour), ulid.Make().String()
		ids[name] = id
		holdSample(t, p.quarantine, id, received)
		if err := p.journal.RecordDurably(t.Context(), &journal.Entry{ID: id, Received: received, Result: "held"}); err != nil {
			t.Fatal(err)
		}
	}
	p.tidy(t.Context(), now)
	items, _, err := p.quarantine.List(t.Context(), quarantine.Query{State: quarantine.Any})
	if err != nil || len(items) != 1 || items[0].ID != ids["new"] {
		t.Errorf("held: %v, %v", items, err)
	}
	entries, _, err := p.journal.Search(t.Context(), journal.Query{})
	if err != nil || len(entries) != 2 || entries[0].ID != ids["new"] || entries[1].ID != ids["middle"] {
		t.Errorf("journal: %d entries, %v", len(entries), err)
	}
}

// Every limit of the configuration becomes a limit of the gateway.
func TestEveryLimitIsEffective(t *testing.T) {
	plain := gateway.DefaultLimits()
	for i := range reflect.TypeFor[LimitsConf]().NumField() {
		var l LimitsConf
		f := reflect.ValueOf(&l).Elem().Field(i)
		f.SetInt(4711)
		got := l.over(plain)
		if n := changedLimits(got, plain); n != 1 {
			t.Errorf("limits.%s changes %d limits", reflect.TypeFor[LimitsConf]().Field(i).Tag.Get("yaml"), n)
		}
	}
	if got := (LimitsConf{}).over(plain); got != plain {
		t.Errorf("without settings: %+v", got)
	}
}

func changedLimits(a, b gateway.Limits) (n int) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !x.Field(i).Equal(y.Field(i)) {
			n++
		}
	}
	return n
}
