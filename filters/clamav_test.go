package filters

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/mail"
)

// fakeClamd reads one INSTREAM and hands the connection and what it read to answer.
func fakeClamd(t *testing.T, network string, answer func(c net.Conn, got []byte)) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "clamd.sock")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c, readStream(c))
			}()
		}
	}()
	return network + ":" + ln.Addr().String()
}

func readStream(c net.Conn) []byte {
	cmd := make([]byte, len("nINSTREAM\n"))
	if _, err := io.ReadFull(c, cmd); err != nil {
		return nil
	}
	var got []byte
	for {
		var n uint32
		if err := binary.Read(c, binary.BigEndian, &n); err != nil || n == 0 {
			return got
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(c, chunk); err != nil {
			return got
		}
		got = append(got, chunk...)
	}
}

func ask(t *testing.T, c ClamAVConfig, body []byte) (ClamAVFacts, error) {
	t.Helper()
	f := clamav(c)
	s := NewScope(nil)
	b := mail.BodyOf(body)
	defer b.Close()
	s.Start(context.Background(), []Filter{f, content()}, Input{Body: b})
	if err := s.Wait(context.Background(), "clamav"); err != nil {
		t.Fatal(err)
	}
	s.Join()
	v, err, _ := s.Lookup("clamav")
	return v.(ClamAVFacts), err
}

// Only an explicit OK line is clean (C-10): every other shape of answer is an error, or a find.
func TestC10_OnlyAnExplicitOKIsClean(t *testing.T) {
	send := func(s string) func(net.Conn, []byte) {
		return func(c net.Conn, _ []byte) { _, _ = io.WriteString(c, s) }
	}
	tests := []struct {
		name   string
		answer func(net.Conn, []byte)
		clean  bool
		found  string
	}{
		{"ok", send("stream: OK\n"), true, ""},
		{"found", send("stream: Eicar-Test FOUND\n"), false, "Eicar-Test"},
		{"found without a line end", send("stream: Eicar-Test FOUND"), false, "Eicar-Test"},
		{"found with a NUL end", send("stream: Eicar-Test FOUND\x00"), false, "Eicar-Test"},
		{"name with a colon", send("stream: A: B:C FOUND\n"), false, "A: B:C"},
		{"nothing", send(""), false, ""},
		{"ok without a line end", send("stream: OK"), false, ""},
		{"half of ok", send("stream: O"), false, ""},
		{"ok with a NUL end", send("stream: OK\x00"), false, ""},
		{"error", send("stream: Can't open file ERROR\n"), false, ""},
		{"unknown command", send("UNKNOWN COMMAND\n"), false, ""},
		{"garbage", send("\x01\x02\xff\n"), false, ""},
		{"other name", send("/etc/passwd: OK\n"), false, ""},
		{"two answers", send("stream: OK\nstream: OK\n"), false, ""},
		{"ok, then a find", send("stream: OK\nstream: Eicar FOUND\n"), false, ""},
		{"OK in a word", send("stream: NOT OK\n"), false, ""},
		{"lower case", send("stream: ok\n"), false, ""},
		{"reset", func(c net.Conn, _ []byte) { c.(interface{ SetLinger(int) error }).SetLinger(0) }, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := ask(t, ClamAVConfig{Addresses: []string{fakeClamd(t, "tcp", tt.answer)}, Timeout: 5 * time.Second}, []byte("Subject: x\r\n\r\nx\r\n"))
			if clean := err == nil && !facts.Infected; clean != tt.clean {
				t.Errorf("clean = %v (%+v, %v), want %v", clean, facts, err, tt.clean)
			}
			if facts.Signature != tt.found {
				t.Errorf("signature %q, want %q", facts.Signature, tt.found)
			}
			if err != nil && facts.Error == "" {
				t.Error("the error fact is empty")
			}
		})
	}
}

