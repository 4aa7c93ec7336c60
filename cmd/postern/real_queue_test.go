package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/testkit"
)

// Postfix in front: what a real queue does with our answers.

// randomText gives lines of at least n bytes in all; every byte but NUL, CR and LF may occur.
func randomText(r *rand.Rand, n int) string {
	b := make([]byte, 0, n+100)
	for len(b) < n {
		for range r.IntN(90) {
			c := byte(r.UintN(256))
			if c == 0 || c == '\r' || c == '\n' {
				c = '.'
			}
			b = append(b, c)
		}
		b = append(b, "\r\n"...)
	}
	return string(b)
}

// Two hundred messages of mixed sizes through Postfix, Postern and Postfix: none is lost, none
// is doubled, none is changed.
func TestRealQueueThrough(t *testing.T) {
	t.Parallel()
	const messages = 200
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"a", "b"}})
	g := newSite(t, inside.Addr, "").serve(t)
	outside := testkit.StartPostfix(t, testkit.PostfixOptions{Relay: g.addr})

	r := rand.New(rand.NewPCG(1, 2))
	sent, to := map[string]string{}, map[string]string{}
	boxes := map[string]int{}
	work := make(chan string, messages)
	for i := range messages {
		size := r.IntN(5_000)
		switch {
		case i%50 == 49:
			size = 2_000_000 // beyond what is kept in memory
		case i%10 == 9:
			size = 100_000 + r.IntN(100_000)
		}
		id := fmt.Sprintf("through-%03d", i)
		sent[id], to[id] = letter(id, id, randomText(r, size)), []string{"a", "b"}[i%2]
		boxes[to[id]]++
		work <- id
	}
	close(work)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			x, err := dial(outside.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer x.conn.Close()
			for id := range work {
				_ = x.conn.SetDeadline(time.Now().Add(time.Minute))
				if reply, _, err := x.mail("eve@friend.example", []string{to[id] + "@example.org"}, []byte(sent[id])); err != nil || reply[0] != '2' {
					t.Errorf("%s: %q, %v", id, reply, err)
				}
			}
		})
	}
	wg.Wait()
	arrived := append(inside.WaitMessages("a", boxes["a"]), inside.WaitMessages("b", boxes["b"])...)
	if len(arrived) != messages {
		t.Errorf("%d messages arrived of %d", len(arrived), messages)
	}
	name := regexp.MustCompile(`\nMessage-ID: <(through-\d+)@`)
	seen := map[string]int{}
	for _, m := range arrived {
		id := ""
		if found := name.FindSubmatch(m); found != nil {
			id = string(found[1])
		}
		seen[id]++
		if _, same := ours(m, []byte(sent[id])); !same || id == "" {
			t.Errorf("%q: %d bytes arrived of %d sent", id, len(m), len(sent[id]))
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	if ehlo := mustDial(t, g.addr).must(t, "EHLO a.example", "250"); !strings.Contains(ehlo, "-PIPELINING") {
		t.Errorf("Postfix was not told that it may pipeline: %s", ehlo)
	}
}

// The internal server stops: 451 to the sender, whose queue delivers once it is back.
func TestRealInternalServerStops(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"a"}})
	s := newSite(t, inside.Addr, "")
	g := s.serve(t)
	outside := testkit.StartPostfix(t, testkit.PostfixOptions{Relay: g.addr})
	g.healthy(t, "")
	if r := sendMail(t, g.addr, letter("before", "before", "x\r\n"), "a@example.org"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}
	inside.Stop()
	code, said := swaks(t, g.addr, letter("during", "during", "x\r\n"), "--to", "a@example.org")
	if code != swaksNoRcpt || !strings.Contains(said, "<** 451 4.4.1 ") || strings.Contains(said, inside.Addr) {
		t.Errorf("exit %d\n%s", code, said)
	}
	queued := letter("queued", "queued", "x\r\n")
	if r := sendMail(t, outside.Addr, queued, "a@example.org"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}
	g.log.must(t, 2, "msg", "message", "result", "deferred")
	g.healthy(t, "upstream")
	if code, stdout, _ := postern("check", "-c", s.conf); code != exitFailed || !strings.Contains(stdout, "\nFAIL  internal server "+inside.Addr) {
		t.Errorf("check: exit %d\n%s", code, stdout)
	}
	inside.Start()
	outside.Flush()
	got := inside.WaitMessages("a", 2)
	if _, same := ours(got[1], []byte(queued)); !same || len(got) != 2 {
		t.Errorf("%d arrived:\n%s", len(got), bytes.Join(got, []byte("\n---\n")))
	}
	g.healthy(t, "")
}
