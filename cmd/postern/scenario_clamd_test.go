package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A scriptedClamd answers every scan as its behaviour says:
//
//	OK   FOUND name   ERROR text    as clamd says them
//	"…"                             these bytes
//	close   stall                   no answer: the connection ends, or nothing happens
//	slow 1s ANSWER                  answered so much later
//	after N ANSWER                  answered and reset when so many bytes have come
//	dead                            nobody listens
type scriptedClamd struct {
	dir, path string
	wg        sync.WaitGroup
	done      chan struct{}

	mu    sync.Mutex
	ln    net.Listener
	does  string
	scans int
	conns map[net.Conn]bool
}

func startScriptedClamd(does string) (*scriptedClamd, error) {
	dir, err := os.MkdirTemp("", "clamd-") // short: a socket's path has 108 bytes at most
	if err != nil {
		return nil, err
	}
	s := &scriptedClamd{dir: dir, path: filepath.Join(dir, "s"), done: make(chan struct{}), conns: map[net.Conn]bool{}}
	return s, s.behave(does)
}

// behave changes what it does; anything but dead brings it back to life.
func (s *scriptedClamd) behave(does string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does = does
	if does == "dead" {
		s.kill()
		return nil
	}
	if s.ln != nil {
		return nil
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return err
	}
	s.ln = l
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func (s *scriptedClamd) kill() {
	if s.ln != nil {
		s.ln.Close()
		s.ln = nil
	}
	for c := range s.conns {
		c.Close()
	}
}

func (s *scriptedClamd) close() {
	close(s.done)
	s.mu.Lock()
	s.kill()
	s.mu.Unlock()
	s.wg.Wait()
	_ = os.RemoveAll(s.dir)
}

func (s *scriptedClamd) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		does := s.does
		s.mu.Unlock()
		s.wg.Go(func() {
			defer c.Close()
			s.serve(c, does)
		})
	}
}

func (s *scriptedClamd) serve(c net.Conn, does string) {
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil { // nINSTREAM
		return
	}
	s.mu.Lock()
	s.scans++
	s.mu.Unlock()
	most := -1
	if rest, ok := strings.CutPrefix(does, "after "); ok {
		var n string
		n, does, _ = strings.Cut(rest, " ")
		most, _ = strconv.Atoi(n)
	}
	for got := 0; most < 0 || got < most; { // chunks: four bytes of length, the bytes; length 0 is the end
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			break
		}
		m, err := io.CopyN(io.Discard, r, int64(n))
		if err != nil {
			return
		}
		got += int(m)
	}
	if rest, ok := strings.CutPrefix(does, "slow "); ok {
		var wait string
		wait, does, _ = strings.Cut(rest, " ")
		d, _ := time.ParseDuration(wait)
		select {
		case <-time.After(d):
		case <-s.done:
			return
		}
	}
	if b, _, ok := cutBytes(does); ok {
		_, _ = c.Write(b)
		return
	}
	switch word, arg, _ := strings.Cut(does, " "); word {
	case "OK":
		_, _ = io.WriteString(c, "stream: OK\n")
	case "FOUND":
		_, _ = io.WriteString(c, "stream: "+arg+" FOUND\n")
	case "ERROR":
		_, _ = io.WriteString(c, arg+" ERROR\n")
	case "stall":
		<-s.done
	}
}
