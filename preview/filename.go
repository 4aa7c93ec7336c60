package preview

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/filters"
)

// maxFileName is the longest name in bytes: what every file system takes, with room for more.
const maxFileName = 180

// FileName makes a name of a message into one that is safe to save a file under: no path, no
// controls, nothing that turns the text around, no name that a system keeps for itself, not too
// long. The end stays, since it says what the file is. A name of nothing becomes "file".
func FileName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), filters.IsDirection(r), unhonest(r), r == '\u2028', r == '\u2029':
			return -1
		case strings.ContainsRune(`/\:*?"<>|;%'`+"`", r):
			return '_'
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, name)
	name = strings.Trim(name, " .")
	name = strings.TrimLeft(name, "~-_ .")
	if len(name) > maxFileName {
		head := strings.ToValidUTF8(name[:maxFileName/2], "")
		tail := name[len(name)-maxFileName/2+3:]
		for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
			tail = tail[1:]
		}
		name = head + "..." + tail
	}
	stem, _, _ := strings.Cut(name, ".")
	if slices.Contains(reserved, strings.ToUpper(strings.TrimSpace(stem))) {
		name = "_" + name
	}
	if name == "" {
		return "file"
	}
	return name
}

// reserved are names that Windows takes for devices, with any extension.
var reserved = strings.Fields("CON PRN AUX NUL CONIN$ CONOUT$ COM0 COM1 COM2 COM3 COM4 COM5 COM6 COM7 COM8 COM9 LPT0 LPT1 LPT2 LPT3 LPT4 LPT5 LPT6 LPT7 LPT8 LPT9")

// ContentDisposition is the value of that field for a download under the name (RFC 6266, RFC 8187):
// always an attachment, with a name of ASCII and, where it has more, the name itself.
func ContentDisposition(name string) string {
	name = FileName(name)
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, name)
	v := `attachment; filename="` + ascii + `"`
	if ascii == name {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return v + "; filename*=UTF-8''" + b.String()
}
