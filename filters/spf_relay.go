package filters

import (
	"net/netip"
	"strings"

	"postern/mail"
)

// A relayPeer is who handed a message to a trusted relay, as that relay wrote it down.
type relayPeer struct {
	addr netip.Addr
	helo string
}

// maxHops bounds how many Received fields are looked at.
const maxHops = 20

// relayedBy goes down the Received fields from the top, as long as they name trusted peers,
// and returns the first peer that is none: fields below that one may be anybody's words. why
// says why there is none.
func relayedBy(h *mail.Header, trusted []netip.Prefix) (peer relayPeer, why string) {
	hops := 0
	for i := range h.Fields {
		f := &h.Fields[i]
		if !f.Is("Received") {
			continue
		}
		if hops++; hops > maxHops {
			return relayPeer{}, "too many trusted relays in Received"
		}
		p, ok := parseReceived(f.Value())
		if !ok {
			return relayPeer{}, "the relay's Received field names no client address"
		}
		if p.addr.IsLoopback() || inNetworks(trusted, p.addr) {
			continue
		}
		if p.addr.IsPrivate() || p.addr.IsLinkLocalUnicast() {
			return relayPeer{}, "the relay took it from a private address, " + p.addr.String()
		}
		return p, ""
	}
	return relayPeer{}, "no Received field of the relay names a client"
}

func inNetworks(nets []netip.Prefix, a netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// parseReceived reads "from NAME (COMMENTS) by ..." as Postfix, Exim, Sendmail, Exchange and
// qmail write it. The client's address is the only one in the comments that the server
// wrote; what the client said (helo=) does not count. Two different addresses are none.
func parseReceived(v string) (p relayPeer, ok bool) {
	if len(v) < 5 || !strings.EqualFold(v[:4], "from") || v[4] != ' ' && v[4] != '\t' {
		return p, false
	}
	v = strings.TrimLeft(v[4:], " \t")
	end := strings.IndexAny(v, " \t(")
	if end <= 0 {
		return p, false
	}
	word := v[:end]
	p.helo, v = word, strings.TrimLeft(v[end:], " \t")
	for first := true; strings.HasPrefix(v, "("); first = false {
		end := mail.CommentEnd(v, 0)
		if end < 0 || !p.comment(v[1:end-1], first) {
			return p, false
		}
		v = strings.TrimLeft(v[end:], " \t")
	}
	if !p.addr.IsValid() { // Exim without a reverse name: from [192.0.2.1] (helo=...)
		if p.addr = receivedAddr(word); word[0] != '[' {
			return p, false
		}
	}
	return p, p.addr.IsValid() && len(v) > 3 && strings.EqualFold(v[:2], "by")
}

// comment takes address and EHLO name from a comment; false when it contradicts what is
// known.
func (p *relayPeer) comment(s string, first bool) bool {
	words := strings.Fields(s)
	for i, w := range words {
		if len(w) > 5 && strings.EqualFold(w[:5], "helo=") {
			p.helo = w[5:]
			continue
		}
		if first && i == 0 && len(words) == 2 && strings.EqualFold(w, "helo") { // qmail
			p.helo = words[1]
			return true
		}
		a := receivedAddr(w)
		if !a.IsValid() || w[0] != '[' && (i > 0 || len(words) > 1) {
			continue
		}
		if p.addr.IsValid() && p.addr != a {
			return false
		}
		p.addr = a
	}
	return true
}

// receivedAddr reads [192.0.2.1], [IPv6:2001:db8::1], [192.0.2.1]:25 or the bare address.
func receivedAddr(w string) netip.Addr {
	if strings.HasPrefix(w, "[") {
		end := strings.IndexByte(w, ']')
		if end < 0 {
			return netip.Addr{}
		}
		w = w[1:end]
	}
	if len(w) > 5 && strings.EqualFold(w[:5], "IPv6:") {
		w = w[5:]
	}
	a, err := netip.ParseAddr(w)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}
