package filters

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"postern/mail"
)

// fakeLists answers as told and notes what it was asked.
type fakeLists struct {
	empty, varies bool
	answer        func(q *ListsQuestion) (ListsFacts, bool)
	asked         []ListsQuestion
}

func (l *fakeLists) Empty() bool  { return l.empty }
func (l *fakeLists) Varies() bool { return l.varies }
func (l *fakeLists) Ask(q *ListsQuestion) (ListsFacts, bool) {
	l.asked = append(l.asked, *q)
	return l.answer(q)
}

// judged is a filter that says what it is told to, under the name of a real one.
func judged(name string, facts any, err error) Filter {
	return Filter{Name: name, Stage: mail.Data, Facts: facts, Inline: true,
		Gather: func(context.Context, *Input) (any, error) { return facts, err }}
}

const listMail = "Received: from a.example (a.example [203.0.113.7]) by relay.example; x\r\nFrom: Ann <ann@x.example>\r\nList-Id: News <news.l.example>\r\n\r\nhello\r\n"

func TestListsAskAgainWithTheHeader(t *testing.T) {
	l := &fakeLists{answer: func(q *ListsQuestion) (ListsFacts, bool) {
		return ListsFacts{Denied: q.Header, Entry: "x.example"}, q.Header
	}}
	in := Input{Envelope: mail.Envelope{Sender: mail.Address{Local: "a", Domain: "y.example"}, Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}},
		Recipient: mail.Address{Local: "ana", Domain: "example.org"}}
	s := NewScope(nil)
	fs := []Filter{lists(l, nil)}
	s.Start(t.Context(), fs, in)
	if _, _, known := s.Lookup("lists"); known || s.Started("lists") || len(s.Results()) != 0 {
		t.Fatal("what is known only later is known")
	}
	in.Body = mail.BodyOf([]byte(listMail))
	s.Start(t.Context(), fs, in)
	v, err, known := s.Lookup("lists")
	if !known || err != nil || !v.(ListsFacts).Denied {
		t.Fatal(v, err, known)
	}
	q := l.asked[1]
	if l.asked[0].Header || !q.Header || !q.Single || q.Authors[0].Address != "ann@x.example" || q.ListID != "news.l.example" || q.Client.String() != "192.0.2.1" || q.Recipient.Local != "ana" {
		t.Errorf("%+v", q)
	}
}

// What proves the author and the mailing list.
// signedBy is what DKIM found of a message that these domains have signed, its List-Id too.
func signedBy(domains ...string) DKIMFacts {
	f := DKIMFacts{Domains: domains}
	for _, d := range domains {
		f.Signatures = append(f.Signatures, DKIMSignature{Result: "pass", Domain: d, Signed: []string{"from", "list-id"}})
	}
	return f
}

