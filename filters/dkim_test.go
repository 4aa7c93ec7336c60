package filters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
)

// fakeKeys is a Resolver with TXT records alone; it notes what it was asked.
type fakeKeys struct {
	Resolver
	txt    map[string][]string
	broken map[string]bool
	stuck  bool // no answer before the end of the context

	mu    sync.Mutex
	asked []string
}

func (k *fakeKeys) TXT(ctx context.Context, name string) ([]string, error) {
	k.mu.Lock()
	k.asked = append(k.asked, name)
	k.mu.Unlock()
	name = strings.ToLower(name)
	if k.stuck {
		<-ctx.Done()
		return nil, &DNSError{Name: name, Temporary: true, Err: ctx.Err()}
	}
	if k.broken[name] {
		return nil, &DNSError{Name: name, Temporary: true}
	}
	if txt := k.txt[name]; len(txt) > 0 {
		return txt, nil
	}
	return nil, &DNSError{Name: name, NotFound: true, NXDomain: true}
}

// dkimKeys has one key, at s._domainkey.example.org, and whatever else is given in pairs.
func dkimKeys(more ...string) *fakeKeys {
	k := &fakeKeys{txt: map[string][]string{"s._domainkey.example.org": {dkimRecord()}}}
	for i := 0; i < len(more); i += 2 {
		k.txt[more[i]] = append(k.txt[more[i]], more[i+1])
	}
	return k
}

var dkimNow = time.Unix(1_800_000_000, 0)

func gatherDKIM(ctx context.Context, r Resolver, body *mail.Body, now time.Time) (DKIMFacts, error) {
	f, err := dkim(DKIMConfig{}, r).Gather(ctx, &Input{Envelope: mail.Envelope{Received: now}, Body: body})
	if err != nil {
		return DKIMFacts{}, err
	}
	return f.(DKIMFacts), nil
}

