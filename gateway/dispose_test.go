package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

func TestChart(t *testing.T) {
	const (
		D = rules.Deliver
		Q = rules.Quarantine
		R = rules.Reject
		L = rules.Defer
		X = rules.Discard
	)
	tag := []rules.Effect{{Name: "tag_subject", Args: []string{"x"}}}
	tests := []struct {
		name   string
		do     []rules.Disposition
		routes string // a letter a recipient
		tagged string // "x" for each that has an effect
		want   course
	}{
		{name: "any Defer", do: []rules.Disposition{D, Q, L, X}, want: course{refuse: L, because: 2}},
		{name: "Defer before Reject", do: []rules.Disposition{R, L}, want: course{refuse: L, because: 1}},
		{name: "no disposition is no delivery", do: []rules.Disposition{D, rules.None}, want: course{refuse: L, because: 1}},
		{name: "all Reject, the first rule's text", do: []rules.Disposition{R, R}, want: course{refuse: R}},
		{name: "Reject and Discard", do: []rules.Disposition{X, R}, want: course{refuse: R, because: 1}},
		{name: "some Reject are held", do: []rules.Disposition{R, D}, want: course{hold: []int{0}, send: []group{{route: "a", to: []int{1}}}}},
		{name: "Reject beside Quarantine is held", do: []rules.Disposition{Q, R}, want: course{hold: []int{0, 1}}},
		{name: "Deliver and Quarantine", do: []rules.Disposition{D, Q}, want: course{hold: []int{1}, send: []group{{route: "a", to: []int{0}}}}},
		{name: "Quarantine only", do: []rules.Disposition{Q, Q}, want: course{hold: []int{0, 1}}},
		{name: "Discard only", do: []rules.Disposition{X, X}, want: course{discard: []int{0, 1}}},
		{name: "Discard and others", do: []rules.Disposition{X, D, Q}, want: course{discard: []int{0}, hold: []int{2}, send: []group{{route: "a", to: []int{1}}}}},
		{name: "several servers", do: []rules.Disposition{D, D, D}, routes: "aba", want: course{send: []group{{route: "a", to: []int{0, 2}}, {route: "b", to: []int{1}}}}},
		{name: "several effects", do: []rules.Disposition{D, D, D}, tagged: " xx", want: course{send: []group{{route: "a", to: []int{0}}, {route: "a", effects: tag, to: []int{1, 2}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var vs []rules.Verdict
			var routes []string
			for i, do := range tt.do {
				v := rules.Verdict{Do: do}
				if i < len(tt.tagged) && tt.tagged[i] == 'x' {
					v.Effects = slices.Clone(tag)
				}
				vs = append(vs, v)
				route := "a"
				if tt.routes != "" {
					route = tt.routes[i : i+1]
				}
				routes = append(routes, route)
			}
			if got := chart(vs, routes); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestS51_EachRowOfTheMixedVerdictTable runs whole transactions and looks at where each copy is.
func TestS51_EachRowOfTheMixedVerdictTable(t *testing.T) {
	d, q, r := rules.Verdict{Do: rules.Deliver}, rules.Verdict{Do: rules.Quarantine, Class: "spam", Because: "spammy"}, rules.Verdict{Do: rules.Reject, Because: "go away"}
	l, x := rules.Verdict{Do: rules.Defer, Because: "come back"}, rules.Verdict{Do: rules.Discard}
	tests := []struct {
		name      string
		verdicts  map[string]rules.Verdict
		data      map[string]*mail.Reply
		reply     string
		delivered string
		kept      string
		result    string
		calls     string // of quarantine, journal and the internal server's data, in order
	}{
		{name: "deliver", verdicts: map[string]rules.Verdict{"a@example.org": d}, reply: "250 2.0.0 queued as 4711", delivered: "a@example.org", result: "delivered", calls: "send record"},
		{name: "any defer", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@example.org": l}, reply: "451 4.3.0 come back (", result: "deferred", calls: "record"},
		{name: "all reject", verdicts: map[string]rules.Verdict{"a@example.org": r, "b@example.org": r}, reply: "550 5.7.1 go away (", result: "refused", calls: "record"},
		{name: "some reject", verdicts: map[string]rules.Verdict{"a@example.org": r, "b@example.org": d}, reply: "250", delivered: "b@example.org", kept: "a@example.org", result: "mixed", calls: "hold send keep record"},
		{name: "deliver and hold", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@example.org": q}, reply: "250 2.0.0 queued as 4711", delivered: "a@example.org", kept: "b@example.org", result: "mixed", calls: "hold send keep record"},
		{name: "deliver and hold, refused", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@example.org": q}, data: map[string]*mail.Reply{"": {Code: 554, Enhanced: [3]int{5, 6, 0}, Text: "no such content here"}},
			reply: "554 5.6.0 no such content here", result: "refused", calls: "hold send drop record"},
		{name: "hold only", verdicts: map[string]rules.Verdict{"a@example.org": q, "b@example.org": q}, reply: "250 2.0.0 OK 0", kept: "a@example.org b@example.org", result: "held", calls: "hold keep record"},
		{name: "discard only", verdicts: map[string]rules.Verdict{"a@example.org": x}, reply: "250 2.0.0 OK 0", result: "discarded", calls: "record durably"},
		{name: "discard and others", verdicts: map[string]rules.Verdict{"a@example.org": x, "b@example.org": d}, reply: "250", delivered: "b@example.org", result: "mixed", calls: "hold send record durably drop"},
		{name: "two servers", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@other.test": d}, reply: "250", delivered: "a@example.org b@other.test", result: "delivered", calls: "hold send send drop record"},
		{name: "two servers, the first refuses", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@other.test": d}, data: map[string]*mail.Reply{"": {Code: 452, Enhanced: [3]int{4, 3, 1}, Text: "full"}},
			reply: "452 4.3.1 full", result: "deferred", calls: "hold send drop record"},
		{name: "two servers, the second refuses", verdicts: map[string]rules.Verdict{"a@example.org": d, "b@other.test": d}, data: map[string]*mail.Reply{"two": {Code: 554, Enhanced: [3]int{5, 6, 0}, Text: "no"}},
			reply: "250", delivered: "a@example.org", kept: "b@other.test", result: "mixed", calls: "hold send send keep record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, byRecipient(tt.verdicts), append(twoFilters(), toFilter()))
			b.up.routes = map[string]string{"other.test": "two"}
			b.up.data = tt.data
			var to []string
			for a := range tt.verdicts {
				to = append(to, a)
			}
			slices.Sort(to)
			c := b.talk()
			reply, refused := b.submit(t, c, to, &textUpload{text: sample})
			c.end(nil)
			if len(refused) > 0 {
				t.Fatalf("refused at RCPT: %v", refused)
			}
			if !strings.HasPrefix(reply.String(), tt.reply) {
				t.Errorf("reply %q, want %q", reply, tt.reply)
			}
			if got := strings.Join(b.delivered(), " "); got != tt.delivered {
				t.Errorf("delivered to %q, want %q", got, tt.delivered)
			}
			kept := b.q.in(quarantine.Kept)
			slices.Sort(kept)
			if got := strings.Join(kept, " "); got != tt.kept {
				t.Errorf("kept for %q, want %q", got, tt.kept)
			}
			if left := b.q.in(quarantine.Held); len(left) > 0 {
				t.Errorf("left open: %q", left)
			}
			calls := slices.DeleteFunc(slices.Clone(b.calls), func(s string) bool { return s == "begin" || s == "rcpt" })
			if got := strings.Join(calls, " "); got != tt.calls {
				t.Errorf("calls %q, want %q", got, tt.calls)
			}
			e := b.j.order[len(b.j.order)-1]
			if e.Result != tt.result {
				t.Errorf("result %q, want %q", e.Result, tt.result)
			}
			for id, held := range b.q.bytes {
				if string(held) != sample {
					t.Errorf("%s holds other bytes than received", id)
				}
			}
			if b.up.open != 0 {
				t.Errorf("%d deliveries left open", b.up.open)
			}
		})
	}
}

func (b *bed) delivered() (to []string) {
	for _, m := range b.up.got {
		to = append(to, m.to...)
	}
	slices.Sort(to)
	return to
}

func TestUndeliveredClass(t *testing.T) {
	d := rules.Verdict{Do: rules.Deliver}
	b := newBed(t, byRecipient(map[string]rules.Verdict{"a@example.org": d, "b@other.test": d}), append(twoFilters(), toFilter()))
	b.up.routes = map[string]string{"other.test": "two"}
	b.up.data = map[string]*mail.Reply{"two": {Code: 554, Text: "no"}}
	b.submit(t, b.talk(), []string{"a@example.org", "b@other.test"}, &textUpload{text: sample})
	for _, it := range b.q.items {
		if it.Copies[0].Class != "undelivered" || it.State != quarantine.Kept || len(it.Copies) != 1 {
			t.Errorf("kept as %+v", it)
		}
	}
	o := b.j.order[0].Outcomes[1]
	if o.Do != "quarantine" || o.Verdict != "deliver" || o.Class != "undelivered" || o.Upstream != "554 no" || o.Held == "" {
		t.Errorf("outcome %+v", o)
	}
}

func TestRepliesThatDoNotFitAreAmbiguous(t *testing.T) {
	b := newBed(t, always(rules.Verdict{Do: rules.Deliver}), nil)
	b.named = map[string]error{"send": fmt.Errorf("no reply after the dot: %w", ErrAmbiguous)}
	reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample})
	if *reply != *replyUncertain {
		t.Errorf("reply %v", reply)
	}
	e := b.j.order[0]
	if e.Result != "deferred" || !slices.ContainsFunc(e.Steps, func(s journalStep) bool { return s.What == "ambiguous" }) {
		t.Errorf("entry %+v", e)
	}
}

func BenchmarkChart(b *testing.B) {
	vs := []rules.Verdict{{Do: rules.Deliver}, {Do: rules.Quarantine}, {Do: rules.Deliver}}
	routes := []string{"a", "", "a"}
	for b.Loop() {
		chart(vs, routes)
	}
}
