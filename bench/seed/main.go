// Command seed fills an empty data folder with held mail and journal entries, to see how lists
// and searches do when there is much: a million and five million take some ten minutes.
//
//	go run ./bench/seed -data DIR -items 1000000 -entries 5000000
//	go run ./bench/seed -data DIR -measure 7
//
// Each held item has its journal entry, under its id. Only the newest items (-files) have their
// message; the others are listed, searched and counted as all are, but cannot be read or released,
// and `postern check` calls them damaged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/store"
)

type options struct {
	data           string
	items, entries int
	files          int
	seed           uint64
	measure        int
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", "", "data folder to fill; it must be empty or missing")
	flag.IntVar(&o.items, "items", 1_000_000, "held items, of the last 30 days")
	flag.IntVar(&o.entries, "entries", 5_000_000, "journal entries, of the last 90 days; those of the items are among them")
	flag.IntVar(&o.files, "files", 1000, "how many of the newest items have their message")
	flag.Uint64Var(&o.seed, "seed", 1, "of the dice")
	flag.IntVar(&o.measure, "measure", 0, "fill nothing: ask what people ask of lists so many times each, and print how long that takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.data == "" || o.items < 0 || o.entries < o.items {
		fmt.Fprintln(os.Stderr, "seed: -data DIR is needed, and as many entries as items at least")
		os.Exit(2)
	}
	do := func() error { return run(ctx, &o) }
	if o.measure > 0 {
		do = func() error { return measure(ctx, o.data, o.measure) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) (err error) {
	if list, err := os.ReadDir(o.data); err == nil && len(list) > 0 {
		return fmt.Errorf("%s is not empty", o.data)
	}
	db, err := store.Open(ctx, o.data, store.Options{Exclusive: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	folder, err := newFolder(filepath.Join(o.data, store.Messages))
	if err != nil {
		return err
	}
	q, err := quarantine.Open(ctx, quarantine.Options{DB: db, FS: folder, MinFree: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	j, err := journal.Open(ctx, journal.Options{DB: db})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	s := &seeding{o: o, db: db, q: q, j: j, folder: folder, mails: newMails(o.seed), began: time.Now(), hold: make(chan *quarantine.Item, 512)}
	indexes, err := s.dropIndexes(ctx)
	if err == nil {
		err = s.fill(ctx)
	}
	if err == nil {
		err = s.makeIndexes(ctx, indexes)
	}
	if err == nil {
		err = s.report(ctx)
	}
	return err
}

type seeding struct {
	o      *options
	db     *store.DB
	q      *quarantine.Store
	j      *journal.Store
	folder *folder
	mails  *mails
	began  time.Time
	hold   chan *quarantine.Item

	mu     sync.Mutex
	failed error
}

// dropIndexes drops the indexes that would be filled in random order, and says how to make them:
// made at the end, they are sorted once.
func (s *seeding) dropIndexes(ctx context.Context) (statements []string, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('sought', 'entries')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return nil, err
		}
		names, statements = append(names, name), append(statements, statement)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	return statements, s.db.Write(ctx, func(tx *store.Tx) error {
		for _, name := range names {
			if _, err := tx.Exec("DROP INDEX " + name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *seeding) makeIndexes(ctx context.Context, statements []string) error {
	fmt.Printf("%v: filled\n", time.Since(s.began).Round(time.Second))
	for _, statement := range statements {
		err := s.db.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(statement)
			return err
		})
		if err != nil {
			return err
		}
	}
	fmt.Printf("%v: indexes made\n", time.Since(s.began).Round(time.Second))
	return nil
}

const holders = 256 // that share a commit

// fill goes through time: an entry each step, and now and then a held item with its entry.
func (s *seeding) fill(ctx context.Context) error {
	var wg sync.WaitGroup
	for range holders {
		wg.Go(func() { s.holdAll(ctx) })
	}
	err := s.walk(ctx)
	close(s.hold)
	wg.Wait()
	return errors.Join(err, s.failed)
}

func (s *seeding) walk(ctx context.Context) error {
	now := s.began.UTC().Truncate(time.Second)
	others := s.o.entries - s.o.items
	first := now.Add(-89 * 24 * time.Hour)
	held := now.Add(-29 * 24 * time.Hour)
	step, heldStep := spread(now.Sub(first), others), spread(now.Sub(held), s.o.items)
	for i, k := 0, 0; i < others || k < s.o.items; {
		at, heldAt := first.Add(time.Duration(i)*step), held.Add(time.Duration(k)*heldStep)
		m := s.mails.next(at)
		if k < s.o.items && (i >= others || heldAt.Before(at)) {
			m = s.mails.nextHeld(heldAt)
			s.folder.keep(m.id, k >= s.o.items-s.o.files)
			select {
			case s.hold <- m.item():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			k++
		} else {
			i++
		}
		if err := s.j.Record(ctx, m.entry()); err != nil {
			return err
		}
		if n := i + k; n%200_000 == 0 {
			fmt.Printf("%v: %d entries, %d items\n", time.Since(s.began).Round(time.Second), n, k)
		}
	}
	return s.j.Flush(ctx)
}

func spread(span time.Duration, n int) time.Duration { return span / time.Duration(max(n, 1)) }

func (s *seeding) holdAll(ctx context.Context) {
	for it := range s.hold {
		err := s.q.Hold(ctx, it, strings.NewReader(message(it)))
		if err == nil {
			err = s.past(ctx, it)
		}
		if err != nil {
			s.mu.Lock()
			s.failed = errors.Join(s.failed, err)
			s.mu.Unlock()
			return
		}
	}
}

// past gives some items a past: one of a hundred was released, or deleted.
func (s *seeding) past(ctx context.Context, it *quarantine.Item) error {
	switch it.ID[24:] { // two random letters of 32
	case "AA", "BB", "CC", "DD", "EE", "FF", "GG", "HH", "JJ", "KK":
		if _, err := s.q.StartRelease(ctx, it.ID, "ana"); err != nil {
			return err
		}
		return s.q.FinishRelease(ctx, it.ID, true, "")
	case "77", "88", "99", "XX", "YY", "ZZ":
		return s.q.Delete(ctx, it.ID, "ben")
	}
	return nil
}

// report draws the sketches and tells what was made.
func (s *seeding) report(ctx context.Context) error {
	for {
		n, err := s.j.Sketch(ctx, s.began)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	fmt.Printf("%v: sketches drawn\n", time.Since(s.began).Round(time.Second))
	return filepath.WalkDir(s.o.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Dir(path) != filepath.Clean(s.o.data) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Printf("%-20s %6d MB\n", d.Name(), info.Size()>>20)
		}
		return err
	})
}
