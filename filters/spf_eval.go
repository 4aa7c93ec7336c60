package filters

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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
