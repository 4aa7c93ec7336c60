package filters

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// ListsFacts are what people's allow and deny entries (postern list) say of one copy.
type ListsFacts struct {
	Error    string `expr:"error" json:"error,omitempty" doc:"Always empty: when the entries cannot be read again, those known before stay in force."`
	Denied   bool   `expr:"denied" json:"denied,omitempty" doc:"A deny entry is about the client, the envelope sender, an author or the mailing list, and no allow entry of a narrower scope is."`
	Allowed  bool   `expr:"allowed" json:"allowed,omitempty" doc:"An allow entry is about the client, the author or the mailing list, who sent it is proven as far as the entry demands, and no deny entry of the same or a narrower scope is about it."`
	Proven   bool   `expr:"proven" json:"proven,omitempty" doc:"It is allowed, and proven who sent it: by DMARC (SPF or DKIM of the very domain where it has no DMARC record), by DKIM of the mailing list, or by the client's address."`
	Entry    string `expr:"entry" json:"entry,omitempty" doc:"The entry that says so, as postern list show has it; empty when none does." case:"lower"`
	Scope    string `expr:"scope" json:"scope,omitempty" doc:"For whom that entry is: everybody, @ and a domain, or a recipient's address." case:"lower"`
	Note     string `expr:"note" json:"note,omitempty" doc:"Its note."`
	Unproven string `expr:"unproven" json:"unproven,omitempty" doc:"An allow entry that does not count, since it is not proven who sent the message."`
}

// A ListsQuestion is what the lists are asked about: the envelope, and with Header set what
// the header says.
type ListsQuestion struct {
	At        time.Time
	Client    netip.Addr // zero: not known
	Sender    mail.Address
	Recipient mail.Address // zero: only what is for everybody counts
	Header    bool
	Authors   []mail.Author
	Single    bool // there is one author whom everybody sees
	ListID    string
	Author    func() bool            // DMARC has proven the author
	Signed    func(list string) bool // the mailing list's domain is proven
}

// Lists is where entries are looked up, at once and without waiting. It may be called from
// several goroutines.
type Lists interface {
	Empty() bool
	// Varies reports whether entries are there that are for some recipients only.
	Varies() bool
	// Ask looks a message up. final is false when the header could still change the answer.
	Ask(q *ListsQuestion) (f ListsFacts, final bool)
}

// noLists is what is found where there are none.
var noLists any = ListsFacts{}

// lists asks at RCPT, and once more with the header when that can matter. trusted are the relays
// whose Received fields name the client.
func lists(l Lists, trusted []netip.Prefix) Filter {
	return Filter{Name: "lists", Cost: Header, Doc: "What people allow and deny with postern list, resolved for this recipient.",
		Stage: mail.Recipient, Later: true, Quick: true, OnFail: Defer, After: []string{"spf", "dkim", "dmarc"}, Facts: ListsFacts{},
		Varies: func() bool { return l != nil && l.Varies() },
		Gather: func(ctx context.Context, in *Input) (any, error) {
			if l == nil || l.Empty() {
				return noLists, nil
			}
			q := ListsQuestion{At: in.Received, Client: in.Client.Addr, Sender: in.Sender, Recipient: in.Recipient}
			if in.Client.Trusted {
				q.Client = netip.Addr{}
			}
			if in.Body != nil {
				if err := q.header(ctx, in, trusted); err != nil {
					return nil, err
				}
			}
			f, final := l.Ask(&q)
			switch {
			case !final:
				return nil, ErrLater
			case f == ListsFacts{}:
				return noLists, nil // an interface of its own would be an allocation
			}
			return f, nil
		}}
}

// header adds what the message itself says. Whether that is proven is found out only when it matters.
func (q *ListsQuestion) header(ctx context.Context, in *Input, trusted []netip.Prefix) error {
	h, err := in.Body.Header()
	if err != nil {
		return err
	}
	if in.Client.Trusted {
		peer, _ := relayedBy(h, trusted)
		q.Client = peer.addr
	}
	authors := h.Authors()
	author, single := authors.One()
	q.Header, q.Authors, q.Single = true, authors.List, single
	if f := h.Get("List-Id"); f != nil {
		q.ListID = strings.TrimSpace(listID(f.Value()))
	}
	p := Proof(func(name string) (any, error) { return in.Fact(ctx, name) })
	q.Author = func() bool { return single && p.Author(author.Domain) }
	q.Signed = func(list string) bool { return h.Count("List-Id") == 1 && p.List(list, author.Domain) }
	return nil
}

// A Proof finds out who has sent a message, for allow entries that demand it, from the facts of
// spf, dkim and dmarc that it is given. A filter that gave no answer proves nothing.
type Proof func(filter string) (facts any, err error)

// Author reports whether DMARC passes for the author's domain; where that has no DMARC record,
// SPF or DKIM has to pass for exactly this domain.
func (p Proof) Author(domain string) bool {
	v, err := p("dmarc")
	d, ok := v.(DMARCFacts)
	if err != nil || !ok || d.Domain != domain {
		return false
	}
	if d.Result != "none" || d.PolicyDomain != "" {
		return d.Result == "pass"
	}
	if slices.Contains(p.signers(), domain) {
		return true
	}
	v, err = p("spf")
	s, ok := v.(SPFFacts)
	return err == nil && ok && s.Result == "pass" && !s.Permissive && !s.NullSender && s.Domain == domain
}

// List reports whether the domain of a mailing list is proven: it has signed, or the only author
// is of it and proven; author is "" when there is none or more than one.
func (p Proof) List(list, author string) bool {
	return p.signed(list) || author != "" && above(author, list) && p.Author(author)
}

// signed reports whether the domain of a mailing list, or one above it, has signed the field that
// names it: to any other signed message of that domain everybody can add the field.
func (p Proof) signed(list string) bool {
	v, err := p("dkim")
	d, ok := v.(DKIMFacts)
	return err == nil && ok && slices.ContainsFunc(d.Signatures, func(s DKIMSignature) bool {
		return s.Result == dkimPass && above(s.Domain, list) && slices.Contains(s.Signed, "list-id") && !slices.Contains(s.Extra, "list-id")
	})
}

// signers are the domains whose signatures pass.
func (p Proof) signers() []string {
	v, err := p("dkim")
	if d, ok := v.(DKIMFacts); ok && err == nil {
		return d.Domains
	}
	return nil
}

// above reports whether a domain is the other one or above it.
func above(domain, other string) bool {
	return domain == other || strings.HasSuffix(other, "."+domain)
}

// ErrLater is the answer of a filter that cannot tell before the message is there (Filter.Later).
var ErrLater = errors.New("known only with the data")
