package lists

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// entries reads "allow ann@x.example for @example.org until 1h unauthenticated; deny …".
func entries(t testing.TB, text string) (list []*Entry) {
	t.Helper()
	for _, line := range strings.Split(text, ";") {
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		e, err := ParseEntry(w[1])
		if err != nil {
			t.Fatal(err)
		}
		e.Allow = w[0] == "allow"
		for i := 2; i < len(w); i++ {
			switch w[i] {
			case "for":
				if e.Scope, err = ParseScope(w[i+1]); err != nil {
					t.Fatal(err)
				}
				i++
			case "until":
				d, err := time.ParseDuration(w[i+1])
				if err != nil {
					t.Fatal(err)
				}
				e.Until = noon.Add(d)
				i++
			case "unauthenticated":
				e.Unauthenticated = true
			}
		}
		list = append(list, &e)
	}
	return list
}

func address(s string) mail.Address {
	a, _ := mail.ParseAddress(s, true)
	return a
}

// question is a message for ana@example.org; from is its author, or several with commas.
func question(sender, from, client string) Question {
	q := Question{At: noon, Sender: address(sender), Recipient: address("ana@example.org"), Header: true}
	if client != "" {
		q.Client = netip.MustParseAddr(client)
	}
	for _, f := range strings.Split(from, ",") {
		if a := address(f); !a.IsNull() {
			q.Authors = append(q.Authors, mail.Author{Address: a.String(), Domain: a.Domain})
		}
	}
	q.Single = len(q.Authors) == 1
	return q
}

func (a Answer) String() string {
	word, entry := "nothing", ""
	if a.Denied {
		word = "denied"
	}
	if a.Allowed {
		word = "allowed"
	}
	if a.Entry != nil {
		entry = " by " + a.Entry.Value + " for " + a.Entry.ScopeWords()
	}
	if a.Unproven != nil {
		entry = " but " + a.Unproven.Value
	}
	return word + entry
}

