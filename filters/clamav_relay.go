package filters

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A relay stands between the clamd library and clamd, for one command. The library dials for
// itself, heeds a context only while dialling, reads answers without a bound and takes a
// closed connection for an empty answer; behind a private socket of ours none of that can
// happen: the relay ends with its context, passes on 4 KiB of answer at most and keeps what
// clamd said word for word, also when clamd answered before it had read everything.
type relay struct {
	dir    string
	path   string
	ln     *net.UnixListener
	peer   net.Conn // clamd
	stop   func() bool
	mu     sync.Mutex
	conn   net.Conn // the library
	closed bool
	said   []byte
	done   chan struct{}
}

const maxAnswer = 4 << 10

// newRelay connects to clamd and opens a private socket (in a folder of mode 0700) for the
// library. The caller closes it.
func newRelay(ctx context.Context, dir, network, address string) (*relay, error) {
	peer, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(dir, "clamd-")
	if err != nil {
		peer.Close()
		return nil, err
	}
	r := &relay{dir: tmp, path: filepath.Join(tmp, "s"), peer: peer, done: make(chan struct{})}
	r.ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: r.path, Net: "unix"})
	if err != nil {
		peer.Close()
		os.RemoveAll(tmp)
		return nil, fmt.Errorf("private socket for clamd: %w", err)
	}
	r.stop = context.AfterFunc(ctx, r.cut)
	go r.run()
	return r, nil
}

// run carries one connection.
func (r *relay) run() {
	defer close(r.done)
	conn, err := r.ln.Accept()
	r.ln.Close()
	if err != nil {
		return
	}
	r.mu.Lock()
	r.conn = conn
	closed := r.closed
	r.mu.Unlock()
	if closed {
		conn.Close()
		return
	}
	up := make(chan struct{})
	go func() { // to clamd, until the library is done or clamd stops reading
		defer close(up)
		_, _ = io.Copy(r.peer, conn)
	}()
	said, _ := io.ReadAll(io.LimitReader(r.peer, maxAnswer))
	r.mu.Lock()
	r.said = said
	r.mu.Unlock()
	_, _ = conn.Write(said)
	conn.Close() // ends the library's read, and the copy above
	r.peer.Close()
	<-up
}

// cut ends everything at once.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.ln.Close()
	r.peer.Close()
	if r.conn != nil {
		r.conn.Close()
	}
}

// close ends the relay, waits for it and returns clamd's answer. It may be called again.
func (r *relay) close() string {
	r.stop()
	r.cut()
	<-r.done
	os.RemoveAll(r.dir)
	return string(r.said)
}

// A breaker spares a clamd that just failed for a while, as long as another one can be asked.
type breaker struct {
	mu    sync.Mutex
	until time.Time
}

const breakFor = 10 * time.Second

func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.until)
}

func (b *breaker) report(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
	if !ok {
		b.until = time.Now().Add(breakFor)
	}
}
