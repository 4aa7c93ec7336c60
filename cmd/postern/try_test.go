package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A tried is what try --json says of a message, as a script would read it.
type tried struct {
	File     string
	Error    string
	Verdicts []struct {
		Recipient, Do, Rule, Class, Because string
		Score                               float64
		Reply                               struct {
			Code           int
			Enhanced, Text string
		}
		Effects []struct {
			Name string
			Args []string
		}
	}
	Facts struct {
		SPF struct {
			Result, Domain, Explanation string
			Helo                        struct{ Result, Domain string }
		}
		DKIM struct {
			Result     string
			Signatures []struct{ Result, Domain, Selector, Reason string }
		}
		DMARC struct {
			Result, Policy, Domain, Reason, Error string
			PolicyDomain                          string `json:"policy_domain"`
			OrgDomain                             string `json:"org_domain"`
			NonExistent                           bool   `json:"non_existent"`
			Testing                               bool
		}
		ClamAV struct {
			Infected         bool
			Signature, Error string
		}
		Sender  struct{ Address, Domain string }
		Message struct{ Size int }
		Content struct {
			Subject, Error string
			From           []struct {
				Name, Address, Domain string
				NameDomain            string `json:"name_domain"`
			}
			Attachments []struct {
				Name             string
				Names            []string
				Extensions       []string
				MemberExtensions []string `json:"member_extensions"`
				Archive          string
				Type             string
				RealType         string `json:"real_type"`
				Size             int
			}
			Parts []struct {
				Type string
				Name string
				Size int
			}
			Defects    []string
			Duplicates []string
			Malformed  bool
			Unusual    bool
		}
	}
	Steps []struct {
		Rule            string
		Matched, Shadow bool
	}
}

// tryRun runs try --json with the arguments.
func tryRun(t testing.TB, args ...string) (code int, results []tried, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"try", "--json"}, args...), &out, &errs)
	d := json.NewDecoder(bytes.NewReader(out.Bytes()))
	for d.More() {
		var r tried
		if err := d.Decode(&r); err != nil {
			t.Fatalf("try %q: %v\n%s", args, err, out.String())
		}
		results = append(results, r)
	}
	return code, results, out.String(), errs.String()
}

// tryOne judges one message given as text.
func tryOne(t testing.TB, zone, message string, args ...string) tried {
	t.Helper()
	dir := t.TempDir()
	z, m := tryFile(t, dir, "zone", zone), tryFile(t, dir, "m.eml", message)
	code, results, out, errs := tryRun(t, append(args, "--zone", z, m)...)
	if code != exitDone || len(results) != 1 || len(results[0].Verdicts) == 0 {
		t.Fatalf("try %q: exit %d: %s%s", args, code, out, errs)
	}
	return results[0]
}

func tryFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tryMail is a message with the given From line and more header lines.
func tryMail(from string, more ...string) string {
	return strings.Join(more, "") + from + "\r\nTo: b@rcpt.example\r\nSubject: x\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@x.example>\r\n\r\nhello\r\n"
}

const tryPlain = "From: a@d.example\r\nTo: b@rcpt.example\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nhello\r\n"

// contractShape is what design.md promises of try --json: a path and the JSON type there. [] walks
// into the first element, which must be there; a final [] may be empty but not null.
var contractShape = map[string]string{
	"file": "string", "verdicts[].recipient": "string", "verdicts[].do": "string", "verdicts[].rule": "string", "verdicts[].class": "string",
	"verdicts[].because": "string", "verdicts[].score": "number", "verdicts[].reply.code": "number", "verdicts[].reply.enhanced": "string",
	"verdicts[].reply.text": "string", "verdicts[].effects": "list",
	"facts.spf.result": "string", "facts.spf.domain": "string",
	"facts.dkim.result": "string", "facts.dkim.signatures": "list",
	"facts.dmarc.result": "string", "facts.dmarc.policy": "string", "facts.dmarc.domain": "string",
	"facts.clamav.infected": "bool", "facts.clamav.signature": "string",
	"facts.content.subject": "string", "facts.content.from": "list", "facts.content.attachments": "list",
	"facts.content.defects": "list", "facts.content.header": "object",
	"steps[].rule": "string", "steps[].matched": "bool", "steps[].shadow": "bool",
}

