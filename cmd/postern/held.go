package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/quarantine"
	"postern/review"
)

// heldCmd works on the store directly, also while the gateway runs.
type heldCmd struct {
	List    heldListCmd    `cmd:"" help:"What is held, newest first."`
	Show    heldShowCmd    `cmd:"" help:"One held message: who, why, where it stands."`
	Raw     heldRawCmd     `cmd:"" help:"The message as it was received, byte for byte."`
	Release heldReleaseCmd `cmd:"" help:"Send it to the internal server."`
	Delete  heldDeleteCmd  `cmd:"" help:"Delete it; who did it is kept until retention."`
}

// Help is shown by --help.
func (heldCmd) Help() string {
	return "Example:\n  postern held list\n  postern held show ID\n  postern held release ID"
}

// What can be asked for, as the help shows it.
const (
	heldStates  = "kept, spam, releasing, released, deleted or any"
	heldClasses = "virus, spoof, malformed, attachment, spam, policy or undelivered"
	logResults  = "delivered, held, mixed, refused, deferred, discarded, command or abandoned"
)

// oneOf checks a flag that has one of the words of a list, or none.
func oneOf(flag, value, list string) error {
	words := strings.Fields(strings.NewReplacer(",", "", " or ", " ").Replace(list))
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	msg := fmt.Sprintf("%s %q: it is %s", flag, value, list)
	if near := nearest(value, words); near != "" {
		msg += fmt.Sprintf("; did you mean %s?", near)
	}
	return &usageError{msg}
}

type heldListCmd struct {
	storeFlags
	remoteFlags
	State     string   `help:"${states} (default: what waits for somebody)." placeholder:"STATE"`
	Class     string   `help:"${classes}." placeholder:"CLASS"`
	Rule      string   `help:"The rule that held it." placeholder:"NAME"`
	Recipient string   `help:"Address, @domain, or a part of it." placeholder:"TEXT"`
	Sender    string   `help:"The same; <> is the null sender." placeholder:"TEXT"`
	Text      string   `help:"Words in subject, From, sender, recipient or reason." placeholder:"WORDS"`
	Query     string   `help:"A condition over what is stored, in the language of the rules, or words." placeholder:"QUERY"`
	Since     Duration `help:"Not older than this, such as 12h or 7d." placeholder:"SPAN"`
	Limit     int      `help:"At most so many (default: 50)." placeholder:"N"`
	Cursor    string   `help:"Where the page before ended." placeholder:"TEXT"`
	JSON      bool     `name:"json" help:"One JSON object an item."`
}

// Help is shown by --help.
func (heldListCmd) Help() string {
	return "Example:\n  postern held list --class spoof --since 7d\n" +
		"  postern held list --query 'rcpt.domain == \"a.example\" and size > 1024 * 1024'\n\n" + queryHelp(quarantine.Fields())
}

