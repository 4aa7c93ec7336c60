package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
)

// talkFrom begins a conversation with a client at an address.
func (b *bed) talkFrom(client string) *conversation {
	from, _ := netip.ParseAddr(client) // "": nobody knows
	c := b.connect(context.Background(), mail.Client{Addr: from}).(*conversation)
	c.hello("mx.sender.test", true, "")
	return c
}

// harvestBed is a gateway whose internal server knows bob and nobody else.
func harvestBed(t *testing.T, change ...func(*Config)) *bed {
	b := newBed(t, fakeRules{}, nil, change...)
	b.up.rcpt = map[string]*mail.Reply{}
	for n := range 500 {
		b.up.rcpt[fmt.Sprintf("user%d@example.org", n)] = &mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user"}
	}
	return b
}

// probe names unknown recipients on a connection of its own and gives the answers.
func (b *bed) probe(t *testing.T, client string, from, to int) (replies []string) {
	t.Helper()
	c := b.talkFrom(client)
	defer c.end(errQuit)
	tx, r := c.begin(addr(t, "alice@sender.test"), mail.Options{})
	if r != nil {
		t.Fatal(r)
	}
	for n := from; n < to; n++ {
		r := tx.rcpt(mail.RcptTo{Address: addr(t, fmt.Sprintf("user%d@example.org", n))})
		if replies = append(replies, r.String()); r.Code == 421 {
			return replies
		}
	}
	return replies
}

func TestS46_HarvestersAreSlowedThenSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := harvestBed(t)
		const eve = "2001:db8::66"
		var took []time.Duration // by connection, all from one network
		said, over := 0, false
		for n := 0; !over && n < 20; n++ {
			began := time.Now()
			replies := b.probe(t, fmt.Sprintf("2001:db8::%x", n+1), n*10, n*10+10)
			took = append(took, time.Since(began))
			for _, r := range replies {
				over = strings.HasPrefix(r, "421 4.7.0 Too many unknown recipients")
				if said++; !over && r != "550 5.1.1 no such user" {
					t.Fatalf("connection %d: %q", n, replies)
				}
			}
		}
		if !over || took[0] != 0 || took[1] != 0 || took[2] < 500*time.Millisecond || took[8] < 40*time.Second || said > 120 {
			t.Errorf("over: %v, %v, %d answers", over, took, said)
		}
		asked := len(b.up.begun)
		if r := b.probe(t, eve, 0, 1); !strings.HasPrefix(r[0], "421 4.7.0") || len(b.up.begun) != asked {
			t.Errorf("another connection hears %q", r)
		}
		if why := b.front.doors.enterFrom(netip.MustParseAddr(eve), time.Now()); !strings.Contains(why, "unknown recipients") {
			t.Errorf("it may connect: %q", why)
		}
		other := b.talkFrom("192.0.2.8")
		defer other.end(errQuit)
		if r, _ := b.submit(t, other, []string{"bob@example.org"}, &textUpload{text: sample}); r.Code != 250 {
			t.Errorf("somebody else hears %v", r)
		}
		time.Sleep(time.Hour)
		if why := b.front.doors.enterFrom(netip.MustParseAddr(eve), time.Now()); why != "" {
			t.Errorf("an hour later: %q", why)
		}
		if r := b.probe(t, eve, 0, 1); !strings.HasPrefix(r[0], "550 5.1.1") {
			t.Errorf("an hour later: %q", r)
		}
	})
}

// A large list has dead addresses, and all its other copies are delivered.
func TestS46_ListsAreNoHarvesters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := harvestBed(t)
		began := time.Now()
		for n := range 400 {
			c := b.talk()
			text := strings.Replace(sample, "<1@", fmt.Sprintf("<%d@", n), 1)
			r, refused := b.submit(t, c, []string{"bob@example.org", fmt.Sprintf("user%d@example.org", n)}, &textUpload{text: text})
			if r.Code != 250 || len(refused) != 1 {
				t.Fatalf("%d: %v, %v", n, r, refused)
			}
			c.end(errQuit)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it was slowed down by %v", took)
		}
	})
}

func TestS46_TrustedRelaysAreSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := harvestBed(t, func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")} })
		began := time.Now()
		if r := b.probe(t, "192.0.2.7", 0, 300); len(r) != 300 || time.Since(began) > 0 {
			t.Errorf("%d answers in %v, the last %q", len(r), time.Since(began), r[len(r)-1])
		}
	})
}

func TestS46_WhatSaysThatNobodyIsThere(t *testing.T) {
	for text, unknown := range map[string]bool{
		"550 5.1.1": true, "550 5.1.10": true, "553 5.1.3": true, "550 5.4.1": true, "524 5.2.4": true, "550 5.0.0": true, "551 5.0.0": true,
		"550 5.7.1": false, "554 5.7.1": false, "552 5.2.2": false, "450 4.1.1": false, "554 5.0.0": false, "451 4.0.0": false,
	} {
		var r mail.Reply
		if _, err := fmt.Sscanf(text, "%d %d.%d.%d", &r.Code, &r.Enhanced[0], &r.Enhanced[1], &r.Enhanced[2]); err != nil {
			t.Fatal(err)
		}
		if got := (&recipient{upstream: &r}).unknown(&r); got != unknown {
			t.Errorf("%s: %v", text, got)
		}
	}
	if own := (&mail.Reply{Code: 550, Enhanced: [3]int{5, 4, 1}}); (&recipient{}).unknown(own) {
		t.Error("what a rule refuses is no unknown address")
	}
}

// Clients of which XCLIENT knows no address are many.
func TestS46_NobodyIsSentAwayForOthersWithoutAnAddress(t *testing.T) {
	b := harvestBed(t)
	for n, r := range b.probe(t, "", 0, 300) {
		if r != "550 5.1.1 no such user" {
			t.Fatalf("recipient %d: %q", n, r)
		}
	}
}
