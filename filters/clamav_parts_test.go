package filters

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"postern/mail"
)

// manyParts is a message of unusual form with n parts.
func manyParts(n int) []byte {
	return []byte(top + "Content-Type: multipart/signed; boundary=b1\r\n\r\n" + strings.Repeat("--b1\r\nContent-Type: a/b\r\n\r\nx\r\n", n) + "--b1--\r\n")
}

func scanIn(s *Scope, f Filter, msg []byte) *mail.Body {
	b := mail.BodyOf(msg)
	s.Start(context.Background(), []Filter{f, content()}, Input{Body: b})
	return b
}

// A message of many parts takes its turn with the others for each of them.
func TestS35_ManyPartsKeepNoScannerFromTheOthers(t *testing.T) {
	var parts atomic.Int32
	begun, other := make(chan struct{}), make(chan struct{})
	clamd := fakeClamd(t, "unix", func(c net.Conn, got []byte) {
		switch {
		case strings.HasPrefix(string(got), top):
		case string(got) == "other":
			close(other)
		default:
			if parts.Add(1) == 1 {
				close(begun)
			}
		}
		_, _ = c.Write([]byte("stream: OK\n"))
	})
	f := clamav(ClamAVConfig{Addresses: []string{clamd}, Concurrent: 1})
	first, second := NewScope(nil), NewScope(nil)
	defer first.Join()
	defer second.Join()
	defer scanIn(first, f, manyParts(200)).Close()
	<-begun
	defer scanIn(second, f, []byte("other")).Close()
	<-other
	if n := parts.Load(); n > 150 {
		t.Errorf("an ordinary message waited for %d parts of another", n)
	}
	if err := first.Wait(t.Context(), "clamav"); err != nil {
		t.Fatal(err)
	}
	if v, err, _ := first.Lookup("clamav"); err != nil || v.(ClamAVFacts).Infected {
		t.Errorf("%+v, %v", v, err)
	}
}

// More parts than that are over a limit, and not clean.
func TestC03_PartsToScanAreBounded(t *testing.T) {
	var scans atomic.Int32
	clamd := fakeClamd(t, "unix", func(c net.Conn, got []byte) {
		scans.Add(1)
		_, _ = c.Write([]byte("stream: OK\n"))
	})
	f, err := ask(t, ClamAVConfig{Addresses: []string{clamd}}, manyParts(maxViewParts+100))
	if err != nil || f.Heuristic != "limits" || !f.Infected {
		t.Errorf("%+v, %v", f, err)
	}
	if n := scans.Load(); n > maxViewParts+1 {
		t.Errorf("%d scans", n)
	}
}
