package gateway

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"slices"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/rules"
)

// Bounds of what one entry holds.
const (
	maxSteps      = 100
	usualSteps    = 4
	maxRcptFacts  = 20 // recipients whose own facts are kept
	maxHeaderText = 300
)

// note adds an event to the trace.
func (t *transaction) note(what, why string) {
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, journal.Step{At: time.Since(t.began), What: what, Why: bounded(why, 500)})
	}
}

// record writes the journal entry. Nothing depends on it any more: a failure is logged and shows
// in Healthy.
func (t *transaction) record(reply *mail.Reply) {
	defer func() {
		if v := recover(); v != nil {
			t.panicked(v)
		}
	}()
	if t.recorded {
		return
	}
	ctx := t.afterwards()
	defer ctx.end()
	t.recorded = true
	err := t.g.journal.Record(ctx, t.entry(reply))
	t.g.trouble.set(troubleJournal, err)
	if err != nil {
		t.g.log.Error("the journal did not take the entry of this message", "id", t.env.ID, "error", err)
	}
}

// recordDurably makes the entry durable, which is the only trace of discarded copies.
func (t *transaction) recordDurably(reply *mail.Reply) error {
	ctx := t.afterwards()
	defer ctx.end()
	err := t.g.journal.RecordDurably(ctx, t.entry(reply))
	t.g.trouble.set(troubleJournal, err)
	if err != nil {
		return fmt.Errorf("record %s: %w", t.env.ID, err)
	}
	t.recorded = true
	return nil
}

// entry tells all of the transaction, as it stands.
func (t *transaction) entry(reply *mail.Reply) *journal.Entry {
	if t.toInbox {
		t.hideSecrets()
	}
	e := &journal.Entry{ID: t.env.ID, Received: t.env.Received, Policy: t.policy.version, Envelope: t.env,
		Steps: t.steps, Took: time.Since(t.began)}
	s := t.summary()
	e.Subject, e.From, e.MessageID = s.subject, s.from, s.messageID
	if t.body != nil {
		e.Size = t.body.Size()
	}
	if reply != nil {
		e.Reply = *reply
	}
	for _, r := range t.rcpts {
		o := r.outcome(reply, t.result == abandoned)
		if r.decided {
			o.Rules, o.Place, o.Shadow = r.verdict.Trace, r.acting().Place, shadowOf(r.verdict.Shadow)
		}
		e.Outcomes = append(e.Outcomes, o)
	}
	e.Result = t.sum()
	t.gathered(e)
	return e
}

// outcome tells what became of one recipient. reply is the message's, nil when there was none.
func (r *recipient) outcome(reply *mail.Reply, gone bool) journal.Outcome {
	v := r.acting()
	said := reply
	if r.refused != nil {
		said = r.refused
	}
	if r.refused == nil && gone {
		r.did, said = rules.None, nil
	} else if said != nil && !said.OK() && r.did != rules.Reject && r.did != rules.Defer {
		r.did = rules.Reject
		if said.Temporary() {
			r.did = rules.Defer
		}
	}
	o := journal.Outcome{Recipient: r.to.Address, Rule: v.Rule, Class: v.Class, Because: bounded(r.because(said), 500),
		Score: v.Score, Held: r.held, Breaker: r.verdict.Breaker}
	if r.did != rules.None {
		o.Do = r.did.String()
	}
	if r.errand != nil && r.errand.done {
		o.Do = commanded
	}
	if r.decided && r.verdict.Do != r.did {
		o.Verdict = r.verdict.Do.String()
	}
	if r.note == undelivered {
		o.Class = undelivered
	} else if r.note != "" {
		o.Because = bounded(joined(o.Because, r.note), 500)
	}
	if said != nil {
		o.Reply = said.String()
	}
	if r.upstream != nil {
		o.Upstream = mail.Printable(r.upstream.String(), maxText)
	}
	o.Effects = r.effects()
	return o
}

// effects tells what was done to the copy, and beside it.
func (r *recipient) effects() (list []string) {
	for i := range r.verdict.Effects {
		x := &r.verdict.Effects[i]
		if r.did != rules.Deliver && (r.did == rules.None || x.Name != notifyEffect) {
			continue
		}
		said := x.String()
		note := ""
		if r.plan != nil && r.plan.notes[said] != "" {
			note = ": " + r.plan.notes[said]
		}
		list = append(list, bounded(said, 200)+note)
	}
	return list
}

// because is why this became of the copy; said is the reply that covers it. Where the rules
// did not refuse, whoever did has the word.
func (r *recipient) because(said *mail.Reply) string {
	v := r.acting()
	switch {
	case said == nil || said.OK() || v.Do == rules.Reject || v.Do == rules.Defer:
		return v.Because
	case r.upstream != nil && !r.upstream.OK():
		return "the internal server refused it: " + mail.Printable(r.upstream.String(), maxText)
	}
	return said.Text
}

