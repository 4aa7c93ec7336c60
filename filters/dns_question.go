package filters

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// A dnsQuestion is a name, in lower case and without a final dot, and a type.
type dnsQuestion struct {
	name string
	kind uint16
}

var errDNSName = errors.New("not a name for DNS")

// newQuestion refuses names that are too long (RFC 1035 2.3.4) or hold anything but
// printable ASCII: they come from mail, and no honest one looks so.
func newQuestion(name string, kind uint16) (dnsQuestion, error) {
	name = strings.TrimSuffix(name, ".")
	bad := name == "" || len(name) > 253
	label := 0
	for i := 0; i < len(name) && !bad; i++ {
		switch c := name[i]; {
		case c == '.':
			bad = label == 0
			label = 0
		case c <= ' ' || c > '~':
			bad = true
		default:
			label++
			bad = label > 63
		}
	}
	if bad || label == 0 {
		return dnsQuestion{}, &DNSError{Name: clip(name, 100), NotFound: true, NXDomain: true, Err: errDNSName}
	}
	return dnsQuestion{strings.ToLower(name), kind}, nil
}

// ednsSize is the size of UDP answers that we ask for: no fragments (RFC 9715).
const ednsSize = 1232

const (
	dnsHeader = 12
	dnsFixed  = 4 // type and class of a question
)

// pack gives the query in wire format (RFC 1035 4.1): recursion desired, with an OPT record
// (RFC 6891) when edns is set.
func (q dnsQuestion) pack(id uint16, edns bool) []byte {
	b := make([]byte, dnsHeader, dnsHeader+len(q.name)+2+dnsFixed+11)
	binary.BigEndian.PutUint16(b, id)
	b[2] = 1 // RD
	b[5] = 1 // one question
	b = q.section(b)
	if edns {
		b[11] = 1
		b = append(b, 0, 0, byte(dns.TypeOPT), ednsSize>>8, ednsSize&0xff, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// section appends the question section. The empty name is the root.
func (q dnsQuestion) section(b []byte) []byte {
	for rest, more := q.name, q.name != ""; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, q.kind)
	return binary.BigEndian.AppendUint16(b, dns.ClassINET)
}

// answers reports whether msg is an answer to a query with this id and question section: what
// is not is somebody else's, or an attempt to spoof (RFC 5452 9.1).
func answers(msg []byte, id uint16, section []byte) bool {
	if len(msg) < dnsHeader+len(section) || binary.BigEndian.Uint16(msg) != id || msg[2]&0x80 == 0 || msg[2]&0x78 != 0 {
		return false
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	name := len(section) - dnsFixed
	for i, c := range msg[dnsHeader : dnsHeader+len(section)] {
		if i < name && c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != section[i] {
			return false
		}
	}
	return true
}

// reverseName is the name that PTR records of an address stand at.
func reverseName(a netip.Addr) string {
	a = a.Unmap()
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 72)
	raw := a.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if a.Is4() {
			if raw[i] >= 100 {
				b = append(b, '0'+raw[i]/100)
			}
			if raw[i] >= 10 {
				b = append(b, '0'+raw[i]/10%10)
			}
			b = append(b, '0'+raw[i]%10, '.')
			continue
		}
		b = append(b, hex[raw[i]&15], '.', hex[raw[i]>>4], '.')
	}
	if a.Is4() {
		return string(append(b, "in-addr.arpa"...))
	}
	return string(append(b, "ip6.arpa"...))
}
