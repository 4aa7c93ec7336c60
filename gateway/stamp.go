package gateway

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"postern/mail"
	"postern/rules"
)

// An authenticator is facts that have results for Authentication-Results.
type authenticator interface{ AuthResults() []mail.AuthResult }

// maxResults bounds the results of one field, maxValue the bytes of one value.
const (
	maxResults = 32
	maxValue   = 900
)

// product stands in our Received field, by which we know it again.
const product = "(Postern)"

// traceDate is the date-time of RFC 5322 3.3.
const traceDate = "Mon, 02 Jan 2006 15:04:05 -0700"

// stamp makes the block that goes on top of a relayed message: what happened, who it claims to
// be, and what we made of it. All that a stranger chose is quoted or reduced.
func (t *transaction) stamp(rcpts []*recipient, g group) []byte {
	b := make([]byte, 0, 1024)
	b = t.received(b, rcpts, g)
	b = appendAuthResults(b, t.g.cfg.Hostname, t.results(), t.env.Options.UTF8)
	b = appendField(b, "X-Postern-Id", t.env.ID)
	first := &rcpts[g.to[0]].verdict
	verdict := rules.Deliver.String()
	same := !slices.ContainsFunc(g.to, func(i int) bool { // what was decided for one is not told to another
		v := &rcpts[i].verdict
		return v.Rule != first.Rule || v.Because != first.Because || v.Score != first.Score
	})
	if same && first.Rule != "" {
		verdict += "; rule=" + mail.Printable(first.Rule, 200)
	}
	b = appendField(b, "X-Postern-Verdict", verdict)
	if same {
		if first.Because != "" {
			b = appendField(b, "X-Postern-Reason", first.Because)
		}
		b = appendField(b, "X-Postern-Score", strconv.FormatFloat(first.Score, 'f', -1, 64))
	}
	return b
}

// received appends our Received field (RFC 5321 4.4).
func (t *transaction) received(b []byte, rcpts []*recipient, g group) []byte {
	c := &t.env.Client
	b = append(b, "Received: from "...)
	literal := "[" + c.Addr.Unmap().String() + "]"
	if !c.Addr.IsValid() { // as XCLIENT may say
		literal = "[unknown]"
	} else if c.Addr.Unmap().Is6() {
		literal = "[IPv6:" + c.Addr.String() + "]"
	}
	if d, err := mail.ParseDomain(c.Helo); err == nil && len(d) < 256 {
		b = append(b, d...)
		b = append(b, " ("+literal+")"...)
	} else {
		b = append(b, literal+" (helo="+commentText(c.Helo, 100)+")"...)
	}
	b = append(b, "\r\n\tby "+t.g.cfg.Hostname+" "+product+" with "+protocol(c, t.env.Options.UTF8)...)
	if c.TLS != "" {
		b = append(b, " ("+commentText(c.TLS, 100)+")"...)
	}
	b = append(b, " id "+t.env.ID...)
	if len(g.to) == 1 { // of several, each would learn of the others
		if to := rcpts[g.to[0]].goal.Address; t.env.Options.UTF8 || !to.NeedsUTF8() {
			b = append(b, "\r\n\tfor <"+to.String()+">"...)
		}
	}
	b = append(b, ";\r\n\t"...)
	b = t.env.Received.AppendFormat(b, traceDate)
	return append(b, "\r\n"...)
}

// protocol is the WITH protocol (RFC 3848, RFC 6531 4.3).
func protocol(c *mail.Client, utf8 bool) string {
	p := "SMTP"
	switch {
	case utf8:
		p = "UTF8SMTP"
	case c.ESMTP:
		p = "ESMTP"
	}
	if c.TLS != "" {
		p += "S"
	}
	return p
}

// results collects what is stamped. A filter that failed is an error of ours or of the DNS: it
// is said to have failed, never left out as if it had nothing to say.
func (t *transaction) results() []mail.AuthResult {
	out := make([]mail.AuthResult, 0, 5) // two of SPF, one or two of DKIM, one of DMARC
	for _, name := range t.policy.stamped {
		facts, err, known := t.scope.Lookup(name)
		a, ok := facts.(authenticator)
		switch {
		case err != nil || known && !ok:
			out = append(out, mail.AuthResult{Method: name, Result: "temperror"})
		case !known && t.scope.Started(name):
			out = append(out, mail.AuthResult{Method: name, Result: "temperror", Reason: "took too long"})
		case known:
			out = append(out, a.AuthResults()...)
		}
	}
	return out[:min(len(out), maxResults)]
}

