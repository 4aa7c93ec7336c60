package rules

import (
	"strings"
	"testing"
)

func builtinPolicy(t testing.TB, change ...func(*Options)) *Policy {
	t.Helper()
	o := testOptions()
	for _, f := range change {
		f(&o)
	}
	p, err := Compile([]Source{Builtin()}, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clean is an ordinary authenticated message with a PDF and a zip.
func clean() factMap {
	return factMap{
		"rcpt":  addressFacts{Domain: "example.org"},
		"dmarc": resultFacts{Result: "pass", Domain: "a.example", Policy: "reject"},
		"content": contentFacts{Attachments: []attachment{
			{Name: "bill.pdf", Names: []string{"bill.pdf"}}, {Name: "x.zip", Names: []string{"x.zip"}},
			{Name: "notes.exe.txt", Names: []string{"notes.exe.txt"}}}},
	}.all()
}

func with(m factMap, name string, v any) factMap {
	m[name] = v
	return m
}

func TestBuiltinPolicy(t *testing.T) {
	p := builtinPolicy(t)
	attached := func(name string) factMap {
		return with(clean(), "content", contentFacts{Attachments: []attachment{{Name: "a", Names: []string{"a", name}}}})
	}
	for _, c := range []struct {
		what  string
		facts factMap
		do    Disposition
		rule  string
		class string
		says  string
	}{
		{"clean", clean(), Deliver, "", "", "no rule objected"},
		{"forged, reject", with(clean(), "dmarc", resultFacts{Result: "fail", Policy: "reject", Domain: "bank.example"}), Reject, "dmarc-reject", "spoof", "bank.example"},
		{"forged, quarantine", with(clean(), "dmarc", resultFacts{Result: "fail", Policy: "quarantine", Domain: "bank.example"}), Quarantine, "dmarc-quarantine", "spoof", "bank.example"},
		{"forged, none", with(clean(), "dmarc", resultFacts{Result: "fail", Policy: "none", Domain: "bank.example"}), Deliver, "", "", ""},
		{"A-33 temperror", with(clean(), "dmarc", resultFacts{Result: "temperror", Domain: "bank.example"}), Defer, "dmarc-later", "spoof", "DNS gave no answer"},
		{"A-33 temperror, reject", with(clean(), "dmarc", resultFacts{Result: "temperror", Policy: "reject", PolicyDomain: "bank.example", Domain: "bank.example"}), Defer, "dmarc-later", "spoof", "DNS gave no answer"},
		{"A-33 temperror, policy unknown", with(clean(), "dmarc", resultFacts{Result: "temperror", Policy: "none", Domain: "bank.example"}), Defer, "dmarc-later", "spoof", "DNS gave no answer"},
		{"A-33 temperror, none", with(clean(), "dmarc", resultFacts{Result: "temperror", Policy: "none", PolicyDomain: "bank.example", Domain: "bank.example"}), Deliver, "", "", ""},
		{"dmarc failed", with(clean(), "dmarc", errTest), Defer, "dmarc-failed", "spoof", "try again"},
		{"malformed", with(clean(), "content", contentFacts{Malformed: true}), Quarantine, "malformed", "malformed", ""},
		{"content failed", with(clean(), "content", errTest), Quarantine, "unreadable", "malformed", ""},
		{"exe", attached("Invoice.EXE"), Quarantine, "dangerous-attachment", "attachment", ""},
		{"exe with dots", attached("invoice.pdf.scr. ."), Quarantine, "dangerous-attachment", "attachment", ""},
		{"js", attached("a.js"), Quarantine, "dangerous-attachment", "attachment", ""},
		{"json", attached("a.json"), Deliver, "", "", ""},
		{"a program without a name", with(clean(), "content", contentFacts{Attachments: []attachment{{Type: "application/hta"}}}), Quarantine, "dangerous-attachment", "attachment", ""},
		{"a document that is called a program by its type", with(clean(), "content", contentFacts{Attachments: []attachment{{Names: []string{"a.pdf"}, Type: "application/x-msdownload"}}}), Deliver, "", "", ""},
		{"real type", with(clean(), "content", contentFacts{Attachments: []attachment{{Name: "a.txt", RealType: "application/vnd.microsoft.portable-executable"}}}), Quarantine, "dangerous-attachment", "attachment", ""},
		{"exe in a zip", with(clean(), "content", contentFacts{Attachments: []attachment{{Name: "a.zip", MemberExtensions: []string{"txt", "exe"}}}}), Quarantine, "dangerous-attachment", "attachment", ""},
		{"gtube", with(clean(), "content", contentFacts{Gtube: true}), Quarantine, "gtube", "spam", ""},
		{"virus", with(clean(), "clamav", clamavFacts{Infected: true, Signature: "Eicar\r\nX: y"}), Quarantine, "virus", "virus", "Eicar X: y"},
		{"limits", with(clean(), "clamav", clamavFacts{Infected: true, Heuristic: "limits"}), Quarantine, "scan-limits", "policy", ""},
		{"encrypted", with(clean(), "clamav", clamavFacts{Infected: true, Heuristic: "encrypted"}), Quarantine, "encrypted", "policy", ""},
		{"too big", with(clean(), "clamav", clamavFacts{Infected: true, Heuristic: "limits", TooBig: true}), Quarantine, "too-big-to-scan", "policy", ""},
		{"clamav failed", with(clean(), "clamav", errTest), Defer, "scan-limits", "policy", "clamav gave no answer"},
		{"denied", with(clean(), "lists", listsFacts{Denied: true, Entry: "x.example", Note: "sent us spam"}), Reject, "denied", "policy", "x.example is on the deny list: sent us spam"},
		{"denied, no note", with(clean(), "lists", listsFacts{Denied: true, Entry: "x.example"}), Reject, "denied", "policy", "x.example is on the deny list"},
		{"allowed", with(clean(), "lists", listsFacts{Allowed: true, Entry: "x.example", Note: "partner"}), Deliver, "allowed", "", "x.example is on the allow list: partner; nothing dangerous"},
		{"own domain", with(clean(), "dmarc", resultFacts{Result: "none", Domain: "example.org"}), Deliver, "", "", ""},
	} {
		v := decide(t, p, c.facts)
		if v.Do != c.do || v.Rule != c.rule || v.Class != c.class || !strings.Contains(v.Because, c.says) {
			t.Errorf("%s: %v %q %q %q", c.what, v.Do, v.Rule, v.Class, v.Because)
		}
		if shadow := v.Steps[min(len(v.Steps)-1, 9)]; c.what == "own domain" && !(shadow.Rule == "own-domain" && shadow.Matched && shadow.Shadow) {
			t.Errorf("the shadow rule says %+v", shadow)
		}
		if v.Reply != nil && v.Reply.Code/100 != map[Disposition]int{Reject: 5, Defer: 4}[v.Do] {
			t.Errorf("%s: %v is answered %v", c.what, v.Do, v.Reply)
		}
	}
}

// An allow entry spares the rules about spam and policy, and a policy of quarantine where it is
// proven who sent it; it never spares what is dangerous, refused by DMARC, or was not scanned.
func TestBuiltinAllowedSpares(t *testing.T) {
	p := builtinPolicy(t)
	fail := func(policy string) resultFacts {
		return resultFacts{Result: "fail", Policy: policy, Domain: "x.example"}
	}
	for _, c := range []struct {
		what   string
		filter string
		facts  any
		proven bool
		rule   string
	}{
		{"spam", "content", contentFacts{Gtube: true}, false, "allowed"},
		{"encrypted", "clamav", clamavFacts{Infected: true, Heuristic: "encrypted"}, false, "allowed"},
		{"too big", "clamav", clamavFacts{Infected: true, Heuristic: "limits", TooBig: true}, false, "allowed"},
		{"quarantine by DMARC, proven", "dmarc", fail("quarantine"), true, "allowed"},
		{"quarantine by DMARC, From alone", "dmarc", fail("quarantine"), false, "dmarc-quarantine"},
		{"reject by DMARC", "dmarc", fail("reject"), true, "dmarc-reject"},
		{"malformed", "content", contentFacts{Malformed: true}, true, "malformed"},
		{"attachment", "content", contentFacts{Attachments: []attachment{{Names: []string{"a.exe"}}}}, true, "dangerous-attachment"},
		{"virus", "clamav", clamavFacts{Infected: true, Signature: "Eicar"}, true, "virus"},
		{"the scanner gave up", "clamav", clamavFacts{Infected: true, Heuristic: "limits"}, true, "scan-limits"},
		{"the scanner is dead", "clamav", errTest, true, "scan-limits"},
	} {
		m := with(clean(), "lists", listsFacts{Allowed: true, Proven: c.proven, Entry: "x.example"})
		if v := decide(t, p, with(m, c.filter, c.facts)); v.Rule != c.rule {
			t.Errorf("%s: %s", c.what, v.Rule)
		}
	}
	allowed := with(clean(), "lists", listsFacts{Allowed: true, Entry: "x.example"})
	off := builtinPolicy(t, func(o *Options) { o.Off = []string{"clamav"} })
	if v := decide(t, off, allowed); v.Rule != "allowed" {
		t.Errorf("without a scanner: %+v", v)
	}
	soft := builtinPolicy(t, func(o *Options) { o.Defer = nil }) // clamav.on_failure: quarantine has a rule behind all others
	if v := decide(t, soft, with(allowed, "clamav", errTest)); v.Rule == "allowed" {
		t.Errorf("what was not scanned is let through: %+v", v)
	}
}

func TestBuiltinWithoutScanner(t *testing.T) {
	p := builtinPolicy(t, func(o *Options) { o.Off = []string{"clamav"} })
	for _, n := range p.Needs() {
		if n == "clamav" {
			t.Error("an unconfigured filter is needed")
		}
	}
	v := decide(t, p, clean())
	if v.Do != Deliver {
		t.Errorf("%+v", v)
	}
	if last := v.Steps[len(v.Steps)-1]; last.Why != "clamav is off" || last.Result != Unknown {
		t.Errorf("%+v", last)
	}
}

func TestEveryBuiltinRuleSaysWhy(t *testing.T) {
	for _, r := range builtinPolicy(t).Rules() {
		if len(r.Because) < 40 || r.Line == 0 || r.Class == "" {
			t.Errorf("%+v", r)
		}
	}
}
