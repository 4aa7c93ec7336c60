package gateway

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/mail"
	"postern/rules"
)

// fakeInbox knows addresses by what becomes of their mail.
type fakeInbox struct {
	answers map[string]*mail.Reply // of Take, by local part; nil: unknown at RCPT
	took    []string
}

func (fakeInbox) Domain() string { return "reply.test" }

func (b *fakeInbox) Knows(to mail.Address) *mail.Reply {
	if b.answers[to.Local] == nil {
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "No such address"}
	}
	return nil
}

func (b *fakeInbox) Take(_ context.Context, to mail.Address, env mail.Envelope, h *mail.Header) (*mail.Reply, string) {
	b.took = append(b.took, to.Local+" from "+env.Sender.String()+" "+h.Get("Subject").Value())
	return b.answers[to.Local], "did\n" + to.Local
}

// inboxBed is a bed with an inbox that takes mail from 192.0.2.0/24.
func inboxBed(t *testing.T) (*bed, *fakeInbox) {
	b := newBed(t, always(rules.Verdict{Do: rules.Deliver}), nil, func(c *Config) { c.InboxClients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	box := &fakeInbox{answers: map[string]*mail.Reply{
		"release-good":  {Code: 250, Text: "done"},
		"release-wait":  {Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "later"},
		"release-never": {Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "not you"},
		"release-odd":   {Code: 354, Text: "what"},
	}}
	b.inbox, b.inboxDomain = box, box.Domain()
	return b, box
}

func TestInbox(t *testing.T) {
	for _, c := range []struct {
		to      []string
		refused string // at RCPT, codes in order
		reply   string
		took    int
		result  string
	}{
		{to: []string{"release-good@reply.test"}, reply: "250 2.0.0 done", took: 1, result: "command"},
		{to: []string{"release-good@reply.test", "release-good@reply.test"}, reply: "250 2.0.0 done", took: 1, result: "command"},
		{to: []string{"release-bad@reply.test"}, refused: "550", reply: "554", result: "refused"},
		{to: []string{"release-wait@reply.test"}, reply: "451 4.3.0 later", took: 1, result: "deferred"},
		{to: []string{"release-never@reply.test"}, reply: "550 5.7.1 not you", took: 1, result: "refused"},
		{to: []string{"release-odd@reply.test"}, reply: "451 4.3.0", took: 1, result: "deferred"},
		{to: []string{"release-good@reply.test", "release-never@reply.test"}, reply: "250", took: 2, result: "mixed"},
		{to: []string{"release-never@reply.test", "release-good@reply.test", "release-wait@reply.test"}, reply: "451", took: 3, result: "mixed"},
		{to: []string{"release-good@reply.test", "b@example.org"}, refused: "451", reply: "250", took: 1, result: "command"},
		{to: []string{"b@example.org", "release-good@reply.test"}, refused: "451", reply: "250", result: "delivered"},
	} {
		b, box := inboxBed(t)
		reply, refused := b.submit(t, b.talk(), c.to, &textUpload{text: sample})
		var codes []string
		for _, to := range c.to {
			if r := refused[to]; r != nil {
				codes = append(codes, r.String()[:3])
			}
		}
		if !strings.HasPrefix(reply.String(), c.reply) || strings.Join(codes, " ") != c.refused || len(box.took) != c.took {
			t.Errorf("%v: %v, refused %v, took %v", c.to, reply, refused, box.took)
		}
		e := b.j.order[0]
		if e.Result != c.result || len(b.j.order) != 1 || len(b.q.items) != 0 {
			t.Errorf("%v: result %q", c.to, e.Result)
		}
		if c.result == "command" && (e.Outcomes[0].Do != "command" || e.Outcomes[0].Because != "did release-good") {
			t.Errorf("%v: %+v", c.to, e.Outcomes[0])
		}
		if sent := len(b.up.got); sent != map[bool]int{true: 1}[c.result == "delivered"] {
			t.Errorf("%v: %d were relayed", c.to, sent)
		}
		for _, o := range e.Outcomes {
			if o.Recipient.Domain == "reply.test" && o.Recipient.Local != "release" {
				t.Errorf("the journal tells a secret: %v", o.Recipient)
			}
		}
		for _, to := range e.Envelope.Recipients {
			if strings.Contains(to.Address.Local, "-") {
				t.Errorf("the journal tells a secret: %v", to)
			}
		}
	}
}

// Who is none of ours hears of the inbox what everybody hears of any foreign domain.
func TestInboxIsClosedToStrangers(t *testing.T) {
	b, box := inboxBed(t)
	b.cfg.InboxClients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, to := range []string{"release-good@reply.test", "release-bad@reply.test", "x@elsewhere.test"} {
		if _, refused := b.submit(t, b.talk(), []string{to}, &textUpload{text: sample}); refused[to] != replyNotOurs {
			t.Errorf("%s: %v", to, refused[to])
		}
	}
	if len(box.took) != 0 {
		t.Error(box.took)
	}
}

// A message does not carry out more than some errands, and what panics is tried again.
func TestInboxIsBounded(t *testing.T) {
	b, box := inboxBed(t)
	var to []string
	for i := range maxErrands + 1 {
		local := "release-" + strings.Repeat("x", i+1)
		box.answers[local] = &mail.Reply{Code: 250, Text: "done"}
		to = append(to, local+"@reply.test")
	}
	reply, refused := b.submit(t, b.talk(), to, &textUpload{text: sample})
	if !reply.OK() || len(refused) != 1 || refused[to[maxErrands]].Code != 452 || len(box.took) != maxErrands {
		t.Errorf("%v %v, took %d", reply, refused, len(box.took))
	}
	b, _ = inboxBed(t)
	b.inbox = panicInbox{}
	if reply, _ := b.submit(t, b.talk(), []string{"a@reply.test"}, &textUpload{text: sample}); reply.Code != 451 {
		t.Error(reply)
	}
}

type panicInbox struct{}

func (panicInbox) Domain() string                 { return "reply.test" }
func (panicInbox) Knows(mail.Address) *mail.Reply { return nil }
func (panicInbox) Take(context.Context, mail.Address, mail.Envelope, *mail.Header) (*mail.Reply, string) {
	panic("inbox")
}
