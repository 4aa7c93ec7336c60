package journal

import (
	"bytes"
	"encoding/json"
	"iter"
)

// Raw is a piece of an entry as it lies in the journal: JSON that is looked into only where
// somebody asks, since a scan over many entries needs little of each. It is valid until the
// function that was given it returns.
type Raw []byte

// Members gives the members of an object, their names as they stand in the text: those of ours
// have no escapes. What is no object has none.
func (r Raw) Members() iter.Seq2[[]byte, Raw] { return r.openMembers("") }

// openMembers is Members, but that the end of the last member is not looked for when it has that
// name: its value has all that follows.
func (r Raw) openMembers(last string) iter.Seq2[[]byte, Raw] {
	return func(yield func([]byte, Raw) bool) {
		i := blank(r, 0)
		if i >= len(r) || r[i] != '{' {
			return
		}
		for i++; ; i++ {
			i = blank(r, i)
			end := skip(r, i)
			if end < 0 || r[i] != '"' {
				return
			}
			name := r[i+1 : end-1]
			if i = blank(r, end); i >= len(r) || r[i] != ':' {
				return
			}
			i = blank(r, i+1)
			if last != "" && string(name) == last && r[len(r)-1] == '}' {
				yield(name, r[i:len(r)-1])
				return
			}
			if end = skip(r, i); end < 0 || !yield(name, r[i:end]) {
				return
			}
			if i = blank(r, end); i >= len(r) || r[i] != ',' {
				return
			}
		}
	}
}

// Items gives the elements of a list. What is no list has none.
func (r Raw) Items() iter.Seq[Raw] {
	return func(yield func(Raw) bool) {
		i := blank(r, 0)
		if i >= len(r) || r[i] != '[' {
			return
		}
		for i++; ; i++ {
			i = blank(r, i)
			end := skip(r, i)
			if end < 0 || !yield(r[i:end]) {
				return
			}
			if i = blank(r, end); i >= len(r) || r[i] != ',' {
				return
			}
		}
	}
}

// Text is the value of a string; "" for anything else.
func (r Raw) Text() string {
	if len(r) < 2 || r[0] != '"' {
		return ""
	}
	if inner := r[1 : len(r)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(r, &s) != nil {
		return ""
	}
	return s
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skip gives the place behind the value that begins at i; -1 when it does not end.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				if i = skipString(b, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	case '}', ']', ',', ':':
		return -1
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == ',' || c == '}' || c == ']' || c <= ' ' {
			break
		}
	}
	return i
}

func skipString(b []byte, i int) int {
	i++
	for end := min(i+shortString, len(b)); i < end; i++ { // most are short: not worth a call
		if b[i] == '"' {
			return i + 1
		}
		if b[i] == '\\' {
			i++
		}
	}
	for ; i <= len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return -1
}

const shortString = 24
