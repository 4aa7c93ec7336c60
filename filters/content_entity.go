package filters

import (
	"bytes"
	"slices"
	"strings"

	"postern/mail"
)

// An encoding is how a part may be encoded.
type encoding uint8

const (
	encIdentity encoding = iota
	encBase64
	encQP
	encUU
	encYEnc
	encBinHex
	encCount
)

var encodingWords = [encCount]string{"", "base64", "quoted-printable", "uuencode", "yenc", "binhex"}

// maxBoundary is the longest boundary that is followed; maxGoodBoundary the longest that is
// not a defect (RFC 2046 5.1.1 allows 70).
const (
	maxBoundary     = 1024
	maxGoodBoundary = 200
	maxBoundaries   = 8 // readings of one boundary
)

// An entity is what the header of a message or part says about its content, in every reading.
type entity struct {
	typ         string   // the first reading, in lower case: "text/plain"
	types       []string // the others
	charset     string
	format      bool // protocol= or smime-type=, for what is signed or encrypted
	encodings   []encoding
	cte         string // as said
	disposition string
	names       nameList
	boundaries  []string
	unusual     bool // valid perhaps, but not how mail programs write it
	named       bool // by Content-Type or Content-Disposition
	id          []byte
}

// readEntity reads the Content-* fields of h.
func readEntity(h *mail.Header, flaws *defects, digest bool) entity {
	e := entity{typ: "text/plain"}
	if digest {
		e.typ = "message/rfc822" // RFC 2046 5.1.5
	}
	e.names.flaws = flaws
	var types, ctes int
	var firstType, firstCTE string
	var described []string
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) < 9 || f.Malformed || !strings.EqualFold(f.Name[:8], "content-") {
			continue
		}
		switch {
		case f.Is("Content-Type"):
			e.unusual = e.unusual || f.Obsolete
			v := f.Value()
			if types == 0 {
				firstType = v
			} else if v != firstType {
				flaws.add(typeConflict)
			}
			e.readType(v, types == 0, flaws)
			types++
		case f.Is("Content-Transfer-Encoding"):
			e.unusual = e.unusual || f.Obsolete || bytes.Count(f.Raw, lf) > 1
			v := strings.ToLower(f.Value())
			if ctes == 0 {
				firstCTE = v
			} else if v != firstCTE {
				flaws.add(encodingConflict)
			}
			e.readEncoding(v, flaws)
			ctes++
		case f.Is("Content-Disposition"):
			e.readDisposition(f.Value(), flaws)
		case f.Is("Content-Description"), f.Is("Content-Location"):
			described = append(described, f.Value())
		case f.Is("Content-ID"):
			e.id = f.Body()
		}
	}
	if types > 1 || ctes > 1 {
		flaws.add(dupHeader)
	}
	e.finishNames(described, flaws)
	if len(e.encodings) == 0 {
		e.encodings = append(e.encodings, encIdentity)
	}
	return e
}

