package filters

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"postern/mail"
)

// SPFConfig configures the spf filter.
type SPFConfig struct {
	Receiver string         // our host name, for the macro %{r}
	Trusted  []netip.Prefix // trusted_relays: mail of theirs is judged by the address that they recorded
	Budget   time.Duration  // for all look-ups of one message; 0 means 20 s
}

// SPFFacts are what SPF (RFC 7208) says of the client.
type SPFFacts struct {
	Error       string      `expr:"error" json:"error,omitempty" doc:"Why SPF could not be checked at all; normally empty, since a DNS failure is the result temperror."`
	Result      string      `expr:"result" json:"result" doc:"Result for the envelope sender (for an empty one, for postmaster at the EHLO name): none, neutral, pass, fail, softfail, temperror or permerror." enum:"none neutral pass fail softfail temperror permerror" example:"spf.result in [\"fail\", \"softfail\"]"`
	Domain      string      `expr:"domain" json:"domain" doc:"The domain that result is about." example:"spf.domain == \"example.net\""`
	Explanation string      `expr:"explanation" json:"explanation,omitempty" doc:"What the domain wants said about a fail, reduced to printable ASCII; it is the sender's text."`
	Mailfrom    SPFIdentity `expr:"mailfrom" json:"mailfrom" doc:"The envelope sender as an identity of its own: the same as result and domain."`
	Helo        SPFIdentity `expr:"helo" json:"helo" doc:"The EHLO name as an identity of its own."`
	Permissive  bool        `expr:"permissive" json:"permissive" doc:"A pass that (almost) any client would get: by +all, a network wider than /8 (IPv6: /16) or an exists that is always true."`
	Mechanism   string      `expr:"mechanism" json:"mechanism,omitempty" doc:"The mechanism that gave the result, as written in the record."`
	Record      string      `expr:"record" json:"record,omitempty" doc:"The SPF record of the domain, its first 500 bytes."`
	Reason      string      `expr:"reason" json:"reason,omitempty" doc:"What is wrong, for temperror and permerror, and why there is no result behind a trusted relay."`
	Client      string      `expr:"client" json:"client" doc:"The address that was judged: the client's, or the one that a trusted relay recorded."`
	Lookups     int         `expr:"lookups" json:"lookups" doc:"How many terms of the record needed DNS; more than 10 are a permerror."`
	Queries     int         `expr:"queries" json:"queries" doc:"How many DNS questions both identities took."`
	NullSender  bool        `expr:"null_sender" json:"null_sender,omitempty" doc:"The envelope sender is empty, so that result is about the EHLO name."`
}

// SPFIdentity is the result for one identity.
type SPFIdentity struct {
	Result string `expr:"result" json:"result" doc:"none, neutral, pass, fail, softfail, temperror or permerror." enum:"none neutral pass fail softfail temperror permerror"`
	Domain string `expr:"domain" json:"domain" doc:"The domain that was checked."`
}

// Budgets of the filter: what is left of Timeout after Budget is for a late answer to become
// a temperror rather than a failed filter.
const (
	spfBudget  = 20 * time.Second
	spfQueries = 120
	spfText    = 500
)

// spf checks the envelope sender and the EHLO name against the SPF records of their
// domains.
func spf(c SPFConfig, r Resolver) Filter {
	if c.Budget == 0 {
		c.Budget = spfBudget
	}
	s := &spfFilter{SPFConfig: c, dns: r, seen: newSPFCache(time.Now)}
	return Filter{Name: "spf", Cost: Answers, Doc: "May the client send for the domain of the envelope sender (SPF, RFC 7208)?",
		Stage: mail.Sender, Facts: SPFFacts{}, OnFail: Unknown, Relayed: true, Quick: remembers(r),
		Timeout: c.Budget + 5*time.Second, Gather: s.gather}
}

type spfFilter struct {
	SPFConfig
	dns  Resolver
	seen *spfCache
}

func (s *spfFilter) gather(ctx context.Context, in *Input) (any, error) {
	ip, helo := in.Client.Addr.Unmap(), in.Client.Helo
	none := SPFFacts{Result: "none", Mailfrom: SPFIdentity{Result: "none"}, Helo: SPFIdentity{Result: "none"}, NullSender: in.Sender.IsNull()}
	if in.Client.Trusted {
		if in.Body == nil {
			return nil, errors.New("spf: behind a trusted relay, but without the message")
		}
		h, err := in.Body.Header()
		if err != nil {
			return nil, err
		}
		peer, why := relayedBy(h, s.Trusted)
		if why != "" {
			none.Domain, none.Reason = in.Sender.Domain, why
			none.Mailfrom.Domain = in.Sender.Domain
			return none, nil
		}
		ip, helo = peer.addr, peer.helo
	}
	return s.facts(ctx, none, ip, helo, in.Sender), nil
}