// clamd is given the bytes as received, all of them, whatever the size (deps: the library
// loses a last chunk that comes together with io.EOF).
func TestC10_AllBytesReachClamd(t *testing.T) {
	for _, size := range []int{0, 1, 1023, 1024, 1025, 1500, 8192, 8193, 100_000, 3 << 20} {
		body := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		same := make(chan bool, 1)
		addr := fakeClamd(t, "unix", func(c net.Conn, got []byte) {
			select {
			case same <- bytes.Equal(got, body): // what comes after it are single parts
			default:
			}
			_, _ = io.WriteString(c, "stream: OK\n")
		})
		if _, err := ask(t, ClamAVConfig{Addresses: []string{addr}}, body); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !<-same {
			t.Errorf("%d bytes: clamd got something else", size)
		}
	}
}

// C-12: too big is a find of its own kind, whether known before, answered, or answered while
// we still write.
func TestC12_TooBig(t *testing.T) {
	early := fakeClamdRaw(t, func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, 4096)
		_, _ = io.WriteString(c, "INSTREAM size limit exceeded. ERROR\n")
	})
	for name, c := range map[string]ClamAVConfig{
		"known":    {Addresses: []string{"tcp:127.0.0.1:1"}, MaxSize: 1000},
		"answered": {Addresses: []string{early}, Timeout: 5 * time.Second},
	} {
		facts, err := ask(t, c, make([]byte, 2<<20))
		if err != nil || !facts.TooBig || !facts.Infected || facts.Heuristic != "limits" {
			t.Errorf("%s: %+v, %v", name, facts, err)
		}
	}
}

func fakeClamdRaw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return "tcp:" + ln.Addr().String()
}

// A clamd that hangs, trickles or never stops answering ends with the filter's own limit.
func TestC14_LimitsHoldAgainstALyingClamd(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for name, serve := range map[string]func(net.Conn){
		"never reads":   func(c net.Conn) { <-stop },
		"never answers": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"endless answer": func(c net.Conn) {
			readStream(c)
			for _, err := c.Write(make([]byte, 1<<16)); err == nil; _, err = c.Write(make([]byte, 1<<16)) {
			}
		},
		"endless lines": func(c net.Conn) {
			readStream(c)
			for _, err := io.WriteString(c, strings.Repeat("stream: OK\n", 1000)); err == nil; _, err = io.WriteString(c, "stream: OK\n") {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts, err := ask(t, ClamAVConfig{Addresses: []string{fakeClamdRaw(t, serve)}, Timeout: 300 * time.Millisecond}, make([]byte, 4<<20))
			if err == nil {
				t.Errorf("no error: %+v", facts)
			}
		})
	}
}

// C-14: a dead or hanging clamd is passed over, and spared for a while.
func TestC14_FailOver(t *testing.T) {
	var asked atomic.Int32
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	hangs := fakeClamdRaw(t, func(c net.Conn) { asked.Add(1); <-stop })
	good := fakeClamd(t, "tcp", func(c net.Conn, _ []byte) { _, _ = io.WriteString(c, "stream: OK\n") })
	f := clamav(ClamAVConfig{Addresses: []string{"tcp:127.0.0.1:1", hangs, good}, Timeout: 900 * time.Millisecond})
	for range 3 {
		b := mail.BodyOf([]byte("x"))
		s := NewScope(nil)
		s.Start(context.Background(), []Filter{f, content()}, Input{Body: b})
		s.Join()
		if v, err, _ := s.Lookup("clamav"); err != nil || v.(ClamAVFacts).Infected {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the hanging clamd was asked %d times, want 1", n)
	}
}

func TestClamAVAbandoned(t *testing.T) {
	f := clamav(ClamAVConfig{Addresses: []string{fakeClamdRaw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })}})
	ctx, cancel := context.WithCancelCause(context.Background())
	s := NewScope(nil)
	s.Start(ctx, []Filter{f, content()}, Input{Body: mail.BodyOf([]byte("x"))})
	gone := errors.New("client gone")
	cancel(gone)
	s.Join()
	if _, err, _ := s.Lookup("clamav"); !errors.Is(err, gone) {
		t.Errorf("error %v does not tell the cause", err)
	}
}
