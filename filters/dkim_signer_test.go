package filters

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
)

// The reference: canonical forms and a signer, written from the text of RFC 6376 3.4 and 3.7
// without any regard for speed.

var wspRun = regexp.MustCompile(`[ \t]+`)

func refSimpleBody(b string) string {
	for strings.HasSuffix(b, "\r\n") {
		b = strings.TrimSuffix(b, "\r\n")
	}
	return b + "\r\n"
}

func refRelaxedBody(b string) string {
	lines := strings.Split(b, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(wspRun.ReplaceAllString(l, " "), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// refRelaxedField takes and gives a field with its final CRLF.
func refRelaxedField(f string) string {
	name, value, _ := strings.Cut(f, ":")
	value = wspRun.ReplaceAllString(strings.ReplaceAll(value, "\r\n", ""), " ")
	return strings.ToLower(strings.TrimRight(name, " \t\r\n")) + ":" + strings.Trim(value, " ") + "\r\n"
}

// refFields splits a clean header.
func refFields(header string) (fields []string) {
	for _, l := range strings.SplitAfter(header, "\r\n") {
		if l == "" {
			break
		}
		if l[0] == ' ' || l[0] == '\t' {
			fields[len(fields)-1] += l
		} else {
			fields = append(fields, l)
		}
	}
	return fields
}

// dkimTestKey signs for every selector and domain that the tests use.
var dkimTestKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

func dkimRecord() string {
	return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(dkimTestKey.Public().(ed25519.PublicKey))
}

// signAs puts a signature on top of msg. tags are all tags but bh= and b=; what c= and h= say
// is what is signed, whether or not that is allowed.
func signAs(msg, tags string) string {
	header, body, _ := strings.Cut(msg, "\r\n\r\n")
	header += "\r\n"
	tag := func(name, absent string) string {
		for _, t := range strings.Split(tags, ";") {
			if n, v, _ := strings.Cut(t, "="); strings.TrimSpace(n) == name {
				return strings.TrimSpace(v)
			}
		}
		return absent
	}
	hc, bc, _ := strings.Cut(tag("c", "simple/simple"), "/")
	if bc == "relaxed" {
		body = refRelaxedBody(body)
	} else {
		body = refSimpleBody(body)
	}
	bh := sha256.Sum256([]byte(body))
	sig := "DKIM-Signature: " + tags + "; bh=" + base64.StdEncoding.EncodeToString(bh[:]) + ";\r\n b=\r\n"
	fields := refFields(header)
	slices.Reverse(fields)
	var in strings.Builder
	put := func(f string) {
		if hc == "relaxed" {
			f = refRelaxedField(f)
		}
		in.WriteString(f)
	}
	for _, name := range strings.Split(tag("h", ""), ":") {
		i := slices.IndexFunc(fields, func(f string) bool {
			n, _, _ := strings.Cut(f, ":")
			return strings.EqualFold(strings.TrimSpace(n), strings.TrimSpace(name))
		})
		if i >= 0 {
			put(fields[i])
			fields = slices.Delete(fields, i, i+1)
		}
	}
	put(sig)
	sum := sha256.Sum256([]byte(strings.TrimSuffix(in.String(), "\r\n")))
	b := base64.StdEncoding.EncodeToString(ed25519.Sign(dkimTestKey, sum[:]))
	return strings.TrimSuffix(sig, "\r\n") + b + "\r\n" + msg
}
