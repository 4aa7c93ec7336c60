package filters

import (
	"net/url"
	"slices"
	"strings"
)

// A dmarcRecord is a DMARC policy record (RFC 9989 4.7) as it is to be applied.
type dmarcRecord struct {
	text       string
	p, sp, np  string // none, quarantine, reject; sp and np "" when absent
	psd        byte   // y n u
	testing    bool   // t=y
	strictDKIM bool
	strictSPF  bool
	pct        string // obsolete (RFC 9989 A.5): read, not applied
	rua        string
	invalid    bool // p is missing or bad, or sp or np bad
}

// isDMARC reports whether a TXT record is a policy record at all: "v=DMARC1" comes first,
// with the value in this very case.
func isDMARC(txt string) bool {
	tag, _, _ := strings.Cut(txt, ";")
	name, value, ok := strings.Cut(tag, "=")
	return ok && strings.EqualFold(strings.TrimRight(name, " \t"), "v") && trimWSP(value) == "DMARC1"
}

func trimWSP(s string) string { return strings.Trim(s, " \t") }

var dmarcTags = [...]string{"p", "sp", "np", "psd", "t", "adkim", "aspf", "rua", "pct"}

// parseDMARC reads a record for which isDMARC holds. It never fails: unknown tags and bad
// values are ignored in favour of the defaults (RFC 9989 4.8). Of a tag that stands twice
// the first counts.
func parseDMARC(txt string) *dmarcRecord {
	r := &dmarcRecord{text: txt, psd: 'u'}
	var seen [len(dmarcTags)]bool
	_, rest, more := strings.Cut(txt, ";")
	for more {
		var tag string
		tag, rest, more = strings.Cut(rest, ";")
		name, value, ok := strings.Cut(tag, "=")
		name = strings.ToLower(trimWSP(name))
		if i := slices.Index(dmarcTags[:], name); ok && i >= 0 && !seen[i] {
			seen[i] = true
			r.set(name, trimWSP(value))
		}
	}
	if r.p == "" {
		r.invalid = true
	}
	// RFC 9989 4.10.1: such a record counts as p=none when somebody wants reports, else it
	// switches DMARC off.
	if r.invalid {
		r.p, r.sp, r.np = "none", "", ""
	}
	return r
}

func (r *dmarcRecord) set(name, value string) {
	low := strings.ToLower(value)
	switch name {
	case "p":
		r.p = dmarcPolicy(low)
	case "sp":
		r.sp = dmarcPolicy(low)
		r.invalid = r.invalid || r.sp == ""
	case "np":
		r.np = dmarcPolicy(low)
		r.invalid = r.invalid || r.np == ""
	case "psd":
		if low == "y" || low == "n" {
			r.psd = low[0]
		}
	case "t":
		r.testing = low == "y"
	case "adkim":
		r.strictDKIM = low == "s"
	case "aspf":
		r.strictSPF = low == "s"
	case "rua":
		r.rua = value
	case "pct":
		if isDigits(value) && len(value) <= 3 {
			r.pct = value
		}
	}
}

// dmarcPolicy gives a valid policy, else "".
func dmarcPolicy(s string) string {
	switch s {
	case "none", "quarantine", "reject":
		return s
	}
	return ""
}

// hasReportURI reports whether a list has at least one syntactically valid URI.
func hasReportURI(list string) bool {
	for uri := range strings.SplitSeq(list, ",") {
		uri, _, _ = strings.Cut(trimWSP(uri), "!") // an obsolete size limit
		u, err := url.Parse(uri)
		if err != nil || u.Scheme == "" {
			continue
		}
		if at := strings.IndexByte(u.Opaque, '@'); u.Scheme == "mailto" && (at < 1 || at == len(u.Opaque)-1) {
			continue
		}
		if u.Opaque != "" || u.Host != "" {
			return true
		}
	}
	return false
}

// applies reports whether DMARC is to be applied by this record.
func (r *dmarcRecord) applies() bool { return !r.invalid || hasReportURI(r.rua) }

// weaker is a policy one level down, as t=y asks for (RFC 9989 4.7).
func weaker(policy string) string {
	if policy == "reject" {
		return "quarantine"
	}
	return "none"
}

// stricter returns the stricter of two policies.
func stricter(a, b string) string {
	if a == "reject" || b == "reject" {
		return "reject"
	}
	if a == "quarantine" || b == "quarantine" {
		return "quarantine"
	}
	return "none"
}
