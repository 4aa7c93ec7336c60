package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/testkit"
)

// These tests give whole corpora to try, as an outsider would, and compare with what their
// manifests say. Every difference stands in docs/corpora.md with its reason, and nothing else
// stands there. The corpora lie beside the project (../shared/corpus) and may be absent; those
// below testdata are in the tree.

// sharedCorpus gives a folder of ../shared/corpus.
func sharedCorpus(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(testkit.Root(t), "..", "shared", "corpus", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skip("skipped: ../shared is not here")
	}
	return dir
}

func readCorpus(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// differences collects what differs from a manifest, by case.
type differences map[string]string

func (d differences) add(id, format string, args ...any) {
	if d[id] != "" {
		d[id] += "; "
	}
	d[id] += fmt.Sprintf(format, args...)
}

// compare fails when d is not what the table of docs/corpora.md lists for the corpus.
func (d differences) compare(t *testing.T, corpus string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "corpora.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(page), "## "+corpus+"\n")
	if !ok {
		t.Fatalf("docs/corpora.md has no section %q", corpus)
	}
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		listed[m[1]] = true
		if _, ok := d[m[1]]; !ok {
			t.Errorf("docs/corpora.md lists %s, which does not differ", m[1])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d)) {
		if !listed[id] {
			t.Errorf("%s/%s: %s", corpus, id, d[id])
		}
	}
}

// judged runs try over one file and gives its one result.
func judged(t *testing.T, file string, args ...string) tried {
	t.Helper()
	code, rs, out, errs := tryRun(t, append(slices.Clone(args), file)...)
	if code != exitDone || len(rs) != 1 || len(rs[0].Verdicts) == 0 {
		t.Fatalf("%s: exit %d: %s%s", file, code, out, errs)
	}
	return rs[0]
}

func noZone(t *testing.T) string { return tryFile(t, t.TempDir(), "zone.json", `{"records": {}}`) }

// dispositionOf is a verdict in the words of DMARC.
func dispositionOf(do string) string {
	if do == "reject" || do == "quarantine" {
		return do
	}
	return "none"
}

func TestCorpusDKIM(t *testing.T) {
	dir := sharedCorpus(t, "dkim")
	var m struct {
		Cases []struct {
			ID, File, Zone, Why string
			Accept, Flags       []string
		}
	}
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	d := differences{}
	for _, c := range m.Cases {
		f := judged(t, filepath.Join(dir, c.File), "--ip", "192.0.2.1", "--zone", filepath.Join(dir, c.Zone)).Facts
		if !slices.Contains(c.Accept, f.DKIM.Result) {
			d.add(c.ID, "%s, manifest %v: %s", f.DKIM.Result, c.Accept, c.Why)
		}
		for _, flag := range c.Flags {
			ok := false
			switch flag {
			case "duplicate-header":
				ok = len(f.Content.Duplicates) > 0 || slices.Contains(f.Content.Defects, "from_multiple")
			case "dkim-length-limited":
				ok = len(f.DKIM.Signatures) > 0 && strings.Contains(f.DKIM.Signatures[0].Reason, "l=") && f.DKIM.Result != "pass"
			case "dkim-not-aligned":
				ok = f.DKIM.Result == "pass" && f.DMARC.Result != "pass"
			}
			if !ok {
				d.add(c.ID, "flag %s is not to be seen", flag)
			}
		}
	}
	if len(m.Cases) < 100 {
		t.Errorf("only %d cases", len(m.Cases))
	}
	d.compare(t, "dkim")
}

