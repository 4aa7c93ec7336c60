package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/journal"
	"postern/mail"
	"postern/rules"
	"postern/store"
)

// twentyFive is the built-in policy with rules as an administrator would write them, 25 in all.
const twentyFive = `include: builtin
rules:
  - {name: partners, when: 'sender.domain in ["partner.example", "other.example"] and dmarc.result == "pass"', do: deliver}
  - {name: blocked, when: 'inNetwork(client.addr, "192.0.2.0/24", "198.51.100.0/24") and not client.trusted', do: reject}
  - {name: promo, when: 'glob(sender.address, "*@promo.*")', do: quarantine, class: spam}
  - {name: lottery, when: 'content.subject matches "(?i)\\b(lottery|prize)\\b"', do: quarantine, class: spam}
  - {name: invoice, when: 'hasWord(content.subject, "invoice") and dkim.result != "pass"', do: quarantine, class: spam}
  - {name: look-alike, when: 'any(content.from, .name contains "Managing Director") and dmarc.result != "pass"', do: quarantine, class: spoof}
  - {name: softfail, when: spf.result == "softfail", score: 1.5}
  - {name: no-date, when: content.date == "", score: 1}
  - {name: other-host, when: 'any(content.links, .text_host != "")', score: 2}
  - {name: too-much, when: score >= 4, do: quarantine, class: spam, because: "it adds up to {{score}}"}
`

// ordinaryMail is what most mail is like: newsletters, replies, notices, a file now and then.
func ordinaryMail(r *rand.Rand) string {
	var b strings.Builder
	domain := []string{"shop.example", "friend.example", "club.example", "stranger.example"}[r.IntN(4)]
	for range 3 + r.IntN(3) {
		fmt.Fprintf(&b, "Received: from mail%d.%s (mail%d.%s [203.0.113.%d])\r\n\tby relay.%s (Postfix) with ESMTPS id %X\r\n\tfor <ana@example.org>; Mon, 02 Nov 2026 10:00:00 +0000 (UTC)\r\n", r.IntN(9), domain, r.IntN(9), domain, r.IntN(250), domain, r.Uint64())
	}
	fmt.Fprintf(&b, "From: \"Eve Example\" <eve@%s>\r\nTo: Ana <ana@example.org>\r\nSubject: =?utf-8?q?Your_order_%d_is_on_its_way_=E2=9C=93?=\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%x@%s>\r\nMIME-Version: 1.0\r\n", domain, r.IntN(1e6), r.Uint64(), domain)
	for i := range 5 + r.IntN(8) {
		fmt.Fprintf(&b, "X-Mailer-Field-%d: %x%x\r\n", i, r.Uint64(), r.Uint64())
	}
	switch r.IntN(3) {
	case 0:
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s", strings.Repeat("Nothing much to say, see you at noon.\r\n", 20))
	case 1:
		fmt.Fprintf(&b, "List-Id: News <news.%s>\r\nList-Unsubscribe: <https://%s/u/%x>\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>", domain, domain, r.Uint64())
		for i := range 15 + r.IntN(20) {
			fmt.Fprintf(&b, "<a href=\"https://click.%s/%x/%d\">offer %d</a><br>\r\n", domain, r.Uint64(), i, i)
		}
		b.WriteString("</html>\r\n--b--\r\n")
	default:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee the file\r\n--b\r\nContent-Type: application/pdf; name=order.pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=order.pdf\r\n\r\n%s\r\n--b--\r\n",
			base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 "+strings.Repeat("x", 900))))
	}
	return b.String()
}