// verifyBytes runs the filter over a finished message.
func verifyBytes(t testing.TB, r Resolver, msg []byte, now time.Time) DKIMFacts {
	t.Helper()
	body := mail.BodyOf(msg)
	defer body.Close()
	f, err := gatherDKIM(context.Background(), r, body, now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const dkimMail = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nHello Bob.\r\n"

const dkimTags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s; h=From:To:Subject"

// with replaces a tag of dkimTags, or adds one.
func withTag(name, value string) string {
	tags := strings.Split(dkimTags, "; ")
	for i, t := range tags {
		if strings.HasPrefix(t, name+"=") {
			tags[i] = name + "=" + value
			return strings.Join(tags, "; ")
		}
	}
	return dkimTags + "; " + name + "=" + value
}

func TestDKIMVectorRFC6376(t *testing.T) {
	const key = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" +
		"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi" +
		"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
	msg, err := os.ReadFile("testdata/dkim/rfc6376-a2.eml")
	if err != nil {
		t.Fatal(err)
	}
	keys := &fakeKeys{txt: map[string][]string{"brisbane._domainkey.example.com": {key}}}
	f := verifyBytes(t, keys, msg, dkimNow)
	if f.Result != "pass" || f.Signatures[0].Identity != "joe@football.example.com" || f.Signatures[0].KeyBits != 1024 {
		t.Errorf("%+v", f)
	}
	if f := verifyBytes(t, keys, []byte(strings.Replace(string(msg), "dinner", "Dinner", 1)), dkimNow); f.Result != "fail" {
		t.Errorf("changed: %+v", f)
	}
}

func TestDKIMVectorRFC8463(t *testing.T) {
	keys := readDKIMZone(t, "testdata/dkim/zones/mailauth.json")
	msg, err := os.ReadFile("testdata/dkim/mails/mailauth-001.eml")
	if err != nil {
		t.Fatal(err)
	}
	f := verifyBytes(t, keys, msg, dkimNow)
	var got []string
	for _, s := range f.Signatures {
		got = append(got, s.Algorithm+" "+s.Result)
	}
	if want := []string{"ed25519-sha256 pass", "rsa-sha256 pass"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if want := []string{"football.example.com"}; !slices.Equal(f.Domains, want) {
		t.Errorf("domains %v", f.Domains)
	}
}

// TestA10_A14_DKIMTags: what a signature says, and what becomes of it.
func TestA10_A14_DKIMTags(t *testing.T) {
	now := dkimNow.Unix()
	at := func(offset int64) string { return fmt.Sprint(now + offset) }
	for _, c := range []struct{ name, tags, want, reason string }{
		{"as it should be", dkimTags, "pass", ""},
		{"A-10 body length", withTag("l", "12"), "policy", "length"},
		{"A-10 no length", withTag("l", "x"), "permerror", "l="},
		{"A-11 without From", withTag("h", "To:Subject"), "permerror", "From"},
		{"A-11 from in lower case", withTag("h", "from : to : subject"), "pass", ""},
		{"A-11 oversigned", withTag("h", "From:From:To"), "pass", ""},
		{"A-11 blank in a name", withTag("h", "From:To Subject"), "permerror", "h="},
		{"A-11 empty name", withTag("h", "From::To"), "permerror", "h="},
		{"A-12 rsa-sha1", withTag("a", "rsa-sha1"), "permerror", "rsa-sha1"},
		{"A-13 made now", withTag("t", at(0)), "pass", ""},
		{"A-13 clocks differ", withTag("t", at(300)), "pass", ""},
		{"A-13 future", withTag("t", at(301)), "fail", "future"},
		{"A-13 no time", withTag("t", "soon"), "permerror", "t="},
		{"A-13 negative time", withTag("t", "-5"), "permerror", "t="},
		{"A-13 expires now", withTag("x", at(0)), "pass", ""},
		{"A-13 expired", withTag("x", at(-1)), "fail", "expired"},
		{"A-13 expires at once", withTag("t", at(-9)) + "; x=" + at(-9), "permerror", "expires before"},
		{"A-14 no version", strings.Replace(dkimTags, "v=1; ", "", 1), "permerror", "no v="},
		{"A-14 version 2", withTag("v", "2"), "permerror", "version"},
		{"A-14 twice", dkimTags + "; d=example.org", "permerror", "twice"},
		{"A-14 unknown twice", dkimTags + "; zz=1; zz=1", "permerror", "twice"},
		{"A-14 unknown once", dkimTags + "; zz=a b", "pass", ""},
		{"A-14 tag names have case", dkimTags + "; D=other.example", "pass", ""},
		{"A-14 empty tag", dkimTags + ";;zz=1", "permerror", "syntax"},
		{"A-14 no value sign", dkimTags + "; zz", "permerror", "syntax"},
		{"A-14 bad name", dkimTags + "; z-z=1", "permerror", "syntax"},
		{"A-14 algorithm", withTag("a", "rsa-md5"), "permerror", "algorithm"},
		{"A-14 canonicalization", withTag("c", "relaxed/nowsp"), "permerror", "canon"},
		{"A-14 half a canonicalization", withTag("c", "relaxed/"), "permerror", "canon"},
		{"A-14 header form alone", withTag("c", "relaxed"), "pass", ""},
		{"A-14 forms left out", strings.Replace(dkimTags, "c=relaxed/relaxed; ", "", 1), "pass", ""},
		{"A-14 query", withTag("q", "http : dns/txt"), "pass", ""},
		{"A-14 other query", withTag("q", "http"), "permerror", "query"},
		{"A-16 domain in capitals", withTag("d", "EXAMPLE.org"), "pass", ""},
		{"A-16 identity in capitals", withTag("i", "Ann@Sub.EXAMPLE.ORG"), "pass", ""},
		{"A-16 quoted identity", withTag("i", "a=3Bb@example.org"), "pass", ""},
		{"A-16 identity elsewhere", withTag("i", "ann@notexample.org"), "permerror", "i="},
		{"A-16 identity above", withTag("i", "ann@org"), "permerror", "i="},
		{"A-16 no identity", withTag("i", "example.org"), "permerror", "i="},
	} {
		f := verifyBytes(t, dkimKeys(), []byte(signAs(dkimMail, c.tags)), dkimNow)
		if f.Result != c.want || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, f.Result, f.Reason, c.want, c.reason)
		}
	}
}

// TestA14_DNSIsAskedOnlyForKeys: no name that the sender shaped reaches the DNS.
func TestA14_DNSIsAskedOnlyForKeys(t *testing.T) {
	long := strings.Repeat("a234567890.", 22)
	for _, tags := range []string{
		withTag("s", "s\x00x"), withTag("d", "example.org\x00.evil.example"), withTag("s", "a b"), withTag("d", "exam ple.org"),
		withTag("s", "s.\r\n x"), withTag("s", ""), withTag("d", ""), withTag("s", "."), withTag("d", ".example.org"), withTag("d", "example.org."),
		withTag("s", "a..b"), withTag("d", "[192.0.2.1]"), withTag("s", "*"), withTag("d", "ex/ample.org"), withTag("s", "s\x01"),
		withTag("s", "\xff"), withTag("s", strings.Repeat("a", 64)), withTag("d", long+"org"), withTag("s", "a@b"), withTag("s", "s?"),
	} {
		keys := dkimKeys()
		f := verifyBytes(t, keys, []byte(signAs(dkimMail, tags)), dkimNow)
		if f.Result != "permerror" || len(keys.asked) != 0 {
			t.Errorf("%q: %s (%s), asked %q", tags, f.Result, f.Reason, keys.asked)
		}
	}
	numbers := dkimKeys("2026._domainkey.example.org", dkimRecord())
	if f := verifyBytes(t, numbers, []byte(signAs(dkimMail, withTag("s", "2026"))), dkimNow); f.Result != "pass" {
		t.Errorf("a number as selector: %+v", f)
	}
	keys := dkimKeys("xn--bcher-kva.a.b._domainkey.xn--bcher-kva.example", dkimRecord())
	f := verifyBytes(t, keys, []byte(signAs(dkimMail, strings.Replace(withTag("d", "Bücher.example"), "s=s", "s=Bücher.A.b", 1))), dkimNow)
	if f.Result != "pass" || f.Signatures[0].Domain != "xn--bcher-kva.example" { // RFC 8616 4
		t.Errorf("U-labels: %+v, asked %q", f, keys.asked)
	}
}

// TestA12_DKIMKeys: what a key record says, and what becomes of the signature.
func TestA12_DKIMKeys(t *testing.T) {
	p := strings.TrimPrefix(dkimRecord(), "v=DKIM1; k=ed25519; ")
	for _, c := range []struct{ record, tags, want, reason string }{
		{dkimRecord(), dkimTags, "pass", ""},
		{"k=ed25519; " + p, dkimTags, "pass", ""},
		{" v = DKIM1 ; k = ed25519; n=a note=; zz=1; " + p + " ; ", dkimTags, "pass", ""},
		{"k=ed25519; v=DKIM1; " + p, dkimTags, "permerror", "version"},
		{"v=DKIM2; k=ed25519; " + p, dkimTags, "permerror", "version"},
		{"v=DKIM1; k=rsa; " + p, dkimTags, "permerror", "cannot be read"},
		{"v=DKIM1; k=ed448; " + p, dkimTags, "permerror", "type"},
		{"v=DKIM1; k=ed25519; p=", dkimTags, "permerror", "revoked"},
		{"v=DKIM1; k=ed25519", dkimTags, "permerror", "without"},
		{"v=DKIM1; k=ed25519; p=AAAA", dkimTags, "permerror", "size"},
		{"v=DKIM1; k=ed25519; " + p + "; " + p, dkimTags, "permerror", "twice"},
		{"v=DKIM1; k=ed25519; h=sha1; " + p, dkimTags, "permerror", "sha256"},
		{"v=DKIM1; k=ed25519; h=sha1 : sha256; " + p, dkimTags, "pass", ""},
		{"v=DKIM1; k=ed25519; s=tlsrpt; " + p, dkimTags, "permerror", "e-mail"},
		{"v=DKIM1; k=ed25519; s=x:*; " + p, dkimTags, "pass", ""},
		{"v=DKIM1; k=ed25519; s=email; " + p, dkimTags, "pass", ""},
		{"v=DKIM1; k=ed25519; t=s; " + p, dkimTags, "pass", ""},
		{"v=DKIM1; k=ed25519; t=y:s; " + p, withTag("i", "@Example.ORG"), "pass", ""},
		{"v=DKIM1; k=ed25519; t=y : s; " + p, withTag("i", "@sub.example.org"), "fail", "subdomain"},
		{"v=DKIM1; k=ed25519; n=" + strings.Repeat("x", maxKeyText) + "; " + p, dkimTags, "policy", "too long"},
		{"", dkimTags, "permerror", "without"},
		{"hello", dkimTags, "permerror", "syntax"},
	} {
		keys := &fakeKeys{txt: map[string][]string{"s._domainkey.example.org": {c.record}}}
		f := verifyBytes(t, keys, []byte(signAs(dkimMail, c.tags)), dkimNow)
		if f.Result != c.want || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%.60q: %s (%s), want %s (%s)", c.record, f.Result, f.Reason, c.want, c.reason)
		}
		if got, want := f.Signatures[0].Testing, strings.Contains(c.record, "t=y"); got != want {
			t.Errorf("%q: testing %v", c.record, got)
		}
	}
	keys := dkimKeys("s._domainkey.example.org", "v=spf1 -all")
	if f := verifyBytes(t, keys, []byte(signAs(dkimMail, dkimTags)), dkimNow); f.Result != "permerror" {
		t.Errorf("two records: %+v", f)
	}
	keys = &fakeKeys{broken: map[string]bool{"s._domainkey.example.org": true}}
	if f := verifyBytes(t, keys, []byte(signAs(dkimMail, dkimTags)), dkimNow); f.Result != "temperror" {
		t.Errorf("no answer: %+v", f)
	}
	if f := verifyBytes(t, keys, []byte(signAs(dkimMail, dkimTags)+"more\r\n"), dkimNow); f.Result != "fail" {
		t.Errorf("changed, and no answer: %+v", f)
	}
}

