package web

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"postern/mail"
	"postern/people"
	"postern/preview"
	"postern/quarantine"
	"postern/review"
)

// A letter is what the page of a message shows.
type letter struct {
	*review.Message
	Row    rowView
	Tab    string
	Tabs   []tab
	Body   *preview.Message // nil: its content is gone, or not for who looks
	Raw    string           // of the tab Raw
	RawCut bool
	Gone   string // why there is no content
	Act    string // form that stands open: release, allow, ask, delete, spam
	To     []fate
	Signed []string // domains whose DKIM signature holds
	Allow  []choice
	For    []choice
	Zip    string // password for the next download
	Back   string

	Scanned string // what the virus scanner said
}

// A tab is one view of the content.
type tab struct {
	Name, Label string
	Count       int
}

// A fate is what became of one recipient's copy.
type fate struct {
	Recipient, What, Tone, Rule, Because, Reply, By string
}

// A choice is one value of a form, with words.
type choice struct{ Value, Label string }

// maxRaw bounds what the tab Raw shows.
const maxRaw = 256 << 10

func (s *Server) messagePage(w http.ResponseWriter, r *http.Request) {
	m, err := s.cfg.Desk.Message(r.Context(), actor(r), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	l := &letter{Message: m, Row: rowView{Row: m.Row, now: s.now()}, Tab: r.URL.Query().Get("tab"), Act: r.URL.Query().Get("act")}
	slices.SortStableFunc(m.Explain, func(a, b review.Explained) int { return order(a) - order(b) })
	l.To, l.Signed, l.Back = fates(m), signers(m), "/"
	if m.State == "" {
		l.Back = "/log"
	}
	l.Allow, l.For = allowChoices(m), scopeChoices(m, actor(r))
	l.Tabs, l.Scanned = tabs(actor(r)), scanned(m)
	if actor(r).May(people.Download) {
		l.Zip = preview.Password()
	}
	if !slices.ContainsFunc(l.Tabs, func(t tab) bool { return t.Name == l.Tab }) {
		l.Tab = "text"
	}
	if err := s.readLetter(r, l); err != nil {
		s.fail(w, r, err)
		return
	}
	sc := screen{Title: cut(preview.VisibleName(l.Row.Title()), 120), Area: "held", Data: l}
	if m.State == "" {
		sc.Area = "log"
	}
	if byHtmx(r) {
		s.part(w, r, http.StatusOK, "message", "content", sc)
		return
	}
	s.show(w, r, http.StatusOK, "message", sc)
}

// order puts what kept a message back before what let a copy of it through.
func order(e review.Explained) int {
	if e.Do == "deliver" {
		return 1
	}
	return 0
}

func tabs(who *people.Actor) []tab {
	out := []tab{{Name: "text", Label: "Text"}, {Name: "html", Label: "Safe HTML"}, {Name: "headers", Label: "Headers"}, {Name: "attachments", Label: "Attachments"}, {Name: "links", Label: "Links"}}
	if who.May(people.Download) {
		out = append(out, tab{Name: "raw", Label: "Raw"})
	}
	return out
}

// readLetter fills in what the tab needs of the content.
func (s *Server) readLetter(r *http.Request, l *letter) error {
	if !l.Text {
		l.Gone = "Its content is not here any more."
		if !actor(r).May(people.ReadMail) {
			l.Gone = "You see what became of mail, but not what is written in it."
		}
		return nil
	}
	why := l.Tab
	if why == "attachments" || why == "links" {
		why = "page"
	}
	body, end, err := s.content(r.Context(), actor(r), l.ID, why)
	if err != nil {
		return err
	}
	defer end()
	if l.Body, err = s.read(r.Context(), l.Message, body); err != nil {
		return err
	}
	if l.Tab == "raw" {
		b, err := io.ReadAll(io.LimitReader(body.Open(), maxRaw+1))
		if err != nil {
			return err
		}
		l.RawCut = len(b) > maxRaw
		l.Raw, _ = preview.VisibleText(string(b[:min(len(b), maxRaw)]))
	}
	for i := range l.Tabs {
		switch l.Tabs[i].Name {
		case "attachments":
			l.Tabs[i].Count = len(l.Body.Attachments)
		case "links":
			l.Tabs[i].Count = len(l.Body.Links)
		}
	}
	return nil
}

// content reads a message from the Desk. Call end when it is not needed any more.
func (s *Server) content(ctx context.Context, who *people.Actor, id, why string) (body *mail.Body, end func(), err error) {
	done, err := s.reading(ctx, who)
	if err != nil {
		return nil, nil, err
	}
	in, err := s.cfg.Desk.Content(ctx, who, id, why)
	if err != nil {
		done()
		return nil, nil, err
	}
	defer in.Close()
	body = s.spool.New()
	end = func() { body.Close(); done() }
	if _, err := io.Copy(body, in); err != nil {
		end()
		return nil, nil, err
	}
	body.Finish(nil)
	return body, end, nil
}

func (s *Server) read(ctx context.Context, m *review.Message, body *mail.Body) (*preview.Message, error) {
	return preview.Read(ctx, body, preview.Options{Sender: m.Sender, Received: m.Received, Own: s.cfg.Hosts})
}

// messageFrame is the document of the tab Safe HTML: nothing in it is live, and its headers see to
// that once more.
func (s *Server) messageFrame(w http.ResponseWriter, r *http.Request) {
	m, err := s.cfg.Desk.Message(r.Context(), actor(r), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, end, err := s.content(r.Context(), actor(r), m.ID, "html")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer end()
	p, err := s.read(r.Context(), m, body)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	for _, h := range preview.FrameHeaders() {
		w.Header().Set(h[0], h[1])
	}
	_, _ = io.WriteString(w, p.HTML.Document)
}

// fates tells of each recipient: from the journal, and what people did since.
func fates(m *review.Message) []fate {
	var out []fate
	seen := map[string]bool{}
	if m.Entry != nil {
		for _, o := range m.Entry.Outcomes {
			f := fate{Recipient: o.Recipient.String(), What: doneName(o.Do), Tone: doneName(o.Do), Rule: o.Rule, Because: o.Because, Reply: o.Reply}
			if o.Upstream != "" {
				f.Reply = o.Upstream
			}
			seen[f.Recipient] = true
			out = append(out, withState(f, m.Copies))
		}
	}
	for _, c := range m.Copies {
		if to := c.Recipient.Address.String(); !seen[to] {
			out = append(out, withState(fate{Recipient: to, What: "held", Tone: "held", Rule: c.Rule, Because: c.Because}, m.Copies))
		}
	}
	return out
}

func withState(f fate, copies []quarantine.Copy) fate {
	for _, c := range copies {
		if c.Recipient.Address.String() != f.Recipient {
			continue
		}
		f.By = c.By
		switch c.State {
		case quarantine.Released, quarantine.Deleted:
			f.What, f.Tone = string(c.State), string(c.State)
		case quarantine.Spam:
			f.What, f.Tone = "called spam", "spam"
		case quarantine.Releasing:
			f.What, f.Tone = "perhaps delivered", "warn"
		}
	}
	return f
}

func doneName(do string) string {
	switch do {
	case "deliver":
		return "delivered"
	case "quarantine":
		return "held"
	case "reject":
		return "refused"
	case "defer":
		return "deferred"
	case "discard":
		return "discarded"
	case "command":
		return "for Postern itself"
	}
	return do
}

// signers are the domains of the DKIM signatures that hold.
func signers(m *review.Message) []string {
	if m.Entry == nil {
		return nil
	}
	var facts struct{ Domains []string }
	if json.Unmarshal(m.Entry.Facts["dkim"], &facts) != nil {
		return nil
	}
	return facts.Domains
}

// scanned is what the virus scanner said; "" when it was not asked.
func scanned(m *review.Message) string {
	if m.Entry == nil {
		return ""
	}
	var facts struct {
		Error, Signature string
		Infected         bool
	}
	raw, asked := m.Entry.Facts["clamav"]
	if !asked || json.Unmarshal(raw, &facts) != nil {
		return "not asked"
	}
	switch {
	case facts.Infected:
		return "found " + facts.Signature
	case facts.Error != "":
		return "no answer: " + facts.Error
	}
	return "found nothing"
}

// allowChoices are what an entry of the lists can be about.
func allowChoices(m *review.Message) []choice {
	var out []choice
	for _, a := range []string{m.FromAddress, m.Sender} {
		at := strings.LastIndexByte(a, '@')
		if at < 1 {
			continue
		}
		for _, c := range []choice{{a, "this sender: " + a}, {a[at+1:], "everybody of " + a[at+1:]}} {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// scopeChoices are for whom it can be.
func scopeChoices(m *review.Message, who *people.Actor) []choice {
	var out []choice
	add := func(c choice) {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	for _, c := range m.Copies {
		add(choice{c.Recipient.Address.String(), "mail to " + c.Recipient.Address.String()})
	}
	if who.Role == people.User {
		return out
	}
	for _, c := range m.Copies {
		add(choice{"@" + c.Recipient.Address.Domain, "mail to everybody at " + c.Recipient.Address.Domain})
	}
	if _, all := who.Sight(); all {
		add(choice{"everybody", "all mail"})
	}
	return out
}
