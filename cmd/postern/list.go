package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/lists"
	"postern/mail"
	"postern/rules"
)

// listCmd keeps the allow and deny lists, also while the gateway runs: it sees changes within a
// second.
type listCmd struct {
	Add    listAddCmd    `cmd:"" help:"Allow or deny an address, a domain, a network or a mailing list."`
	Remove listRemoveCmd `cmd:"" help:"Take entries away."`
	Show   listShowCmd   `cmd:"" help:"What is allowed and denied, for whom, until when, and why."`
}

// Help is shown by --help.
func (listCmd) Help() string {
	return "Example:\n  postern list add deny spam.example\n  postern list show\n  postern list remove spam.example"
}

// entryForms are the forms of an entry, as the help shows them.
const entryForms = "ann@example.net, example.net, .example.net (with its subdomains), 192.0.2.0/24 or list-id:news.example.net"

type listAddCmd struct {
	Action  string   `arg:"" help:"allow or deny." enum:"allow,deny"`
	Entries []string `arg:"" name:"entry" help:"${entry_forms}."`
	storeFlags
	For             string `help:"For whom: everybody, @example.org or a recipient's address (default: everybody)." placeholder:"WHOM"`
	Until           string `help:"How long: a span such as 30d, or a day such as 2027-01-01 (default: for ever)." placeholder:"WHEN"`
	Note            string `help:"Why, for those who read it later." placeholder:"TEXT"`
	Unauthenticated bool   `help:"An allow entry counts without DMARC or DKIM, for whoever writes it as sender."`
	Force           bool   `help:"Also what is likely a mistake, such as a whole provider."`
	JSON            bool   `name:"json" help:"One JSON object an entry."`
}

// Help is shown by --help.
func (listAddCmd) Help() string {
	return "Example:\n  postern list add deny spam.example 203.0.113.0/24\n" +
		"  postern list add allow ann@partner.example --for @example.org --until 30d --note \"new project\"\n\n" +
		"What is denied is refused. What is allowed is spared the rules about spam and policy, but never those about viruses,\n" +
		"dangerous attachments, malformed or forged mail. An address or domain is allowed when DMARC proves the author\n" +
		"(without a DMARC record: SPF or DKIM for this very domain), a mailing list when its domain has signed; a network\n" +
		"needs no proof.\n" +
		"The narrower --for wins; for the same, deny wins. An entry that is there already is replaced."
}

// Run adds.
func (c *listAddCmd) Run(out output) error {
	until, err := parseUntil(c.Until, time.Now())
	if err != nil {
		return err
	}
	scope, err := lists.ParseScope(c.For)
	if err != nil {
		return &usageError{"--for " + err.Error()}
	}
	if c.Unauthenticated && c.Action == "deny" {
		return &usageError{"--unauthenticated is for allow entries: nobody has to prove what is denied"}
	}
	entries, err := parseEntries(c.Entries)
	if err != nil {
		return err
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	own, _ := mail.NewDomainSet(a.cfg.Domains) // what is no domain is none of ours
	for _, e := range entries {
		e.Allow, e.Scope, e.Until, e.Note, e.By = c.Action == "allow", scope, until, c.Note, a.by
		e.Unauthenticated = c.Unauthenticated && e.Kind != lists.Network
		if err := e.Wide(own); err != nil && !c.Force {
			return fmt.Errorf("%w (with --force it is taken all the same)", err)
		}
	}
	replaced, err := a.lists.Add(ctx, entries...)
	if err != nil {
		return err
	}
	if why := listsUnread(a.cfg, entries); why != "" {
		fmt.Fprintln(out.err, "postern: "+why)
	}
	if c.JSON {
		return printJSON(out.out, entries, func(e *lists.Entry) listedEntry { return listedEntry{e, actionOf(e), e.ScopeWords()} })
	}
	for _, e := range entries {
		fmt.Fprintln(out.out, entryLine(e))
		for _, old := range replaced {
			if old.Value == e.Value && old.Scope == e.Scope {
				fmt.Fprintln(out.out, "  in place of: "+entryLine(old))
			}
		}
	}
	return nil
}

// listsUnread says that entries change nothing, since no live rule of the configuration reads
// them; "" when one does, or when the rules do not load, which is for check to say.
func listsUnread(cfg *Config, entries []*lists.Entry) string {
	policy, _, err := offlineRules(cfg, "")
	if err != nil {
		return ""
	}
	return unread(policy, entries)
}

// unread says that entries change nothing under a policy; "" when one of its rules reads them.
func unread(policy *rules.Policy, entries []*lists.Entry) string {
	reads, want := policy.Reads()["lists"], map[string]bool{}
	for _, e := range entries {
		want[actionOf(e)] = true
	}
	facts := map[string][]string{"allow": {"allowed", "proven", "unproven", "entry", "note", "scope"}, "deny": {"denied", "entry", "note", "scope"}}
	for _, action := range slices.Sorted(maps.Keys(want)) {
		if !slices.ContainsFunc(reads, func(fact string) bool { return slices.Contains(facts[action], fact) }) {
			return fmt.Sprintf("warning: no rule in force reads what is %s, so this changes nothing: put include: builtin into a rule file, or a rule that asks for lists.%s",
				map[string]string{"allow": "allowed", "deny": "denied"}[action], facts[action][0])
		}
	}
	return ""
}

// parseEntries reads entries, each once, and says every mistake.
func parseEntries(texts []string) ([]*lists.Entry, error) {
	var entries []*lists.Entry
	var errs []string
	seen := map[string]bool{}
	for _, text := range texts {
		e, err := lists.ParseEntry(text)
		if err != nil {
			errs = append(errs, err.Error())
		} else if !seen[e.Value] {
			seen[e.Value] = true
			entries = append(entries, &e)
		}
	}
	if errs != nil {
		return nil, &usageError{strings.Join(errs, "\npostern: ")}
	}
	return entries, nil
}

// parseUntil reads a span from now, or the beginning of a day or moment.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := parseDuration(s); err == nil && d > 0 {
		return now.Add(d).UTC(), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		t, err := time.Parse(layout, s)
		if err == nil && t.After(now) {
			return t.UTC(), nil
		}
		if err == nil {
			return t, &usageError{fmt.Sprintf("--until %s is in the past", s)}
		}
	}
	return time.Time{}, &usageError{fmt.Sprintf("--until %q: write a span such as 12h or 30d, or a day such as %s", s, now.AddDate(0, 1, 0).Format(time.DateOnly))}
}

// listedEntry is an entry as JSON has it.
type listedEntry struct {
	*lists.Entry
	Action string `json:"action"`
	For    string `json:"for"`
}

func actionOf(e *lists.Entry) string {
	if e.Allow {
		return "allow"
	}
	return "deny"
}

// entryLine tells an entry in one line.
func entryLine(e *lists.Entry) string {
	line := fmt.Sprintf("%-5s  %s  for %s", actionOf(e), e.Value, e.ScopeWords())
	switch {
	case !e.Until.IsZero() && e.Expired(time.Now()):
		line += ", expired " + e.Until.Local().Format("2006-01-02 15:04")
	case !e.Until.IsZero():
		line += ", until " + e.Until.Local().Format("2006-01-02 15:04")
	}
	if e.Allow && e.Kind != lists.Network {
		line += map[bool]string{false: ", when it is proven who sent it", true: ", without proof who sent it"}[e.Unauthenticated]
	}
	return line
}
