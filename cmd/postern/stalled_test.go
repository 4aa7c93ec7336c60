package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/testkit"
)

var stalledClients = flag.Int("stalled.clients", 50, "how many clients stall in TestS30S31_StalledClients")

// stalls are where clients stop. Each string is said at once, after the answer to the one before
// it; what comes back to the last is not waited for.
var stalls = [][]string{
	{},                            // does not even read the greeting
	{"EHLO a\r\n"},                // a command, and no more
	{"EHLO a\r\n", "MAIL FROM:<"}, // half a command
	{"EHLO a\r\n", "STARTTLS\r\n", "\x16\x03\x01\x02\x00\x01"},                                      // half a handshake
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n"},                                            //
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n", "RCPT TO:<a@example.org>\r\n"},             // with the internal server
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n", "RCPT TO:<a@example.org>\r\n", "DATA\r\n"}, //
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n", "RCPT TO:<a@example.org>\r\n", "DATA\r\n", "Subject: stalled\r\nX-Head"},
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n", "RCPT TO:<a@example.org>\r\n", "DATA\r\n", "Subject: stalled\r\n\r\n" + strings.Repeat("stalled in the body\r\n", 1500)},
	{"EHLO a\r\n", "MAIL FROM:<eve@friend.example>\r\n", "RCPT TO:<a@example.org>\r\n", "DATA\r\n", "Subject: stalled\r\n\r\nbody\r\n."}, // half an end
	{"EHLO a\r\n", strings.Repeat("VRFY somebody\r\n", 90)},                                                                              // does not read our answers
}

// stall connects from an address and stops at a stage.
func stall(from net.IP, addr string, said []string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil || len(said) == 0 {
		return c, err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	x := &speaker{c, bufio.NewReader(c)}
	for _, s := range said {
		if reply, err := x.reply(); err != nil || reply[0] != '2' && reply[0] != '3' {
			return c, fmt.Errorf("%q, %v", reply, err)
		}
		if _, err := io.WriteString(c, s); err != nil {
			return c, err
		}
	}
	return c, c.SetDeadline(time.Time{})
}

// honest sends messages one after the other, each on a connection and from an address of its own,
// and gives how long each took, in order.
func honest(t *testing.T, addr string, n int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		x, err := dialFrom(net.IPv4(127, 77, byte(i/200), byte(1+i%200)), addr)
		if err != nil {
			t.Fatalf("honest mail %d: %v", i, err)
		}
		reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()), "honest", "x\r\n")))
		took[i] = time.Since(began)
		_, _ = io.WriteString(x.conn, "QUIT\r\n")
		_, _ = io.Copy(io.Discard, x.conn) // its place is free when the next one comes
		x.conn.Close()
		if err != nil || !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("honest mail %d: %q, %v", i, reply, err)
		}
	}
	slices.Sort(took)
	return took
}

// resident is the memory of a child, in bytes; peak its largest so far.
func resident(t testing.TB, g *running) (now, peak int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	kib := func(name string) int {
		_, rest, _ := strings.Cut(string(text), name+":")
		n, _ := strconv.Atoi(strings.Fields(rest)[0])
		return n << 10
	}
	return kib("VmRSS"), kib("VmHWM")
}

// S-30, S-31: clients stall at every stage, as many as there are places, from so many addresses
// that no limit for one stops them. They take little memory; honest mail is served meanwhile, in the
// places that are kept for those who have none; and when they leave all is as before.
func TestS30S31_StalledClients(t *testing.T) {
	n := *stalledClients
	s := newSite(t, newSink(t, nil).addr, "")
	s.reconfigure(t, "connections_per_address: 500", fmt.Sprintf("connections_per_address: 50, connections: %d", n))
	s.reconfigure(t, "grace: 10s", "grace: 1s")
	g := s.start(t)
	honest(t, g.addr, 100)
	idle := honest(t, g.addr, 300)
	before, _ := resident(t, g)
	var mu sync.Mutex
	var open []net.Conn
	var work sync.WaitGroup
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	for range 20 {
		work.Go(func() {
			for i := range next {
				c, err := stall(net.IPv4(127, 9, byte(i/40), 9), g.addr, stalls[i%len(stalls)])
				if err != nil {
					t.Errorf("stage %d: %v", i%len(stalls), err)
				}
				if c != nil {
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	during, _ := resident(t, g)
	busy := honest(t, g.addr, 300)
	late, _ := resident(t, g)
	grown := max(during, late) - before
	if grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for _, c := range open {
		c.Close()
	}
	again := honest(t, g.addr, 300)
	p := func(took []time.Duration) string {
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", ms(took[len(took)/2]), ms(took[len(took)*99/100]))
	}
	testkit.Figure(t, "%d clients stalled at %d stages: resident memory grew by %.1f MiB (%.1f KiB each); honest mail before %s; meanwhile %s; afterwards %s",
		n, len(stalls), float64(grown)/(1<<20), float64(grown)/1024/float64(n), p(idle), p(busy), p(again))
}