func lookPath(v any, path string) (any, error) {
	for step := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(step, "[]")
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("no object at %s", step)
		}
		if v, ok = m[name]; !ok {
			return nil, fmt.Errorf("%s is missing", name)
		}
		if list {
			l, ok := v.([]any)
			if !ok || len(l) == 0 {
				return nil, fmt.Errorf("%s has no elements", name)
			}
			v = l[0]
		}
	}
	return v, nil
}

func jsonType(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	case map[string]any:
		return "object"
	}
	return "null"
}

// Every field of the contract is there, also when there is nothing to say.
func TestTryJSONKeepsItsContract(t *testing.T) {
	dir := t.TempDir()
	zone := tryFile(t, dir, "zone", "d.example TXT \"v=spf1 -all\"\n")
	full := "DKIM-Signature: v=1; a=rsa-sha256; d=d.example; s=s1; h=from; bh=AA==; b=AA==\r\n" + strings.Replace(tryPlain, "\r\n\r\nhello", "\r\n"+
		"Content-Type: application/octet-stream; name=a.exe\r\n\r\nMZ", 1)
	for name, text := range map[string]string{"plain": tryPlain, "full": full, "empty": "", "header only": "Subject: x\r\n", "no header": "\r\nhello\r\n"} {
		code, _, out, errs := tryRun(t, "--zone", zone, tryFile(t, dir, "m.eml", text))
		if code != exitDone {
			t.Errorf("%s: exit %d: %s", name, code, errs)
		}
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(out, ":null") {
			t.Errorf("%s: null in %s", name, out)
		}
		for path, want := range contractShape {
			if got, err := lookPath(v, path); err != nil || jsonType(got) != want {
				t.Errorf("%s: %s: %v %s, want %s", name, path, err, jsonType(got), want)
			}
		}
		if name != "full" {
			continue
		}
		for _, path := range []string{"facts.dkim.signatures[].result", "facts.dkim.signatures[].domain", "facts.dkim.signatures[].selector", "facts.dkim.signatures[].reason",
			"facts.content.from[].name", "facts.content.from[].address", "facts.content.from[].domain",
			"facts.content.attachments[].name", "facts.content.attachments[].type", "facts.content.attachments[].real_type"} {
			if got, err := lookPath(v, path); err != nil || jsonType(got) != "string" {
				t.Errorf("%s: %v %v", path, err, got)
			}
		}
		if got, err := lookPath(v, "facts.content.attachments[].size"); err != nil || got != 4.0 {
			t.Errorf("size: %v %v", got, err)
		}
	}
}

func TestTryShowsEffectsAndReplies(t *testing.T) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	tryFile(t, rules, "1.yaml", `rules:
  - {name: mark, when: 'content.subject contains "gr"', effects: [add_header("X-Seen", "yes")], score: 1.5}
  - {name: maybe, when: "true", shadow: true, do: discard, class: spam, because: "x"}
  - {name: ana, when: 'rcpt.local == "ana"', do: reject, class: policy, because: "not her", reply: "550 5.7.9 No"}
`)
	zone := tryFile(t, dir, "zone", "")
	code, rs, _, errs := tryRun(t, "--zone", zone, "--rules", rules, "--to", "ben@rcpt.example", "--to", "<ana@rcpt.example>", tryFile(t, dir, "m.eml", tryPlain))
	if code != exitDone || len(rs) != 1 || len(rs[0].Verdicts) != 2 {
		t.Fatalf("exit %d %s %+v", code, errs, rs)
	}
	ben, ana := rs[0].Verdicts[0], rs[0].Verdicts[1]
	if ben.Do != "deliver" || ben.Score != 1.5 || len(ben.Effects) != 1 || ben.Effects[0].Name != "add_header" || !reflect.DeepEqual(ben.Effects[0].Args, []string{"X-Seen", "yes"}) {
		t.Errorf("%+v", ben)
	}
	if ben.Reply.Code != 250 || ben.Reply.Enhanced != "2.0.0" {
		t.Errorf("%+v", ben.Reply)
	}
	if ana.Recipient != "ana@rcpt.example" || ana.Do != "reject" || ana.Rule != "ana" || ana.Class != "policy" || ana.Reply.Code != 550 || ana.Reply.Enhanced != "5.7.9" || ana.Reply.Text != "No" {
		t.Errorf("%+v", ana)
	}
	if s := rs[0].Steps; len(s) != 3 || !s[0].Matched || !s[1].Shadow || s[2].Matched {
		t.Errorf("%+v", s)
	}
}

