package gateway

import (
	"io"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/ianaindex"

	"postern/mail"
)

// subject gives a Subject field with the tags before its text, which stays as it came, encoded
// words and folds and all. ok is false when the tags are there already.
func (e *edits) subject(f *mail.Field) (field []byte, ok bool) {
	body := string(f.Body())
	text := strings.TrimLeft(body, " \t\r\n")
	missing := e.missingTags(text)
	if len(missing) == 0 {
		return nil, false
	}
	tag := strings.Join(missing, " ")
	if strings.HasPrefix(text, "=?") && fieldText(tag) != tag {
		tag += " " // the blank between two encoded words is not part of the text (RFC 2047 6.2)
	}
	out := f.Name + ": " + strings.TrimRight(fieldText(tag), " ")
	last := out[strings.LastIndexByte(out, '\n')+1:]
	if body == text || body[0] == ' ' && len(last)+strings.IndexByte(body+"\n", '\n') > 78 {
		out += "\r\n " + text // starts on a line of its own, as long as that may be
		if text == "" {
			return append([]byte(out), "\r\n"...), true
		}
		return []byte(out), true
	}
	return append([]byte(out), body...), true
}

// missingTags lists the tags that do not stand at the start of a subject, perhaps behind what
// mail programs put before it when they answer or forward.
func (e *edits) missingTags(text string) []string {
	plain := mail.Unfold([]byte(text))
	d := mime.WordDecoder{CharsetReader: charsetReader} // a tag counts where people see it
	if decoded, err := d.DecodeHeader(plain); err == nil {
		plain = decoded
	}
	have := make([]bool, len(e.tags))
	for rest, more := plain, true; more; {
		rest = strings.TrimLeft(rest, " \t")
		more = false
		for i, tag := range e.tags {
			if after, ok := strings.CutPrefix(rest, tag); ok {
				rest, have[i], more = after, true, true
			}
		}
		if after, ok := cutReply(rest); ok && !more {
			rest, more = after, true
		}
	}
	var missing []string
	for i, tag := range e.tags {
		if !have[i] && !slices.Contains(missing, tag) {
			missing = append(missing, tag)
		}
	}
	return missing
}

// cutReply takes "Re:", "AW:", "Fwd:" and their like off: a few letters and a colon.
func cutReply(s string) (rest string, ok bool) {
	word, rest, ok := strings.Cut(s, ":")
	if !ok || word == "" || utf8.RuneCountInString(word) > 4 {
		return s, false
	}
	for _, r := range word {
		if r < 0x80 && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return s, false
		}
	}
	return rest, true
}

// charsetReader decodes what it can; of anything else nobody knows what people see.
func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	enc, err := ianaindex.MIME.Encoding(charset)
	if err != nil || enc == nil {
		return strings.NewReader("\ufffd"), nil
	}
	return enc.NewDecoder().Reader(r), nil
}