// TestA11_AddedFields: what is put on top of a signed message.
func TestA11_AddedFields(t *testing.T) {
	signed := signAs(dkimMail, dkimTags)
	f := verifyBytes(t, dkimKeys(), []byte("Subject: another\r\n"+signed), dkimNow)
	if s := f.Signatures[0]; f.Result != "pass" || !slices.Equal(s.Extra, []string{"subject"}) || s.Oversigned {
		t.Errorf("Subject on top: %+v", f)
	}
	over := signAs(dkimMail, withTag("h", "From:To:From:Subject"))
	if f := verifyBytes(t, dkimKeys(), []byte(over), dkimNow); f.Result != "pass" || !f.Signatures[0].Oversigned {
		t.Errorf("oversigned: %+v", f)
	}
	if f := verifyBytes(t, dkimKeys(), []byte("from: eve@evil.example\r\n"+over), dkimNow); f.Result != "fail" {
		t.Errorf("From on top of oversigned: %+v", f)
	}
	// A signature may cover others, never itself (RFC 6376 3.7).
	twice := signAs(signAs(dkimMail, dkimTags), withTag("h", "From:DKIM-Signature:DKIM-Signature"))
	if f := verifyBytes(t, dkimKeys(), []byte(twice), dkimNow); f.Signatures[0].Result != "pass" || f.Signatures[1].Result != "pass" {
		t.Errorf("signed signature: %+v", f)
	}
}

