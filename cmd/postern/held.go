package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"postern/journal"
	"postern/mail"
	"postern/quarantine"
	"postern/store"
)

// heldCmd works on the store directly, also while the gateway runs.
type heldCmd struct {
	List    heldListCmd    `cmd:"" help:"What is held, newest first."`
	Show    heldShowCmd    `cmd:"" help:"One held message: who, why, where it stands."`
	Raw     heldRawCmd     `cmd:"" help:"The message as it was received, byte for byte."`
	Release heldReleaseCmd `cmd:"" help:"Send it to the internal server."`
	Delete  heldDeleteCmd  `cmd:"" help:"Delete it; the row stays until retention."`
}

// storeFlags say where the store is.
type storeFlags struct {
	Config string `short:"c" help:"Configuration file." placeholder:"FILE" type:"path"`
	Data   string `help:"Data folder." placeholder:"DIR"`
}

// open opens the stores as the owner of the data folder. Call the returned function at the end.
func (f *storeFlags) open(ctx context.Context) (*Config, *quarantine.Store, *journal.Store, func(), error) {
	s := settings{Config: f.Config, Data: f.Data}
	cfg, err := s.read()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	if _, err := os.Stat(cfg.Data); err != nil {
		return nil, nil, nil, nil, fmt.Errorf("data folder %s: %w (name another with --data or -c)", cfg.Data, err)
	}
	if err := store.AsOwner(cfg.Data); err != nil {
		return nil, nil, nil, nil, err
	}
	db, q, j, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	end := func() {
		if j != nil {
			_ = j.Close()
		}
		if q != nil {
			_ = q.Close()
		}
		if db != nil {
			_ = db.Close()
		}
	}
	if err != nil {
		end()
		return nil, nil, nil, nil, err
	}
	return cfg, q, j, end, nil
}

