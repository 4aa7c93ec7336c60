package gateway

import (
	"slices"
	"testing"

	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// Whatever neighbour fails, at whatever call: with 250 the recipient and the archive have the
// message and the original of what was taken out is in quarantine; without it the recipient has
// nothing, nothing is kept, and nothing is counted.
func TestEffectsLoseNothing(t *testing.T) {
	raw := mixed + "--O\r\n" + text + "--O\r\n" + exe + "--O--\r\n"
	policy := always(rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: []rules.Effect{
		strip("dangerous"), {Name: "bcc", Args: []string{"all@other.test"}}, {Name: "redirect", Args: []string{"c@example.org"}},
		{Name: "throttle", Args: []string{"sender", "1", "1h"}, Rule: "r"}}})
	calls := 1
	for nth := 0; nth <= calls; nth++ { // first without a failure
		b := newBed(t, policy, nil)
		b.up.routes = map[string]string{"other.test": "archive"}
		b.nth = nth
		reply, refused := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: raw})
		if nth == 0 {
			calls = len(b.calls)
		}
		var to []string
		for _, d := range b.up.got {
			to = append(to, d.to...)
		}
		delivered, archived := slices.Contains(to, "c@example.org"), slices.Contains(to, "all@other.test")
		kept := b.q.in(quarantine.Kept)
		b.nth = 0
		again, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: raw})
		switch {
		case reply.OK() && (!delivered || !archived || len(kept) != 1 && len(b.q.in(quarantine.Held)) != 1):
			t.Errorf("call %d: %v, delivered to %v, kept for %v (%v)", nth, reply, to, kept, b.calls)
		case !reply.OK() && (delivered || len(kept) > 0):
			t.Errorf("call %d: %v, delivered to %v, kept for %v (%v)", nth, reply, to, kept, b.calls)
		case slices.Contains(to, "a@example.org"):
			t.Errorf("call %d: delivered to %v", nth, to)
		case reply.OK() == again.OK():
			t.Errorf("call %d: %v, and then %v (refused %v)", nth, reply, again, refused)
		case b.up.open != 0:
			t.Errorf("call %d: %d deliveries are left open", nth, b.up.open)
		}
	}
	if calls < 9 {
		t.Errorf("only %d calls", calls)
	}
}

// An effect of a recipient that is not delivered to asks for nothing and counts nothing.
func TestEffectsOfWhatIsNotDelivered(t *testing.T) {
	list := []rules.Effect{{Name: "bcc", Args: []string{"all@other.test"}}, {Name: "throttle", Args: []string{"sender", "1", "1h"}}, strip("all")}
	for _, do := range []rules.Disposition{rules.Quarantine, rules.Reject, rules.Defer, rules.Discard} {
		b := newBed(t, always(rules.Verdict{Do: do, Effects: list}), nil)
		b.up.rcpt = map[string]*mail.Reply{"all@other.test": {Code: 550, Text: "no"}}
		for range 2 {
			reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: mixed + "--O\r\n" + exe + "--O--\r\n"})
			if *reply == *replyThrottled || *reply == *replyNotTaken {
				t.Errorf("%v: %v", do, reply)
			}
		}
		if len(b.up.got) != 0 {
			t.Errorf("%v: delivered %v", do, b.up.got)
		}
	}
}