// TestA04_MalformedHeaderNeverPasses: lines that readers read in several ways.
func TestA04_MalformedHeaderNeverPasses(t *testing.T) {
	signed := signAs(dkimMail, dkimTags)
	for name, msg := range map[string]string{
		"garbage":       strings.Replace(signed, "To: bob", "garbage line\r\nTo: bob", 1),
		"blank first":   " \r\n" + signed,
		"blank within":  strings.Replace(signed, "hello\r\n", "hello\r\n \t\r\n", 1),
		"8-bit name":    strings.Replace(signed, "To: bob", "T\xf6: x\r\nTo: bob", 1),
		"NUL in a name": strings.Replace(signed, "To: bob", "T\x00: x\r\nTo: bob", 1),
		"empty name":    strings.Replace(signed, "To: bob", ": x\r\nTo: bob", 1),
		"bare CR":       strings.Replace(signed, "To: bob", "X: x\rFrom: eve@evil.example\r\nTo: bob", 1),
		"too large":     strings.Replace(signed, "To: bob", "X: "+strings.Repeat("x", 65<<10)+"\r\nTo: bob", 1),
		"too many":      strings.Repeat("X: x\r\n", 1000) + signed,
	} {
		keys := dkimKeys()
		f := verifyBytes(t, keys, []byte(msg), dkimNow)
		if f.Result != "policy" && name != "too many" || f.Result == "pass" || f.Reason == "" && f.Result != "none" || len(keys.asked) != 0 {
			t.Errorf("%s: %s (%s), asked %q", name, f.Result, f.Reason, keys.asked)
		}
	}
}

