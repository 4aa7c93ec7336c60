package filters

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"postern/mail"
)

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
