package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A load is what a sender does.
type load struct {
	addr     string
	proxy    bool // tell the client's address by a PROXY header
	messages []*message
	sessions int // at once
	each     int // messages a session
	total    int
}

// A sent is what became of a load.
type sent struct {
	messages int
	took     time.Duration
	times    []time.Duration // of each transaction; the first of a session from connect on
}

// send sends the load, always the same messages in the same order, and expects each to be
// taken.
func (l *load) send(ctx context.Context) (*sent, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var failed error
	out := &sent{}
	began := time.Now()
	var wg sync.WaitGroup
	for range l.sessions {
		wg.Go(func() {
			for ctx.Err() == nil {
				from := int(next.Add(int64(l.each))) - l.each
				n := min(l.each, l.total-from)
				if n <= 0 {
					return
				}
				times, err := l.session(ctx, from, n)
				mu.Lock()
				out.times = append(out.times, times...)
				if err != nil && failed == nil {
					failed = err
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	out.messages, out.took = len(out.times), time.Since(began)
	if failed == nil {
		failed = ctx.Err()
	}
	return out, failed
}

// message picks the i-th message: neighbours in time are no neighbours in the list.
func (l *load) message(i int) *message { return l.messages[i*7919%len(l.messages)] }

// patience bounds each wait of the sender.
const patience = time.Minute

func (l *load) session(ctx context.Context, from, n int) ([]time.Duration, error) {
	began := time.Now()
	c, err := dial(ctx, l.addr, l.proxy, l.message(from))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var times []time.Duration
	for i := range n {
		if i > 0 {
			began = time.Now()
		}
		if err := c.send(l.message(from + i)); err != nil {
			return times, err
		}
		times = append(times, time.Since(began))
	}
	_, _ = c.Write([]byte("QUIT\r\n"))
	_, err = c.reply('2')
	return times, err
}

// A client is one SMTP connection of the sender.
type client struct {
	net.Conn
	r   *bufio.Reader
	out []byte
}

// dial connects, waits for the greeting and says EHLO.
func dial(ctx context.Context, addr string, proxy bool, m *message) (*client, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, r: bufio.NewReaderSize(conn, 2048)}
	if proxy {
		c.out = fmt.Appendf(c.out, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", m.client)
		if _, err = c.Write(c.out); err != nil {
			conn.Close()
			return nil, err
		}
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err = c.reply('2'); err == nil {
		_, err = fmt.Fprintf(c, "EHLO %s\r\n", m.helo)
	}
	if err == nil {
		_, err = c.reply('2')
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// send sends one message: MAIL, RCPT and DATA in one write, then the message.
func (c *client) send(m *message) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	c.out = fmt.Appendf(c.out[:0], "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", m.from, m.to)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	for _, want := range []byte("223") {
		if _, err := c.reply(want); err != nil {
			return err
		}
	}
	if _, err := c.Write(m.wire); err != nil {
		return err
	}
	_, err := c.reply('2')
	return err
}

// reply reads a reply, which has to begin with want, and returns its last line.
func (c *client) reply(want byte) (string, error) {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("waiting for a reply: %w", err)
		}
		if len(line) < 4 || line[0] != want {
			return "", fmt.Errorf("unexpected reply %q", line)
		}
		if line[3] != '-' {
			return string(line), nil
		}
	}
}
