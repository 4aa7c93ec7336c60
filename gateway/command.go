package gateway

import (
	"errors"
	"strconv"
	"strings"

	"postern/mail"
)

// The grammar of MAIL and RCPT: RFC 5321 4.1.2, with the parameters of RFC 1870 (SIZE),
// 6152 (BODY), 6531 (SMTPUTF8), 8689 (REQUIRETLS) and 3461 (RET, ENVID, NOTIFY, ORCPT). A parameter is known
// only where its extension was offered. What is refused is told by a ready reply line.

// offered is what EHLO named, as far as it allows parameters.
type offered struct {
	mail.Extensions
	esmtp bool // HELO offers nothing
}

// parseMail parses what follows MAIL. limit is the SIZE limit, 0 for none.
func parseMail(arg string, ext offered, limit int64) (from mail.Address, o mail.Options, refusal string) {
	path, params, ok := cutPath(arg, "FROM:")
	if !ok {
		return from, o, "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"
	}
	err := eachParam(params, func(name, value string) string { return mailParam(&o, ext, limit, name, value) })
	if err != "" || path == "" {
		return from, o, err
	}
	from, e := mail.ParseAddress(path, o.UTF8)
	switch {
	case errors.Is(e, mail.ErrNonASCII):
		return from, o, "553 5.6.7 Address needs SMTPUTF8"
	case e != nil:
		return from, o, "553 5.1.7 Bad sender address syntax"
	}
	return from, o, ""
}

func mailParam(o *mail.Options, ext offered, limit int64, name, value string) string {
	switch {
	case name == "SIZE" && ext.esmtp:
		return sizeParam(o, limit, value)
	case name == "BODY" && ext.esmtp && ext.EightBitMIME:
		o.Body = mail.BodyType(strings.ToUpper(value))
		if o.Body != "7BIT" && o.Body != "8BITMIME" {
			return "501 5.5.4 BODY is 7BIT or 8BITMIME"
		}
	case name == "SMTPUTF8":
		if !ext.esmtp || !ext.UTF8 {
			return "550 5.6.7 SMTPUTF8 is not offered"
		}
		if value != "" {
			return "501 5.5.4 SMTPUTF8 takes no value"
		}
		o.UTF8 = true
	case name == "REQUIRETLS":
		if !ext.esmtp || !ext.RequireTLS {
			return replyLine(replyNoRequireTLS)
		}
		if value != "" {
			return "501 5.5.4 REQUIRETLS takes no value"
		}
		o.RequireTLS = true
	case name == "RET" && ext.esmtp && ext.DSN:
		o.Ret = strings.ToUpper(value)
		if o.Ret != "FULL" && o.Ret != "HDRS" {
			return "501 5.5.4 RET is FULL or HDRS"
		}
	case name == "ENVID" && ext.esmtp && ext.DSN:
		if len(value) > 100 || !isXtext(value) { // RFC 3461 4.4
			return "501 5.5.4 Bad ENVID"
		}
		o.EnvID = value
	default:
		return "555 5.5.4 Parameter not recognized or not offered"
	}
	return ""
}

// sizeParam reads a size-value, 1*20DIGIT (RFC 1870 3).
func sizeParam(o *mail.Options, limit int64, value string) string {
	if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
		return "501 5.5.4 Bad SIZE"
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || limit > 0 && n > limit {
		return "552 5.3.4 Message exceeds the size limit"
	}
	o.Size = n
	return ""
}

// parseRcpt parses what follows RCPT. utf8 is whether MAIL said SMTPUTF8; postmaster is
// where <postmaster> goes (RFC 5321 4.1.1.3).
func parseRcpt(arg string, ext offered, utf8 bool, postmaster mail.Address) (to mail.RcptTo, refusal string) {
	path, params, ok := cutPath(arg, "TO:")
	if !ok {
		return to, "501 5.5.4 Syntax: RCPT TO:<address> [parameters]"
	}
	if err := eachParam(params, func(name, value string) string { return rcptParam(&to, ext, name, value) }); err != "" {
		return to, err
	}
	if strings.EqualFold(path, "postmaster") {
		to.Address = postmaster
		return to, ""
	}
	a, err := mail.ParseAddress(path, utf8)
	switch {
	case errors.Is(err, mail.ErrNonASCII):
		return to, "553 5.6.7 Address needs SMTPUTF8"
	case err != nil:
		return to, "553 5.1.3 Bad recipient address syntax"
	case strings.ContainsAny(a.Local, "%!@"):
		// Percent hack, bang path, an address inside: another server may route them on.
		return to, "553 5.1.3 Routing in the local part is not allowed"
	}
	to.Address = a
	return to, ""
}

func rcptParam(to *mail.RcptTo, ext offered, name, value string) string {
	switch {
	case name == "NOTIFY" && ext.esmtp && ext.DSN:
		if to.Notify = strings.ToUpper(value); !isNotify(to.Notify) {
			return "501 5.5.4 Bad NOTIFY"
		}
	case name == "ORCPT" && ext.esmtp && ext.DSN:
		kind, addr, _ := strings.Cut(value, ";")
		if len(value) > 500 || kind == "" || strings.Trim(kind, letters+"0123456789-") != "" || !isXtext(addr) { // RFC 3461 4.2
			return "501 5.5.4 Bad ORCPT"
		}
		to.ORcpt = value
	default:
		return "555 5.5.4 Parameter not recognized or not offered"
	}
	return ""
}

// cutPath takes "FROM:<path> parameters" apart. A '>' in a quoted local part does not end
// the path. Blanks after the colon are let pass, as everywhere.
func cutPath(arg, key string) (path, params string, ok bool) {
	if len(arg) < len(key) || !strings.EqualFold(arg[:len(key)], key) {
		return "", "", false
	}
	arg = strings.TrimLeft(arg[len(key):], " ")
	if arg == "" || arg[0] != '<' {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(arg); i++ {
		switch c := arg[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			rest := arg[i+1:]
			return arg[1:i], rest, rest == "" || rest[0] == ' '
		}
	}
	return "", "", false
}

// eachParam calls f for each esmtp-param, with the name in upper case, until f refuses one.
func eachParam(params string, f func(name, value string) string) (refusal string) {
	var seen [6]string // no command has more that are allowed
	n := 0
	for params = strings.TrimLeft(params, " "); params != ""; params = strings.TrimLeft(params, " ") {
		var one string
		one, params, _ = strings.Cut(params, " ")
		name, value, hasValue := strings.Cut(one, "=")
		name = strings.ToUpper(name)
		if hasValue && value == "" || strings.Contains(value, "=") || !isASCII(one) {
			return "501 5.5.4 Bad parameter syntax"
		}
		for _, s := range seen[:min(n, len(seen))] {
			if s == name {
				return "501 5.5.4 Parameter given twice"
			}
		}
		if refusal = f(name, value); refusal != "" {
			return refusal
		}
		if n < len(seen) {
			seen[n] = name
		}
		n++
	}
	return ""
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isXtext reports whether s is non-empty xtext (RFC 3461 4): printable, without '=' and
// with '+' only before two upper-case hexadecimal digits.
func isXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < '!' || c > '~' || c == '=':
			return false
		case c == '+':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		}
	}
	return s != ""
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// isNotify reports whether s is NEVER or a list of the other words, each once.
func isNotify(s string) bool {
	if s == "NEVER" {
		return true
	}
	seen := ""
	for word := range strings.SplitSeq(s, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" || strings.Contains(seen, word) {
			return false
		}
		seen += word
	}
	return true
}
