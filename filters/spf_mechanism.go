package filters

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// match evaluates one mechanism (RFC 7208 5) and notes in out how it matched.
func (e *spfEval) match(ctx context.Context, m *spfMechanism, domain string, out *spfOutcome) (bool, error) {
	out.mechanism, out.wide = clip(m.text, 200), false
	switch m.name {
	case "all":
		out.wide = true
		return true, nil
	case "ip4", "ip6":
		out.wide = tooWide(e.ip, m.network.Bits())
		return m.network.Contains(e.ip), nil
	}
	if err := e.count(); err != nil {
		return false, err
	}
	target := e.target(ctx, m.domain, domain)
	switch m.name {
	case "include":
		return e.include(ctx, target, out)
	case "a":
		return e.hostMatches(ctx, target, m, out, e.void)
	case "mx":
		return e.mx(ctx, target, m, out)
	case "exists":
		_, err := e.r.Addrs(ctx, target, false) // always A, RFC 7208 5.7
		out.wide = !depends(m.domain)
		return err == nil, e.void(err)
	default: // ptr
		return e.ptr(ctx, target)
	}
}

// tooWide: networks of more than 2^24 IPv4 or 2^112 IPv6 addresses say nothing of a sender.
func tooWide(ip netip.Addr, bits int) bool {
	if ip.Is4() {
		return bits < 8
	}
	return bits < 16
}

// depends reports whether a domain-spec has a macro that differs between clients.
func depends(spec []macroPart) bool {
	for _, p := range spec {
		if strings.IndexByte("slihpc", p.letter) >= 0 {
			return true
		}
	}
	return false
}

// include evaluates another domain's record (RFC 7208 5.2).
func (e *spfEval) include(ctx context.Context, target string, out *spfOutcome) (bool, error) {
	in, _, _, err := e.host(ctx, target)
	switch {
	case err != nil:
		return false, err
	case in.result == "none":
		return false, spfPermError("include:" + clip(target, 100) + " has no SPF record")
	case in.result != "pass":
		return false, nil
	}
	out.mechanism, out.wide = clip(out.mechanism+" > "+in.mechanism, 400), in.wide
	return true, nil
}

// hostMatches looks an address up and compares; notFound judges the error of the look-up.
func (e *spfEval) hostMatches(ctx context.Context, name string, m *spfMechanism, out *spfOutcome, judge func(error) error) (bool, error) {
	addrs, err := e.r.Addrs(ctx, name, !e.ip.Is4())
	if err := judge(err); err != nil {
		return false, err
	}
	bits := m.bits4
	if !e.ip.Is4() {
		bits = m.bits6
	}
	for _, a := range addrs {
		if p, err := a.Prefix(bits); err == nil && p.Contains(e.ip) {
			out.wide = tooWide(e.ip, bits)
			return true, nil
		}
	}
	return false, nil
}

// mx compares with the addresses of the mail exchangers (RFC 7208 5.4).
func (e *spfEval) mx(ctx context.Context, target string, m *spfMechanism, out *spfOutcome) (bool, error) {
	hosts, err := e.r.MX(ctx, target)
	if err := e.void(err); err != nil {
		return false, err
	}
	if len(hosts) > spfNames { // RFC 7208 4.6.4
		return false, spfPermError(fmt.Sprintf("%s has more than %d MX hosts", clip(target, 100), spfNames))
	}
	for _, h := range hosts {
		match, err := e.hostMatches(ctx, h.Host, m, out, failed)
		if match || err != nil {
			return match, err
		}
	}
	return false, nil
}

// ptr looks for a confirmed name of the client in target (RFC 7208 5.5).
func (e *spfEval) ptr(ctx context.Context, target string) (bool, error) {
	names, err := e.confirmed(ctx)
	if err != nil {
		return false, err
	}
	for _, n := range names {
		if within(n, target) {
			return true, nil
		}
	}
	return false, nil
}

// within reports whether name is domain or below it.
func within(name, domain string) bool {
	name, domain = strings.TrimSuffix(name, "."), strings.TrimSuffix(domain, ".")
	if len(name) == len(domain) {
		return strings.EqualFold(name, domain)
	}
	cut := len(name) - len(domain)
	return cut > 0 && domain != "" && name[cut-1] == '.' && strings.EqualFold(name[cut:], domain)
}

// confirmed lists the client's names that lead back to it. DNS errors only make the list
// shorter (RFC 7208 5.5); the error is that of too many void look-ups.
func (e *spfEval) confirmed(ctx context.Context) ([]string, error) {
	if e.named {
		return e.names, nil
	}
	e.named = true
	names, err := e.r.PTR(ctx, e.ip)
	if err != nil {
		var s *spfError
		if err := e.void(err); errors.As(err, &s) && !s.temporary && e.voids > spfVoids {
			return nil, err
		}
		return nil, nil
	}
	for _, n := range names[:min(len(names), spfNames)] {
		addrs, err := e.r.Addrs(ctx, n, !e.ip.Is4())
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if a == e.ip {
				e.names = append(e.names, n)
				break
			}
		}
	}
	return e.names, nil
}

// validated gives the name for %{p}: the domain itself, else one below it, else any.
func (e *spfEval) validated(ctx context.Context, domain string) string {
	names, err := e.confirmed(ctx)
	if err != nil || len(names) == 0 {
		return "unknown"
	}
	best := names[0]
	for _, n := range names {
		if strings.EqualFold(strings.TrimSuffix(n, "."), domain) {
			return n
		}
		if within(n, domain) && !within(best, domain) {
			best = n
		}
	}
	return best
}

// explain fetches and expands the explanation (RFC 7208 6.2); any error means there is none.
func (e *spfEval) explain(ctx context.Context, spec []macroPart, domain string) string {
	txts, err := e.r.TXT(ctx, e.target(ctx, spec, domain))
	if err != nil || len(txts) != 1 {
		return ""
	}
	parts, err := parseMacros(txts[0], true)
	if err != nil {
		return ""
	}
	text := e.expand(ctx, parts, domain)
	return strings.Map(func(r rune) rune { // blanks stay as they are: it is a text for people
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, clip(text, spfExplanation))
}
