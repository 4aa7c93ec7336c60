package filters

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postern/mail"
)

// Limits of RFC 7208 4.6.4, and of the text of an explanation.
const (
	spfLookups     = 10
	spfVoids       = 2
	spfNames       = 10 // MX hosts, and names of a PTR look-up
	spfExplanation = 256
)

// An spfEval is one check_host() (RFC 7208 4) with all that it includes.
type spfEval struct {
	r        Resolver
	ip       netip.Addr // never IPv4-mapped
	helo     string
	local    string // of the sender; "postmaster" when there is none
	sender   string // its domain
	receiver string // our name, for %{r}

	lookups  int
	voids    int
	personal bool // the result depends on more than address, EHLO name and domain
	names    []string
	named    bool // names has been looked up
}

// An spfOutcome is what check_host() found out.
type spfOutcome struct {
	result      string
	mechanism   string // what matched, as written; "include:x > ip4:y" when it was in there
	problem     string // of a temperror or permerror
	record      string
	wide        bool // matched by what would match (almost) anybody
	explanation string
}

// An spfError ends the evaluation.
type spfError struct {
	temporary bool
	text      string
}

func (e *spfError) Error() string { return e.text }

func spfPermError(text string) error { return &spfError{text: text} }

// check evaluates domain and, when it fails, its explanation.
func (e *spfEval) check(ctx context.Context, domain string) spfOutcome {
	out, rec, at, err := e.host(ctx, domain)
	if err != nil {
		var s *spfError
		out.problem = err.Error()
		if out.result = "permerror"; errors.As(err, &s) && s.temporary {
			out.result = "temperror"
		}
		return out
	}
	if out.result == "fail" && rec != nil && rec.exp != nil {
		out.explanation = e.explain(ctx, rec.exp, at)
	}
	return out
}

// host is check_host() itself. rec and at are the record that gave the result and its
// domain, which are others than those asked for after a redirect.
func (e *spfEval) host(ctx context.Context, domain string) (out spfOutcome, rec *spfRecord, at string, err error) {
	out.result = "none"
	if !isFQDN(domain) { // RFC 7208 4.3
		return out, nil, "", nil
	}
	txt, err := e.record(ctx, domain)
	if err != nil || txt == "" {
		return out, nil, "", err
	}
	out.record = txt
	if rec, err = parseSPF(txt); err != nil {
		return out, nil, "", spfPermError(err.Error())
	}
	for i := range rec.mechanisms {
		m := &rec.mechanisms[i]
		match, err := e.match(ctx, m, domain, &out)
		if err != nil {
			return out, nil, "", err
		}
		if match {
			out.result = qualified(m.qualifier)
			return out, rec, domain, nil
		}
	}
	if rec.redirect == nil {
		out.result, out.mechanism, out.wide = "neutral", "", false // RFC 7208 4.7
		return out, rec, domain, nil
	}
	if err := e.count(); err != nil {
		return out, nil, "", err
	}
	target := e.target(ctx, rec.redirect, domain)
	to, rec, at, err := e.host(ctx, target)
	if err == nil && to.result == "none" { // RFC 7208 6.1
		err = spfPermError("redirect=" + clip(target, 100) + " leads to no SPF record")
	}
	if to.record == "" {
		to.record = out.record
	}
	return to, rec, at, err
}

// qualified gives the result that a qualifier stands for (RFC 7208 4.6.2).
func qualified(c byte) string {
	switch c {
	case '+':
		return "pass"
	case '-':
		return "fail"
	case '~':
		return "softfail"
	}
	return "neutral"
}

// isFQDN reports whether a domain can be checked: several labels, none too long or empty.
func isFQDN(d string) bool {
	d = strings.TrimSuffix(d, ".")
	labels := 0
	for rest, more := d, true; more; labels++ {
		var label string
		if label, rest, more = strings.Cut(rest, "."); label == "" || len(label) > 63 {
			return false
		}
	}
	return labels > 1 && len(d) <= 253 && d[0] != '['
}

// record gets the one SPF record of a domain, "" when there is none (RFC 7208 4.4, 4.5).
func (e *spfEval) record(ctx context.Context, domain string) (string, error) {
	txts, err := e.r.TXT(ctx, domain)
	if err = failed(err); err != nil {
		return "", err
	}
	record := ""
	for _, txt := range txts {
		if !isSPF(txt) {
			continue
		}
		if record != "" {
			return "", spfPermError(clip(domain, 100) + " has more than one SPF record")
		}
		record = txt
	}
	return record, nil
}

// failed passes on the errors that end an evaluation; a name or record that is not there is
// none.
func failed(err error) error {
	var d *DNSError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &d):
		return &spfError{temporary: true, text: err.Error()}
	case d.NotFound:
		return nil
	}
	return &spfError{temporary: d.Temporary, text: d.Error()}
}

// void is failed for look-ups that count when nothing was found.
func (e *spfEval) void(err error) error {
	var d *DNSError
	if errors.As(err, &d) && d.NotFound {
		if e.voids++; e.voids > spfVoids {
			return spfPermError(fmt.Sprintf("more than %d look-ups that found nothing", spfVoids))
		}
	}
	return failed(err)
}

// count counts a term that costs DNS look-ups.
func (e *spfEval) count() error {
	if e.lookups++; e.lookups > spfLookups {
		return spfPermError(fmt.Sprintf("more than %d terms that need DNS", spfLookups))
	}
	return nil
}

// target expands a domain-spec to a name (RFC 7208 4.8, 7.3): no final dot, and cut on the
// left to 253 bytes.
func (e *spfEval) target(ctx context.Context, spec []macroPart, domain string) string {
	if spec == nil {
		return domain
	}
	name := strings.TrimSuffix(e.expand(ctx, spec, domain), ".")
	for len(name) > 253 {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return ""
		}
		name = rest
	}
	return name
}

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
	return mail.Printable(e.expand(ctx, parts, domain), spfExplanation)
}
