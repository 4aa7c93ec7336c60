package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/journal"
	"postern/rules"
)

// logCmd reads the journal.
type logCmd struct {
	Search logSearchCmd `cmd:"" help:"Transactions, newest first."`
	Show   logShowCmd   `cmd:"" help:"What became of one message, and why."`
}

// Help is shown by --help.
func (logCmd) Help() string {
	return "Example:\n  postern log search --recipient ana@example.org --since 2d\n  postern log show ID"
}

type logSearchCmd struct {
	storeFlags
	remoteFlags
	Sender    string   `help:"Address, @domain, or a part of it; <> is the null sender." placeholder:"TEXT"`
	Recipient string   `help:"The same, also of those refused." placeholder:"TEXT"`
	Subject   string   `help:"A part of it." placeholder:"TEXT"`
	Text      string   `help:"Words in subject, From, sender, recipient or reason." placeholder:"WORDS"`
	ID        string   `name:"id" help:"Ours, or that of a held message." placeholder:"ID"`
	MessageID string   `name:"message-id" help:"The Message-ID field." placeholder:"ID"`
	Result    string   `help:"${results}." placeholder:"RESULT"`
	Rule      string   `help:"The rule that decided." placeholder:"NAME"`
	Class     string   `help:"${classes}." placeholder:"CLASS"`
	Client    string   `help:"IP address." placeholder:"ADDRESS"`
	Reply     string   `help:"A part of what was said to the client or by the internal server." placeholder:"TEXT"`
	Query     string   `help:"A condition over what is stored, in the language of the rules, or words." placeholder:"QUERY"`
	Since     Duration `help:"Not older than this, such as 12h or 7d." placeholder:"SPAN"`
	Limit     int      `help:"At most so many (default: 50)." placeholder:"N"`
	Cursor    string   `help:"Where the page before ended." placeholder:"TEXT"`
	JSON      bool     `name:"json" help:"One JSON object a transaction."`
}

// Help is shown by --help.
func (logSearchCmd) Help() string {
	return "Example:\n  postern log search --recipient ana@example.org --since 2d\n" +
		"  postern log search --query 'result == \"refused\" and reply contains \"550\"'\n\n" + queryHelp(journal.Fields())
}

// logEntry is an entry as JSON has it: with the reply, which Entry keeps apart, and times in
// milliseconds.
type logEntry struct {
	*journal.Entry
	Answer   tryReply                   `json:"reply"`
	Outcomes []logOutcome               `json:"outcomes"`
	Facts    map[string]json.RawMessage `json:"facts,omitempty"` // with those that repeat the envelope
	Filters  []logTiming                `json:"filters,omitempty"`
	Steps    []logStep                  `json:"steps,omitempty"`
	Took     *struct{}                  `json:"took,omitempty"` // hides that of Entry
	TookMS   float64                    `json:"took_ms"`
}

type logOutcome struct {
	journal.Outcome
	Flip []rules.Flip `json:"flip,omitempty"` // single changes that would have led elsewhere; only log show looks for them
}

type logTiming struct {
	Name    string  `json:"name"`
	State   string  `json:"state"`
	BeganMS float64 `json:"began_ms"` // since MAIL
	TookMS  float64 `json:"took_ms"`
	Error   string  `json:"error,omitempty"`
}

type logStep struct {
	AtMS float64 `json:"at_ms"` // since MAIL
	What string  `json:"what"`
	Why  string  `json:"why,omitempty"`
}

func entryOf(e *journal.Entry) logEntry {
	l := logEntry{Entry: e, Answer: replyOf(&e.Reply), TookMS: millis(e.Took), Outcomes: []logOutcome{}, Facts: told(e, nil)}
	for i := range e.Outcomes {
		l.Outcomes = append(l.Outcomes, logOutcome{Outcome: e.Outcomes[i]})
	}
	for _, f := range e.Filters {
		l.Filters = append(l.Filters, logTiming{f.Name, f.State, millis(f.Began), millis(f.Took), f.Error})
	}
	for _, s := range e.Steps {
		l.Steps = append(l.Steps, logStep{millis(s.At), s.What, s.Why})
	}
	return l
}