// testDMARC runs a folder of DMARC cases.
func testDMARC(t *testing.T, dir string) {
	var m struct {
		Cases []struct {
			ID, File, IP, Helo, Mailfrom, Rcpt, Why, Must string
			RFC9989                                       struct{ DMARC, Disposition string }
			AlsoRight                                     [][2]string `json:"also_right"`
		}
	}
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	d := differences{}
	for _, c := range m.Cases {
		r := judged(t, filepath.Join(dir, c.File), "--ip", c.IP, "--helo", c.Helo, "--from", c.Mailfrom, "--to", c.Rcpt, "--zone", filepath.Join(dir, "zone.json"))
		v := r.Verdicts[0]
		got := [2]string{r.Facts.DMARC.Result, dispositionOf(v.Do)}
		if want := [2]string{c.RFC9989.DMARC, c.RFC9989.Disposition}; got != want && !slices.Contains(c.AlsoRight, got) {
			d.add(c.ID, "%v, manifest %v %v: %s", got, want, c.AlsoRight, c.Why)
		}
		ok := true
		switch must := c.Must; {
		case must == "":
		case strings.HasPrefix(must, "not delivered"):
			ok = v.Do != "deliver"
		case strings.HasPrefix(must, "never dmarc=pass"):
			ok = r.Facts.DMARC.Result != "pass"
		case strings.Contains(must, "display name"):
			ok = len(r.Facts.Content.From) == 1 && r.Facts.Content.From[0].NameDomain != ""
		case strings.Contains(must, "4xx"):
			ok = v.Reply.Code/100 == 4
		case strings.Contains(must, "authserv-id is removed"): // on the way out: TestA40 in gateway
		default:
			ok = false
		}
		if !ok {
			d.add(c.ID, "must: %s", c.Must)
		}
	}
	if len(m.Cases) < 30 {
		t.Errorf("only %d cases", len(m.Cases))
	}
	d.compare(t, "dmarc")
}

func TestCorpusDMARC(t *testing.T) { testDMARC(t, sharedCorpus(t, "dmarc")) }
func TestCorpusDMARCSamples(t *testing.T) {
	testDMARC(t, filepath.Join(testkit.Root(t), "testdata", "corpora", "dmarc"))
}

func TestCorpusSPF(t *testing.T) {
	var m struct {
		Scenarios []struct {
			ID      string
			Records json.RawMessage
			Cases   []struct {
				ID, IP, Helo, Mailfrom, Explanation string
				Accept                              []string
			}
		}
	}
	readCorpus(t, filepath.Join(sharedCorpus(t, "spf"), "mail-auth.json"), &m)
	d := differences{}
	dir := t.TempDir()
	message := tryFile(t, dir, "m.eml", tryPlain)
	for _, s := range m.Scenarios {
		zone := tryFile(t, dir, "zone.json", `{"records": `+string(s.Records)+`}`)
		for _, c := range s.Cases {
			f := judged(t, message, "--ip", c.IP, "--helo", c.Helo, "--from", c.Mailfrom, "--zone", zone).Facts.SPF
			if !slices.Contains(c.Accept, f.Result) || c.Explanation != "" && c.Explanation != "DEFAULT" && f.Explanation != c.Explanation {
				d.add(s.ID+" "+c.ID, "%s %q, manifest %v %q", f.Result, f.Explanation, c.Accept, c.Explanation)
			}
		}
	}
	if len(m.Scenarios) < 20 {
		t.Errorf("only %d scenarios", len(m.Scenarios))
	}
	d.compare(t, "spf")
}

func TestCorpusAttachmentNames(t *testing.T) {
	dir := sharedCorpus(t, "attachment-names")
	var m struct {
		Cases []struct {
			ID, File string
			Expect   []string
		}
	}
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	d, zone := differences{}, noZone(t)
	for _, c := range m.Cases {
		f := judged(t, filepath.Join(dir, c.File), "--zone", zone).Facts.Content
		exts := map[string]bool{}
		archives := 0
		for _, a := range f.Attachments {
			if len(a.Name) == 0 || !slices.Contains(a.Names, a.Name) {
				d.add(c.ID, "name %q is not among %q", a.Name, a.Names)
			}
			for _, e := range append(a.Extensions, a.MemberExtensions...) {
				exts[e] = true
			}
			if len(a.Extensions) > 1 && strings.Contains(a.RealType, "zip") {
				archives++
			}
		}
		for _, want := range c.Expect {
			what, arg, _ := strings.Cut(want, " ")
			switch {
			case strings.HasPrefix(want, "not "): // an opinion of rspamd's, not a name
			case what == "MIME_ARCHIVE_IN_ARCHIVE":
				if archives == 0 || !exts["zip"] || !exts["gz"] {
					d.add(c.ID, "no archive in an archive: %v", exts)
				}
			default:
				for e := range strings.SplitSeq(strings.TrimPrefix(arg, "."), ".") {
					if !exts[e] {
						d.add(c.ID, "%s: no extension %s in %v", want, e, exts)
					}
				}
			}
		}
	}
	d.compare(t, "attachment-names")
}

