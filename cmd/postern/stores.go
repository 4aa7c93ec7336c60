package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"postern/audit"
	"postern/greylist"
	"postern/journal"
	"postern/lists"
	"postern/people"
	"postern/policies"
	"postern/quarantine"
	"postern/recall"
	"postern/store"
	"postern/tally"
)

// stores is what stands in the data folder.
type stores struct {
	db         *store.DB
	quarantine *quarantine.Store
	journal    *journal.Store
	policies   *policies.Store
	lists      *lists.Store
	greys      *greylist.Store
	recall     *recall.Store
	audit      *audit.Log
	people     *people.Store
	tally      *tally.Tally // the daemon's; nil for commands
}

// openStores opens database, quarantine and journal; exclusive is for the one daemon of a data
// folder. Close them.
func openStores(ctx context.Context, cfg *Config, log *slog.Logger, exclusive bool) (*stores, error) {
	s := &stores{}
	var err error
	if s.db, err = store.Open(ctx, cfg.Data, store.Options{Exclusive: exclusive}); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (the user that runs the gateway has to own it)", err)
		}
		return nil, fmt.Errorf("data folder %s: %w", cfg.Data, err)
	}
	if s.quarantine, err = quarantine.Open(ctx, quarantine.Options{DB: s.db, Retention: time.Duration(cfg.Quarantine.Keep), MaxBytes: int64(cfg.Quarantine.MaxSize), Log: log}); err != nil {
		return nil, errors.Join(fmt.Errorf("quarantine: %w", err), s.close())
	}
	jo := journal.Options{DB: s.db, Retention: time.Duration(cfg.Journal.Keep), Log: log, Told: journal.LogSink(log)}
	if exclusive {
		if s.tally, err = tally.Open(ctx, tally.Options{DB: s.db, Keep: time.Duration(cfg.Journal.Keep), Log: log}); err != nil {
			return nil, errors.Join(err, s.close())
		}
		jo.Written = s.tally.Count
	}
	if s.journal, err = journal.Open(ctx, jo); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), s.close())
	}
	if s.policies, err = policies.Open(ctx, s.db); err != nil {
		return nil, errors.Join(fmt.Errorf("rules: %w", err), s.close())
	}
	if s.lists, err = lists.Open(ctx, lists.Options{DB: s.db, Log: log}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.greys, err = greylist.Open(ctx, greylist.Options{DB: s.db, Delay: time.Duration(cfg.Greylist.Delay), Keep: time.Duration(cfg.Greylist.Keep)}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.recall, err = recall.Open(ctx, s.db); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.audit, err = audit.Open(ctx, audit.Options{DB: s.db, Log: log}); err != nil {
		return nil, errors.Join(fmt.Errorf("log of acts: %w", err), s.close())
	}
	if s.people, err = openPeople(ctx, cfg, s, log, nil); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close closes what is open, in the order that loses nothing.
func (s *stores) close() error {
	var errs []error
	if s.audit != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, s.audit.Settle(ctx, true))
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.tally != nil { // behind the journal, of which it counts the last entries too
		errs = append(errs, s.tally.Close())
	}
	if s.quarantine != nil {
		errs = append(errs, s.quarantine.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// storeFlags say where the store is.
type storeFlags struct {
	Config string `short:"c" help:"Configuration file (default: ${default_file} when it exists)." placeholder:"FILE" type:"path"`
	Data   string `help:"Data folder of the gateway (default: what the configuration says)." placeholder:"DIR"`
}

// An archive is the data folder of a gateway as a command sees it.
type archive struct {
	*stores
	cfg *Config
	by  string // who acts
}

// open opens the data folder as its owner. Close the archive.
func (f *storeFlags) open(ctx context.Context) (*archive, error) {
	s := settings{Config: f.Config, Data: f.Data}
	cfg, err := s.read()
	if err != nil {
		return nil, err
	}
	if why := noStore(cfg.Data); why != "" {
		return nil, fmt.Errorf("data folder %s: %s: name the gateway's with -c FILE or --data DIR", cfg.Data, why)
	}
	a := &archive{cfg: cfg, by: whoami()} // before we become somebody else
	if err := store.AsOwner(cfg.Data); err != nil {
		return nil, err
	}
	a.stores, err = openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	return a, err
}

// noStore says why no gateway has its data in dir; "" when one has.
func noStore(dir string) string {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "it is not there"
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, store.File))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no gateway has run on it"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "this user may not read it (use sudo)"
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// whoami is who acts: the user behind sudo, else the user.
func whoami() string {
	if s := os.Getenv("SUDO_USER"); s != "" {
		return s
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
