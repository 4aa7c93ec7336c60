package filters

import (
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// maxCharsetInput bounds what one call of toUTF8 converts.
const maxCharsetInput = 256 << 10

// toUTF8 converts s from the named charset. What cannot be converted is read as UTF-8 when it
// is that, else as windows-1252, as mail readers do. The result is valid UTF-8.
func toUTF8(name, s string) string { return convert(name, s, maxCharsetInput) }

func convert(name, s string, most int) string {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return validUTF8(s)
	case "utf-16", "utf-16be", "utf-16le", "iso-10646-ucs-2", "ucs-2", "utf16":
		return validUTF8(utf16ToUTF8(name, s))
	}
	if isASCII(s) && !strings.HasPrefix(name, "iso-2022") && name != "hz-gb-2312" && name != "utf-7" {
		return s
	}
	if len(name) > 40 || len(s) > most {
		return validUTF8(s)
	}
	r, err := charset.Reader(name, strings.NewReader(s))
	if err != nil {
		return validUTF8(s)
	}
	// No charset takes more than a few bytes of UTF-8 for one of its own.
	b, err := io.ReadAll(io.LimitReader(r, int64(4*len(s)+16)))
	if err != nil || !utf8.Valid(b) {
		return validUTF8(s)
	}
	return string(b)
}

// utf16ToUTF8 decodes UTF-16, big endian unless the name or a byte order mark says otherwise
// (RFC 2781 4.3).
func utf16ToUTF8(name, s string) string {
	little := strings.HasSuffix(name, "le")
	if len(s) >= 2 && s[0] == 0xfe && s[1] == 0xff {
		little, s = false, s[2:]
	} else if len(s) >= 2 && s[0] == 0xff && s[1] == 0xfe {
		little, s = true, s[2:]
	}
	var b strings.Builder
	b.Grow(len(s))
	unit := func(i int) rune {
		if little {
			return rune(s[i+1])<<8 | rune(s[i])
		}
		return rune(s[i])<<8 | rune(s[i+1])
	}
	for i := 0; i+1 < len(s); i += 2 {
		r := unit(i)
		if r >= 0xd800 && r < 0xdc00 && i+3 < len(s) {
			if lo := unit(i + 2); lo >= 0xdc00 && lo < 0xe000 {
				r = (r-0xd800)<<10 | (lo - 0xdc00) + 0x10000
				i += 2
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// validUTF8 returns s, or s read as windows-1252 when it is no UTF-8.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 0x80 && c < 0xa0:
			b.WriteRune(windows1252[c-0x80])
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// windows1252 has the characters 0x80 to 0x9f.
var windows1252 = [32]rune{
	0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// decodeWords decodes encoded words (RFC 2047) wherever they stand, also inside quotes and
// without blanks around them, as lenient readers do. Blanks between two of them vanish. Bytes
// of adjacent words in one charset are joined before they are converted.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return validUTF8(s)
	}
	var out strings.Builder
	var run []byte // decoded bytes of adjacent words
	runCharset := ""
	flush := func() {
		if len(run) > 0 {
			out.WriteString(toUTF8(runCharset, string(run)))
			run = run[:0]
		}
	}
	after := false // an encoded word ended here
	for len(s) > 0 {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		cs, text, n, ok := encodedWord(s[i:])
		if !ok {
			flush()
			out.WriteString(validUTF8(s[:i+2]))
			s, after = s[i+2:], false
			continue
		}
		if between := s[:i]; !after || strings.Trim(between, " \t\r\n") != "" {
			flush()
			out.WriteString(validUTF8(between))
		}
		if !strings.EqualFold(cs, runCharset) {
			flush()
		}
		runCharset = cs
		run = append(run, text...)
		s, after = s[i+n:], true
	}
	flush()
	out.WriteString(validUTF8(s))
	return out.String()
}

// encodedWord reads =?charset?encoding?text?= at the start of s and returns its length.
func encodedWord(s string) (cs string, text []byte, n int, ok bool) {
	rest := s[2:]
	i := strings.IndexByte(rest[:min(len(rest), 80)], '?')
	if i < 1 || len(rest) < i+4 || rest[i+2] != '?' {
		return "", nil, 0, false
	}
	cs, _, _ = strings.Cut(rest[:i], "*") // RFC 2231 5: a language tag
	enc := rest[i+1] | 0x20
	body := rest[i+3:]
	end := strings.Index(body[:min(len(body), 4096)], "?=")
	if end < 0 {
		return "", nil, 0, false
	}
	n = 2 + i + 3 + end + 2
	switch enc {
	case 'q':
		text = make([]byte, 0, end)
		for j := 0; j < end; j++ {
			c := body[j]
			if c == '_' {
				c = ' '
			} else if c == '=' && j+2 < end && hexValue(body[j+1]) >= 0 && hexValue(body[j+2]) >= 0 {
				c = byte(hexValue(body[j+1])<<4 | hexValue(body[j+2]))
				j += 2
			}
			text = append(text, c)
		}
	case 'b':
		clean := make([]byte, 0, end)
		for j := 0; j < end; j++ {
			if b64Value[body[j]] < 64 {
				clean = append(clean, body[j])
			}
		}
		text = make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
		m, _ := base64.RawStdEncoding.Decode(text, clean)
		text = text[:m]
	default:
		return "", nil, 0, false
	}
	return cs, text, n, true
}
