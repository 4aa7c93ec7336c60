package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// builtinPolicy is the built-in policy with the real filters over a zone; clamav is off.
func builtinPolicy(t testing.TB, zone string) (*rules.Policy, []filters.Filter) {
	t.Helper()
	p, err := rules.Compile([]rules.Source{rules.Builtin()}, rules.Options{Vocabulary: filters.Vocabulary(), Effects: EffectSpecs(EffectScope{}), Off: []string{"clamav"}})
	if err != nil {
		t.Fatal(err)
	}
	return p, filters.New(filters.Config{Resolver: dnsfake.MustParse(zone), SPF: filters.SPFConfig{Receiver: "gw.test"}})
}

const senderZone = `
sender.test. 300 IN TXT "v=spf1 ip4:192.0.2.7 -all"
_dmarc.sender.test. 300 IN TXT "v=DMARC1; p=reject"
bank.test. 300 IN TXT "v=spf1 -all"
_dmarc.bank.test. 300 IN TXT "v=DMARC1; p=reject"
`

func TestTheBuiltInPolicyWithTheRealFilters(t *testing.T) {
	p, fs := builtinPolicy(t, senderZone)
	b := newBed(t, p, fs)
	c := b.talk()
	defer c.end(nil)
	head := "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
	if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: head + sample}); !r.OK() || len(b.up.got) != 1 {
		t.Fatalf("clean mail: %v", r)
	}
	h := mail.ParseHeader(b.up.got[0].bytes, mail.HeaderLimits{})
	_, results, err := readAuthResults(string(h.Get("Authentication-Results").Raw))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Method+"="+r.Result)
	}
	if want := "spf=pass dkim=none dmarc=pass"; !strings.HasPrefix(strings.Join(got, " "), "spf=pass ") || !strings.HasSuffix(strings.Join(got, " "), "dkim=none dmarc=pass") {
		t.Errorf("%v, want %s", got, want)
	}
	forged := strings.ReplaceAll(head+sample, "From: Alice <alice@sender.test>", "From: Bank <service@bank.test>")
	if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: forged}); r.Code != 550 || r.EnhancedString() != "5.7.26" {
		t.Errorf("forged mail: %v", r)
	}
	two := head + "From: a@sender.test\r\n" + sample
	if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: two}); !r.OK() || len(b.q.in(quarantine.Kept)) != 1 {
		t.Errorf("two From fields: %v, %d held", r, len(b.q.items))
	}
	e := b.j.order[0]
	for _, name := range []string{"spf", "dkim", "dmarc", "content"} {
		if e.Facts[name] == nil {
			t.Errorf("no facts of %s in the journal", name)
		}
	}
	if len(e.Outcomes[0].Rules) == 0 {
		t.Error("no trace in the journal")
	}
}

// A shadow rule that looks at the recipient has its say, though no other rule does.
func TestShadowRulesSeeTheRecipient(t *testing.T) {
	p, fs := builtinPolicy(t, senderZone)
	b := newBed(t, p, fs)
	c := b.talk()
	defer c.end(nil)
	own := strings.ReplaceAll("Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"+sample, "From: Alice <alice@sender.test>", "From: Boss <boss@example.org>")
	if r, _ := b.submit(t, c, []string{"a@example.org"}, &textUpload{text: own}); !r.OK() || len(b.up.got) != 1 {
		t.Fatalf("a shadow rule has no effect: %v", r)
	}
	var steps []rules.Step
	if err := json.Unmarshal(b.j.order[0].Outcomes[0].Rules, &steps); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Shadow && s.Rule == "own-domain" && !s.Matched {
			t.Errorf("own-domain: %v %s", s.Result, s.Why)
		}
	}
}

func BenchmarkDataWithTheBuiltInPolicy(b *testing.B) {
	p, fs := builtinPolicy(b, senderZone)
	bed := newBed(b, p, fs)
	c := bed.talk()
	defer c.end(nil)
	text := "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n" + sample + strings.Repeat("0123456789abcdef\r\n", 4096/18)
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := bed.submit(b, c, []string{"a@example.org"}, &textUpload{text: text, n: 32 << 10}); !r.OK() {
			b.Fatal(r)
		}
		bed.up.got, bed.j.order, bed.calls = nil, nil, nil
		clear(bed.j.entries)
	}
}
