package dnsfake

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"postern/filters"
)

var _ filters.Resolver = (*Zone)(nil)

// resolve asks the zone and gives its answer as a resolver would.
func (z *Zone) resolve(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	fail := &filters.DNSError{Name: strings.TrimSuffix(name, ".")}
	if err := ctx.Err(); err != nil {
		fail.Temporary, fail.Err = true, err
		return nil, fail
	}
	r := z.ask(name, kind)
	if r.script.Delay > 0 {
		t := time.NewTimer(r.script.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			fail.Temporary, fail.Err = true, context.Cause(ctx)
			return nil, fail
		}
	}
	switch {
	case r.script.Silent:
		fail.Temporary, fail.Err = true, errors.New("no answer (scripted)")
		return nil, fail
	case r.rcode == dns.RcodeNameError:
		fail.NotFound, fail.NXDomain = true, len(r.records) == 0
		return nil, fail
	case r.rcode != dns.RcodeSuccess:
		fail.Temporary, fail.Err = true, errors.New(dns.RcodeToString[r.rcode])
		return nil, fail
	}
	found := slices.DeleteFunc(r.records, func(rr dns.RR) bool { return rr.Header().Rrtype != kind })
	if len(found) == 0 {
		fail.NotFound = true
		return nil, fail
	}
	return found, nil
}

// TXT implements filters.Resolver.
func (z *Zone) TXT(ctx context.Context, name string) ([]string, error) {
	rrs, err := z.resolve(ctx, name, dns.TypeTXT)
	var out []string
	for _, rr := range rrs {
		out = append(out, unescape(strings.Join(rr.(*dns.TXT).Txt, "")))
	}
	return out, err
}

// Addrs implements filters.Resolver.
func (z *Zone) Addrs(ctx context.Context, name string, six bool) ([]netip.Addr, error) {
	kind := dns.TypeA
	if six {
		kind = dns.TypeAAAA
	}
	rrs, err := z.resolve(ctx, name, kind)
	var out []netip.Addr
	for _, rr := range rrs {
		ip := []byte(nil)
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A.To4()
		case *dns.AAAA:
			ip = rr.AAAA.To16()
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, a)
		}
	}
	return out, err
}

// MX implements filters.Resolver.
func (z *Zone) MX(ctx context.Context, name string) ([]filters.MX, error) {
	rrs, err := z.resolve(ctx, name, dns.TypeMX)
	var out []filters.MX
	for _, rr := range rrs {
		mx := rr.(*dns.MX)
		out = append(out, filters.MX{Host: unescape(strings.TrimSuffix(mx.Mx, ".")), Pref: mx.Preference})
	}
	slices.SortStableFunc(out, func(a, b filters.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	return out, err
}

// PTR implements filters.Resolver.
func (z *Zone) PTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	name, err := dns.ReverseAddr(addr.Unmap().String())
	if err != nil {
		return nil, &filters.DNSError{Name: addr.String(), NotFound: true, Err: err}
	}
	rrs, err := z.resolve(ctx, name, dns.TypePTR)
	var out []string
	for _, rr := range rrs {
		out = append(out, unescape(strings.TrimSuffix(rr.(*dns.PTR).Ptr, ".")))
	}
	return out, err
}