func TestTryTellsEachFileAndItsExitCode(t *testing.T) {
	dir := t.TempDir()
	zone, good := tryFile(t, dir, "zone", ""), tryFile(t, dir, "good.eml", tryPlain)
	missing := filepath.Join(dir, "missing.eml")
	code, rs, out, errs := tryRun(t, "--zone", zone, good, missing, dir, good)
	if code != exitFailed || len(rs) != 4 {
		t.Fatalf("exit %d, %d results: %s%s", code, len(rs), out, errs)
	}
	for i, want := range []string{good, missing, dir, good} {
		if rs[i].File != want || (rs[i].Error == "") != (want == good) || (len(rs[i].Verdicts) == 1) != (want == good) {
			t.Errorf("%d: %+v", i, rs[i])
		}
	}
	if strings.Contains(out, ":null") || strings.Count(errs, "postern: ") != 2 || !strings.Contains(errs, "missing.eml") {
		t.Errorf("%s\n%s", out, errs)
	}
	many := []string{"--zone", zone}
	for i := range 40 {
		many = append(many, tryFile(t, dir, fmt.Sprint(i), strings.Replace(tryPlain, "=?utf-8?q?gr=C3=BC=C3=9Fe?=", fmt.Sprint("number ", i), 1)))
	}
	_, rs, _, _ = tryRun(t, many...)
	for i := range rs {
		if rs[i].Facts.Content.Subject != fmt.Sprint("number ", i) {
			t.Fatalf("result %d is %s", i, rs[i].Facts.Content.Subject)
		}
	}
	if len(rs) != 40 {
		t.Errorf("%d results", len(rs))
	}
}

func TestTryRefusesWrongUsage(t *testing.T) {
	dir := t.TempDir()
	zone, good := tryFile(t, dir, "zone", ""), tryFile(t, dir, "good.eml", tryPlain)
	for want, lines := range map[int][][]string{
		exitUsage: {{}, {"--zone", zone}, {"--nonsense", good}, {"--ip", "1.2.3", good}, {"--ip", "fe80::1%lo", good}, {"--to", "nobody", good},
			{"--to", "a@b@c", good}, {"--ip"}},
		exitFailed: {{"--zone", filepath.Join(dir, "no-zone"), good}, {"--zone", good, good}, {"-c", filepath.Join(dir, "no.yaml"), good},
			{"--rules", filepath.Join(dir, "no-rules"), good}},
	} {
		for _, args := range lines {
			if code, _, out, errs := tryRun(t, args...); code != want || out != "" || errs == "" {
				t.Errorf("%q: exit %d, want %d; %q %q", args, code, want, out, errs)
			}
		}
	}
}

func TestTryReadsStandardInput(t *testing.T) {
	f, err := os.Open(tryFile(t, t.TempDir(), "in", tryPlain))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	saved := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = saved }()
	code, rs, _, errs := tryRun(t, "--zone", tryFile(t, t.TempDir(), "zone", ""), "-")
	if code != exitDone || len(rs) != 1 || rs[0].File != "-" || rs[0].Facts.Content.Subject != "grüße" {
		t.Errorf("exit %d %s %+v", code, errs, rs)
	}
}

