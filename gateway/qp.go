package gateway

// maxQPLine is how long a line of quoted-printable may be, with its soft line break (RFC 2045 6.7).
const maxQPLine = 76

// appendQP appends text, whose lines end in CRLF, in quoted-printable. No line begins with a
// hyphen, so that none can be the delimiter of a part, whoever wrote the text.
func appendQP(b, text []byte) []byte {
	const hex = "0123456789ABCDEF"
	col := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			b = append(b, '\r', '\n')
			i++
			col = 0
			continue
		}
		plain := c > ' ' && c < 0x7f && c != '='
		if c == ' ' || c == '\t' { // not at the end of a line
			plain = i+1 < len(text) && text[i+1] != '\r'
		}
		n := 3
		if plain {
			n = 1
		}
		if col+n > maxQPLine-1 {
			b = append(b, '=', '\r', '\n')
			col = 0
		}
		if plain && (c != '-' || col > 0) {
			b = append(b, c)
		} else {
			n, b = 3, append(b, '=', hex[c>>4], hex[c&15])
		}
		col += n
	}
	return b
}