// TestA15_ManySignatures: the work is bounded, and what DMARC may count comes first.
func TestA15_ManySignatures(t *testing.T) {
	signed := signAs(dkimMail, dkimTags)
	var many strings.Builder
	for i := range 900 {
		fmt.Fprintf(&many, "DKIM-Signature: v=1; a=rsa-sha256; d=x%d.example; s=s; h=From; bh=AAAA; b=AAAA\r\n", i)
	}
	keys := dkimKeys()
	f := verifyBytes(t, keys, []byte(many.String()+signed), dkimNow)
	if f.Result != "pass" || len(keys.asked) != 5 || f.Count != 901 || len(f.Signatures) != maxListed {
		t.Errorf("%s (%s), %d questions, %d counted, %d listed", f.Result, f.Reason, len(keys.asked), f.Count, len(f.Signatures))
	}
	f = verifyBytes(t, keys, []byte(many.String()+dkimMail), dkimNow)
	if f.Result != "policy" || f.Reason != "too many signatures" {
		t.Errorf("%s (%s)", f.Result, f.Reason)
	}
	names := "From" + strings.Repeat(":X", 20000)
	f = verifyBytes(t, keys, []byte(signAs(strings.Repeat("X: x\r\n", 900)+dkimMail, withTag("h", names))), dkimNow)
	if f.Result != "policy" || f.Reason != "h= is too long" {
		t.Errorf("long h=: %s (%s)", f.Result, f.Reason)
	}
	for n, want := range map[int]string{99: "pass", 100: "policy"} { // behind From
		f = verifyBytes(t, keys, []byte(signAs(dkimMail, withTag("h", "From"+strings.Repeat(":X", n)))), dkimNow)
		if f.Result != want || len(f.Signatures[0].Signed) != 100 {
			t.Errorf("%d more names: %s (%s)", n, f.Result, f.Reason)
		}
	}
}

// TestA17_Replay: what rules can know of a replayed message.
func TestA17_Replay(t *testing.T) {
	one := signAs(dkimMail, withTag("t", fmt.Sprint(dkimNow.Unix()-86400)))
	f := verifyBytes(t, dkimKeys(), []byte(one), dkimNow)
	s := f.Signatures[0]
	if s.Age != 86400 || s.SignedAt != int(dkimNow.Unix()-86400) || len(s.ID) != 16 || len(s.B) != 8 {
		t.Errorf("%+v", s)
	}
	again := verifyBytes(t, dkimKeys(), []byte("Received: x\r\n"+one), dkimNow)
	other := verifyBytes(t, dkimKeys(), []byte(signAs(dkimMail, dkimTags)), dkimNow)
	if again.Signatures[0].ID != s.ID || other.Signatures[0].ID == s.ID || other.Signatures[0].Age != -1 {
		t.Errorf("ids %s %s %s", s.ID, again.Signatures[0].ID, other.Signatures[0].ID)
	}
}

