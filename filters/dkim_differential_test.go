package filters

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"postern/mail"
)

// A signing key for the differential test and the benchmarks, with its record.
func makeDKIMKey(t testing.TB, algorithm string) (crypto.Signer, string) {
	if algorithm == "ed25519" {
		return dkimTestKey, dkimRecord()
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// randomDKIMMail makes a message of odd but lawful lines.
func randomDKIMMail(rnd *mrand.Rand) string {
	var b strings.Builder
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	names := []string{"From", "To", "SUBJECT", "subject", "Received", "received", "X-Y", "Date", "List-Id"}
	b.WriteString("From: \"Ann\"  <ann@example.org>\r\n")
	for range rnd.IntN(12) {
		b.WriteString(names[rnd.IntN(len(names))] + pick(":", ": ", ":\t", ":  ", " : "))
		for range rnd.IntN(8) {
			b.WriteString(pick("word", "a@b.example;", "  ", " ", "\t", "\r\n more", "\r\n\tx", "\xe9", ":", "=?utf-8?q?=20?="))
		}
		b.WriteString("end" + pick("", " ", "\t ") + "\r\n")
	}
	b.WriteString("\r\n")
	for range rnd.IntN(30) {
		b.WriteString(pick("text", "text", " ", "  ", "\t", "\r\n", "\r\n", "\r\n\r\n\r\n", " \r\n", "\t \r\n", "\x00\xff", ".", "b=", strings.Repeat("y", 900)))
	}
	return b.String()
}

func randomDKIMKeys(rnd *mrand.Rand) []string {
	if rnd.IntN(4) == 0 {
		return nil
	}
	keys := []string{"From"}
	for range rnd.IntN(8) {
		keys = append(keys, []string{"from", "Subject", "To", "received", "X-Y", "Absent", "list-ID", "Date"}[rnd.IntN(8)])
	}
	return keys
}

// mutateMail changes one byte, or adds or drops one; what the wire would refuse is not made.
func mutateMail(rnd *mrand.Rand, msg []byte) []byte {
	i := rnd.IntN(len(msg))
	out := bytes.Clone(msg)
	c := []byte(" \t:;=aAbB=1\xff,")[rnd.IntN(13)]
	switch rnd.IntN(4) {
	case 0:
		out = append(out[:i], out[i+1:]...)
	case 1:
		out = append(append(out[:i:i], c), msg[i:]...)
	case 2:
		out[i] ^= 1 << rnd.IntN(8)
	default:
		out[i] = c
	}
	rest := bytes.ReplaceAll(out, []byte("\r\n"), nil)
	if bytes.ContainsAny(rest, "\r\n") {
		return msg
	}
	return out
}

// strictness are the reasons for which we refuse what go-msgauth v0.7.0 verifies.
var strictness = []string{
	"a line of the header is no field", "a blank line within a header field", // it skips or keeps them
	"syntax error in the tag list", "too many tags", // RFC 6376 3.2: it takes empty tags and any name
	"h= is no list of field names", "unknown canonicalization", "d= is no domain", "s= is no selector",
	"b= is no base64", "bh= is no base64", "t= is no time", "i= is no identity", "unknown algorithm", "unknown version",
	"signed in the future", // it does not look
}

// TestDKIMAgainstGoMsgauth: what it signs and what becomes of that on the way has the same
// result with both verifiers; we pass nothing that it does not, and where we are stricter, the
// reason is one of the list.
func TestDKIMAgainstGoMsgauth(t *testing.T) {
	rnd := mrand.New(mrand.NewPCG(6376, 8463))
	signers, keys := map[string]crypto.Signer{}, dkimKeys()
	for _, a := range []string{"ed25519", "rsa"} {
		signer, record := makeDKIMKey(t, a)
		signers[a], keys.txt[a+"._domainkey.example.org"] = signer, []string{record}
	}
	theirs := func(name string) ([]string, error) {
		if txt, ok := keys.txt[strings.ToLower(name)]; ok {
			return txt, nil
		}
		return nil, fmt.Errorf("no such name")
	}
	forms := []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed}
	passed, failed, stricter, lenient := 0, 0, 0, 0
	for range 400 {
		o := &msgauth.SignOptions{Domain: "example.org", Selector: "ed25519", HeaderKeys: randomDKIMKeys(rnd),
			HeaderCanonicalization: forms[rnd.IntN(2)], BodyCanonicalization: forms[rnd.IntN(2)]}
		if rnd.IntN(10) == 0 {
			o.Selector = "rsa"
		}
		o.Signer = signers[o.Selector]
		var signed bytes.Buffer
		if err := msgauth.Sign(&signed, strings.NewReader(randomDKIMMail(rnd)), o); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			msg := signed.Bytes()
			if i > 0 {
				msg = mutateMail(rnd, msg)
			}
			their, padding := false, false
			list, err := msgauth.VerifyWithOptions(bytes.NewReader(msg), &msgauth.VerifyOptions{LookupTXT: theirs})
			for _, v := range list {
				their = their || err == nil && v.Err == nil
				padding = padding || v.Err != nil && strings.Contains(v.Err.Error(), "illegal base64")
			}
			ours := verifyBytes(t, keys, msg, time.Now())
			switch pass := ours.Result == "pass"; {
			case pass == their && pass:
				passed++
			case pass == their:
				failed++
			case pass && padding: // RFC 6376 2.10 makes "=" optional, it does not
				lenient++
			case their && ours.Result == "none" && msg[0] <= ' ': // a blank in front: no field at all
				stricter++
			case their && isStrict(ours.Reason, strictness):
				stricter++
			default:
				t.Fatalf("ours %s (%s), theirs pass %v %v:\n%q", ours.Result, ours.Reason, their, err, msg)
			}
			if i == 0 && ours.Result != "pass" {
				t.Fatalf("unchanged: %+v\n%q", ours, msg)
			}
		}
	}
	t.Logf("%d passed, %d failed, %d refused by us alone, %d by it alone", passed, failed, stricter, lenient)
	if passed < 400 || failed < 400 {
		t.Error("the test compares too little")
	}
}

