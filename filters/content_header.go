package filters

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	m "postern/mail"
)

// single are the fields that may stand once (RFC 5322 3.6, RFC 2045 3), in lower case.
var single = []string{"from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references",
	"mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"}

// commonNames spares an allocation for each field that every message has.
var commonNames = func() map[string]string {
	t := map[string]string{}
	for _, n := range []string{"Received", "Return-Path", "Delivered-To", "DKIM-Signature", "From", "To", "Cc", "Subject", "Date", "Message-ID", "Message-Id",
		"MIME-Version", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-Language", "Reply-To", "Sender",
		"In-Reply-To", "References", "User-Agent", "X-Mailer", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "List-Help", "List-Archive",
		"List-Subscribe", "Precedence", "Errors-To", "Received-SPF", "Authentication-Results", "ARC-Seal", "ARC-Message-Signature",
		"ARC-Authentication-Results", "X-Priority", "Importance", "Thread-Topic", "Thread-Index", "Auto-Submitted", "Feedback-ID", "X-Spam-Status", "X-Spam-Level"} {
		t[n] = strings.ToLower(n)
	}
	return t
}()

func lowerName(n string) string {
	if l, ok := commonNames[n]; ok {
		return l
	}
	return strings.ToLower(n)
}

// header takes the facts of the message's own header.
func (c *collector) header(h *m.Header, received time.Time) {
	f := &c.facts
	if h.Over {
		c.flaws.add(overLimits)
	}
	if !h.Ended {
		c.flaws.add(headerUnended)
	}
	n := len(h.Fields)
	f.Header = make(map[string]string, n)
	f.Headers = make(map[string][]string, n)
	backing := make([]string, n)
	end := 0
	for i := range h.Fields {
		field := &h.Fields[i]
		end += len(field.Raw)
		if field.Malformed {
			continue
		}
		name := lowerName(field.Name)
		v := fieldText(h.Text[end-len(field.Body()):end], &c.flaws)
		if all, ok := f.Headers[name]; ok {
			if len(all) == 1 && slices.Contains(single, name) {
				f.Duplicates = append(f.Duplicates, name)
				c.flaws.add(dupHeader)
			}
			f.Headers[name] = append(all, v)
			continue
		}
		backing[i] = v
		f.Headers[name] = backing[i : i+1 : i+1]
		f.Header[name] = v
	}
	c.mailboxes(h)
	f.Subject = f.Header["subject"]
	if s := h.Get("Subject"); s != nil {
		if raw := clipUTF8(s.Value(), maxFactValue); raw != f.Subject {
			f.SubjectRaw = raw
			if i := strings.Index(raw, "=?"); i >= 0 {
				if cs, _, _, ok := encodedWord(raw[i:]); ok {
					f.SubjectCharset = strings.ToLower(cs)
				}
			}
		}
		if f.SubjectScripts, f.SubjectMixed = scriptsOf(f.Subject); f.SubjectCharset == "" && !isASCII(f.Subject) {
			f.SubjectCharset = "utf-8"
			if !utf8.Valid(s.Body()) {
				f.SubjectCharset = "unknown-8bit" // RFC 1428
			}
		}
	}
	f.MessageID = f.Header["message-id"]
	f.ReceivedHops = len(f.Headers["received"])
	f.ListID = listID(f.Header["list-id"])
	c.date(f.Header["date"], received)
}

// fieldText is a field's value, decoded and capped.
func fieldText(v string, flaws *defects) string {
	if v = m.TrimBlanks(v); len(v) <= maxFactValue && isPlain(v) {
		return v
	}
	if strings.IndexByte(v, '\n') >= 0 || strings.IndexByte(v, '\r') >= 0 {
		v = unfold(v[:min(len(v), 2*maxFactValue)])
	}
	if len(v) > maxFactValue {
		v = v[:maxFactValue]
	}
	if !isASCII(v) && !utf8.ValidString(v) {
		flaws.add(eightBitHeader)
	}
	return decodeWords(v)
}

// isPlain reports whether a value has neither folds nor encoded words nor bytes beyond ASCII.
func isPlain(v string) bool {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= 0x80 || c == '\r' || c == '\n':
			return false
		case c == '?' && i > 0 && v[i-1] == '=':
			return false
		}
	}
	return true
}

// unfold is mail.Unfold for a string.
func unfold(v string) string {
	v = m.TrimBlanks(v)
	var b strings.Builder
	b.Grow(len(v))
	from := 0
	for i := 0; i < len(v); i++ {
		if c := v[i]; c == '\r' || c == '\n' {
			b.WriteString(v[from:i])
			from = i + 1
		}
	}
	b.WriteString(v[from:])
	return b.String()
}

func listID(v string) string {
	if _, rest, ok := strings.Cut(v, "<"); ok {
		v, _, _ = strings.Cut(rest, ">")
	}
	return v
}

// mailboxes reads the address fields. Which author counts is for From alone.
func (c *collector) mailboxes(h *m.Header) {
	a := h.Authors()
	f := &c.facts
	f.From, f.FromFields = c.boxes(nil, a.List), a.Fields
	_, f.FromOK = a.One()
	switch {
	case a.Fields == 0:
		c.flaws.add(fromMissing)
	case a.Fields > 1 || len(a.List) > 1:
		c.flaws.add(fromMultiple)
	}
	if a.Fields > 0 && !f.FromOK && !(a.OK && len(a.List) > 1) || slices.ContainsFunc(f.From, cutShort) {
		c.flaws.add(fromMalformed)
	}
	for i := range h.Fields {
		field := &h.Fields[i]
		switch {
		case field.Is("Reply-To"):
			f.ReplyTo = c.addresses(f.ReplyTo, field)
		case field.Is("To"):
			f.To = c.addresses(f.To, field)
		case field.Is("Cc"):
			f.Cc = c.addresses(f.Cc, field)
		}
	}
}

