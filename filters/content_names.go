package filters

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names.
const (
	maxNames     = 16   // of one attachment
	maxNameBytes = 1024 // of one name
)

// nameList collects every name that a reader may see or save an attachment under.
type nameList struct {
	names   []string
	primary string
	flaws   *defects
}

// add takes one reading of a name parameter and adds what readers make of it: as it stands,
// with encoded words decoded, without its path, and as Windows would save it.
func (l *nameList) add(raw string, odd bool) {
	raw = strings.Trim(raw, " \t\r\n")
	if raw == "" {
		return
	}
	if len(raw) > maxNameBytes {
		// The end has the extension that counts, the beginning what people see.
		l.flaws.add(overLimits)
		raw = raw[:maxNameBytes/2] + raw[len(raw)-maxNameBytes/2:]
	}
	if odd {
		l.flaws.add(nameOdd)
	}
	plain := validUTF8(raw)
	decoded := plain
	if strings.Contains(raw, "=?") {
		decoded = decodeWords(raw)
	}
	if l.primary == "" {
		l.primary = decoded
	}
	l.one(decoded)
	if decoded != plain {
		l.one(plain)
		// Blanks inside an encoded word are against RFC 2047, some readers decode it all the same.
		if strings.ContainsAny(raw, " \t") {
			l.one(decodeWords(strings.NewReplacer(" ", "", "\t", "").Replace(raw)))
		}
	}
	if strings.IndexByte(plain, '%') >= 0 {
		l.one(validUTF8(percentDecode(raw)))
	}
}

// one adds a name, its last path element, and the two as they would be saved, also where a
// character of it may not stand in a file name.
func (l *nameList) one(name string) {
	l.put(name)
	if i := strings.IndexAny(name, "\x00"); i > 0 {
		l.put(savedName(name[:i]))
	}
	saved := savedName(name)
	l.put(saved)
	base := strings.TrimRight(saved, `/\. `) // path.Base("a.exe/.") is "a.exe"
	base = base[strings.LastIndexAny(base, `/\`)+1:]
	l.put(base)
	l.odd(base)
}

// odd adds what becomes of a base name on file systems that have no place for some of its characters.
func (l *nameList) odd(base string) {
	// A stream (NTFS), a version (ISO 9660); not the words of a subject: "Your order at amazon.com: shipped.eml".
	if i := strings.IndexAny(base, ":;"); i > 0 && !strings.HasPrefix(base[i+1:], " ") {
		if s := savedName(base[:i]); rawExtension(s) != rawExtension(base) && extension(rawExtension(s)) != "" {
			l.put(s)
		}
	}
	if strings.HasPrefix(base, "=?") && strings.HasSuffix(base, "?=") { // an encoded word: no name to save under
		return
	}
	bare := strings.Trim(base, "'`")
	if strings.ContainsAny(bare, `<>:|?*`) {
		bare = strings.Map(func(r rune) rune {
			if strings.ContainsRune(`<>:|?*`, r) {
				return -1
			}
			return r
		}, bare)
	}
	if i := strings.LastIndexByte(bare, '.'); i >= 0 && i+1 < len(bare) && bare[i+1] == ' ' { // a fold within the name
		bare = bare[:i+1] + strings.TrimLeft(bare[i+1:], " ")
	}
	if bare = savedName(bare); rawExtension(bare) != rawExtension(base) {
		l.put(bare)
	}
}

// rawExtension is what stands behind the last dot, "" without one.
func rawExtension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i+1:]
	}
	return ""
}

func (l *nameList) put(name string) {
	if name == "" || slices.Contains(l.names, name) {
		return
	}
	for _, r := range name {
		if unicode.IsControl(r) || isDirection(r) {
			l.flaws.add(nameControl)
			break
		}
	}
	if len(l.names) >= maxNames {
		l.flaws.add(overLimits)
		return
	}
	l.names = append(l.names, name)
}

// isDirection reports characters that change what a name looks like: directional marks and
// overrides, zero-width ones, the byte order mark.
func isDirection(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff || r == 0x061c || r == 0x00ad
}

// savedName is the name as a file system would get it: no controls or direction marks, no
// quotes, no blanks around, no dots or blanks at the end (Windows drops them), wide and
// fancy dots as dots.
func savedName(name string) string {
	clean := true
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < ' ' || c == 0x7f || c >= 0x80 || c == '"' {
			clean = false
			break
		}
	}
	if !clean {
		name = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsControl(r), isDirection(r), r == '"', r == utf8.RuneError:
				return -1
			case r == 0xff0e || r == 0x2024 || r == 0xfe52: // full-width full stop, one dot leader, small full stop
				return '.'
			case unicode.IsSpace(r):
				return ' '
			case r >= 0xff01 && r <= 0xff5e: // full-width ASCII
				return r - 0xfee0
			}
			return r
		}, name)
	}
	return strings.TrimRight(strings.Trim(name, " "), " .")
}

// extensions lists the last and the last but one extension of every name, in lower case.
func extensions(names []string) []string {
	var out []string
	for _, n := range names {
		n = savedName(n)
		if i := strings.LastIndexAny(n, `/\`); i >= 0 {
			n = n[i+1:]
		}
		for range 2 {
			i := strings.LastIndexByte(n, '.')
			if i < 0 {
				break
			}
			if e := extension(n[i+1:]); e != "" && !slices.Contains(out, e) && len(out) < 2*maxNames {
				out = append(out, e)
			}
			n = strings.TrimRight(n[:i], " .")
		}
	}
	return out
}

// maxExtension is the length of the longest extension that is listed.
const maxExtension = 16

// extension reduces what stands behind a dot to letters and digits: readers and file systems
// cut at blanks, colons (streams) and semicolons (versions).
func extension(s string) string {
	s = strings.TrimLeft(s, " ")
	end := len(s)
	for i, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '~' {
			end = i
			break
		}
	}
	if end == 0 || end > maxExtension {
		return ""
	}
	return strings.ToLower(s[:end])
}
