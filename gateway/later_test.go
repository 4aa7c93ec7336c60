package gateway

import (
	"context"
	"testing"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// laterFilter is asked at RCPT, and again with the data where it answers ErrLater; it notes for
// whom it was asked and whether with the body.
func laterFilter(asked *string, varies, early bool) filters.Filter {
	return filters.Filter{Name: "to", Stage: mail.Recipient, Later: true, Quick: true, After: []string{"body"}, Facts: toFacts{},
		Varies: func() bool { return varies },
		Gather: func(_ context.Context, in *filters.Input) (any, error) {
			note := in.Recipient.Local
			if in.Body != nil {
				note += "+body"
			}
			*asked += note + ","
			if !early && in.Body == nil {
				return nil, filters.ErrLater
			}
			return toFacts{Address: in.Recipient.String()}, nil
		}}
}

// A filter that can tell only later is asked again with the data, in the scope of its recipient;
// one whose facts are the same for all is asked once a message.
func TestLaterFilters(t *testing.T) {
	for _, c := range []struct {
		varies, early bool
		asked         string
	}{
		{true, true, "bob,ann,"},
		{true, false, "bob,ann,bob+body,ann+body,"},
		{false, true, ","}, // for nobody in particular, at the first RCPT
		{false, false, ",,+body,"},
	} {
		var asked string
		reject := verdictOf(nil, rules.Reject)
		reject.Rule = "not-bob"
		b := newBed(t, fakeRules{[]fakeRule{{fact: "to", when: func(v any) bool { return v.(toFacts).Address == "ann@example.org" }, verdict: reject}}},
			[]filters.Filter{laterFilter(&asked, c.varies, c.early), bodyFilter()})
		reply, refused := b.submit(t, b.talk(), []string{"bob@example.org", "ann@example.org"}, &textUpload{text: sample})
		if asked != c.asked {
			t.Errorf("%+v: asked for %q", c, asked)
		}
		if early := refused["ann@example.org"] != nil; early != (c.varies && c.early) || !reply.OK() {
			t.Errorf("%+v: refused %v, reply %v", c, refused, reply)
		}
		e := b.j.order[0]
		if state := e.Filters[0]; c.early && (state.Name != "to" || state.State != "done") {
			t.Errorf("%+v: %+v", c, e.Filters)
		}
		if c.varies && !c.early && e.Outcomes[1].Verdict != "reject" { // with bob's copy delivered, ann's is held
			t.Errorf("%+v: %+v", c, e.Outcomes)
		}
	}
}
