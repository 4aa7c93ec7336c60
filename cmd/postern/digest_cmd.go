package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/digest"
	"postern/gateway"
	"postern/mail"
)

// digestCmd tries digests out, and says who gets them how often.
type digestCmd struct {
	Show digestShowCmd `cmd:"" help:"Print the digest that somebody would get; sends nothing."`
	Send digestSendCmd `cmd:"" help:"Send somebody a digest now, whatever the interval."`
	Set  digestSetCmd  `cmd:"" help:"How often somebody gets a digest: off, instant, hourly, daily, weekly, or as the site has it."`
}

// Help is shown by --help.
func (digestCmd) Help() string {
	return "Example:\n  postern digest show --to ana@example.org"
}

// digestFlags say whose digest.
type digestFlags struct {
	storeFlags
	To string `required:"" help:"Whose." placeholder:"ADDRESS"`
}

// digestBack is how far a digest looks.
type digestBack struct {
	Back Duration `help:"How far back it looks." default:"1d" placeholder:"SPAN"`
}

// A digestDesk is what a command about digests works on. close it.
type digestDesk struct {
	*digest.Digests
	a        *archive
	to       mail.Address
	upstream *gateway.Servers // nil: nothing is sent
}

func (d *digestDesk) close() {
	if d.upstream != nil {
		d.upstream.Close()
	}
	d.a.close()
}

// openFor opens the data folder and the digests in it.
func (f *digestFlags) openFor(ctx context.Context, sends bool) (_ *digestDesk, err error) {
	d := &digestDesk{}
	if d.to, err = mail.ParseAddress(f.To, true); err != nil {
		return nil, &usageError{fmt.Sprintf("--to %q: %v", f.To, err)}
	}
	if d.a, err = f.open(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if err := d.a.cfg.validate(); err != nil {
		return nil, fmt.Errorf("for digests the configuration is needed (-c FILE):\n%w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	var o digest.Options
	if sends {
		g, err := gatewayConfig(d.a.cfg, nil)
		if err != nil {
			return nil, err
		}
		if d.upstream, err = internalServers(d.a.cfg, quiet); err != nil {
			return nil, err
		}
		d.upstream.Probe(ctx) // what it offers decides how mail is sent
		o.Mailer = newMailer(d.a.cfg, g, d.upstream, quiet)
	}
	if o.Key, err = digestKey(d.a.cfg); err != nil {
		return nil, err
	}
	d.Digests, err = openDigests(ctx, d.a.cfg, d.a.stores, o, quiet)
	return d, err
}

type digestShowCmd struct {
	digestFlags
	digestBack
	HTML bool `name:"html" help:"The HTML part; default: the text."`
	JSON bool `name:"json" help:"Subject, text and HTML as JSON."`
}

// Help is shown by --help.
func (digestShowCmd) Help() string {
	return "Example:\n  postern digest show --to ana@example.org --back 7d\n\n" +
		"What stood in a digest before is left out. The addresses in it work: whoever may send in the person's name releases with them."
}

// Run prints.
func (c *digestShowCmd) Run(out output) error {
	ctx := context.Background()
	d, err := c.openFor(ctx, false)
	if err != nil {
		return err
	}
	defer d.close()
	l, err := d.Show(ctx, d.to, time.Now().Add(-time.Duration(c.Back)))
	if err != nil {
		return fmt.Errorf("digest for %s: %w", d.to, err)
	}
	switch {
	case l == nil && c.JSON:
		return printObject(out.out, struct{}{})
	case l == nil:
		fmt.Fprintln(out.err, "postern: nothing new is held for "+d.to.String()+": no digest would be sent")
	case c.JSON:
		return printObject(out.out, struct {
			To      string `json:"to"`
			Subject string `json:"subject"`
			Text    string `json:"text"`
			HTML    string `json:"html"`
		}{l.To.String(), l.Subject, l.Text, l.HTML})
	case c.HTML:
		fmt.Fprint(out.out, l.HTML)
	default:
		fmt.Fprintf(out.out, "To: %s\nSubject: %s\n\n%s", l.To, l.Subject, l.Text)
	}
	return nil
}

type digestSendCmd struct {
	digestFlags
	digestBack
}

// Help is shown by --help.
func (digestSendCmd) Help() string {
	return "Example:\n  postern digest send --to ana@example.org"
}

// Run sends.
func (c *digestSendCmd) Run(out output) error {
	ctx := context.Background()
	d, err := c.openFor(ctx, true)
	if err != nil {
		return err
	}
	defer d.close()
	n, err := d.Send(ctx, d.to, time.Now().Add(-time.Duration(c.Back)))
	if err != nil {
		return fmt.Errorf("digest for %s: %w", d.to, err)
	}
	if n == 0 {
		fmt.Fprintf(out.out, "Nothing new is held for %s: nothing was sent.\n", d.to)
		return nil
	}
	fmt.Fprintf(out.out, "Sent, about %d held.\n", n)
	return nil
}

type digestSetCmd struct {
	digestFlags
	Interval string `arg:"" help:"off, instant, hourly, daily, weekly; default is as the site has it."`
}

// Help is shown by --help.
func (digestSetCmd) Help() string {
	return "Example:\n  postern digest set --to ana@example.org weekly"
}

// Run sets.
func (c *digestSetCmd) Run(out output) error {
	ctx := context.Background()
	d, err := c.openFor(ctx, false)
	if err != nil {
		return err
	}
	defer d.close()
	e := digest.Every(c.Interval)
	if c.Interval == "default" {
		e = digest.As
	}
	whose, err := d.a.people.Owner(ctx, d.to, d.a.who().From)
	if err != nil {
		return err
	}
	if err := d.SetWish(ctx, d.a.who(), whose, e); errors.Is(err, digest.ErrInterval) {
		return &usageError{fmt.Sprintf("%q: %v", c.Interval, err)}
	} else if err != nil {
		return fmt.Errorf("digest for %s: %w", d.to, err)
	}
	_, holds, err := d.Wish(ctx, whose)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "Digests for %s: %s.\n", d.to, holds)
	return nil
}
