package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"postern/greylist"
)

// greylistCmd shows strangers who wait, also while the gateway runs.
type greylistCmd struct {
	List greylistListCmd `cmd:"" help:"Who waits, the newest first."`
	Pass greylistPassCmd `cmd:"" help:"Let the mail of who waits through, at its next try."`
}

// Help is shown by --help.
func (greylistCmd) Help() string {
	return "Example:\n  postern greylist list\n  postern greylist pass 17\n\n" +
		"Mail waits only where a rule asks for greylist.waiting: docs/operate.md, \"Greylisting\"."
}

type greylistListCmd struct {
	Address string `arg:"" optional:"" help:"Only where this is in the sender, the recipient or the network."`
	storeFlags
	All   bool `help:"Also who came back, or was let through."`
	Limit int  `help:"How many." default:"100"`
	JSON  bool `name:"json" help:"One JSON object a pair."`
}

// Help is shown by --help.
func (greylistListCmd) Help() string {
	return "Example:\n  postern greylist list\n  postern greylist list ana@example.org --all\n\n" +
		"Who is the network of the client, or a domain that SPF proves. # in a sender stands for digits."
}

// Run lists.
func (c *greylistListCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	list, err := a.greys.List(ctx, greylist.Query{Address: c.Address, Passed: c.All, Limit: max(c.Limit, 1)})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, list, func(p *greylist.Pair) *greylist.Pair { return p })
	}
	if len(list) == 0 {
		fmt.Fprintln(out.out, "Nobody waits.")
		return nil
	}
	w := tabwriter.NewWriter(out.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSINCE\tTRIES\tWHO\tFROM\tTO\tSTATE")
	for _, p := range list {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t<%s>\t%s\t%s\n", p.ID, p.First.Local().Format("2006-01-02 15:04:05"), p.Tries, p.Who, clip(p.Sender, 60), clip(p.Recipient, 60), pairState(p))
	}
	return w.Flush()
}

func pairState(p *greylist.Pair) string {
	switch {
	case p.Passed.IsZero():
		return "waits"
	case p.By != "":
		return "let through by " + clip(p.By, 60)
	}
	return "came back after " + p.Passed.Sub(p.First).Round(time.Second).String()
}

type greylistPassCmd struct {
	IDs []string `arg:"" name:"id" help:"As postern greylist list shows them."`
	storeFlags
}

// Help is shown by --help.
func (greylistPassCmd) Help() string {
	return "Example:\n  postern greylist pass 17 18\n\nTheir mail is taken when the sender tries again, and from then on.\n" +
		"Who should never wait is better put on the allow list: postern list add allow ann@partner.example"
}

// Run lets through.
func (c *greylistPassCmd) Run(out output) error {
	ids := make([]int64, len(c.IDs))
	for i, text := range c.IDs {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return &usageError{fmt.Sprintf("%q is no id: postern greylist list shows them", text)}
		}
		ids[i] = n
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	var errs []error
	for _, id := range ids {
		if err := a.greys.Pass(ctx, id, a.by); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(out.out, "%d: its mail is taken at the next try\n", id)
	}
	return errors.Join(errs...)
}
