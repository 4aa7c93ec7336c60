package digest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

// answer is a mail to the address for a copy.
type answer struct {
	to     string // local part
	sender string
	header string
}

func (b *bed) addressOf(t testing.TB, it *quarantine.Item, n int) string {
	t.Helper()
	local, ok := b.o.Key.local(ticket{it.ID, n, b.now().Add(goodFor)})
	if !ok {
		t.Fatal("no address for", it.ID)
	}
	return local
}

func (b *bed) take(t testing.TB, a answer) (*mail.Reply, string) {
	t.Helper()
	env := mail.Envelope{Client: mail.Client{Addr: netip.MustParseAddr("10.0.0.5")}}
	if a.sender != "" {
		env.Sender = quarantinetest.Address(a.sender)
	}
	h := mail.ParseHeader([]byte(strings.ReplaceAll(a.header, "\n", "\r\n")+"\r\n"), mail.HeaderLimits{})
	return b.Replies().Take(context.Background(), mail.Address{Local: a.to, Domain: "reply.example.org"}, env, h)
}

const usual = "Date: Sun, 01 Nov 2026 12:00:00 +0000\nFrom: Bob <b@example.org>\nSubject: Release\n"

func TestReplies(t *testing.T) {
	for name, c := range map[string]struct {
		class  string
		desk   fakeDesk
		change func(b *bed, it *quarantine.Item, a *answer)
		reply  string
		act    string // of the desk; "" for none
		told   bool   // in a mail
	}{
		"release":     {desk: fakeDesk{result: "done", words: "released to b@example.org"}, reply: "250 2.0.0 released to b@example.org", act: "release"},
		"again":       {desk: fakeDesk{result: "already", words: "was released already"}, reply: "250 2.0.0 was released already", act: "release", told: true},
		"perhaps":     {desk: fakeDesk{result: "unclear", words: "perhaps delivered"}, reply: "250", act: "release", told: true},
		"by right":    {class: "policy", desk: fakeDesk{result: "done", words: "asked for"}, reply: "250 2.0.0 asked for", act: "ask", told: true},
		"virus":       {class: "virus", desk: fakeDesk{err: review.ErrForbidden}, reply: "550 5.7.1 You may not", act: "release"},
		"not allowed": {desk: fakeDesk{result: "refused", words: "no"}, reply: "550 5.7.1 You may not", act: "release"},
		"gone":        {desk: fakeDesk{err: review.ErrNotFound}, reply: "550 5.7.1", act: "release"},
		"broken":      {desk: fakeDesk{err: errors.New("secret of ours")}, reply: "451 4.3.0 It could not be released now", act: "release"},
		"failed":      {desk: fakeDesk{result: "failed", words: "the scanner found Eicar"}, reply: "451", act: "release"},
		"failed for long": {desk: fakeDesk{result: "failed", words: "the scanner found Eicar"}, reply: "550 5.3.0 It could not be released: the scanner found Eicar", act: "release",
			change: func(b *bed, _ *quarantine.Item, _ *answer) { b.clock.Add(2 * time.Hour) }},
		"without a date":   {desk: fakeDesk{result: "failed", words: "x"}, reply: "550", act: "release", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header = "From: b@example.org\n" }},
		"in large letters": {desk: fakeDesk{result: "done"}, reply: "250", act: "release", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.to, a.sender = strings.ToUpper(a.to), "B@Example.ORG" }},
		"forged": {reply: "550 5.1.1", change: func(_ *bed, _ *quarantine.Item, a *answer) {
			a.to = a.to[:63] + map[bool]string{true: "a", false: "b"}[a.to[63] != 'a']
		}},
		"of another message": {reply: "550 5.1.1", change: func(b *bed, it *quarantine.Item, a *answer) { a.to = b.addressOf(t, &quarantine.Item{ID: someID}, 0) }},
		"of no copy":         {reply: "550 5.1.1", change: func(b *bed, it *quarantine.Item, a *answer) { a.to = b.addressOf(t, it, 7) }},
		"expired":            {reply: "550 5.1.1", change: func(b *bed, _ *quarantine.Item, _ *answer) { b.clock.Add(goodFor + time.Minute) }},
		"deleted": {reply: "550 5.1.1", change: func(b *bed, it *quarantine.Item, _ *answer) {
			if err := b.held.Delete(t.Context(), it.ID, "root"); err != nil {
				t.Error(err)
			}
		}},
		"of another's copy": {reply: "550 5.7.1 This address answers only", change: func(b *bed, it *quarantine.Item, a *answer) { a.to = b.addressOf(t, it, 1) }},
		"by another":        {reply: "550 5.7.1 This address answers only", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.sender = "c@example.org" }},
		"in another's name": {reply: "550 5.7.1 This address answers only", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header = "From: c@example.org\n" }},
		"in two names":      {reply: "550 5.7.1", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header = "From: b@example.org, c@example.org\n" }},
		"with two From":     {reply: "550 5.7.1", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header = usual + "From: c@example.org\n" }},
		"in no name":        {reply: "550 5.7.1", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header = "Subject: Release\n" }},
		"by the owner's other address": {desk: fakeDesk{result: "done"}, reply: "250", act: "release", change: func(b *bed, _ *quarantine.Item, a *answer) {
			b.people["b@example.org"] = &people.Person{Login: "bob", Role: people.Admin, Addresses: []mail.Address{quarantinetest.Address("bob@example.org"), quarantinetest.Address("b@example.org")}}
			a.sender, a.header = "bob@example.org", "From: bob@example.org\n"
		}},
		"a bounce":    {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.sender = "" }},
		"on vacation": {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header += "Auto-Submitted: auto-replied (vacation)\n" }},
		"no automat":  {desk: fakeDesk{result: "done"}, reply: "250", act: "release", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header += "Auto-Submitted: No ; owner=\"b\"\n" }},
		"bulk":        {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header += "Precedence: BULK\n" }},
		"a list":      {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header += "List-Id: <x.example.org>\n" }},
		"a read receipt": {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) {
			a.header += "Content-Type: multipart/report; report-type=disposition-notification\n"
		}},
		"of old": {reply: "250 2.0.0 Nothing was done", change: func(_ *bed, _ *quarantine.Item, a *answer) { a.header += "X-Autoreply: yes\n" }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			desk := c.desk
			b.desk = &desk
			b.o.Desk = b.desk
			it := b.holdAs(t, func(it *quarantine.Item) {
				for i := range it.Copies {
					it.Copies[i].Class = "spam"
					if c.class != "" {
						it.Copies[i].Class = c.class
					}
				}
			}, "b@example.org", "c@example.org")
			a := answer{to: b.addressOf(t, it, 0), sender: "b@example.org", header: usual}
			if c.change != nil {
				c.change(b, it, &a)
			}
			reply, said := b.take(t, a)
			if !strings.HasPrefix(reply.String(), c.reply) || strings.Contains(reply.Text, "secret") {
				t.Errorf("%s (%s)", reply, said)
			}
			acts := strings.Join(b.desk.acts, ";")
			if (c.act == "") != (acts == "") || !strings.HasPrefix(acts, c.act) {
				t.Errorf("the desk did %q", acts)
			}
			if acts != "" && (!strings.Contains(acts, "to b@example.org by b") || !strings.HasSuffix(acts, " mail from 10.0.0.5 role user") || !strings.Contains(acts, it.ID)) {
				t.Errorf("the desk did %q", acts)
			}
			if strings.Contains(said, prefix) || said == "" {
				t.Errorf("the journal is told %q", said)
			}
			if told := len(b.mailer.sent) == 1; told != c.told || told && b.mailer.sent[0].To.String() != "b@example.org" {
				t.Errorf("told: %v", b.mailer.sent)
			}
		})
	}
}

