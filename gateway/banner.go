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
	"postern/rules"
)

// maxTextPart bounds the text parts that get a banner: they are read into memory.
const maxTextPart = 512 << 10

// insertTexts puts banners and disclaimers into the text of the message: its first text part, and
// all alternatives of that. Where that cannot be done well it is left out, which harms nobody.
func (ed *partEditor) insertTexts(list []rules.Effect) error {
	var top, bottom []string
	var which []*rules.Effect
	for i := range list {
		switch x := &list[i]; {
		case x.Name == bannerEffect && strings.TrimSpace(x.Args[0]) != "":
			top, which = append(top, x.Args[0]), append(which, x)
		case x.Name == disclaimerEffect && strings.TrimSpace(x.Args[0]) != "":
			bottom, which = append(bottom, x.Args[0]), append(which, x)
		}
	}
	if len(which) == 0 {
		return nil
	}
	done, why, err := ed.intoTexts(top, bottom)
	note := "added" + ed.dkimNote()
	switch {
	case err != nil:
		return err
	case !done:
		note = "not added: " + why
	case why != "":
		note = "added, but not to every form of the text: " + why
	}
	for _, x := range which {
		ed.notes[x.String()] = note
	}
	return nil
}

// intoTexts reports whether any text has got them, and why one has not.
func (ed *partEditor) intoTexts(top, bottom []string) (done bool, why string, err error) {
	if ed.o.Doubt != "" {
		return false, "mail programs may divide the message in different ways (" + ed.o.Doubt + ")", nil
	}
	texts, why := ed.texts(0)
	for _, i := range texts {
		problem, err := ed.intoText(i, top, bottom)
		if err != nil {
			return false, "", err
		}
		if done = done || problem == ""; problem != "" {
			why = problem
		}
	}
	return done, why, nil
}

// texts lists the sections that hold the text of section i, or says why there are none.
func (ed *partEditor) texts(i int) (list []int, why string) {
	s := &ed.o.Sections[i]
	switch {
	case ed.gone[i]:
		return nil, "the message has no text"
	case s.Type == "multipart/signed":
		return nil, "the message is signed"
	case s.Type == "multipart/encrypted":
		return nil, "the message is encrypted"
	case strings.HasSuffix(s.Type, "pkcs7-mime"):
		return nil, "the message is signed as a whole, or encrypted"
	case s.Type == "text/plain" || s.Type == "text/html":
		if s.Named || strings.HasPrefix(s.Disposition, "attachment") {
			return nil, "the message has no text but a file"
		}
		return []int{i}, ""
	case !strings.HasPrefix(s.Type, "multipart/"):
		return nil, "the message has no text"
	}
	why = "the message has no text"
	for j := i + 1; j < len(ed.o.Sections); j++ {
		if ed.o.Sections[j].Parent != i {
			continue
		}
		more, not := ed.texts(j)
		list = append(list, more...)
		if len(more) == 0 {
			why = not
		}
		if s.Type != "multipart/alternative" { // the text comes first, files behind it
			break
		}
	}
	if len(list) > 0 {
		return list, ""
	}
	return nil, why
}

// intoText plans the change of one text part; problem says why there is none.
func (ed *partEditor) intoText(i int, top, bottom []string) (problem string, err error) {
	s := &ed.o.Sections[i]
	if s.End-s.Body > maxTextPart {
		return "the text is too long", nil
	}
	x := textPart{Section: s, cte: s.Encoding, head: ed.header}
	if x.raw, err = ed.bytes(s.Body, s.End); err != nil {
		return "", err
	}
	if s.Parent >= 0 {
		head, err := ed.bytes(s.Header, s.Body)
		if err != nil {
			return "", err
		}
		if x.head = mail.ParseHeader(head, mail.DefaultHeaderLimits()); !x.head.Ended {
			return "its header is not ended", nil
		}
	}
	if problem := x.decode(); problem != "" {
		return problem, nil
	}
	if problem := x.insert(top, bottom); problem != "" {
		return problem, nil
	}
	x.fields()
	ed.change(&x)
	return "", nil
}

// change plans the new body, and the new fields where there are some.
func (ed *partEditor) change(x *textPart) {
	stale := func(name string) bool {
		return name == "content-type" && x.newType != "" || name == "content-transfer-encoding" && x.newCTE != ""
	}
	switch fields := x.newType + x.newCTE; {
	case fields == "":
		ed.cuts = append(ed.cuts, cut{x.Body, x.End, x.encode()})
	case x.Parent < 0:
		ed.rootContent(stale, fields)
		ed.cuts = append(ed.cuts, cut{x.Body, x.End, x.encode()})
	default:
		out := []byte(fields)
		for i := range x.head.Fields {
			if f := &x.head.Fields[i]; !stale(strings.ToLower(bareName(f))) {
				out = append(out, f.Raw...)
			}
		}
		ed.cuts = append(ed.cuts, cut{x.Header, x.End, append(append(out, "\r\n"...), x.encode()...)})
	}
}

// bytes reads a run of the message as received.
func (ed *partEditor) bytes(from, to int64) ([]byte, error) {
	p := make([]byte, to-from)
	src := ed.body.Open()
	defer src.Close()
	src.Skip(from)
	_, err := io.ReadFull(src, p)
	return p, err
}

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
	if wide := strings.Trim(x.Charset, " \"'"); strings.HasPrefix(wide, "utf-16") || strings.HasPrefix(wide, "utf-32") || strings.HasPrefix(wide, "utf-7") || strings.HasPrefix(wide, "ucs") {
		return "the text is in " + mail.Printable(wide, 20)
	}
	if x.fits(above, below) || x.toUTF8() && x.fits(above, below) {
		return ""
	}
	return fmt.Sprintf("it cannot be written in %s", mail.Printable(cmp.Or(x.Charset, "a charset that is not named"), 40))
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
	if isASCII(s) {
		return []byte(s), true
	}
	enc, err := ianaindex.MIME.Encoding(x.Charset)
	if err != nil || enc == nil {
		return nil, false
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
