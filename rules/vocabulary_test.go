package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A small copy of the facts that filters gather; rules must not import them.

type clientFacts struct {
	Error   string `expr:"error" json:"error,omitempty"`
	Addr    string `expr:"addr" json:"addr" doc:"The IP address that connected."`
	Helo    string `expr:"helo" json:"helo" doc:"What it said in EHLO."`
	TLS     string `expr:"tls" json:"tls" doc:"Version and cipher, empty in clear."`
	Trusted bool   `expr:"trusted" json:"trusted" doc:"It is a trusted relay."`
}

type addressFacts struct {
	Error   string `expr:"error" json:"error,omitempty"`
	Address string `expr:"address" json:"address" doc:"The address."`
	Local   string `expr:"local" json:"local" doc:"Before the at sign."`
	Domain  string `expr:"domain" json:"domain" doc:"Behind the at sign." case:"lower"`
}

type messageFacts struct {
	Error    string    `expr:"error" json:"error,omitempty"`
	ID       string    `expr:"id" json:"id" doc:"Our id."`
	Received time.Time `expr:"received" json:"received" doc:"When it came."`
	Size     int64     `expr:"size" json:"size" doc:"Bytes."`
}

type resultFacts struct {
	Error        string `expr:"error" json:"error,omitempty"`
	Result       string `expr:"result" json:"result" doc:"The result." enum:"none neutral pass fail softfail temperror permerror"`
	Domain       string `expr:"domain" json:"domain" doc:"The domain."`
	Policy       string `expr:"policy" json:"policy" doc:"The policy." enum:"none quarantine reject"`
	PolicyDomain string `expr:"policy_domain" json:"policy_domain" doc:"Where the policy stands."`
}

// AuthResult is a method that rules must not be able to call.
func (resultFacts) AuthResult() string { return "x" }

type signature struct {
	Result string `expr:"result" json:"result" doc:"The result." enum:"none pass fail policy temperror permerror"`
	Domain string `expr:"domain" json:"domain" doc:"d="`
}

type dkimFacts struct {
	Error      string      `expr:"error" json:"error,omitempty"`
	Result     string      `expr:"result" json:"result" doc:"The best result." enum:"none pass fail policy temperror permerror"`
	Signatures []signature `expr:"signatures" json:"signatures" doc:"Each signature."`
}

type mailboxFacts struct {
	Name    string `expr:"name" json:"name" doc:"The name shown."`
	Address string `expr:"address" json:"address" doc:"The address."`
	Domain  string `expr:"domain" json:"domain" doc:"Its domain."`
}

type attachment struct {
	Name             string   `expr:"name" json:"name" doc:"The name."`
	Names            []string `expr:"names" json:"names" doc:"Every plausible name."`
	Type             string   `expr:"type" json:"type" doc:"The declared type."`
	RealType         string   `expr:"real_type" json:"real_type" doc:"The type by its content."`
	Size             int      `expr:"size" json:"size" doc:"Bytes."`
	Archive          string   `expr:"archive" json:"archive" doc:"The archive it is in."`
	MemberExtensions []string `expr:"member_extensions" json:"member_extensions" doc:"Of all files in the archive."`
}

type contentFacts struct {
	Error       string              `expr:"error" json:"error,omitempty"`
	Subject     string              `expr:"subject" json:"subject" doc:"The subject."`
	From        []mailboxFacts      `expr:"from" json:"from" doc:"The authors."`
	Header      map[string]string   `expr:"header" json:"header" doc:"The first field of a name." case:"lower"`
	Headers     map[string][]string `expr:"headers" json:"headers" doc:"All fields of a name." case:"lower"`
	Attachments []attachment        `expr:"attachments" json:"attachments" doc:"The attachments."`
	Defects     []string            `expr:"defects" json:"defects" doc:"What is wrong."`
	Malformed   bool                `expr:"malformed" json:"malformed" doc:"It is ambiguous."`
	Gtube       bool                `expr:"gtube" json:"gtube" doc:"It has the test text."`
}

type clamavFacts struct {
	Error     string `expr:"error" json:"error,omitempty"`
	Infected  bool   `expr:"infected" json:"infected" doc:"A virus was found."`
	Signature string `expr:"signature" json:"signature" doc:"Its name."`
	Heuristic string `expr:"heuristic" json:"heuristic" doc:"limits, encrypted or nothing."`
	TooBig    bool   `expr:"too_big" json:"too_big" doc:"It was not scanned."`
}

