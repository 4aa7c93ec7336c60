package journal

import (
	stdjson "encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/encoding/json" // of what is encoded, a third of the time of encoding/json
)

// The detail of an entry is what encoding/json makes of stored, written by hand: it is made
// for each message, and half of it is JSON already.

// entry writes the detail.
func (x *encoder) entry(r *row) error {
	e := r.e
	x.detail = append(x.detail[:0], '{')
	x.text("id", e.ID)
	x.time("received", e.Received)
	x.text("policy", e.Policy)
	x.envelope(&e.Envelope)
	x.words("subject", e.Subject)
	x.words("from", e.From)
	x.words("message_id", e.MessageID)
	x.number("size", e.Size)
	x.text("result", e.Result)
	x.list("filters", len(e.Filters), func(i int) {
		t := &e.Filters[i]
		x.text("name", t.Name)
		x.text("state", t.State)
		x.span("began", t.Began)
		x.span("took", t.Took)
		x.words("error", t.Error)
	})
	x.list("steps", len(e.Steps), func(i int) {
		x.span("at", e.Steps[i].At)
		x.text("what", e.Steps[i].What)
		x.words("why", e.Steps[i].Why)
	})
	x.span("took", e.Took)
	x.reply(&e.Reply)
	x.list("outcomes", len(e.Outcomes), func(i int) { x.outcome(r, &e.Outcomes[i]) })
	x.facts(e.Facts)
	x.detail = append(x.detail, '}')
	err := x.err
	x.err = nil
	return err
}

func (x *encoder) outcome(r *row, o *Outcome) {
	x.text("recipient", o.Recipient.String())
	x.text("do", o.Do)
	x.words("verdict", o.Verdict)
	x.words("rule", o.Rule)
	x.words("class", o.Class)
	x.words("because", o.Because)
	if o.Score == 0 && !math.Signbit(o.Score) {
		x.number("score", 0)
	} else {
		x.value("score", o.Score)
	}
	x.words("reply", o.Reply)
	x.words("upstream", o.Upstream)
	x.words("held", o.Held)
	if len(o.Effects) > 0 {
		x.value("effects", o.Effects)
	}
	x.words("place", o.Place)
	if len(o.Breaker) > 0 {
		x.value("breaker", o.Breaker)
	}
	if o.Shadow != nil {
		x.value("shadow", o.Shadow)
	}
	if w := x.walks.named(o.Rules); w != nil {
		x.text("walk", w.id)
		if !slices.Contains(r.walks, w) {
			r.walks = append(r.walks, w)
		}
	} else if len(o.Rules) > 0 {
		if !json.Valid(o.Rules) {
			x.err = errors.New("the rules of an outcome are no JSON")
			return
		}
		x.raw("rules", o.Rules)
	}
	x.facts(o.Facts)
}

func (x *encoder) facts(facts map[string]stdjson.RawMessage) {
	if len(facts) == 0 {
		return
	}
	x.member("facts")
	x.detail = append(x.detail, '{')
	x.names = slices.AppendSeq(x.names[:0], maps.Keys(facts))
	slices.Sort(x.names)
	for _, name := range x.names {
		raw := facts[name]
		if len(raw) == 0 {
			raw = stdjson.RawMessage("null")
		}
		x.raw(name, raw)
	}
	x.detail = append(x.detail, '}')
}

// member begins a member of an object: what was written last is its brace or another member.
func (x *encoder) member(name string) {
	if x.detail[len(x.detail)-1] != '{' {
		x.detail = append(x.detail, ',')
	}
	x.detail = append(json.AppendEscape(x.detail, name, 0), ':')
}

func (x *encoder) raw(name string, text []byte) {
	x.member(name)
	x.detail = append(x.detail, text...)
}

func (x *encoder) text(name, s string) {
	x.member(name)
	x.detail = json.AppendEscape(x.detail, s, 0)
}

// words is text that is left out when there is none.
func (x *encoder) words(name, s string) {
	if s != "" {
		x.text(name, s)
	}
}

func (x *encoder) number(name string, n int64) {
	x.member(name)
	x.detail = strconv.AppendInt(x.detail, n, 10)
}

func (x *encoder) span(name string, d time.Duration) { x.number(name, int64(d)) }

func (x *encoder) value(name string, v any) {
	x.member(name)
	b, err := json.Append(x.detail, v, 0)
	if err != nil {
		x.err = err
		return
	}
	x.detail = b
}

// list writes n objects, each with what object writes.
func (x *encoder) list(name string, n int, object func(i int)) {
	if n == 0 {
		return
	}
	x.member(name)
	x.detail = append(x.detail, '[')
	for i := range n {
		if i > 0 {
			x.detail = append(x.detail, ',')
		}
		x.detail = append(x.detail, '{')
		object(i)
		x.detail = append(x.detail, '}')
	}
	x.detail = append(x.detail, ']')
}
