package gateway

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

// A reference is the plain state machine of RFC 5321 with our limits. It reads the whole of what
// a client sends, line by line.
type reference struct {
	in       []byte
	codes    []string // of all replies
	log      []string // what the flow must see
	messages []string

	extras         bool // CHUNKING is offered, and XCLIENT allowed
	claimed        claim
	greeted        bool
	ext            offered
	utf8           bool
	mail           bool
	tried, taken   int
	from, to       string
	faults, idling int
	over           bool
}

func (m *reference) say(code string) { m.codes = append(m.codes, code) }

// fault says a refusal; too many of them end the session.
func (m *reference) fault(code string) {
	m.say(code)
	if m.faults++; m.faults >= dialogueLimits.Errors {
		m.hangUp("421")
	}
}

func (m *reference) hangUp(code string) {
	m.say(code)
	m.over = true
}

func (m *reference) forget() { m.mail, m.tried, m.taken, m.to = false, 0, 0, "" }

func (m *reference) run() {
	m.say("220")
	for !m.over {
		if text, ok := m.line(); ok {
			m.command(text)
		}
	}
}

// line is the next command line; ok is false when it is none, which was said.
func (m *reference) line() (text string, ok bool) {
	i := bytes.IndexByte(m.in, '\n')
	if i < 0 {
		m.over = true
		return "", false
	}
	line := string(m.in[:i+1])
	m.in = m.in[i+1:]
	text, ended := strings.CutSuffix(line, "\r\n")
	switch {
	case !ended:
		m.hangUp("500")
	case len(line) > dialogueLimits.Line:
		m.fault("500")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		m.fault("501")
	default:
		return text, true
	}
	return "", false
}

func (m *reference) command(text string) {
	verb, arg, _ := strings.Cut(text, " ")
	verb, arg = strings.ToUpper(verb), strings.TrimSpace(arg)
	path := verb == "MAIL" || verb == "RCPT"
	if !isASCII(arg) && !(path && utf8.ValidString(arg)) {
		m.fault("501")
		return
	}
	if slices.Contains([]string{"EHLO", "HELO", "RSET", "NOOP", "VRFY", "HELP"}, verb) {
		if m.idling++; m.idling > dialogueLimits.Chatter {
			m.hangUp("421")
			return
		}
	}
	switch verb {
	case "EHLO", "HELO":
		if arg == "" || len(arg) > 255 {
			m.fault("501")
			return
		}
		m.greeted, m.ext = true, offered{dialogueExtensions(), verb == "EHLO"}
		m.forget()
		m.say("250")
	case "MAIL", "RCPT":
		m.path(verb, arg)
	case "DATA":
		m.data(arg)
	case "RSET", "QUIT":
		switch {
		case arg != "":
			m.fault("501")
		case verb == "QUIT":
			m.hangUp("221")
		default:
			m.forget()
			m.say("250")
		}
	case "NOOP":
		m.say("250")
	case "VRFY":
		m.say("252")
	case "HELP":
		m.say("214")
	case "STARTTLS":
		if arg != "" {
			m.fault("501")
		} else {
			m.fault("502")
		}
	case "EXPN", "AUTH":
		m.fault("502")
	case "XCLIENT":
		m.xclient(arg)
	case "BDAT":
		m.bdat(arg)
	case "GET", "POST":
		m.hangUp("521")
	default:
		if strings.Trim(verb, letters) != "" {
			m.hangUp("521")
		} else {
			m.fault("500")
		}
	}
}

// path takes the grammar of MAIL and RCPT from where FuzzMailAndRcpt tries it.
func (m *reference) path(verb, arg string) {
	if verb == "MAIL" {
		from, o, refusal := parseMail(arg, m.ext, dialogueLimits.MessageSize)
		switch {
		case !m.greeted, m.mail:
			m.fault("503")
		case refusal != "":
			m.fault(refusal[:3])
		default:
			m.log = append(m.log, "mail "+from.String())
			if from.Local == "refused" {
				m.fault("550")
				return
			}
			m.mail, m.from, m.utf8 = true, from.String(), o.UTF8
			m.say("250")
		}
		return
	}
	if !m.mail {
		m.fault("503")
		return
	}
	to, refusal := parseRcpt(arg, m.ext, m.utf8, mail.Address{Local: "postmaster", Domain: "gw.test"})
	switch {
	case refusal != "":
		m.fault(refusal[:3])
		return
	case m.taken >= dialogueLimits.Recipients:
		m.say("452")
		return
	}
	m.tried++
	m.log = append(m.log, "rcpt "+to.Address.String())
	switch to.Address.Local {
	case "no":
		m.fault("550")
	case "later":
		m.say("451")
	case "bye":
		m.hangUp("421")
	default:
		m.taken++
		m.to += " " + to.Address.String()
		m.say("250")
	}
}

