package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"postern/gateway"
	"postern/web"
)

// serveCmd runs the gateway until a signal.
type serveCmd struct {
	settings
	Listen []string `help:"Address to take mail on, such as :25 (repeatable)." placeholder:"ADDRESS" sep:"none"`
	Force  bool     `name:"force-rules" help:"Take rules though the tests beside them fail, at start and at each reload; the log says so."`
	Web    *string  `help:"Address of the pages; \"\" for none." placeholder:"ADDRESS"`
	Admin  *string  `help:"Address of health and metrics; \"\" for none." placeholder:"ADDRESS"`
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return "Example:\n  postern serve --domain example.org --upstream 10.0.0.2:25 --listen :25 --data /var/lib/postern\n\n" +
		"SIGHUP takes changed rules and certificates; SIGTERM lets messages under way end, then stops."
}

// Run serves.
func (c *serveCmd) Run(out output) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if len(c.Listen) > 0 {
		cfg.Listen = c.Listen
	}
	if c.Admin != nil {
		cfg.Admin = *c.Admin
	}
	if c.Web != nil {
		cfg.Web.Listen, cfg.webFlag = *c.Web, true
	}
	cfg.forceRules = c.Force
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("the configuration does not hold:\n%w", err)
	}
	log, flush := servingLog(cfg, out.err)
	defer flush()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryBase + cfg.Limits.over(gateway.DefaultLimits()).Memory)
	}
	if doubt := cfg.doubtfulName(); doubt != "" {
		log.Warn(doubt)
	}
	if doubt := cfg.doubtfulDigest(); doubt != "" {
		log.Warn(doubt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // who asks twice does not want to wait
	hup := make(chan os.Signal, 1)       // from here on: a reload that comes during the start must not end it
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	opened, err := inherited()
	if err != nil {
		return err
	}
	defer opened.close()
	listeners := opened.take("smtp")
	var doors []gateway.Door
	for _, l := range listeners {
		doors = append(doors, cfg.doorAt(l))
	}
	if len(listeners) == 0 {
		if listeners, err = listen(cfg.Listen); err != nil {
			return err
		}
	}
	defer closeAll(listeners)
	if err := giveUpRoot(cfg.Data, log); err != nil {
		return err
	}
	p, err := build(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	p.sockets, p.doors = opened, doors
	go func() {
		for {
			select {
			case <-hup:
				p.reload()
			case <-ctx.Done():
				return
			}
		}
	}()
	return p.serve(ctx, listeners)
}

// gcPercent lets the heap grow further than Go's 100 between two collections: what is live is
// small, since bodies lie in pooled blocks within limits.memory, and what messages leave behind
// is collected the cheaper the more of it there is at once.
const gcPercent = 300

// memoryBase is what the process may take besides limits.memory before it collects more often
// than that (S-36): hostile mail has facts of a megabyte.
const memoryBase = 256 << 20

func newLog(cfg *Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // validated
	o := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// serve takes mail on the listeners until ctx ends; then messages under way may end.
func (p *program) serve(ctx context.Context, listeners []net.Listener) error {
	if err := p.sweep(ctx, 0); err != nil {
		return err
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	admin, err := p.startAdmin()
	if err != nil {
		return err
	}
	defer admin.close()
	pages, err := p.startWeb(ctx, web.New(p.webConfig()))
	if err != nil {
		return err
	}
	defer pages.close()
	if pages != nil {
		p.offerSetUp(ctx)
	}
	wg.Go(func() { p.probe(ctx) })
	wg.Go(func() { p.housekeeping(ctx) })
	wg.Go(func() { p.sketching(ctx) })
	wg.Go(func() { p.watchStore(ctx) })
	wg.Go(func() { p.watch(ctx) })
	wg.Go(func() { p.desk.Run(ctx) })
	wg.Go(func() { p.tally.Run(ctx, p.journal) })
	wg.Go(func() { p.digests.Run(ctx) })
	for _, c := range []*certificates{p.certs, p.webCerts} {
		if c != nil {
			wg.Go(func() { c.watch(ctx, certificateStep, p.log) })
		}
	}
	if p.certs != nil && p.certs.acme != nil {
		wg.Go(func() { p.certs.acme.run(ctx) })
	}
	errs := make([]error, len(listeners))
	for i, l := range listeners {
		p.log.Info("taking mail", "listen", l.Addr().String(), "domains", p.cfg.Domains, "upstream", p.cfg.Upstream.Servers, "version", version())
		wg.Go(func() {
			if errs[i] = p.gateway.ServeDoor(ctx, l, p.door(i)); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	p.log.Info("stopped")
	return errors.Join(errs...)
}

// certificateStep is how often the files of certificates are looked at.
const certificateStep = 30 * time.Second

// door is what is special about the nth listener.
func (p *program) door(n int) gateway.Door {
	if n < len(p.doors) {
		return p.doors[n]
	}
	if n < len(p.cfg.Listen) {
		return p.cfg.TLS.door(p.cfg.Listen[n])
	}
	return gateway.Door{}
}

// sweep puts right what a crash left, before mail is taken; later also what a full disk did,
// when a message was answered 250 but could not be made visible.
func (p *program) sweep(ctx context.Context, age time.Duration) error {
	r, err := p.quarantine.Sweep(ctx, age)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if r.Kept.Count > 0 {
		p.log.Warn("messages were left in doubt: they are kept in quarantine, and their senders may have sent them again", "count", r.Kept.Count, "ids", r.Kept.IDs)
	}
	if r.Perhaps.Count > 0 {
		p.log.Warn("a crash interrupted releases: perhaps delivered; postern held list --state releasing", "count", r.Perhaps.Count, "ids", r.Perhaps.IDs)
	}
	if r.Missing.Count > 0 {
		p.log.Error("held messages whose file is gone: damage on disk", "count", r.Missing.Count, "ids", r.Missing.IDs)
	}
	if r.Orphans.Count > 0 {
		p.log.Warn("message files without a row were set aside", "count", r.Orphans.Count, "ids", r.Orphans.IDs)
	}
	return nil
}

// probe asks the internal servers what they offer, at start and every few minutes.
func (p *program) probe(ctx context.Context) {
	for wait := time.Duration(0); ; wait = 5 * time.Minute {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		one, cancel := context.WithTimeout(ctx, time.Minute)
		for _, s := range p.upstream.Probe(one) {
			if s.Err != nil && ctx.Err() == nil {
				p.log.Warn("internal server does not answer: mail is deferred until it does", "address", s.Address, "error", s.Err)
			}
			for _, w := range s.Warnings {
				p.log.Warn("internal server", "address", s.Address, "warning", w)
			}
		}
		cancel()
	}
}

// sweepAge is how old a message must be that nobody makes visible: longer than any transaction.
const sweepAge = time.Hour

// housekeeping sweeps and removes what is past its retention, hourly.
func (p *program) housekeeping(ctx context.Context) {
	for wait := time.Minute; ; wait = time.Hour {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		p.tidy(ctx, time.Now())
	}
}

// watchStore looks every minute whether somebody took the database away.
func (p *program) watchStore(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := p.db.Watch(); err != nil {
			p.log.Error("nothing more is written", "error", err)
		}
	}
}

// sketching lets searches of the journal be quick, behind the messages' back.
func (p *program) sketching(ctx context.Context) {
	for {
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return
		}
		if _, err := p.journal.Sketch(ctx, time.Now()); err != nil && ctx.Err() == nil {
			p.log.Error("drawing sketches of the journal", "error", err)
		}
	}
}

// tidy does that once.
func (p *program) tidy(ctx context.Context, now time.Time) {
	failed := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			p.log.Error(what, "error", err)
		}
	}
	failed("sweeping", p.sweep(ctx, sweepAge))
	_, err := p.quarantine.Expire(ctx, now)
	failed("expiring held mail", err)
	_, err = p.journal.Prune(ctx, now)
	failed("pruning the journal", err)
	_, err = p.lists.Prune(ctx, now)
	failed("pruning the lists", err)
	_, err = p.greys.Prune(ctx, now)
	failed("pruning the greylist", err)
	_, err = p.recall.Prune(ctx, now)
	failed("pruning what second tries are known by", err)
	failed("tidying the desk", p.desk.Tidy(ctx, now))
	failed("the log of acts", p.audit.Settle(ctx, false))
	if u, err := p.quarantine.Usage(ctx); err == nil && u.Max > 0 && u.Bytes > u.Max/10*8 {
		p.log.Warn("the quarantine is nearly full: when it is, mail that has to be held is answered 452", "bytes", u.Bytes, "max", u.Max)
	}
}
