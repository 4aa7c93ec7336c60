package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/testkit"
)

var (
	restartCount = flag.Int("restart.count", 3, "how often TestD16_NoConnectionIsRefused restarts the gateway")
	restartEvery = flag.Duration("restart.every", 500*time.Millisecond, "how long it runs between two restarts")
)

// activated starts the gateway as systemd does: with open sockets and the names of them.
func (s *site) activated(t *testing.T, names string, open ...*os.File) *running {
	t.Helper()
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", builtProgram(t), "serve", "-c", s.conf)
	g.cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(open)), "LISTEN_FDNAMES="+names)
	g.cmd.ExtraFiles = open
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	g.cancel = func() { _ = g.cmd.Process.Signal(syscall.SIGTERM) }
	return g
}

// held is a socket as systemd keeps it.
func heldSocket(t *testing.T) (addr string, file *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err = l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return l.Addr().String(), file
}

// D-16, D-15: systemd keeps the socket while the gateway restarts again and again under load: no
// connection is refused, no reply is 5xx, and each message that was answered 250 is there once.
func TestD16_NoConnectionIsRefused(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "")
	addr, socket := heldSocket(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent, put, refused atomic.Int64
	var taken sync.Map
	var load sync.WaitGroup
	for client := range 16 {
		load.Go(func() {
			pace := time.NewTicker(45 * time.Millisecond) // over 200 a second from all, the restarts included
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-pace.C
				id := fmt.Sprintf("restart-%d-%d", client, n)
				for { // a mail server comes again until it has an answer
					c, err := net.DialTimeout("tcp", addr, 20*time.Second)
					if err != nil {
						refused.Add(1)
						t.Error(err)
						return
					}
					c.Close()
					reply, err := deliverOnce(addr, id)
					if errors.Is(err, syscall.ECONNREFUSED) {
						refused.Add(1)
						t.Error(err)
					}
					if err == nil && strings.HasPrefix(reply, "250") {
						sent.Add(1)
						taken.Store(id, true)
						break
					}
					if err == nil && reply[0] == '5' {
						t.Errorf("%s: %s", id, reply)
						return
					}
					put.Add(1)
				}
			}
		})
	}
	builtProgram(t)
	begun := time.Now()
	for range *restartCount {
		g := s.activated(t, "smtp", socket)
		g.ready(t)
		if g.addr != addr {
			t.Fatalf("it takes mail on %s", g.addr)
		}
		pause(ctx, *restartEvery)
		if err := g.stop(t); err != nil {
			t.Errorf("%v\n%s", err, g.log)
		}
	}
	g := s.activated(t, "smtp", socket)
	g.ready(t)
	took := time.Since(begun)
	stop()
	load.Wait()
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
	copies := map[string]int{}
	for _, m := range inside.taken() {
		_, rest, _ := strings.Cut(string(m.Data), "\r\nMessage-ID: <")
		id, _, _ := strings.Cut(rest, "@")
		copies[id]++
	}
	taken.Range(func(id, _ any) bool {
		if n := copies[id.(string)]; n != 1 {
			t.Errorf("%s was answered 250 and is there %d times", id, n)
		}
		return true
	})
	if int(sent.Load()) < *restartCount {
		t.Errorf("no load: %d messages", sent.Load())
	}
	testkit.Figure(t, "%d restarts: %d messages, %.0f a second, %d told to come again, %d connections refused, 0 lost", *restartCount, sent.Load(), float64(sent.Load())/took.Seconds(), put.Load(), refused.Load())
}

// deliverOnce sends one message on a connection of its own.
func deliverOnce(addr, id string) (string, error) {
	x, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer x.conn.Close()
	reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(id, "restart", "x\r\n")))
	if err == nil {
		_, _ = x.say("QUIT")
	}
	return reply, err
}

// Sockets for pages and health have their names; one that nobody knows is refused.
func TestD16_SocketsByName(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "web: {listen: \"127.0.0.1:0\"}\n")
	smtp, one := heldSocket(t)
	admin, two := heldSocket(t)
	web, three := heldSocket(t)
	g := s.activated(t, "postern.socket:admin:postern-web.socket", one, two, three)
	g.ready(t)
	page := g.log.must(t, 1, "msg", "pages")
	if g.addr != smtp || g.admin != admin || page["web"] != web {
		t.Errorf("mail on %s, health on %s, pages on %v; want %s, %s, %s", g.addr, g.admin, page["web"], smtp, admin, web)
	}
	g.healthy(t, "")
	if r := sendMail(t, smtp, letter("named", "named", "x\r\n"), "a@example.org"); !strings.HasPrefix(r, "250") {
		t.Error(r)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
	bad := s.activated(t, "smtp:imap", one, two)
	<-bad.ended
	if bad.err == nil || !strings.Contains(bad.log.String(), "FileDescriptorName= is smtp, admin or web") {
		t.Errorf("%v\n%s", bad.err, bad.log)
	}
}
