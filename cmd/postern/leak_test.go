package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/testkit"
)

var leakMessages = flag.Int("leak.messages", 2000, "how many messages TestS33_NothingIsLeftBehind sends")

// S-33, P-03: many messages, a tenth of them cut off at some byte: afterwards no goroutine, no
// descriptor, no file of the spool and no session is left. It runs alone, since it counts.
func TestS33_NothingIsLeftBehind(t *testing.T) {
	before, files := goleak.IgnoreCurrent(), descriptors(t)
	t.Run("load", nothingStaysOpen)
	goleak.VerifyNone(t, before)
	settle(t, "descriptors at the end", func() int { return descriptors(t) }, files)
}

func nothingStaysOpen(t *testing.T) {
	const sessions = 10
	messages := *leakMessages
	s := newSite(t, newSink(t, nil).addr, "")
	s.reconfigure(t, "errors: 1000", "errors: 1000, memory: 1KiB") // so that the spool's files are used
	g := s.serve(t)
	burst := func(n int) {
		work := make(chan int, n)
		for i := range n {
			work <- i
		}
		close(work)
		var wg sync.WaitGroup
		for range sessions {
			wg.Go(func() { leakSession(t, g.addr, work) })
		}
		wg.Wait()
		settle(t, "sessions", func() int { return g.program.gateway.Sessions() }, 0)
	}
	burst(messages / 10)
	warm, open := runtime.NumGoroutine(), descriptors(t)
	burst(messages - messages/10)
	// An idle connection to the internal server is two descriptors here, and a goroutine.
	idle := 2 * g.program.cfg.Upstream.MaxIdle
	settle(t, "goroutines", runtime.NumGoroutine, warm+idle)
	settle(t, "descriptors", func() int { return descriptors(t) }, open+idle)
	settle(t, "spooled files", func() int { return spooled(t, s.data) }, 0)
	testkit.Figure(t, "%d messages, %d of them cut off: %d goroutines before and %d after, %d descriptors before and %d after, %d files in the spool",
		messages, messages/10, warm, runtime.NumGoroutine(), open, descriptors(t), spooled(t, s.data))
}

// spooled counts the files of messages under way.
func spooled(t testing.TB, data string) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(data, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// leakSession sends messages, a tenth of them cut off.
func leakSession(t *testing.T, addr string, work chan int) {
	for {
		x, err := dial(addr)
		if err != nil {
			t.Error(err)
			return
		}
		for range 10 {
			n, more := <-work
			if !more {
				_, _ = x.say("QUIT")
				x.conn.Close()
				return
			}
			body := "x\r\n"
			if n%40 == 7 {
				body = gtube + "\r\n"
			}
			text := letter(fmt.Sprintf("leak-%d", n), "leak", body)
			if n%10 == 3 {
				cutOff(x, text)
				break
			}
			if reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(text)); err != nil || !strings.HasPrefix(reply, "250 2.0.0 ") {
				t.Errorf("%d: %q, %v", n, reply, err)
				x.conn.Close()
				break
			}
		}
		x.conn.Close()
	}
}

// cutOff says a part of a transaction and resets the connection.
func cutOff(x *speaker, text string) {
	lines := "MAIL FROM:<eve@friend.example>\r\nRCPT TO:<a@example.org>\r\n"
	said := rand.IntN(len(lines) + len(text) + 4)
	if said < len(lines) {
		_, _ = x.conn.Write([]byte(lines[:said]))
	} else if _, err := x.conn.Write([]byte(lines + "DATA\r\n")); err == nil {
		for range 3 {
			_, _ = x.reply()
		}
		all := text + ".\r\n"
		_, _ = x.conn.Write([]byte(all[:min(said-len(lines), len(all))]))
	}
	if c, ok := x.conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	x.conn.Close()
}

// descriptors counts the open files of this process.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	return len(list)
}

// settle waits until a count is no more than most.
func settle(t testing.TB, what string, count func() int, most int) {
	t.Helper()
	n := count()
	for end := time.Now().Add(10 * time.Second); n > most && time.Now().Before(end); n = count() {
		time.Sleep(10 * time.Millisecond)
	}
	if n > most {
		t.Errorf("%s: %d, want at most %d", what, n, most)
	}
}