type listsFacts struct {
	Error   string `expr:"error" json:"error,omitempty"`
	Denied  bool   `expr:"denied" json:"denied" doc:"Denied."`
	Allowed bool   `expr:"allowed" json:"allowed" doc:"Allowed."`
	Proven  bool   `expr:"proven" json:"proven" doc:"Proven."`
	Entry   string `expr:"entry" json:"entry" doc:"The entry."`
	Note    string `expr:"note" json:"note" doc:"Its note."`
}

func testVocabulary() Vocabulary {
	return Vocabulary{"client": clientFacts{}, "sender": addressFacts{}, "rcpt": addressFacts{}, "message": messageFacts{},
		"spf": resultFacts{}, "dmarc": resultFacts{}, "dkim": dkimFacts{}, "content": contentFacts{}, "clamav": clamavFacts{}, "lists": listsFacts{}}
}

func testOptions() Options {
	return Options{Vocabulary: testVocabulary(), Defer: []string{"clamav"}, Effects: []EffectSpec{
		{Name: "add_header", Params: []Param{{Name: "name", Check: plainName}, {Name: "value", Text: true}}},
		{Name: "remove_header", Params: []Param{{Name: "name", Check: plainName}}},
		{Name: "tag_subject", Params: []Param{{Name: "tag", Text: true}}},
		{Name: "throttle", Params: []Param{{Name: "by", Check: OneOf("client", "sender")}, {Name: "count"}}},
		{Name: "notify", Params: []Param{{Name: "address"}, {Name: "text", Text: true, Optional: true}}},
		{Name: "strip", Params: []Param{{Name: "what", Many: true}}}}}
}

func plainName(s string) (problem, hint string) {
	if strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz-") != "" {
		return fmt.Sprintf("%q is no name for a header field", s), "it has letters, digits and -"
	}
	return "", ""
}

// factMap is what is known: the facts themselves, or an error in place of them.
type factMap map[string]any

func (m factMap) Lookup(name string) (any, error, bool) {
	v, ok := m[name]
	if err, failed := v.(error); failed {
		return withError(testVocabulary()[name], err), err, true
	}
	return v, nil, ok
}

// all completes m with zero facts.
func (m factMap) all() factMap {
	out := factMap{}
	for name, zero := range testVocabulary() {
		out[name] = zero
	}
	for name, v := range m {
		out[name] = v
	}
	return out
}

var errTest = errors.New("it broke")

func compile(t testing.TB, text string, change ...func(*Options)) *Policy {
	t.Helper()
	o := testOptions()
	for _, f := range change {
		f(&o)
	}
	p, err := Compile([]Source{{"test.yaml", []byte(text)}}, o)
	if err != nil {
		t.Fatalf("compile:\n%v\nin\n%s", err, text)
	}
	return p
}

func TestDescribe(t *testing.T) {
	got := make(map[string]Fact)
	for _, f := range Describe(testVocabulary()) {
		got[f.Name] = f
		if f.Type == "" || f.Doc == "" && !strings.HasSuffix(f.Name, ".error") {
			t.Errorf("%+v is not described", f)
		}
	}
	for name, typ := range map[string]string{"spf.result": "string", "message.received": "time", "message.size": "int",
		"content.header": "map of string", "content.headers": "map of list of string", "content.attachments": "list of group",
		"content.attachments[].names": "list of string", "clamav.infected": "bool"} {
		if got[name].Type != typ {
			t.Errorf("%s is %q, want %q", name, got[name].Type, typ)
		}
	}
}

func TestC21_VocabularyIsPlainData(t *testing.T) {
	for name, v := range map[string]Vocabulary{
		"pointer": {"x": struct {
			A *string `expr:"a"`
		}{}},
		"any": {"x": struct {
			A any `expr:"a"`
		}{}},
		"func": {"x": struct {
			A func() `expr:"a"`
		}{}},
		"untagged":  {"x": struct{ A string }{}},
		"no struct": {"x": 1},
		"nothing":   {"x": nil},
		"score":     {"score": resultFacts{}},
	} {
		if _, err := Compile(nil, Options{Vocabulary: v}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
