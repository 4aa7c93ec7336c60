package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"postern/gateway"
	"postern/mail"
	"postern/quarantine"
)

type heldReleaseCmd struct {
	IDs []string `arg:"" name:"id" help:"As held list shows them."`
	storeFlags
	Upstream []string `help:"Internal server, HOST:PORT." placeholder:"HOST:PORT" sep:"none"`
	Domain   []string `help:"Domain that mail is taken for." placeholder:"DOMAIN" sep:"none"`
	To       []string `help:"Only these recipients; an address it was not sent to gets a further copy (repeatable)." sep:"none" placeholder:"ADDRESS"`
	Again    bool     `help:"Also what was perhaps delivered before: the recipient may get it twice."`
	JSON     bool     `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (heldReleaseCmd) Help() string {
	return "Example:\n  postern held release 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run releases.
func (c *heldReleaseCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	cfg := a.cfg
	if len(c.Upstream) > 0 {
		cfg.Upstream.Servers = c.Upstream
	}
	if len(c.Domain) > 0 {
		cfg.Domains = c.Domain
	}
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("to release mail the configuration is needed (-c FILE, or --upstream and --domain):\n%w", err)
	}
	upstream, err := internalServers(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer upstream.Close()
	upstream.Probe(ctx) // what it offers decides how the message is sent
	gcfg, err := gatewayConfig(cfg, nil)
	if err != nil {
		return err
	}
	to, err := addresses(c.To)
	if err != nil {
		return err
	}
	for _, a := range to {
		if !gcfg.Domains.Contains(a.Domain) {
			return &usageError{fmt.Sprintf("%s is in none of the domains that mail is taken for", a)}
		}
	}
	r := releaser{quarantine: a.quarantine, gateway: gcfg, sender: &gateway.Releaser{Upstream: upstream}, by: a.by, again: c.Again}
	failed := false
	for _, id := range c.IDs {
		said, err := r.release(ctx, id, to)
		failed = report(out, c.JSON, id, said, notFound(id, err)) || failed
	}
	if failed {
		return errQuiet
	}
	return nil
}

// A releaser takes held messages from kept over releasing to released.
type releaser struct {
	quarantine *quarantine.Store
	gateway    gateway.Config
	sender     *gateway.Releaser
	by         string
	again      bool
}

// release sends one message; what it says is for people. Releasing what was released already
// is no error and sends nothing.
func (r *releaser) release(ctx context.Context, id string, to []mail.Address) (string, error) {
	it, err := r.quarantine.Get(ctx, id)
	if err != nil {
		return "", err
	}
	var own []mail.Address  // of its recipients
	var extra []mail.RcptTo // further copies
	for _, a := range to {
		if slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return c.Recipient.Address == a }) {
			own = append(own, a)
		} else {
			extra = append(extra, mail.RcptTo{Address: a})
		}
	}
	body, err := r.content(ctx, id) // whole and undamaged, before anything is claimed
	if err != nil {
		if it.State == quarantine.Released || it.State == quarantine.Deleted {
			return "was " + string(it.State) + " already", nil
		}
		return "", err
	}
	defer body.Close()
	open := func() (gateway.Source, int64, error) {
		return gateway.Restamp(r.gateway, it, body.Open(), time.Now())
	}
	var said []string
	var errs []error
	if len(extra) > 0 {
		for _, f := range r.sender.Release(ctx, it, extra, open) {
			said, errs = tell(f, said, errs)
		}
	}
	if len(own) > 0 || len(to) == 0 {
		fates, err := r.claimed(ctx, it, own, open)
		if err != nil {
			return "", err
		}
		if fates == nil {
			said = append(said, "was released already")
		}
		for _, f := range fates {
			said, errs = tell(f, said, errs)
		}
	}
	return strings.Join(said, "; "), errors.Join(errs...)
}

// claimed claims the copies, sends them and notes what became of each. nil fates: there was
// nothing left to release.
func (r *releaser) claimed(ctx context.Context, it *quarantine.Item, to []mail.Address, open gateway.Opener) ([]gateway.Fate, error) {
	copies, err := r.quarantine.StartRelease(ctx, it.ID, r.by, to...)
	var state *quarantine.StateError
	if errors.As(err, &state) {
		switch {
		case state.State == quarantine.Released:
			return nil, nil
		case state.State == quarantine.Releasing && r.again:
			if err := r.quarantine.FinishRelease(ctx, it.ID, false, "perhaps delivered before; sent again", to...); err != nil {
				return nil, err
			}
			copies, err = r.quarantine.StartRelease(ctx, it.ID, r.by, to...)
		case state.State == quarantine.Releasing:
			return nil, errors.New("it is being released, or a crash interrupted that: perhaps delivered. Ask the recipient; --again sends it again")
		}
	}
	if err != nil {
		return nil, err
	}
	rcpts := make([]mail.RcptTo, len(copies))
	for i, c := range copies {
		rcpts[i] = c.Recipient
	}
	fates := r.sender.Release(ctx, it, rcpts, open)
	for _, f := range fates {
		if f.Fate == gateway.FateUnknown {
			continue // stays releasing: perhaps delivered
		}
		note := "the internal server could not be asked"
		if f.Reply != nil {
			note = "the internal server said: " + f.Reply.String()
		} else if f.Err != nil {
			note += ": " + f.Err.Error()
		}
		if err := r.quarantine.FinishRelease(ctx, it.ID, f.Fate == gateway.FateDelivered, note, f.Recipient.Address); err != nil {
			return fates, fmt.Errorf("%s was sent to %s, but that could not be noted: %w", it.ID, f.Recipient.Address, err)
		}
	}
	return fates, nil
}

// tell puts a fate into words.
func tell(f gateway.Fate, said []string, errs []error) ([]string, []error) {
	to := f.Recipient.Address.String()
	switch f.Fate {
	case gateway.FateDelivered:
		return append(said, "released to "+to), errs
	case gateway.FateRefused:
		return said, append(errs, fmt.Errorf("the internal server refused %s: %s", to, f.Reply))
	case gateway.FateUnknown:
		return said, append(errs, fmt.Errorf("sent to %s, but the internal server's answer is lost (%v): perhaps delivered", to, f.Err))
	}
	return said, append(errs, fmt.Errorf("not sent to %s: %w", to, f.Err))
}

// content reads the held message whole, which also proves it undamaged.
func (r *releaser) content(ctx context.Context, id string) (*mail.Body, error) {
	c, err := r.quarantine.Content(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	body := mail.NewSpool(r.gateway.SpoolDir, 0, 0).New()
	if _, err := io.Copy(body, c); err != nil {
		body.Close()
		return nil, err
	}
	body.Finish(nil)
	return body, nil
}
