package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/testkit"
)

var worstSize = flag.Int("worst.size", 32, "KiB of each message of TestC04_WorstCPU")

// processor is the time that a child has used, user and system.
func processor(t testing.TB, g *running) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// C-03, C-04: no kind of message is dear: each of the hostile set is judged, whatever its size, and the
// dearest are told. A verdict that is put off would mean that a limit of time was met.
func TestC04_WorstCPU(t *testing.T) {
	size := *worstSize << 10
	hole := newBlackHole(t)
	s := newSite(t, hole.addr, "")
	s.reconfigure(t, "errors: 1000", "errors: 1000, unknown_recipients: 1000000, message_size: 100MiB")
	g := s.start(t)
	honest(t, g.addr, 20)
	type cost struct {
		name string
		took time.Duration
	}
	var costs []cost
	for _, h := range hostileSet() {
		msg := h.make(size)
		x := mustDial(t, g.addr)
		_ = x.conn.SetDeadline(time.Now().Add(5 * time.Minute))
		before := processor(t, g)
		reply, _, err := x.mail("", []string{"a@example.org"}, append(msg, "\r\n"...))
		x.conn.Close()
		costs = append(costs, cost{h.name, processor(t, g) - before})
		if err != nil || reply[0] != '2' && reply[0] != '5' {
			t.Errorf("%s: %q, %v", h.name, reply, err)
		}
	}
	slices.SortFunc(costs, func(a, b cost) int { return cmp.Compare(b.took, a.took) })
	var worst []string
	for _, c := range costs[:6] {
		worst = append(worst, fmt.Sprintf("%s %.2f s", c.name, c.took.Seconds()))
	}
	testkit.Figure(t, "%d kinds of message of up to %d KiB; dearest: %s", len(costs), *worstSize, strings.Join(worst, ", "))
}
