package filters

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A dmarcNode is a policy record and where it was found.
type dmarcNode struct {
	domain string
	record dmarcRecord
}

// A dmarcWalk is what a DNS tree walk found (RFC 9989 4.10): the records from the longest
// name to the shortest, and the organizational domain that follows from them.
type dmarcWalk struct {
	start string
	found []dmarcNode
	org   string
}

// A dmarcTree walks. The walks of one message are remembered.
type dmarcTree struct {
	dns   Resolver
	psl   bool // organizational domains by the public suffix list (RFC 7489 3.2)
	walks map[string]dmarcWalk

	records *recordCache[dmarcRecord]

	last       string // the record asked for last, since a walk begins where its caller just looked
	lastRecord *dmarcRecord
}

// record fetches the one policy record of a domain; nil when there is none or several.
func (t *dmarcTree) record(ctx context.Context, domain string) (*dmarcRecord, error) {
	if t.last == domain {
		return t.lastRecord, nil
	}
	txts, err := t.dns.TXT(ctx, "_dmarc."+domain)
	var d *DNSError
	if err != nil && !(errors.As(err, &d) && d.NotFound) {
		return nil, err
	}
	t.last, t.lastRecord = domain, nil
	if one := selectDMARC(txts); one != "" {
		t.lastRecord = t.records.get(one)
	}
	return t.lastRecord, nil
}

// selectDMARC picks the only policy record (RFC 9989 4.10, steps 2 and 6), "" for none.
func selectDMARC(txts []string) string {
	var one string
	for _, txt := range txts {
		if !isDMARC(txt) {
			continue
		}
		if one != "" {
			return ""
		}
		one = txt
	}
	return one
}

// walk walks up from domain.
func (t *dmarcTree) walk(ctx context.Context, domain string) (dmarcWalk, error) {
	if w, ok := t.walks[domain]; ok {
		return w, nil
	}
	w := dmarcWalk{start: domain}
	targets := walkTargets(domain)
	if t.psl {
		targets = pslTargets(domain)
	}
	for _, name := range targets {
		r, err := t.record(ctx, name)
		if err != nil {
			return w, err
		}
		if r == nil {
			continue
		}
		w.found = append(w.found, dmarcNode{name, *r})
		if !t.psl && r.psd != 'u' {
			break
		}
	}
	w.org = w.organization()
	if t.psl {
		w.org = targets[len(targets)-1]
	}
	if t.walks == nil {
		t.walks = map[string]dmarcWalk{}
	}
	t.walks[domain] = w
	return w, nil
}

// walkTargets lists the names to ask, at most eight: the domain itself, then its parents,
// from seven labels on when it is longer than that.
func walkTargets(domain string) []string {
	out := []string{domain}
	labels := strings.Count(domain, ".") + 1
	for rest := domain; labels > 1; {
		_, rest, _ = strings.Cut(rest, ".")
		if labels--; labels <= 7 {
			out = append(out, rest)
		}
	}
	return out
}

// pslTargets are the domain and its organizational domain by the public suffix list, which
// is the domain itself when that is a public suffix.
func pslTargets(domain string) []string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil || org == domain {
		return []string{domain}
	}
	return []string{domain, org}
}

// organization selects the organizational domain (RFC 9989 4.10.2).
func (w *dmarcWalk) organization() string {
	org := w.start
	for _, n := range w.found {
		switch {
		case n.record.psd == 'n':
			return n.domain
		case n.record.psd == 'y' && n.domain != w.start:
			return oneBelow(w.start, n.domain)
		}
		org = n.domain
	}
	return org
}

// oneBelow gives the domain one label longer than parent on the way to name.
func oneBelow(name, parent string) string {
	cut := len(name) - len(parent) - 1
	return name[strings.LastIndexByte(name[:cut], '.')+1:]
}

// policy selects the record that applies to the start of the walk: its own, that of its
// organizational domain, or that of the public suffix above (RFC 9989 4.10.1).
func (w *dmarcWalk) policy() (dmarcNode, bool) {
	for _, want := range []func(dmarcNode) bool{
		func(n dmarcNode) bool { return n.domain == w.start },
		func(n dmarcNode) bool { return n.domain == w.org },
		func(n dmarcNode) bool { return n.record.psd == 'y' },
	} {
		for _, n := range w.found {
			if want(n) {
				return n, true
			}
		}
	}
	return dmarcNode{}, false
}