// fillJournal keeps n entries of ordinary mail as the gateway writes them, under 25 rules.
func fillJournal(tb testing.TB, s *journal.Store, fs []filters.Filter, policy *rules.Policy, n int) {
	tb.Helper()
	r := rand.New(rand.NewPCG(4, 4))
	type judged struct {
		env   mail.Envelope
		size  int64
		facts map[string]json.RawMessage
		v     rules.Verdict
		title string
	}
	var kinds []judged
	for range 60 {
		body := mail.BodyOf([]byte(ordinaryMail(r)))
		env := mail.Envelope{Received: time.Now(), Client: mail.Client{Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(40))}), Helo: "mail.shop.example", ESMTP: true, TLS: "TLS1.3 TLS_AES_128_GCM_SHA256"},
			Sender: mail.Address{Local: "eve", Domain: "shop.example"}, Recipients: []mail.RcptTo{{Address: mail.Address{Local: "ana", Domain: "example.org"}}}}
		scope := filters.NewScope(nil)
		scope.Start(context.Background(), fs, filters.Input{Envelope: env, Recipient: env.Recipients[0].Address, Body: body})
		scope.Join()
		k := judged{env: env, size: body.Size(), facts: map[string]json.RawMessage{}}
		for _, res := range scope.Results() {
			facts := res.Facts
			if brief, ok := facts.(interface{ Abridged() any }); ok {
				k.title = facts.(filters.ContentFacts).Subject
				facts = brief.Abridged()
			}
			if _, said := filters.Retell(res.Name, &env, mail.Address{}, 0); !said {
				k.facts[res.Name], _ = json.Marshal(facts)
			}
		}
		k.v, _ = policy.Decide(offAware{scope, fs})
		kinds = append(kinds, k)
		body.Close()
	}
	began := time.Now().Add(-24 * time.Hour)
	for i := range n {
		k := kinds[r.IntN(len(kinds))]
		at := began.Add(time.Duration(i) * time.Second)
		k.env.ID, k.env.Received = ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String(), at
		e := &journal.Entry{ID: k.env.ID, Received: at, Policy: policy.Version(), Envelope: k.env, Subject: k.title, From: "eve@shop.example", Size: k.size, Result: "delivered",
			Facts: k.facts, Filters: []journal.Timing{{Name: "content", State: "done"}, {Name: "dkim", State: "done"}, {Name: "dmarc", State: "done"}, {Name: "spf", State: "done"}},
			Outcomes: []journal.Outcome{{Recipient: k.env.Recipients[0].Address, Do: k.v.Do.String(), Rule: k.v.Rule, Because: k.v.Because, Score: k.v.Score, Reply: "250 2.0.0 Taken", Upstream: "250 2.0.0 Taken", Rules: k.v.Trace}}}
		if err := s.Record(tb.Context(), e); err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.Flush(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func benchJournal(tb testing.TB, n int) (*journal.Store, []filters.Filter, *rules.Policy) {
	tb.Helper()
	db, err := store.Open(tb.Context(), tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := journal.Open(tb.Context(), journal.Options{DB: db})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close(); db.Close() })
	dir := tb.TempDir()
	tryFile(tb, dir, "10.yaml", twentyFive)
	cfg := defaultConfig()
	cfg.Rules = dir
	fs := filterList(cfg, outside{Resolver: dnsfake.MustParse("shop.example TXT \"v=spf1 ip4:203.0.113.20 -all\"\n_dmarc.shop.example TXT \"v=DMARC1; p=quarantine\"\n")})
	policy, err := compile(cfg, fs)
	if err != nil {
		tb.Fatal(err)
	}
	if n := len(policy.Rules()); n != 25 {
		tb.Fatalf("%d rules", n)
	}
	fillJournal(tb, s, fs, policy, n)
	return s, fs, policy
}

// BenchmarkReplay decides a journal of 10,000 ordinary messages again under 25 rules: reading
// and decoding included.
func BenchmarkReplay(b *testing.B) {
	const n = 10000
	s, fs, policy := benchJournal(b, n)
	b.ReportAllocs()
	b.ResetTimer()
	before := used()
	for b.Loop() {
		r, err := newReplay(policy, fs).run(b.Context(), s, time.Time{})
		if err != nil || r.Unchanged != n {
			b.Fatalf("%v %+v", err, r)
		}
	}
	b.ReportMetric(float64(b.N)*n/(used()-before).Seconds(), "decisions/CPU-s")
}

// used is the CPU time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
