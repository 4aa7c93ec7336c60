package doctor

import (
	"context"
	"fmt"
	"time"

	"postern/filters"
)

// slowDNS is an answer that costs a message time.
const slowDNS = 500 * time.Millisecond

// DNS asks the resolvers about themselves. examine is filters.DNS.Examine.
func DNS(examine func(context.Context) []filters.DNSReport) Check {
	return Check{Name: "dns", Look: func(ctx context.Context) []Finding { return judgeDNS(examine(ctx)) }}
}

func judgeDNS(list []filters.DNSReport) (out []Finding) {
	const own = "install a validating resolver on this host (unbound), and set dns.servers to 127.0.0.1"
	answering := 0
	for i := range list {
		r := &list[i]
		say := func(st State, do, format string, args ...any) {
			out = append(out, Finding{About: r.Addr, State: st, Sentence: fmt.Sprintf(format, args...), Do: do, Reference: guideDNS})
		}
		if r.Err != nil {
			say(Warn, "start it, or take it out of dns.servers", "it does not answer: %s", printable(r.Err))
			continue
		}
		answering++
		before := len(out)
		if !r.Loopback {
			say(Warn, own, "it is not on this host: answers can be forged on the way, and SPF, DKIM and DMARC rest on them")
		}
		if !r.Validates {
			say(Warn, own, "it does not check DNSSEC: forged answers go through")
		}
		if r.Invents {
			say(Warn, own, "it has an answer for names that do not exist: checks of senders go wrong, and so do DNS lists")
		}
		if r.TCP != nil {
			say(Warn, "let TCP to its port 53 through", "it does not answer over TCP, where long records come: %s", printable(r.TCP))
		}
		if r.Took > slowDNS {
			say(Warn, own, "it takes %v to answer", r.Took.Round(time.Millisecond))
		}
		if len(out) == before {
			say(Ok, "", "it answers in %v, checks DNSSEC and invents nothing", r.Took.Round(100*time.Microsecond))
		}
	}
	if answering == 0 {
		out = append(out, Finding{About: "all servers", State: Bad, Sentence: "no DNS server answers: mail of domains with a policy is put off, since SPF, DKIM and DMARC cannot be checked", Do: own, Reference: guideDNS})
	}
	return out
}