func isStrict(s string, list []string) bool {
	for _, one := range list {
		if s == one {
			return true
		}
	}
	return false
}

// benchDKIMMail is a signed message of about size bytes.
func benchDKIMMail(b *testing.B, algorithm string, size int) ([]byte, *fakeKeys) {
	signer, record := makeDKIMKey(b, algorithm)
	var head, signed bytes.Buffer
	for i := range 14 {
		fmt.Fprintf(&head, "X-Field-%d: some value of usual length;\r\n\tfolded once, as they are\r\n", i)
	}
	head.WriteString("From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: a subject\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@example.org>\r\n\r\n")
	line := "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.\r\n"
	head.WriteString(strings.Repeat(line, max(1, (size-head.Len()-600)/len(line))))
	o := &msgauth.SignOptions{Domain: "example.org", Selector: "s", Signer: signer, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "X-Field-1", "X-Field-2"},
		HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed}
	if err := msgauth.Sign(&signed, &head, o); err != nil {
		b.Fatal(err)
	}
	return signed.Bytes(), &fakeKeys{txt: map[string][]string{"s._domainkey.example.org": {record}}}
}

func BenchmarkDKIM(b *testing.B) {
	for _, c := range []struct {
		algorithm string
		size      int
	}{{"rsa", 4 << 10}, {"ed25519", 4 << 10}, {"rsa", 2 << 20}} {
		msg, keys := benchDKIMMail(b, c.algorithm, c.size)
		name := fmt.Sprintf("%s-%dK", c.algorithm, c.size>>10)
		b.Run("ours-"+name, func(b *testing.B) {
			v := newDKIMVerifier(DKIMConfig{}, quietKeys{keys})
			body := mail.BodyOf(msg) // its header is parsed once, as it is for all filters
			in := &Input{Envelope: mail.Envelope{Received: time.Now()}, Body: body}
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if f, err := v.verify(b.Context(), in); err != nil || f.Result != "pass" {
					b.Fatal(f, err)
				}
			}
		})
		b.Run("go-msgauth-"+name, func(b *testing.B) {
			o := &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return keys.txt[name], nil }}
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if l, err := msgauth.VerifyWithOptions(bytes.NewReader(msg), o); err != nil || l[0].Err != nil {
					b.Fatal(l, err)
				}
			}
		})
	}
}

// quietKeys answers from the same keys without noting the question.
type quietKeys struct{ *fakeKeys }

func (k quietKeys) TXT(_ context.Context, name string) ([]string, error) { return k.txt[name], nil }

// BenchmarkDKIMFloor is what no verifier can go below: the mathematics.
func BenchmarkDKIMFloor(b *testing.B) {
	signer, _ := makeDKIMKey(b, "rsa")
	sum := sha256.Sum256(nil)
	sig, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("rsa-2048", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(signer.Public().(*rsa.PublicKey), crypto.SHA256, sum[:], sig); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) {
		sig := ed25519.Sign(dkimTestKey, sum[:])
		for b.Loop() {
			if !ed25519.Verify(dkimTestKey.Public().(ed25519.PublicKey), sum[:], sig) {
				b.Fatal("no")
			}
		}
	})
	for _, size := range []int{4 << 10, 2 << 20} {
		p := make([]byte, size)
		b.Run(fmt.Sprintf("sha256-%dK", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sum = sha256.Sum256(p)
			}
		})
	}
}

// BenchmarkDKIMHostile: what a sender can make us do (A-15, C-04).
func BenchmarkDKIMHostile(b *testing.B) {
	sig := "DKIM-Signature: v=1; a=ed25519-sha256; d=x%d.example.org; s=s; h=From" + strings.Repeat(":X", 98) + "; bh=AAAA; b=AAAA\r\n"
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, sig, i)
	}
	keys := dkimKeys()
	for i := range 500 {
		keys.txt[fmt.Sprintf("s._domainkey.x%d.example.org", i)] = []string{dkimRecord()}
	}
	cases := map[string]string{"500-signatures-99-names": many.String() + strings.Repeat("X: x\r\n", 490) + dkimMail}
	signed, _, _ := strings.Cut(signAs(dkimMail, dkimTags), "\r\n\r\n")
	for name, unit := range map[string]string{"CRLF": "\r\n", "blanks": " ", "tabs": "a\t", "blank-CRLF": " \r\n", "words": "word and  word\r\n"} {
		cases["8MB-"+name] = signed + "\r\n\r\n" + strings.Repeat(unit, 8<<20/len(unit)) + "x\r\n"
	}
	for name, msg := range cases {
		b.Run(name, func(b *testing.B) {
			v := newDKIMVerifier(DKIMConfig{}, quietKeys{keys})
			in := &Input{Envelope: mail.Envelope{Received: dkimNow}, Body: mail.BodyOf([]byte(msg))}
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.verify(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
