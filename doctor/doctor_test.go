package doctor

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A check that panics or hangs is unknown, never silence; the others are not kept waiting.
func TestRunBoundsEveryCheck(t *testing.T) {
	released := make(chan struct{})
	r := Run(t.Context(), []Check{
		{Name: "fine", About: "a", Look: func(context.Context) []Finding { return []Finding{{State: Ok, Sentence: "x"}} }},
		{Name: "panics", About: "b", Look: func(context.Context) []Finding { panic("broken") }},
		{Name: "hangs", About: "c", Limit: 10 * time.Millisecond, Look: func(context.Context) []Finding { <-released; return nil }},
		{Name: "bad", About: "d", Look: func(context.Context) []Finding { return []Finding{{Check: "own", About: "e", State: Bad}} }},
	})
	close(released)
	if r.OK || r.Counts[Ok] != 1 || r.Counts[Unknown] != 2 || r.Counts[Bad] != 1 || len(r.Findings) != 4 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"fine a", "panics b", "hangs c", "own e"} {
		if f := r.Findings[i]; f.Check+" "+f.About != want {
			t.Errorf("%d: %+v, want %s", i, f, want)
		}
	}
	if f := r.Findings[2]; !strings.Contains(f.Sentence, "not done within 10ms") {
		t.Errorf("%+v", f)
	}
}

// server is an SMTP server that says what answer says; "" is the usual reply. What ends with a
// bare "." among its lines is data.
func server(t *testing.T, answer func(line string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			talk(c, answer)
		}
	}()
	return l.Addr().String()
}

func talk(c net.Conn, answer func(line string) string) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	say := func(line, usual string) bool {
		if said := answer(line); said != "" {
			usual = said
		}
		_, err := fmt.Fprintf(c, "%s\r\n", strings.ReplaceAll(usual, "\n", "\r\n"))
		return err == nil && !strings.HasPrefix(usual, "421")
	}
	if !say("CONNECT", "220 inner.example ESMTP") {
		return
	}
	for in := bufio.NewScanner(c); in.Scan(); {
		usual := "250 2.0.0 OK"
		if strings.HasPrefix(in.Text(), "EHLO") {
			usual = "250 inner.example"
		}
		if !say(in.Text(), usual) || in.Text() == "QUIT" {
			return
		}
	}
}

// said finds what a check found.
func said(list []Finding, check string) (out []Finding) {
	for _, f := range list {
		if f.Check == check || check == "internal-server" && f.Check == "" {
			out = append(out, f)
		}
	}
	return out
}

func one(t *testing.T, list []Finding, check string, state State, words ...string) {
	t.Helper()
	got := said(list, check)
	if len(got) != 1 || got[0].State != state {
		t.Errorf("%s: %+v, want one that is %s", check, got, state)
		return
	}
	for _, w := range words {
		if !strings.Contains(got[0].Sentence+"\n"+got[0].Do, w) {
			t.Errorf("%s: no %q in %+v", check, w, got[0])
		}
	}
	if state != Ok && got[0].Do == "" {
		t.Errorf("%s: nothing to do in %+v", check, got[0])
	}
}
