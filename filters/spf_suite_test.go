package filters_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"postern/filters"
	"postern/filters/dnsfake"
)

// A suite is one document of an openspf test file.
type suite struct {
	Description string                      `yaml:"description"`
	Tests       map[string]suiteCase        `yaml:"tests"`
	Zone        map[string][]map[string]any `yaml:"zonedata"`
}

type suiteCase struct {
	Helo        string `yaml:"helo"`
	Host        string `yaml:"host"`
	MailFrom    string `yaml:"mailfrom"`
	Result      any    `yaml:"result"` // a word or a list of them, best first
	Explanation string `yaml:"explanation"`
}

func (c suiteCase) results() []string {
	if s, ok := c.Result.(string); ok {
		return []string{s}
	}
	var out []string
	for _, v := range c.Result.([]any) {
		out = append(out, v.(string))
	}
	return out
}

// zone makes a zone of the suite's, where type SPF stands for TXT unless there is TXT too.
func (s suite) zone(t *testing.T) *dnsfake.Zone {
	records := map[string]map[string]any{}
	for name, list := range s.Zone {
		types := map[string]any{}
		for _, rec := range list {
			for kind, v := range rec {
				switch kind {
				case "TIMEOUT", "SERVFAIL":
					types["*"] = kind
				case "CNAMELOOP":
					types["CNAME"] = []any{name}
				case "MX":
					old, _ := types[kind].([]any)
					types[kind] = append(old, v)
				default:
					old, _ := types[kind].([]any)
					if l, ok := v.([]any); ok && kind != "TXT" && kind != "SPF" {
						types[kind] = append(old, l...)
					} else {
						types[kind] = append(old, v)
					}
				}
			}
		}
		if _, ok := types["TXT"]; !ok && types["SPF"] != nil {
			types["TXT"] = types["SPF"]
		}
		if slices.Equal(anyStrings(types["TXT"]), []string{"NONE"}) {
			delete(types, "TXT")
		}
		records[name] = types
	}
	z, err := dnsfake.FromRecords(records)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func anyStrings(v any) []string {
	var out []string
	l, _ := v.([]any)
	for _, x := range l {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

func readSuites(t *testing.T, path string, edit func([]byte) []byte) []suite {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		text = edit(text)
	}
	var all []suite
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var s suite
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if s.Tests != nil {
			all = append(all, s)
		}
	}
}

// rename gives a second label to the names of the blitiri suite that have one only, since
// those have no result by RFC 7208 4.3 and are no domain-spec by 7.1.
func rename(text []byte) []byte {
	names := map[string]bool{}
	for _, re := range []string{`@([\w-]+)"`, `\b(?:a|mx|include|exists|ptr|redirect)[:=]([\w-]+)(?:\s|$)`, `MX: \[\d+, ([\w-]+)\]`} {
		for _, m := range regexp.MustCompile(re).FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
	}
	text = regexp.MustCompile(`[\w-]+(\.[\w-]+)*`).ReplaceAllFunc(text, func(b []byte) []byte {
		if names[string(b)] {
			return append(slices.Clone(b), ".example"...)
		}
		return b
	})
	return text
}

func runSuites(t *testing.T, path string, edit func([]byte) []byte) (n int) {
	for _, s := range readSuites(t, path, edit) {
		z := s.zone(t)
		for name, c := range s.Tests {
			n++
			t.Run(name, func(t *testing.T) {
				from := c.MailFrom
				if from == "" {
					from = "postmaster@" + c.Helo
				}
				at := strings.LastIndexByte(from, '@')
				t.Log(from)
				result, explanation, problem := filters.CheckSPF(t.Context(), z, netip.MustParseAddr(c.Host), c.Helo, from[:max(at, 0)], from[at+1:])
				t.Log(result, problem)
				if !slices.Contains(c.results(), result) {
					t.Errorf("%s: %s (%s), want %s", s.Description, result, problem, c.results())
				}
				// Case: the nibbles of an IPv6 address are in lower case in RFC 7208 7.4.
				// Case: RFC 7208 7.3 does not say in which one %{i} writes IPv6.
				if c.Explanation != "" && c.Explanation != "DEFAULT" && !strings.EqualFold(explanation, c.Explanation) {
					t.Errorf("explanation %q, want %q", explanation, c.Explanation)
				}
				if c.Explanation == "DEFAULT" && explanation != "" {
					t.Errorf("explanation %q, want none", explanation)
				}
			})
		}
	}
	return n
}

// The suite of openspf.org for RFC 7208, all 203 cases.
func TestA20_RFC7208Suite(t *testing.T) {
	if n := runSuites(t, "testdata/spf/rfc7208-tests.yml", nil); n != 203 {
		t.Errorf("%d cases", n)
	}
}

func TestA20_BlitiriSuite(t *testing.T) {
	if n := runSuites(t, "testdata/spf/blitirispf-tests.yml", rename); n < 80 {
		t.Errorf("%d cases", n)
	}
}

// shared finds a file of the corpora beside the module.
func shared(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	p := filepath.Join(dir, "..", "shared", path)
	if _, err := os.Stat(p); err != nil {
		t.Skip("skipped: ../shared is not here")
	}
	return p
}

func TestA20_MailAuthCorpus(t *testing.T) {
	b, err := os.ReadFile(shared(t, "corpus/spf/mail-auth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Scenarios []struct {
			ID      string
			Records map[string]map[string]any
			Cases   []struct {
				ID, IP, Helo, Mailfrom string
				Accept                 []string
				Explanation            string
			}
		}
	}
	if err := json.Unmarshal(b, &corpus); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range corpus.Scenarios {
		z, err := dnsfake.FromRecords(s.Records)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Cases {
			n++
			from := c.Mailfrom
			if from == "" {
				from = "postmaster@" + c.Helo
			}
			at := strings.LastIndexByte(from, '@')
			result, explanation, problem := filters.CheckSPF(t.Context(), z, netip.MustParseAddr(c.IP), c.Helo, from[:max(at, 0)], from[at+1:])
			if !slices.Contains(c.Accept, result) {
				t.Errorf("%s/%s: %s (%s), want %s", s.ID, c.ID, result, problem, c.Accept)
			}
			if c.Explanation != "" && c.Explanation != "DEFAULT" && c.Explanation != explanation {
				t.Errorf("%s/%s: explanation %q, want %q", s.ID, c.ID, explanation, c.Explanation)
			}
		}
	}
	if n == 0 {
		t.Error("no cases")
	}
}