func TestListsProof(t *testing.T) {
	uncovered := signedBy("l.example")
	uncovered.Signatures[0].Signed = []string{"from", "subject"}
	none := DMARCFacts{Result: "none", Domain: "x.example"}
	pass := DMARCFacts{Result: "pass", Domain: "x.example"}
	listAuthor := "From: a@l.example\r\nList-Id: <news.l.example>\r\n\r\n"
	for _, c := range []struct {
		what           string
		mail           string
		dmarc          DMARCFacts
		dkim           DKIMFacts
		spf            SPFFacts
		err            error
		author, signed bool
	}{
		{"nothing", listMail, DMARCFacts{Result: "none", Domain: "x.example"}, DKIMFacts{}, SPFFacts{}, nil, false, false},
		{"DMARC", listMail, pass, DKIMFacts{}, SPFFacts{}, nil, true, false},
		{"DMARC of another", listMail, DMARCFacts{Result: "pass", Domain: "y.example"}, DKIMFacts{}, SPFFacts{}, nil, false, false},
		{"DMARC temperror", listMail, DMARCFacts{Result: "temperror", Domain: "x.example"}, DKIMFacts{}, SPFFacts{}, nil, false, false},
		{"they failed", listMail, pass, signedBy("l.example"), SPFFacts{}, errors.New("it broke"), false, false},
		{"DKIM of the list", listMail, DMARCFacts{}, signedBy("x.example", "news.l.example"), SPFFacts{}, nil, false, true},
		{"DKIM of the domain above", listMail, DMARCFacts{}, signedBy("l.example"), SPFFacts{}, nil, false, true},
		{"DKIM of one beside", listMail, DMARCFacts{}, signedBy("evil-l.example", "other.l.example"), SPFFacts{}, nil, false, false},
		{"a signature that does not cover the List-Id", listMail, DMARCFacts{}, uncovered, SPFFacts{}, nil, false, false},
		{"two List-Ids", "List-Id: <a.l.example>\r\n" + listMail, pass, signedBy("l.example"), SPFFacts{}, nil, true, false},
		{"DMARC of the list's domain", listAuthor, DMARCFacts{Result: "pass", Domain: "l.example"}, DKIMFacts{}, SPFFacts{}, nil, true, true},
		{"no record, SPF", listMail, none, DKIMFacts{}, SPFFacts{Result: "pass", Domain: "x.example"}, nil, true, false},
		{"no record, SPF of another", listMail, none, DKIMFacts{}, SPFFacts{Result: "pass", Domain: "y.example"}, nil, false, false},
		{"no record, SPF that passes everybody", listMail, none, DKIMFacts{}, SPFFacts{Result: "pass", Domain: "x.example", Permissive: true}, nil, false, false},
		{"no record, DKIM", listMail, none, signedBy("x.example"), SPFFacts{}, nil, true, false},
		{"no record, DKIM of the domain above", listMail, none, signedBy("example"), SPFFacts{}, nil, false, true},
		{"a record, and it fails", listMail, DMARCFacts{Result: "fail", Domain: "x.example", PolicyDomain: "x.example"}, signedBy("x.example"), SPFFacts{}, nil, false, false},
		{"two authors", "From: b@l.example\r\n" + listAuthor, DMARCFacts{Result: "pass", Domain: "l.example"}, DKIMFacts{}, SPFFacts{}, nil, false, false},
	} {
		l := &fakeLists{answer: func(q *ListsQuestion) (ListsFacts, bool) {
			return ListsFacts{Allowed: q.Author(), Proven: q.Signed(q.ListID)}, true
		}}
		s := NewScope(nil)
		s.Start(t.Context(), []Filter{judged("dmarc", c.dmarc, c.err), judged("dkim", c.dkim, c.err), judged("spf", c.spf, c.err), lists(l, nil)}, Input{Body: mail.BodyOf([]byte(c.mail))})
		if err := s.Wait(t.Context(), "lists"); err != nil {
			t.Fatal(err)
		}
		v, err, _ := s.Lookup("lists")
		if f := v.(ListsFacts); err != nil || f.Allowed != c.author || f.Proven != c.signed {
			t.Errorf("%s: author %v, list %v, %v", c.what, f.Allowed, f.Proven, err)
		}
	}
}

// Behind a trusted relay the client is the one that it recorded, and not known at RCPT.
func TestListsBehindATrustedRelay(t *testing.T) {
	l := &fakeLists{answer: func(q *ListsQuestion) (ListsFacts, bool) { return ListsFacts{}, q.Header }}
	in := Input{Envelope: mail.Envelope{Client: mail.Client{Addr: netip.MustParseAddr("198.51.100.1"), Trusted: true}}}
	f := lists(l, []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")})
	for _, body := range []*mail.Body{nil, mail.BodyOf([]byte(listMail)), mail.BodyOf([]byte("From: a@x.example\r\n\r\n"))} {
		in.Body = body
		NewScope(nil).Start(t.Context(), []Filter{f}, in)
	}
	if a, b, c := l.asked[0].Client, l.asked[1].Client, l.asked[2].Client; a.IsValid() || b.String() != "203.0.113.7" || c.IsValid() {
		t.Error(a, b, c)
	}
}

func TestEmptyListsAreNotAsked(t *testing.T) {
	for _, l := range []Lists{nil, &fakeLists{empty: true}} {
		f := lists(l, nil)
		v, err := f.Gather(t.Context(), &Input{})
		if v != (ListsFacts{}) || err != nil || f.Varies() {
			t.Error(v, err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = f.Gather(t.Context(), &Input{}) }); n > 1 { // the Input
			t.Errorf("%v allocations", n)
		}
	}
}