func TestAsk(t *testing.T) {
	const eve = "eve@x.example"
	for _, c := range []struct {
		entries, sender, from, client, list string
		proven                              bool
		want                                string
	}{
		{"", eve, eve, "192.0.2.7", "", true, "nothing"},
		// What an entry is compared with.
		{"deny eve@x.example", "Eve@x.example", "o@y.example", "", "", false, "denied by eve@x.example for everybody"},
		{"deny eve@x.example", "o@y.example", "EVE@x.example", "", "", false, "denied by eve@x.example for everybody"},
		{"deny eve@x.example", "eve@sub.x.example", "eve@y.example", "", "", false, "nothing"},
		{"deny x.example", eve, "", "", "", false, "denied by x.example for everybody"},
		{"deny x.example", "eve@sub.x.example", "", "", "", false, "nothing"},
		{"deny .x.example", "eve@a.sub.x.example", "", "", "", false, "denied by .x.example for everybody"},
		{"deny .x.example", eve, "", "", "", false, "denied by .x.example for everybody"},
		{"deny .x.example", "eve@ax.example", "", "", "", false, "nothing"},
		{"deny x.example", "", "a@y.example,b@x.example", "", "", false, "denied by x.example for everybody"}, // one of several authors
		{"deny 192.0.2.0/24", "", "", "192.0.2.7", "", false, "denied by 192.0.2.0/24 for everybody"},
		{"deny 192.0.2.0/24", "", "", "::ffff:192.0.2.7", "", false, "denied by 192.0.2.0/24 for everybody"},
		{"deny 192.0.2.0/24", "", "", "192.0.3.7", "", false, "nothing"},
		{"deny 2001:db8::/32", "", "", "2001:db8:1::1", "", false, "denied by 2001:db8::/32 for everybody"},
		{"deny 192.0.2.0/24; allow 192.0.2.7", "", "", "192.0.2.7", "", false, "denied by 192.0.2.0/24 for everybody"},
		{"deny list-id:news.x.example", eve, eve, "", "News.x.example", false, "denied by list-id:news.x.example for everybody"},
		// Who is allowed has to be proven, but for a network and where the entry says so.
		{"allow eve@x.example", "o@y.example", eve, "", "", true, "allowed by eve@x.example for everybody"},
		{"allow eve@x.example", "o@y.example", eve, "", "", false, "nothing but eve@x.example"},
		{"allow eve@x.example", eve, "o@y.example", "", "", true, "nothing but eve@x.example"}, // proof is of the author
		{"allow eve@x.example", eve, "a@y.example,eve@x.example", "", "", true, "nothing but eve@x.example"},
		{"allow eve@x.example unauthenticated", eve, "o@y.example", "", "", false, "allowed by eve@x.example for everybody"},
		{"allow eve@x.example unauthenticated", "", eve, "", "", false, "allowed by eve@x.example for everybody"},
		{"allow eve@x.example unauthenticated", "", "a@y.example,eve@x.example", "", "", false, "nothing"},
		{"allow 192.0.2.7", eve, eve, "192.0.2.7", "", false, "allowed by 192.0.2.7 for everybody"},
		{"allow list-id:news.x.example", eve, "o@y.example", "", "news.x.example", true, "allowed by list-id:news.x.example for everybody"},
		{"allow list-id:news.x.example", eve, eve, "", "news.x.example", false, "nothing but list-id:news.x.example"},
		// Deny wins over allow of the same or a wider scope; the narrower scope wins.
		{"deny x.example; allow eve@x.example", eve, eve, "", "", true, "denied by x.example for everybody"},
		{"deny x.example; allow eve@x.example for @example.org", eve, eve, "", "", true, "allowed by eve@x.example for @example.org"},
		{"deny x.example; allow eve@x.example for @example.org", eve, eve, "", "", false, "denied by x.example for everybody"},
		{"deny x.example for @example.org; allow eve@x.example for @example.org", eve, eve, "", "", true, "denied by x.example for @example.org"},
		{"deny x.example for @example.org; allow x.example for ana@example.org", eve, eve, "", "", true, "allowed by x.example for ana@example.org"},
		{"allow x.example; deny eve@x.example for ana@example.org", eve, eve, "", "", true, "denied by eve@x.example for ana@example.org"},
		{"deny x.example for ben@example.org", eve, eve, "", "", false, "nothing"},
		{"deny x.example for @example.net", eve, eve, "", "", false, "nothing"},
		// Expiry.
		{"deny x.example until 1s", eve, eve, "", "", false, "denied by x.example for everybody"},
		{"deny x.example until 0s", eve, eve, "", "", false, "nothing"},
		{"deny x.example; allow x.example for ana@example.org until -1h", eve, eve, "", "", true, "denied by x.example for everybody"},
		// What is no domain.
		{"deny x.example", "eve@[192.0.2.7]", "", "", "", false, "nothing"},
	} {
		q := question(c.sender, c.from, c.client)
		q.ListID = c.list
		q.Proven = func(Kind, string) bool { return c.proven }
		if got := newIndex(1, entries(t, c.entries)).Ask(&q); got.String() != c.want || !got.Final {
			t.Errorf("%+v\nsays %s", c, got)
		}
	}
}

