package gateway

import (
	"context"
	"net"
	"strings"
	"testing"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// serveBed serves a bed on a loopback port.
func serveBed(t testing.TB, b *bed) *testFront {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := b.Sessions(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
	})
	return &testFront{addr: l.Addr().String()}
}

func TestAWholeSessionThroughTheFront(t *testing.T) {
	is := func(s string) func(any) bool {
		return func(v any) bool { return strings.Contains(v.(textFacts).Text, s) }
	}
	b := newBed(t, fakeRules{[]fakeRule{
		{fact: "body", when: is("spam"), verdict: rules.Verdict{Do: rules.Quarantine}},
		{fact: "body", when: is("bad"), verdict: rules.Verdict{Do: rules.Reject, Because: "bad words"}},
	}}, []filters.Filter{bodyFilter()})
	b.up.rcpt = map[string]*mail.Reply{"unknown@example.org": {Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "who?"}}
	x := serveBed(t, b).hello(t)
	head := "MAIL FROM:<alice@sender.test>\r\nRCPT TO:<a@example.org>\r\n"
	x.send(head + "RCPT TO:<unknown@example.org>\r\nRCPT TO:<v@ext.test>\r\nDATA\r\n")
	x.want("250 2.1.0", "250 2.1.5", "550 5.1.1 who?", "550 5.7.1", "354")
	x.send(sample + "..dot\r\n.\r\n")
	x.want("250 2.0.0 queued as 4711")
	x.send(head + "DATA\r\n")
	x.want("250", "250", "354")
	x.send("Subject: x\r\n\r\nspam\r\n.\r\n")
	x.want("250 2.0.0 OK 0")
	x.send(head + "DATA\r\n")
	x.want("250", "250", "354")
	x.send("Subject: x\r\n\r\nbad\r\n.\r\n" + head + "RSET\r\nQUIT\r\n")
	x.want("550 5.7.1 bad words (0", "250", "250", "250", "221")
	x.eof()
	if len(b.up.got) != 1 || !strings.HasSuffix(string(b.up.got[0].bytes), sample+".dot\r\n") {
		t.Errorf("delivered %+v", b.up.got)
	}
	var results []string
	for _, e := range b.j.order {
		results = append(results, e.Result)
	}
	if got := strings.Join(results, " "); got != "delivered held refused abandoned" {
		t.Errorf("journal: %s", got)
	}
	if id := b.j.order[0].ID; b.up.got[0].env.ID != id || !strings.Contains(string(b.up.got[0].bytes), "X-Postern-Id: "+id+"\r\n") {
		t.Errorf("id %s is not everywhere", id)
	}
}

// A connection that is cut after the message was taken, before anything else was said.
func TestD13_ThroughTheFront(t *testing.T) {
	b := newBed(t, fakeRules{}, nil)
	f := serveBed(t, b)
	for range 3 {
		sent := make(chan struct{})
		b.after = func(call string) {
			if call == "record" {
				close(sent)
			}
		}
		x := f.hello(t)
		x.send("MAIL FROM:<alice@sender.test>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n")
		x.want("250", "250", "354")
		x.send(sample + ".\r\n")
		<-sent
		x.c.Close()
		for gone := false; !gone; { // each probe is a round trip, in which the cut session ends
			probe := f.raw(t)
			probe.want("220")
			gone = b.Sessions() == 1
			probe.send("QUIT\r\n")
			probe.want("221")
			probe.eof()
		}
	}
	if n := len(b.up.got); n != 1 {
		t.Errorf("relayed %d times", n)
	}
}

func TestRestamp(t *testing.T) {
	raw := "X-Postern-Verdict: deliver\r\nAuthentication-Results: gw.test; dmarc=pass\r\n" + sample
	b := newBed(t, always(rules.Verdict{Do: rules.Quarantine, Because: "looks odd"}), nil)
	b.submit(t, b.talk(), []string{"a@example.org"}, &textUpload{text: raw})
	for id, it := range b.q.items {
		closed := false
		src, size, err := Restamp(Config{Hostname: "gw.test"}, it, &closer{strings.NewReader(string(b.q.bytes[id])), &closed}, it.Received, "virus Eicar")
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for {
			p, err := src.Next()
			if err != nil {
				break
			}
			got.Write(p)
		}
		src.(interface{ Close() error }).Close()
		h := mail.ParseHeader([]byte(got.String()), mail.HeaderLimits{})
		if int64(got.Len()) != size || !strings.HasSuffix(got.String(), sample) || h.Count("Authentication-Results") != 0 || h.Get("X-Postern-Verdict").Value() != "released" || h.Get("X-Postern-Reason").Value() != "looks odd" || h.Get("X-Postern-Danger").Value() != "virus Eicar" || !closed {
			t.Errorf("size %d, %d bytes, closed %v:\n%s", size, got.Len(), closed, got.String())
		}
	}
}

type closer struct {
	*strings.Reader
	closed *bool
}

func (c *closer) Close() error { *c.closed = true; return nil }
