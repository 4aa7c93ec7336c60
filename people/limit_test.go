package people

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// guess tries n wrong passwords in a minute and counts those that were looked at.
func (b *bed) guess(n int, login func(i int) string, from func(i int) string) (looked int64) {
	before := b.passwords.computed.Load()
	for i := range n {
		b.pass(time.Minute / time.Duration(n))
		_, err := b.SignIn(b.t.Context(), login(i), "wrong", at(from(i)), "")
		var wait *WaitError
		if !errors.Is(err, ErrSignIn) && !errors.As(err, &wait) {
			b.t.Fatalf("a guess: %v", err)
		}
	}
	return b.passwords.computed.Load() - before
}

func always(s string) func(int) string { return func(int) string { return s } }

// W-04: of a thousand guesses in a minute at most ten are looked at, from one place or many, for
// one account or many from one place, and the guesser learns no more by going on.
func TestW04ThousandGuesses(t *testing.T) {
	many6 := func(i int) string { return fmt.Sprintf("2001:db8:0:1:%x::%x", i, i+1) } // one site has a /64
	apart := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }
	accounts := func(i int) string { return fmt.Sprintf("user%d", i) }
	for name, c := range map[string]struct{ login, from func(int) string }{
		"one account, one place":       {always("root"), always("192.0.2.1")},
		"one account, one IPv6 site":   {always("root"), many6},
		"one account, a thousand":      {always("root"), apart},
		"nobody's account, a thousand": {always("nobody"), apart},
		"many accounts, one place":     {accounts, always("192.0.2.1")},
		"many accounts, one IPv6 site": {accounts, many6},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			b.person(Person{Login: "root", Role: Admin}, goodPassword)
			first := b.guess(1000, c.login, c.from)
			second := b.guess(1000, c.login, c.from)
			third := b.guess(1000, c.login, c.from)
			if first > 10 || second > 10 || third > second+1 {
				t.Errorf("%d, %d and %d of 1000 guesses were looked at", first, second, third)
			}
		})
	}
}

// W-04: who guesses, however long, locks nobody out elsewhere: from one place nobody at all, from
// everywhere nobody where they have signed in before.
func TestW04NobodyIsLockedOut(t *testing.T) {
	b := newBed(t, nil)
	b.person(Person{Login: "root", Role: Admin}, goodPassword)
	for range 30 {
		b.guess(100, always("root"), always("192.0.2.66"))
		if _, err := b.SignIn(t.Context(), "root", goodPassword, at("198.51.100.7"), ""); err != nil {
			t.Fatalf("while one place guesses: %v", err)
		}
	}
	for range 5 {
		b.guess(1000, always("root"), func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) })
		if _, err := b.SignIn(t.Context(), "root", goodPassword, at("198.51.100.7"), ""); err != nil {
			t.Fatalf("while everybody guesses: %v", err)
		}
	}
	// Somebody mistypes at a place that is known: that is not held against colleagues there.
	for range 20 {
		_, _ = b.SignIn(t.Context(), "root", "wrong", at("198.51.100.7"), "")
	}
	b.person(Person{Login: "ann", Role: User}, goodPassword)
	if _, err := b.SignIn(t.Context(), "ann", goodPassword, at("198.51.100.7"), ""); err != nil {
		t.Error(err)
	}
}

// A limiter takes no more memory, whoever comes, and still holds those who tried most.
func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(5, time.Minute)
	now := time.Now()
	for range 5 {
		l.take("guesser", now)
	}
	for i := range 3 * maxKeys {
		l.take(fmt.Sprint(i), now)
		if len(l.keys) > maxKeys {
			t.Fatalf("%d keys", len(l.keys))
		}
	}
	if _, ok := l.take("guesser", now); ok {
		t.Error("the guesser was forgotten")
	}
	if wait, ok := newLimiter(1, time.Minute).take("a", now); !ok || wait != 0 {
		t.Error(wait, ok)
	}
}

func TestPlace(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8:0:0:ffff::1": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64",
		"fe80::1%eth0": "fe80::/64",
	} {
		if got := place(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestW04_LongLogins: logins as long as a request fill no memory, and are counted as others are.
func TestW04_LongLogins(t *testing.T) {
	l, now := newLimiter(2, time.Minute), time.Unix(0, 0)
	long := strings.Repeat("x", 1<<20)
	l.take(long, now)
	l.give(long, now)
	l.take(long, now)
	l.take(long, now)
	if _, ok := l.take(long, now); ok {
		t.Error("a long key is not counted")
	}
	if _, ok := l.take(long+"y", now); !ok {
		t.Error("two long keys are one")
	}
	for key := range l.keys {
		if len(key) > maxKey {
			t.Errorf("a key of %d bytes is kept", len(key))
		}
	}
}