// Run lists.
func (c *heldListCmd) Run(out output) error {
	if err := errors.Join(oneOf("--state", c.State, heldStates), oneOf("--class", c.Class, heldClasses)); err != nil {
		return err
	}
	where, err := parseQuery(c.Query, quarantine.Fields())
	if err != nil {
		return err
	}
	r, err := c.remote()
	if err != nil {
		return err
	}
	if r != nil {
		if c.Text != "" && c.Query != "" {
			return &usageError{"--text and --query: over --server one of them, the query may have words in quotation marks"}
		}
		items, next, err := c.ask(r)
		if err != nil {
			return err
		}
		return c.print(out, items, next)
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	query := quarantine.Query{State: quarantine.State(c.State), Class: c.Class, Rule: c.Rule, Recipient: c.Recipient, Sender: c.Sender,
		Text: c.Text, Where: where, Limit: c.Limit, Cursor: c.Cursor}
	if c.Since > 0 {
		query.Since = time.Now().Add(-time.Duration(c.Since))
	}
	items, next, err := a.quarantine.List(ctx, query)
	if err != nil {
		return err
	}
	return c.print(out, items, next)
}

// print shows a page.
func (c *heldListCmd) print(out output, items []*quarantine.Item, next string) error {
	if c.JSON {
		return printJSON(out.out, items, func(it *quarantine.Item) *quarantine.Item { return it })
	}
	if len(items) == 0 {
		fmt.Fprintln(out.out, "Nothing is held that fits.")
		return nil
	}
	fmt.Fprintf(out.out, "%-26s  %-12s  %-11s  %-25s  %s\n", "ID", "RECEIVED", "CLASS", "FROM", "TO")
	for _, it := range items {
		printHeld(out.out, it)
	}
	if next != "" {
		fmt.Fprintf(out.out, "More: the same with --cursor %s\n", next)
	}
	return nil
}

// printHeld shows an item on two lines: who to whom, then what and why.
func printHeld(w io.Writer, it *quarantine.Item) {
	class, why := "", ""
	if len(it.Copies) > 0 {
		class, why = it.Copies[0].Class, it.Copies[0].Because
	}
	fmt.Fprintf(w, "%-26s  %-12s  %-11s  %-25s  %s\n", it.ID, it.Received.Local().Format("Jan 02 15:04"), class,
		clipAddress(it.From, 25), clip(copiesOf(it), 18))
	state := ""
	if it.State != quarantine.Kept {
		state = strings.ToUpper(string(it.State)) + " | "
	}
	fmt.Fprintln(w, clip("    "+state+strings.Trim(it.Subject+" | "+why, " |"), wide))
}

func copiesOf(it *quarantine.Item) string {
	var to []string
	for _, c := range it.Copies {
		to = append(to, c.Recipient.Address.String())
	}
	return strings.Join(to, ", ")
}

type heldShowCmd struct {
	ID string `arg:"" help:"As held list shows it."`
	storeFlags
	remoteFlags
	JSON bool `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (heldShowCmd) Help() string {
	return "Example:\n  postern held show 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run shows one.
func (c *heldShowCmd) Run(out output) error {
	it, err := c.item()
	if err != nil {
		return err
	}
	if c.JSON {
		return printObject(out.out, it)
	}
	printItem(out.out, it)
	return nil
}

// item finds it, here or by the API.
func (c *heldShowCmd) item() (*quarantine.Item, error) {
	r, err := c.remote()
	if err != nil {
		return nil, err
	}
	if r != nil {
		it := new(quarantine.Item)
		return it, r.call("GET", "/held/"+url.PathEscape(c.ID), nil, nil, it)
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close()
	it, err := a.quarantine.Get(ctx, c.ID)
	return it, notFound(c.ID, err)
}

// printItem tells about a held message: what came, why it is here, what became of it.
func printItem(w io.Writer, it *quarantine.Item) {
	c := it.Envelope.Client
	fmt.Fprintf(w, "%s  %s  received %s, kept until %s\n", it.ID, it.State, it.Received.Local().Format(time.DateTime), it.Expires.Local().Format(time.DateOnly))
	for _, l := range []struct{ label, text string }{
		{"from      ", it.From}, {"subject   ", it.Subject}, {"envelope  ", "<" + it.Envelope.Sender.String() + ">"},
		{"client    ", fmt.Sprintf("%s, said EHLO %s, %s", c.Addr, c.Helo, cmp.Or(c.TLS, "in clear"))},
		{"message   ", sizeWords(it.Size) + ", rules " + it.Policy},
	} {
		if l.text != "" {
			paragraph(w, l.label, l.text)
		}
	}
	for _, cp := range it.Copies {
		fmt.Fprintf(w, "\n%s: %s\n", clip(cp.Recipient.Address.String(), wide), cp.State)
		paragraph(w, "  because  ", cp.Because)
		fmt.Fprintf(w, "  rule     %s, class %s\n", cmp.Or(cp.Rule, "none"), cp.Class)
		if cp.By != "" || cp.Note != "" {
			paragraph(w, "  then     ", fmt.Sprintf("%s by %s: %s", cp.Changed.Local().Format(time.DateTime), cmp.Or(cp.By, "postern"), cp.Note))
		}
	}
	fmt.Fprintf(w, "\nHow it came to that: postern log show %s\nThe message itself:  postern held raw %s\n", it.Envelope.ID, it.ID)
}

func notFound(id string, err error) error {
	if errors.Is(err, quarantine.ErrNotFound) {
		return fmt.Errorf("no held message %s: postern held list --state any shows what there is", id)
	}
	return err
}

type heldRawCmd struct {
	ID string `arg:"" help:"As held list shows it."`
	storeFlags
	remoteFlags
}

// Help is shown by --help.
func (heldRawCmd) Help() string {
	return "Example:\n  postern held raw 01K9ZT0A6X2V9S3M8Q4R5W7Y1B > message.eml"
}

// Run prints it.
func (c *heldRawCmd) Run(out output) error {
	if r, err := c.remote(); err != nil || r != nil {
		if err != nil {
			return err
		}
		return r.call("GET", "/held/"+url.PathEscape(c.ID)+"/raw", nil, nil, out.out)
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	r, err := a.quarantine.Content(ctx, c.ID)
	if err != nil {
		return notFound(c.ID, err)
	}
	defer r.Close()
	_, err = io.Copy(out.out, r)
	return err
}

type heldDeleteCmd struct {
	IDs []string `arg:"" name:"id" help:"As held list shows them."`
	storeFlags
	remoteFlags
	To     []string `help:"Only these recipients' copies (repeatable)." sep:"none" placeholder:"ADDRESS"`
	Reason string   `help:"Why, for the log of acts." placeholder:"TEXT"`
	JSON   bool     `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (heldDeleteCmd) Help() string {
	return "Example:\n  postern held delete 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run deletes.
func (c *heldDeleteCmd) Run(out output) error {
	to, err := addresses(c.To)
	if err != nil {
		return err
	}
	act := review.Act{Do: review.Delete, To: to, Reason: c.Reason}
	if r, err := c.remote(); err != nil || r != nil {
		if err != nil {
			return err
		}
		return each(out, c.JSON, c.IDs, act, deleted(r.act))
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	desk, err := openDesk(ctx, a.cfg, a.stores, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return each(out, c.JSON, c.IDs, act, deleted(func(act review.Act) (string, error) { return doAs(ctx, desk, a.who(), act) }))
}

// deleted has a command fail where there was nothing to delete any more.
func deleted(do func(review.Act) (string, error)) func(review.Act) (string, error) {
	return func(act review.Act) (string, error) {
		said, err := do(act)
		if err == nil && said != "deleted" {
			err = errors.New(said)
		}
		return said, err
	}
}

// each does something with one message after the other, and tells what became of each.
func each(out output, asJSON bool, ids []string, act review.Act, do func(review.Act) (string, error)) error {
	failed := false
	for _, id := range ids {
		act.IDs = []string{id}
		said, err := do(act)
		failed = report(out, asJSON, id, said, notFound(id, err)) || failed
	}
	if failed {
		return errQuiet
	}
	return nil
}

// report prints what became of one id; true when it failed.
func report(out output, asJSON bool, id, done string, err error) bool {
	if asJSON {
		m := map[string]any{"id": id, "result": done}
		if err != nil {
			m["result"], m["error"] = "failed", err.Error()
		}
		_ = printObject(out.out, m)
		return err != nil
	}
	if err != nil {
		fmt.Fprintf(out.err, "postern: %s: %s\n", clip(id, 60), clip(strings.ReplaceAll(err.Error(), "\n", "; "), 2000))
		return true
	}
	fmt.Fprintf(out.out, "%s: %s\n", id, clip(done, 2000))
	return false
}

func addresses(list []string) ([]mail.Address, error) {
	var out []mail.Address
	for _, s := range list {
		a, err := mail.ParseAddress(strings.Trim(s, "<>"), true)
		if err != nil {
			return nil, &usageError{fmt.Sprintf("%q: %v", s, err)}
		}
		out = append(out, a)
	}
	return out, nil
}
