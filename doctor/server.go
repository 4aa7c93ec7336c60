package doctor

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// A Server is an internal server.
type Server struct {
	Address string   // host:port
	Domains []string // that it gets mail for
	Helo    string   // what we call ourselves
	TLS     string   // require, opportunistic, none
	TLSName string   // in its certificate; "" is its host name
	Roots   *x509.CertPool
	Verify  bool // with require: its certificate is looked at
	Ours    []netip.AddrPort
	Max     int64 // bytes of the largest message that we take
	Proxied bool  // it wants a PROXY header from us
}

func (s *Server) door() door { return door{addr: s.Address, helo: s.Helo, proxied: s.Proxied} }

// mostDomains bounds how many domains of a server are asked about: servers hang up on, or slow
// down, who has many recipients refused.
const mostDomains = 5

// Check asks a server by SMTP. Recipients are named and taken back; no message is sent.
func (s *Server) Check() Check {
	return Check{Name: "internal-server", About: s.Address, Limit: 45 * time.Second, Look: s.look}
}

func (s *Server) look(ctx context.Context) []Finding {
	out := s.ourselves(ctx)
	d, err := s.door().meet(ctx)
	if err != nil {
		f := Finding{State: Bad, Sentence: fmt.Sprintf("it does not answer (%v): mail is put off with 451 until it does", err),
			Do: "start it, or correct upstream.servers; a firewall between the two has to let this host in", Reference: guideServer}
		if refused := (*refusedError)(nil); errors.As(err, &refused) {
			f.Sentence = fmt.Sprintf("it turns us away (%v): mail is put off with 451", refused)
			f.Do = "have it take mail from this host: a restriction by address, or a DNS list, that does not know it"
		}
		return append(out, f)
	}
	defer d.close()
	k := d.kindOf()
	out = append(out, Finding{State: Ok, Sentence: strings.TrimSpace(fmt.Sprintf("it answers as %s %s", d.name, k.name))})
	if f := s.size(d); f.State != "" {
		out = append(out, f)
	}
	if strings.EqualFold(d.name, s.Helo) {
		out = append(out, Finding{Check: "loop", State: Warn, Sentence: "it calls itself " + d.name + ", as we do: it may be ourselves, and mail would go round",
			Do: "give each host a name of its own (hostname), and correct upstream.servers", Reference: guideMX})
	}
	out = append(out, tells(d.banner, time.Now())...)
	out = append(out, s.encryption(ctx, d)...)
	if d.broken { // by a failed STARTTLS: the rest is asked in clear
		d.close()
		again, err := s.door().meet(ctx)
		if err != nil {
			return out
		}
		defer again.close()
		d = again
	}
	return append(out, s.recipients(d, k)...)
}

// ourselves reports whether the address is one that we listen on (S-50).
func (s *Server) ourselves(ctx context.Context) []Finding {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil // that it cannot be reached is said elsewhere
	}
	for _, a := range addrs {
		at, err := netip.ParseAddrPort(net.JoinHostPort(a.Unmap().String(), port))
		if err == nil && slices.Contains(s.Ours, at) {
			return []Finding{{Check: "loop", State: Bad, Sentence: fmt.Sprintf("%v is where this gateway itself takes mail: it would deliver to itself, and refuse it (451 4.4.6)", at),
				Do: "set upstream.servers to your mail server", Reference: guideMX}}
		}
	}
	return []Finding{{Check: "loop", State: Ok,
		Sentence: "it is none of the addresses that we listen on; a way back to us through other hosts cannot be seen from here, and ends at the second round (554 5.4.6)"}}
}

// size compares limits.
func (s *Server) size(d *dialogue) Finding {
	for _, line := range d.offers {
		var n int64
		if _, err := fmt.Sscanf(strings.ToUpper(line), "SIZE %d", &n); err == nil && n > 0 && n < s.Max {
			return Finding{Check: "size", State: Warn, Sentence: fmt.Sprintf("it takes %d bytes, less than limits.message_size (%d): its limit is the one that senders are told", n, s.Max),
				Do: "raise the smaller of them, or leave it so", Reference: guideServer}
		}
	}
	return Finding{}
}

