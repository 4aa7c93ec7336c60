package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"postern/audit"
)

// auditCmd reads the log of acts, also while the gateway runs. Nothing writes to it but acts.
type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"Who did what, newest first."`
	Verify auditVerifyCmd `cmd:"" help:"Whether every line is as it was written."`
}

// Help is shown by --help.
func (auditCmd) Help() string {
	return "Example:\n  postern audit list --since 7d\n  postern audit verify"
}

type auditListCmd struct {
	storeFlags
	Who    string   `help:"Who did it: the login." placeholder:"LOGIN"`
	Act    string   `help:"What was done: release, delete, read, sign-in and so on." placeholder:"ACT"`
	Object string   `help:"With what: the id of a message." placeholder:"ID"`
	Since  Duration `help:"Not older than this, such as 12h or 7d." placeholder:"SPAN"`
	Before int64    `help:"Lines with a smaller number." placeholder:"N"`
	Limit  int      `help:"At most so many (default: 50)." placeholder:"N"`
	JSON   bool     `name:"json" help:"One JSON object a line."`
}

// Help is shown by --help.
func (auditListCmd) Help() string {
	return "Example:\n  postern audit list --object 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run lists.
func (c *auditListCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	q := audit.Query{Before: c.Before, Who: c.Who, Act: c.Act, Object: c.Object, Limit: c.Limit}
	if c.Since > 0 {
		q.Since = time.Now().Add(-time.Duration(c.Since))
	}
	lines, err := a.audit.List(ctx, q)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, lines, func(l audit.Line) audit.Line { return l })
	}
	if len(lines) == 0 {
		fmt.Fprintln(out.out, "The log of acts has nothing that fits.")
	}
	for i := range lines {
		printAct(out.out, &lines[i])
	}
	return nil
}

// printAct shows an act on one line, and why on a second one.
func printAct(w io.Writer, l *audit.Line) {
	who := l.Who
	if who == "" {
		who = "nobody"
	}
	from := l.By
	if l.From != "" {
		from += " " + l.From
	}
	fmt.Fprintln(w, clip(fmt.Sprintf("%6d  %s  %s (%s): %s %s: %s", l.N, l.At.Local().Format(time.DateTime), who, from, l.Act, l.Object, l.Result), 300))
	for _, s := range []string{l.Reason, l.Note} {
		if s != "" {
			fmt.Fprintln(w, clip("        "+s, 300))
		}
	}
}

type auditVerifyCmd struct {
	storeFlags
	JSON bool `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (auditVerifyCmd) Help() string {
	return "Example:\n  postern audit verify\n\nEach line carries a hash over itself and the line before: one that is changed or taken out is found. " +
		"Keep the hash that is printed somewhere else: a log that is cut off at its end, or written anew, does not lead to it any more."
}

// Run verifies.
func (c *auditVerifyCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	n, head, err := a.audit.Verify(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printObject(out.out, map[string]any{"lines": n, "hash": head})
	}
	fmt.Fprintf(out.out, "%d lines, all as they were written. Hash of the last one: %s\n", n, head)
	return nil
}