// readType reads one Content-Type value.
func (e *entity) readType(v string, first bool, flaws *defects) {
	l := parseParams(v)
	e.unusual = e.unusual || l.odd || strings.ContainsAny(v, `(\`)
	typ, good := cleanType(l.head)
	switch {
	case !good && strings.IndexByte(typ, '/') > 0:
		flaws.add(typeMalformed)
	case !good:
		flaws.add(typeUnknown)
	}
	if typ == "" {
		typ = "text/plain"
	}
	if first {
		e.typ = typ
	} else if typ != e.typ && !slices.Contains(e.types, typ) && len(e.types) < maxBoundaries {
		e.types = append(e.types, typ)
	}
	e.readBoundaries(&l, flaws)
	if len(l.params) == 0 {
		return
	}
	if cs, _ := l.get("charset"); len(cs) > 0 && e.charset == "" {
		e.charset = cs[0].val
	}
	if p, _ := l.get("protocol"); len(p) > 0 {
		e.format = true
	}
	names, _ := l.get("name")
	e.addNames(names, false, flaws)
	if l.over {
		flaws.add(overLimits)
	}
}

func (e *entity) readBoundaries(l *paramList, flaws *defects) {
	bs, extended := l.get("boundary")
	multi := e.is("multipart/")
	if len(bs) == 0 {
		if multi {
			flaws.add(boundaryMissing)
		}
		return
	}
	if !multi {
		flaws.add(boundaryUnexpected)
		return
	}
	plain := 0
	for i := 0; i < len(bs); i++ {
		b := bs[i]
		if strings.Contains(b.val, "=?") && len(bs) < maxBoundaries { // some readers decode words where none may be (RFC 2047 5)
			if d := decodeWords(b.val); d != b.val {
				bs = append(bs, reading{val: d, odd: true})
				flaws.add(boundaryOdd)
			}
		}
		if b.odd || strings.ContainsAny(b.val, " \t\r\n") && strings.Trim(b.val, " ") != b.val || extended {
			flaws.add(boundaryOdd)
		}
		if !b.odd {
			plain++
		}
		v := strings.TrimRight(b.val, " \t\r\n")
		if len(v) > maxGoodBoundary {
			flaws.add(boundaryLong)
		}
		if v == "" {
			flaws.add(boundaryMissing)
			continue
		}
		if len(v) > maxBoundary || len(e.boundaries) >= maxBoundaries {
			flaws.add(overLimits)
			continue
		}
		if !slices.Contains(e.boundaries, v) {
			e.boundaries = append(e.boundaries, v)
		}
	}
	if plain > 1 {
		flaws.add(boundaryConflict)
	}
}

// cleanType gives the type in lower case, and whether it is a plain type/subtype.
func cleanType(head string) (string, bool) {
	typ := strings.ToLower(head)
	major, minor, ok := strings.Cut(typ, "/")
	if ok && isToken(major) && isToken(minor) {
		return typ, true
	}
	// As a reader sees it that drops comments, quotes, escapes and whatever else does not belong.
	bare := strings.Map(func(r rune) rune {
		if r == '/' || r < 0x80 && isTokenByte(byte(r)) {
			return r
		}
		return -1
	}, stripComments(typ))
	if strings.HasPrefix(bare, "multipart") && !strings.HasPrefix(bare, "multipart/") {
		bare = "multipart/mixed"
	}
	return bare, false
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenByte follows RFC 2045 5.1.
func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// readEncoding reads one Content-Transfer-Encoding, in lower case (RFC 2045 6.1). An odd value
// is followed both ways.
func (e *entity) readEncoding(v string, flaws *defects) {
	if e.cte == "" {
		e.cte = v[:min(len(v), 80)]
	}
	switch v {
	case "7bit", "8bit", "binary":
		e.encode(encIdentity)
		return
	case "base64":
		e.encode(encBase64)
		return
	case "quoted-printable":
		e.encode(encQP)
		return
	case "":
		e.encode(encIdentity)
		return
	}
	bare := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '/' {
			return r
		}
		return -1
	}, stripComments(v))
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(bare, w) })
	}
	odd := true
	switch {
	case has("base64", "b64", "gzip64"):
		e.encode(encBase64)
	case has("quoted", "printable", "qp"):
		e.encode(encQP)
	case has("yenc"):
		e.encode(encYEnc)
	case has("binhex"):
		e.encode(encBinHex)
	case has("uue", "xuu") || bare == "uu":
		e.encode(encUU)
	default:
		odd = false
	}
	if has("quoted", "printable", "qp") {
		e.encode(encQP)
	}
	if odd {
		flaws.add(encodingOdd)
	} else {
		flaws.add(encodingUnknown)
	}
	e.encode(encIdentity)
}

func (e *entity) encode(x encoding) {
	if !slices.Contains(e.encodings, x) {
		e.encodings = append(e.encodings, x)
	}
}

func (e *entity) readDisposition(v string, flaws *defects) {
	l := parseParams(v)
	if e.disposition == "" {
		e.disposition = strings.ToLower(mail.Printable(l.head, 40))
	}
	if i := strings.IndexAny(l.head, " \t,"); i > 0 && strings.IndexByte(l.head[i:], '=') > 0 { // no semicolon behind the word
		l.alt = true
		l.read(";"+l.head[i+1:], true)
	}
	names, _ := l.get("filename")
	e.addNames(names, true, flaws)
	other, _ := l.get("name")
	e.addNames(other, false, flaws)
	if l.over {
		flaws.add(overLimits)
	}
}

// addNames adds readings; those of Content-Disposition are the primary ones (RFC 2183).
func (e *entity) addNames(rs []reading, primary bool, flaws *defects) {
	if len(rs) == 0 {
		return
	}
	if e.named && primary {
		e.names.primary = ""
	}
	e.named = true
	for _, r := range rs {
		e.names.add(r.val, r.odd)
	}
}

// finishNames adds the names that some readers fall back to.
func (e *entity) finishNames(described []string, flaws *defects) {
	for _, d := range described {
		l := parseParams(d)
		if i := strings.LastIndexByte(l.head, '.'); i > 0 && extension(l.head[i+1:]) != "" && len(l.head) < 256 {
			if !e.named && strings.ContainsAny(l.head, " ") {
				continue // a sentence
			}
			e.names.add(l.head, false)
		}
	}
	if len(e.names.names) > 1 {
		exts := extensions(e.names.names)
		if e.named && len(exts) > 1 && differ(e.names.names) {
			flaws.add(nameConflict)
		}
	}
}

// differ reports whether the names end in different extensions.
func differ(names []string) bool {
	first := ""
	for i, n := range names {
		s := savedName(n)
		ext := ""
		if j := strings.LastIndexByte(s, '.'); j >= 0 {
			ext = extension(s[j+1:])
		}
		if i == 0 {
			first = ext
		} else if ext != first {
			return true
		}
	}
	return false
}

// is reports whether any reading of the type has the prefix.
func (e *entity) is(prefix string) bool {
	if strings.HasPrefix(e.typ, prefix) {
		return true
	}
	for _, t := range e.types {
		if strings.HasPrefix(t, prefix) {
			return true
		}
	}
	return false
}

// isMessage reports whether a reading says that another message is inside.
func (e *entity) isMessage() bool {
	return e.is("message/rfc822") || e.is("message/global") || e.is("message/news") || e.is("message/disposition-notification-message")
}