// unstable are the parts of a result that differ from run to run: time and id.
var unstable = regexp.MustCompile(`"filters":\[.*?\]|"(?:date_skew|age)_seconds":-?\d+|"received":"[^"]*"|[0-9A-HJKMNP-TV-Z]{26}`)

func TestCorpusMIME(t *testing.T) {
	dir := sharedCorpus(t, "mime")
	var m struct {
		Mails []struct {
			File   string
			Python struct {
				Leaves [][3]any
			} `json:"python_email"`
		}
	}
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	args := []string{"--zone", noZone(t)}
	for _, c := range m.Mails {
		args = append(args, filepath.Join(dir, c.File))
	}
	code, rs, once, errs := tryRun(t, args...)
	if code != exitDone || len(rs) != len(m.Mails) {
		t.Fatalf("exit %d, %d results of %d: %s", code, len(rs), len(m.Mails), errs)
	}
	if _, _, twice, _ := tryRun(t, args...); unstable.ReplaceAllString(once, "") != unstable.ReplaceAllString(twice, "") {
		t.Error("two runs say different things")
	}
	d := differences{}
	for i, c := range m.Mails {
		f, id := rs[i].Facts.Content, strings.TrimSuffix(filepath.Base(c.File), ".eml")
		if f.Error != "" {
			d.add(id, "%s", f.Error)
		}
		var names []string
		for _, a := range f.Attachments {
			names = append(names, a.Names...)
		}
		types := map[string]int{}
		for _, p := range f.Parts {
			names = append(names, p.Name)
			types[p.Type]++
		}
		for _, leaf := range c.Python.Leaves {
			typ, _ := leaf[0].(string)
			if name, ok := leaf[1].(string); ok && !slices.Contains(names, name) {
				d.add(id, "name %q is not among %q", name, names)
			}
			if types[typ]--; types[typ] < 0 && !(typ == "text/plain" && hasReport(types)) {
				d.add(id, "Python sees one more %q", typ)
			}
		}
	}
	d.compare(t, "mime")
}

// hasReport tells that Python made leaves of the fields of a report, which RFC 3464 and RFC 8098
// define as one part.
func hasReport(types map[string]int) bool {
	_, status := types["message/delivery-status"]
	_, notice := types["message/disposition-notification"]
	return status || notice
}

type evasionMail struct {
	File, Group, Trick string
	Validity           int
	Clamd              string `json:"clamd_alone_on_raw_mail"`
}

func evasionMails(t *testing.T) (dir string, mails []evasionMail) {
	dir = sharedCorpus(t, "mime-evasion")
	var m struct{ Mails []evasionMail }
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	return dir, m.Mails
}

// evasionFile writes a mail with an author that is one: "me", as the corpus has it, alone would
// make all of them malformed.
func evasionFile(t *testing.T, dir string, c evasionMail) string {
	text, err := os.ReadFile(filepath.Join(dir, c.File))
	if err != nil {
		t.Fatal(err)
	}
	return tryFile(t, t.TempDir(), "m.eml", strings.Replace(string(text), "From: me", "From: me@example.org", 1))
}

func TestCorpusMIMEEvasion(t *testing.T) {
	dir, mails := evasionMails(t)
	d, zone := differences{}, noZone(t)
	for _, c := range mails {
		f := judged(t, evasionFile(t, dir, c), "--zone", zone).Facts.Content
		var names []string
		for _, a := range f.Attachments {
			names = append(names, a.Names...)
		}
		zip := slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(strings.ToLower(n), ".zip") })
		switch {
		case c.Group == "filename" && !zip:
			d.add(c.Trick, "no name ends in .zip: %q", names)
		case c.Group == "content" && !zip && !f.Malformed:
			d.add(c.Trick, "the file is not seen and the mail not malformed: %q %v", names, f.Defects)
		case c.Group == "content" && c.Clamd != "found" && !f.Unusual:
			d.add(c.Trick, "clamd misses it, and its parts are not scanned: %v", f.Defects)
		}
		if v := judged(t, filepath.Join(dir, c.File), "--zone", zone).Verdicts[0]; c.Group == "content" && v.Do == "deliver" {
			d.add(c.Trick, "as it is, it is delivered")
		}
	}
	d.compare(t, "mime-evasion")
}

