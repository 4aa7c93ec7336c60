package rules

import (
	"net/netip"
	"slices"
	"strings"
)

// A literal is a leaf and whether it holds.
type literal struct {
	*leaf
	holds bool
}

// maxClauses bounds the ways in which a condition can hold that the linter looks at.
const maxClauses = 64

// clauses lists the ways in which a condition can hold, each as leaves that hold or not;
// nil when there are too many.
func clauses(n *node, want bool) [][]literal {
	switch {
	case n.op == opLeaf:
		return [][]literal{{{n.leaf, want}}}
	case n.op == opNot:
		return clauses(n.kids[0], !want)
	}
	out := [][]literal(nil)
	if (n.op == opAnd) == want {
		out = [][]literal{nil}
	}
	for _, k := range n.kids {
		more := clauses(k, want)
		if more == nil {
			return nil
		}
		if (n.op == opAnd) != want {
			out = append(out, more...)
		} else {
			var joined [][]literal
			for _, a := range out {
				for _, b := range more {
					joined = append(joined, append(slices.Clone(a), b...))
				}
				if len(joined) > maxClauses {
					return nil
				}
			}
			out = joined
		}
		if len(out) > maxClauses {
			return nil
		}
	}
	return out
}

// says tells whether the claim of a leaf, != turned into ==, is to be true.
func (l literal) says() bool { return l.holds != l.atom.negate }

// trust looks at how a rule knows whom it is about.
func (l *linter) trust(r *rule) {
	if r.do == None || r.shadow || r.file == builtinName {
		return
	}
	for _, clause := range clauses(r.when, true) {
		goals := make([]goal, len(clause))
		for i, c := range clause {
			goals[i] = goal{&node{op: opLeaf, leaf: c.leaf}, c.holds, 0}
		}
		if !l.solver.can(goals...) {
			continue
		}
		var w *Warning
		if r.do == Deliver {
			w = trusts(r, clause)
		} else if r.do != Defer {
			w = blames(r, clause)
		}
		if w != nil {
			l.out = append(l.out, *w)
			return
		}
	}
}

// A standing is what a clause knows of who sent the message.
type standing struct {
	from, sender, helo *leaf // who it claims to be: From, envelope, EHLO
	provider           string
	network            string // a wide one
	proven             bool   // by DMARC, by a DKIM domain, by address, or by an entry of a list
	spf, signed        bool
	narrow             bool // it is about more than who sent it
	broad              *leaf
}

// trusts judges a way in which a rule delivers.
func trusts(r *rule, clause []literal) *Warning {
	var s standing
	for _, c := range clause {
		s.add(c)
	}
	at := func(l *leaf, code, hint, format string, args ...any) *Warning {
		w := l.at.warn(r.name, code, hint, format, args...)
		return &w
	}
	switch {
	case s.from != nil && !s.proven && !(s.spf && s.sender != nil):
		msg := "anybody can write this From, and what is delivered here passes every later rule"
		if s.signed {
			msg = "a DKIM pass says that somebody signed, not that the domain in From did"
		} else if s.spf {
			msg = "SPF proves the envelope sender, not this From"
		}
		return at(s.from, "from-without-proof", `add: and dmarc.result == "pass"`, "%s", msg)
	case s.sender != nil && s.from == nil && !s.proven && !s.spf:
		return at(s.sender, "from-without-proof", `add: and spf.result == "pass"`, "anybody can name this envelope sender, and what is delivered here passes every later rule")
	case s.helo != nil && s.from == nil && s.sender == nil && !s.proven && !s.narrow:
		return at(s.helo, "from-without-proof", "name its address: inNetwork(client.addr, …)", "anybody can say this in EHLO, and what is delivered here passes every later rule")
	case s.network != "" && !s.narrow:
		return at(s.broad, "whole-provider", "name the addresses of the servers that you mean", "%s is more than one organisation: all of its customers are let in", s.network)
	case s.provider != "" && !s.narrow:
		return at(s.broad, "whole-provider", "name the addresses that you mean", "everybody can have an address at %s, and all of them are let in", s.provider)
	case s.broad != nil && s.provider == "" && s.network == "" && s.from == nil && s.sender == nil && s.helo == nil && !s.narrow:
		return at(s.broad, "whole-provider", "say whose mail you mean", "whoever has a domain can pass this, and is let in")
	}
	return nil
}