// The lists answer at RCPT as soon as nothing that the message says can change it.
func TestAskEarly(t *testing.T) {
	const eve = "eve@x.example"
	for _, c := range []struct {
		entries, sender, client string
		final                   bool
		want                    string
	}{
		{"", eve, "192.0.2.7", true, "nothing"},
		{"deny x.example", eve, "192.0.2.7", true, "denied by x.example for everybody"},
		{"deny y.example", eve, "192.0.2.7", false, "nothing"},
		{"deny x.example; allow y.example", eve, "192.0.2.7", true, "denied by x.example for everybody"},
		{"deny x.example; allow y.example for @example.org", eve, "192.0.2.7", false, "denied by x.example for everybody"},
		{"deny x.example; allow y.example for @example.net", eve, "192.0.2.7", true, "denied by x.example for everybody"},
		{"deny x.example; allow 198.51.100.7 for @example.org", eve, "192.0.2.7", true, "denied by x.example for everybody"},
		{"deny x.example; allow 198.51.100.7 for @example.org", eve, "", false, "denied by x.example for everybody"},
		{"deny 192.0.2.0/24", eve, "192.0.2.7", true, "denied by 192.0.2.0/24 for everybody"},
		{"deny 192.0.2.0/24", eve, "198.51.100.7", true, "nothing"},
		{"deny 192.0.2.0/24", eve, "", false, "nothing"},
		{"allow 192.0.2.0/24", eve, "192.0.2.7", true, "allowed by 192.0.2.0/24 for everybody"},
		{"allow 192.0.2.0/24; deny y.example", eve, "192.0.2.7", false, "allowed by 192.0.2.0/24 for everybody"},
		{"allow 192.0.2.0/24 for ana@example.org; deny y.example", eve, "192.0.2.7", true, "allowed by 192.0.2.0/24 for ana@example.org"},
	} {
		q := question(c.sender, "", c.client)
		q.Header = false
		if got := newIndex(1, entries(t, c.entries)).Ask(&q); got.String() != c.want || got.Final != c.final {
			t.Errorf("%+v\nsays %s, final %v", c, got, got.Final)
		}
	}
}

// Timing decides when a verdict is known, never which: an answer that is final before the
// message has come is the one that all of it gives.
func TestAskEarlyIsAskLate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	finals := 0
	for range 30_000 {
		var text []string
		for range r.IntN(5) {
			text = append(text, fmt.Sprintf("%s %s for %s until %s %s", pick("allow", "deny"),
				pick("eve@x.example", "x.example", ".example", ".x.example", "y.example", "192.0.2.0/24", "192.0.2.7", "list-id:l.x.example"),
				pick("everybody", "@example.org", "@example.net", "ana@example.org", "ben@example.org"), pick("-1h", "1h"), pick("", "unauthenticated")))
		}
		joined := strings.ReplaceAll(strings.Join(text, ";"), " .example ", " .y.example ")
		x := newIndex(1, entries(t, joined))
		late := question(pick(eveOf, "o@y.example", ""), pick(eveOf, "o@y.example", "", eveOf+",o@y.example"), pick("192.0.2.7", "192.0.2.8", "198.51.100.1", ""))
		late.ListID = pick("", "l.x.example")
		if r.IntN(4) == 0 {
			late.Recipient = mail.Address{}
		}
		proven := r.IntN(2) == 0
		late.Proven = func(Kind, string) bool { return proven }
		early := late
		early.Header, early.Authors, early.Single, early.ListID, early.Proven = false, nil, false, "", nil
		if r.IntN(4) == 0 {
			early.Client = netip.Addr{} // behind a relay
		}
		a, b := x.Ask(&early), x.Ask(&late)
		if !a.Final {
			continue
		}
		finals++
		if a.Denied != b.Denied || a.Allowed != b.Allowed {
			t.Fatalf("%s\n%+v\nearly %s, late %s", joined, late, a, b)
		}
	}
	if finals < 1000 {
		t.Errorf("only %d final answers: the test tries little", finals)
	}
}

const eveOf = "eve@x.example"

func TestEmptyListsCostNothing(t *testing.T) {
	x := newIndex(1, nil)
	q := question("eve@x.example", "eve@x.example", "192.0.2.7")
	if n := testing.AllocsPerRun(100, func() { x.Ask(&q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAsk(b *testing.B) {
	for _, n := range []int{0, 10, 100_000} {
		var list []*Entry
		for i := range n {
			text := [...]string{fmt.Sprintf("u@d%d.example", i), fmt.Sprintf("d%d.example", i),
				fmt.Sprintf("10.%d.%d.0/24", i>>8&255, i&255), fmt.Sprintf("list-id:l%d.example", i)}[i%4]
			e, err := ParseEntry(text)
			if err != nil {
				b.Fatal(err)
			}
			list = append(list, &e)
		}
		x := newIndex(1, list)
		q := question("eve@a.b.x.example", "eve@a.b.x.example", "192.0.2.7")
		b.Run(fmt.Sprint(len(list)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Ask(&q)
			}
		})
	}
}
