package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/mail"
	"postern/rules"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestThrottleCountsWithinASpan(t *testing.T) {
	var ms meters
	x := &rate{rule: "r", by: perClient, count: 4, span: time.Hour}
	for _, s := range []struct {
		after time.Duration
		taken int // of 10 tries
	}{
		{0, 4}, {30 * time.Minute, 0}, // the window is full
		{61 * time.Minute, 0},  // nearly all of the one before still counts
		{90 * time.Minute, 2},  // half of it
		{119 * time.Minute, 1}, // hardly any of it, but the two of this one
		{5 * time.Hour, 4},     // long forgotten
		{4 * time.Hour, 0},     // a clock that goes back gives nothing
	} {
		n := 0
		for range 10 {
			if _, ok := ms.take("192.0.2.1", x, noon.Add(s.after)); ok {
				n++
			}
		}
		if n != s.taken {
			t.Errorf("after %v: %d taken, want %d", s.after, n, s.taken)
		}
	}
	if _, ok := ms.take("192.0.2.2", x, noon); !ok {
		t.Error("another client is counted as the same")
	}
	if _, ok := ms.take("192.0.2.1", &rate{rule: "other", by: perClient, count: 4, span: time.Hour}, noon); !ok {
		t.Error("another rule counts the same")
	}
}

func TestThrottleGivesBack(t *testing.T) {
	var ms meters
	x := &rate{rule: "r", by: perSender, count: 1, span: time.Hour}
	c, _ := ms.take("eve", x, noon)
	if _, ok := ms.take("eve", x, noon); ok {
		t.Fatal("one too many")
	}
	ms.giveBack(c)
	c, ok := ms.take("eve", x, noon)
	if !ok {
		t.Fatal("what was given back still counts")
	}
	if _, ok := ms.take("eve", x, noon.Add(61*time.Minute)); ok {
		t.Fatal("the window before is forgotten")
	}
	ms.giveBack(c) // of the window before
	if _, ok := ms.take("eve", x, noon.Add(61*time.Minute)); !ok {
		t.Fatal("what was given back late still counts")
	}
	ms.giveBack(count{key: meterKey{who: "nobody"}})
}

func TestThrottleMemoryIsBounded(t *testing.T) {
	var ms meters
	x := &rate{rule: "r", by: perSender, count: 1, span: time.Hour}
	for i := range 2*maxMeters + 10 {
		if _, ok := ms.take(fmt.Sprint(i), x, noon.Add(time.Duration(i)*time.Millisecond)); !ok {
			t.Fatal(i)
		}
		if len(ms.known) > maxMeters {
			t.Fatalf("%d are known", len(ms.known))
		}
	}
	if _, ok := ms.take(fmt.Sprint(2*maxMeters+9), x, noon.Add(time.Hour/2)); ok {
		t.Error("the newest was forgotten")
	}
}

func TestThrottleWhom(t *testing.T) {
	eve, ana := mail.Address{Local: "Eve", Domain: "friend.example"}, mail.Address{Local: "Ana", Domain: "example.org"}
	for _, s := range []struct {
		by, client string
		sender     mail.Address
		trusted    bool
		want       string
	}{
		{perClient, "192.0.2.1", eve, false, "192.0.2.1"},
		{perClient, "::ffff:192.0.2.1", eve, false, "192.0.2.1"},
		{perClient, "2001:db8:1:2:3::4", eve, false, "2001:db8:1:2::/64"},
		{perClient, "192.0.2.1", eve, true, ""}, // a relay of ours carries everybody's mail
		{perSender, "192.0.2.1", eve, true, "eve@friend.example"},
		{perSender, "192.0.2.1", mail.Address{}, false, "192.0.2.1"}, // everybody's bounces come from <>
		{perRecipient, "192.0.2.1", eve, true, "ana@example.org"},
	} {
		env := &mail.Envelope{Sender: s.sender, Client: mail.Client{Addr: netip.MustParseAddr(s.client), Trusted: s.trusted}}
		if got := (&rate{by: s.by}).who(env, ana); got != s.want {
			t.Errorf("%+v: %q", s, got)
		}
	}
}

// A message that the internal server refuses, or that breaks a neighbour, is not counted, whatever
// fails: the sender's next try finds room.
func TestThrottleCountsOnlyWhatIsTaken(t *testing.T) {
	effects := []rules.Effect{{Name: "throttle", Args: []string{"sender", "1", "1h"}, Rule: "r"}}
	for _, fails := range []string{"send", "begin", "rcpt"} {
		b := newBed(t, always(rules.Verdict{Do: rules.Deliver, Effects: effects}), nil)
		b.named = map[string]error{fails: errInner}
		for range 3 {
			if reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample}); reply.OK() {
				t.Fatal(reply)
			}
		}
		b.named = nil
		if reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample}); !reply.OK() {
			t.Errorf("%s: %v", fails, reply)
		}
		if reply, _ := b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: sample}); *reply != *replyThrottled {
			t.Errorf("%s: %v", fails, reply)
		}
	}
}

func TestArgumentsOfEffectsAreChecked(t *testing.T) {
	ours, _ := mail.NewDomainSet([]string{"example.org"})
	own := checkOwnAddress(ours)
	for _, s := range []struct {
		check func(string) (string, string)
		good  []string
		bad   []string
	}{
		{checkHeaderName, []string{"X-A", "Subject", "x"}, []string{"", "X A", "X:", "X\r\nB", "From", "content-type", "MIME-Version", "Received", "ö"}},
		{own, []string{"a@example.org", `"a b"@EXAMPLE.org`}, []string{"", "a", "a@other.test", "a@sub.example.org", "a@example.org, b@example.org", "ö@example.org", "<a@example.org>", "{{sender.address}}"}},
		{checkCount, []string{"1", "1000000"}, []string{"", "0", "-1", "1.5", "1000001", "x"}},
		{checkSpan, []string{"1s", "90m", "1h30m", "7d"}, []string{"", "0s", "8d", "1", "d", "1w", "-1h"}},
	} {
		for _, v := range s.good {
			if problem, _ := s.check(v); problem != "" {
				t.Errorf("%q: %s", v, problem)
			}
		}
		for _, v := range s.bad {
			if problem, _ := s.check(v); problem == "" {
				t.Errorf("%q is taken", v)
			}
		}
	}
}