// add takes one leaf of a clause in.
func (s *standing) add(c literal) {
	l, m := c.leaf, &c.leaf.mention
	if !c.says() || l.fixed != 0 || l.dated {
		return // what is not so tells nothing of who it is
	}
	is := func(path string, value string) bool {
		return l.atom.path == path && len(l.atom.values) > 0 && !slices.ContainsFunc(l.atom.values, func(v string) bool { return v != value })
	}
	switch {
	case is("dmarc.result", "pass"), l.atom.path == "dmarc.aligned_spf", l.atom.path == "dmarc.aligned_dkim":
		s.proven, s.broad = true, l
	case is("spf.result", "pass"), is("spf.mailfrom.result", "pass"):
		s.spf, s.broad = true, l
	case is("dkim.result", "pass"):
		s.signed, s.broad = true, l
	case is("spf.result", "none"), is("dkim.result", "none"), is("dmarc.result", "none"), is("dmarc.policy", "none"):
	case slices.Contains(m.calls, "inNetwork") && m.names("client.addr"):
		s.proven = true
		if n := wide(m.texts); n != "" {
			s.network, s.broad = n, l
		} else {
			s.narrow = true
		}
	case m.names("client.addr", "client.trusted") || slices.ContainsFunc(m.facts, func(f string) bool { return strings.HasPrefix(f, "lists.") }):
		s.proven, s.narrow = true, true
	case l.atom.op != "": // a number is nobody's name
		s.narrow = true
	case m.names("dkim.signatures", "dkim.domains"):
		s.proven = true
		s.identity(l)
	case m.names("content.from", "content.reply_to", "dmarc.domain", "dmarc.org_domain") || m.names("content.header", "content.headers") && m.names(".from"):
		s.from = l
		s.identity(l)
	case m.names("sender.address", "sender.domain", "sender.local", "spf.domain"):
		if !is("sender.address", "") && !is("sender.domain", "") {
			s.sender = l
		}
		s.identity(l)
	case m.names("client.helo"):
		s.helo = l
	case m.names("spf.result", "dkim.result", "dmarc.result", "dmarc.policy", "client.tls", "client.esmtp"):
	default:
		s.narrow = true
	}
}

// identity looks how wide the circle is that a leaf names.
func (s *standing) identity(l *leaf) {
	for _, t := range l.mention.texts {
		if p := strings.TrimLeft(strings.ToLower(t), "*@."); strings.Contains(" "+providers+" ", " "+p+" ") && p != "" {
			s.provider, s.broad = p, l
			return
		}
	}
	s.narrow = true
}

// blames judges a way in which a rule holds or refuses.
func blames(r *rule, clause []literal) *Warning {
	var from *leaf
	for _, c := range clause {
		m := &c.leaf.mention
		if c.leaf.fixed != 0 {
			continue
		}
		if !c.says() || !m.names("content.from") || !m.names(".domain", ".address") || m.names(".name", ".name_domain") {
			return nil
		}
		for _, f := range m.facts {
			if !strings.HasPrefix(f, ".") && f != "content.from" {
				return nil
			}
		}
		if len(m.calls) > 0 && !slices.Contains(m.calls, "inList") && !slices.Contains(m.calls, "isSubdomain") {
			return nil
		}
		from = c.leaf
	}
	if from == nil {
		return nil
	}
	w := from.at.warn(r.name, "from-alone", `use sender.domain, or add: and dmarc.result != "pass" (forged mail) or == "pass" (really theirs)`,
		"anybody can write this From: forged mail and the owner's own are treated alike")
	return &w
}

// wide names the first network that is larger than one organisation is.
func wide(networks []string) string {
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil || p.Addr().IsPrivate() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Bits() > 0 && p == netip.MustParsePrefix("100.64.0.0/10") {
			continue
		}
		if p.Addr().Is4() && p.Bits() < 16 || p.Addr().Is6() && p.Bits() < 32 {
			return n
		}
	}
	return ""
}

// providers are domains at which everybody can have an address or send for others.
const providers = `gmail.com googlemail.com google.com outlook.com hotmail.com live.com msn.com office365.com
 onmicrosoft.com protection.outlook.com microsoft.com yahoo.com ymail.com yahoo.co.uk yahoo.de yahoo.fr aol.com icloud.com me.com
 mac.com gmx.de gmx.net gmx.com gmx.at gmx.ch web.de t-online.de freenet.de mail.com mail.ru yandex.ru yandex.com
 proton.me protonmail.com protonmail.ch pm.me tutanota.com tuta.com zoho.com fastmail.com hey.com qq.com 163.com 126.com
 orange.fr free.fr laposte.net wanadoo.fr libero.it virgilio.it seznam.cz wp.pl o2.pl onet.pl comcast.net att.net
 verizon.net cox.net btinternet.com sky.com bluewin.ch naver.com daum.net uol.com.br terra.com.br rediffmail.com
 amazonses.com sendgrid.net mailgun.org mailgun.net mandrillapp.com mcsv.net mcdlv.net rsgsv.net sparkpostmail.com
 mailjet.com sendinblue.com brevo.com postmarkapp.com mtasv.net hubspotemail.net salesforce.com exacttarget.com
 amazonaws.com googleusercontent.com`

// Provider tells of a domain whether everybody can have an address there, or send by it.
func Provider(domain string) bool {
	domain = strings.ToLower(domain)
	for {
		if slices.Contains(strings.Fields(providers), domain) {
			return true
		}
		_, rest, ok := strings.Cut(domain, ".")
		if !ok {
			return false
		}
		domain = rest
	}
}
