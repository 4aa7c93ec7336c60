package journal

import (
	"fmt"
	"slices"
	"strings"

	"postern/mail"
	"postern/search"
	"postern/store"
)

// Fields are what Query.Where may look at, for rules.ParseSearch. A message for several
// recipients is looked at copy by copy: it fits when one copy does.
func Fields() map[string]search.Field {
	text := func(doc, example string, values ...string) search.Field {
		return search.Field{Type: search.Text, Doc: doc, Example: example, Values: values}
	}
	f := map[string]search.Field{
		"id":     text("our id", `id == "01K9ZT0A6X2V9S3M8Q4R5W7Y1B"`),
		"result": text("what became of the message", `result == "refused"`, results()...),
		"do": text("what was done with the copy", `do == "reject"`,
			"deliver", "quarantine", "reject", "defer", "discard"),
		"class": text("what kind of mail its rule is about", `class in ["spam", "virus"]`,
			"virus", "spoof", "malformed", "attachment", "spam", "policy", "undelivered"),
		"rule":          text("the rule that decided", `rule == "spoof"`),
		"because":       text("the sentence why", `because contains "DMARC"`),
		"score":         {Type: search.Number, Doc: "the copy's score", Example: "score > 5"},
		"reply":         text("what was said to the client, or by the internal server", `reply contains "550"`),
		"rcpt":          text("the recipient's address", `rcpt == "ana@a.example"`),
		"rcpt.domain":   text("its domain", `rcpt.domain == "a.example"`),
		"sender":        text("the sender of the envelope; \"\" is the null sender", `sender == "bob@b.example"`),
		"sender.domain": text("its domain", `sender.domain endsWith ".example"`),
		"from":          text("the From field, name and address", `from contains "Bank"`),
		"subject":       text("the subject", `subject contains "invoice"`),
		"client":        text("the address it came from", `client == "192.0.2.1"`),
		"message_id":    text("the Message-ID field", `message_id == "<1@b.example>"`),
		"size":          {Type: search.Number, Doc: "bytes of the message", Example: "size > 1024 * 1024"},
		"received":      {Type: search.Time, Doc: "when it came", Example: `received > ago("2d")`},
		search.Anything: text("subject, From, sender, recipients and sentences; what plain words look in", `text contains "invoice"`),
	}
	for name, is := range map[string]string{"rcpt.address": "rcpt", "sender.address": "sender", "client.addr": "client",
		"message.size": "size", "message.received": "received", "message.id": "id"} {
		field := f[is]
		field.Is = is
		f[name] = field
	}
	return f
}

func results() []string {
	return []string{"delivered", "held", "mixed", "refused", "deferred", "discarded", "command", "abandoned"}
}

// For leaves in e only what became of the copies for some addresses and @domains (in lower case),
// and what was said about those; false when there is none. What tells of others is left out:
// of a message that had more copies, the timeline, too.
func (e *Entry) For(only []string) bool {
	var own []Outcome
	for i := range e.Outcomes {
		if sees(only, e.Outcomes[i].Recipient) {
			own = append(own, e.Outcomes[i])
		}
	}
	if len(own) == len(e.Outcomes) {
		return len(own) > 0
	}
	e.Outcomes, e.Steps, e.Reply = own, nil, mail.Reply{}
	e.Envelope.Recipients = slices.DeleteFunc(slices.Clone(e.Envelope.Recipients), func(r mail.RcptTo) bool { return !sees(only, r.Address) })
	e.Result = resultOf(own)
	return len(own) > 0
}

func sees(only []string, a mail.Address) bool {
	return slices.Contains(only, key(a)) || slices.Contains(only, "@"+store.Clean(strings.ToLower(a.Domain), maxField))
}

// resultOf is the result of a message that had these copies alone.
func resultOf(outcomes []Outcome) string {
	words := map[string]string{"deliver": "delivered", "quarantine": "held", "reject": "refused", "defer": "deferred", "discard": "discarded", "command": "command", "": "abandoned"}
	result := ""
	for i := range outcomes {
		w := words[outcomes[i].Do]
		if result != "" && w != result {
			return "mixed"
		}
		result = w
	}
	return result
}

// fits tells whether what Only leaves of e is what the query asks for.
func (q *Query) fits(e *Entry, c *search.Condition) bool {
	if q.Only != nil && !e.For(q.Only) {
		return false
	}
	outcomes := e.Outcomes
	if len(outcomes) == 0 {
		outcomes = []Outcome{{}}
	}
	for i := range outcomes {
		o := &outcomes[i]
		if c.Match(func(field string) any { return e.fact(o, field) }) {
			return true
		}
	}
	return false
}

// fact is what a field holds for one copy.
func (e *Entry) fact(o *Outcome, field string) any {
	switch field {
	case "received":
		return e.Received
	case "size":
		return float64(e.Size)
	case "score":
		return o.Score
	case search.Anything:
		return e.anything()
	case "reply":
		return e.replies()
	}
	return search.Key(e.textFact(o, field))
}

func (e *Entry) textFact(o *Outcome, field string) string {
	switch field {
	case "id":
		return e.ID
	case "result":
		return e.Result
	case "do":
		return o.Do
	case "class":
		return o.Class
	case "rule":
		return o.Rule
	case "because":
		return o.Because
	case "rcpt":
		return o.Recipient.String()
	case "rcpt.domain":
		return o.Recipient.Domain
	case "sender":
		return e.Envelope.Sender.String()
	case "sender.domain":
		return e.Envelope.Sender.Domain
	case "from":
		return e.From
	case "subject":
		return strings.ReplaceAll(store.Clean(e.Subject, maxField), "\n", " ")
	case "client":
		return e.Envelope.Client.Addr.String()
	case "message_id":
		return store.Clean(e.MessageID, maxField)
	}
	panic(fmt.Sprintf("journal: a query has the field %s", field)) // where refused it
}

func (e *Entry) anything() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(e.Subject, "\n", " ") + "\n" + e.From + "\n" + e.Envelope.Sender.String())
	for i := range e.Outcomes {
		b.WriteString("\n" + e.Outcomes[i].Recipient.String() + "\n" + e.Outcomes[i].Because)
	}
	return search.Key(b.String())
}

func (e *Entry) replies() string {
	var b strings.Builder
	if e.Reply.Code != 0 {
		b.WriteString(e.Reply.String())
	}
	for i := range e.Outcomes {
		b.WriteString("\n" + e.Outcomes[i].Reply + "\n" + e.Outcomes[i].Upstream)
	}
	return search.Key(b.String())
}
