package filters

import (
	"slices"
	"strings"
)

// A reading is one plausible value of a parameter.
type reading struct {
	val string
	odd bool // not what the plain grammar says
}

// get lists every reading of the parameter: the plain ones, and what the sections of RFC 2231
// add up to, decoded and not, in the order of their numbers and of their appearance. extended
// tells whether RFC 2231 was used at all. The list is over its limit when there are more.
func (l *paramList) get(key string) (out []reading, extended bool) {
	var parts []param
	for _, p := range l.params {
		if p.key != key {
			continue
		}
		if p.seq < 0 && !p.ext {
			out = l.addReading(out, p.val, p.odd)
			continue
		}
		extended = true
		if p.seq < 0 {
			out = l.addReading(out, decodeExtended(p.val), p.odd)
			continue
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return out, extended
	}
	odd := false // sections are missing, doubled or out of order
	for i, p := range parts {
		odd = odd || p.odd || p.seq != i
	}
	join := func(ps []param) {
		out = l.addReading(out, joinSections(ps), odd)
	}
	join(parts) // as they stand
	sorted := slices.Clone(parts)
	slices.SortStableFunc(sorted, func(a, b param) int { return a.seq - b.seq })
	firsts, lasts := sorted[:0:0], sorted[:0:0]
	for i, p := range sorted {
		if i == 0 || sorted[i-1].seq != p.seq {
			firsts = append(firsts, p)
		}
		if i+1 == len(sorted) || sorted[i+1].seq != p.seq {
			lasts = append(lasts, p)
		}
	}
	join(sorted)
	join(firsts)
	join(lasts)
	return out, true
}

func (l *paramList) addReading(out []reading, v string, odd bool) []reading {
	for _, r := range out {
		if r.val == v {
			return out
		}
	}
	if len(out) >= maxParamValues {
		l.over = true
		return out
	}
	return append(out, reading{v, odd})
}

// joinSections puts sections together; the charset comes from whichever has one.
func joinSections(ps []param) string {
	var b strings.Builder
	charset := ""
	for _, p := range ps {
		v := p.val
		if p.ext {
			if cs, rest, ok := cutCharset(v); ok {
				charset, v = cs, rest
			}
			v = percentDecode(v)
		} else if strings.IndexByte(v, '%') >= 0 {
			v = percentDecode(v) // an encoded section without its asterisk
		}
		b.WriteString(v)
	}
	return toUTF8(charset, b.String())
}

// decodeExtended decodes charset'language'percent-encoded (RFC 2231 4).
func decodeExtended(v string) string {
	charset, rest, ok := cutCharset(v)
	if !ok {
		rest = v
	}
	return toUTF8(charset, percentDecode(rest))
}

func cutCharset(v string) (charset, rest string, ok bool) {
	charset, rest, ok = strings.Cut(v, "'")
	if !ok || len(charset) > 40 {
		return "", v, false
	}
	_, rest, ok = strings.Cut(rest, "'")
	if !ok {
		return "", v, false
	}
	return charset, rest, true
}

func percentDecode(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			hi, lo := hexValue(v[i+1]), hexValue(v[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return string(b)
}
