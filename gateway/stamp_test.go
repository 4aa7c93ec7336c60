package gateway

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/mail"
	"postern/rules"
)

// readAuthResults is a plain reference reader of RFC 8601 2.2 for the tests.
func readAuthResults(field string) (host string, out []mail.AuthResult, err error) {
	body, ok := strings.CutPrefix(field, "Authentication-Results:")
	if !ok || !strings.HasSuffix(body, "\r\n") {
		return "", nil, fmt.Errorf("no field: %q", field)
	}
	body = strings.TrimSuffix(body, "\r\n")
	for i := 0; i < len(body); i++ {
		if body[i] == '\r' || body[i] == '\n' {
			if body[i] != '\r' || i+2 >= len(body) || body[i+1] != '\n' || body[i+2] != '\t' {
				return "", nil, fmt.Errorf("a line ends in it: %q", field)
			}
			i++
		}
	}
	var words []string // ";", comments, and words with their quoted parts
	var w strings.Builder
	flush := func() {
		if w.Len() > 0 {
			words = append(words, w.String())
			w.Reset()
		}
	}
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case ' ', '\t', '\r', '\n':
			flush()
		case ';':
			flush()
			words = append(words, ";")
		case '(':
			flush()
			end := strings.IndexByte(body[i:], ')')
			words = append(words, body[i:i+end+1])
			i += end
		case '"':
			w.WriteByte(c)
			for i++; body[i] != '"'; i++ {
				if body[i] == '\\' {
					w.WriteByte('\\')
					i++
				}
				w.WriteByte(body[i])
			}
			w.WriteByte('"')
		default:
			w.WriteByte(c)
		}
	}
	flush()
	host = words[0]
	for _, word := range words[1:] {
		switch {
		case word == ";":
			out = append(out, mail.AuthResult{})
			continue
		case word == "none":
			return host, nil, nil
		case word[0] == '(':
			out[len(out)-1].Comment = word[1 : len(word)-1]
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		if plain, whole := unquote(value); whole { // else it is a token, or a mailbox with a quoted local part
			value = plain
		}
		r := &out[len(out)-1]
		switch typ, prop, dotted := strings.Cut(name, "."); {
		case r.Method == "":
			r.Method, r.Result = name, value
		case name == "reason":
			r.Reason = value
		case dotted:
			r.Props = append(r.Props, mail.AuthProp{Type: typ, Name: prop, Value: value})
		default:
			return "", nil, fmt.Errorf("stray %q in %q", word, field)
		}
	}
	return host, out, nil
}

