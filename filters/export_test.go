package filters

import (
	"context"
	"net/netip"
	"time"
)

// What tests outside of the package need, since the fake zone imports it.

func NewSPF(c SPFConfig, r Resolver) Filter { return spf(c, r) }

// CheckSPF is one check_host().
func CheckSPF(ctx context.Context, r Resolver, ip netip.Addr, helo, local, sender string) (result, explanation, problem string) {
	if local == "" {
		local = "postmaster"
	}
	e := spfEval{r: r, ip: ip.Unmap(), helo: helo, local: local, sender: sender, receiver: "unknown"}
	out := e.check(ctx, sender)
	return out.result, out.explanation, out.problem
}

func NewDKIM(c DKIMConfig, r Resolver) Filter { return dkim(c, r) }

func NewDMARC(c DMARCConfig, r Resolver) Filter { return dmarc(c, r) }

// SetNow replaces the clock of a resolver's cache and outage watch.
func (d *DNS) SetNow(now func() time.Time) { d.now = now }
