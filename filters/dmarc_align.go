package filters

import (
	"context"
	"errors"
	"strings"
)

// An identifier is a domain that SPF or DKIM says something of.
type identifier struct {
	domain string // "" when it is not known
	result string
	dkim   bool
}

// identifiers waits for SPF and DKIM. One that is switched off says nothing; one that failed
// or was never started has no answer, which is not the same. The error is that of our own
// context.
func (e *dmarcEval) identifiers(ctx context.Context, in *Input) ([]identifier, error) {
	ids := make([]identifier, 0, 4)
	v, err := in.Fact(ctx, "spf")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s, ok := v.(SPFFacts)
	switch {
	case errors.Is(err, ErrOff):
	case err != nil || !ok:
		ids = append(ids, identifier{domain: in.Sender.Domain, result: "temperror"})
	default:
		ids = append(ids, identifier{domain: s.Domain, result: s.Result})
	}
	v, err = in.Fact(ctx, "dkim")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d, ok := v.(DKIMFacts)
	switch {
	case errors.Is(err, ErrOff):
	case err != nil || !ok:
		ids = append(ids, identifier{result: "temperror", dkim: true})
	default:
		for _, sig := range d.Signatures {
			ids = append(ids, identifier{domain: sig.Domain, result: sig.Result, dkim: true})
		}
	}
	return ids, nil
}

// undiscovered is the end when the policy could not be looked up. Whoever proved to be the
// very domain of the author passes under any policy.
func (e *dmarcEval) undiscovered(err error, ids []identifier) {
	e.f.Reason = "policy: " + err.Error()
	for _, id := range ids {
		if id.result == "pass" && id.domain == e.f.Domain {
			e.f.Result = "pass"
			e.f.AlignedDKIM = e.f.AlignedDKIM || id.dkim
			e.f.AlignedSPF = e.f.AlignedSPF || !id.dkim
		}
	}
	if e.f.Result == "pass" {
		return
	}
	e.f.Result = "temperror"
	var d *DNSError
	if errors.As(err, &d) && !d.Temporary {
		e.f.Result = "permerror"
	}
}

// judge compares the identifiers with the author's domain (RFC 9989 5.3.4, 5.3.5).
func (e *dmarcEval) judge(ctx context.Context, r dmarcRecord, ids []identifier) {
	e.f.Result = "fail"
	for _, id := range ids {
		if id.result != "pass" && id.result != "temperror" {
			continue
		}
		if id.domain == "" { // a check that failed as a whole might have passed
			if id.result == "temperror" {
				e.open("no answer from the check of DKIM or SPF")
			}
			continue
		}
		strict := r.strictSPF
		if id.dkim {
			strict = r.strictDKIM
		}
		aligned, err := e.aligned(ctx, id.domain, strict)
		switch {
		case err != nil:
			e.open("alignment: " + err.Error())
		case !aligned:
		case id.result == "temperror":
			e.open("no answer from DNS for the check of " + id.domain)
		case id.dkim:
			e.f.AlignedDKIM = true
		default:
			e.f.AlignedSPF = true
		}
	}
	if e.f.AlignedDKIM || e.f.AlignedSPF {
		e.f.Result, e.f.Reason = "pass", ""
	}
}

// open notes that what might have passed has no answer.
func (e *dmarcEval) open(why string) { e.f.Result, e.f.Reason = "temperror", why }

// aligned reports whether an identifier belongs to the author's domain (RFC 9989 4.10.2).
func (e *dmarcEval) aligned(ctx context.Context, domain string, strict bool) (bool, error) {
	author := e.f.Domain
	if domain == author {
		return true, nil
	}
	if strict || domain[0] == '[' || !related(domain, author) {
		return false, nil
	}
	a, err := e.tree.walk(ctx, author)
	if err != nil {
		return false, err
	}
	e.f.OrgDomain = a.org
	if !within(domain, a.org) {
		return false, nil
	}
	d, err := e.tree.walk(ctx, domain)
	return err == nil && d.org == a.org, err
}

// related spares walks: what has not even the last label in common has no common
// organizational domain.
func related(a, b string) bool {
	return a[strings.LastIndexByte(a, '.')+1:] == b[strings.LastIndexByte(b, '.')+1:]
}
