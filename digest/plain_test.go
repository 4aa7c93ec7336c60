package digest

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"Invoice 2211":                          "Invoice 2211",
		"http://evil.example/a?b=c":             "http[:]/ /evil[.]example/a?b=c",
		"see WWW.Evil.Example now":              "see WWW[.]Evil[.]Example now",
		"evil.example":                          "evil[.]example",
		"a@evil.example":                        "a@evil[.]example",
		"mailto:a@b":                            "mailto[:]a@b",
		"tel:+49123":                            "tel[:]+49123",
		"javascript:alert(1)":                   "javascript[:]alert(1)",
		"Re: your order":                        "Re: your order",
		"Re:order":                              "Re[:]order",
		"at 12:30, 1.50 EUR. Thanks.":           "at 12:30, 1.50 EUR. Thanks.",
		"192.0.2.1/login":                       "192[.]0[.]2[.]1/login",
		`\\evil\share`:                          `\ \evil\share`,
		"evil。example":                          "evil[.]example",
		"evil．example":                          "evil[.]example",
		"xn--evil.example":                      "xn--evil[.]example",
		"Größe.пример":                          "Größe[.]пример",
		"a\r\nBcc: x\x00\u2028b\tc":             "a Bcc: x b c",
		"abc\u202edef\u2066\u200b\ufeffg":       "abcdefg",
		"ht\u200dtp://e\u00advil.exa\u2060mple": "http[:]/ /evil[.]example",
		"Z" + strings.Repeat("\u0301", 50):      "Z" + strings.Repeat("\u0301", 3),
		"مرحبا world":                           "مرحبا world",
		"\xff\xfe":                              "\uFFFD",
		strings.Repeat("x", 200):                strings.Repeat("x", 139) + "…",
	} {
		if got := plain(in, 140); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// alive is what mail programs make links of.
func alive() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*:[^\s]`),
		regexp.MustCompile(`[\p{L}\p{N}_-][.。．｡․﹒][\p{L}]`),
		regexp.MustCompile(`\d\.\d+\.\d`),
		regexp.MustCompile(`//|\\\\`),
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"http://evil.example", "a\u200b.b", "1.2.3.4", "www。x", "a:b", "\\\\x", "é\u0301\u0301\u0301\u0301.x", "x:\u200by"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := plain(s, 140)
		for _, r := range alive() {
			if where := r.FindString(got); where != "" {
				t.Errorf("%q is %q, in which %q is alive", s, got, where)
			}
		}
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(c rune) bool { return unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) }) {
			t.Errorf("%q is %q", s, got)
		}
		if utf8.RuneCountInString(got) > 3*140 {
			t.Errorf("%d characters", utf8.RuneCountInString(got))
		}
	})
}
