package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/testkit"
)

var (
	bigMessages = flag.Int("big.messages", 8, "how many large messages TestS36_LargeMessagesAtOnce sends at once")
	bigSize     = flag.Int("big.size", 20, "MiB of each")
)

// A blackHole is an internal server that takes all mail and keeps no byte of it, only how many came.
type blackHole struct {
	addr            string
	messages, bytes atomic.Int64
}

func newBlackHole(t *testing.T) *blackHole {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &blackHole{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
	return h
}

func (h *blackHole) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	for say("220 hole"); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case strings.HasPrefix(verb, "EHLO"):
			say("250-hole\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0")
		case verb == "DATA":
			say("354 go on")
			for {
				p, err := r.ReadSlice('\n')
				h.bytes.Add(int64(len(p)))
				if err == nil && string(p) == ".\r\n" {
					break
				}
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
			}
			h.messages.Add(1)
			say("250 2.0.0 Taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// S-36: large messages, all of them on their way at once: each waits before its end until the last
// has come as far. They lie in files, and the memory of the program stays bounded.
func TestS36_LargeMessagesAtOnce(t *testing.T) {
	n, size := *bigMessages, *bigSize<<20
	hole := newBlackHole(t)
	s := newSite(t, hole.addr, "")
	s.reconfigure(t, "grace: 10s", "grace: 1s")
	g := s.start(t)
	honest(t, g.addr, 20)
	before, _ := resident(t, g)
	block := bytes.Repeat([]byte("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"), 1000)
	var there, done sync.WaitGroup
	there.Add(n)
	began := time.Now()
	for i := range n {
		done.Go(func() {
			arrive := sync.OnceFunc(there.Done)
			defer arrive()
			x, err := dial(g.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer x.conn.Close()
			_ = x.conn.SetDeadline(time.Now().Add(20 * time.Minute))
			for _, line := range []string{"MAIL FROM:<eve@friend.example>", "RCPT TO:<a@example.org>", "DATA"} {
				if reply, err := x.say(line); err != nil || reply[0] > '3' {
					t.Errorf("%s: %q, %v", line, reply, err)
					return
				}
			}
			head := letter(fmt.Sprintf("big-%d", i), "big", "")
			_, err = io.WriteString(x.conn, head)
			for sent := len(head); err == nil && sent < size-len(block); sent += len(block) {
				_, err = x.conn.Write(block)
			}
			if err != nil {
				t.Error(err)
				return
			}
			arrive()
			there.Wait()
			_, _ = io.WriteString(x.conn, ".\r\n")
			if reply, err := x.reply(); err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Errorf("%q, %v", reply, err)
			}
		})
	}
	there.Wait()
	loaded, _ := resident(t, g)
	arrived := time.Since(began)
	done.Wait()
	_, peak := resident(t, g)
	if peak > 512<<20 {
		t.Errorf("%d MiB resident", peak>>20)
	}
	if got := hole.messages.Load(); got != int64(n+20) {
		t.Errorf("%d of %d messages were delivered", got, n+20)
	}
	testkit.Figure(t, "%d messages of %d MiB at once: resident memory %d MiB before, %d MiB when all had come, %d MiB at the peak; %.0f s to arrive, %.0f s in all, %.1f GiB relayed",
		n, *bigSize, before>>20, loaded>>20, peak>>20, arrived.Seconds(), time.Since(began).Seconds(), float64(hole.bytes.Load())/(1<<30))
}