// At RCPT the key alone says what an address is worth.
func TestRepliesKnow(t *testing.T) {
	b := newBed(t)
	r := b.Replies()
	local := b.addressOf(t, &quarantine.Item{ID: b.hold(t, "spam", "b@example.org").ID}, 0)
	to := func(local string) mail.Address { return mail.Address{Local: local, Domain: r.Domain()} }
	if reply := r.Knows(to(local)); reply != nil {
		t.Error(reply)
	}
	for _, s := range []string{"", "postmaster", "release", prefix, local + "a", local[:len(local)-1], "x" + local} {
		if reply := r.Knows(to(s)); reply == nil || reply.Code != 550 || reply.Enhanced != [3]int{5, 1, 1} {
			t.Errorf("%q: %v", s, reply)
		}
	}
	b.clock.Add(goodFor + time.Minute)
	if reply := r.Knows(to(local)); reply == nil || *reply != *unknownReply() {
		t.Error(reply)
	}
	b.o.Key = nil
	if b.Replies() != nil {
		t.Error("an inbox without a key")
	}
}

// What cannot be looked up is tried again, not refused.
func TestRepliesWhenTheStoreFails(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "b@example.org")
	a := answer{to: b.addressOf(t, it, 0), sender: "b@example.org", header: usual}
	b.o.People = brokenPeople{}
	if reply, _ := b.take(t, a); reply.Code != 451 {
		t.Error(reply)
	}
	b.o.DB.Close()
	if reply, _ := b.take(t, a); reply.Code != 451 {
		t.Error(reply)
	}
}

