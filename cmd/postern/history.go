package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"postern/policies"
)

// rulesHistoryCmd lists the versions of the rules.
type rulesHistoryCmd struct {
	storeFlags
	Limit int   `help:"How many." default:"20"`
	JSON  bool  `name:"json" help:"As JSON, one object a line; with the files of a version that is named."`
	N     int64 `arg:"" optional:"" name:"n" help:"Show the files of this version."`
}

// Help is shown by --help.
func (rulesHistoryCmd) Help() string {
	return "Example:\n  postern rules history\n  postern rules history 7\n\nThe files are the truth; the history remembers each set that was in force."
}

// A shownVersion is a version with its files as text.
type shownVersion struct {
	*policies.Version
	Files map[string]string `json:"files,omitempty"`
}

// Run lists.
func (c *rulesHistoryCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	if c.N > 0 {
		return c.show(ctx, out, a.policies)
	}
	list, err := a.policies.Versions(ctx, max(c.Limit, 1))
	if err != nil {
		return err
	}
	if c.JSON {
		for _, v := range list {
			if err := printObject(out.out, shownVersion{Version: v}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(out.out, "No rule files have been in force yet.")
		return nil
	}
	w := tabwriter.NewWriter(out.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "N\tWHEN\tHOW\tWHO\tRULES\tNOTE")
	for _, v := range list {
		how := v.How
		if v.Forced {
			how += " (forced)"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", v.N, v.At.Format("2006-01-02 15:04:05"), how, clip(v.Who, 40), v.Rules, clip(v.Note, 120))
	}
	return w.Flush()
}

// show prints the files of one version.
func (c *rulesHistoryCmd) show(ctx context.Context, out output, h *policies.Store) error {
	v, err := h.Version(ctx, c.N)
	if err != nil {
		return fmt.Errorf("%w (postern rules history lists them)", err)
	}
	if c.JSON {
		shown := shownVersion{v, map[string]string{}}
		for name, text := range v.Files {
			shown.Files[name] = string(text)
		}
		return printObject(out.out, shown)
	}
	for _, name := range policies.Of("", v.Files).Names() {
		fmt.Fprintf(out.out, "# %s\n%s\n", name, v.Files[name])
	}
	return nil
}
