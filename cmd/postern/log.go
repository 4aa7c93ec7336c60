package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"postern/journal"
	"postern/rules"
)

// logCmd reads the journal.
type logCmd struct {
	Search logSearchCmd `cmd:"" help:"Transactions, newest first."`
	Show   logShowCmd   `cmd:"" help:"What became of one message, and why."`
}

type logSearchCmd struct {
	storeFlags
	Sender    string   `help:"Address, @domain, or a part of it; <> is the null sender."`
	Recipient string   `help:"The same."`
	Subject   string   `help:"A part of it."`
	Text      string   `help:"Words in subject, From, sender, recipient or reason."`
	ID        string   `name:"id" help:"Ours, or that of a held message."`
	MessageID string   `name:"message-id" help:"The Message-ID field."`
	Result    string   `help:"delivered, held, mixed, refused, deferred, discarded or abandoned." enum:",delivered,held,mixed,refused,deferred,discarded,abandoned" default:"" placeholder:"RESULT"`
	Rule      string   `help:"The rule that decided."`
	Class     string   `help:"Its class." enum:",virus,spoof,malformed,attachment,spam,policy,undelivered" default:"" placeholder:"CLASS"`
	Client    string   `help:"IP address."`
	Reply     string   `help:"A part of what was said to the client or by the internal server."`
	Since     Duration `help:"Not older than this, such as 12h or 7d." default:"0s"`
	Limit     int      `help:"At most so many." default:"50"`
	Cursor    string   `help:"Where the page before ended."`
	JSON      bool     `name:"json" help:"One JSON object a transaction."`
}

// Help is shown by --help.
func (logSearchCmd) Help() string {
	return "Example:\n  postern log search --recipient ana@example.org --since 2d"
}

// logEntry is an entry with the reply, which Entry keeps apart.
type logEntry struct {
	*journal.Entry
	Answer tryReply `json:"reply"`
}

func entryOf(e *journal.Entry) logEntry {
	return logEntry{e, replyOf(&e.Reply)}
}

// Run searches.
func (c *logSearchCmd) Run(out output) error {
	ctx := context.Background()
	_, _, j, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	q := journal.Query{ID: c.ID, MessageID: c.MessageID, Sender: c.Sender, Recipient: c.Recipient, Subject: c.Subject, Text: c.Text,
		Result: c.Result, Rule: c.Rule, Class: c.Class, Client: c.Client, Reply: c.Reply, Limit: c.Limit, Cursor: c.Cursor}
	if c.Since > 0 {
		q.Since = time.Now().Add(-time.Duration(c.Since))
	}
	entries, next, err := j.Search(ctx, q)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(out.out)
		for _, e := range entries {
			if err := enc.Encode(entryOf(e)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(entries) == 0 {
		fmt.Fprintln(out.out, "The journal has nothing that fits.")
		return nil
	}
	w := tabwriter.NewWriter(out.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tRECEIVED\tRESULT\tENVELOPE FROM\tTO\tSUBJECT\tREPLY")
	for _, e := range entries {
		var to []string
		for _, o := range e.Outcomes {
			to = append(to, o.Recipient.String())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t<%s>\t%s\t%s\t%s\n", e.ID, e.Received.Local().Format("Jan 02 15:04:05"), e.Result, clip(e.Envelope.Sender.String(), 40),
			clip(strings.Join(to, ", "), 40), clip(e.Subject, 40), clip(e.Reply.String(), 80))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if next != "" {
		fmt.Fprintf(out.out, "more: --cursor %s\n", next)
	}
	return nil
}

type logShowCmd struct {
	ID string `arg:""`
	storeFlags
	JSON bool `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (logShowCmd) Help() string {
	return "Example:\n  postern log show 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run shows one.
func (c *logShowCmd) Run(out output) error {
	ctx := context.Background()
	_, _, j, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	e, err := j.Get(ctx, c.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return fmt.Errorf("the journal has no entry %s: postern log search shows what there is", c.ID)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out.out).Encode(entryOf(e))
	}
	printEntry(out.out, e)
	return nil
}

// printEntry tells a transaction to a person: what came, what became of each copy, why, when.
func printEntry(w io.Writer, e *journal.Entry) {
	c := e.Envelope.Client
	fmt.Fprintf(w, "%s  %s  in %s\n", e.ID, e.Result, e.Took.Round(time.Millisecond/10))
	fmt.Fprintf(w, "from     %s\nenvelope <%s>\nclient   %s (%s)", clip(e.From, 200), e.Envelope.Sender, c.Addr, clip(c.Helo, 100))
	if c.TLS != "" {
		fmt.Fprintf(w, ", %s", c.TLS)
	}
	fmt.Fprintf(w, "\nsubject  %s\nreceived %s, %d bytes, policy %s\nanswer   %s\n", clip(e.Subject, 200), e.Received.Local().Format(time.DateTime), e.Size, e.Policy, e.Reply.String())
	for _, o := range e.Outcomes {
		fmt.Fprintf(w, "\nto %s: %s", o.Recipient, o.Do)
		if o.Verdict != "" && o.Verdict != o.Do {
			fmt.Fprintf(w, " (the rules said %s)", o.Verdict)
		}
		if o.Rule != "" {
			fmt.Fprintf(w, ", rule %s", o.Rule)
		}
		if o.Because != "" {
			fmt.Fprintf(w, ": %s", clip(o.Because, 400))
		}
		fmt.Fprintln(w)
		for label, text := range map[string]string{"answer": o.Reply, "internal server": o.Upstream, "held as": o.Held} {
			if text != "" {
				fmt.Fprintf(w, "  %s: %s\n", label, clip(text, 400))
			}
		}
		var steps []rules.Step
		if len(o.Rules) > 0 && json.Unmarshal(o.Rules, &steps) == nil {
			printSteps(w, "  ", steps)
		}
	}
	if len(e.Steps) > 0 {
		fmt.Fprintln(w, "\ntimeline")
		for _, s := range e.Steps {
			fmt.Fprintf(w, "  %8s  %s %s\n", s.At.Round(time.Millisecond/10), s.What, clip(s.Why, 300))
		}
	}
	if len(e.Filters) > 0 {
		fmt.Fprintln(w, "\nfilters")
		for _, f := range e.Filters {
			fmt.Fprintf(w, "  %-10s %-10s %8s  %s\n", f.Name, f.State, f.Took.Round(time.Millisecond/100), clip(f.Error, 300))
		}
	}
	names := make([]string, 0, len(e.Facts))
	for name := range e.Facts {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) > 0 {
		fmt.Fprintln(w, "\nfacts")
		for _, name := range names {
			fmt.Fprintf(w, "  %s: %s\n", name, e.Facts[name])
		}
	}
}
