package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/lists"
)

type listRemoveCmd struct {
	Entries []string `arg:"" name:"entry" help:"As list show has them."`
	storeFlags
	For  *string `help:"Only the entry for these: everybody, @example.org or an address (needed where there are several)." placeholder:"WHOM"`
	JSON bool    `name:"json" help:"One JSON object an entry."`
}

// Help is shown by --help.
func (listRemoveCmd) Help() string {
	return "Example:\n  postern list remove spam.example\n  postern list remove ann@partner.example --for @example.org"
}

// Run removes.
func (c *listRemoveCmd) Run(out output) error {
	entries, err := parseEntries(c.Entries)
	if err != nil {
		return err
	}
	var scope *string
	if c.For != nil {
		s, err := lists.ParseScope(*c.For)
		if err != nil {
			return &usageError{"--for " + err.Error()}
		}
		scope = &s
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	failed := false
	for _, e := range entries {
		done, err := removeEntry(ctx, a.lists, e.Value, scope)
		failed = report(out, c.JSON, e.Value, done, err) || failed
	}
	if failed {
		return errQuiet
	}
	return nil
}

// removeEntry removes the one entry of a value, or the one for a scope.
func removeEntry(ctx context.Context, s *lists.Store, value string, scope *string) (string, error) {
	list, err := s.List(ctx, lists.Query{About: value, Scope: scope, Expired: true})
	if err != nil {
		return "", err
	}
	var found []*lists.Entry
	var whom []string
	for _, e := range list {
		if e.Value == value {
			found = append(found, e)
			whom = append(whom, e.ScopeWords())
		}
	}
	switch {
	case len(found) > 1:
		return "", fmt.Errorf("there are entries for %s: say which with --for", strings.Join(whom, ", "))
	case len(found) == 0 && len(list) > 0:
		return "", fmt.Errorf("there is no such entry, but %s is about it", list[0].Value)
	case len(found) == 0:
		return "", errors.New("there is no such entry: postern list show has them all")
	}
	if _, err = s.Remove(ctx, value, found[0].Scope); err != nil {
		return "", err
	}
	return fmt.Sprintf("removed (%s, for %s)", actionOf(found[0]), found[0].ScopeWords()), nil
}

type listShowCmd struct {
	About string `arg:"" optional:"" name:"about" help:"Only entries that mail from this address, domain, network or list would meet."`
	storeFlags
	For     *string `help:"Only entries for these: everybody, @example.org or an address." placeholder:"WHOM"`
	Action  string  `help:"allow or deny." placeholder:"ACTION"`
	Expired bool    `help:"Also what is not in force any more; it is kept for a month."`
	JSON    bool    `name:"json" help:"One JSON object an entry."`
}

// Help is shown by --help.
func (listShowCmd) Help() string {
	return "Example:\n  postern list show\n  postern list show ann@partner.example"
}

// Run shows.
func (c *listShowCmd) Run(out output) error {
	if err := oneOf("--action", c.Action, "allow or deny"); err != nil {
		return err
	}
	q := lists.Query{About: c.About, Expired: c.Expired}
	if c.About != "" {
		if _, err := lists.ParseEntry(c.About); err != nil {
			return &usageError{err.Error()}
		}
	}
	if c.Action != "" {
		allow := c.Action == "allow"
		q.Allow = &allow
	}
	if c.For != nil {
		s, err := lists.ParseScope(*c.For)
		if err != nil {
			return &usageError{"--for " + err.Error()}
		}
		q.Scope = &s
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	entries, err := a.lists.List(ctx, q)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, entries, func(e *lists.Entry) listedEntry { return listedEntry{e, actionOf(e), e.ScopeWords()} })
	}
	if len(entries) == 0 {
		fmt.Fprintln(out.out, "The lists have nothing that fits.")
	}
	for _, e := range entries {
		printListed(out.out, e)
	}
	return nil
}

// printListed shows an entry, who made it, and why.
func printListed(w io.Writer, e *lists.Entry) {
	fmt.Fprintln(w, entryLine(e))
	by := fmt.Sprintf("       by %s, %s", e.By, e.Added.Local().Format("2006-01-02 15:04"))
	if e.Note != "" {
		by += ": " + e.Note
	}
	fmt.Fprintln(w, clip(by, 300))
}