type brokenPeople struct{}

func (brokenPeople) Owner(context.Context, mail.Address, netip.Addr) (*people.Actor, error) {
	return nil, errors.New("broken")
}

// Who sends the same mail again and again gets a confirmation once an hour.
func TestConfirmationsAreFew(t *testing.T) {
	b := newBed(t)
	b.desk.result, b.desk.words = "already", "was released already"
	it := b.hold(t, "spam", "b@example.org")
	a := answer{to: b.addressOf(t, it, 0), sender: "b@example.org", header: usual}
	for range 20 {
		if reply, _ := b.take(t, a); !reply.OK() {
			t.Fatal(reply)
		}
	}
	if n := len(b.mailer.sent); n != 1 {
		t.Errorf("%d confirmations", n)
	}
	b.clock.Add(confirmEvery)
	b.take(t, a)
	if n := len(b.mailer.sent); n != 2 {
		t.Errorf("%d confirmations", n)
	}
	for i := range confirmMost + 10 {
		b.confirmed.due(strings.Repeat("x", i%100)+string(rune(i)), b.now())
	}
	if len(b.confirmed.last) > confirmMost {
		t.Error("too much is remembered")
	}
}

// Who has a message at two addresses gets it at both by one answer, and nobody else does.
func TestReplyReleasesAllCopiesOfThePerson(t *testing.T) {
	b := newBed(t)
	b.desk.result = "done"
	bob := &people.Person{ID: "bob", Login: "bob", Addresses: []mail.Address{quarantinetest.Address("b@example.org"), quarantinetest.Address("alias@example.org"), quarantinetest.Address("asks@example.org"), quarantinetest.Address("virus@example.org")}}
	b.people["b@example.org"] = bob
	it := b.holdAs(t, func(it *quarantine.Item) {
		for i := range it.Copies {
			it.Copies[i].Class = map[string]string{"asks": "policy", "virus": "virus"}[it.Copies[i].Recipient.Address.Local]
			if it.Copies[i].Class == "" {
				it.Copies[i].Class = "spam"
			}
		}
	}, "c@example.org", "b@example.org", "alias@example.org", "asks@example.org", "virus@example.org")
	reply, _ := b.take(t, answer{to: b.addressOf(t, it, 1), sender: "b@example.org", header: usual})
	if got := fmt.Sprint(b.desk.to); !reply.OK() || got != "[b@example.org alias@example.org]" {
		t.Errorf("%s, to %s", reply, got)
	}
}
