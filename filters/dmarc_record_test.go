package filters_test

import (
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dmarc"

	"postern/filters"
)

func TestA31_RecordTolerance(t *testing.T) {
	for _, c := range []struct {
		txt    string
		record bool   // it is one at all
		policy string // "off": DMARC is not to be applied
	}{
		{"v=DMARC1; p=reject", true, "reject"},
		{"v=DMARC1;p=reject;", true, "reject"},
		{"v = DMARC1 ; p = reject ; ", true, "reject"},
		{"V=DMARC1; P=Reject", true, "reject"},
		{"v=DMARC1; p=quarantine; rf=iodef", true, "quarantine"},
		{"v=DMARC1; p=reject; ri=0", true, "reject"},
		{"v=DMARC1; p=reject; pct=abc", true, "reject"},
		{"v=DMARC1; p=reject; pct=0", true, "reject"},
		{"v=DMARC1; p=reject; adkim=x; aspf=; fo=9; t=maybe; psd=q", true, "reject"},
		{"v=DMARC1; p=reject; trailing junk", true, "reject"},
		{"v=DMARC1; p=reject;;; zz=1; =; p", true, "reject"},
		{"v=DMARC1; p=reject; p=none", true, "reject"},
		{"v=DMARC1; rua=mailto:r@x.test; p=reject", true, "reject"},
		{"v=DMARC1", true, "off"},
		{"v=DMARC1; rua=mailto:r@x.test", true, "none"},
		{"v=DMARC1; p=bogus; rua=mailto:r@x.test!10m", true, "none"},
		{"v=DMARC1; p=bogus; rua=nonsense, mailto:r@x.test", true, "none"},
		{"v=DMARC1; p=bogus; rua=mailto:", true, "off"},
		{"v=DMARC1; p=bogus; rua=nonsense", true, "off"},
		{"v=DMARC1; p=bogus", true, "off"},
		{"v=DMARC1; p=reject; sp=bogus", true, "off"},
		{"v=DMARC1; p=reject; np=bogus; rua=https://x.test/r", true, "none"},
		{"v=dmarc1; p=reject", false, ""},
		{"v=DMARC2; p=reject", false, ""},
		{"v=DMARC10; p=reject", false, ""},
		{"v=DMARC1 p=reject", false, ""},
		{" v=DMARC1; p=reject", false, ""},
		{"p=reject; v=DMARC1", false, ""},
		{"\xef\xbb\xbfv=DMARC1; p=reject", false, ""},
		{"", false, ""},
	} {
		r, ok := filters.ParseDMARC(c.txt)
		got := r.P
		if ok && !r.Applies {
			got = "off"
		}
		if ok != c.record || ok && got != c.policy {
			t.Errorf("%q: %v %s", c.txt, ok, got)
		}
	}
	r, _ := filters.ParseDMARC("v=DMARC1; p=none; sp=quarantine; np=reject; psd=n; t=Y; adkim=s; aspf=S; pct=20")
	if r.SP != "quarantine" || r.NP != "reject" || r.PSD != 'n' || !r.Testing || !r.StrictDKIM || !r.StrictSPF || r.Pct != "20" {
		t.Errorf("%+v", r)
	}
}

// Whatever a record says, the policy is one of three; where go-msgauth understands it too, it
// is the same; blanks and unknown tags change nothing.
func FuzzDMARCRecord(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b.test!1k,https://x.test; t=y; psd=n", "v=DMARC1;p=none;;adkim=s;aspf=r;pct=5", "v = DMARC1 ;p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		r, ok := filters.ParseDMARC(txt)
		if !ok {
			return
		}
		if !strings.Contains("none quarantine reject", r.P) || r.P == "" || r.Invalid && r.P != "none" || r.Applies != (!r.Invalid || r.AsksReports) {
			t.Fatalf("%q: %+v", txt, r)
		}
		same, ok := filters.ParseDMARC(strings.ReplaceAll(txt, ";", "\t; zz=1 ;  "))
		same.Text = r.Text
		if !ok || same != r {
			t.Fatalf("%q: %+v, spread out %+v", txt, r, same)
		}
		other, err := msgauth.Parse(txt)
		if err != nil || r.Invalid || duplicates(txt) {
			return // it gives up where we do not; it takes the last of several tags
		}
		if string(other.Policy) != r.P {
			t.Fatalf("%q: %s, go-msgauth %s", txt, r.P, other.Policy)
		}
	})
}

func duplicates(txt string) bool {
	seen := map[string]bool{}
	for tag := range strings.SplitSeq(txt, ";") {
		name, _, _ := strings.Cut(tag, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}
