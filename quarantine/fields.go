package quarantine

import (
	"fmt"

	"postern/search"
)

// Fields are what Query.Where may look at, for rules.ParseSearch. A message for several
// recipients is looked at copy by copy: it fits when one copy does.
func Fields() map[string]search.Field {
	text := func(doc, example string, values ...string) search.Field {
		return search.Field{Type: search.Text, Doc: doc, Example: example, Values: values}
	}
	f := map[string]search.Field{
		"id":    text("our id", `id == "01K9ZT0A6X2V9S3M8Q4R5W7Y1B"`),
		"state": text("where the copy stands", `state == "kept"`, string(Kept), string(Spam), string(Releasing), string(Released), string(Deleted)),
		"class": text("why it is held, in one word", `class in ["spam", "virus"]`,
			"virus", "spoof", "malformed", "attachment", "spam", "policy", "undelivered"),
		"rule":          text("the rule that held it", `rule == "spoof"`),
		"because":       text("the sentence why", `because contains "DMARC"`),
		"score":         {Type: search.Number, Doc: "the copy's score", Example: "score > 5"},
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
		"expires":       {Type: search.Time, Doc: "when it will be removed", Example: `expires < date("2026-12-01")`},
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

// A Mark is a field that another room's table in the same database adds to Query.Where: whether
// it has a row for a message, or what stands there. The texts are fixed parts of the program,
// never of a person or a message: values are Args.
type Mark struct {
	Table string // has a column item, the id of an item here
	Where string // which of its rows, such as "by_whom = ?"; "": all
	Args  []any  // for the question marks of Where
	Value string // a column: the field is its text, "" without a row; "": the field is a Bool, whether there is a row
	Few   bool   // these rows are some thousands at most: messages are found from there
}

// soughtColumns says how the fields stand in sought.
func (q *Query) soughtColumns() map[string]search.Column {
	columns := map[string]search.Column{
		"id": {SQL: "lower(s.item)"}, "state": {SQL: "s.state"}, "class": {SQL: "s.class"}, "rule": {SQL: "s.rule"}, "because": {SQL: "s.because"}, "score": {SQL: "s.score"},
		"rcpt": {SQL: "s.rcpt"}, "rcpt.domain": {SQL: "s.domain"}, "sender": {SQL: "s.sender"}, "sender.domain": {SQL: "s.sender_domain"},
		"from": {SQL: "s.from_text"}, "subject": {SQL: "s.subject"}, "client": {SQL: "s.client"}, "message_id": {SQL: "s.message_id"},
		"size": {SQL: "s.size"}, "received": {SQL: "s.received"}, "expires": {SQL: "s.expires"},
		search.Anything: {Has: q.anything},
	}
	for name, m := range q.Marks {
		columns[name] = m.column()
	}
	return columns
}

// anything looks for a part of a text in the message, and in its copies that may be seen.
func (q *Query) anything(part string) (string, []any) {
	const own = "instr(s.subject, ?) > 0 OR instr(s.from_text, ?) > 0 OR instr(s.sender, ?) > 0 OR instr(s.rcpt, ?) > 0 OR instr(s.because, ?) > 0"
	only, args := q.only("o")
	sql := own + " OR (s.many > 1 AND EXISTS (SELECT 1 FROM sought AS o WHERE o.bin IN (1, 2) AND o.seq = s.seq AND o.state <> 'held' AND " + only +
		" AND (instr(o.rcpt, ?) > 0 OR instr(o.because, ?) > 0)))"
	return sql, append(append([]any{part, part, part, part, part}, args...), part, part)
}

func (m *Mark) rows() string {
	if m.Where == "" {
		return "TRUE"
	}
	return "(" + m.Where + ")"
}

func (m *Mark) column() search.Column {
	if m.Value != "" {
		return search.Column{SQL: fmt.Sprintf("lower(coalesce((SELECT m.%s FROM %s AS m WHERE m.item = s.item AND %s), ''))", m.Value, m.Table, m.rows()), Args: m.Args}
	}
	return search.Column{SQL: fmt.Sprintf("EXISTS (SELECT 1 FROM %s AS m WHERE m.item = s.item AND %s)", m.Table, m.rows()), Args: m.Args}
}
