package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/rules"
	"postern/search"
	"postern/store"
)

// A look is one thing that people ask of a list.
type look struct {
	name string
	run  func(ctx context.Context) (found string, err error)
}

// measure asks each look some times and prints the median of the time by the clock, and of the CPU
// time of the process, which a busy machine disturbs less.
func measure(ctx context.Context, dir string, rounds int) (err error) {
	db, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	folder, err := newFolder(dir + "/" + store.Messages)
	if err != nil {
		return err
	}
	q, err := quarantine.Open(ctx, quarantine.Options{DB: db, FS: folder})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	j, err := journal.Open(ctx, journal.Options{DB: db})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	for _, table := range []struct {
		name  string
		looks []look
	}{{"held mail", heldLooks(q)}, {"journal", journalLooks(j)}} {
		fmt.Printf("\n| %s | found | ms | worst | CPU ms |\n|---|---|---|---|---|\n", table.name)
		for _, l := range table.looks {
			if err := l.measure(ctx, rounds); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	return nil
}

func (l *look) measure(ctx context.Context, rounds int) error {
	var wall, cpu []float64
	found := ""
	for range rounds {
		began, before := time.Now(), cpuTime()
		var err error
		if found, err = l.run(ctx); err != nil {
			return err
		}
		wall, cpu = append(wall, float64(time.Since(began).Microseconds())/1000), append(cpu, float64((cpuTime()-before).Microseconds())/1000)
	}
	slices.Sort(wall)
	slices.Sort(cpu)
	fmt.Printf("| %s | %s | %.1f | %.1f | %.1f |\n", strings.ReplaceAll(l.name, "|", "\\|"), found, wall[len(wall)/2], wall[len(wall)-1], cpu[len(cpu)/2])
	return nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func parse(text string, fields map[string]search.Field) (*search.Condition, error) {
	return rules.ParseSearch(text, fields, time.Now())
}

func heldLooks(s *quarantine.Store) []look {
	page := func(name, where string, q quarantine.Query) look {
		return look{name, func(ctx context.Context) (string, error) {
			var err error
			if q.Where, err = parse(where, quarantine.Fields()); err != nil {
				return "", err
			}
			items, _, err := s.List(ctx, q)
			return fmt.Sprint(len(items)), err
		}}
	}
	counts := func(name, where, by string, q quarantine.Query) look {
		return look{name, func(ctx context.Context) (string, error) {
			var err error
			if q.Where, err = parse(where, quarantine.Fields()); err != nil {
				return "", err
			}
			groups, err := s.Counts(ctx, q, by)
			n := 0
			for _, g := range groups {
				n += g.N
			}
			return fmt.Sprintf("%d in %d", n, len(groups)), err
		}}
	}
	user, operator := []string{"person3@office2.example"}, []string{"@office7.example"}
	deep := fmt.Sprint(time.Now().Add(-27 * 24 * time.Hour).UnixMicro())
	looks := []look{
		page("first page", "", quarantine.Query{}),
		page("page at 27 days", "", quarantine.Query{Cursor: deep}),
		page("first page of a user", "", quarantine.Query{Only: user}),
		page("first page of an operator of one domain", "", quarantine.Query{Only: operator}),
		page("all states", "", quarantine.Query{State: quarantine.Any}),
		page("released", "", quarantine.Query{State: quarantine.Released}),
	}
	for _, where := range []string{`rule == "spoof" and rcpt.domain == "office2.example" and received > ago("2d")`, `class in ["virus", "malformed"]`, `class == "virus" and size > 100 * 1024`,
		`sender.domain endsWith "777.example"`, `client == "198.51.3.9"`, `score > 14.8 and size > 200 * 1024`, `size > 1000 * 1024 * 1024`, `subject contains "invoice 777"`,
		`invoice`, `overdue invoice 4711`, `zzyzx`, `"looks like" emotet`, `in`, `not (class == "spam") and score < 1`, `expires < date("` + time.Now().Add(48*time.Hour).Format(time.DateOnly) + `")`} {
		looks = append(looks, page("`"+where+"`", where, quarantine.Query{}))
	}
	return append(looks,
		page("`invoice`, an operator of one domain", "invoice", quarantine.Query{Only: operator}),
		counts("chips by class", "", "class", quarantine.Query{}),
		counts("chips by class, of an operator", "", "class", quarantine.Query{Only: operator}),
		counts("chips by class, of a user", "", "class", quarantine.Query{Only: user}),
		counts("chips by class, `invoice`", "invoice", "class", quarantine.Query{}),
		counts("chips by class, `overdue invoice 4711`", "overdue invoice 4711", "class", quarantine.Query{}),
		counts("chips by rule", "", "rule", quarantine.Query{}))
}

func journalLooks(s *journal.Store) []look {
	page := func(name, where string, q journal.Query) look {
		return look{name, func(ctx context.Context) (string, error) {
			var err error
			if q.Where, err = parse(where, journal.Fields()); err != nil {
				return "", err
			}
			entries, next, err := s.Search(ctx, q)
			more := ""
			if next != "" && len(entries) < 50 {
				more = ", goes on"
			}
			return fmt.Sprint(len(entries)) + more, err
		}}
	}
	user, operator := []string{"person3@office2.example"}, []string{"@office7.example"}
	deep := fmt.Sprint(time.Now().Add(-85 * 24 * time.Hour).UnixMicro())
	looks := []look{
		page("first page", "", journal.Query{}),
		page("page at 85 days", "", journal.Query{Cursor: deep}),
		page("first page of a user", "", journal.Query{Only: user}),
		page("first page of an operator of one domain", "", journal.Query{Only: operator}),
	}
	for _, where := range []string{`result == "refused"`, `result == "abandoned"`, `rcpt == "person3@office2.example" and result == "refused"`, `sender == "ana.17@shop17.example"`, `sender.domain == "bank777.example"`,
		`rule == "clamav"`, `client == "198.51.3.9" and reply contains "550"`, `reply contains "user unknown" and rcpt.domain == "office7.example"`, `message_id == "<nobody@nowhere.example>"`, `subject contains "invoice 777"`,
		`size > 400 * 1024`, `size > 1000 * 1024 * 1024`, `invoice`, `overdue invoice 4711`, `zzyzx`, `emotet`, `in`} {
		looks = append(looks, page("`"+where+"`", where, journal.Query{}))
	}
	for _, where := range []string{``, `invoice`, `overdue invoice 4711`} {
		looks = append(looks, look{"chips by result, `" + where + "`", func(ctx context.Context) (string, error) {
			c, err := parse(where, journal.Fields())
			if err != nil {
				return "", err
			}
			groups, err := s.Counts(ctx, journal.Query{Where: c}, "result")
			n := 0
			for _, g := range groups {
				n += g.N
			}
			return fmt.Sprintf("%d in %d", n, len(groups)), err
		}})
	}
	return looks
}