func (m *reference) data(arg string) {
	switch {
	case arg != "":
		m.fault("501")
		return
	case !m.mail, m.tried == 0:
		m.fault("503")
		return
	case m.taken == 0:
		m.fault("554")
		return
	}
	m.say("354")
	m.log = append(m.log, "data")
	envelope := m.from + m.to
	m.forget()
	body, rest, bareCR, bareLF, whole := plainBody(m.in)
	m.in = rest
	switch {
	case !whole && int64(len(m.in)) == 0: // the line was cut, perhaps after there was too much
		m.over = true
		m.say("4or5")
	case int64(len(body)) > dialogueLimits.MessageSize:
		m.fault("552")
	case bareCR || bareLF:
		m.fault("550")
	default:
		m.say("250")
		m.faults, m.idling = 0, 0
		m.messages = append(m.messages, envelope+": "+string(body))
	}
}

func (m *reference) xclient(arg string) {
	c, ok := m.claimed.read(arg)
	switch {
	case !m.extras:
		m.fault("502")
	case m.mail:
		m.fault("503")
	case !ok:
		m.fault("501")
	default:
		m.say("220")
		m.claimed, m.greeted, m.ext, m.faults, m.idling = c, false, offered{}, 0, 0
		m.log = append(m.log, "connect "+c.client.Addr().String())
	}
}

// octets takes a chunk; ok is false when the client left in it.
func (m *reference) octets(n int64) (chunk []byte, ok bool) {
	if int64(len(m.in)) < n {
		m.in, m.over = nil, true
		return nil, false
	}
	chunk, m.in = m.in[:n], m.in[n:]
	return chunk, true
}

const mostOctets = 300 + 1<<20 // with dialogueLimits

// unwanted reads a chunk that is refused.
func (m *reference) unwanted(n int64, code string) {
	if n > mostOctets {
		m.hangUp("552")
	} else if _, ok := m.octets(n); ok {
		m.fault(code)
	}
}

func (m *reference) bdat(arg string) {
	n, last, ok := parseChunk(arg)
	switch {
	case !m.extras:
		m.hangUp("503")
		return
	case !ok:
		m.fault("501")
		return
	case !m.mail, !m.ext.esmtp, m.tried == 0:
		m.unwanted(n, "503")
		return
	case m.taken == 0:
		m.unwanted(n, "554")
		return
	}
	m.log = append(m.log, "data")
	envelope := m.from + m.to
	m.forget()
	var content []byte
	for {
		if int64(len(content))+n > dialogueLimits.MessageSize {
			if n > mostOctets-int64(len(content)) {
				m.hangUp("552")
			} else if _, ok := m.octets(n); !ok {
				m.say("552")
			} else {
				m.fault("552")
			}
			return
		}
		chunk, ok := m.octets(n)
		if !ok {
			m.say("451")
			return
		}
		content = append(content, chunk...)
		if last {
			break
		}
		m.say("250")
		if n, last, ok = m.between(); !ok {
			return
		}
	}
	bare := bytes.ReplaceAll(content, []byte("\r\n"), nil)
	if bytes.ContainsAny(bare, "\r\n") {
		m.fault("550")
		return
	}
	m.say("250")
	m.faults, m.idling = 0, 0
	m.messages = append(m.messages, envelope+": "+string(content))
}

// between reads commands until the next chunk; ok is false when the message was given up.
func (m *reference) between() (n int64, last, ok bool) {
	for !m.over {
		text, ok := m.line()
		if !ok {
			continue
		}
		verb, arg, _ := strings.Cut(text, " ")
		switch verb = strings.ToUpper(verb); verb {
		case "BDAT":
			if n, last, ok = parseChunk(arg); !ok {
				m.fault("501")
			}
			return n, last, ok
		case "RSET", "EHLO", "HELO", "QUIT":
			m.command(text)
			return 0, false, false
		case "NOOP":
			if m.idling++; m.idling > dialogueLimits.Chatter {
				m.hangUp("421")
			} else {
				m.say("250")
			}
		default:
			m.fault("503")
		}
	}
	return 0, false, false
}
