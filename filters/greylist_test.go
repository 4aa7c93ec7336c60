package filters

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"postern/mail"
)

// fakeGreylist notes who was met.
type fakeGreylist struct {
	wait  time.Duration
	first time.Time
	err   error
	met   []string
}

func (g *fakeGreylist) Meet(_ context.Context, who, sender, recipient string, _ time.Time) (time.Duration, time.Time, error) {
	g.met = append(g.met, who+" "+sender+" "+recipient)
	return g.wait, g.first, g.err
}

func TestGreylist(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ann, _ := mail.ParseAddress("ann@x.example", false)
	bob, _ := mail.ParseAddress("bob@example.org", false)
	fact := func(name string, facts any) Filter {
		return Filter{Name: name, Stage: mail.Data, Facts: facts, Gather: func(context.Context, *Input) (any, error) { return facts, nil }}
	}
	sick := func(name string, zero any) Filter {
		return Filter{Name: name, Stage: mail.Data, Facts: zero, Gather: func(context.Context, *Input) (any, error) { return nil, errors.New("sick") }}
	}
	spf, dmarc, hist := fact("spf", SPFFacts{Result: "none"}), fact("dmarc", DMARCFacts{Result: "none"}), fact("history", HistoryFacts{})
	const stranger = "192.0.2.0/24 ann@x.example bob@example.org"
	for name, c := range map[string]struct {
		list    fakeGreylist
		fs      []Filter
		trusted bool
		addr    string
		met     string // "": the list is not asked
		want    GreylistFacts
		fails   bool
	}{
		"new":            {list: fakeGreylist{wait: 4 * time.Minute, first: now}, fs: []Filter{spf, dmarc, hist}, met: stranger, want: GreylistFacts{Waiting: true, Why: "new", First: now, Minutes: 4}},
		"early":          {list: fakeGreylist{wait: 61 * time.Second, first: now.Add(-time.Hour)}, fs: []Filter{spf, dmarc, hist}, met: stranger, want: GreylistFacts{Waiting: true, Why: "early", First: now.Add(-time.Hour), Minutes: 2}},
		"back":           {list: fakeGreylist{first: now.Add(-time.Hour)}, fs: []Filter{spf, dmarc, hist}, met: stranger, want: GreylistFacts{Why: "back", First: now.Add(-time.Hour)}},
		"IPv6":           {list: fakeGreylist{first: now}, addr: "2001:db8:1:2:3::4", fs: []Filter{spf, dmarc, hist}, met: "2001:db8:1:2::/64 ann@x.example bob@example.org", want: GreylistFacts{Why: "back", First: now}},
		"SPF passes":     {list: fakeGreylist{first: now}, fs: []Filter{fact("spf", SPFFacts{Result: "pass", Domain: "x.example"}), dmarc, hist}, met: "x.example ann@x.example bob@example.org", want: GreylistFacts{Why: "back", First: now}},
		"SPF passes all": {list: fakeGreylist{first: now}, fs: []Filter{fact("spf", SPFFacts{Result: "pass", Domain: "x.example", Permissive: true}), dmarc, hist}, met: stranger, want: GreylistFacts{Why: "back", First: now}},
		"DMARC passes":   {fs: []Filter{spf, fact("dmarc", DMARCFacts{Result: "pass"}), hist}, want: GreylistFacts{Why: "proven"}},
		"known":          {fs: []Filter{spf, dmarc, fact("history", HistoryFacts{Known: true})}, want: GreylistFacts{Why: "known"}},
		"trusted":        {trusted: true, fs: []Filter{spf, dmarc, hist}, want: GreylistFacts{Why: "trusted"}},
		"others fail":    {list: fakeGreylist{wait: time.Minute, first: now}, fs: []Filter{sick("spf", SPFFacts{}), sick("dmarc", DMARCFacts{}), sick("history", HistoryFacts{})}, met: stranger, want: GreylistFacts{Waiting: true, Why: "new", First: now, Minutes: 1}},
		"it fails":       {list: fakeGreylist{err: errors.New("disk full")}, fs: []Filter{spf, dmarc, hist}, met: stranger, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.addr == "" {
				c.addr = "192.0.2.77"
			}
			s := NewScope(nil)
			defer s.Join()
			in := Input{Envelope: mail.Envelope{Sender: ann, Received: now, Client: mail.Client{Addr: netip.MustParseAddr(c.addr), Trusted: c.trusted}}, Recipient: bob}
			f := greylist(&c.list)
			s.Start(t.Context(), []Filter{f}, in)
			s.Join()
			if s.Started("greylist") || len(c.list.met) > 0 {
				t.Fatal("it was asked before the data")
			}
			in.Body = mail.BodyOf([]byte("Subject: x\r\n\r\nx\r\n"))
			defer in.Body.Close()
			s.Start(t.Context(), append(c.fs, f), in)
			s.Join()
			v, err, _ := s.Lookup("greylist")
			if c.fails {
				if err == nil || v.(GreylistFacts).Waiting {
					t.Errorf("%+v, %v", v, err)
				}
				return
			}
			if err != nil || v != c.want {
				t.Errorf("%+v, %v, want %+v", v, err, c.want)
			}
			if met := append(c.list.met, "")[0]; met != c.met {
				t.Errorf("met %q, want %q", met, c.met)
			}
		})
	}
}
