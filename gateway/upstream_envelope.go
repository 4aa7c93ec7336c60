package gateway

import (
	"strconv"

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
	case !l.ext.RequireTLS && o.RequireTLS:
		return replyNoRequireTLS
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
	if o.RequireTLS {
		line += " REQUIRETLS"
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
