package lists

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// An Index is the lists at one moment, in memory, to be looked up by what a message says. It
// never changes. Each look-up takes the same time however many entries there are.
type Index struct {
	generation int64
	size       int
	scoped     bool                // an entry is for some recipients only
	values     map[string][]*Entry // addresses, domains, list-ids
	networks   map[netip.Prefix][]*Entry
	bits       [2][]int        // lengths of networks that occur, by family
	tell       map[string]tell // by scope
}

// tell says what entries of one scope may find out later than from the envelope.
type tell struct {
	deny, allow       bool // by the header
	denyNet, allowNet bool // by the client's address
}

func newIndex(generation int64, entries []*Entry) *Index {
	x := &Index{generation: generation, size: len(entries), values: map[string][]*Entry{}, networks: map[netip.Prefix][]*Entry{}, tell: map[string]tell{}}
	for _, e := range entries {
		x.scoped = x.scoped || e.Scope != ""
		t := x.tell[e.Scope]
		if e.Kind != Network {
			x.values[e.Value] = append(x.values[e.Value], e)
			t.allow, t.deny = t.allow || e.Allow, t.deny || !e.Allow
		} else {
			x.networks[e.net] = append(x.networks[e.net], e)
			t.allowNet, t.denyNet = t.allowNet || e.Allow, t.denyNet || !e.Allow
			f := family(e.net.Addr())
			if !slices.Contains(x.bits[f], e.net.Bits()) {
				x.bits[f] = append(x.bits[f], e.net.Bits())
			}
		}
		x.tell[e.Scope] = t
	}
	for f := range x.bits {
		slices.Sort(x.bits[f])
		slices.Reverse(x.bits[f])
	}
	return x
}

