package gateway

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"golang.org/x/text/encoding/ianaindex"

	"postern/filters"
	"postern/mail"
)

// A textPart is a text part while something is put into it.
type textPart struct {
	*filters.Section
	head    *mail.Header
	raw     []byte // as received
	cte     string // what it is encoded with
	text    []byte // decoded
	from    int    // where in text top goes
	top     []byte // in the charset of the part
	bottom  []byte
	charset string // a new one; "" when it stays

	newType, newCTE string // fields in the place of the part's own
}

func (x *textPart) decode() (problem string) {
	var err error
	switch x.cte {
	case "", "7bit", "8bit", "binary":
		x.text = x.raw
	case "quoted-printable":
		x.text, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(x.raw)))
	case "base64":
		x.text, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(x.raw)))
	default:
		return fmt.Sprintf("the text is encoded in a way of its own (%s)", mail.Printable(x.cte, 40))
	}
	if err != nil {
		return "the text is not well encoded"
	}
	return ""
}

// insert makes what is put in, in the charset of the part.
func (x *textPart) insert(top, bottom []string) (problem string) {
	var above, below string
	if x.Type == "text/html" {
		x.from = len(x.text) - len(afterDoctype(x.text))
		for _, s := range top {
			above += htmlBlock(s, "border:1px solid #999;background:#fff8dc;color:#000;padding:6px;margin:0 0 12px 0")
		}
		for _, s := range bottom {
			below += htmlBlock(s, "color:#555;font-size:smaller;margin:12px 0 0 0")
		}
	} else {
		x.from = len(x.text) - len(bytes.TrimPrefix(x.text, []byte("\ufeff")))
		for _, s := range top {
			above += textBlock(s) + "\r\n"
		}
		if len(bottom) > 0 && len(x.text) > 0 && !bytes.HasSuffix(x.text, crlf) {
			below = "\r\n"
		}
		for _, s := range bottom {
			below += "\r\n" + textBlock(s)
		}
	}
	if charset := strings.Trim(x.Charset, " \"'"); noASCII(charset) {
		return "the text is in " + mail.Printable(charset, 20)
	}
	if x.fits(above, below) || x.toUTF8() && x.fits(above, below) {
		return ""
	}
	return fmt.Sprintf("it cannot be written in %s", mail.Printable(cmp.Or(x.Charset, "a charset that is not named"), 40))
}

// noASCII reports a charset in which ASCII does not read as such, and that nothing here can write.
func noASCII(charset string) bool {
	for _, family := range []string{"utf-16", "utf16", "utf-32", "utf32", "utf-7", "utf7", "ucs", "unicode", "ebcdic"} {
		if strings.Contains(charset, family) {
			return true
		}
	}
	enc, err := ianaindex.MIME.Encoding(charset)
	return (err != nil || enc == nil) && (strings.HasPrefix(charset, "ibm") || strings.HasPrefix(charset, "cp"))
}

// fits writes what is put in in the charset of the text, if it can be.
func (x *textPart) fits(above, below string) (ok bool) {
	if x.top, ok = x.inCharset(above); ok {
		x.bottom, ok = x.inCharset(below)
	}
	return ok
}

// inCharset writes s in the charset of the text.
func (x *textPart) inCharset(s string) ([]byte, bool) {
	switch cmp.Or(x.charset, x.Charset) {
	case "utf-8", "utf8":
		return []byte(s), true
	case "", "us-ascii", "ascii":
		return []byte(s), isASCII(s)
	}
	enc, err := ianaindex.MIME.Encoding(x.Charset)
	if err != nil || enc == nil {
		return []byte(s), isASCII(s)
	}
	out, err := enc.NewEncoder().String(s)
	if err == nil && strings.ContainsRune(out, 0x1b) { // it changes the meaning of what follows
		return nil, false
	}
	return []byte(out), err == nil
}

