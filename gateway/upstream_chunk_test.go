package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/testkit"
)

// chunkSink offers CHUNKING.
func chunkSink(t *testing.T, on func(c *upSinkConn, step, line string) bool) *upSink {
	s := newUpSink(t, on)
	s.set(func() { s.ehlo = append([]string{"CHUNKING"}, allKeywords...) })
	return s
}

// relayTo runs one transaction with a text and its size, as far as it is known.
func relayTo(ctx context.Context, s *Servers, size int, src Source, to ...string) ([]mail.Reply, error) {
	d, err := s.Begin(ctx, DefaultGroup, upEnvelope())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var taken []mail.RcptTo
	for _, l := range to {
		if d.Rcpt(ctx, upRcpt(l)) == nil {
			taken = append(taken, upRcpt(l))
		}
	}
	return d.Send(ctx, taken, int64(size), src)
}

// count tells how often each verb was said on the first connection.
func (s *upSink) said(verb string) (n int) {
	for i := range s.connections() {
		n += strings.Count(s.conn(i).raw.String(), verb)
	}
	return n
}

// Whatever a message is made of: by DATA and by BDAT the same arrives, byte for byte.
func TestChunkArrivesAsDataDoes(t *testing.T) {
	by, plain := chunkSink(t, nil), newUpSink(t, nil)
	up, upPlain := serversFor(t, nil, by.addr), serversFor(t, nil, plain.addr)
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "x", ".", ".\r\n", "\r\n.\r\n", upText, "Subject: x\r\n\r\n..\r\n.\r\nno end", strings.Repeat("y", maxChunk), strings.Repeat("z\r\n", maxChunk/3)}
	for range 200 {
		var b strings.Builder
		for range r.IntN(40) {
			b.WriteString([]string{"\r\n", ".", "a", "\r\n.\r\n", "\r\nBDAT 3 LAST\r\n", "\r\nQUIT\r\n", "ä\x00\xff", strings.Repeat("w", r.IntN(2000))}[r.IntN(8)])
		}
		texts = append(texts, b.String())
	}
	for i, text := range texts {
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + r.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		for _, s := range []*Servers{up, upPlain} {
			if replies, err := relayTo(t.Context(), s, max(1, len(text)), upBlocks(pieces...), "a", "b"); err != nil || !replies[0].OK() {
				t.Fatalf("%q: %v %v", text, replies, err)
			}
		}
		got, want := by.taken()[i], plain.taken()[i]
		if !bytes.Equal(got.body, want.body) || len(got.to) != 2 {
			if text != "" { // DATA cannot say nothing: it says an empty line
				t.Fatalf("%q: by chunk %q, by data %q", text, got.body, want.body)
			}
		}
	}
	if by.said("DATA\r\n") != 0 || by.said("BDAT ") < len(texts) || by.connections() != 1 {
		t.Errorf("%d times DATA, %d BDAT, %d connections", by.said("DATA\r\n"), by.said("BDAT "), by.connections())
	}
}

func TestChunkOnlyWhereItSavesAnExchange(t *testing.T) {
	s := chunkSink(t, nil)
	up := serversFor(t, nil, s.addr)
	big := strings.Repeat("x", maxChunk-1) + "\r\n"
	for _, c := range []struct {
		what string
		size int
		text string
		bdat int
	}{
		{"small", len(upText), upText, 1},
		{"too big", len(big), big, 0},
		{"of unknown size", 0, upText, 0},
		{"bigger than it was said to be", 10, strings.Repeat("many lines\r\n", 20000), 0},
	} {
		before, mails := s.said(" LAST\r\n"), len(s.taken())
		replies, err := relayTo(t.Context(), up, c.size, SourceOf(nil, strings.NewReader(c.text)), "a", "unknown", "b")
		if err != nil || !replies[0].OK() || len(s.taken()) != mails+1 {
			t.Fatalf("%s: %v %v", c.what, replies, err)
		}
		if got := s.taken()[mails]; string(got.body) != c.text || len(got.to) != 2 {
			t.Errorf("%s: %d bytes for %v", c.what, len(got.body), got.to)
		}
		if n := s.said(" LAST\r\n") - before; n != c.bdat {
			t.Errorf("%s: %d times BDAT", c.what, n)
		}
	}
	// For some of the recipients only, the envelope is said again, and DATA with it.
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, l := range []string{"a", "b"} {
		if err := d.Rcpt(t.Context(), upRcpt(l)); err != nil {
			t.Fatal(err)
		}
	}
	before := s.said("BDAT ")
	if replies, err := d.Send(t.Context(), []mail.RcptTo{upRcpt("b")}, int64(len(upText)), upBlocks(upText)); err != nil || !replies[0].OK() || s.said("BDAT ") != before {
		t.Errorf("%v %v", replies, err)
	}
}

