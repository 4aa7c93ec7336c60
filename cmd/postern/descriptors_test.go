package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// S-34: no descriptor is left, since clients came in hundreds. The program lives, a session that
// goes on is never told 5xx, nothing answered 250 is missing, and when the clients are gone mail
// flows as before.
func TestS34_NoDescriptorLeft(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/crash.yaml", crashRules)
	g := s.start(t)
	x, err := dial(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer x.conn.Close()
	accepted := map[int]bool{}
	send := func(x *speaker, n int, subject string) string {
		t.Helper()
		reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(fmt.Sprintf("crash-%d", n), subject, "x\r\n")))
		if err != nil || reply[0] == '5' {
			t.Errorf("message %d, %s: %q, %v", n, subject, reply, err)
		}
		accepted[n] = err == nil && reply[0] == '2'
		return reply
	}
	if reply := send(x, 0, "clean"); reply[0] != '2' {
		t.Fatal(reply)
	}
	pid := g.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Skip(err)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)) + 20, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	var crowd []net.Conn
	for i := range 200 {
		d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 7, byte(1+i%20))}}
		c, err := d.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		crowd = append(crowd, c)
	}
	if _, err := g.log.wait(t.Context(), 1, "msg", "cannot accept connections"); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"clean", "held", "clean"} {
		send(x, 1+i, subject)
	}
	for _, c := range crowd {
		c.Close()
	}
	end := time.Now().Add(20 * time.Second)
	for n := 4; ; n++ {
		y, err := dial(g.addr)
		if err == nil {
			reply := send(y, n, []string{"clean", "held"}[n%2])
			y.conn.Close()
			if strings.HasPrefix(reply, "250") && n%2 == 1 { // held: the store goes on as well
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("mail does not flow again:", err)
		}
		pause(t.Context(), 50*time.Millisecond)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
	got := map[int]int{}
	for _, m := range inside.taken() {
		got[numberOf(m.Data)]++
	}
	held := s.serve(t)
	for _, it := range held.heldWith(t, "held") {
		var n int
		_, _ = fmt.Sscanf(it.MessageID, "<crash-%d@", &n)
		got[n]++
	}
	for n, ok := range accepted {
		if ok && got[n] != 1 {
			t.Errorf("message %d was answered 250 and is there %d times", n, got[n])
		}
	}
}
