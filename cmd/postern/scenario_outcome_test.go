package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"postern/journal"
	"postern/quarantine"
	"postern/rules"

	"golang.org/x/tools/txtar"
)

// What must come out: the sections want/… of a page. Each line is compared as a glob, but for
// quoted bytes. delivered, held and journal are always compared (no section: nothing), trace,
// facts and internal where a page has them.

// An outcome is what came out.
type outcome struct {
	entries []*journal.Entry
	items   []*quarantine.Item
	held    map[string][]byte
	names   *strings.Replacer // ids, addresses and folders, which differ each time
}

// receivedDate is the date in our own Received field.
var receivedDate = regexp.MustCompile(`;(\r\n)?\t[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [-+]\d{4}`)

// sizeParameter is SIZE as the gateway tells it to the internal server, signature the beginning
// of one in Authentication-Results.
var (
	sizeParameter = regexp.MustCompile(` SIZE=\d+`)
	signature     = regexp.MustCompile(`header\.b="?[A-Za-z0-9+/]+"?`)
)

func (s *scene) outcome() *outcome {
	ctx := s.Context()
	s.must(s.program.journal.Flush(ctx))
	entries, _, err := s.program.journal.Search(ctx, journal.Query{Limit: 500})
	s.must(err)
	slices.SortFunc(entries, func(a, b *journal.Entry) int { return cmp.Compare(a.ID, b.ID) })
	o := &outcome{entries: entries, held: map[string][]byte{}}
	for _, state := range []quarantine.State{"", quarantine.Held} {
		items, _, err := s.program.quarantine.List(ctx, quarantine.Query{State: state, Limit: 500})
		s.must(err)
		o.items = append(o.items, items...)
	}
	slices.SortFunc(o.items, func(a, b *quarantine.Item) int { return cmp.Compare(a.ID, b.ID) })
	var pairs []string
	for i, e := range entries {
		pairs = append(pairs, e.ID, fmt.Sprintf("ID%d", i+1))
	}
	for name, in := range s.inside {
		pairs = append(pairs, in.addr, name)
	}
	if s.clamd != nil {
		pairs = append(pairs, s.clamd.path, "clamd")
	}
	o.names = strings.NewReplacer(append(pairs, s.dir, "DIR")...)
	for _, it := range o.items {
		r, err := s.program.quarantine.Content(ctx, it.ID)
		s.must(err)
		o.held[it.ID], err = io.ReadAll(r)
		s.must(err)
		r.Close()
	}
	return o
}

// plain takes out what differs from run to run.
func (o *outcome) plain(text string) string {
	text = receivedDate.ReplaceAllString(o.names.Replace(text), ";${1}\tDATE")
	return signature.ReplaceAllString(sizeParameter.ReplaceAllString(text, ""), "header.b=B")
}

// compare checks the want sections, or writes them with -update.
func (s *scene) compare() {
	if s.Failed() {
		return
	}
	o := s.outcome()
	parts := []struct {
		name string
		text string
		ask  bool // only when the page has the section
	}{
		{"want/delivered", s.delivered(o), false},
		{"want/held", s.held(o), false},
		{"want/journal", o.journal(), false},
		{"want/trace", o.trace(), true},
		{"want/facts", s.facts(o), true},
		{"want/internal", s.heard(o), true},
		{"want/explain", s.explained(o), true},
		{"want/replay", s.replayed(o), true},
	}
	changed := false
	for _, p := range parts {
		want, there := s.files[p.name]
		if p.ask && !there {
			continue
		}
		if err := sameLines(string(want), p.text); err != nil {
			if !*update {
				s.Errorf("%s: %v\nall of it:\n%s", p.name, err, p.text)
			}
			s.section(p.name, p.text)
			changed = true
		}
	}
	if *update && changed {
		slices.SortStableFunc(s.archive.Files, func(a, b txtar.File) int { return cmp.Compare(place(a.Name), place(b.Name)) })
		s.must(os.WriteFile(s.path, txtar.Format(s.archive), 0o644))
	}
}

// place is the order of want sections, behind all others.
func place(name string) int {
	return slices.Index([]string{"want/delivered", "want/held", "want/journal", "want/trace", "want/facts", "want/internal", "want/explain", "want/replay"}, name)
}

