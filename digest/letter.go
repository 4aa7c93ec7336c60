package digest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"postern/mail"
	"postern/people"
)

// A page is what a digest says. Text and HTML are both made of it, with the same words.
type page struct {
	Title  string
	Intro  []string
	Groups []group
	End    []string
	Link   *link // to the list of all that is held
}

type group struct {
	Title string
	Items []entry
	news  []*news
}

// An entry tells of one message. What a stranger wrote is plain already.
type entry struct {
	Subject string
	Lines   []string
	Because string
	Links   []link
}

// A link is one of ours: nothing in it is from a message, and nothing happens when it is opened.
type link struct {
	Words string
	URL   template.URL // https to our own pages, or mailto to an address of ours
}

// letter writes the digest of some news; nil when there are none.
func (d *Digests) letter(ctx context.Context, who *people.Actor, list []*news, more bool, since time.Time) (*mail.Letter, error) {
	if len(list) == 0 {
		return nil, nil
	}
	to, err := mail.ParseAddress(d.address(who), true)
	if err != nil {
		return nil, ErrNoAddress
	}
	d.recognise(ctx, list)
	p := d.page(who, list, more, since)
	html, err := p.html()
	if err != nil {
		return nil, err
	}
	return &mail.Letter{To: to, Subject: p.Title, Text: p.text(), HTML: html}, nil
}

// page says what is new. What is too much for one mail is counted.
func (d *Digests) page(who *people.Actor, list []*news, more bool, since time.Time) *page {
	p := &page{Title: "1 message is held for you"}
	if len(list) > 1 || more {
		p.Title = fmt.Sprintf("%d messages are held for you", len(list))
	}
	p.Intro = []string{fmt.Sprintf("New since %s at %s. They were not delivered to you.", d.date(since), d.o.Host)}
	left := d.o.MaxItems
	released := false
	for _, g := range grouped(list) {
		for _, n := range g.news[:min(len(g.news), left)] {
			e, byMail := d.entry(who, n)
			released = released || byMail
			g.Items = append(g.Items, e)
			left--
		}
		if len(g.Items) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	if released {
		p.Intro = append(p.Intro, `"Release" and "Ask for release" write a mail: send it as it is, from this mailbox. It works for this one message only, and nothing happens before it is sent.`)
	}
	if rest := len(list) - d.o.MaxItems; rest > 0 && more {
		p.End = append(p.End, fmt.Sprintf("And more than %d others.", rest))
	} else if rest > 0 {
		p.End = append(p.End, fmt.Sprintf("And %d more.", rest))
	}
	if d.o.Origin != "" {
		p.Link = &link{"All that is held for you", template.URL(d.o.Origin + "/")}
	}
	return p
}

// entry tells of one message, and what can be done with it; byMail: a mail releases it.
func (d *Digests) entry(who *people.Actor, n *news) (e entry, byMail bool) {
	c := n.copy()
	name, address, other := author(n.item)
	e.Subject = plain(n.item.Subject, maxSubject)
	if e.Subject == "" {
		e.Subject = "(no subject)"
	}
	line := func(label, text string) {
		if text != "" {
			e.Lines = append(e.Lines, label+": "+text)
		}
	}
	line("From", plain(name, maxName))
	if address != name {
		line("Address", plain(address, maxAddress))
	}
	line("Sent by another domain", plain(other, maxAddress))
	if len(who.Addresses) > 1 || !strings.EqualFold(c.Recipient.Address.String(), d.address(who)) {
		line("To", plain(c.Recipient.Address.String(), maxAddress))
	}
	line("Received", d.date(n.item.Received))
	if e.Because = plain(c.Because, maxBecause); e.Because == "" {
		e.Because = "a rule of this site held it"
	}
	if d.o.Origin != "" {
		e.Links = append(e.Links, link{"Show", template.URL(d.o.Origin + "/m/" + url.PathEscape(n.item.ID))})
	}
	words := map[people.Right]string{people.RightAsk: "Ask for release", people.RightRelease: "Release"}[n.right]
	if to := d.replyTo(n); to != "" && words != "" {
		e.Links = append(e.Links, link{words, template.URL("mailto:" + to + "?subject=" + url.PathEscape(words))})
		byMail = true
	}
	return e, byMail
}

// replyTo is the address that releases a message; "" when there is none.
func (d *Digests) replyTo(n *news) string {
	if d.o.Key == nil || d.o.ReplyDomain == "" {
		return ""
	}
	until := d.now().Add(goodFor)
	if end := n.item.Expires; !end.IsZero() && end.Before(until) {
		until = end
	}
	local, ok := d.o.Key.local(ticket{n.item.ID, n.n, until})
	if !ok {
		return ""
	}
	return local + "@" + d.o.ReplyDomain
}

// date is a moment as people read it.
func (d *Digests) date(t time.Time) string {
	return t.In(d.o.Zone).Format("Monday 2 January 2006, 15:04")
}

// text is the digest without any form.
func (p *page) text() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("%s", p.Title)
	for _, s := range p.Intro {
		say("\n%s", s)
	}
	for _, g := range p.Groups {
		say("\n\n%s\n%s", g.Title, strings.Repeat("-", len(g.Title)))
		for _, e := range g.Items {
			say("\n%s", e.Subject)
			for _, s := range e.Lines {
				say("    %s", s)
			}
			say("    Why: %s", e.Because)
			for _, l := range e.Links {
				say("    %s: %s", l.Words, l.URL)
			}
		}
	}
	for _, s := range p.End {
		say("\n%s", s)
	}
	if p.Link != nil {
		say("\n%s: %s", p.Link.Words, p.Link.URL)
	}
	return b.String()
}

//go:embed digest.html
var form string

// html is the same with headings and links. It has no pictures, no scripts, and loads nothing.
func (p *page) html() (string, error) {
	t, err := template.New("digest").Parse(form)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return "", fmt.Errorf("write the digest: %w", err)
	}
	return b.String(), nil
}