// whoami is who acts: the user behind sudo, else the user.
func whoami() string {
	if s := os.Getenv("SUDO_USER"); s != "" {
		return s
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

type heldListCmd struct {
	storeFlags
	State     string   `help:"kept, releasing, released, deleted or any (default: what waits for somebody)." enum:",kept,releasing,released,deleted,any" default:"" placeholder:"STATE"`
	Class     string   `help:"virus, spoof, malformed, attachment, spam, policy or undelivered." enum:",virus,spoof,malformed,attachment,spam,policy,undelivered" default:"" placeholder:"CLASS"`
	Rule      string   `help:"The rule that held it."`
	Recipient string   `help:"Address, @domain, or a part of it."`
	Sender    string   `help:"The same; <> is the null sender."`
	Text      string   `help:"Words in subject, From, sender, recipient or reason." name:"text"`
	Since     Duration `help:"Not older than this, such as 12h or 7d." default:"0s"`
	Limit     int      `help:"At most so many." default:"50"`
	Cursor    string   `help:"Where the page before ended."`
	JSON      bool     `name:"json" help:"One JSON object an item."`
}

// Help is shown by --help.
func (heldListCmd) Help() string {
	return "Example:\n  postern held list --class spoof --since 7d"
}

// Run lists.
func (c *heldListCmd) Run(out output) error {
	ctx := context.Background()
	_, q, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	query := quarantine.Query{State: quarantine.State(c.State), Class: c.Class, Rule: c.Rule, Recipient: c.Recipient, Sender: c.Sender,
		Text: c.Text, Limit: c.Limit, Cursor: c.Cursor}
	if c.Since > 0 {
		query.Since = time.Now().Add(-time.Duration(c.Since))
	}
	items, next, err := q.List(ctx, query)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(out.out)
		for _, it := range items {
			if err := enc.Encode(it); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		fmt.Fprintln(out.out, "Nothing is held that fits.")
		return nil
	}
	w := tabwriter.NewWriter(out.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tRECEIVED\tSTATE\tCLASS\tFROM\tTO\tSUBJECT\tWHY")
	for _, it := range items {
		class, why := "", ""
		if len(it.Copies) > 0 {
			class, why = it.Copies[0].Class, it.Copies[0].Because
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", it.ID, it.Received.Local().Format("Jan 02 15:04"), it.State, class,
			clip(it.From, 40), clip(copiesOf(it), 40), clip(it.Subject, 40), clip(why, 90))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if next != "" {
		fmt.Fprintf(out.out, "more: --cursor %s\n", next)
	}
	return nil
}

// clip shows text of a stranger on a terminal: one line, no control characters, bounded.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func copiesOf(it *quarantine.Item) string {
	var to []string
	for _, c := range it.Copies {
		to = append(to, c.Recipient.Address.String())
	}
	return strings.Join(to, ", ")
}

type heldShowCmd struct {
	ID string `arg:""`
	storeFlags
	JSON bool `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (heldShowCmd) Help() string {
	return "Example:\n  postern held show 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run shows one.
func (c *heldShowCmd) Run(out output) error {
	ctx := context.Background()
	_, q, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	it, err := q.Get(ctx, c.ID)
	if err != nil {
		return notFound(c.ID, err)
	}
	if c.JSON {
		return json.NewEncoder(out.out).Encode(it)
	}
	fmt.Fprintf(out.out, "%s  %s  %d bytes, expires %s\n", it.ID, it.State, it.Size, it.Expires.Local().Format(time.DateTime))
	fmt.Fprintf(out.out, "from     %s\nenvelope <%s>\nclient   %s (%s)\nsubject  %s\nreceived %s\n", clip(it.From, 200), it.Envelope.Sender, it.Envelope.Client.Addr,
		clip(it.Envelope.Client.Helo, 100), clip(it.Subject, 200), it.Received.Local().Format(time.DateTime))
	for _, cp := range it.Copies {
		fmt.Fprintf(out.out, "to       %s: %s, %s, rule %s: %s\n", cp.Recipient.Address, cp.State, cp.Class, cp.Rule, clip(cp.Because, 400))
		if cp.By != "" || cp.Note != "" {
			fmt.Fprintf(out.out, "         %s by %s: %s\n", cp.Changed.Local().Format(time.DateTime), cp.By, clip(cp.Note, 300))
		}
	}
	fmt.Fprintf(out.out, "\npostern log show %s tells how it came to that; postern held raw %s prints the message.\n", it.Envelope.ID, it.ID)
	return nil
}

func notFound(id string, err error) error {
	if errors.Is(err, quarantine.ErrNotFound) {
		return fmt.Errorf("no held message %s: postern held list --state any shows what there is", id)
	}
	return err
}

type heldRawCmd struct {
	ID string `arg:""`
	storeFlags
}

// Help is shown by --help.
func (heldRawCmd) Help() string {
	return "Example:\n  postern held raw 01K9ZT0A6X2V9S3M8Q4R5W7Y1B > message.eml"
}

// Run prints it.
func (c *heldRawCmd) Run(out output) error {
	ctx := context.Background()
	_, q, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	r, err := q.Content(ctx, c.ID)
	if err != nil {
		return notFound(c.ID, err)
	}
	defer r.Close()
	_, err = io.Copy(out.out, r)
	return err
}

type heldDeleteCmd struct {
	IDs []string `arg:"" name:"id"`
	storeFlags
	To   []string `help:"Only these recipients' copies (repeatable)." sep:"none" placeholder:"ADDRESS"`
	JSON bool     `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (heldDeleteCmd) Help() string {
	return "Example:\n  postern held delete 01K9ZT0A6X2V9S3M8Q4R5W7Y1B"
}

// Run deletes.
func (c *heldDeleteCmd) Run(out output) error {
	ctx := context.Background()
	_, q, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	to, err := addresses(c.To)
	if err != nil {
		return err
	}
	failed := false
	for _, id := range c.IDs {
		err := q.Delete(ctx, id, whoami(), to...)
		failed = report(out, c.JSON, id, "deleted", notFound(id, err)) || failed
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
		_ = json.NewEncoder(out.out).Encode(m)
		return err != nil
	}
	if err != nil {
		fmt.Fprintf(out.err, "postern: %s: %v\n", id, err)
		return true
	}
	fmt.Fprintf(out.out, "%s: %s\n", id, done)
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
