package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/mail"
)

// A Bypass looks for ways round the gateway: what the MX records of a domain name, and where its
// internal servers stand (S-52).
type Bypass struct {
	Domain   string
	Hostname string
	Local    []netip.Addr // of this host
	Servers  []string     // host:port
	Resolver filters.Resolver
}

// Check asks DNS.
func (b *Bypass) Check() Check {
	return Check{Name: "bypass", About: b.Domain, Look: b.look}
}

func (b *Bypass) look(ctx context.Context) []Finding {
	list, err := b.Resolver.MX(ctx, b.Domain)
	if err != nil {
		return []Finding{noMX(err)}
	}
	us := slices.Concat(b.Local, b.addresses(ctx, b.Hostname))
	var servers []netip.Addr
	for _, s := range b.Servers {
		if host, _, err := net.SplitHostPort(s); err == nil {
			servers = append(servers, b.addresses(ctx, host)...)
		}
	}
	var ours, others, straight []string
	for _, mx := range list {
		host := mail.Printable(strings.TrimSuffix(mx.Host, "."), 255)
		at := b.addresses(ctx, host)
		switch named := fmt.Sprintf("%s (%d)", host, mx.Pref); {
		case strings.EqualFold(host, b.Hostname) || common(at, us):
			ours = append(ours, named)
		case common(at, servers):
			straight = append(straight, named)
		default:
			others = append(others, named)
		}
	}
	return b.say(ours, others, straight)
}

func (b *Bypass) say(ours, others, straight []string) (out []Finding) {
	if len(straight) > 0 {
		out = append(out, Finding{State: Bad, Sentence: "the MX " + strings.Join(straight, ", ") + " is the internal server itself: mail goes to it past Postern",
			Do: "take it out of the MX records, and close port 25 of that server to everybody but Postern", Reference: guideMX})
	}
	if len(others) > 0 {
		out = append(out, Finding{State: Warn, Sentence: "mail goes to " + strings.Join(others, ", ") + " as well, which is not this host: if it is no Postern, mail goes round this one",
			Do: "leave it when it is a Postern, or a backup MX that is in trusted_relays and sends its mail here; else take it out of the MX records", Reference: guideMX})
	}
	switch {
	case len(ours) == 0:
		out = append(out, Finding{State: Warn, Sentence: "no MX record names this host (" + b.Hostname + "): mail does not come to Postern",
			Do: "point the MX record here, and set hostname to its name", Reference: guideMX})
	case len(straight)+len(others) == 0:
		out = append(out, Finding{State: Ok, Sentence: "its only MX is this host: " + strings.Join(ours, ", ")})
	}
	return out
}

func noMX(err error) Finding {
	var de *filters.DNSError
	if errors.As(err, &de) && de.NotFound {
		return Finding{State: Warn, Sentence: "it has no MX record: senders go to its address record, if it has one", Do: "give it an MX record that names this host", Reference: guideMX}
	}
	return Finding{State: Unknown, Sentence: "its MX records could not be asked: " + printable(err), Do: "look at DNS first", Reference: guideDNS}
}

// addresses gives those of a name or of an address; none when there is no answer.
func (b *Bypass) addresses(ctx context.Context, host string) (out []netip.Addr) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	for _, six := range []bool{false, true} {
		list, err := b.Resolver.Addrs(ctx, host, six)
		if err != nil {
			continue // a name with one kind alone is usual
		}
		for _, a := range list {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func common(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// Reach tells whether strangers could reach the server at all, by its address.
func (s *Server) Reach(r filters.Resolver) Check {
	return Check{Name: "reach", About: s.Address, Look: func(ctx context.Context) []Finding {
		host, _, _ := net.SplitHostPort(s.Address)
		for _, a := range (&Bypass{Resolver: r}).addresses(ctx, host) {
			if a.IsGlobalUnicast() && !inside(net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 25))) {
				return []Finding{{State: Unknown, Sentence: fmt.Sprintf("its address %v is a public one: whether strangers reach it past Postern cannot be seen from this host", a),
					Do:        "close its port 25 to everybody but Postern; then, on a host elsewhere: postern doctor --outside --domain DOMAIN --upstream " + s.Address,
					Reference: guideServer}}
			}
		}
		return []Finding{{State: Ok, Sentence: "its address is not one that the internet reaches"}}
	}}
}

// Outside wants the server to turn us away: it is asked from a host that is not the gateway's
// (S-52).
func (s *Server) Outside() Check {
	return Check{Name: "outside", About: s.Address, Limit: 45 * time.Second, Look: s.outside}
}

func (s *Server) outside(ctx context.Context) []Finding {
	d, err := door{addr: s.Address, helo: s.Helo}.meet(ctx)
	if refused := (*refusedError)(nil); errors.As(err, &refused) {
		return []Finding{{State: Ok, Sentence: fmt.Sprintf("it turns this host away (%v)", refused)}}
	}
	if err != nil {
		return []Finding{{State: Ok, Sentence: "it cannot be reached from here: " + printable(err)}}
	}
	defer d.close()
	k := d.kindOf()
	r, err := d.say("MAIL FROM:<>")
	if err == nil && r.code == 250 {
		r, err = d.say("RCPT TO:<postmaster@%s>", s.Domains[0])
	}
	switch f := (Finding{Reference: k.guide}); {
	case err != nil:
		f.State, f.Sentence = Ok, "it breaks off before it takes a recipient: "+printable(err)
		return []Finding{f}
	case r.code/100 == 5:
		f.State, f.Sentence = Ok, fmt.Sprintf("it takes no mail from here (%v)", r)
		return []Finding{f}
	case r.code/100 == 2 && (k.name == "Exchange Online" || k.name == "Google Workspace"):
		f.State, f.Sentence = Unknown, "it takes the recipient; "+k.name+" says only after the message whether it is locked to Postern's address"
		f.Do = "look whether the lock is on, and send it a mail from here"
		return []Finding{f}
	case r.code/100 == 2:
		f.State, f.Sentence = Bad, fmt.Sprintf("it takes mail for postmaster@%s from this host: spam goes round Postern", s.Domains[0])
		f.Do = "close its port 25 to everybody but Postern"
		return []Finding{f}
	default:
		f.State, f.Sentence, f.Do = Unknown, fmt.Sprintf("it puts this host off (%v), and may let it in later", r), "close its port 25 to everybody but Postern"
		return []Finding{f}
	}
}
