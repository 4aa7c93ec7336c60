package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/policies"
	"postern/review"
	"postern/rules"
)

// Draft makes a rule of a message: for mail like it to be held where it was delivered, and to be
// refused where it was held.
func (d *deskRules) Draft(ctx context.Context, id string, in review.Sight) (*review.Draft, error) {
	e, o, err := d.judged(ctx, id, in)
	if err != nil {
		return nil, err
	}
	return d.draftOf(e, o)
}

func (d *deskRules) draftOf(e *journal.Entry, o *journal.Outcome) (*review.Draft, error) {
	live := d.p.policy.current()
	m := newDraft(e, o, live.rules)
	for {
		file := m.file(live)
		p, problems, err := d.plan(live, file)
		if err != nil {
			return nil, err
		}
		if problems == nil {
			if err = p.look(d.p.cfg, live.filters); err == nil {
				return &review.Draft{Files: file, Base: live.rules.Version(), Note: "made of message " + e.ID}, nil
			}
		}
		if len(m.what) == 0 {
			return nil, wrong("no rule can be made of this message")
		}
		m.what = m.what[:len(m.what)-1] // a stranger's words that no rule can hold
	}
}

// A draftRule is a rule that is made of a message.
type draftRule struct {
	id, name  string
	who, what []string // conditions: of whom it is, and what it has
	class     string
	do        rules.Disposition
	because   string
	was, rule string // what became of the message
	place     string // of the rule: "20-spoof.yaml:12"
}

func newDraft(e *journal.Entry, o *journal.Outcome, p *rules.Policy) *draftRule {
	said := saidBy(o)
	m := &draftRule{id: e.ID, do: rules.Quarantine, class: "spam", was: said[0], rule: said[1], place: o.Place}
	if m.was != "deliver" {
		m.do = rules.Reject
	}
	facts := told(e, o)
	from := m.sender(e, facts)
	m.content(facts, from)
	m.name = freeName("from-"+slug(from), p)
	return m
}

// sender says of whom the message is, and whether that is proven; it gives the name that stands for
// the sender.
func (m *draftRule) sender(e *journal.Entry, facts map[string]json.RawMessage) string {
	var content filters.ContentFacts
	var dmarc filters.DMARCFacts
	var spf filters.SPFFacts
	read(facts, "content", &content)
	read(facts, "dmarc", &dmarc)
	read(facts, "spf", &spf)
	switch env := e.Envelope.Sender; {
	case len(content.From) > 0 && content.From[0].Domain != "":
		f := content.From[0]
		m.because = "it is from " + f.Domain
		if rules.Provider(f.Domain) {
			m.who = append(m.who, "any(content.from, .address == "+literalOf(f.Address)+")")
			m.because = "it is from one sender at " + f.Domain
		} else {
			m.who = append(m.who, "any(content.from, .domain == "+literalOf(f.Domain)+")")
		}
		switch {
		case dmarc.Result == "pass":
			m.who = append(m.who, `dmarc.result == "pass"`)
		case dmarc.Result == "none" && spf.Result == "pass" && env.Domain == f.Domain:
			m.who = append(m.who, "sender.domain == "+literalOf(f.Domain), `spf.result == "pass"`)
		case dmarc.Result != "" && dmarc.Error == "":
			m.who = append(m.who, `dmarc.result != "pass"`)
			m.because = "it says it is from " + f.Domain + ", without proof"
			if dmarc.Result == "fail" {
				m.class = "spoof"
			}
		case env.Domain != "":
			m.who = append(m.who, "sender.domain == "+literalOf(env.Domain))
		}
		return f.Domain
	case env.Domain != "":
		m.because = "its envelope sender is of " + env.Domain
		m.who = append(m.who, "sender.domain == "+literalOf(env.Domain))
		if spf.Result == "pass" && !spf.NullSender {
			m.who = append(m.who, `spf.result == "pass"`)
		}
		return env.Domain
	}
	addr := e.Envelope.Client.Addr.Unmap().String()
	m.who = append(m.who, "inNetwork(client.addr, "+literalOf(addr)+")", `sender.address == ""`)
	m.because = "it has no sender and comes from " + addr
	return addr
}

// content says what the message has that few others have: where it leads, what it carries, or how
// it is called.
func (m *draftRule) content(facts map[string]json.RawMessage, from string) {
	var c filters.ContentFacts
	read(facts, "content", &c)
	for _, l := range c.Links {
		if host := l.Host; host != "" && host != from && !strings.HasSuffix(host, "."+from) && !rules.Provider(host) {
			m.what = append(m.what, "any(content.links, .host == "+literalOf(host)+")")
			m.because += ", and leads to " + host
			return
		}
	}
	for _, a := range c.Attachments {
		if i := strings.LastIndexByte(a.Name, '.'); i >= 0 && extension.MatchString(a.Name[i+1:]) {
			ext := strings.ToLower(a.Name[i+1:])
			m.what = append(m.what, "any(content.attachments, hasExtension(.name, "+literalOf(ext)+"))")
			m.because += ", and carries a file ." + ext
			return
		}
	}
	if s := gist(c.Subject); s != "" {
		m.what = append(m.what, "content.subject contains "+literalOf(s))
		m.because += ", and its subject is like that of others"
	}
}

var extension = regexp.MustCompile(`^[A-Za-z0-9]{1,10}$`)

