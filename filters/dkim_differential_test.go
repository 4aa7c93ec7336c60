package filters

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// makeDKIMKey makes a signing key for the differential test and the benchmarks, with its record.
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
