package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"postern/quarantine"
	"postern/store"
)

// data looks at the data folder: damage, and what a crash left. full reads all of it.
func (r *checkReport) data(ctx context.Context, cfg *Config, full bool) {
	if _, err := os.Stat(cfg.Data); err != nil {
		if st, perr := os.Stat(filepath.Dir(cfg.Data)); perr != nil || !st.IsDir() {
			r.fail("data folder %s: neither it nor the folder above is there", cfg.Data)
			return
		}
	}
	if err := store.Orphaned(cfg.Data); err != nil {
		r.fail("%v", err)
		return
	}
	if noStore(cfg.Data) != "" {
		r.ok("data folder %s is filled at the first start", cfg.Data)
		return
	}
	if err := store.AsOwner(cfg.Data); err != nil {
		r.warn("data folder: %v", err)
	}
	s, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		r.fail("%v", err)
		return
	}
	defer s.close()
	look := s.db.Check
	if full {
		look = s.db.CheckAll
	}
	if err := look(ctx); err != nil {
		r.fail("database: %v: restore a backup, or recover what can be read (docs/operate.md, \"Damage\")", err)
		return
	}
	rep, err := s.quarantine.Check(ctx)
	if err != nil {
		r.fail("quarantine: %v", err)
		return
	}
	u, err := s.quarantine.Usage(ctx)
	if err != nil {
		r.fail("quarantine: %v", err)
		return
	}
	r.ok("data folder %s: %d held messages, %d MiB of %d", cfg.Data, u.Items, u.Bytes>>20, u.Max>>20)
	for _, f := range []struct {
		what  string
		found quarantine.Found
	}{
		{"files without a row: set aside at the next start", rep.Orphans},
		{"releases that a crash interrupted, perhaps delivered: postern held list --state releasing", rep.Perhaps},
	} {
		if f.found.Count > 0 {
			r.warn("%d %s: %s", f.found.Count, f.what, firstIDs(f.found))
		}
	}
	if rep.Missing.Count > 0 {
		r.fail("%d rows whose message file is gone: damage on disk, restore it from a backup: %s", rep.Missing.Count, firstIDs(rep.Missing))
	}
	if full {
		r.messages(ctx, s.quarantine)
	}
}

// messages reads every held message.
func (r *checkReport) messages(ctx context.Context, q *quarantine.Store) {
	n, damaged, err := q.VerifyAll(ctx)
	switch {
	case err != nil:
		r.fail("held messages: %v", err)
	case damaged.Count > 0:
		r.fail("%d held messages are not what was received: damage on disk, restore their files from a backup: %s", damaged.Count, firstIDs(damaged))
	default:
		r.ok("%d held messages read, each is what was received", n)
	}
}

func firstIDs(f quarantine.Found) string { return strings.Join(f.IDs[:min(len(f.IDs), 5)], " ") }