// Which sender is judged, and that one which no gateway takes is refused, but judged.
func TestTryTakesTheSenderFromTheFlagOrTheMessage(t *testing.T) {
	const zone = "d.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\nhelo.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
	withPath := "Return-Path: <path@d.example>\r\n" + tryPlain
	bounce := "Return-Path: <>\r\n" + tryPlain
	for _, c := range []struct {
		message        string
		args           []string
		sender, domain string
		spf            string
		do             string
	}{
		{tryPlain, nil, "a@d.example", "d.example", "pass", "deliver"},
		{withPath, nil, "path@d.example", "d.example", "pass", "deliver"},
		{bounce, nil, "", "helo.example", "pass", "deliver"},
		{tryPlain, []string{"--from", ""}, "", "helo.example", "pass", "deliver"},
		{tryPlain, []string{"--from="}, "", "helo.example", "pass", "deliver"},
		{tryPlain, []string{"--from", "<>"}, "", "helo.example", "pass", "deliver"},
		{tryPlain, []string{"--from", "<o@other.example>"}, "o@other.example", "other.example", "none", "deliver"},
		{tryPlain, []string{"--from", "o@OTHER.example"}, "o@other.example", "other.example", "none", "deliver"},
		{tryPlain, []string{"--from", "<(any@d.example>"}, `"(any"@d.example`, "d.example", "pass", "reject"},
		{tryPlain, []string{"--from", "@d.example"}, `""@d.example`, "d.example", "pass", "reject"},
		{tryPlain, []string{"--from", "<@x.example:o@d.example>"}, `"@x.example:o"@d.example`, "d.example", "pass", "reject"},
		{tryPlain, []string{"--from", "nobody"}, `""@nobody`, "nobody", "none", "reject"},
		{tryPlain, []string{"--from", "o@d..example"}, "o@d..example", "d..example", "none", "reject"},
		{tryPlain, []string{"--from", "o@" + strings.Repeat("x", 64) + ".example"}, "o@" + strings.Repeat("x", 64) + ".example", strings.Repeat("x", 64) + ".example", "none", "reject"},
		{tryPlain, []string{"--from", "o@[192.0.2.1]"}, "o@[192.0.2.1]", "[192.0.2.1]", "none", "deliver"},
	} {
		r := tryOne(t, zone, c.message, append([]string{"--ip", "192.0.2.1", "--helo", "helo.example"}, c.args...)...)
		f, v := r.Facts, r.Verdicts[0]
		if f.Sender.Address != c.sender || f.SPF.Domain != c.domain || f.SPF.Result != c.spf || v.Do != c.do {
			t.Errorf("%q: sender %q, SPF %s for %q, %s (%s)", c.args, f.Sender.Address, f.SPF.Result, f.SPF.Domain, v.Do, v.Because)
		}
		if c.do == "reject" && (v.Reply.Code != 553 || v.Reply.Enhanced != "5.1.7" || v.Class != "malformed") {
			t.Errorf("%q: %+v", c.args, v)
		}
	}
}

// A file without CRLF is converted; one with both ends of line stays as it is.
func TestTryKeepsMixedLineEndings(t *testing.T) {
	const zone = ""
	lf := strings.ReplaceAll(tryPlain, "\r\n", "\n")
	if r := tryOne(t, zone, lf); r.Facts.Message.Size != len(tryPlain) || len(r.Facts.Content.Defects) > 0 {
		t.Errorf("LF: %d bytes, %v", r.Facts.Message.Size, r.Facts.Content.Defects)
	}
	mixed := tryPlain + "one\ntwo\r\n"
	if r := tryOne(t, zone, mixed); r.Facts.Message.Size != len(mixed) || r.Verdicts[0].Class != "malformed" {
		t.Errorf("mixed: %d bytes, %+v %v", r.Facts.Message.Size, r.Verdicts[0], r.Facts.Content.Defects)
	}
	cr := tryPlain + "one\rtwo\r\n"
	if r := tryOne(t, zone, cr); r.Facts.Message.Size != len(cr) || r.Verdicts[0].Class != "malformed" {
		t.Errorf("bare CR: %d bytes, %+v %v", r.Facts.Message.Size, r.Verdicts[0], r.Facts.Content.Defects)
	}
}