// toUTF8 turns the text into UTF-8, if nothing is lost by that.
func (x *textPart) toUTF8() bool {
	switch x.Charset {
	case "", "us-ascii", "ascii":
		if !isASCII(string(x.text)) {
			return false
		}
	default:
		enc, err := ianaindex.MIME.Encoding(x.Charset)
		if err != nil || enc == nil {
			return false
		}
		text, err := enc.NewDecoder().Bytes(x.text)
		if err != nil {
			return false
		}
		if back, err := enc.NewEncoder().Bytes(text); err != nil || !bytes.Equal(back, x.text) {
			return false
		}
		x.text = text
	}
	x.charset = "utf-8"
	return true
}

// fields makes the fields that have to change: bytes beyond ASCII need an encoding that says so.
func (x *textPart) fields() {
	if x.charset != "" {
		params := map[string]string{}
		if f := x.head.Get("Content-Type"); f != nil {
			if _, p, err := mime.ParseMediaType(f.Value()); err == nil {
				params = p
			}
		}
		params["charset"] = x.charset
		value := cmp.Or(mime.FormatMediaType(x.Type, params), x.Type+"; charset="+x.charset)
		x.newType = "Content-Type: " + strings.ReplaceAll(value, "; ", ";\r\n\t") + "\r\n"
	}
	wide := x.charset != "" || !isASCII(string(x.top)) || !isASCII(string(x.bottom))
	if wide && (x.cte == "" || x.cte == "7bit") {
		x.newCTE = "Content-Transfer-Encoding: quoted-printable\r\n"
	}
}

// encode gives the new body. What came in quoted-printable and stays in its charset stays as it
// came around what is put in.
func (x *textPart) encode() []byte {
	whole := func() []byte {
		return bytes.Join([][]byte{x.text[:x.from], x.top, x.text[x.from:], x.bottom}, nil)
	}
	switch {
	case x.newCTE != "":
		return appendQP(nil, whole())
	case x.cte == "quoted-printable" && x.from == 0 && x.charset == "":
		out := appendQP(nil, x.top)
		out = append(out, x.raw...)
		return appendQP(out, x.bottom)
	case x.cte == "quoted-printable":
		return appendQP(nil, whole())
	case x.cte == "base64":
		return appendBase64(nil, whole())
	}
	return whole()
}

// appendBase64 appends text in base64 lines of 76 characters (RFC 2045 6.8).
func appendBase64(b, text []byte) []byte {
	const line = 57
	for len(text) > 0 {
		n := min(line, len(text))
		b = base64.StdEncoding.AppendEncode(b, text[:n])
		if text = text[n:]; len(text) > 0 {
			b = append(b, '\r', '\n')
		}
	}
	return b
}

// textBlock folds a text to lines. None begins with a hyphen: what a sender wrote in it cannot be
// the delimiter of a part.
func textBlock(s string) string {
	const width = 72
	var b strings.Builder
	col := 0
	for _, word := range strings.Fields(s) {
		switch {
		case col == 0:
		case col+1+len(word) > width:
			b.WriteString("\r\n")
			col = 0
		default:
			b.WriteByte(' ')
			col++
		}
		if col == 0 && word[0] == '-' {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		col += len(word)
	}
	b.WriteString("\r\n")
	return b.String()
}

// htmlBlock is a paragraph of its own in ASCII, whatever the charset; without a hyphen of the text,
// as above, and folded.
func htmlBlock(s, style string) string {
	var b strings.Builder
	b.WriteString(`<div style="display:block;` + style + `">` + "\r\n")
	for line := range strings.Lines(textBlock(s)) {
		for _, r := range html.EscapeString(strings.TrimSpace(line)) {
			if r >= 0x80 || r == '-' {
				fmt.Fprintf(&b, "&#%d;", r)
			} else {
				b.WriteRune(r)
			}
		}
		b.WriteString("\r\n")
	}
	b.WriteString("</div>\r\n")
	return b.String()
}

// afterDoctype gives what comes behind the document type, before which nothing may stand without
// changing how the rest is shown. Whatever is put at the start and at the end of HTML is part of
// its body, and nothing that a sender wrote can be around it, as around a tag in a comment.
func afterDoctype(text []byte) []byte {
	rest := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n")
	if len(rest) < 9 || !bytes.EqualFold(rest[:9], []byte("<!doctype")) {
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	end := bytes.IndexByte(rest, '>')
	if end < 0 {
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	return rest[end+1:]
}