// millis is d in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Run searches.
func (c *logSearchCmd) Run(out output) error {
	if err := errors.Join(oneOf("--result", c.Result, logResults), oneOf("--class", c.Class, heldClasses)); err != nil {
		return err
	}
	where, err := parseQuery(c.Query, journal.Fields())
	if err != nil {
		return err
	}
	r, err := c.remote()
	if err != nil {
		return err
	}
	if r != nil {
		entries, next, err := c.ask(r)
		if err != nil {
			return err
		}
		return c.print(out, entries, next)
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	q := journal.Query{Where: where, ID: c.ID, MessageID: c.MessageID, Sender: c.Sender, Recipient: c.Recipient, Subject: c.Subject, Text: c.Text,
		Result: c.Result, Rule: c.Rule, Class: c.Class, Client: c.Client, Reply: c.Reply, Limit: c.Limit, Cursor: c.Cursor}
	if c.Since > 0 {
		q.Since = time.Now().Add(-time.Duration(c.Since))
	}
	entries, next, err := a.journal.Search(ctx, q)
	if err != nil {
		return err
	}
	return c.print(out, entries, next)
}

// print shows a page.
func (c *logSearchCmd) print(out output, entries []*journal.Entry, next string) error {
	if c.JSON {
		return printJSON(out.out, entries, entryOf)
	}
	if len(entries) == 0 && next != "" {
		fmt.Fprintf(out.out, "Nothing yet, but there is more to look at: the same with --cursor %s\n", next)
		return nil
	}
	if len(entries) == 0 {
		fmt.Fprintln(out.out, "The journal has nothing that fits.")
		return nil
	}
	fmt.Fprintf(out.out, "%-26s  %-15s  %-9s  %-22s  %s\n", "ID", "RECEIVED", "RESULT", "ENVELOPE FROM", "TO")
	for _, e := range entries {
		printFound(out.out, e)
	}
	if next != "" {
		fmt.Fprintf(out.out, "More: the same with --cursor %s\n", next)
	}
	return nil
}

// printFound shows an entry on two lines: who to whom, then what and why.
func printFound(w io.Writer, e *journal.Entry) {
	var to []string
	var told journal.Outcome
	for i, o := range e.Outcomes {
		to = append(to, o.Recipient.String())
		if i == 0 || told.Do == "deliver" && o.Do != "deliver" {
			told = o
		}
	}
	fmt.Fprintf(w, "%-26s  %-15s  %-9s  %-22s  %s\n", e.ID, e.Received.Local().Format("Jan 02 15:04:05"), e.Result,
		clip("<"+e.Envelope.Sender.String()+">", 22), clip(strings.Join(to, ", "), 18))
	why := told.Because
	if told.Do == "deliver" || why == "" {
		why = told.Reply
	}
	fmt.Fprintln(w, clip("    "+strings.Trim(e.Subject+" | "+why, " |"), wide))
}

type logShowCmd struct {
	ID string `arg:"" help:"Of the log line, of a reply, or of X-Postern-Id."`
	storeFlags
	remoteFlags
	JSON bool `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (logShowCmd) Help() string {
	return "Example:\n  postern log show 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run shows one.
func (c *logShowCmd) Run(out output) error {
	if r, err := c.remote(); err != nil || r != nil {
		if err != nil {
			return err
		}
		e, err := r.entry(c.ID)
		if err != nil {
			return err
		}
		x := unexplained(e)
		x.changed = "the rules stand on the gateway; its pages show it"
		return c.print(out, e, x)
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	e, err := a.journal.Get(ctx, c.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return fmt.Errorf("the journal has no entry %s: postern log search shows what there is", c.ID)
	}
	if err != nil {
		return err
	}
	x, err := a.explain(ctx, e)
	if err != nil {
		return err
	}
	return c.print(out, e, x)
}

// print shows it.
func (c *logShowCmd) print(out output, e *journal.Entry, x *explanation) error {
	if c.JSON {
		entry := entryOf(e)
		for i := range entry.Outcomes {
			entry.Outcomes[i].Flip = x.flips[i]
		}
		return printObject(out.out, entry)
	}
	printEntry(out.out, e, x)
	return nil
}

// printEntry tells a transaction to a person: what came, what became of each copy, why, when.
func printEntry(w io.Writer, e *journal.Entry, x *explanation) {
	c := e.Envelope.Client
	fmt.Fprintf(w, "%s  %s  received %s, took %s\n", e.ID, e.Result, e.Received.Local().Format(time.DateTime), e.Took.Round(time.Millisecond/10))
	for _, l := range []struct{ label, text string }{
		{"from      ", e.From}, {"subject   ", e.Subject}, {"envelope  ", "<" + e.Envelope.Sender.String() + ">"},
		{"client    ", fmt.Sprintf("%s, said EHLO %s, %s", c.Addr, c.Helo, cmp.Or(c.TLS, "in clear"))},
		{"message   ", sizeWords(e.Size) + ", rules " + e.Policy},
		{"answer    ", saidOf(e)},
	} {
		if l.text != "" {
			paragraph(w, l.label, l.text)
		}
	}
	fmt.Fprintln(w)
	for i := range e.Outcomes {
		printOutcome(w, e, &e.Outcomes[i])
	}
	x.printWalks(w, e.Outcomes)
	if len(e.Steps) > 0 {
		fmt.Fprintln(w, "\ntimeline")
		for _, s := range e.Steps {
			paragraph(w, fmt.Sprintf("  %8s  %s  ", s.At.Round(time.Millisecond/10), clip(s.What, 60)), s.Why)
		}
	}
	if list := gatheredFor(e); len(list) > 0 {
		fmt.Fprintln(w, "\nfilters and the facts that they found (empty ones left out; --json has all)")
		printGathered(w, list)
	}
}

// gatheredFor lists the filters with what they found, for the message and for each recipient.
func gatheredFor(e *journal.Entry) (list []gathered) {
	message, shown := told(e, nil), map[string]bool{}
	for _, f := range e.Filters { // one of several recipients comes again
		if shown[f.Name] {
			continue
		}
		shown[f.Name] = true
		g := gathered{name: f.Name, state: fmt.Sprintf("%s, %s", f.State, f.Took.Round(time.Millisecond/100)), err: f.Error, facts: message[f.Name]}
		list = append(list, g)
		for i := range e.Outcomes {
			if own := e.Outcomes[i].Facts[f.Name]; own != nil {
				list = append(list, gathered{name: f.Name, state: "for " + e.Outcomes[i].Recipient.String(), facts: own})
			}
		}
	}
	return list
}

// sizeWords says how big a message is, if it came.
func sizeWords(n int64) string {
	if n == 0 {
		return "never came"
	}
	return fmt.Sprintf("%d bytes", n)
}

// saidOf is the last reply to the client; "" when there was none.
func saidOf(e *journal.Entry) string {
	if e.Reply.Code == 0 {
		return ""
	}
	return e.Reply.String()
}

// didWord is a disposition as people say it.
func didWord(do string) string {
	words := map[string]string{"deliver": "delivered", "quarantine": "held", "reject": "refused", "defer": "put off", "discard": "discarded", "command": "for Postern itself"}
	return cmp.Or(words[do], "nothing was done")
}

func printOutcome(w io.Writer, e *journal.Entry, o *journal.Outcome) {
	fmt.Fprintf(w, "%s: %s", clip(o.Recipient.String(), wide), didWord(o.Do))
	if o.Verdict != "" && o.Verdict != o.Do {
		fmt.Fprintf(w, " (the rules said %s)", o.Verdict)
	}
	fmt.Fprintln(w)
	rule := o.Rule
	if rule != "" && o.Class != "" {
		rule += ", class " + o.Class
	}
	score := ""
	if o.Score != 0 && rule == "" {
		score = fmt.Sprintf("%g", o.Score)
	} else if o.Score != 0 {
		rule += fmt.Sprintf(", score %g", o.Score)
	}
	if o.Place != "" {
		rule += " (" + o.Place + ")"
	}
	shadow := ""
	if o.Shadow != nil {
		shadow = fmt.Sprintf("%s by %s, were it live: %s", didWord(o.Shadow.Do), o.Shadow.Rule, strings.Join(append([]string{o.Shadow.Because}, o.Shadow.Effects...), ", "))
	}
	said, inside := o.Reply, o.Upstream
	if said == saidOf(e) {
		said = ""
	}
	if inside == o.Reply {
		inside = ""
	}
	held := "  held as          "
	if o.Do == "deliver" { // some of it was taken out
		held = "  kept whole as    "
	}
	for _, l := range []struct{ label, text string }{
		{"  because          ", o.Because}, {"  rule             ", rule}, {"  score            ", score}, {held, o.Held},
		{"  answer           ", said}, {"  internal server  ", inside}, {"  effects          ", strings.Join(o.Effects, ", ")}, {"  in the shadow    ", shadow},
	} {
		if l.text != "" {
			paragraph(w, l.label, l.text)
		}
	}
}