func (s *scene) section(name, text string) {
	i := slices.IndexFunc(s.archive.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case i >= 0:
		s.archive.Files[i].Data = []byte(text)
	case text != "":
		s.archive.Files = append(s.archive.Files, txtar.File{Name: name, Data: []byte(text)})
	}
}

func sameLines(want, got string) error {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			return fmt.Errorf("too much, from line %d: %s", i+1, g[i])
		case i >= len(g):
			return fmt.Errorf("line %d is missing: %s", i+1, w[i])
		case w[i] == g[i]:
		case strings.HasPrefix(w[i], "\t\"") || !glob(w[i], g[i]):
			return fmt.Errorf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return nil
}

// delivered shows each message that an internal server took: envelope, our block, and the rest,
// which is most often a file of the page, byte for byte.
func (s *scene) delivered(o *outcome) string {
	var b strings.Builder
	for _, m := range s.record.taken() {
		fmt.Fprintf(&b, "%s: MAIL %s", m.server, o.plain(m.from))
		for _, to := range m.to {
			fmt.Fprintf(&b, ", RCPT %s", to)
		}
		block, rest := ownBlock(m.data)
		b.WriteString("\n")
		for line := range strings.Lines(o.plain(string(block))) {
			b.WriteString("\t" + strings.TrimRight(line, "\r\n") + "\n")
		}
		s.bytes(o, &b, rest)
	}
	return b.String()
}

// ownBlock cuts a delivered message behind the last field of ours, or of an effect's.
func ownBlock(data []byte) (block, rest []byte) {
	i := bytes.Index(data, []byte("\r\nX-Postern-Score:"))
	if i < 0 {
		i = bytes.Index(data, []byte("\r\nX-Postern-Verdict:"))
	}
	if i < 0 {
		return nil, data
	}
	at := i + 2 + bytes.IndexByte(data[i+2:], '\n') + 1
	return data[:at], data[at:]
}

// bytes tells which file of the page the data ends with, and shows what else there is, in so
// many lines that a page stays readable.
func (s *scene) bytes(o *outcome, b *strings.Builder, data []byte) {
	rest := ""
	for _, name := range slices.Sorted(maps.Keys(s.sent)) {
		if sent := s.sent[name]; len(sent) > 0 && len(sent) > len(s.sent[rest]) && bytes.HasSuffix(data, sent) {
			rest = name
		}
	}
	data = data[:len(data)-len(s.sent[rest])]
	lines := bytes.SplitAfter(data, []byte("\n"))
	ours := bytes.Contains(data, []byte("\r\nFrom: Postern <")) // a notice
	for n, shown := 0, 0; len(lines) > 0; lines = lines[n:] {
		if shown++; shown > 60 {
			left := bytes.Join(lines, nil)
			fmt.Fprintf(b, "\t%d bytes of SHA-256 %x\n", len(left), sha256.Sum256(left))
			break
		}
		for n = 1; n < len(lines) && bytes.Equal(lines[n], lines[0]); n++ {
		}
		switch line := lines[0]; {
		case len(line) == 0:
		case len(line) > 500:
			fmt.Fprintf(b, "\t%d bytes that begin with %q, of SHA-256 %x\n", len(line), line[:40], sha256.Sum256(line))
		case n > 1:
			fmt.Fprintf(b, "\t%d*%q\n", n, line)
		case bytes.HasPrefix(line, []byte("Date: ")) && ours: // which differs each time
			b.WriteString("\tDate: DATE\n")
		default:
			fmt.Fprintf(b, "\t%q\n", o.names.Replace(string(line)))
		}
	}
	if rest != "" {
		fmt.Fprintf(b, "\trest: %s\n", rest)
	}
}

// held shows each message in quarantine.
func (s *scene) held(o *outcome) string {
	var b strings.Builder
	for _, it := range o.items {
		fmt.Fprintf(&b, "%s %s from <%s>\n", o.plain(it.ID), it.State, it.Envelope.Sender)
		for _, c := range it.Copies {
			fmt.Fprintf(&b, "\tfor %s: %s, %s: %s\n", c.Recipient.Address, c.Class, c.Rule, c.Because)
		}
		s.bytes(o, &b, o.held[it.ID])
	}
	return b.String()
}

