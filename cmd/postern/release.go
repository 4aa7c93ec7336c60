package main

import (
	"context"
	"fmt"
	"log/slog"

	"postern/review"
)

type heldReleaseCmd struct {
	IDs []string `arg:"" name:"id" help:"As held list shows them."`
	storeFlags
	remoteFlags
	Upstream []string `help:"Internal server, HOST:PORT." placeholder:"HOST:PORT" sep:"none"`
	Domain   []string `help:"Domain that mail is taken for." placeholder:"DOMAIN" sep:"none"`
	To       []string `help:"Only these recipients; an address it was not sent to gets a further copy (repeatable)." sep:"none" placeholder:"ADDRESS"`
	Again    bool     `help:"Also what was perhaps delivered before: the recipient may get it twice."`
	Danger   bool     `help:"Also what the virus scanner objects to; the copy is marked in its header. Say why with --reason."`
	Reason   string   `help:"Why, for the log of acts." placeholder:"TEXT"`
	JSON     bool     `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (heldReleaseCmd) Help() string {
	return "Example:\n  postern held release 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run releases.
func (c *heldReleaseCmd) Run(out output) error {
	to, err := addresses(c.To)
	if err != nil {
		return err
	}
	act := review.Act{Do: review.Release, To: to, Again: c.Again, Danger: c.Danger, Reason: c.Reason}
	if r, err := c.remote(); err != nil || r != nil {
		if err != nil {
			return err
		}
		return each(out, c.JSON, c.IDs, act, r.act)
	}
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
	for _, a := range to {
		if !gcfg.Domains.Contains(a.Domain) {
			return &usageError{fmt.Sprintf("%s is in none of the domains that mail is taken for", a)}
		}
	}
	desk, err := openDesk(ctx, cfg, a.stores, upstream, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return each(out, c.JSON, c.IDs, act, func(act review.Act) (string, error) { return doAs(ctx, desk, a.who(), act) })
}
