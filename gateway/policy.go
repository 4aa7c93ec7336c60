package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// A decider turns facts into verdicts; *rules.Policy is the one there is.
type decider interface {
	Version() string
	Needs() []string
	ShadowNeeds() []string
	GatherNeeds() []string
	Decide(f rules.Facts) (v rules.Verdict, waiting []string)
}

// A Policy is all that a reload replaces: the rules and the filters that they need. It never
// changes once built, and nothing in it needs closing.
type Policy struct {
	version      string
	rules        decider
	filters      map[string]filters.Filter
	names        []string        // of filters, sorted
	off          map[string]bool // named by rules, not configured
	stamped      []string        // filters with results for Authentication-Results
	perRecipient bool            // a rule looks at the recipient: one verdict each
	gathered     map[string]bool // what is found out for shadow rules that ask for it
	varies       []func() bool   // of filters that may: see Filter.Varies
	full         []func() bool   // of filters that may be: see Filter.Full

	direct, relayed schedule // behind a trusted relay some filters run later
}

// A schedule lists the filters of each stage, each after those that it reads.
type schedule struct {
	eager [mail.Data + 1][]filters.Filter // start at their stage
	lazy  [mail.Data + 1][]filters.Filter // start when a decision names them, from their stage on
}

// NewPolicy joins rules with those of the configured filters fs that they need: the ones
// that they name, the ones whose results are stamped, and all that these read. A filter that
// reads one which is not there, which comes later, or itself in the end, is an error.
func NewPolicy(r decider, fs []filters.Filter) (*Policy, error) {
	p := &Policy{version: r.Version(), rules: r, filters: map[string]filters.Filter{}, off: map[string]bool{},
		gathered: map[string]bool{}}
	all := make(map[string]filters.Filter, len(fs))
	for _, f := range fs {
		if _, twice := all[f.Name]; twice {
			return nil, fmt.Errorf("filter %q is there twice", f.Name)
		}
		all[f.Name] = f
	}
	var order []string // each after those that it reads
	for _, name := range r.Needs() {
		if _, ok := all[name]; !ok {
			p.off[name] = true
			continue
		}
		if err := p.add(name, all, nil, &order); err != nil {
			return nil, err
		}
	}
	for _, name := range r.ShadowNeeds() {
		if f, ok := all[name]; ok && f.Said {
			if err := p.add(name, all, nil, &order); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range r.GatherNeeds() {
		p.gathered[name] = !p.off[name]
	}
	for _, name := range order {
		if f := p.filters[name]; f.Stage == mail.Recipient && f.Varies == nil {
			p.perRecipient = true
		} else if f.Stage == mail.Recipient {
			p.varies = append(p.varies, f.Varies)
		}
		if f := p.filters[name]; f.Full != nil {
			p.full = append(p.full, f.Full)
		}
	}
	for _, f := range fs {
		if _, ok := f.Facts.(authenticator); ok {
			p.stamped = append(p.stamped, f.Name)
			if err := p.add(f.Name, all, nil, &order); err != nil {
				return nil, err
			}
		}
	}
	p.names = slices.Sorted(maps.Keys(p.filters))
	slices.SortStableFunc(p.stamped, func(a, b string) int { return cmp.Compare(stampOrder(a), stampOrder(b)) })
	for _, relayed := range []bool{false, true} {
		if err := p.plan(order, relayed); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Version names the rules, for the journal.
func (p *Policy) Version() string { return p.version }

// Filters lists the names of the filters that this policy runs.
func (p *Policy) Filters() []string { return slices.Clone(p.names) }

// eachRecipient reports whether the recipients of a message that begins now may have different
// facts, and so verdicts.
func (p *Policy) eachRecipient() bool {
	return p.perRecipient || slices.ContainsFunc(p.varies, func(now func() bool) bool { return now() })
}

// add takes a filter and all that it reads into the policy; path is how we came here.
func (p *Policy) add(name string, all map[string]filters.Filter, path []string, order *[]string) error {
	path = append(path, name)
	if slices.Contains(path[:len(path)-1], name) {
		return fmt.Errorf("filters wait for each other: %s", strings.Join(path, " → "))
	}
	f, ok := all[name]
	if !ok {
		return fmt.Errorf("filter %q reads %q, which is not configured", path[len(path)-2], name)
	}
	if _, done := p.filters[name]; done {
		return nil
	}
	for _, dep := range f.After {
		if err := p.add(dep, all, path, order); err != nil {
			return err
		}
	}
	p.filters[name] = f
	*order = append(*order, name)
	return nil
}

// plan fills one schedule. A filter that reads another starts at its own stage or the other's,
// whichever comes later; what is started for one recipient cannot be read for the message.
func (p *Policy) plan(order []string, relayed bool) error {
	s := &p.direct
	if relayed {
		s = &p.relayed
	}
	stages := make(map[string]mail.Stage, len(order))
	for _, name := range order {
		f := p.filters[name]
		stage := f.Stage
		if f.Later { // with what it reads there, or as far as it gets without
			s.eager[stage] = append(s.eager[stage], f)
			s.lazy[mail.Data] = append(s.lazy[mail.Data], f)
			stages[name] = mail.Data
			continue
		}
		if relayed && f.Relayed {
			stage = mail.Data
		}
		for _, dep := range f.After {
			late := stages[dep]
			if !relayed && late > f.Stage || late == mail.Recipient && stage != mail.Recipient {
				return fmt.Errorf("filter %q (%s) reads %q, which is known at %s", name, f.Stage, dep, late)
			}
			stage = max(stage, late)
			f.Lazy = f.Lazy || slices.ContainsFunc(s.lazy[late], func(l filters.Filter) bool { return l.Name == dep })
		}
		if stage != f.Stage && f.Stage == mail.Recipient {
			return fmt.Errorf("filter %q runs for each recipient, but %s is known only with the data", name, strings.Join(f.After, ", "))
		}
		f.Stage = stage
		stages[name] = stage
		if f.Lazy {
			s.lazy[stage] = append(s.lazy[stage], f)
		} else {
			s.eager[stage] = append(s.eager[stage], f)
		}
	}
	return nil
}

// schedule is the one for clients that are, or are not, a trusted relay.
func (p *Policy) schedule(trusted bool) *schedule {
	if trusted {
		return &p.relayed
	}
	return &p.direct
}

// closure finds the filters among names, with those that they read: the ones of the message, and
// the ones of a recipient.
func (s *schedule) closure(names []string) (shared, own []filters.Filter) {
	want := slices.Clone(names)
	for i := 0; i < len(want); i++ { // grows by what the wanted ones read
		for _, stage := range []mail.Stage{mail.Sender, mail.Recipient, mail.Data} {
			for _, fs := range [][]filters.Filter{s.eager[stage], s.lazy[stage]} {
				for _, f := range fs {
					switch {
					case f.Name != want[i]:
						continue
					case f.Stage == mail.Recipient:
						own = append(own, f)
					default:
						shared = append(shared, f)
					}
					want = append(want, f.After...)
				}
			}
		}
	}
	return shared, own
}

// named finds the lazy filters among names whose stage has come, behind those that they read.
func (s *schedule) named(names []string, now mail.Stage) []filters.Filter {
	var found []filters.Filter
	want := slices.Clone(names)
	for i := 0; i < len(want); i++ { // grows by what the wanted ones read
		for _, fs := range s.lazy[:now+1] {
			for _, f := range fs {
				if f.Name == want[i] {
					found = append(found, f)
					want = append(want, f.After...)
				}
			}
		}
	}
	slices.Reverse(found)
	return found
}
