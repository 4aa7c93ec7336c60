package gateway

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/mail"
)

// A Forward is how an internal server is told who the client is. It has to be set up to believe
// us, and nobody else.
type Forward string

const (
	ForwardNone     Forward = "none"     // it sees our address
	ForwardXForward Forward = "xforward" // for its log and filters, before each message, where XFORWARD is offered
	ForwardXClient  Forward = "xclient"  // as if the client were connected to it, where XCLIENT is offered
	ForwardProxy    Forward = "proxy"    // the same, by a PROXY header (version 2) on each connection
)

// A guest is the client that a connection to an internal server is for. By XCLIENT and PROXY a
// connection belongs to one client for good (Postfix takes XCLIENT once): nobody else's mail may
// go over it. The zero guest is no client in particular.
type guest struct {
	addr  netip.AddrPort
	helo  string
	esmtp bool
}

// guest is what a connection has to know of the client.
func (f Forward) guest(c mail.Client) guest {
	if c.Port == 0 && c.Addr.IsLoopback() { // it is us, with a letter of our own
		return guest{}
	}
	switch f {
	case ForwardXClient:
		return guest{netip.AddrPortFrom(c.Addr.Unmap().WithZone(""), c.Port), c.Helo, c.ESMTP}
	case ForwardProxy:
		return guest{addr: netip.AddrPortFrom(c.Addr.Unmap().WithZone(""), c.Port)}
	}
	return guest{}
}

// appendProxyHeader appends the PROXY header, version 2, of a client that came from one address
// to another: LOCAL where the client is unknown, as for what we send ourselves. Where only one
// of the two is an IPv4 address, it is written as an IPv6 one.
func appendProxyHeader(b []byte, from, to netip.AddrPort) []byte {
	b = append(b, proxyV2...)
	if !from.Addr().IsValid() {
		return append(b, 0x20, 0, 0, 0)
	}
	if from.Addr().Is4() && to.Addr().Is4() {
		b = append(b, 0x21, 0x11, 0, 12)
	} else {
		b = append(b, 0x21, 0x21, 0, 36)
		from, to = sixteen(from), sixteen(to)
	}
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port())
}

// sixteen gives an address as an IPv6 one; none is the unspecified one.
func sixteen(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsValid() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

// introduce says XCLIENT for the guest (Postfix XCLIENT_README), where it is offered, and greets
// anew in its name, as the server asks for. An error that is a *mail.Reply is the server's
// refusal of that client.
func (l *link) introduce(ctx context.Context) error {
	if l.host.group.cfg.Forward != ForwardXClient || l.guest == (guest{}) {
		return nil
	}
	line := l.attributes("XCLIENT", l.xclient, l.guest, "")
	if line == "" {
		return nil
	}
	offered, tls := l.xclient, l.ext.StartTLS
	a, err := l.one(ctx, line)
	if err == nil && a.code == 501 && l.host.noIPv6(l.guest.addr.Addr()) {
		a, err = l.one(ctx, l.attributes("XCLIENT", l.xclient, l.guest, ""))
	}
	switch {
	case err != nil:
		return err
	case slices.Contains([]int{421, 501, 503, 550}, a.code): // of the command, not of the client
		return fmt.Errorf("XCLIENT: %v", a.reply())
	case a.code >= 400:
		return a.reply()
	case a.code != 220:
		return fmt.Errorf("%w: %d to XCLIENT", errBadReply, a.code)
	}
	name := l.guest.helo
	if _, err := mail.ParseDomain(name); err != nil {
		name = l.host.group.cfg.Helo
	}
	err = l.hello(ctx, name)
	if r := (*helloRefused)(nil); errors.As(err, &r) {
		return r.reply
	}
	l.xclient, l.ext.XClient, l.ext.StartTLS = offered, true, tls // as the intersection over all servers sees it
	return err
}

// xforwardLine tells the server who the client is (Postfix XFORWARD_README), of what it
// wants to know. All of that is said for each message, since the server may remember
// that of the one before.
func (l *link) xforwardLine(env *mail.Envelope) string {
	if l.host.group.cfg.Forward != ForwardXForward {
		return ""
	}
	return l.attributes("XFORWARD", l.xforward, ForwardXClient.guest(env.Client), env.ID)
}

// noIPv6 is true once, when the server refuses an IPv6 address for the first time: Postfix does
// where inet_protocols is ipv4. From then on it is not told those.
func (h *serverHost) noIPv6(a netip.Addr) bool {
	if !a.Unmap().Is6() || h.only4.Swap(true) {
		return false
	}
	h.group.servers.log.Warn("internal server does not take IPv6 addresses of clients: it is not told them (Postfix: inet_protocols = all)", "address", h.addr)
	return true
}

// attributes gives a command with the attributes in names that we know of; "" without any.
func (l *link) attributes(verb string, names []string, who guest, id string) string {
	if l.host.only4.Load() && who.addr.Addr().Is6() {
		who.addr = netip.AddrPort{}
	}
	b := []byte(verb)
	for _, name := range names {
		if v, known := who.attribute(name); known {
			b = append(b, " "+name+"="+cmp.Or(xtext(v), "[UNAVAILABLE]")...)
		} else if name == "IDENT" {
			b = append(b, " IDENT="+cmp.Or(xtext(id), "[UNAVAILABLE]")...)
		}
	}
	if len(b) == len(verb) {
		return ""
	}
	return string(b)
}

// attribute is what XCLIENT and XFORWARD both tell; "" is what we do not know, such as NAME: we
// look no names up.
func (g *guest) attribute(name string) (value string, known bool) {
	switch name {
	case "NAME":
	case "ADDR":
		if a := g.addr.Addr(); a.Is6() {
			value = "IPV6:" + a.String()
		} else if a.IsValid() {
			value = a.String()
		}
	case "PORT":
		if p := g.addr.Port(); p != 0 {
			value = strconv.Itoa(int(p))
		}
	case "HELO":
		value = g.helo
	case "PROTO":
		if value = "SMTP"; g.esmtp {
			value = "ESMTP"
		}
	default:
		return "", false
	}
	return value, true
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