// TestDKIMFactsSurviveJSON and carry what Authentication-Results needs.
func TestDKIMFactsSurviveJSON(t *testing.T) {
	f := verifyBytes(t, dkimKeys(), []byte(signAs(dkimMail, withTag("i", "ann@example.org"))), dkimNow)
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back DKIMFacts
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(f, back) {
		t.Errorf("%v: %s", err, text)
	}
	got := f.AuthResults()
	want := []mail.AuthResult{{Method: "dkim", Result: "pass", Props: []mail.AuthProp{
		{Type: "header", Name: "d", Value: "example.org"}, {Type: "header", Name: "i", Value: "ann@example.org"},
		{Type: "header", Name: "s", Value: "s"}, {Type: "header", Name: "a", Value: "ed25519-sha256"},
		{Type: "header", Name: "b", Value: f.Signatures[0].B}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := (DKIMFacts{Result: "none"}).AuthResults(); !reflect.DeepEqual(got, []mail.AuthResult{{Method: "dkim", Result: "none"}}) {
		t.Errorf("%+v", got)
	}
}

// TestDKIMWhileTheMessageArrives: any block size, keys asked for before the end, and nothing
// left behind when the upload breaks or the transaction is cancelled.
func TestDKIMWhileTheMessageArrives(t *testing.T) {
	defer goleak.VerifyNone(t)
	msg := signAs(dkimMail+"a  b \r\n\r\n\r\n", dkimTags)
	for _, size := range []int{1, 2, 3, 7, 100, 10000} {
		body := mail.NewSpool(t.TempDir(), 0, 0).New()
		go func() {
			for rest := msg; rest != ""; {
				n := min(size, len(rest))
				body.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			body.Finish(nil)
		}()
		if f, err := gatherDKIM(context.Background(), dkimKeys(), body, dkimNow); err != nil || f.Result != "pass" {
			t.Errorf("blocks of %d: %+v, %v", size, f, err)
		}
		body.Close()
	}

	body := mail.NewSpool(t.TempDir(), 0, 0).New()
	defer body.Close()
	body.Write([]byte(msg))
	broken := errors.New("cut")
	time.AfterFunc(time.Millisecond, func() { body.Finish(broken) })
	if f, err := gatherDKIM(context.Background(), &fakeKeys{stuck: true}, body, dkimNow); !errors.Is(err, broken) {
		t.Errorf("cut: %+v, %v", f, err)
	}

	whole := mail.BodyOf([]byte(msg))
	defer whole.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(time.Millisecond, func() { cancel(broken) })
	if f, err := gatherDKIM(ctx, &fakeKeys{stuck: true}, whole, dkimNow); !errors.Is(err, broken) {
		t.Errorf("cancelled: %+v, %v", f, err)
	}
}

// panickingKeys stands for any bug behind a key look-up while the body is still arriving.
type panickingKeys struct {
	Resolver
	body *mail.Body
}

func (p panickingKeys) TXT(context.Context, string) ([]string, error) {
	p.body.Finish(nil)
	panic("bug")
}

func TestDKIMPanicIsAnError(t *testing.T) {
	body := mail.NewSpool(t.TempDir(), 0, 0).New()
	defer body.Close()
	body.Write([]byte(signAs(dkimMail, dkimTags)))
	if f, err := gatherDKIM(context.Background(), panickingKeys{body: body}, body, dkimNow); err == nil || !strings.Contains(err.Error(), "bug") {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestRecordCacheIsBounded(t *testing.T) {
	c := recordCache[dkimKey]{parse: parseKey}
	for i := range 3 * maxCachedRecords {
		c.get(fmt.Sprintf("p=; n=%d", i))
	}
	if n := len(c.parsed); n > maxCachedRecords {
		t.Errorf("%d records", n)
	}
	if first := c.get(dkimRecord()); c.get(dkimRecord()) != first {
		t.Error("a key is parsed twice")
	}
	long := "p=; n=" + strings.Repeat("x", maxCachedText)
	if first := c.get(long); c.get(long) == first {
		t.Error("a long text is kept")
	}
}
