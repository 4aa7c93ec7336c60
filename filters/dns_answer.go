package filters

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A dnsAnswer is what a question came to. It never changes and is shared.
type dnsAnswer struct {
	txt   []string
	addrs []netip.Addr
	mx    []MX
	names []string
	err   *DNSError // nil when there are records
	ttl   time.Duration
}

// Limits of what is believed and for how long (RFC 2308 5, 7).
const (
	maxDNSTTL    = time.Hour
	maxDNSNegTTL = 15 * time.Minute
	dnsFailTTL   = 5 * time.Second // after SERVFAIL, silence, or a negative answer without SOA
	maxDNSText   = 32 << 10        // bytes of all TXT records of a name
	maxDNSChain  = 8               // CNAMEs
)

// Errors of an answer that is of no use from this server; another may do better.
var (
	errDNSTruncated = errors.New("truncated answer")
	errDNSFormat    = errors.New("server answers FORMERR")
	errDNSLame      = errors.New("server does not do recursion")
)

// Errors of an answer that would be the same from any server.
var (
	errDNSLoop = errors.New("the aliases lead nowhere")
	errDNSSize = errors.New("more text than we read")
)

// parseAnswer reads a message that answers() has matched with the question. An error means
// that the server gave no answer.
func parseAnswer(msg []byte, q dnsQuestion) (*dnsAnswer, error) {
	if msg[2]&0x02 != 0 { // TC
		return nil, errDNSTruncated
	}
	switch rcode := msg[3] & 15; rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeFormatError:
		return nil, errDNSFormat
	default:
		return nil, fmt.Errorf("server answers %s", dns.RcodeToString[int(rcode)])
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		return nil, fmt.Errorf("bad answer: %w", err)
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError { // with the bits of EDNS
		return nil, fmt.Errorf("server answers %s", dns.RcodeToString[m.Rcode])
	}
	if len(m.Question) != 1 {
		return nil, errors.New("bad answer: no question")
	}
	found, hops, ttl, err := follow(&m, q.kind)
	if err != nil {
		return &dnsAnswer{err: &DNSError{Name: q.name, Err: err}, ttl: dnsFailTTL}, nil
	}
	if len(found) == 0 {
		return negative(&m, q, hops)
	}
	a := &dnsAnswer{ttl: min(ttl, maxDNSTTL)}
	if err := a.take(found); err != nil {
		return &dnsAnswer{err: &DNSError{Name: q.name, Err: err}, ttl: min(ttl, maxDNSNegTTL)}, nil
	}
	return a, nil
}

// follow goes along the CNAMEs of the answer section to the records of the type. ttl is the
// shortest on the way.
func follow(m *dns.Msg, kind uint16) (found []dns.RR, hops int, ttl time.Duration, err error) {
	name := m.Question[0].Name
	least := uint32(maxDNSTTL / time.Second)
	for {
		var alias *dns.CNAME
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == kind {
				found, least = append(found, rr), min(least, h.Ttl)
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias = c
			}
		}
		if len(found) > 0 || alias == nil {
			return found, hops, time.Duration(least) * time.Second, nil
		}
		if hops++; hops > maxDNSChain {
			return nil, hops, 0, errDNSLoop
		}
		name, least = alias.Target, min(least, alias.Hdr.Ttl)
	}
}

// negative reads an answer without records (RFC 2308 2).
func negative(m *dns.Msg, q dnsQuestion, hops int) (*dnsAnswer, error) {
	a := &dnsAnswer{ttl: dnsFailTTL, err: &DNSError{Name: q.name, NotFound: true}}
	// Behind an alias the name itself does exist.
	a.err.NXDomain = m.Rcode == dns.RcodeNameError && hops == 0
	soa := false
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok {
			soa = true
			a.ttl = min(time.Duration(min(s.Hdr.Ttl, s.Minttl))*time.Second, maxDNSNegTTL)
		}
	}
	if !soa && !m.RecursionAvailable && m.Rcode == dns.RcodeSuccess {
		return nil, errDNSLame // a referral
	}
	return a, nil
}

// take reads the records.
func (a *dnsAnswer) take(found []dns.RR) error {
	size := 0
	for _, rr := range found {
		switch rr := rr.(type) {
		case *dns.TXT:
			s := unescapeTXT(strings.Join(rr.Txt, ""))
			if size += len(s); size > maxDNSText {
				return errDNSSize
			}
			a.txt = append(a.txt, s)
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				a.addrs = append(a.addrs, ip)
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				a.addrs = append(a.addrs, ip)
			}
		case *dns.MX:
			a.mx = append(a.mx, MX{Host: hostOf(rr.Mx), Pref: rr.Preference})
		case *dns.PTR:
			a.names = append(a.names, hostOf(rr.Ptr))
		}
	}
	slices.SortStableFunc(a.mx, func(x, y MX) int { return cmp.Compare(x.Pref, y.Pref) })
	return nil
}

// hostOf gives a name of the answer without its final dot. Escapes stay: such a name is no
// host name and leads nowhere when it is asked for.
func hostOf(name string) string { return strings.TrimSuffix(name, ".") }

// unescapeTXT resolves the escapes that miekg/dns puts into character strings.
func unescapeTXT(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) && isDigits(s[i+1:i+4]) {
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
			continue
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}

// bytes is about what an answer takes in memory.
func (a *dnsAnswer) bytes() int {
	n := 160 + 32*len(a.addrs) + 16*len(a.txt) + 16*len(a.names) + 32*len(a.mx)
	for _, s := range a.txt {
		n += len(s)
	}
	for _, s := range a.names {
		n += len(s)
	}
	for _, m := range a.mx {
		n += len(m.Host)
	}
	return n
}
