package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/digest"
	"postern/mail"
)

// DigestConf is the mail to users about what is held for them, and how they answer it.
type DigestConf struct {
	Interval    string   `yaml:"interval"`
	At          string   `yaml:"at"`
	MaxItems    int      `yaml:"max_items"`
	From        string   `yaml:"from"`
	ReplyDomain string   `yaml:"reply_domain"`
	FromClients []string `yaml:"from_clients"`
}

// defaultDigest is what holds when nothing is said.
func defaultDigest() DigestConf {
	return DigestConf{Interval: string(digest.Off), At: "07:00", MaxItems: 50}
}

// timeOfDay reads HH:MM as the time since midnight.
func timeOfDay(s string) (time.Duration, bool) {
	h, m, ok := strings.Cut(s, ":")
	hour, err1 := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute,
		ok && err1 == nil && err2 == nil && len(m) == 2 && hour >= 0 && hour < 24 && minute >= 0 && minute < 60
}

// digest checks how users are told of held mail.
func (p *problems) digest() {
	d := &p.c.Digest
	var words []string
	for _, e := range digest.Intervals() {
		words = append(words, string(e))
	}
	p.oneOf("$.digest.interval", d.Interval, words...)
	if _, ok := timeOfDay(d.At); !ok {
		p.bad("$.digest.at", "%q is no time of the day: it is like \"07:00\"", d.At)
	}
	if d.MaxItems < 1 || d.MaxItems > 500 {
		p.bad("$.digest.max_items", "%d messages in one digest: 1 to 500", d.MaxItems)
	}
	from, err := mail.ParseAddress(d.From, false)
	if d.From != "" && err != nil {
		p.bad("$.digest.from", "%q is no address in ASCII", d.From)
	}
	if d.ReplyDomain == "" {
		if len(d.FromClients) > 0 {
			p.bad("$.digest.from_clients", "there is no digest.reply_domain that they could send mail to")
		}
		return
	}
	p.replyDomain(from.Domain)
}

// replyDomain checks the domain whose mail comes to us, and who may bring it.
func (p *problems) replyDomain(from string) {
	d := &p.c.Digest
	name, err := mail.ParseDomain(d.ReplyDomain)
	if err != nil || name[0] == '[' || !strings.Contains(name, ".") {
		p.bad("$.digest.reply_domain", "%q is no domain: it is like reply.example.org", d.ReplyDomain)
		return
	}
	if len(name) > 189 { // with 64 before the @ and the angle brackets: RFC 5321 4.5.3.1.3
		p.bad("$.digest.reply_domain", "%q is too long for addresses in it", d.ReplyDomain)
	}
	d.ReplyDomain = name
	if slices.ContainsFunc(p.c.Domains, func(s string) bool {
		own, err := mail.ParseDomain(strings.TrimPrefix(s, "."))
		return err == nil && own == name
	}) {
		p.bad("$.digest.reply_domain", "%s is one of domains: nobody would get mail there any more; take a domain of its own, such as reply.%s", name, name)
	}
	if from == name {
		p.bad("$.digest.from", "it is in reply_domain, where nobody has a mailbox")
	}
	nets, err := p.c.replyClients()
	switch {
	case err != nil:
		p.bad("$.digest.from_clients", "%v", err)
	case len(nets) == 0:
		p.bad("$.digest.reply_domain", "nobody may bring mail for it: upstream.servers has no IP address, so name the mail server's in digest.from_clients")
	case slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Bits() == 0 }):
		p.bad("$.digest.from_clients", "that is everybody: only your own mail server brings what your users send")
	}
}

// replyClients are those who may bring mail for reply_domain: as configured, else our own relays
// and the internal servers that are named by their IP address.
func (c *Config) replyClients() ([]netip.Prefix, error) {
	if len(c.Digest.FromClients) > 0 {
		return prefixes(c.Digest.FromClients)
	}
	nets, err := prefixes(c.TrustedRelays)
	if err != nil {
		return nil, nil // it is told where it stands
	}
	servers := slices.Clone(c.Upstream.Servers)
	for i := range c.Routes {
		servers = append(servers, c.Routes[i].Servers...)
	}
	for _, s := range servers {
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			host = s
		}
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			nets = append(nets, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		}
	}
	return nets, nil
}

// doubtfulDigest says what of the digests may not be as it was meant; "" when nothing.
func (c *Config) doubtfulDigest() string {
	d := &c.Digest
	ours, err := mail.NewDomainSet(c.Domains)
	switch {
	case err != nil:
	case d.ReplyDomain != "" && ours.Contains(d.ReplyDomain):
		return fmt.Sprintf("digest.reply_domain %s is also one of domains by its pattern: all mail to it is taken for answers to digests, and no mailbox there gets any", d.ReplyDomain)
	case d.Interval != string(digest.Off) && d.ReplyDomain == "" && c.Web.Listen == "":
		return "digests are sent, but users can do nothing about what they read: there are no pages (web.listen) and no digest.reply_domain"
	case d.Interval != string(digest.Off) && c.Web.Listen != "" && localOrigin(c.Web.Origin):
		return fmt.Sprintf("links in digests lead to %s, which users cannot reach: set web.origin", c.Web.Origin)
	}
	return ""
}

// localOrigin reports whether an origin is this machine for every browser.
func localOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && loopback(net.JoinHostPort(u.Hostname(), "80"))
}
