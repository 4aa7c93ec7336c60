package hostiletest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
)

// payloads are texts that break out of where they are put when nobody takes care.
var payloads = []string{
	`<script>{J}</script>`,
	`"><img src={U} onerror="{J}">`,
	`' onfocus='{J}' autofocus='`,
	`</title></textarea></style></script><svg onload="{J}">`,
	"\u202egpj.exe\u2066 \u200b\ufeff\u2028",
	"a\x00b\x1b]0;x\x07\x1b[2J\x7f\u0085",
	`{{.}}{{printf "%s" .}}${7*7}#{7*7}<%= 7*7 %>`,
	`javascript:{J}//http://{H}/`,
	`<a href={U}>bank</a><meta http-equiv=refresh content=0;url={U}>`,
	"\xff\xfe<\xc0\xbcscript>{J}</script>",
}

// fields are places in a message that a sender fills. %s is where the payload goes.
var fields = []string{
	"Subject: %s",
	"From: \"%s\" <a@hostile.example>",
	"From: <\"%s\"@hostile.example>",
	"Reply-To: %s <b@hostile.example>",
	"To: =?utf-8?b?%b?= <c@example.org>",
	"Message-ID: <%s@hostile.example>",
	"Received: from %s (%s [192.0.2.1]) by mx.example.org with ESMTPS (%s) id %s for <b@example.org>; Mon, 02 Nov 2026 10:00:00 +0000",
	"X-%s: value",
	"List-Id: %s <x.hostile.example>",
	"Date: %s",
	"Content-Type: text/plain; charset=\"%s\"",
	"Content-Type: text/html; name=\"%s\"\r\nContent-Disposition: attachment; filename=\"%s\"",
	"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''%p",
	"Content-Type: application/octet-stream; name=\"=?utf-8?b?%b?=\"",
	"Content-Type: \"%s\"/x; boundary=\"%s\"",
	"Content-Disposition: %s; filename=x",
	"Content-Type: image/png\r\nContent-ID: <%s>",
	"Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=%s",
	"Subject: =?%s?q?x?=",
}

// fieldMail puts a payload into one place.
func fieldMail(name, field, payload string) string {
	line := strings.NewReplacer("%s", payload, "%b", base64.StdEncoding.EncodeToString([]byte(payload)), "%p", percent(payload)).Replace(field)
	msg := fmt.Sprintf(head, name, name)
	if i := strings.IndexByte(field, ':'); i > 0 {
		var kept []string
		for _, l := range strings.SplitAfter(msg, "\r\n") {
			if !strings.HasPrefix(l, field[:i+1]) {
				kept = append(kept, l)
			}
		}
		msg = strings.Join(kept, "")
	}
	return msg + line + "\r\n\r\n" + payload + "\r\n"
}

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// encoded is HTML that the encodings below wrap up.
var encoded = []string{
	`<script>{J}</script><img src="{U}">`,
	`<img src=x onerror="{J}"><a href="javascript:{J}">x</a><style>@import "{U}";</style>`,
	`<meta http-equiv=refresh content="0;url={U}"><iframe srcdoc="<script>{J}</script>"></iframe>`,
}

// encodings say in what charset and transfer encoding HTML comes.
var encodings = []func(name, html string) string{
	encodedMail("utf-7", "7bit", func(s string) string {
		return strings.NewReplacer("<", "+ADw-", ">", "+AD4-", `"`, "+ACI-").Replace(s)
	}),
	encodedMail("utf-8", "base64", func(s string) string { return b64("+ADw-script+AD4-" + s) }),
	encodedMail("utf-16", "base64", func(s string) string { return b64("\xff\xfe" + utf16le(s)) }),
	encodedMail("utf-16le", "base64", func(s string) string { return b64(utf16le(s)) }),
	encodedMail("utf-16be", "base64", func(s string) string { return b64(swap(utf16le(s))) }),
	encodedMail("us-ascii", "base64", func(s string) string { return b64("\xff\xfe" + utf16le(s)) }),
	encodedMail("iso-2022-jp", "7bit", func(s string) string { return "\x1b$B<%\x1b(B" + s + "\x1b$B\"\x1b(J<script>" }),
	encodedMail("hz-gb-2312", "7bit", func(s string) string { return "~{<img ~}" + s }),
	encodedMail("gb18030", "8bit", func(s string) string { return "\x81\x30\x81<" + s + "\x81\"" }),
	encodedMail("shift_jis", "8bit", func(s string) string { return "<img alt=\"\x81\">" + s }),
	encodedMail("big5", "8bit", func(s string) string { return "<a title=\"\xa3\">" + s }),
	encodedMail("x-user-defined", "8bit", func(s string) string { return strings.ReplaceAll(s, "<", "\xf3\xbc") + s }),
	encodedMail("utf-8", "8bit", func(s string) string { return strings.ReplaceAll(s, "<", "\xc0\xbc") + s }),
	encodedMail("unknown\\\"><script>", "8bit", func(s string) string { return s }),
	encodedMail("utf-8", "quoted-printable", func(s string) string { return strings.NewReplacer("=", "=3D", "<", "=3C", "s", "=73=\r\n").Replace(s) }),
	encodedMail("utf-8", "quoted-printable\r\nContent-Transfer-Encoding: base64", b64),
	encodedMail("utf-8", "x-uuencode", func(s string) string { return "begin 644 x.html\r\n" + s + "\r\nend" }),
	encodedMail("utf-8", "8bit", func(s string) string { return "\xef\xbb\xbf<meta charset=utf-7>+ADw-script+AD4-" + s }),
	encodedMail("ebcdic-cp-us", "8bit", func(s string) string { return s }),
	encodedMail("", "8bit", func(s string) string { return "<meta http-equiv=content-type content='text/html; charset=utf-16'>" + s }),
}