func TestChunkRefused(t *testing.T) {
	for _, code := range []string{"452 4.3.1 Full", "554 5.7.1 Spam", "552 5.3.4 Too big", "421 4.3.2 Closing"} {
		s := chunkSink(t, nil)
		s.setOn(func(c *upSinkConn, step, _ string) bool {
			if step == "dot" && len(s.taken()) == 0 && c.n == 1 && strings.Count(c.raw.String(), " LAST") == 1 {
				c.say(code)
				return true
			}
			return false
		})
		up := serversFor(t, nil, s.addr)
		replies, err := relayTo(t.Context(), up, len(upText), upBlocks(upText), "a")
		if want := strings.Replace(code, "421", "451", 1); err != nil || replies[0].String() != want {
			t.Errorf("%v %v, want %s", replies, err, want)
		}
		if _, err := relayTo(t.Context(), up, len(upText), upBlocks(upText), "a"); err != nil || len(s.taken()) != 1 {
			t.Errorf("after %s: %v", code, err)
		}
		if closes := strings.HasPrefix(code, "421"); (s.connections() == 2) != closes || !closes && s.said("RSET\r\nMAIL") != 1 {
			t.Errorf("after %s: %d connections, %q", code, s.connections(), s.conn(0).raw.String())
		}
	}
}

// A server that offers CHUNKING and does not take BDAT has heard one byte of the message when that
// shows, never a line that could be a command to it. The message goes by DATA, and so do the next.
func TestChunkNotUnderstood(t *testing.T) {
	const text = "RSET\r\nMAIL FROM:<evil@sender.test>\r\n\r\nQUIT\r\n"
	for _, reply := range []string{"500 5.5.2 What?", "502 5.5.1 Not here", "503 5.5.1 DATA first", "452 4.3.1 Full", "421 4.3.2 Closing", "250 two\r\n250 replies", "354 Go on", "nonsense", "", "silence"} {
		var log bytes.Buffer
		s := chunkSink(t, func(c *upSinkConn, step, line string) bool {
			if !strings.HasPrefix(line, "BDAT") {
				return false
			}
			switch reply {
			case "":
				c.Close()
			case "silence":
			default:
				c.say(reply)
			}
			return true
		})
		up := serversFor(t, func(c *ServerConfig) { c.Timeouts.Reply = 500 * time.Millisecond }, s.addr)
		up.log = slog.New(slog.NewTextHandler(&log, nil))
		for range 3 {
			if replies, err := relayTo(t.Context(), up, len(text), upBlocks(text), "a", "b"); err != nil || !replies[0].OK() || !replies[1].OK() {
				t.Errorf("%q: %v %v", reply, replies, err)
			}
		}
		for _, m := range s.taken() {
			if string(m.body) != text || len(m.to) != 2 {
				t.Errorf("%q: %q to %q", reply, m.body, m.to)
			}
		}
		if s.connections() != 2 || s.said("BDAT ") != 1 || len(s.taken()) != 3 || !strings.HasSuffix(s.conn(0).raw.String(), "BDAT 1\r\nR") && !strings.HasSuffix(s.conn(0).raw.String(), "BDAT 1\r\n") {
			t.Errorf("%q: %d connections, %d times BDAT, %d messages, %q", reply, s.connections(), s.said("BDAT "), len(s.taken()), s.conn(0).raw.String())
		}
		if n := strings.Count(log.String(), "does not take BDAT"); n != 1 {
			t.Errorf("%q: told %d times", reply, n)
		}
	}
}