func joined(because, note string) string {
	if because == "" {
		return note
	}
	return because + " (" + note + ")"
}

// Results of a transaction in one word, of those that no verdict has.
const (
	abandoned = "abandoned"
	commanded = "command" // mail to Postern itself
)

// sum gives the result in one word: of the recipients that were accepted, if any.
func (t *transaction) sum() string {
	result := ""
	for _, r := range t.rcpts {
		if r.refused != nil && len(t.env.Recipients) > 0 {
			continue
		}
		word := inOneWord(r.did)
		if r.errand != nil && r.errand.done {
			word = commanded
		}
		switch {
		case result == "":
			result = word
		case result != word && len(t.env.Recipients) == 0:
			result = inOneWord(rules.Defer) // some may be tried again
		case result != word:
			return "mixed"
		}
	}
	if result == "" {
		return abandoned
	}
	return result
}

func inOneWord(d rules.Disposition) string {
	switch d {
	case rules.Deliver:
		return "delivered"
	case rules.Quarantine:
		return "held"
	case rules.Reject:
		return "refused"
	case rules.Defer:
		return "deferred"
	case rules.Discard:
		return "discarded"
	}
	return abandoned
}

// shadowOf is what the journal tells of shadow rules.
func shadowOf(a *rules.Alternate) *journal.Shadow {
	if a == nil {
		return nil
	}
	return &journal.Shadow{Do: a.Do.String(), Rule: a.Rule, Because: bounded(a.Because, 500), Effects: a.Effects}
}

// gathered adds facts and timings of all filters. What was stopped has no facts; what nobody
// had to ask, since the message was decided without it, is told too. What only repeats what was
// said is not kept twice.
func (t *transaction) gathered(e *journal.Entry) {
	n := len(t.policy.names)
	e.Filters, e.Found = make([]journal.Timing, 0, n), make([]journal.Found, 0, n)
	for _, s := range []*filters.Scope{t.c.scope, t.scope} {
		t.facts(e, s, journal.All)
	}
	for i, r := range t.rcpts {
		if r.scope != t.scope && i < maxRcptFacts {
			t.facts(e, r.scope, i)
		}
	}
	if t.result == abandoned {
		return
	}
	for _, name := range t.policy.names {
		if !slices.ContainsFunc(e.Filters, func(tm journal.Timing) bool { return tm.Name == name }) {
			e.Filters = append(e.Filters, journal.Timing{Name: name, State: journal.NotNeeded})
		}
	}
}

// facts adds those of one scope: of the recipient with this number, or of all.
func (t *transaction) facts(e *journal.Entry, s *filters.Scope, rcpt int) {
	for _, res := range s.Results() {
		tm := t.timing(&res)
		e.Filters = append(e.Filters, tm)
		if tm.State != journal.Cancelled && !t.policy.filters[res.Name].Said {
			e.Found = append(e.Found, journal.Found{Name: res.Name, Rcpt: rcpt, Facts: res.Facts})
		}
	}
}

// timing tells how a filter ended: by itself, or by what stopped it.
func (t *transaction) timing(res *filters.Result) journal.Timing {
	tm := journal.Timing{Name: res.Name, State: journal.Done, Began: res.Began.Sub(t.began), Took: res.Took}
	if res.Err != nil {
		tm.Error = bounded(res.Err.Error(), 500)
		if p := (*filters.PanicError)(nil); errors.As(res.Err, &p) {
			t.crashed = true
			t.g.log.Error("panic in a filter", "id", t.env.ID, "filter", p.Filter, "value", fmt.Sprint(p.Value), "stack", string(p.Stack))
		}
	}
	stopped := t.work.why()
	switch {
	case !res.Done || errors.Is(res.Err, context.Canceled) || stopped != nil && errors.Is(res.Err, stopped):
		tm.State, tm.Error = journal.Cancelled, ""
		if stopped != nil {
			tm.Error = bounded(stopped.Error(), 500)
		}
	case res.Timeout:
		tm.State = journal.TimedOut
	case res.Err != nil:
		tm.State = journal.Failed
	}
	return tm
}

// A summary is what people know a message by.
type summary struct{ subject, from, messageID string }

// summary reads it from the header, leniently and bounded.
func (t *transaction) summary() summary {
	if t.header == nil {
		return summary{}
	}
	return summary{headerText(t.header, "Subject"), headerText(t.header, "From"), headerText(t.header, "Message-ID")}
}

func headerText(h *mail.Header, name string) string {
	f := h.Get(name)
	if f == nil {
		return ""
	}
	raw := bounded(f.Value(), 4*maxHeaderText)
	d := mime.WordDecoder{}
	if text, err := d.DecodeHeader(raw); err == nil {
		raw = text
	}
	return bounded(raw, maxHeaderText)
}