// stampOrder is the order of results in the field.
func stampOrder(name string) int {
	if i := slices.Index([]string{"spf", "dkim", "dmarc"}, name); i >= 0 {
		return i
	}
	return 3
}

// appendAuthResults appends an Authentication-Results field (RFC 8601 2.2). Every word in it is
// a token, a mailbox in its canonical form or a quoted string, so values can end neither their
// own place nor the field.
func appendAuthResults(b []byte, host string, results []mail.AuthResult, utf8 bool) []byte {
	b = append(append(b, "Authentication-Results: "...), host...)
	n := 0
	for _, r := range results {
		if !keyword(r.Method) || !keyword(r.Result) {
			continue
		}
		n++
		b = append(append(b, ";\r\n\t"...), strings.ToLower(r.Method)...)
		b = append(append(b, '='), strings.ToLower(r.Result)...)
		if r.Comment != "" {
			b = append(append(append(b, " ("...), commentText(r.Comment, 200)...), ')')
		}
		if r.Reason != "" {
			b = append(b, "\r\n\t\treason="...)
			b = appendQuoted(b, r.Reason, false)
		}
		for _, p := range r.Props {
			if keyword(p.Type) && keyword(p.Name) && p.Value != "" {
				b = append(append(append(b, "\r\n\t\t"...), p.Type...), '.')
				b = append(append(b, p.Name...), '=')
				b = appendValue(b, p.Value, utf8)
			}
		}
	}
	if n == 0 {
		b = append(b, "; none"...)
	}
	return append(b, "\r\n"...)
}

// appendValue appends a pvalue.
func appendValue(b []byte, v string, utf8 bool) []byte {
	if token(v) && len(v) <= maxValue {
		return append(b, v...)
	}
	if a, err := mail.ParseAddress(v, utf8); err == nil && a.String() == v {
		return append(b, v...)
	}
	return appendQuoted(b, v, utf8)
}

// appendQuoted appends v as a quoted-string (RFC 5322 3.2.4) on one line.
func appendQuoted(b []byte, v string, utf8 bool) []byte {
	b = append(b, '"')
	for i, r := range v {
		if i > maxValue {
			break
		}
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\')
		case r < ' ' || r == 0x7f || r > '~' && !utf8 || r == '\uFFFD':
			r = '?'
		}
		b = append(b, string(r)...)
	}
	return append(b, '"')
}

// keyword reports whether s is a Keyword (RFC 8601 2.2: Ldh-str, to which _ is added, that
// registered words have).
func keyword(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// token reports whether s is a token (RFC 2045 5.1).
func token(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// commentText reduces s to what may stand in a comment.
func commentText(s string, most int) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '(', ')', '\\':
			return '?'
		}
		return r
	}, mail.Printable(s, most))
}

// appendField appends a field of ours. The value is unstructured: printable text as it is,
// anything else as encoded words.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, fieldText(value)...), "\r\n"...)
}

// fieldText makes s safe as the rest of a field.
func fieldText(s string) string {
	s = bounded(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s), 500)
	if strings.Contains(s, "=?") { // it would be read as an encoded word of ours
		return mail.Printable(strings.ReplaceAll(s, "=?", "= ?"), 600)
	}
	s = mime.QEncoding.Encode("utf-8", s)
	return strings.ReplaceAll(s, "?= =?", "?=\r\n =?")
}

// bounded cuts s to most bytes of valid UTF-8.
func bounded(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// looping reports whether the message has come through too many hosts, or through us twice
// before: once is no loop, since a mailbox behind us may forward to another.
func looping(h *mail.Header, host string, hops int) bool {
	seen, own := 0, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		if !f.Is("Received") {
			continue
		}
		seen++
		v := f.Value()
		if strings.Contains(v, product) && strings.Contains(strings.Join(strings.Fields(v), " "), "by "+host+" "+product) {
			own++
		}
	}
	return hops > 0 && seen > hops || own >= 2
}