// With is the index with one more entry, in place of one of the same value for the same
// recipients. It shows what an entry would do, before it is added.
func (x *Index) With(e Entry) *Index {
	var all []*Entry
	keep := func(list []*Entry) {
		for _, o := range list {
			if o.Value != e.Value || o.Scope != e.Scope {
				all = append(all, o)
			}
		}
	}
	for _, list := range x.values {
		keep(list)
	}
	for _, list := range x.networks {
		keep(list)
	}
	return newIndex(x.generation, append(all, &e))
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Len is the number of entries. Scoped reports whether one is for some recipients only: if not,
// all recipients of a message have the same answer.
func (x *Index) Len() int     { return x.size }
func (x *Index) Scoped() bool { return x.scoped }

// A Question is what is known of a message.
type Question struct {
	At        time.Time  // of its arrival
	Client    netip.Addr // zero: not known
	Sender    mail.Address
	Recipient mail.Address // zero: only entries for everybody count

	Header  bool // what follows is known; else an answer may not be final
	Authors []mail.Author
	Single  bool // there is one author, and all readers see the same
	ListID  string
	// Proven reports whether the author's domain, or the domain of a mailing list, is proven to
	// have sent the message. It is asked at most once for each, and only when it matters; nil is no.
	Proven func(kind Kind, domain string) bool
}

// An Answer is what the lists say about one copy of a message.
type Answer struct {
	Denied, Allowed bool   // at most one of them
	Entry           *Entry // that says so, or nil
	Unproven        *Entry // that would allow it, if it were proven who sent it
	Final           bool   // what is still unknown cannot change it
}

// Ask looks a message up. The entry with the narrowest scope wins; where an allow and a deny
// entry have the same scope, deny wins.
func (x *Index) Ask(q *Question) Answer {
	if x.size == 0 {
		return Answer{Final: true}
	}
	s := search{x: x, q: q, domain: "@" + q.Recipient.Domain}
	if !q.Recipient.IsNull() && x.scoped {
		s.rcpt = strings.ToLower(q.Recipient.String())
	}
	s.sender()
	if q.Header {
		s.header()
	}
	if q.Client.IsValid() {
		s.client(q.Client.Unmap())
	}
	return s.answer()
}

// A search is one question at work.
type search struct {
	x            *Index
	q            *Question
	rcpt, domain string
	allow, deny  *Entry
	unproven     *Entry
}

// applies reports whether an entry of this scope is for the recipient.
func (s *search) applies(scope string) bool {
	return scope == "" || !s.q.Recipient.IsNull() && (scope == s.domain || scope == s.rcpt)
}

// consider weighs the entries of one value; proven says whether an allow entry among them that
// demands proof has it.
func (s *search) consider(list []*Entry, proven func() bool) {
	for _, e := range list {
		if e.Expired(s.q.At) || !s.applies(e.Scope) {
			continue
		}
		best := &s.deny
		if e.Allow {
			if best = &s.allow; proven == nil || !e.Unauthenticated && !narrower(e, *best) {
				continue
			}
			if !e.Unauthenticated && !proven() {
				best = &s.unproven
			}
		}
		if narrower(e, *best) {
			*best = e
		}
	}
}

func narrower(e, than *Entry) bool { return than == nil || rank(e.Scope) > rank(than.Scope) }

func never() bool  { return false }
func always() bool { return true }

// address looks up an address, its domain, and the domains above it.
func (s *search) address(address, domain string, proven func() bool) {
	if list := s.x.values[strings.ToLower(address)]; list != nil {
		s.consider(list, proven)
	}
	if domain == "" || domain[0] == '[' {
		return
	}
	if list := s.x.values[domain]; list != nil {
		s.consider(list, proven)
	}
	for rest := "." + domain; rest != ""; {
		if list := s.x.values[rest]; list != nil {
			s.consider(list, proven)
		}
		i := strings.IndexByte(rest[1:], '.')
		if i < 0 {
			return
		}
		rest = rest[1+i:]
	}
}

// sender looks up the envelope sender, which anybody can claim to be: it allows nothing that
// demands proof.
func (s *search) sender() {
	if a := s.q.Sender; !a.IsNull() {
		s.address(a.String(), a.Domain, never)
	}
}

// header looks up authors and mailing list. With several authors none of them allows anything.
func (s *search) header() {
	for _, a := range s.q.Authors {
		proven := s.prover(Address, a.Domain)
		if !s.q.Single {
			proven = nil
		}
		s.address(a.Address, a.Domain, proven)
	}
	if s.q.ListID != "" {
		if list := s.x.values[listPrefix+strings.ToLower(s.q.ListID)]; list != nil {
			s.consider(list, s.prover(ListID, strings.ToLower(s.q.ListID)))
		}
	}
}

// prover asks for proof once.
func (s *search) prover(kind Kind, domain string) func() bool {
	asked, proven := false, false
	return func() bool {
		if !asked && s.q.Proven != nil {
			asked, proven = true, s.q.Proven(kind, domain)
		}
		return proven
	}
}

// client looks up the client's address: who sends from there is proven by the connection.
func (s *search) client(a netip.Addr) {
	for _, bits := range s.x.bits[family(a)] {
		if p, err := a.Prefix(bits); err == nil {
			if list := s.x.networks[p]; list != nil {
				s.consider(list, always)
			}
		}
	}
}

func (s *search) answer() Answer {
	deny, allow := rankOf(s.deny), rankOf(s.allow)
	a := Answer{Final: true}
	if deny > 0 && deny >= allow {
		a.Denied, a.Entry = true, s.deny
	} else if allow > 0 {
		a.Allowed, a.Entry = true, s.allow
	} else {
		a.Unproven = s.unproven
	}
	if s.q.Header {
		return a
	}
	mayDeny, mayAllow := s.later()
	switch {
	case a.Denied:
		a.Final = deny >= mayAllow
	case a.Allowed:
		a.Final = allow > mayDeny
	default:
		a.Final = mayDeny == 0 && mayAllow == 0
	}
	return a
}

func rankOf(e *Entry) int {
	if e == nil {
		return 0
	}
	return rank(e.Scope)
}

// later gives the narrowest scope for which the rest of the message may still deny or allow.
func (s *search) later() (deny, allow int) {
	for _, scope := range [...]string{"", s.domain, s.rcpt} {
		if !s.applies(scope) {
			continue
		}
		t := s.x.tell[scope]
		if t.deny || t.denyNet && !s.q.Client.IsValid() {
			deny = max(deny, rank(scope))
		}
		if t.allow || t.allowNet && !s.q.Client.IsValid() {
			allow = max(allow, rank(scope))
		}
	}
	return deny, allow
}
