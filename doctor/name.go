package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/filters"
	"postern/mail"
)

// A Name is what the gateway calls itself.
type Name struct {
	Hostname string
	Resolver filters.Resolver
}

// Check asks DNS both ways.
func (n *Name) Check() Check { return Check{Name: "name", About: n.Hostname, Look: n.look} }

func (n *Name) look(ctx context.Context) []Finding {
	if !strings.Contains(n.Hostname, ".") {
		return []Finding{{State: Warn, Sentence: "it is no full name: it goes into the greeting and into headers", Do: "set hostname to the name in your MX record", Reference: guideMX}}
	}
	addrs := (&Bypass{Resolver: n.Resolver}).addresses(ctx, n.Hostname)
	if len(addrs) == 0 {
		return []Finding{{State: Warn, Sentence: "DNS has no address for it: an MX record with this name leads nowhere", Do: "give it an address record, or correct hostname", Reference: guideMX}}
	}
	var out []Finding
	for _, a := range addrs {
		out = append(out, n.back(ctx, a)...)
	}
	if len(out) == 0 {
		out = append(out, Finding{State: Ok, Sentence: fmt.Sprintf("it leads to %v", addrs)})
	}
	return out
}

// back asks for the name of a public address.
func (n *Name) back(ctx context.Context, a netip.Addr) []Finding {
	if a.IsLoopback() || a.IsPrivate() || carrierNAT().Contains(a) {
		return nil
	}
	names, err := n.Resolver.PTR(ctx, a)
	same := func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), n.Hostname) }
	if err == nil && slices.ContainsFunc(names, same) {
		return nil
	}
	says := "has no name"
	if err == nil {
		says = "is called " + mail.Printable(strings.Join(names, ", "), 200)
	}
	return []Finding{{State: Warn, Sentence: fmt.Sprintf("its address %v %s: some senders look whether the two agree", a, says), Do: "have the PTR record of the address name " + n.Hostname, Reference: guideMX}}
}
