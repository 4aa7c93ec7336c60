package filters

import (
	"bytes"
	"slices"

	"postern/mail"
)

// A headerIndex finds fields by name: one number a field, made of the name in lower case, so
// that a signature's hundred names against a thousand fields compare numbers, not text.
type headerIndex struct {
	fields []mail.Field
	sums   []uint32
}

func newHeaderIndex(h *mail.Header) headerIndex {
	x := headerIndex{fields: h.Fields, sums: make([]uint32, len(h.Fields))}
	for i := range h.Fields {
		x.sums[i] = nameSum(h.Fields[i].Name)
	}
	return x
}

// nameSum is FNV-1a of the name in lower case.
func nameSum(name string) uint32 {
	sum := uint32(2166136261)
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		sum = (sum ^ uint32(c)) * 16777619
	}
	return sum
}

// hash gives the header hash of a signature (RFC 6376 3.7): the fields that h= names, each
// name taking the next one from the bottom up (5.4.2) and nothing when none is left, then the
// signature's own field with an empty b=. The sum lies in w.
func (x headerIndex) hash(s *dkimSignature, w *dkimScratch) []byte {
	w.header.Reset()
	w.used = append(w.used[:0], make([]bool, len(x.fields))...)
	w.used[s.field] = true // 3.7: a signature does not cover itself
	out := w.text[:0]
	for _, name := range s.facts.Signed {
		i := x.last(name, w.used)
		if i < 0 {
			continue
		}
		w.used[i] = true
		raw := x.fields[i].Raw
		if s.relaxedHeader {
			out = append(relaxField(out, raw), "\r\n"...)
		} else if out = append(out, raw...); !bytes.HasSuffix(raw, []byte{'\n'}) { // the message ended here
			out = append(out, "\r\n"...)
		}
		if len(out) > maxScratch {
			w.header.Write(out)
			out = out[:0]
		}
	}
	// All between "b=" and ";" goes, white space included (3.5).
	begin := len(out)
	out = append(append(out, s.raw[:s.from]...), s.raw[s.to:]...)
	if end := len(out); s.relaxedHeader {
		out = relaxField(out, out[begin:end])
		out = append(out[:begin], out[end:]...)
	} else {
		out = out[:begin+len(trimLineEnd(out[begin:]))]
	}
	w.header.Write(out)
	w.text = out
	return w.header.Sum(w.sum[:0])
}

// last gives the last field of the name that is not used yet, or -1.
func (x headerIndex) last(name string, used []bool) int {
	want := nameSum(name)
	for i := len(x.sums) - 1; i >= 0; i-- {
		if x.sums[i] == want && !used[i] && x.fields[i].Is(name) {
			return i
		}
	}
	return -1
}

// coverage compares how often a signature names a field with how often it is there:
// oversigned when From is named more often, extra lists the names that are there more often.
func (x headerIndex) coverage(signed []string) (oversigned bool, extra []string) {
	for i, name := range signed {
		if slices.Contains(signed[:i], name) {
			continue
		}
		there, named, want := 0, 0, nameSum(name)
		for j, sum := range x.sums {
			if sum == want && x.fields[j].Is(name) {
				there++
			}
		}
		for _, again := range signed[i:] {
			if again == name {
				named++
			}
		}
		if there > named {
			extra = append(extra, name)
		}
		oversigned = oversigned || name == "from" && named > there
	}
	return oversigned, extra
}

// relaxField appends a field in relaxed form (RFC 6376 3.4.2), without the CRLF at its end.
func relaxField(dst, raw []byte) []byte {
	colon := bytes.IndexByte(raw, ':')
	for _, c := range mail.TrimBlanks(raw[:colon]) {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	start, blank := len(dst), false
	value := trimLineEnd(raw[colon+1:])
	for i, c := range value {
		switch {
		case c == ' ' || c == '\t':
			blank = true
			continue
		case c == '\r' && i+1 < len(value) && value[i+1] == '\n', c == '\n' && i > 0 && value[i-1] == '\r':
			continue // a fold
		}
		if blank && len(dst) > start {
			dst = append(dst, ' ')
		}
		blank = false
		dst = append(dst, c)
	}
	return dst
}

func trimLineEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\r'})
}

// unfit says why no signature over a header can pass: readers would not agree on where its
// fields, or the header itself, end.
func unfit(h *mail.Header) dkimFault {
	if h.Over {
		return dkimFault{dkimPolicy, "header is too large"}
	}
	for i := range h.Fields {
		if h.Fields[i].Malformed {
			return dkimFault{dkimPolicy, "a line of the header is no field"}
		}
	}
	for rest := h.Raw; ; {
		i := bytes.IndexByte(rest, '\r')
		if i < 0 {
			break
		}
		if rest = rest[i+1:]; len(rest) == 0 || rest[0] != '\n' {
			return dkimFault{dkimPolicy, "a bare CR in the header"}
		}
	}
	return blankFold(h.Raw)
}

// blankFold finds a folded line of white space alone, which RFC 5322 3.2.2 forbids and some
// readers take for the end of the header.
func blankFold(raw []byte) dkimFault {
	for len(raw) > 0 {
		end := 1 + bytes.IndexByte(raw, '\n')
		if end == 0 {
			end = len(raw)
		}
		if c := raw[0]; (c == ' ' || c == '\t') && len(mail.TrimBlanks(raw[:end])) == 0 {
			return dkimFault{dkimPolicy, "a blank line within a header field"}
		}
		raw = raw[end:]
	}
	return dkimFault{}
}