// read decodes the facts of a filter; none leave it empty.
func read(facts map[string]json.RawMessage, name string, into any) {
	if raw := facts[name]; raw != nil {
		_ = json.Unmarshal(raw, into) // of another version: as far as it goes
	}
}

// Bounds of what a subject is recognised by, in characters.
const (
	leastGist = 4
	mostGist  = 60
)

// gist is the longest run of words of a subject without what changes from mail to mail: numbers,
// and whether it is a reply; "" when little is left.
func gist(subject string) string {
	best := ""
	keep := func(words []string) {
		if s := strings.Join(words, " "); utf8.RuneCountInString(s) > utf8.RuneCountInString(best) && strings.Contains(subject, s) {
			best = s
		}
	}
	var run []string
	for _, w := range strings.Fields(subject) {
		odd := strings.ContainsFunc(w, func(r rune) bool {
			return unicode.IsDigit(r) || !unicode.IsPrint(r) || r == '{' || r == '}' || r == utf8.RuneError
		})
		if odd || len(run) == 0 && strings.HasSuffix(w, ":") || utf8.RuneCountInString(strings.Join(append(run, w), " ")) > mostGist {
			keep(run)
			run = nil
			continue
		}
		run = append(run, w)
	}
	keep(run)
	if utf8.RuneCountInString(best) < leastGist {
		return ""
	}
	return best
}

// literalOf writes a text as rules have it.
func literalOf(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "")) }

// slug is a text as a part of the name of a rule.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if n := b.Len(); n > 0 && b.String()[n-1] != '-' {
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	return strings.TrimRight(out[:min(len(out), 50)], "-")
}

// freeName gives the name, or one like it that no rule has.
func freeName(name string, p *rules.Policy) string {
	list := p.Rules()
	taken := func(n string) bool {
		return slices.ContainsFunc(list, func(r rules.RuleInfo) bool { return r.Name == n })
	}
	name = strings.TrimRight(name, "-")
	for n, free := 2, name; ; n++ {
		if !taken(free) {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

// text is the rule as an entry of a list in a rule file.
func (m *draftRule) text(indent string) string {
	var b strings.Builder
	in := indent + "  "
	by := ""
	if m.rule != "" {
		by = " by " + m.rule
	}
	fmt.Fprintf(&b, "%s# Made of message %s, which was %s%s. Make sure that it means no more mail than you do.\n", indent, m.id, didWord(m.was), by)
	fmt.Fprintf(&b, "%s- name: %s\n%swhen: >-\n", indent, m.name, in)
	for i, c := range append(slices.Clone(m.who), m.what...) {
		and := ""
		if i > 0 {
			and = "and "
		}
		fmt.Fprintf(&b, "%s  %s%s\n", in, and, c)
	}
	fmt.Fprintf(&b, "%sclass: %s\n%sdo: %s\n%sbecause: %s\n", in, m.class, in, m.do, in, quoted(strings.NewReplacer("{{", "", "}}", "").Replace(m.because)))
	return b.String()
}

// inShadow is a file of which no rule has a say.
var inShadow = regexp.MustCompile(`(?m)^shadow:\s*true`)

// Files that drafts go into.
const (
	firstFile = "00-first.yaml" // of rules that have to come before those that decided
	ownFile   = "50-own.yaml"
)

// file puts the rule, in one file, where it has its say: in front of the file with the rule that
// decided, else behind those of the last file of one's own.
func (m *draftRule) file(live *candidate) []review.RuleFile {
	files := inForce(live)
	names := policies.Of("", files).Names()
	if len(names) == 0 { // the built-in policy stays in force, behind the rule or before it
		text := "include: builtin\nrules:\n" + m.text("  ")
		if m.rule != "" {
			text = "rules:\n" + m.text("  ") + "include: builtin\n"
		}
		return []review.RuleFile{{Name: ownFile, Text: text}}
	}
	name := ownFile
	for _, n := range names {
		if !inShadow.Match(files[n]) {
			name = n
		}
	}
	if m.rule != "" {
		name = m.before(names, files)
	}
	text, ok := withItem(string(files[name]), "rules", m.text)
	for n := 1; !ok; n++ { // they stand on one line
		next := fmt.Sprintf("%s-own%d.yaml", strings.TrimSuffix(name, ".yaml"), n)
		if text, ok = withItem(string(files[next]), "rules", m.text); ok {
			name = next
		}
	}
	return []review.RuleFile{{Name: name, Text: text}}
}

var (
	numbered    = regexp.MustCompile(`^[0-9]+-[^-]`)
	includesAll = regexp.MustCompile(`(?m)^include:\s*builtin`)
)

// before names a file that is read before the one with the rule that decided, and no sooner than it
// must: a rule that waits for the content holds up those behind it.
func (m *draftRule) before(names []string, files policies.Files) string {
	decided, _, _ := strings.Cut(m.place, ":")
	for _, n := range names {
		if n != decided && (decided != "builtin.yaml" || !includesAll.Match(files[n])) {
			continue
		}
		if at := numbered.FindString(n); at != "" {
			return strings.TrimRight(at[:len(at)-1], "-") + "--first.yaml" // - comes before what names have there
		}
	}
	name := firstFile
	for range 3 {
		if name > names[0] {
			name = "00-" + name
		}
	}
	if names[0] == firstFile {
		return firstFile
	}
	return name
}
