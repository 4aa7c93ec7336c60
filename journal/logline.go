package journal

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	logField = 256 // bytes of one field of a log line
	logRcpts = 10  // recipients named in it
)

// MessageLine is what the line of a message says first.
const MessageLine = "message"

// LogSink writes one line a message that says everything: who, to whom, what became of it
// and why. Its fields are bounded and hold printable text only, whatever the handler does,
// so that nothing in a message can write a line of its own. Bodies are never in it.
func LogSink(log *slog.Logger) Sink {
	return func(e *Entry) {
		ctx := context.Background()
		if !log.Enabled(ctx, slog.LevelInfo) {
			return
		}
		attrs := make([]slog.Attr, 0, 24)
		add := func(key, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(key, visible(value, logField)))
			}
		}
		add("id", e.ID)
		add("result", e.Result)
		add("client", e.Envelope.Client.Addr.String())
		add("helo", e.Envelope.Client.Helo)
		add("tls", e.Envelope.Client.TLS)
		attrs = append(attrs, slog.String("sender", visible(e.Envelope.Sender.String(), logField)))
		taken, refused := e.parted()
		add("rcpt", recipients(taken))
		add("refused", recipients(refused))
		add("from", e.From)
		add("subject", e.Subject)
		add("message_id", e.MessageID)
		attrs = append(attrs, slog.Int64("size", e.Size))
		why := decisive(taken, refused)
		add("rule", why.Rule)
		add("class", why.Class)
		add("because", why.Because)
		add("held", why.Held)
		if e.Reply.Code != 0 {
			add("reply", e.Reply.String())
		}
		if len(taken) > 0 && len(refused) > 0 {
			add("refusal", refused[0].Reply)
		}
		add("upstream", why.Upstream)
		for _, name := range [...]string{"spf", "dkim", "dmarc"} {
			add(name, member(e.Facts[name], "result"))
		}
		attrs = append(attrs, slog.Int64("took_ms", e.Took.Milliseconds()))
		r := slog.NewRecord(time.Now(), slog.LevelInfo, MessageLine, 0) // where it is logged nobody asks
		r.AddAttrs(attrs...)
		_ = log.Handler().Handle(ctx, r)
	}
}

// parted gives the outcomes of the recipients that were accepted at RCPT, and of those refused
// there, both in the order of RCPT.
func (e *Entry) parted() (taken, refused []*Outcome) {
	left := e.Envelope.Recipients
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if len(left) > 0 && left[0].Address == o.Recipient {
			taken, left = append(taken, o), left[1:]
		} else {
			refused = append(refused, o)
		}
	}
	return taken, refused
}

func recipients(list []*Outcome) string {
	if len(list) == 1 {
		return list[0].Recipient.String()
	}
	var b strings.Builder
	for i, o := range list {
		if i == logRcpts {
			b.WriteString(",+" + strconv.Itoa(len(list)-i))
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(o.Recipient.String())
	}
	return b.String()
}

// decisive is the outcome that tells most: the first that is no plain delivery.
func decisive(taken, refused []*Outcome) Outcome {
	if len(taken) == 0 {
		taken = refused
	}
	for _, o := range taken {
		if o.Do != "deliver" {
			return *o
		}
	}
	if len(taken) > 0 {
		return *taken[0]
	}
	return Outcome{}
}

// visible bounds text to max bytes and writes what cannot be seen (controls, marks that
// turn the direction of text, bytes that are no UTF-8) as \x1b or \u202e.
func visible(s string, max int) string {
	clean := len(s) <= max
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		piece := s[:n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = `\x` + hex(rune(s[0]), 2)
		case unicode.IsPrint(r):
		case r < 0x80:
			piece = `\x` + hex(r, 2)
		case r < 0x10000:
			piece = `\u` + hex(r, 4)
		default:
			piece = `\U` + hex(r, 8)
		}
		if b.Len()+len(piece) > max-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		s = s[n:]
	}
	return b.String()
}

func hex(r rune, digits int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", max(0, digits-len(s))) + s
}

// member returns the string member of a JSON object; "" when there is none. Nested objects
// do not count, and nothing is allocated for what is passed over.
func member(object []byte, name string) string {
	depth := 0
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(object, i)
			isKey := end+1 < len(object) && object[end] == ':'
			if isKey && depth == 1 && string(object[i+1:end-1]) == name {
				if object[end+1] != '"' {
					return ""
				}
				quoted := object[end+1 : stringEnd(object, end+1)]
				if n := len(quoted); n >= 2 && bytes.IndexByte(quoted, '\\') < 0 && quoted[n-1] == '"' && utf8.Valid(quoted) {
					return string(quoted[1 : n-1])
				}
				s, _ := strconv.Unquote(string(quoted))
				return s
			}
			i = end - 1
		}
	}
	return ""
}

// stringEnd is the place after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