// With a real clamd, no mail that hides EICAR is clean: it is a virus, or malformed and held;
// the valid ones must be a virus.
func TestCorpusMIMEEvasionWithClamd(t *testing.T) {
	dir, mails := evasionMails(t)
	clamd := testkit.StartClamd(t)
	zone, virus, held := noZone(t), 0, 0
	for _, c := range mails {
		if c.Group != "content" {
			continue
		}
		r := judged(t, evasionFile(t, dir, c), "--zone", zone, "--clamd", clamd.Addr)
		f := r.Facts
		switch {
		case f.ClamAV.Error != "":
			t.Errorf("%s: %s", c.Trick, f.ClamAV.Error)
		case f.ClamAV.Infected:
			virus++
		case f.Content.Malformed && c.Validity < 2:
			held++
		default:
			t.Errorf("%s (validity %d): neither virus nor malformed: %v", c.Trick, c.Validity, f.Content.Defects)
		}
		if r.Verdicts[0].Do == "deliver" {
			t.Errorf("%s: delivered", c.Trick)
		}
	}
	t.Logf("%d found as a virus, %d more held as malformed", virus, held)
}

func TestCorpusTNEF(t *testing.T) {
	dir := sharedCorpus(t, "tnef")
	var m struct {
		Files []struct {
			File     string
			Contains []string
		}
	}
	readCorpus(t, filepath.Join(dir, "manifest.json"), &m)
	d, zone := differences{}, noZone(t)
	for _, c := range m.Files {
		data, err := os.ReadFile(filepath.Join(dir, c.File))
		if err != nil {
			t.Fatal(err)
		}
		lines := regexp.MustCompile(`.{1,76}`).ReplaceAllString(base64.StdEncoding.EncodeToString(data), "$0\r\n")
		text := strings.Replace(tryMail("From: a@example.org"), "\r\n\r\n", "\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"+lines, 1)
		text, _, _ = strings.Cut(text, "hello")
		f := judged(t, tryFile(t, t.TempDir(), "m.eml", text), "--zone", zone).Facts.Content
		var names []string
		for _, a := range f.Attachments {
			names = append(names, a.Name)
		}
		for _, want := range c.Contains {
			if !slices.Contains(names, want) {
				d.add(c.File+" "+want, "not among %q", names)
			}
		}
	}
	d.compare(t, "tnef")
}

// Ordinary mail passes the built-in policy; spam and phishing mails end in some verdict, and
// nothing breaks.
func TestCorpusOrdinaryMailIsDelivered(t *testing.T) {
	dir := sharedCorpus(t, "spam-train")
	ham, _ := filepath.Glob(filepath.Join(dir, "ham", "*.eml"))
	others, _ := filepath.Glob(filepath.Join(dir, "spam", "*.eml"))
	phish, _ := filepath.Glob(filepath.Join(dir, "..", "phishing", "mails", "*.eml"))
	others = append(others, phish...)
	if len(ham) < 1000 || len(others) < 1000 {
		t.Fatalf("only %d and %d mails", len(ham), len(others))
	}
	d := differences{}
	for kind, files := range map[string][]string{"ham": ham, "other": others} {
		code, rs, _, errs := tryRun(t, append([]string{"--zone", noZone(t)}, files...)...)
		if code != exitDone || len(rs) != len(files) {
			t.Fatalf("%s: exit %d, %d results of %d: %s", kind, code, len(rs), len(files), errs)
		}
		for _, r := range rs {
			if v := r.Verdicts[0]; kind == "ham" && v.Do != "deliver" {
				d.add(filepath.Base(r.File), "%s by %s: %v", v.Do, v.Rule, r.Facts.Content.Defects)
			}
			if r.Facts.Content.Error != "" || r.Facts.DMARC.Error != "" {
				t.Errorf("%s: %q %q", r.File, r.Facts.Content.Error, r.Facts.DMARC.Error)
			}
		}
	}
	d.compare(t, "spam-train")
}
