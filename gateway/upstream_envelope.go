package gateway

import (
	"strconv"
	"strings"

	"postern/mail"
)

// lacks says what the envelope needs and the server has not, or what of it cannot be
// said to any server; nil when nothing.
func (l *link) lacks(env *mail.Envelope) *mail.Reply {
	o := &env.Options
	switch {
	case !l.ext.UTF8 && (o.UTF8 || env.Sender.NeedsUTF8()):
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 6, 7}, Text: "The destination does not take internationalized mail"}
	case !l.ext.EightBitMIME && o.Body == "8BITMIME":
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 6, 3}, Text: "The destination does not take 8-bit mail"}
	case !l.ext.DSN && (o.Ret != "" || o.EnvID != ""):
		return lacksDSN()
	case !isParam(string(o.Body)), !isParam(o.Ret), !isParam(o.EnvID):
		return &mail.Reply{Code: 501, Enhanced: [3]int{5, 5, 4}, Text: "Bad parameter"}
	}
	return nil
}

// lacksFor is lacks for one recipient.
func (l *link) lacksFor(to *mail.RcptTo) *mail.Reply {
	switch {
	case !l.ext.UTF8 && to.Address.NeedsUTF8():
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 6, 7}, Text: "The destination does not take internationalized addresses"}
	case !l.ext.DSN && (to.Notify != "" || to.ORcpt != ""):
		return lacksDSN()
	case !isParam(to.Notify), !isParam(to.ORcpt):
		return &mail.Reply{Code: 501, Enhanced: [3]int{5, 5, 4}, Text: "Bad parameter"}
	}
	return nil
}

// lacksDSN is for a server that offers less than the others did when the client was told what
// there is. That has been noted by now, so its next try finds DSN not offered.
func lacksDSN() *mail.Reply {
	return &mail.Reply{Code: 451, Enhanced: [3]int{4, 5, 4}, Text: "The destination does not take DSN parameters at the moment, try again"}
}

// isParam reports whether s can be the value of one parameter (esmtp-value of RFC 5321
// 4.1.2 and RFC 6531 3.3; it may hold '=', as ORCPT does in the field).
func isParam(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// begin gives the commands up to MAIL. size is that of what will be sent, as far as it
// is known; 0 when not.
func (l *link) begin(env *mail.Envelope, size int64) []command {
	cmds := make([]command, 0, 8)
	if l.dirty {
		cmds = append(cmds, command{line: "RSET", want: 250})
	}
	if line := l.xforwardLine(env); line != "" {
		cmds = append(cmds, command{line: line, want: 250})
	}
	return append(cmds, command{line: l.mailLine(env, size), want: 250, must: true})
}

func (l *link) mailLine(env *mail.Envelope, size int64) string {
	o := &env.Options
	line := "MAIL FROM:<" + env.Sender.String() + ">"
	if l.size && size > 0 {
		line += " SIZE=" + strconv.FormatInt(size, 10)
	}
	if l.ext.EightBitMIME && o.Body != "" {
		line += " BODY=" + string(o.Body)
	}
	if o.UTF8 {
		line += " SMTPUTF8"
	}
	if o.Ret != "" {
		line += " RET=" + o.Ret
	}
	if o.EnvID != "" {
		line += " ENVID=" + o.EnvID
	}
	return line
}

func (l *link) rcptLine(to *mail.RcptTo) string {
	line := "RCPT TO:<" + to.Address.String() + ">"
	if to.Notify != "" {
		line += " NOTIFY=" + to.Notify
	}
	if to.ORcpt != "" {
		line += " ORCPT=" + to.ORcpt
	}
	return line
}

// xforwardLine tells the server who the client is (Postfix XFORWARD_README), of what it
// wants to know. All of that is said for each message, since the server may remember
// that of the one before.
func (l *link) xforwardLine(env *mail.Envelope) string {
	if !l.host.group.cfg.XForward {
		return ""
	}
	line := ""
	for _, name := range l.xforward {
		value := ""
		switch name {
		case "NAME": // we look no names up
		case "ADDR":
			if a := env.Client.Addr.Unmap(); a.Is6() {
				value = "IPV6:" + a.WithZone("").String()
			} else if a.IsValid() {
				value = a.String()
			}
		case "PORT":
			if env.Client.Port != 0 {
				value = strconv.Itoa(int(env.Client.Port))
			}
		case "HELO":
			value = env.Client.Helo
		case "PROTO":
			if value = "SMTP"; env.Client.ESMTP {
				value = "ESMTP"
			}
		case "IDENT":
			value = env.ID
		default:
			continue
		}
		if value = xtext(value); value == "" {
			value = "[UNAVAILABLE]"
		}
		line += " " + name + "=" + value
	}
	if line == "" {
		return ""
	}
	return "XFORWARD" + line
}

// maxXtext keeps the whole of XFORWARD on a line of 512 bytes.
const maxXtext = 120

// xtext encodes s (RFC 3461 4), cut to maxXtext bytes.
func xtext(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if b.Len()+3 > maxXtext {
			break
		}
		if c > ' ' && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'+', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
