package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// xclientOffer are the attributes of XCLIENT that listed peers may name. The names, the login and
// the destination are taken and not used.
const xclientOffer = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// A claim is what a listed peer has said of its client by XCLIENT (Postfix XCLIENT_README). It
// holds to the end of the connection, or until the peer says otherwise.
type claim struct {
	client netip.AddrPort // not valid: unavailable
	helo   string         // "": what EHLO says
	proto  string         // SMTP or ESMTP; "": what EHLO or HELO says
}

// read takes the attributes of one XCLIENT over what was claimed before; nothing of one with a
// mistake in it.
func (c claim) read(arg string) (claim, bool) {
	words := strings.Fields(arg)
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		value, ok := unxtext(value)
		if value == "" || len(value) > 255 {
			return c, false
		}
		switch strings.ToUpper(value) {
		case "[UNAVAILABLE]", "[TEMPUNAVAIL]":
			value = ""
		}
		if !ok || !c.attribute(strings.ToUpper(name), value) {
			return c, false
		}
	}
	return c, len(words) > 0
}

// attribute takes one; "" is unavailable.
func (c *claim) attribute(name, value string) bool {
	switch name {
	case "ADDR":
		if value == "" {
			c.client = netip.AddrPort{}
			return true
		}
		six := len(value) > 5 && strings.EqualFold(value[:5], "IPV6:")
		if six {
			value = value[5:]
		}
		a, err := netip.ParseAddr(value)
		c.client = netip.AddrPortFrom(a.Unmap(), c.client.Port())
		return err == nil && a.Is6() == six && a.Zone() == ""
	case "PORT":
		port, err := strconv.ParseUint(value, 10, 16)
		c.client = netip.AddrPortFrom(c.client.Addr(), uint16(port))
		return err == nil || value == ""
	case "HELO":
		c.helo = mail.Printable(value, 255)
	case "PROTO":
		c.proto = strings.ToUpper(value)
		return c.proto == "SMTP" || c.proto == "ESMTP" || c.proto == ""
	case "NAME", "REVERSE_NAME", "LOGIN", "DESTADDR", "DESTPORT":
	default:
		return false
	}
	return true
}

// unxtext decodes xtext (RFC 3461 4), printable characters only.
func unxtext(s string) (string, bool) {
	if !isXtext(s) && strings.ContainsAny(s, "+=") {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			c = byte(n)
			i += 2
		}
		if c < ' ' || c > '~' {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// cmdXClient begins anew, as if the client that a listed peer names had just connected.
func (a *adapter) cmdXClient(arg string) bool {
	claimed, ok := a.claimed.read(arg)
	switch {
	case a.assume == nil:
		a.w.refuse("502 5.5.1 Command not implemented")
		return false
	case a.tx != nil:
		a.w.refuse("503 5.5.1 A transaction is open")
		return false
	case !ok:
		a.w.refuse("501 5.5.4 Syntax: XCLIENT attribute=value ...")
		return false
	}
	a.talk.end(errQuit) // the one before has heard all there was
	a.talk = idle{}
	a.claimed = claimed
	a.client = mail.Client{Addr: claimed.client.Addr(), Port: claimed.client.Port(), TLS: a.client.TLS}
	if !a.assume(a) {
		a.w.expel("421 4.7.0 "+a.w.host+" Too many connections from your address, try again later", errTooManyConns)
		return false
	}
	a.greeted, a.ext = false, offered{}
	a.w.faults, a.w.idling = 0, 0 // they were another's
	return a.put("RSET")
}

// assumer gives what makes the client that an adapter has now that of its connection: its limits,
// its place in the lists, a conversation of its own. It is false when the client has too many.
func (p *place) assumer(connect func(mail.Client) talk) func(*adapter) bool {
	return func(a *adapter) bool {
		s := p.s
		if p.limited {
			s.doors.leaveFrom(p.client.Addr())
			p.limited = false
		}
		p.client = netip.AddrPortFrom(a.client.Addr, a.client.Port)
		a.client.Trusted = contains(s.cfg.Trusted, a.client.Addr)
		if a.client.Addr.IsValid() && !a.client.Trusted {
			if why := s.doors.enterFrom(a.client.Addr, time.Now()); why != "" {
				s.tellAway(a.client.Addr.String(), why)
				return false
			}
			p.limited = true
		}
		a.talk = connect(a.client)
		return true
	}
}

// idle is the talk of a client that was turned away.
type idle struct{}

func (idle) hello(string, bool, string)                           {}
func (idle) begin(mail.Address, mail.Options) (deal, *mail.Reply) { return nil, replyLater }
func (idle) end(error)                                            {}