// encryption looks at STARTTLS and the certificate.
func (s *Server) encryption(ctx context.Context, d *dialogue) []Finding {
	about := func(st State, sentence, do string) []Finding {
		return []Finding{{Check: "encryption", State: st, Sentence: sentence, Do: do, Reference: guideTLS}}
	}
	private := inside(d.conn.RemoteAddr())
	switch {
	case s.TLS == "none" && !private:
		return about(Warn, "mail goes to it in clear, and its address is a public one", "set upstream.tls: require")
	case s.TLS == "none":
		return about(Ok, "mail goes to it in clear, as configured", "")
	case !d.offered("STARTTLS") && s.TLS == "require":
		return about(Bad, "it does not offer STARTTLS, which upstream.tls requires: mail is put off", "give it a certificate, or set upstream.tls: opportunistic")
	case !d.offered("STARTTLS"):
		return about(Warn, "it does not offer STARTTLS: mail goes to it in clear", "give it a certificate; where the way to it is your own network alone, it may stay so")
	}
	name := s.TLSName
	if name == "" {
		name, _, _ = net.SplitHostPort(s.Address)
	}
	if err := d.startTLS(ctx, name); err != nil {
		d.broken = true
		return about(map[bool]State{true: Bad, false: Warn}[s.TLS == "require"], "STARTTLS with it fails: "+err.Error(), "look at its certificate and its log")
	}
	bad := s.TLS == "require" && s.Verify
	why := judgeCertificate(d.tls.PeerCertificates, name, s.Roots, time.Now())
	switch {
	case why != "" && bad:
		return about(Bad, "its certificate does not hold ("+why+"), and upstream.tls is require: mail is put off", "renew it, or say what it is signed by (upstream.tls_ca) and named (upstream.tls_name)")
	case why != "" && !private:
		return about(Warn, "encrypted, but its certificate does not hold ("+why+"): who is on the way could read", "renew it, then set upstream.tls: require")
	case why != "":
		return about(Ok, "encrypted; its certificate does not hold ("+why+"), and upstream.tls does not ask for that", "")
	}
	return append(about(Ok, "encrypted, with a certificate for "+name, ""), expiring("encryption", d.tls.PeerCertificates[0], bad, time.Now())...)
}

// inside reports whether an address is in no network that strangers are in.
func inside(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	ip := at.Addr().Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierNAT().Contains(ip)
}

// carrierNAT is the network of RFC 6598.
func carrierNAT() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
}

// recipients asks which recipients the server takes from us.
func (s *Server) recipients(d *dialogue, k kind) []Finding {
	if r, err := d.say("MAIL FROM:<>"); err != nil || r.code != 250 {
		return []Finding{{Check: "recipients", State: Unknown, Sentence: fmt.Sprintf("it takes no mail with the null sender from us (%v, %v): what it takes could not be asked", r, err),
			Do: "bounces have this sender, so it has to take it (RFC 5321 4.5.5)", Reference: k.guide}}
	}
	var out []Finding
	refuses := ""
	for _, domain := range s.Domains[:min(len(s.Domains), mostDomains)] {
		f, knows := s.domain(d, k, domain)
		out = append(out, f...)
		if knows {
			refuses = domain
		}
	}
	out = append(out, s.relay(d, k, refuses)...)
	_, _ = d.say("RSET")
	return out
}

// domain asks for a user that cannot be and for one that has to be (RFC 5321 4.5.1). knows tells
// that unknown users are refused.
func (s *Server) domain(d *dialogue, k kind, domain string) (out []Finding, knows bool) {
	about := domain + " at " + s.Address
	nobody := "postern-doctor-" + strings.ToLower(rand.Text()[:12])
	r, err := d.say("RCPT TO:<%s@%s>", nobody, domain)
	f := Finding{Check: "unknown-users", About: about, Reference: k.guide}
	switch {
	case err != nil:
		f.State, f.Sentence = Unknown, "it broke off when asked for an unknown user: "+err.Error()
		return []Finding{f}, false
	case r.code/100 == 2:
		f.State, f.Sentence = Warn, "it takes every address: what it cannot deliver it bounces later, to senders that are mostly forged (backscatter)"
		f.Do = unknownUsers(k)
	case r.code/100 == 4:
		f.State, f.Sentence = Unknown, fmt.Sprintf("it puts off an unknown user (%v)", r)
		f.Do = "switch greylisting and limits of rates off there for this host: Postern does that"
	default:
		f.State, f.Sentence, knows = Ok, fmt.Sprintf("unknown users are refused at RCPT (%v)", r), true
	}
	out = append(out, f)
	if r, err = d.say("RCPT TO:<postmaster@%s>", domain); err == nil && r.code/100 != 2 {
		out = append(out, Finding{Check: "postmaster", About: about, State: Warn, Sentence: fmt.Sprintf("it does not take mail for postmaster (%v)", r),
			Do: "every domain that takes mail has to have this address (RFC 5321 4.5.1); where it says that it does not relay, it does not know the domain at all", Reference: k.guide})
	}
	return out, knows
}

