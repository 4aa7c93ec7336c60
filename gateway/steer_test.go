package gateway

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

func asked(name string, args ...string) rules.Effect {
	return rules.Effect{Name: name, Args: args, Rule: "r"}
}

// What the internal server says of an address that a rule names is no business of the sender.
func TestRepliesDoNotTellOfAddressesThatRulesName(t *testing.T) {
	const secret = "Archive@example.org"
	busy := &mail.Reply{Code: 450, Enhanced: [3]int{4, 2, 1}, Text: "<archive@example.org>: mailbox busy"}
	gone := &mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "<archive@example.org>: no such user"}
	saved := &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "<archive@example.org> abc Saved"}
	for _, effects := range [][]rules.Effect{{asked("bcc", secret)}, {asked("redirect", secret)}} {
		for _, c := range []struct {
			rcpt, data, each *mail.Reply
			code             int
		}{{rcpt: busy, code: 451}, {rcpt: gone, code: 451}, {data: saved, code: 250}, {each: saved, code: 250}, {each: busy, code: 450}, {each: gone, code: 550}} {
			for _, early := range []bool{false, true} {
				v := rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: effects}
				policy, fs := fakeRules{[]fakeRule{{fact: "body", when: func(any) bool { return true }, verdict: v}}}, []filters.Filter{bodyFilter()}
				if early {
					policy, fs = always(v), nil
				}
				b := newBed(t, policy, fs)
				b.up.rcpt = map[string]*mail.Reply{secret: c.rcpt}
				b.up.each = map[string]*mail.Reply{secret: c.each}
				b.up.data = map[string]*mail.Reply{"": c.data}
				reply, refused := b.submit(t, b.talk(), []string{"ann@example.org"}, &textUpload{text: sample})
				if r := refused["ann@example.org"]; r != nil {
					reply = r
				}
				if strings.Contains(strings.ToLower(reply.Text), "archive") {
					t.Errorf("%s: said %v", effects[0].Name, reply)
				}
				if effects[0].Name == "redirect" && reply.Code != c.code {
					t.Errorf("%s: said %v, not %d", effects[0].Name, reply, c.code)
				}
			}
		}
	}
}

// The archive's copy is not lost when its mailbox alone refuses it: it is held, as that of any
// recipient who is too late to refuse.
func TestRefusedCompanionIsHeld(t *testing.T) {
	b := newBed(t, always(rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: []rules.Effect{asked("bcc", "archive@example.org")}}), nil)
	b.up.each = map[string]*mail.Reply{"archive@example.org": {Code: 452, Text: "full"}}
	reply, _ := b.submit(t, b.talk(), []string{"ann@example.org", "ben@example.org"}, &textUpload{text: sample})
	if !reply.OK() || len(b.up.got) != 1 || strings.Join(b.up.got[0].to, " ") != "ann@example.org ben@example.org" {
		t.Fatalf("%v, delivered %+v", reply, b.up.got)
	}
	if len(b.q.items) != 1 {
		t.Fatalf("held %v", b.q.items)
	}
	for _, it := range b.q.items {
		if it.State != quarantine.Kept || len(it.Copies) != 1 || it.Copies[0].Recipient.Address.String() != "archive@example.org" || it.Copies[0].Class != "undelivered" {
			t.Errorf("held %+v", it)
		}
	}
}

// Who names the archive as a recipient does not keep its copy away, when that recipient's own
// goes elsewhere.
func TestNamedArchiveStillGetsItsCopy(t *testing.T) {
	is := func(a string) func(any) bool { return func(v any) bool { return v.(toFacts).Address == a } }
	policy := fakeRules{[]fakeRule{
		{fact: "to", when: is("archive@example.org"), verdict: rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: []rules.Effect{asked("redirect", "help@example.org"), asked("tag_subject", "x")}}},
		{fact: "to", when: is("ann@example.org"), verdict: rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: []rules.Effect{asked("bcc", "archive@example.org")}}},
	}}
	b := newBed(t, fakeRules{append([]fakeRule{{fact: "body", when: func(any) bool { return false }}}, policy.list...)}, []filters.Filter{bodyFilter(), toFilter()})
	reply, _ := b.submit(t, b.talk(), []string{"ann@example.org", "archive@example.org"}, &textUpload{text: sample})
	var got []string
	for _, d := range b.up.got {
		got = append(got, strings.Join(d.to, " "))
	}
	if want := "ann@example.org archive@example.org, help@example.org"; !reply.OK() || strings.Join(got, ", ") != want {
		t.Errorf("%v, delivered to %q, not %q", reply, got, want)
	}
}