// journal shows each transaction's end.
func (o *outcome) journal() string {
	var b strings.Builder
	for _, e := range o.entries {
		fmt.Fprintf(&b, "%s from <%s>: %s\n", o.plain(e.ID), e.Envelope.Sender, e.Result)
		for _, x := range e.Outcomes {
			fmt.Fprintf(&b, "\t%s: %s", x.Recipient, cmp.Or(x.Do, "nothing"))
			if x.Verdict != "" && x.Verdict != x.Do {
				fmt.Fprintf(&b, " (rules: %s)", x.Verdict)
			}
			if x.Rule != "" {
				fmt.Fprintf(&b, " by %s", x.Rule)
			}
			if x.Held != "" {
				fmt.Fprintf(&b, ", held as %s", o.plain(x.Held))
			}
			if x.Reply != "" {
				fmt.Fprintf(&b, "; said %s", o.plain(x.Reply))
			}
			if x.Upstream != "" {
				fmt.Fprintf(&b, "; internal said %s", x.Upstream)
			}
			if x.Shadow != nil {
				b.WriteString(shadowWords(x.Shadow.Do, x.Shadow.Rule, x.Shadow.Effects))
			}
			b.WriteString("\n")
			for _, f := range x.Effects {
				fmt.Fprintf(&b, "\t\t%s\n", o.plain(f))
			}
		}
	}
	return b.String()
}

// trace shows the events of each transaction and the walk over the rules, as explain does.
func (o *outcome) trace() string {
	var b strings.Builder
	for _, e := range o.entries {
		fmt.Fprintf(&b, "%s\n", o.plain(e.ID))
		for _, st := range e.Steps {
			fmt.Fprintf(&b, "\t%s: %s\n", st.What, o.plain(st.Why))
		}
		for _, x := range e.Outcomes {
			var walk []rules.Step
			if len(x.Rules) > 0 && json.Unmarshal(x.Rules, &walk) != nil {
				fmt.Fprintf(&b, "\tbroken: %s\n", x.Rules)
			}
			for _, st := range walk {
				what, _ := st.Result.MarshalText()
				fmt.Fprintf(&b, "\t%s, rule %s: %s", x.Recipient, st.Rule, what)
				if st.Shadow {
					b.WriteString(" (shadow)")
				}
				if st.Why != "" {
					b.WriteString(", " + o.plain(st.Why))
				}
				b.WriteString("\n")
			}
		}
	}
	return b.String()
}

// facts shows the facts that the page asks for: "ID1 spf.result: fail".
func (s *scene) facts(o *outcome) string {
	var b strings.Builder
	for line := range strings.Lines(string(s.files["want/facts"])) {
		head, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		id, path, _ := strings.Cut(head, " ")
		n, err := strconv.Atoi(strings.TrimPrefix(id, "ID"))
		if err != nil || n < 1 || n > len(o.entries) {
			fmt.Fprintf(&b, "%s: no such transaction\n", head)
			continue
		}
		filter, rest, _ := strings.Cut(path, ".")
		var v any
		raw := o.entries[n-1].Facts[filter]
		for _, copied := range o.entries[n-1].Outcomes { // facts of one recipient
			if raw == nil {
				raw = copied.Facts[filter]
			}
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			fmt.Fprintf(&b, "%s: not gathered\n", head)
			continue
		}
		for _, key := range strings.Split(rest, ".") {
			switch x := v.(type) {
			case map[string]any:
				v = x[key]
			case []any:
				i, err := strconv.Atoi(key)
				if v = nil; err == nil && i < len(x) {
					v = x[i]
				}
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", head, o.plain(fmt.Sprint(v)))
	}
	return b.String()
}

// heard shows the bytes that came at the internal servers, on connections with a MAIL.
func (s *scene) heard(o *outcome) string {
	var b strings.Builder
	for _, name := range []string{"internal", "internal2", "internal3"} {
		in := s.inside[name]
		if in == nil {
			continue
		}
		in.mu.Lock()
		for _, c := range in.conns {
			raw := c.raw.Bytes()
			if !bytes.Contains(raw, []byte("MAIL FROM:")) {
				continue
			}
			fmt.Fprintf(&b, "%s\n", name)
			for line := range strings.Lines(o.plain(string(raw))) {
				b.WriteString("\t" + strconv.Quote(line) + "\n")
			}
		}
		in.mu.Unlock()
	}
	return b.String()
}
