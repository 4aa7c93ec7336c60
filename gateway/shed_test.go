package gateway

import (
	"context"
	"testing"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// When a filter has too much to do, mail that may need it is put off before its data; mail whose
// fate is known without it is not.
func TestS35_PutOffBeforeTheData(t *testing.T) {
	full := true
	nothing := func(context.Context, *filters.Input) (any, error) { return textFacts{}, nil }
	fs := []filters.Filter{
		{Name: "scan", Stage: mail.Data, Facts: textFacts{}, Lazy: true, Full: func() bool { return full }, Gather: nothing},
		{Name: "who", Stage: mail.Recipient, Facts: textFacts{}, Gather: nothing},
	}
	decided := fakeRules{list: []fakeRule{{fact: "who", when: func(any) bool { return true }, verdict: rules.Verdict{Do: rules.Quarantine}}, {fact: "scan", when: func(any) bool { return false }}}}
	open := fakeRules{list: []fakeRule{{fact: "scan", when: func(any) bool { return false }}}}
	for _, c := range []struct {
		name  string
		p     decider
		full  bool
		reply string
	}{
		{"open", open, true, "451 4.3.2 Too busy to check mail at the moment, try again later"},
		{"decided", decided, true, "250 2.0.0"},
		{"not full", open, false, "250 2.0.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			full = c.full
			b := newBed(t, c.p, fs)
			u := &textUpload{text: sample}
			r, refused := b.submit(t, b.talk(), []string{"a@example.org", "b@example.org"}, u)
			if got := r.String(); len(refused) > 0 || len(got) < len(c.reply) || got[:len(c.reply)] != c.reply {
				t.Fatalf("%s, %v", got, refused)
			}
			e := b.j.order[0]
			if shed := r.Code == 451; shed != (len(u.text) > 0) || shed && (e.Result != "deferred" || len(e.Outcomes) != 2 || e.Outcomes[1].Reply != c.reply) {
				t.Errorf("%d bytes left, journal: %s %+v", len(u.text), e.Result, e.Outcomes)
			}
		})
	}
}