// unquote reads a quoted-string that is all of s.
func unquote(s string) (string, bool) {
	if s == "" || s[0] != '"' {
		return s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i == len(s)-1
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return s, false
}

func TestA41_ValuesCannotLeaveTheirPlace(t *testing.T) {
	evil := `"a;dkim=pass header.d=bank.test"@x.test`
	in := []mail.AuthResult{
		{Method: "spf", Result: "fail", Reason: `not (me); "really" \`, Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: evil}, {Type: "smtp", Name: "helo", Value: "a(b"}}},
		{Method: "dkim", Result: "permerror", Props: []mail.AuthProp{{Type: "header", Name: "d", Value: strings.Repeat("d", 300)}, {Type: "header", Name: "b", Value: "ab+/="}}},
		{Method: "dmarc", Result: "fail", Comment: "p=reject", Props: []mail.AuthProp{{Type: "header", Name: "from", Value: "bank.test"}}},
	}
	field := string(appendAuthResults(nil, "gw.test", in, false))
	host, out, err := readAuthResults(field)
	if err != nil || host != "gw.test" || !reflect.DeepEqual(in, out) {
		t.Errorf("%v\n%s\ngot  %q\nwant %q", err, field, out, in)
	}
	in[0].Props[1].Value = "x\r\nX-Injected: 1"
	in[0].Comment = ") ; dkim=pass (\r\nX: "
	in[1].Method = "dkim=pass;"
	field = string(appendAuthResults(nil, "gw.test", in, false))
	_, out, err = readAuthResults(field)
	if err != nil || len(out) != 2 || strings.Contains(field, "\nX") {
		t.Errorf("%v: %q", err, field)
	}
	if got := string(appendAuthResults(nil, "gw.test", nil, false)); got != "Authentication-Results: gw.test; none\r\n" {
		t.Errorf("%q", got)
	}
}

func FuzzAuthResults(f *testing.F) {
	f.Add("spf", "fail", "why", "p=reject", `"a;dkim=pass header.d=bank.test"@x.test`, "h(e)l\"o;", true)
	f.Add("dkim", "pass", "", "", "\r\nX: y", "\x00é\xff\\", false)
	f.Fuzz(func(t *testing.T, method, result, reason, comment, a, b string, utf8ok bool) {
		in := mail.AuthResult{Method: method, Result: result, Reason: reason, Comment: comment,
			Props: []mail.AuthProp{{Type: "smtp", Name: "a", Value: a}, {Type: "header", Name: "b", Value: b}}}
		field := string(appendAuthResults(nil, "gw.test", []mail.AuthResult{in, {Method: "last", Result: "none"}}, utf8ok))
		_, out, err := readAuthResults(field)
		if err != nil {
			t.Fatal(err)
		}
		if !keyword(method) || !keyword(result) {
			if len(out) != 1 {
				t.Fatalf("%d results of a bad keyword: %q", len(out), field)
			}
			return
		}
		if len(out) != 2 || out[1].Method != "last" || out[1].Props != nil {
			t.Fatalf("not two results: %q", field)
		}
		values := map[string]string{"a": a, "b": b}
		for _, p := range out[0].Props {
			if want := values[p.Name]; plain(want, utf8ok) && p.Value != want {
				t.Fatalf("%q came back as %q: %q", want, p.Value, field)
			}
			delete(values, p.Name)
		}
		for name, v := range values {
			if v != "" {
				t.Fatalf("%s is lost: %q", name, field)
			}
		}
		if !utf8ok {
			for i := range len(field) {
				if field[i] >= 0x80 {
					t.Fatalf("8-bit in %q", field)
				}
			}
		}
	})
}

// plain reports whether a value is to come back as it is.
func plain(s string, utf8ok bool) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r > '~' && !utf8ok {
			return false
		}
	}
	return len(s) < maxValue
}

func TestA40_OurOwnResultsInEverySpelling(t *testing.T) {
	forged := []string{
		"Authentication-Results: gw.test; dmarc=pass",
		"authentication-results: GW.Test; dmarc=pass",
		"Authentication-Results : gw.test; dmarc=pass",
		"authentication-results : (c) \"gw.test\" 1; dmarc=pass",
		"AUTHENTICATION-RESULTS\t:\tgw.test; dmarc=pass",
		"Authentication-Results\r\n : gw.test; dmarc=pass",
		"Authentication-Results:\r\n\tgw.test;\r\n\tdmarc=pass",
		"Authentication-Results: (a (nested \\) one)) gw.test (after) 1 ; dmarc=pass",
		"Authentication-Results: \"g\\w.test\"; dmarc=pass",
		"Authentication-Results: gw.test 1; none",
		"Authentication-Results: gw.test.; dmarc=pass",
		"Authentication-Results: gw.test dmarc=pass",
		"Authentication-Results: gw.test/1; dmarc=pass",
		"Authentication-Results: gw.test",
		"Authentication-Results: gw . test; dmarc=pass",
		"Authentication-Results: gw(x).(y)test; dmarc=pass",
		"Authentication-Results: =?utf-8?q?gw=2Etest?=; dmarc=pass",
		"Authentication-Results: =?us-ascii?b?Z3cudGVzdA==?=; dmarc=pass",
		"Authentication-Results: =?utf-8?q?gw?= =?utf-8?q?.test?=; dmarc=pass",
		"Authentication-Results: =?x-unknown?q?gw.test?=; dmarc=pass",
		"Authentication-Results: (unclosed gw.test; dmarc=pass",
		"Authentication-Results: \"gw.test; dmarc=pass",
		"Authentication-Results: ; gw.test; dmarc=pass",
		"Authentication-Results: <gw.test>; dmarc=pass",
		"Authentication-Results: [gw.test]:25; dmarc=pass",
		"Authentication-Results: 'gw.test'; dmarc=pass",
		"Authentication-Results: http://gw.test/; dmarc=pass",
		"Authentication-Results: gw.test\u00a01; dmarc=pass",
		"Authentication-Results: gw.test\xa01; dmarc=pass",
		"Authentication-Results: 1 gw.test; dmarc=pass",
		"Authentication-Results: \uff47\uff57\u3002test; dmarc=pass",
		"Authentication-Results\v: gw.test; dmarc=pass",
		"Authentication-Results\u00a0: gw.test; dmarc=pass",
		"\ufeffAuthentication-Results: gw.test; dmarc=pass",
		"Authentication -Results: gw.test; dmarc=pass",
		"Authentication-Results: dmarc=pass header.from=bank.test", // in nobody's name
		"Authentication-Results: ; spf=pass",
		"Authentication-Results: spf (x) = pass smtp.mailfrom=a@b.test",
		"Authentication-Results: (no name) spf=pass (sender) smtp.mailfrom=a@b.test; dkim=pass",
		"Authentication-Results:",
		"Authentication-Results: i=1; gw.test; dmarc=pass",
		"X-Postern-Verdict: deliver",
		"x-postern-anything : deliver",
	}
	honest := []string{
		"Authentication-Results: mx.other.test; dmarc=pass",
		"Authentication-Results: mx.gw.test.other; spf=pass smtp.mailfrom=gw.test",
		"Authentication-Results: other.test (gw.test asked); dmarc=pass",
		"ARC-Authentication-Results: i=1; gw.test; dmarc=pass",
		"Authentication-Results: gw.tests; dmarc=pass",
		"Authentication-Results: gw.test-2; dmarc=pass",
		"X-Postern: hello",
		"Subject: Authentication-Results: gw.test; dmarc=pass",
	}
	for _, tt := range []struct {
		fields []string
		gone   bool
	}{{forged, true}, {honest, false}} {
		for _, f := range tt.fields {
			raw := "From: a@b.test\r\n" + f + "\r\nTo: c@d.test\r\n\r\nbody\r\n"
			got := relayed(t, raw, nil, Config{Hostname: "gw.test"})
			want := raw
			if tt.gone {
				want = "From: a@b.test\r\nTo: c@d.test\r\n\r\nbody\r\n"
			}
			if got != want {
				t.Errorf("%q:\ngot  %q\nwant %q", f, got, want)
			}
		}
	}
	all := "Authentication-Results: mx.other.test; dmarc=pass\r\n"
	if got := relayed(t, all+"A: b\r\n\r\n", nil, Config{Hostname: "gw.test", StripAuthResults: true}); got != "A: b\r\n\r\n" {
		t.Errorf("StripAuthResults left %q", got)
	}
}

// relayed gives a message as compose makes it, without a block.
func relayed(t testing.TB, raw string, list []rules.Effect, cfg Config) string {
	t.Helper()
	body := mail.BodyOf([]byte(raw))
	h, err := body.Header()
	if err != nil {
		t.Fatal(err)
	}
	if h, err = wholeHeader(body, h); err != nil {
		t.Fatal(err)
	}
	e := editsOf(list)
	head, skip := compose(h, e.add, &e, cfg.removes)
	return string(append(bytes.Join(head, nil), raw[skip:]...))
}

func FuzzOwnAuthResults(f *testing.F) {
	for _, s := range []string{" (c) \"gw.test\" 1; dmarc=pass", "gw.test", "=?utf-8?q?gw=2Etest?=;", "(((", "\"gw.te\\st", "a;gw.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		v = strings.ReplaceAll(strings.ReplaceAll(v, "\r", " "), "\n", " ")
		own := ownResults(v, "gw.test")
		// Blanks and comments around change nothing, and whatever is in our name stays so.
		if own && !ownResults(" (x) "+v, "gw.test") {
			t.Fatalf("a comment hides %q", v)
		}
		if own != ownResults(strings.ToUpper(v), "gw.test") && isASCII(v) && !strings.Contains(v, "=?") {
			t.Fatalf("case matters in %q", v)
		}
		if !ownResults("gw.test; "+v, "gw.test") || !ownResults(`(`+commentText(v, 50)+`) "gw.test" 1;`+v, "gw.test") {
			t.Fatalf("not seen before %q", v)
		}
		if !strings.Contains(v, "=?") && own && !strings.ContainsAny(strings.ToLower(v), "g") {
			t.Fatalf("our name seen in %q", v)
		}
	})
}

// TestC37_RelayedIsReceivedPlusOurBlock compares bytes for odd messages.
func TestC37_RelayedIsReceivedPlusOurBlock(t *testing.T) {
	big := strings.Repeat("X-Filler: "+strings.Repeat("x", 900)+"\r\n", 400)
	for name, raw := range map[string]string{
		"plain":          sample,
		"no header":      "\r\nbody\r\n",
		"empty":          "",
		"only header":    "Subject: x\r\n",
		"no fields":      "hello world\r\nsecond\r\n",
		"spilled":        sample + strings.Repeat("0123456789abcdef\r\n", 100_000),
		"header of 350k": big + "\r\nbody\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, fakeRules{}, nil)
			reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: raw, n: 50_000})
			if !reply.OK() || len(b.up.got) != 1 {
				t.Fatalf("%v", reply)
			}
			got := string(b.up.got[0].bytes)
			block, ok := strings.CutSuffix(got, raw)
			if !ok {
				t.Fatal("the received bytes are not the end of the relayed ones")
			}
			h := mail.ParseHeader([]byte(block), mail.HeaderLimits{})
			names := ""
			for i := range h.Fields {
				names += h.Fields[i].Name + " "
			}
			if names != "Received Authentication-Results X-Postern-Id X-Postern-Verdict X-Postern-Reason X-Postern-Score " || len(h.Raw) != len(block) {
				t.Errorf("block %q", block)
			}
		})
	}
}

func TestC37_AFirstLineThatContinuesNothing(t *testing.T) {
	b := newBed(t, fakeRules{}, nil)
	b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: " ;dkim=pass\r\n" + sample})
	h := mail.ParseHeader(b.up.got[0].bytes, mail.HeaderLimits{})
	if f := h.Get("X-Postern-Score"); f.Value() != "0" {
		t.Errorf("score %q", f.Value())
	}
	if f := h.Get("X-Postern-Note"); f == nil || !strings.HasSuffix(f.Value(), ";dkim=pass") {
		t.Errorf("note %v", f)
	}
}

func TestA40_AlsoInAHeaderBeyondTheLimits(t *testing.T) {
	raw := strings.Repeat("X: y\r\n", 2000) + "Authentication-Results: gw.test; dmarc=pass\r\n\r\nbody\r\n"
	if got := relayed(t, raw, nil, Config{Hostname: "gw.test"}); strings.Contains(got, "dmarc=pass") {
		t.Error("a forged field behind 2000 others is relayed")
	}
	b := newBed(t, fakeRules{}, nil)
	reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: strings.Repeat("X: y\r\n", 300_000), n: 50_000})
	if reply.Code != 554 || len(b.up.got) != 0 {
		t.Errorf("%v", reply)
	}
}

func TestStampTellsNothingOfOthers(t *testing.T) {
	b := newBed(t, fakeRules{[]fakeRule{
		{fact: "to", when: func(v any) bool { return v.(toFacts).Address == "a@example.org" }, verdict: rules.Verdict{Do: rules.Deliver, Rule: "secret-of-a", Because: "a has a secret"}},
	}}, append(twoFilters(), toFilter()))
	b.submit(t, b.talk(), []string{"a@example.org", "b@example.org"}, &textUpload{text: sample})
	if got := string(b.up.got[0].bytes); len(b.up.got) != 1 || strings.Contains(got, "secret") || strings.Contains(got, "for <") {
		t.Errorf("%s", got)
	}
}

func TestReceived(t *testing.T) {
	for _, tt := range []struct{ helo, tls, want string }{
		{"mx.sender.test", "", "from mx.sender.test ([192.0.2.7]) by gw.test (Postern) with ESMTP id "},
		{"x) by gw.test (Postern) (", "TLS1.3 X", "from [192.0.2.7] (helo=x? by gw.test ?Postern? ?) by gw.test (Postern) with ESMTPS (TLS1.3 X) id "},
	} {
		b := newBed(t, fakeRules{}, nil)
		c := b.talk()
		c.hello(tt.helo, true, tt.tls)
		b.submit(t, c, []string{"a@example.org"}, &textUpload{text: sample})
		h := mail.ParseHeader(b.up.got[0].bytes, mail.HeaderLimits{})
		got := strings.Join(strings.Fields(h.Get("Received").Value()), " ")
		if !strings.HasPrefix(got, tt.want) || !strings.Contains(got, " for <a@example.org>; ") {
			t.Errorf("%q", got)
		}
		if looping(h, "gw.test", 50) {
			t.Error("one pass is a loop")
		}
	}
}

func TestS50_Loops(t *testing.T) {
	ours := "Received: from mx.sender.test ([192.0.2.7])\r\n\tby gw.test (Postern) with ESMTP id 01ARZ\r\n\tfor <a@example.org>; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
	other := "Received: by mx.other.test; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
	for _, tt := range []struct {
		head string
		code int
	}{
		{strings.Repeat(other, 50), 250}, {strings.Repeat(other, 51), 554}, {ours, 250}, {ours + other + ours, 554},
	} {
		b := newBed(t, fakeRules{}, nil)
		reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: tt.head + sample})
		if reply.Code != tt.code || tt.code == 554 && reply.EnhancedString() != "5.4.6" {
			t.Errorf("%d bytes of trace: %v, want %d", len(tt.head), reply, tt.code)
		}
	}
}

func TestEffects(t *testing.T) {
	eff := func(name string, args ...string) []rules.Effect { return []rules.Effect{{Name: name, Args: args}} }
	tests := []struct {
		name    string
		effects []rules.Effect
		in, out string
	}{
		{"add", eff("add_header", "X-Spam", "yes\r\nX-Evil: 1"), "A: b\r\n\r\n", "X-Spam: yes  X-Evil: 1\r\nA: b\r\n\r\n"},
		{"add 8-bit", eff("add_header", "X-Spam", "schön"), "\r\n", "X-Spam: =?utf-8?q?sch=C3=B6n?=\r\n\r\n"},
		{"add a bad name", eff("add_header", "X Y", "z"), "\r\n", "\r\n"},
		{"remove", eff("remove_header", "x-a"), "X-A: 1\r\nB: 2\r\nX-a :\r\n 3\r\n\r\nX-A: body\r\n", "B: 2\r\n\r\nX-A: body\r\n"},
		{"tag", eff("tag_subject", "[SPAM]"), "Subject: hello\r\n\r\n", "Subject: [SPAM] hello\r\n\r\n"},
		{"tag an encoded subject", eff("tag_subject", "[SPAM]"), "Subject: =?utf-8?b?w7Y=?=\r\n =?utf-8?b?w7Y=?=\r\n\r\n", "Subject: [SPAM] =?utf-8?b?w7Y=?=\r\n =?utf-8?b?w7Y=?=\r\n\r\n"},
		{"an encoded tag", eff("tag_subject", "[ö]"), "Subject: =?utf-8?b?w7Y=?=\r\n\r\n", "Subject: =?utf-8?q?[=C3=B6]_?= =?utf-8?b?w7Y=?=\r\n\r\n"},
		{"tag without a blank", eff("tag_subject", "[T]"), "Subject:hello\r\n\r\n", "Subject: [T]\r\n hello\r\n\r\n"},
		{"tag a folded one", eff("tag_subject", "[T]"), "Subject:\r\n hello\r\n\r\n", "Subject: [T]\r\n hello\r\n\r\n"},
		{"tag an empty one", eff("tag_subject", "[T]"), "Subject:\r\nA: b\r\n\r\n", "Subject: [T]\r\nA: b\r\n\r\n"},
		{"tag none", eff("tag_subject", "[T]"), "A: b\r\n\r\n", "Subject: [T]\r\nA: b\r\n\r\n"},
		{"tag twice", eff("tag_subject", "[T]"), "Subject: [T] x\r\n\r\n", "Subject: [T] x\r\n\r\n"},
		{"tag an answer to a tagged one", eff("tag_subject", "[T]"), "Subject: Re: AW: [T] x\r\n\r\n", "Subject: Re: AW: [T] x\r\n\r\n"},
		{"tag what only mentions the tag", eff("tag_subject", "[T]"), "Subject: about [T]\r\n\r\n", "Subject: [T] about [T]\r\n\r\n"},
		{"tag one that is tagged in an encoded word", eff("tag_subject", "[T]"), "Subject: =?utf-8?b?W1RdIMO2?=\r\n\r\n", "Subject: =?utf-8?b?W1RdIMO2?=\r\n\r\n"},
		{"tag before a charset that is unknown", eff("tag_subject", "[ö]"), "Subject: =?koi8-r?b?8NLJ18XU?=\r\n\r\n", "Subject: =?utf-8?q?[=C3=B6]_?= =?koi8-r?b?8NLJ18XU?=\r\n\r\n"},
		{"the same again", eff("tag_subject", "[ö]"), "Subject: =?utf-8?q?[=C3=B6]_?= =?koi8-r?b?8NLJ18XU?=\r\n\r\n", "Subject: =?utf-8?q?[=C3=B6]_?= =?koi8-r?b?8NLJ18XU?=\r\n\r\n"},
		{"tag an 8-bit subject", eff("tag_subject", "[T]"), "Subject: gr\xfc\xdfe\r\n\r\n", "Subject: [T] gr\xfc\xdfe\r\n\r\n"},
		{"tag several subjects", eff("tag_subject", "[T]"), "Subject: a\r\nB: c\r\nSubject : [T] b\r\nSUBJECT: c\r\n\r\n", "Subject: [T] a\r\nB: c\r\nSubject : [T] b\r\nSUBJECT: [T] c\r\n\r\n"},
		{"two tags, one of them there", append(eff("tag_subject", "[a]"), eff("tag_subject", "[b]")...), "Subject: [a] x\r\n\r\n", "Subject: [b] [a] x\r\n\r\n"},
		{"one tag from two rules", append(eff("tag_subject", "[a]"), eff("tag_subject", "[a]")...), "Subject: x\r\n\r\n", "Subject: [a] x\r\n\r\n"},
		{"a long line is folded before it", eff("tag_subject", "[outside]"), "Subject: " + strings.Repeat("w ", 34) + "\r\n\r\n", "Subject: [outside]\r\n " + strings.Repeat("w ", 34) + "\r\n\r\n"},
		{"a tag with a line end", eff("tag_subject", "[a]\r\nBcc: x"), "Subject: x\r\n\r\n", "Subject: [a] Bcc: x x\r\n\r\n"},
		{"unknown", eff("explode"), "A: b\r\n\r\n", "A: b\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := relayed(t, tt.in, tt.effects, Config{Hostname: "gw.test"}); got != tt.out {
				t.Errorf("got  %q\nwant %q", got, tt.out)
			}
		})
	}
}

func FuzzSubjectTag(f *testing.F) {
	f.Add("[SPAM]", " hello\r\n more\r\n")
	f.Add("ö", "=?utf-8?b?w7Y=?=\r\n")
	f.Add("[ö] x", " Re: =?koi8-r?b?8NLJ18XU?=\r\n\t=?x?q?_?=\r\n")
	f.Add(" \x00[a]=?=", "\r\n")
	f.Add("=\x80", "\r\n")
	f.Fuzz(func(t *testing.T, tag, body string) {
		raw := "A: b\r\nSubject:" + body + "Z: end\r\n\r\n"
		h := mail.ParseHeader([]byte(raw), mail.HeaderLimits{})
		if len(h.Fields) != 3 || strings.ContainsAny(strings.ReplaceAll(body, "\r\n", ""), "\r\n") || !h.Fields[1].Is("Subject") || !h.Fields[2].Is("Z") {
			t.Skip()
		}
		tagged := []rules.Effect{{Name: "tag_subject", Args: []string{tag}}}
		once := relayed(t, raw, tagged, Config{Hostname: "gw.test"})
		if twice := relayed(t, once, tagged, Config{Hostname: "gw.test"}); twice != once {
			t.Fatalf("%q with %q becomes %q, and then %q", body, tag, once, twice)
		}
		got := mail.ParseHeader([]byte(once), mail.HeaderLimits{})
		if len(got.Fields) != 3 || !got.Ended || !got.Fields[1].Is("Subject") || got.Fields[2].Value() != "end" {
			t.Fatalf("%q with %q becomes %q", body, tag, got.Raw)
		}
		if rest := h.Fields[1].Value(); !strings.HasSuffix(got.Fields[1].Value(), rest) {
			t.Fatalf("%q is not at the end of %q", rest, got.Fields[1].Value())
		}
	})
}

func BenchmarkStampAndSource(b *testing.B) {
	bed := newBed(b, fakeRules{}, nil)
	c := bed.talk()
	d, _ := c.begin(mail.Address{Local: "a", Domain: "sender.test"}, mail.Options{})
	tx := d.(*transaction)
	rcpts := []*recipient{{to: mail.RcptTo{Address: mail.Address{Local: "b", Domain: "example.org"}}}}
	tx.body = mail.BodyOf([]byte(sample + strings.Repeat("0123456789abcdef\r\n", 200)))
	tx.header, _ = tx.body.Header()
	b.ReportAllocs()
	for b.Loop() {
		_, src, err := tx.relay(rcpts, group{to: []int{0}})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := src.Next(); err != nil {
				break
			}
		}
		src.Close()
	}
}
