package filters

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/mail"
)

// DMARCConfig configures the dmarc filter.
type DMARCConfig struct {
	PSL    bool          // find organizational domains by the public suffix list, not by the tree walk
	Budget time.Duration // for all look-ups of one message; 0 means 10 s
}

// DMARCFacts are what DMARC (RFC 9989) says of a message.
type DMARCFacts struct {
	Error         string   `expr:"error" json:"error,omitempty" doc:"Why DMARC could not be evaluated at all; a DNS failure is the result temperror instead."`
	Result        string   `expr:"result" json:"result" doc:"none, pass, fail, temperror or permerror; permerror is a From field that names not exactly one author." enum:"none pass fail temperror permerror" example:"dmarc.result == \"fail\""`
	Policy        string   `expr:"policy" json:"policy" doc:"What the domain asks for when its mail fails: none, quarantine or reject, with t=y already applied; none without a record." enum:"none quarantine reject"`
	Domain        string   `expr:"domain" json:"domain" doc:"Domain of the author, from the From field." case:"lower" example:"isSubdomain(dmarc.domain, \"example.net\")"`
	OrgDomain     string   `expr:"org_domain" json:"org_domain" doc:"Its organizational domain, as far as it had to be found out." case:"lower"`
	PolicyDomain  string   `expr:"policy_domain" json:"policy_domain" doc:"Domain whose record applies; empty when there is none." case:"lower"`
	Published     string   `expr:"published_policy" json:"published_policy" doc:"The policy before t=y made it one level weaker." enum:"none quarantine reject"`
	Testing       bool     `expr:"testing" json:"testing" doc:"The record says t=y: the domain is only trying its policy out."`
	AlignedSPF    bool     `expr:"aligned_spf" json:"aligned_spf" doc:"SPF passed for a domain that belongs to the author's."`
	AlignedDKIM   bool     `expr:"aligned_dkim" json:"aligned_dkim" doc:"A DKIM signature passed for a domain that belongs to the author's."`
	NonExistent   bool     `expr:"non_existent" json:"non_existent" doc:"The author's domain does not exist in DNS; looked up only where the record has np=."`
	Record        string   `expr:"record" json:"record,omitempty" doc:"The policy record, its first 500 bytes."`
	Pct           string   `expr:"pct" json:"pct,omitempty" doc:"The obsolete tag pct=, which is not applied."`
	MalformedFrom bool     `expr:"malformed_from" json:"malformed_from" doc:"Not exactly one From field with exactly one address that all readers see alike; never a pass."`
	FromCount     int      `expr:"from_count" json:"from_count" doc:"How many header fields may be taken for From."`
	FromDomains   []string `expr:"from_domains" json:"from_domains" doc:"The domains of all addresses in From, 8 at most."`
	Reason        string   `expr:"reason" json:"reason,omitempty" doc:"Why there is no plain pass or fail."`
}

const (
	dmarcBudget  = 10 * time.Second
	dmarcAuthors = 8 // From domains looked at when there are several (RFC 9989 11.5)
	dmarcText    = 500
)

// dmarc evaluates the author's domain against what SPF and DKIM found.
func dmarc(c DMARCConfig, r Resolver) Filter {
	if c.Budget == 0 {
		c.Budget = dmarcBudget
	}
	records := &recordCache[dmarcRecord]{parse: parseDMARC}
	return Filter{Name: "dmarc", Cost: Answers, Doc: "Is it proven that the domain of the author sent it, and what does its owner want done if not (DMARC, RFC 9989)?",
		Stage: mail.Data, After: []string{"spf", "dkim"}, Facts: DMARCFacts{}, OnFail: Unknown,
		Quick: remembers(r), Timeout: 40 * time.Second, // it waits for spf and dkim
		Gather: func(ctx context.Context, in *Input) (any, error) {
			h, err := in.Body.Header()
			if err != nil {
				return nil, err
			}
			e := dmarcEval{tree: dmarcTree{dns: r, psl: c.PSL, records: records}, budget: c.Budget}
			return e.evaluate(ctx, in, h.Authors())
		}}
}

// A dmarcEval is one message's evaluation.
type dmarcEval struct {
	tree   dmarcTree
	budget time.Duration
	f      DMARCFacts
}

func (e *dmarcEval) evaluate(ctx context.Context, in *Input, authors mail.Authors) (DMARCFacts, error) {
	e.f = DMARCFacts{Result: "none", Policy: "none", Published: "none", FromCount: authors.Fields, FromDomains: domainsOf(authors)}
	author, ok := authors.One()
	if !ok {
		e.malformed(ctx, authors)
		return e.f, nil
	}
	e.f.Domain = author.Domain
	if author.Domain[0] == '[' {
		e.f.Reason = "the author's domain is an address literal"
		return e.f, nil
	}
	dns, cancel := inTime(ctx, e.budget)
	node, found, err := e.discover(dns, author.Domain)
	cancel()
	ids, idErr := e.identifiers(ctx, in)
	if idErr != nil {
		return e.f, idErr
	}
	dns, cancel = inTime(ctx, e.budget)
	defer cancel()
	switch {
	case err != nil:
		e.undiscovered(err, ids)
	case found:
		e.judge(dns, node.record, ids)
	}
	return e.f, nil
}

