package rules

import (
	"fmt"
	"strings"
	"testing"
)

// policyOf gives n rules as an administrator would write them, none of which matches.
func policyOf(n int) string {
	kinds := []string{
		`spf.result == "fail" and not client.trusted`,
		`dmarc.result == "fail" and dmarc.policy in ["quarantine", "reject"]`,
		`inNetwork(client.addr, "192.0.2.0/24", "198.51.100.0/24")`,
		`content.subject matches "(?i)\\b(lottery|prize)\\b"`,
		`any(content.attachments, .name endsWith ".exe")`,
		`content.header["list-id"] contains "spam" or len(content.from) > 1`,
		`sender.domain == "bad.example" and message.size > 1000000`,
		`clamav.infected`,
		`glob(sender.address, "*@promo.*")`,
		`hasWord(content.subject, "invoice") and dkim.result != "pass"`,
	}
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: r%d\n    when: '%s'\n    do: quarantine\n    because: from {{sender.address}}\n", i, kinds[i%len(kinds)])
	}
	return b.String()
}

func benchFacts() factMap {
	f := clean()
	f["client"] = clientFacts{Addr: "203.0.113.7"}
	f["dkim"] = dkimFacts{Result: "pass"}
	f["sender"] = addressFacts{Address: "ann@a.example", Domain: "a.example"}
	return f
}

func benchmarkDecide(b *testing.B, p *Policy, f factMap) {
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(f)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 25, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkDecide(b, compile(b, policyOf(n)), benchFacts()) })
	}
	b.Run("builtin", func(b *testing.B) { benchmarkDecide(b, builtinPolicy(b), benchFacts()) })
	b.Run("waiting", func(b *testing.B) {
		f := benchFacts()
		delete(f, "clamav")
		benchmarkDecide(b, builtinPolicy(b), f)
	})
}

func BenchmarkLint(b *testing.B) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range 500 { // no two alike, but many about the same facts
		fmt.Fprintf(&text, "  - name: r%d\n    when: 'sender.domain == \"d%d.example\" and (spf.result in [\"fail\", \"softfail\"] or message.size > %d) or content.header[\"x-%d\"] == \"y\"'\n    do: %s\n",
			i, i, i*100, i, dispositions[1+i%2])
	}
	p := compile(b, text.String())
	for b.Loop() {
		p.Lint()
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{25, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			text := policyOf(n)
			for b.Loop() {
				compile(b, text)
			}
		})
	}
}
