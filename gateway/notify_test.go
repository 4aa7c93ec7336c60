package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/rules"
)

func noticeOf(rule string) *notice {
	return &notice{to: mail.Address{Local: "a", Domain: "example.org"}, rule: rule, about: mail.Envelope{ID: "ID1"}}
}

func TestNoticesAreThrottled(t *testing.T) {
	var ns notifier
	for _, s := range []struct {
		rule  string
		after time.Duration
		due   bool
	}{{"r", 0, true}, {"r", time.Minute, false}, {"other", time.Minute, true}, {"r", 9 * time.Minute, false}, {"r", 10 * time.Minute, true}, {"r", 19 * time.Minute, false}, {"r", 5 * time.Minute, true}} {
		n := noticeOf(s.rule)
		if ns.due(n, noon.Add(s.after)) != s.due {
			t.Errorf("%s after %v: due is %v", s.rule, s.after, !s.due)
		}
		if s.after == 10*time.Minute && n.missed != 2 {
			t.Errorf("%d missed", n.missed)
		}
	}
	for i := range maxNoticeAge + 10 {
		ns.due(noticeOf(strings.Repeat("x", i%200)+string(rune(i))), noon)
	}
	if len(ns.last) > maxNoticeAge {
		t.Error("too much is remembered")
	}
}

// An internal server that hangs keeps a bounded number of notices waiting, and is not waited for
// longer than a stop may take; then nothing is left running.
func TestNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, fakeRules{}, nil)
		hang := make(chan struct{})
		b.after = func(string) { <-hang }
		for i := range maxNotices + 1 {
			if !b.notices.add(b.Gateway, noticeOf("r")) {
				t.Fatalf("number %d does not fit", i)
			}
			synctest.Wait() // the first is being sent
		}
		if b.notices.add(b.Gateway, noticeOf("r")) {
			t.Error("one too many")
		}
		began := time.Now()
		go func() {
			time.Sleep(noticeWait + time.Second)
			close(hang)
		}()
		b.notices.wait(noticeWait)
		if took := time.Since(began); took != noticeWait+time.Second || len(b.up.got) > 1 {
			t.Errorf("took %v, sent %d", took, len(b.up.got))
		}
		b.after = nil
		if !b.notices.add(b.Gateway, noticeOf("r")) { // another listener may go on
			t.Error("no room after a stop")
		}
		b.notices.wait(noticeWait)
	})
}

// A notice says what the sender wrote on lines of ours.
func TestNoticeText(t *testing.T) {
	b := newBed(t, fakeRules{}, nil)
	n := noticeOf("r")
	n.known = summary{subject: "a\r\n.\r\nX: y", from: "Ö <e@f>\r\nBcc: x"}
	n.said, n.rcpts = "see\nthis", strings.Split(strings.Repeat("a@example.org ", 12), " ")[:12]
	text := string(b.noticeText(n))
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	h := mail.ParseHeader([]byte(head+"\r\n\r\n"), mail.HeaderLimits{})
	if len(h.Fields) != 8 || h.Get("Auto-Submitted").Value() != "auto-generated" || h.Get("To").Value() != "a@example.org" {
		t.Errorf("%q", head)
	}
	if !isASCII(text) || strings.Contains(body, "\r\n.\r\n") || strings.Contains(body, "\r\nX:") || !strings.Contains(body, "and        2 more recipients\r\n") || !strings.HasPrefix(body, "see this\r\n\r\n") {
		t.Errorf("%q", body)
	}
}

// Every message has the fate that it would have without a notice, whatever fails.
func TestNoticeNeverChangesTheFate(t *testing.T) {
	effects := []rules.Effect{{Name: notifyEffect, Args: []string{"a@example.org"}, Rule: "r"}}
	for _, do := range []rules.Disposition{rules.Deliver, rules.Quarantine, rules.Reject, rules.Defer, rules.Discard} {
		plain := newBed(t, always(rules.Verdict{Do: do}), nil)
		want, wantRefused := plain.submit(t, plain.talk(), []string{"b@example.org"}, &textUpload{text: sample})
		b := newBed(t, always(rules.Verdict{Do: do, Effects: effects}), nil)
		b.up.rcpt = map[string]*mail.Reply{"a@example.org": {Code: 550, Text: "no"}}
		got, refused := b.submit(t, b.talk(), []string{"b@example.org"}, &textUpload{text: sample})
		b.notices.wait(noticeWait)
		if got.Code != want.Code || len(refused) != len(wantRefused) || len(b.up.got) != len(plain.up.got) || b.up.open != 0 {
			t.Errorf("%v: %v %v, want %v %v", do, got, refused, want, wantRefused)
		}
		asked := 0
		for _, e := range b.up.begun {
			if e.Sender.IsNull() {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("%v: %d notices", do, asked)
		}
	}
}
