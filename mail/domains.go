package mail

import "strings"

// A DomainSet matches domains: "example.org" is that domain alone,
// ".example.org" adds its subdomains.
type DomainSet struct {
	exact  map[string]bool
	suffix map[string]bool
}

// NewDomainSet makes a set of patterns; U-labels are allowed.
func NewDomainSet(patterns []string) (DomainSet, error) {
	s := DomainSet{exact: map[string]bool{}, suffix: map[string]bool{}}
	for _, p := range patterns {
		name, sub := strings.CutPrefix(p, ".")
		d, err := ParseDomain(name)
		if err != nil || d[0] == '[' {
			return DomainSet{}, &DomainError{p}
		}
		s.exact[d] = true
		if sub {
			s.suffix[d] = true
		}
	}
	return s, nil
}

// A DomainError names a pattern that is no domain.
type DomainError struct{ Pattern string }

func (e *DomainError) Error() string { return "not a domain: " + e.Pattern }

// Contains reports whether domain (in canonical form) is in the set.
func (s DomainSet) Contains(domain string) bool {
	if s.exact[domain] {
		return true
	}
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return false
		}
		if s.suffix[parent] {
			return true
		}
		domain = parent
	}
}

// Len is the number of patterns.
func (s DomainSet) Len() int { return len(s.exact) }