// facts evaluates both identities (RFC 7208 2.3, 2.4).
func (s *spfFilter) facts(ctx context.Context, f SPFFacts, ip netip.Addr, helo string, from mail.Address) SPFFacts {
	f.Client = ip.String()
	count := &counted{Resolver: s.dns, until: time.Now().Add(s.Budget)}
	name, err := mail.ParseDomain(helo)
	if err != nil || name[0] == '[' {
		name = "" // nothing to check
	}
	local, domain := from.Local, from.Domain
	if from.IsNull() {
		domain = name
	}
	if local == "" {
		local = "postmaster" // RFC 7208 4.3
	}
	out, lookups := s.check(ctx, count, ip, name, local, domain)
	f.Result, f.Domain, f.Explanation, f.Lookups = out.result, domain, out.explanation, lookups
	f.Mechanism, f.Record, f.Reason = out.mechanism, out.record, out.problem
	f.Permissive = out.result == "pass" && out.wide
	f.Mailfrom = SPFIdentity{Result: f.Result, Domain: domain}
	f.Helo = f.Mailfrom
	if !from.IsNull() {
		out, _ = s.check(ctx, count, ip, name, "postmaster", name)
		f.Helo = SPFIdentity{Result: out.result, Domain: name}
	}
	f.Queries = count.n
	return f
}

// check evaluates one identity, or remembers that it did so a moment ago.
func (s *spfFilter) check(ctx context.Context, dns *counted, ip netip.Addr, helo, local, domain string) (spfOutcome, int) {
	if domain == "" || domain[0] == '[' || !ip.IsValid() {
		return spfOutcome{result: "none"}, 0
	}
	key := spfKey{ip, helo, domain}
	if seen, ok := s.seen.get(key); ok {
		dns.n += seen.queries // what it cost then, so that the facts do not tell of the cache
		return seen.out, seen.lookups
	}
	before := dns.n
	e := spfEval{r: dns, ip: ip, helo: helo, local: local, sender: domain, receiver: s.Receiver}
	if e.receiver == "" {
		e.receiver = "unknown"
	}
	ctx, cancel := inTime(ctx, time.Until(dns.until))
	defer cancel()
	out := e.check(ctx, domain)
	for _, text := range []*string{&out.mechanism, &out.record, &out.problem} {
		*text = mail.Printable(*text, spfText)
	}
	if !e.personal && out.result != "temperror" && ctx.Err() == nil { // else what was cut short may look like an answer
		s.seen.put(key, spfSeen{out: out, lookups: e.lookups, queries: dns.n - before})
	}
	return out, e.lookups
}

// AuthResults gives both identities for Authentication-Results (RFC 8601 2.7.2).
func (f SPFFacts) AuthResults() []mail.AuthResult {
	if f.Error != "" {
		return []mail.AuthResult{{Method: "spf", Result: "temperror"}}
	}
	helo := mail.AuthResult{Method: "spf", Result: f.Helo.Result}
	if f.Helo.Domain != "" {
		helo.Props = []mail.AuthProp{{Type: "smtp", Name: "helo", Value: f.Helo.Domain}}
	}
	if f.NullSender {
		return []mail.AuthResult{helo}
	}
	from := mail.AuthResult{Method: "spf", Result: f.Result, Reason: f.Reason}
	if f.Domain != "" {
		from.Props = []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: f.Domain}}
	}
	if f.Helo.Domain == "" || f.Helo.Result == "none" {
		return []mail.AuthResult{from}
	}
	return []mail.AuthResult{from, helo}
}

// counted bounds how many questions one message may ask, and until when.
type counted struct {
	Resolver
	n     int
	until time.Time
}

var errSPFQueries = errors.New("too many DNS questions for one message")

func (c *counted) over(name string) error {
	if c.n++; c.n > spfQueries {
		return &DNSError{Name: clip(name, 100), Err: errSPFQueries}
	}
	return nil
}

func (c *counted) TXT(ctx context.Context, name string) ([]string, error) {
	if err := c.over(name); err != nil {
		return nil, err
	}
	return c.Resolver.TXT(ctx, name)
}

func (c *counted) Addrs(ctx context.Context, name string, six bool) ([]netip.Addr, error) {
	if err := c.over(name); err != nil {
		return nil, err
	}
	return c.Resolver.Addrs(ctx, name, six)
}

func (c *counted) MX(ctx context.Context, name string) ([]MX, error) {
	if err := c.over(name); err != nil {
		return nil, err
	}
	return c.Resolver.MX(ctx, name)
}

func (c *counted) PTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	if err := c.over(addr.String()); err != nil {
		return nil, err
	}
	return c.Resolver.PTR(ctx, addr)
}
