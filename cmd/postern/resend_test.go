package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/testkit"
)

var resendCuts = flag.Int("resend.cuts", 60, "how many connections TestD13_CutsBetweenThe250s cuts")

// D-13: the client's connection is cut between the internal server's 250 and ours, shortly before
// or shortly after, and the client sends the message again, at once or later: there is one copy.
// Messages that are alike but not the same are all delivered.
func TestD13_CutsBetweenThe250s(t *testing.T) {
	t.Parallel()
	var links sync.Map // by sender: the connection that is to be cut
	cut := func(sender string) {
		c, there := links.LoadAndDelete(sender)
		if !there {
			return
		}
		switch rand.IntN(3) {
		case 0: // gone before the answer of the internal server
			hangUp(c.(*net.TCPConn))
		case 1: // long before: the client is back by then
			hangUp(c.(*net.TCPConn))
			pause(t.Context(), rand.N(40*time.Millisecond))
		default: // about when our answer leaves
			time.AfterFunc(rand.N(300*time.Microsecond), func() { hangUp(c.(*net.TCPConn)) })
		}
	}
	inside := newSink(t, func(step, sender string) string {
		if step == "DOT" {
			cut(sender)
		}
		return ""
	})
	g := newSite(t, inside.addr, "").serve(t)
	var next, cuts atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for int(cuts.Load()) < *resendCuts && int(next.Load()) < 10**resendCuts { // some are cut too late
				n := next.Add(1)
				sender := fmt.Sprintf("n%d@friend.example", n)
				text := []byte(letter("resend-"+strconv.FormatInt(n, 10), "resend", "x\r\n"))
				for try := 0; ; try++ {
					reply, err := resendOnce(g.addr, sender, text, try == 0, &links)
					if err != nil {
						cuts.Add(1)
						continue
					}
					if strings.HasPrefix(reply, "250") {
						break
					}
					if reply[0] != '4' {
						t.Errorf("%d: %s", n, reply)
						return
					}
					pause(t.Context(), 10*time.Millisecond)
				}
			}
		})
	}
	clients.Wait()
	copies := map[string]int{}
	for _, m := range inside.taken() {
		_, rest, _ := strings.Cut(string(m.Data), "Message-ID: <")
		id, _, _ := strings.Cut(rest, "@")
		copies[id]++
	}
	duplicates := 0
	for n := range next.Load() {
		switch c := copies[fmt.Sprintf("resend-%d", n+1)]; {
		case c == 0:
			t.Errorf("LOST: message %d", n+1)
		case c > 1:
			duplicates += c - 1
		}
	}
	if duplicates > 0 {
		t.Errorf("%d duplicates", duplicates)
	}
	if int(cuts.Load()) < *resendCuts {
		t.Errorf("only %d connections were cut", cuts.Load())
	}
	testkit.Figure(t, "%d messages, %d connections cut before their answer was read, %d duplicates", next.Load(), cuts.Load(), duplicates)
}

// hangUp closes a connection: by a reset, or as usual.
func hangUp(c *net.TCPConn) {
	if rand.IntN(2) == 0 {
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}

// resendOnce sends a message; its connection may be cut when the internal server has it.
func resendOnce(addr, sender string, text []byte, cut bool, links *sync.Map) (string, error) {
	x, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer x.conn.Close()
	if cut {
		links.Store(sender, x.conn.(*net.TCPConn))
	}
	reply, _, err := x.mail(sender, []string{"a@example.org"}, text)
	if err == nil {
		_, _ = x.say("QUIT") // who says it has read our answer
	}
	return reply, err
}

// A message whose answer was not read comes again after a restart: there is one copy.
func TestD13_KnownAfterARestart(t *testing.T) {
	t.Parallel()
	inside := newSink(t, func(string, string) string { return "" })
	s := newSite(t, inside.addr, "")
	text := []byte(letter("resend-late", "resend", "x\r\n"))
	for n := range 3 { // the first answer is read, the second is not
		g := s.serve(t)
		if n != 2 {
			text = append(text, "y\r\n"...)
		}
		x, err := dial(g.addr)
		if err != nil {
			t.Fatal(err)
		}
		if reply, _, err := x.mail("n@friend.example", []string{"a@example.org"}, text); err != nil || !strings.HasPrefix(reply, "250") {
			t.Fatalf("%s, %v", reply, err)
		}
		if n == 0 {
			_, _ = x.say("QUIT")
		}
		x.conn.Close()
		if err := g.stop(t); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(inside.taken()); n != 2 {
		t.Errorf("%d copies", n)
	}
}