// DNS that never answers ends in a temporary refusal, in the time that a message has.
func TestA42_TryEndsWhenDNSIsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this one waits")
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dir := t.TempDir()
	cfg := tryFile(t, dir, "c.yaml", "dns: {timeout: 200ms}\n")
	began := time.Now()
	code, rs, _, errs := tryRun(t, "-c", cfg, "--dns", conn.LocalAddr().String(), "--ip", "192.0.2.1", tryFile(t, dir, "m.eml", tryPlain))
	if code != exitDone || len(rs) != 1 || rs[0].Verdicts[0].Do != "defer" || rs[0].Facts.SPF.Result != "temperror" || rs[0].Facts.DMARC.Result != "temperror" {
		t.Fatalf("exit %d %s %+v", code, errs, rs)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// A filter without an answer is never clean: its error is in the facts.
func TestTryTellsOfFiltersWithoutAnAnswer(t *testing.T) {
	if r := tryOne(t, "", tryPlain); r.Facts.ClamAV.Error != "not configured" {
		t.Errorf("no clamd: %+v", r.Facts.ClamAV)
	}
	dead := "unix:" + filepath.Join(t.TempDir(), "none")
	r := tryOne(t, "", tryPlain, "--clamd", dead)
	if r.Facts.ClamAV.Error == "" || r.Facts.ClamAV.Infected || r.Verdicts[0].Do != "defer" || r.Verdicts[0].Reply.Code != 451 {
		t.Errorf("dead clamd: %+v %+v", r.Facts.ClamAV, r.Verdicts[0])
	}
	for onFailure, want := range map[string]string{"defer": "defer", "quarantine": "quarantine", "accept": "deliver"} { // C-11
		cfg := tryFile(t, t.TempDir(), "c.yaml", "clamav: {addresses: ['"+dead+"'], on_failure: "+onFailure+"}\n")
		v := tryOne(t, "", tryPlain, "-c", cfg).Verdicts[0]
		if v.Do != want || (len(v.Effects) == 1) != (want == "deliver") {
			t.Errorf("%s: %+v", onFailure, v)
		}
	}
}

// With --needed only what the rules ask for is gathered.
func TestTryNeededGathersNoMore(t *testing.T) {
	dir := t.TempDir()
	tryFile(t, dir, "1.yaml", `rules: [{name: one, when: 'sender.domain == "d.example"', do: quarantine, class: policy, because: x}]`)
	var out, errs bytes.Buffer
	code := run([]string{"try", "--needed", "--json", "--rules", dir, "--zone", tryFile(t, t.TempDir(), "zone", ""), tryFile(t, t.TempDir(), "m.eml", tryPlain)}, &out, &errs)
	var r struct {
		Filters []struct{ Name string }
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || code != exitDone || len(r.Filters) != 1 || r.Filters[0].Name != "sender" {
		t.Errorf("exit %d %v %s %+v", code, err, errs.String(), r)
	}
}

// The form for people names verdict, rule and facts.
func TestTryPrintsForPeople(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	code := run([]string{"try", "--zone", tryFile(t, dir, "zone", ""), tryFile(t, dir, "m.eml", tryPlain)}, &out, &errs)
	for _, want := range []string{"m.eml\n", "postmaster@example.org: delivered", "no rule", "dmarc-reject", "spf.result = \"none\""} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if code != exitDone {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
