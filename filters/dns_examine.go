package filters

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A DNSReport is what an administrator should know of one server.
type DNSReport struct {
	ServerState
	TCP       error // why it does not answer over TCP, where long answers come; nil when it does
	Validates bool  // it checks DNSSEC and says so (AD, RFC 4035 3.2.3)
	Invents   bool  // it has an answer for a name that does not exist
}

// Examine asks each server, past the cache and all at the same time: for the root, which is
// signed, over UDP and TCP, and for a name that nobody has. ctx bounds it.
func (d *DNS) Examine(ctx context.Context) []DNSReport {
	out := make([]DNSReport, len(d.client.servers))
	nobody := "postern-" + strings.ToLower(rand.Text()) + ".com."
	var wg sync.WaitGroup
	for i, s := range d.client.servers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, d.client.timeout)
			defer cancel()
			out[i] = examine(ctx, s.addr.String(), nobody)
			out[i].Loopback = s.addr.Addr().IsLoopback()
		})
	}
	wg.Wait()
	return out
}

func examine(ctx context.Context, addr, nobody string) DNSReport {
	r := DNSReport{ServerState: ServerState{Addr: addr}}
	root, took, err := putQuestion(ctx, "udp", addr, ".", dns.TypeNS)
	r.Took, r.Err = took, err
	if err != nil {
		return r
	}
	r.Validates = root.AuthenticatedData
	var wg sync.WaitGroup
	wg.Go(func() { _, _, r.TCP = putQuestion(ctx, "tcp", addr, ".", dns.TypeNS) })
	wg.Go(func() {
		a, _, err := putQuestion(ctx, "udp", addr, nobody, dns.TypeA)
		r.Invents = err == nil && a.Rcode == dns.RcodeSuccess && len(a.Answer) > 0
	})
	wg.Wait()
	return r
}

// putQuestion asks with AD set: tell whether it is proven (RFC 6840 5.7). A lost datagram is
// sent once more.
func putQuestion(ctx context.Context, network, addr, name string, kind uint16) (*dns.Msg, time.Duration, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	q.AuthenticatedData = true
	q.SetEdns0(ednsSize, false)
	c := dns.Client{Net: network, Timeout: 2 * time.Second}
	var last error
	for range dnsTries {
		a, took, err := c.ExchangeContext(ctx, q, addr)
		switch {
		case err == nil && (a.Rcode == dns.RcodeSuccess || a.Rcode == dns.RcodeNameError):
			return a, took, nil
		case err == nil:
			return nil, 0, errors.New("it answers " + dns.RcodeToString[a.Rcode])
		}
		last = err
	}
	return nil, 0, last
}
