package digest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

// decided is an answer of now.
func (b *bed) decided(n int64, item, to, state, words string) review.Answered {
	return review.Answered{N: n, Item: item, Request: review.Request{By: to, For: to, State: state, Answer: words, Decided: &review.Mark{By: "olga", At: b.now()}}}
}

// Who asked hears of the answer once, in a mail in which nothing is alive; who gets no digests, is
// not inside, or asked long ago does not.
func TestAnswersAreTold(t *testing.T) {
	b := newBed(t)
	b.wish(t, "off@example.org", Off)
	it := b.holdAs(t, func(it *quarantine.Item) { it.Subject = "Invoice http://evil.example/\nBcc: x" }, "b@example.org", "off@example.org")
	b.mailer.sent = nil
	old := b.decided(5, it.ID, "b@example.org", "denied", "")
	old.Decided.At = b.now().Add(-answerFor - time.Minute)
	b.desk.untold = []review.Answered{b.decided(1, it.ID, "b@example.org", "approved", "see https://x.example/?a=1 <b>now</b>"), b.decided(2, it.ID, "off@example.org", "denied", ""),
		b.decided(3, it.ID, "c@elsewhere.example", "denied", ""), b.decided(4, someID, "c@example.org", "denied", "a forgery"), old}
	if err := b.answers(t.Context()); err != nil {
		t.Fatal(err)
	}
	letters := map[string]*mail.Letter{}
	for _, l := range b.mailer.sent {
		letters[l.To.String()] = l
	}
	if len(b.mailer.sent) != 2 || len(b.desk.told) != 5 {
		t.Fatalf("%d mails, told %v", len(b.mailer.sent), b.desk.told)
	}
	yes, no := letters["b@example.org"], letters["c@example.org"]
	for _, want := range []string{"It is released and comes to you by itself.", "Subject: Invoice", "Answer: see", "https://quarantine.example.org/m/" + it.ID} {
		if yes == nil || !strings.Contains(yes.Text, want) || yes.Subject != "Approved: your request for a message" {
			t.Errorf("%q is not in\n%+v", want, yes)
		}
	}
	if strings.Contains(yes.Text, "https://x.example/") || strings.Contains(yes.Text, "http://evil.example/") || strings.Contains(yes.Text, "\nBcc:") || yes.HTML != "" {
		t.Errorf("something is alive in\n%s", yes.Text)
	}
	if no == nil || !strings.Contains(no.Text, "It is not released.") || !strings.Contains(no.Text, "Answer: a forgery") || strings.Contains(no.Text, "/m/") || no.Subject != "Denied: your request for a message" {
		t.Errorf("%+v", no)
	}
	if !strings.Contains(string(yes.Bytes()), "Auto-Submitted: auto-generated") {
		t.Error("it does not say that it is automatic")
	}
	if err := b.answers(t.Context()); err != nil || len(b.mailer.sent) != 2 {
		t.Error("told twice", err)
	}
}

// What cannot be sent now is sent later; what is refused is not tried again; one that fails does
// not stand before the others.
func TestAnswersAreTriedAgain(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "policy", "b@example.org")
	for n := range int64(10) {
		b.desk.untold = append(b.desk.untold, b.decided(n, it.ID, "b@example.org", "denied", ""))
	}
	b.mailer.err = errDown
	if err := b.answers(t.Context()); !errors.Is(err, errDown) || len(b.desk.told) != 0 {
		t.Fatal(err, b.desk.told)
	}
	b.mailer.err = ErrRefused
	b.desk.untold = b.desk.untold[:1]
	if err := b.answers(t.Context()); err != nil || len(b.desk.told) != 1 {
		t.Fatal(err, b.desk.told)
	}
	b.mailer.err = nil
	b.desk.untold = append(b.desk.untold, b.decided(77, it.ID, "b@example.org", "approved", ""))
	b.tick(t, time.Minute)
	if b.mailer.to() != "b" {
		t.Error("Tick tells no answers")
	}
}

// Whom somebody else asked for is not told that they asked themselves.
func TestAnswerNamesWhoAsked(t *testing.T) {
	b := newBed(t)
	b.people["b@example.org"] = &people.Person{Login: "bob", Addresses: []mail.Address{quarantinetest.Address("b@example.org")}}
	it := b.hold(t, "policy", "b@example.org")
	for by, want := range map[string]string{"bob": "You asked for", "olga": "olga asked for"} {
		a := b.decided(1, it.ID, "b@example.org", "denied", "")
		a.By = by
		b.desk.untold, b.desk.told, b.mailer.sent = []review.Answered{a}, nil, nil
		if err := b.answers(t.Context()); err != nil || len(b.mailer.sent) != 1 || !strings.HasPrefix(b.mailer.sent[0].Text, want) {
			t.Errorf("%v %+v", err, b.mailer.sent)
		}
	}
}
