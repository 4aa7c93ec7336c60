package main

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/testkit"
)

var leavingOffsets = flag.Int("leaving.offsets", 100, "at how many places TestD14_ClientLeavesAnywhere cuts the dialogue")

// D-14: the client goes away after so many bytes of its dialogue, by a reset or by closing. A message
// whose end was read is delivered or held as a whole, any other one is nowhere, and nothing is left
// open behind it.
func TestD14_ClientLeavesAnywhere(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "")
	g := s.serve(t)
	var clients sync.WaitGroup
	var next atomic.Int64
	whole := sync.Map{} // numbers of messages whose end was sent
	for range 6 {
		clients.Go(func() {
			for n := int(next.Add(1)) - 1; n < *leavingOffsets; n = int(next.Add(1)) - 1 {
				text := letter(fmt.Sprintf("crash-%d", n), "leaving", []string{"x\r\n", gtube + "\r\n"}[n%2])
				script := []byte("EHLO mail.friend.example\r\nMAIL FROM:<eve@friend.example>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n" + text + ".\r\n")
				cut := len(script) - n%16 // around the end, or anywhere
				if n%3 == 0 {
					cut = len(script) * n / *leavingOffsets
				}
				if cut == len(script) {
					whole.Store(n, true)
				}
				if err := leave(g.addr, script, cut, n%4 < 2); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for g.program.gateway.Sessions() > 0 && time.Now().Before(deadline) {
		pause(t.Context(), 10*time.Millisecond)
	}
	if n := g.program.gateway.Sessions(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	there := map[int]int{}
	for _, m := range inside.taken() {
		n := numberOf(m.Data)
		there[n]++
		if _, same := ours(m.Data, []byte(letter(fmt.Sprintf("crash-%d", n), "leaving", "x\r\n"))); !same {
			t.Errorf("message %d was delivered in another shape", n)
		}
	}
	for _, it := range g.heldWith(t, "leaving") {
		var n int
		_, _ = fmt.Sscanf(it.MessageID, "<crash-%d@", &n)
		there[n]++
		if it.State != quarantine.Kept {
			t.Errorf("%s is %s", it.ID, it.State)
		}
		if err := g.program.quarantine.Verify(t.Context(), it.ID); err != nil {
			t.Error(err)
		}
	}
	for n := range *leavingOffsets {
		if _, ended := whole.Load(n); there[n] > 1 || there[n] == 1 && !ended {
			t.Errorf("message %d is there %d times, its end was sent: %v", n, there[n], ended)
		}
	}
	if len(there) == 0 {
		t.Error("none was taken at all")
	}
	if r, err := g.program.quarantine.Sweep(t.Context(), 0); err != nil || r.Kept.Count+r.Voided.Count+r.Missing.Count+r.Leftover.Count > 0 {
		t.Errorf("left behind: %+v, %v", r, err)
	}
	entries, _, err := g.program.journal.Search(t.Context(), journal.Query{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Result != "abandoned" && e.Result != "delivered" && e.Result != "held" {
			t.Errorf("%s: %s", e.ID, e.Result)
		}
	}
	testkit.Figure(t, "%d clients left somewhere in their dialogue: %d messages are there, each once and whole, and nothing half", *leavingOffsets, len(there))
}

// leave sends so much of a dialogue, waiting where an answer is due, and goes.
func leave(addr string, script []byte, n int, reset bool) error {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 4096)
	if _, err := c.Read(buf); err != nil {
		return err
	}
	for sent := 0; sent < n; {
		end := n
		if i := strings.Index(string(script[sent:]), "\r\n"); sent < strings.Index(string(script), "From: ") && sent+i+2 <= n {
			end = sent + i + 2
		}
		if _, err := c.Write(script[sent:end]); err != nil {
			return err
		}
		if sent = end; sent < n || n == strings.Index(string(script), "From: ") {
			if _, err := c.Read(buf); err != nil {
				return err
			}
		}
	}
	if reset {
		return c.(*net.TCPConn).SetLinger(0)
	}
	return nil
}
