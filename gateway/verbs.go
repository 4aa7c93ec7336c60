package gateway

import (
	"crypto/tls"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

// command carries out a command, or puts it up for go-smtp, which is true.
func (a *adapter) command(line []byte) bool {
	verb, arg, _ := strings.Cut(string(line), " ")
	verb, arg = strings.ToUpper(verb), strings.TrimSpace(arg)
	if !isASCII(arg) && (verb != "MAIL" && verb != "RCPT" || !utf8.ValidString(arg)) {
		a.w.refuse("501 5.5.2 8-bit character in command")
		return false
	}
	a.verb = verb
	switch verb {
	case "EHLO", "HELO", "RSET", "NOOP", "VRFY", "HELP":
		if !a.w.chatter() {
			return false
		}
	}
	if a.secure && a.client.TLS == "" && needsTLS(verb) {
		return a.turnDown(verb+" "+arg, "530 5.7.0 Say STARTTLS first")
	}
	switch verb {
	case "EHLO", "HELO":
		return a.cmdHello(arg)
	case "MAIL":
		return a.cmdMail(arg)
	case "RCPT":
		return a.cmdRcpt(arg)
	case "DATA":
		return a.cmdData(arg)
	case "STARTTLS":
		return a.cmdStartTLS(arg)
	case "RSET":
		if arg == "" {
			return a.put("RSET")
		}
		a.w.refuse("501 5.5.4 RSET takes no parameters")
	case "QUIT":
		if arg == "" {
			a.w.say("221 2.0.0 " + a.w.host + " Bye")
			a.w.die(errQuit)
			return false
		}
		a.w.refuse("501 5.5.4 QUIT takes no parameters")
	case "NOOP":
		a.w.say("250 2.0.0 Ok")
	case "VRFY": // RFC 5321 7.3: the same for everyone
		a.w.say("252 2.5.0 Cannot verify, but will take mail for it if it is ours")
	case "HELP":
		a.w.say("214 2.0.0 See RFC 5321")
	case "EXPN", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML", "XFORWARD":
		a.w.refuse("502 5.5.1 Command not implemented")
	case "XCLIENT":
		return a.cmdXClient(arg)
	case "BDAT":
		return a.cmdBDAT(arg)
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE":
		a.w.expel("521 5.5.1 This is a mail server", errProtocol)
	default:
		if strings.Trim(verb, letters) != "" { // a header line, a part of a page
			a.w.expel("521 5.5.2 This is a mail server", errProtocol)
		} else {
			a.w.refuse("500 5.5.2 Unknown command")
		}
	}
	return false
}

// needsTLS is false for the commands that are left where TLS is required (RFC 3207 4), and for
// what ends the connection.
func needsTLS(verb string) bool {
	switch verb {
	case "HELO", "MAIL", "RCPT", "DATA", "RSET", "VRFY", "EXPN", "HELP", "AUTH", "XCLIENT":
		return true
	}
	return false
}

// put gives go-smtp a line.
func (a *adapter) put(line string) bool {
	a.line = append(append(a.line[:0], line...), '\r', '\n')
	a.give = a.line
	return true
}

func (a *adapter) cmdHello(arg string) bool {
	if arg == "" || len(arg) > 255 {
		a.w.refuse("501 5.5.4 Syntax: " + a.verb + " hostname")
		return false
	}
	if a.client.Helo = a.claimed.helo; a.client.Helo == "" {
		a.client.Helo = mail.Printable(arg, 255)
	}
	return a.put(a.verb + " client")
}

// hello answers EHLO and HELO. The transaction is gone already (RFC 5321 4.1.4).
func (a *adapter) hello(code int) {
	if code != 250 {
		a.reply(nil)
		return
	}
	f := a.front
	a.greeted = true
	a.ext = offered{f.extensions(), a.verb == "EHLO"}
	a.ext.RequireTLS = a.ext.RequireTLS && a.client.TLS != "" // RFC 8689 3
	a.limit = max(f.cfg.Limits.MessageSize, 0)
	if n := a.ext.Size; n > 0 && (a.limit == 0 || n < a.limit) {
		a.limit = n
	}
	a.client.ESMTP = a.ext.esmtp && a.claimed.proto == "" || a.claimed.proto == "ESMTP"
	a.talk.hello(a.client.Helo, a.client.ESMTP, a.client.TLS)
	if !a.ext.esmtp {
		a.w.say("250 " + a.w.host)
		return
	}
	a.w.say("250-" + a.w.host)
	a.w.say("250-PIPELINING")
	if a.limit > 0 {
		a.w.say("250-SIZE " + strconv.FormatInt(a.limit, 10))
	} else {
		a.w.say("250-SIZE")
	}
	if a.client.TLS == "" && f.tlsConfig() != nil {
		a.w.say("250-STARTTLS")
	}
	if f.cfg.Chunking {
		a.w.say("250-CHUNKING")
	}
	if a.ext.EightBitMIME {
		a.w.say("250-8BITMIME")
	}
	if a.ext.UTF8 {
		a.w.say("250-SMTPUTF8")
	}
	if a.ext.DSN {
		a.w.say("250-DSN")
	}
	if a.ext.RequireTLS {
		a.w.say("250-REQUIRETLS")
	}
	if a.assume != nil {
		a.w.say("250-" + xclientOffer)
	}
	a.w.say("250 ENHANCEDSTATUSCODES")
}

func (a *adapter) cmdMail(arg string) bool {
	var refusal string
	switch {
	case !a.greeted:
		refusal = "503 5.5.1 Say EHLO first"
	case a.tx != nil:
		refusal = "503 5.5.1 A transaction is open already"
	default:
		a.from, a.opts, refusal = parseMail(arg, a.ext, a.limit)
	}
	if refusal != "" {
		return a.turnDown("MAIL "+arg, refusal)
	}
	return a.put("MAIL FROM:<s@client.invalid>")
}

// turnDown refuses a command of which no journal entry will tell: the log does.
func (a *adapter) turnDown(command, refusal string) bool {
	a.w.refuse(refusal)
	a.logRefusal(command, refusal)
	return false
}

func (a *adapter) logRefusal(command, refusal string) {
	a.front.log.Info("command refused", "client", a.client.Addr.String(), "helo", a.client.Helo,
		"command", mail.Printable(command, 256), "reply", refusal)
}

func (a *adapter) cmdRcpt(arg string) bool {
	if a.tx == nil {
		a.w.refuse("503 5.5.1 Say MAIL first")
		return false
	}
	var refusal string
	if a.to, refusal = parseRcpt(arg, a.ext, a.opts.UTF8, a.front.postmaster()); refusal != "" {
		return a.turnDown("RCPT "+arg, refusal)
	}
	if most := a.front.cfg.Limits.Recipients; most > 0 && a.accepted >= most {
		a.w.say("452 4.5.3 Too many recipients") // no fault: the rest comes in a second message
		return false
	}
	return a.put("RCPT TO:<r@client.invalid>")
}

func (a *adapter) cmdData(arg string) bool {
	switch {
	case arg != "":
		a.w.refuse("501 5.5.4 DATA takes no parameters")
		return false
	case a.tx == nil:
		a.w.refuse("503 5.5.1 Say MAIL first")
		return false
	case a.tried == 0:
		a.w.refuse("503 5.5.1 Say RCPT first")
		return false
	}
	if r := a.tx.ready(); r != nil {
		a.reply(r)
		return false
	}
	if a.w.early() { // RFC 2920 3.1: DATA ends a group
		a.w.expel("554 5.5.0 Data before the reply to DATA", errEarlyTalk)
		return false
	}
	a.chunks = nil
	return a.put("DATA")
}

func (a *adapter) cmdStartTLS(arg string) bool {
	cfg := a.front.tlsConfig()
	switch {
	case arg != "":
		a.w.refuse("501 5.5.4 STARTTLS takes no parameters")
		return false
	case a.client.TLS != "":
		a.w.refuse("503 5.5.1 TLS is active already")
		return false
	case cfg == nil:
		a.w.refuse("502 5.5.1 STARTTLS is not offered")
		return false
	}
	if a.w.early() { // RFC 3207 4: it has to wait for 220. CVE-2011-0411
		a.w.expel("554 5.5.0 Data before the reply to STARTTLS", errEarlyTalk)
		return false
	}
	state, err := a.w.startTLS(cfg)
	if err != nil {
		return false
	}
	// RFC 3207 4.2: what was said in clear is forgotten.
	a.client.TLS = tlsName(state)
	a.greeted, a.ext, a.client.Helo = false, offered{}, ""
	return a.put("RSET")
}

// tlsName names version and cipher suite: "TLS1.3 TLS_AES_128_GCM_SHA256".
func tlsName(s *tls.ConnectionState) string {
	return strings.ReplaceAll(tls.VersionName(s.Version), " ", "") + " " + tls.CipherSuiteName(s.CipherSuite)
}