func (c *collector) addresses(have []From, f *m.Field) []From {
	if len(have) >= maxFactAddresses {
		return have
	}
	list, _ := m.ParseAuthors(string(f.Body()))
	return c.boxes(have, list)
}

func (c *collector) boxes(have []From, list []m.Author) []From {
	if have == nil && len(list) > 0 {
		have = make([]From, 0, len(list))
	}
	for _, a := range list {
		if len(have) >= maxFactAddresses {
			break
		}
		name := clipUTF8(decodeWords(a.Name), maxNameBytes)
		_, mixed := scriptsOf(name)
		have = append(have, From{Name: name, Address: clipUTF8(a.Address, maxNameBytes), Domain: a.Domain, NameDomain: shownDomain(name, a.Domain), NameMixed: mixed})
	}
	return have
}

// cutShort reports a display name with a NUL or a line end inside, from an encoded word: some readers
// show what stands before it and nothing of the address (Mailsploit).
func cutShort(f From) bool {
	return strings.IndexByte(f.Name, 0) >= 0 || strings.ContainsAny(strings.Trim(f.Name, " \t\r\n"), "\r\n")
}

// shownDomain finds an address in a display name and gives its domain, unless it is own: many
// mail programs show people the name alone.
func shownDomain(name, own string) string {
	if isASCII(name) {
		return addressDomain(name, own)
	}
	name = strings.NewReplacer("\uff20", "@", "\ufe6b", "@").Replace(name)
	d := addressDomain(name, own)
	if _, turned, ok := strings.Cut(name, "\u202e"); ok && d == "" { // right to left: shown the other way round
		r := []rune(turned)
		slices.Reverse(r)
		d = addressDomain(string(r), own)
	}
	return d
}

func addressDomain(name, own string) string {
	for {
		_, rest, ok := strings.Cut(name, "@")
		if !ok {
			return ""
		}
		name = rest
		end := strings.IndexFunc(rest, func(r rune) bool {
			if r >= 0x80 {
				return !strings.ContainsRune("\u3002\uff0e\uff61", r) && (unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r))
			}
			return !isLetter(byte(r)) && !(r >= '0' && r <= '9') && strings.IndexByte("._-", byte(r)) < 0
		})
		if end < 0 {
			end = len(rest)
		}
		d, err := m.ParseDomain(strings.Trim(rest[:end], "."))
		if err == nil && strings.Contains(d, ".") && d != own {
			return d
		}
	}
}

// checkFields looks for lines that are no fields and for fields that hide in others.
func checkFields(h *m.Header, flaws *defects) {
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Malformed || len(f.Name) > 1 && f.Name[0] == '-' {
			flaws.add(malformedHeader)
			continue
		}
		// Continuations: blank-looking ones, and those that look like a field of their own.
		rest := f.Raw
		for {
			j := bytes.IndexByte(rest, '\n')
			if j < 0 || j+1 == len(rest) {
				break
			}
			rest = rest[j+1:]
			line := rest
			if k := bytes.IndexByte(rest, '\n'); k >= 0 {
				line = rest[:k]
			}
			line = bytes.TrimLeft(line, " \t")
			switch {
			case len(bytes.TrimRight(line, "\r\n")) == 0:
				flaws.add(malformedHeader)
			case hides(line):
				flaws.add(hiddenField)
			}
		}
	}
	if len(h.Fields) > 0 && len(h.Fields[0].Raw) > 0 && isBlank(h.Fields[0].Raw[0]) {
		flaws.add(malformedHeader)
	}
}

// hides reports whether a continuation reads like a field that matters with a value of its kind;
// the h= list of a DKIM signature has the names alone.
func hides(line []byte) bool {
	if len(line) < 5 || line[0]|0x20 != 'c' && line[0]|0x20 != 'f' {
		return false
	}
	name, value, ok := bytes.Cut(line[:min(len(line), 512)], []byte(":"))
	if !ok {
		return false
	}
	value = bytes.TrimSpace(value)
	switch strings.ToLower(string(name)) {
	case "content-type":
		major, _, ok := bytes.Cut(value, []byte("/"))
		return ok && isToken(string(major))
	case "content-transfer-encoding":
		return bytes.EqualFold(value, []byte("base64")) || bytes.EqualFold(value, []byte("quoted-printable"))
	case "from":
		at := bytes.IndexByte(value, '@')
		return at > 0 && bytes.IndexByte(value[:at], ':') < 0 && bytes.IndexByte(value[:at], ';') < 0
	}
	return false
}

// lineEnds counts how the lines of a message end.
type lineEnds struct {
	crs, lfs, pairs int
	nuls            bool
	last            byte
}

func (l *lineEnds) count(p []byte) {
	if len(p) == 0 {
		return
	}
	l.crs += bytes.Count(p, crByte)
	l.nuls = l.nuls || bytes.IndexByte(p, 0) >= 0
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			break
		}
		i += from
		l.lfs++
		if i > 0 && p[i-1] == '\r' || i == 0 && l.last == '\r' {
			l.pairs++
		}
		from = i + 1
	}
	l.last = p[len(p)-1]
}

func (l *lineEnds) judge(flaws *defects) {
	if l.crs > l.pairs {
		flaws.add(bareCR)
	}
	if l.pairs > 0 && l.lfs > l.pairs {
		flaws.add(mixedLineEnds)
	}
	if l.nuls {
		flaws.add(nulByte)
	}
}