func domainsOf(a mail.Authors) []string {
	out := make([]string, 0, 1)
	for _, one := range a.List {
		if one.Domain != "" && len(out) < dmarcAuthors && !slices.Contains(out, one.Domain) {
			out = append(out, one.Domain)
		}
	}
	return out
}

// malformed is a From field that cannot be authenticated (RFC 9989 5.3.1, 11.5). The policy
// is the strictest of all domains in it, for who wants to apply one.
func (e *dmarcEval) malformed(ctx context.Context, authors mail.Authors) {
	domains := e.f.FromDomains
	e.f.MalformedFrom, e.f.Reason = true, malformedReason(authors)
	if len(domains) > 0 {
		e.f.Domain = domains[0]
	}
	ctx, cancel := inTime(ctx, e.budget)
	defer cancel()
	strictest := e.f
	for _, d := range domains {
		if d[0] == '[' {
			continue
		}
		e.f = DMARCFacts{Policy: "none"}
		if _, found, err := e.discover(ctx, d); err != nil || !found {
			continue
		}
		if stricter(e.f.Policy, strictest.Policy) != strictest.Policy || strictest.PolicyDomain == "" {
			f := e.f
			strictest.Policy, strictest.Published, strictest.Testing = f.Policy, f.Published, f.Testing
			strictest.PolicyDomain, strictest.OrgDomain, strictest.Record, strictest.Domain = f.PolicyDomain, f.OrgDomain, f.Record, d
		}
	}
	e.f = strictest
	e.f.Result = "permerror"
}

func malformedReason(a mail.Authors) string {
	switch {
	case a.Fields == 0:
		return "there is no From field"
	case a.Fields > 1:
		return "there is more than one From field"
	case len(a.List) > 1:
		return "From names more than one author"
	case len(a.List) == 0:
		return "From names nobody"
	}
	return "From can be read in more than one way"
}

// discover finds the record that applies to domain and the policy it asks for.
func (e *dmarcEval) discover(ctx context.Context, domain string) (node dmarcNode, found bool, err error) {
	// The domain's own record needs no walk; alignment may, later.
	own, err := e.tree.record(ctx, domain)
	if err != nil {
		return node, false, err
	}
	if own != nil {
		node = dmarcNode{domain, *own}
	} else {
		w, err := e.tree.walk(ctx, domain)
		if err != nil {
			return node, false, err
		}
		e.f.OrgDomain = w.org
		if node, found = w.policy(); !found {
			return node, false, nil
		}
	}
	e.f.Record, e.f.Pct, e.f.Testing = mail.Printable(node.record.text, dmarcText), node.record.pct, node.record.testing
	if !node.record.applies() {
		e.f.Reason = "the record has no valid policy and nobody to report to"
		return node, false, nil
	}
	policy, err := e.policyFor(ctx, domain, node)
	if err != nil {
		return node, false, err
	}
	e.f.PolicyDomain, e.f.Published, e.f.Policy = node.domain, policy, policy
	if node.record.testing {
		e.f.Policy = weaker(policy)
	}
	return node, true, nil
}

// policyFor takes p of the domain's own record, else sp or np (RFC 9989 4.10.1).
func (e *dmarcEval) policyFor(ctx context.Context, domain string, n dmarcNode) (string, error) {
	if n.domain == domain {
		return n.record.p, nil
	}
	if n.record.np != "" {
		_, err := e.tree.dns.Addrs(ctx, domain, false)
		var d *DNSError
		switch {
		case err == nil:
		case !errors.As(err, &d) || !d.NotFound:
			return "", err
		case d.NXDomain: // RFC 9989 3.2.13, RFC 8020
			e.f.NonExistent = true
			return n.record.np, nil
		}
	}
	if n.record.sp != "" {
		return n.record.sp, nil
	}
	return n.record.p, nil
}

// AuthResults gives the result for Authentication-Results (RFC 9989 9.1).
func (f DMARCFacts) AuthResults() []mail.AuthResult {
	if f.Error != "" {
		return []mail.AuthResult{{Method: "dmarc", Result: "temperror"}}
	}
	r := mail.AuthResult{Method: "dmarc", Result: f.Result, Reason: f.Reason}
	if f.Domain != "" {
		r.Props = append(r.Props, mail.AuthProp{Type: "header", Name: "from", Value: f.Domain})
	}
	if f.PolicyDomain != "" {
		r.Comment = "p=" + f.Published
		r.Props = append(r.Props, mail.AuthProp{Type: "policy", Name: "dmarc", Value: f.Policy})
	}
	return []mail.AuthResult{r}
}