func encodedMail(charset, cte string, enc func(string) string) func(name, html string) string {
	return func(name, html string) string {
		typ := "text/html"
		if charset != "" {
			typ += "; charset=\"" + charset + "\""
		}
		return fmt.Sprintf(head, name, name) + "Content-Type: " + typ + "\r\nContent-Transfer-Encoding: " + cte + "\r\n\r\n" + enc(html) + "\r\n"
	}
}

func b64(s string) string {
	e := base64.StdEncoding.EncodeToString([]byte(s))
	var b strings.Builder
	for len(e) > 76 {
		b.WriteString(e[:76] + "\r\n")
		e = e[76:]
	}
	return b.String() + e
}

func utf16le(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteString(string([]byte{byte(u), byte(u >> 8)}))
	}
	return b.String()
}

func swap(s string) string {
	p := []byte(s)
	for i := 0; i+1 < len(p); i += 2 {
		p[i], p[i+1] = p[i+1], p[i]
	}
	return string(p)
}

// structures hide live content in the form of the message.
var structures = []string{
	"From: a@hostile.example\r\nSubject: related\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n<img src=cid:svg><img src=\"cid:html\"><object data=cid:html></object>\r\n" +
		"--B\r\nContent-Type: image/svg+xml\r\nContent-ID: <svg>\r\n\r\n<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"{J}\"><image href=\"{U}\"/><script>{J}</script></svg>\r\n" +
		"--B\r\nContent-Type: image/png\r\nContent-ID: <html>\r\n\r\n<script>{J}</script>\r\n--B--\r\n",
	"From: a@hostile.example\r\nSubject: two htmls\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n<a title=\"\r\n--B\r\nContent-Type: text/html\r\n\r\n\"><script>{J}</script>\r\n--B--\r\n",
	"From: a@hostile.example\r\nSubject: comment over parts\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n<!--\r\n--B\r\nContent-Type: text/html\r\n\r\n--><img src={U} onerror=\"{J}\">\r\n--B--\r\n",
	"From: a@hostile.example\r\nSubject: inner\r\nContent-Type: message/rfc822\r\n\r\nFrom: b@hostile.example\r\nSubject: <script>{J}</script>\r\nContent-Type: text/html\r\n\r\n<script>{J}</script><img src={U}>\r\n",
	"From: a@hostile.example\r\nSubject: xhtml\r\nContent-Type: application/xhtml+xml\r\n\r\n<html xmlns=\"http://www.w3.org/1999/xhtml\"><script>{J}</script></html>\r\n",
	"From: a@hostile.example\r\nSubject: plain\r\nContent-Type: text/plain\r\n\r\n<script>{J}</script><img src={U}> http://{H}/x javascript:{J}\r\n",
	"From: a@hostile.example\r\nSubject: enriched\r\nContent-Type: text/enriched\r\n\r\n<script>{J}</script><param>{U}</param>\r\n",
	"From: a@hostile.example\r\nSubject: external\r\nContent-Type: message/external-body; access-type=URL; URL=\"{U}\"\r\n\r\nContent-Type: text/html\r\n\r\n",
	"From: a@hostile.example\r\nSubject: location\r\nContent-Type: multipart/related; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\nContent-Base: {U}\r\nContent-Location: {U}\r\n\r\n<img src=a.gif><script src=b.js></script>\r\n--B--\r\n",
	"From: a@hostile.example\r\nSubject: partial\r\nContent-Type: text/html\r\n\r\n<script>{J}",
	"From: a@hostile.example\r\nSubject: no end\r\nContent-Type: text/html\r\n\r\n<img src={U} alt=\"",
	"From: a@hostile.example\r\nSubject: ends in a tag\r\nContent-Type: text/html\r\n\r\n<p>x<",
	"From: a@hostile.example\r\nSubject: calendar\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nSUMMARY:<script>{J}</script>\r\nATTACH:{U}\r\nEND:VCALENDAR\r\n",
}

// Payload gives one of the texts that break out of where they are put, for places that are no part
// of a message: names of rules, reasons, who did something.
func Payload(i int) string {
	return fill(payloads[i%len(payloads)], fmt.Sprintf("place-%d", i))
}