func unknownUsers(k kind) string {
	switch k.name {
	case "Postfix":
		return "main.cf: smtpd_reject_unlisted_recipient = yes, the users in local_recipient_maps, virtual_mailbox_maps or relay_recipient_maps, no luser_relay and no @domain entry in virtual_alias_maps"
	case "Exchange":
		return "Exchange checks recipients after the message only: give Postern the list of addresses"
	case "Exchange Online":
		return "make the domain authoritative, so that it refuses unknown users (directory-based edge blocking)"
	}
	return "have it refuse unknown users at RCPT, or give Postern the list of addresses; if one mailbox is meant to get it all, leave it so"
}

// relay asks for recipients elsewhere, which the server must not take from us: what slips past us
// would go out in your name. Knows is a domain whose unknown users it refuses.
func (s *Server) relay(d *dialogue, k kind, knows string) []Finding {
	const elsewhere = "postern-doctor@example.com"
	r, err := d.say("RCPT TO:<%s>", elsewhere)
	f := Finding{Check: "relay", Reference: k.guide}
	switch {
	case err != nil:
		f.State, f.Sentence = Unknown, "it broke off when asked for a foreign recipient: "+err.Error()
		return []Finding{f}
	case r.code/100 == 2:
		f.State, f.Sentence, f.Do = Bad, "it relays for this host to anywhere: whatever gets past Postern's own check of recipients would go out in your name", noRelay(k)
		return append([]Finding{f}, s.newlines(k, true))
	case r.code == 556 || strings.HasPrefix(r.text, "5.1.10"):
		f.State, f.Sentence = Unknown, fmt.Sprintf("it refuses a foreign recipient, but for what that domain says of itself (%v)", r)
		f.Do = "look that this host is in none of the networks that may relay"
	default:
		f.State, f.Sentence = Ok, fmt.Sprintf("it relays nothing for us (%v)", r)
	}
	if knows != "" {
		if hack, err := d.say("RCPT TO:<postern-doctor%%example.com@%s>", knows); err == nil && hack.code/100 == 2 {
			f.State, f.Sentence, f.Do = Bad, "it takes postern-doctor%example.com@"+knows+" and would send that on: it relays by addresses with a route in them", noRelay(k)
		}
	}
	return append([]Finding{f}, s.newlines(k, false))
}

func noRelay(k kind) string {
	if k.name == "Postfix" {
		return "main.cf: take this host out of mynetworks (for a Postfix on the same host: -o mynetworks= for this port in master.cf)"
	}
	return "this host is none of your own: take it out of the networks that may relay"
}

// newlines says what is known, without sending anything, of the server's line ends (S-07). trusts:
// it relays for us.
func (s *Server) newlines(k kind, trusts bool) Finding {
	f := Finding{Check: "newlines", State: Unknown, Reference: k.guide,
		Sentence: "whether it takes bare newlines for an end of message (SMTP smuggling) cannot be seen without a message; Postern itself passes on none",
		Do:       "ask with postern doctor --probe ADDRESS, which sends small messages to that address"}
	if k.name == "Postfix" {
		f.Do = "main.cf: smtpd_forbid_bare_newline = reject, and smtpd_forbid_bare_newline_exclusions = (empty: its default is mynetworks); " + f.Do
		if trusts {
			f.State = Warn
			f.Sentence = "this host is in its mynetworks, and Postfix spares these its checks of bare newlines by default (smtpd_forbid_bare_newline_exclusions)"
		}
	}
	return f
}

// printable bounds what strangers say.
func printable(err error) string { return mail.Printable(err.Error(), 300) }
