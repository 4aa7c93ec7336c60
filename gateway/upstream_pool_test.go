package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/mail"
)

func TestWaitingUploadsDoNotUseUpConnections(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.MaxOpen = 2 }, s.addr)
	var ds []Delivery
	for i := range 10 {
		env := upEnvelope()
		env.Sender.Local = fmt.Sprint("from", i)
		d, err := up.Begin(t.Context(), DefaultGroup, env)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, l := range []string{"x", "y"} {
			if err := d.Rcpt(t.Context(), upRcpt(fmt.Sprint(l, i))); err != nil {
				t.Fatal(err)
			}
		}
		ds = append(ds, d)
	}
	for i, d := range ds {
		to := []mail.RcptTo{upRcpt(fmt.Sprint("x", i)), upRcpt(fmt.Sprint("y", i))}
		replies, err := d.Send(t.Context(), to, 1, upBlocks(upText))
		if err != nil || !replies[0].OK() {
			t.Fatal(replies, err)
		}
		d.Close()
		m := s.taken()[i]
		if !strings.Contains(m.from, fmt.Sprintf("<from%d@", i)) || len(m.to) != 2 || !strings.Contains(m.to[1], fmt.Sprintf("<y%d@", i)) {
			t.Errorf("%d: arrived from %s to %s", i, m.from, m.to)
		}
	}
	if n := s.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestManyAtOnceKeepTheirEnvelopes(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.MaxOpen, c.MaxIdle = 3, 2 }, s.addr)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for k := range 10 {
				env, id := upEnvelope(), fmt.Sprintf("n%dk%d", i, k)
				env.Sender.Local = id
				ctx, cancel := context.WithCancel(t.Context())
				if k == 5 { // one of them gives up
					d, err := up.Begin(ctx, DefaultGroup, env)
					if err == nil {
						_ = d.Rcpt(ctx, upRcpt(id))
						cancel()
						d.Close()
					}
				} else if replies, _, err := deliver(ctx, up, env, upBlocks("Subject: "+id+"\r\n\r\n"), upRcpt(id), upRcpt(id+"x")); err != nil || !replies[0].OK() {
					t.Errorf("%s: %v %v", id, replies, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	mails := s.taken()
	if len(mails) != 180 {
		t.Errorf("%d messages arrived, want 180", len(mails))
	}
	for _, m := range mails {
		id := strings.TrimSpace(strings.TrimPrefix(string(m.body), "Subject: "))
		if !strings.Contains(m.from, "<"+id+"@") || len(m.to) != 2 || !strings.Contains(m.to[0], "<"+id+"@") || !strings.Contains(m.to[1], "<"+id+"x@") {
			t.Errorf("message %s came from %s to %s", id, m.from, m.to)
		}
	}
	h := up.groups[DefaultGroup].hosts[0]
	up.Close()
	if n := h.open.Load(); n != 0 || len(h.parked) != 0 {
		t.Errorf("%d connections open, %d parked", n, len(h.parked))
	}
}