// Nothing of a message goes out that breaks off or has a CR or LF by itself.
func TestChunkIsWholeOrNotSent(t *testing.T) {
	for name, src := range map[string]Source{
		"broken": SourceOf([]byte(upText), brokenReader{}), "bare LF": upBlocks("a\nb\r\n"), "bare CR": upBlocks("a\rb\r\n"), "CR at the end": upBlocks("a\r"),
		"parted": upBlocks("a\r", "b\n"),
	} {
		s := chunkSink(t, nil)
		up := serversFor(t, nil, s.addr)
		if replies, err := relayTo(t.Context(), up, 100, src, "a"); err == nil || errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v %v", name, replies, err)
		}
		mustDeliver(t, up, upRcpt("b"))
		if s.said(" LAST\r\n") != 1 || s.connections() != 2 {
			t.Errorf("%s: %q, %d connections", name, s.conn(0).raw.String(), s.connections())
		}
	}
}

// A connection that was closed, or says what nobody asked for, while the client sent its message:
// the envelope is said again on another one, and the message comes once.
func TestChunkAfterTheConnectionDied(t *testing.T) {
	for _, what := range []string{"", "421 4.4.2 Timeout\r\n", "250 2.0.0 Surprise\r\n"} {
		s := chunkSink(t, nil)
		up := serversFor(t, nil, s.addr)
		d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Rcpt(t.Context(), upRcpt("a")); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(s.conn(0), what)
		if what == "" {
			s.cut()
		}
		l := d.(*delivery).link
		for deadline := time.Now().Add(5 * time.Second); !l.pending(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing arrives")
			}
		}
		replies, err := d.Send(t.Context(), []mail.RcptTo{upRcpt("a")}, int64(len(upText)), upBlocks(upText))
		if err != nil || !replies[0].OK() || len(s.taken()) != 1 || s.connections() != 2 {
			t.Errorf("%q: %v %v, %d messages, %d connections", what, replies, err, len(s.taken()), s.connections())
		}
		d.Close()
	}
}

// Postfix offers CHUNKING and takes it; what it is told not to offer is not used.
func TestChunkToPostfix(t *testing.T) {
	for _, off := range []string{"", "chunking"} {
		p := testkit.StartPostfix(t, testkit.PostfixOptions{Main: map[string]string{"smtpd_discard_ehlo_keywords": off}})
		up := serversFor(t, nil, p.Addr)
		var texts [][]byte
		for i := range 5 {
			text := largeText(1<<(9+i), fmt.Sprint("no. ", i))
			replies, err := relayTo(t.Context(), up, len(text), SourceOf(nil, bytes.NewReader(text)), "a", "nobody", "b")
			if err != nil || len(replies) != 2 || !replies[0].OK() {
				t.Fatal(replies, err)
			}
			texts = append(texts, text)
		}
		for _, box := range []string{"a", "b"} {
			got := p.WaitMessages(box, len(texts))
			for _, text := range texts {
				n := 0
				for _, m := range got {
					if bytes.HasSuffix(m, text) {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%q arrived %d times at %s", text[:20], n, box)
				}
			}
		}
		l := up.groups[DefaultGroup].hosts[0].idle[0]
		if l.chunking != (off == "") || l.host.whole.Load() {
			t.Errorf("CHUNKING: %v, refused %v", l.chunking, l.host.whole.Load())
		}
	}
}

// A client that gives up while the first byte is answered says nothing about the server.
func TestChunkProofIsCutOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := chunkSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "BDAT" && c.n == 1 {
			cancel()
			return true
		}
		return false
	})
	up := serversFor(t, nil, s.addr)
	if replies, err := relayTo(ctx, up, len(upText), upBlocks(upText), "a"); err == nil {
		t.Errorf("%v after the end", replies)
	}
	if replies, err := relayTo(t.Context(), up, len(upText), upBlocks(upText), "a"); err != nil || !replies[0].OK() || s.said("DATA\r\n") != 0 {
		t.Errorf("%v %v, %d times DATA", replies, err, s.said("DATA\r\n"))
	}
}
