package preview

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"postern/filters"
	m "postern/mail"
)

// maxHops is how many Received fields are shown.
const maxHops = 100

// A Hop is one Received field (RFC 5321 4.4): one server tells that it took the message from
// another. Whoever sends a message can write such fields, so only those are to be trusted that
// servers of one's own have put on top.
type Hop struct {
	From    string    `json:"from,omitempty"`    // who gave it, by his own words
	Address string    `json:"address,omitempty"` // and by the receiver's: the reverse name and the address, in parentheses
	By      string    `json:"by,omitempty"`
	With    string    `json:"with,omitempty"` // the protocol: ESMTPS
	TLS     string    `json:"tls,omitempty"`  // what the field says of the encryption, or "yes" by the protocol; empty: none told
	ID      string    `json:"id,omitempty"`
	For     string    `json:"for,omitempty"`
	When    time.Time `json:"when,omitzero"`
	Delay   *Delay    `json:"delay,omitempty"` // since the hop before; nil when one of the times is missing
	Trusted bool      `json:"trusted"`         // one of our own servers wrote it
	Doubt   string    `json:"doubt,omitempty"` // why its time is suspicious, a sentence
	Raw     string    `json:"raw"`
}

// A Delay is a number of seconds, negative when clocks go backwards.
type Delay struct {
	Seconds int64 `json:"seconds"`
}

// Clocks of honest servers differ by minutes.
const (
	clockSlack = 5 * time.Minute
	longWait   = 24 * time.Hour
)

func readHops(h *m.Header, o Options) []Hop {
	var hops []Hop
	trusted := true
	for i := range h.Fields {
		f := &h.Fields[i]
		if !f.Is("Received") {
			continue
		}
		if len(hops) == maxHops {
			break
		}
		v, _ := clip(f.Value(), 4<<10)
		hop := readHop(filters.DecodeText("", v))
		trusted = trusted && hop.By != "" && slices.ContainsFunc(o.Own, func(own string) bool { return strings.EqualFold(own, hop.By) })
		hop.Trusted = trusted
		hops = append(hops, hop)
	}
	for i := range hops {
		judgeTime(hops, i, o.Received)
	}
	return hops
}

// judgeTime compares a hop with the one before it in time, which stands behind it in the list.
func judgeTime(hops []Hop, i int, received time.Time) {
	h := &hops[i]
	if h.When.IsZero() {
		h.Doubt = "its time is missing or cannot be read"
		return
	}
	if !received.IsZero() && h.When.Sub(received) > clockSlack {
		h.Doubt = "its time lies after the message came here"
	}
	if i+1 == len(hops) || hops[i+1].When.IsZero() {
		return
	}
	d := h.When.Sub(hops[i+1].When)
	h.Delay = &Delay{Seconds: int64(d / time.Second)}
	switch {
	case h.Doubt != "":
	case d < -clockSlack:
		h.Doubt = "its time is before that of the hop before it: a clock is wrong, or the field is made up"
	case d > longWait:
		h.Doubt = "more than a day passed since the hop before it"
	}
}

// readHop takes a Received value apart, as far as it goes.
func readHop(v string) Hop {
	h := Hop{Raw: VisibleName(v)}
	clauses, date := v, ""
	if i := lastSemicolon(v); i >= 0 {
		clauses, date = v[:i], strings.TrimSpace(v[i+1:])
	}
	if t, err := mail.ParseDate(date); err == nil {
		h.When = t.UTC()
	}
	word := ""
	for len(clauses) > 0 {
		clauses = strings.TrimLeft(clauses, " \t\r\n")
		if strings.HasPrefix(clauses, "(") {
			end := m.CommentEnd(clauses, 0)
			if end < 0 {
				end = len(clauses)
			}
			h.comment(word, VisibleName(strings.Trim(clauses[1:end], ") \t")))
			clauses = clauses[end:]
			continue
		}
		end := strings.IndexAny(clauses, " \t\r\n(")
		if end < 0 {
			end = len(clauses)
		}
		token := clauses[:end]
		clauses = clauses[end:]
		if slices.Contains(hopWords, strings.ToLower(token)) {
			word = strings.ToLower(token)
			continue
		}
		h.clause(word, VisibleName(strings.Trim(token, "<>;")))
	}
	if h.TLS == "" && secureProtocol(h.With) {
		h.TLS = "yes"
	}
	return h
}

var hopWords = []string{"from", "by", "via", "with", "id", "for"}

// clause sets what a word announced; the first one counts.
func (h *Hop) clause(word, v string) {
	p := map[string]*string{"from": &h.From, "by": &h.By, "with": &h.With, "id": &h.ID, "for": &h.For}[word]
	if p != nil && *p == "" {
		*p = v
	}
}

// comment takes what stands in parentheses: behind from who it really was, elsewhere what the
// connection was encrypted with.
func (h *Hop) comment(word, v string) {
	low := strings.ToLower(v)
	switch {
	case h.TLS == "" && (strings.Contains(low, "tls") || strings.Contains(low, "cipher")):
		h.TLS = v
	case word == "from" && h.Address == "" && v != "":
		h.Address = v
	}
}

// secureProtocol reports the registered names with an S for TLS (RFC 3848, RFC 6531).
func secureProtocol(p string) bool {
	switch strings.ToUpper(p) {
	case "ESMTPS", "ESMTPSA", "LMTPS", "LMTPSA", "UTF8SMTPS", "UTF8SMTPSA", "UTF8LMTPS", "UTF8LMTPSA", "SMTPS", "HTTPS":
		return true
	}
	return false
}

// lastSemicolon finds the one before the date, outside of comments where there is one.
func lastSemicolon(v string) int {
	depth, found := 0, -1
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '(':
			depth++
		case ')':
			depth = max(0, depth-1)
		case ';':
			if depth == 0 {
				found = i
			}
		}
	}
	if found < 0 {
		found = strings.LastIndexByte(v, ';')
	}
	return found
}
