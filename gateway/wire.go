package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Why a wire ended. They are causes for the journal and the log; no client reads them.
var (
	errClientGone   = errors.New("client closed the connection")
	errTimeout      = errors.New("client timed out")
	errTooSlow      = errors.New("client sent too slowly")
	errTooMuch      = errors.New("client sent far more than the size limit")
	errSessionEnd   = errors.New("session lasted too long")
	errStopping     = errors.New("server is stopping")
	errProtocol     = errors.New("client broke the protocol")
	errTooManyFault = errors.New("client made too many errors")
	errChatter      = errors.New("client gave too many commands without a message")
	errEarlyTalk    = errors.New("client spoke before its turn")
)

const (
	smallBuffer = 4 << 10  // while in commands
	largeBuffer = 64 << 10 // during a body
	maxSkip     = 64 << 10 // of an overlong command, before giving up on the client
	maxHeld     = 32 << 10 // of replies, before they leave anyhow
	lingerTime  = 2 * time.Second
	lingerBytes = 4 << 20
)

var largePool = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// A wire is the byte layer of one SMTP connection. It reads command lines and bodies
// strictly, holds replies back until it must wait for the client, and puts a deadline on
// every wait. Its first read error is final: nothing is read after it, so that the rest of
// a broken body never becomes a command. All of it belongs to one goroutine, but for stop
// and cut.
type wire struct {
	raw   net.Conn // the TCP connection, which has the deadlines
	conn  net.Conn // raw, or TLS over it
	host  string   // our name, in 421 replies
	lim   *Limits
	until time.Time // the session's end; an upload under way is not cut by it

	small []byte
	large *[]byte // pooled; nil while in commands
	buf   []byte  // one of the two
	r, e  int     // what is read but not used: buf[r:e]

	out    []byte // replies held back
	writes int    // how often they left
	faults int    // refused commands
	idling int    // commands since the last message that bring none nearer
	dead   error  // why nothing more is read
	gone   bool   // nobody is there to hear a last reply

	sock   syscall.RawConn // raw, to look into
	peek   func(uintptr)   // look
	peeked [1]byte
	there  int // bytes that look has found

	mu       sync.Mutex
	idle     bool // waiting for a command
	stopping bool
	cutOff   bool
}

func newWire(c net.Conn, host string, lim *Limits) *wire {
	w := &wire{raw: c, conn: c, host: host, lim: lim, until: time.Now().Add(lim.Session)}
	w.small = make([]byte, max(smallBuffer, lim.Line+2))
	w.buf = w.small
	return w
}

// die makes err the reason why nothing more is read, unless there is one.
func (w *wire) die(err error) error {
	if w.dead == nil {
		w.dead = err
	}
	return w.dead
}

// say holds a reply back, without its CRLF in s.
func (w *wire) say(s string) {
	w.out = append(append(w.out, s...), '\r', '\n')
}

// refuse says a 5xx reply to a command and counts it; who errs too often has to go.
func (w *wire) refuse(s string) {
	w.say(s)
	w.fault()
}

func (w *wire) fault() {
	if w.faults++; w.lim.Errors > 0 && w.faults >= w.lim.Errors && w.dead == nil {
		w.say("421 4.7.0 " + w.host + " Too many errors")
		w.die(errTooManyFault)
	}
}

// chatter counts a command that brings no message nearer, and is false when there are too many:
// each transaction that comes to nothing costs look-ups and a line in the journal.
func (w *wire) chatter() bool {
	if w.idling++; w.lim.Chatter > 0 && w.idling > w.lim.Chatter {
		w.expel("421 4.7.0 "+w.host+" Too many commands without a message", errChatter)
		return false
	}
	return true
}

// expel says a last reply.
func (w *wire) expel(s string, cause error) {
	w.say(s)
	w.die(cause)
}

// flush sends what is held back.
func (w *wire) flush() error {
	if len(w.out) == 0 || w.gone {
		return w.dead
	}
	w.mu.Lock()
	wait := w.lim.Write
	if w.cutOff {
		wait = time.Second
	}
	_ = w.raw.SetWriteDeadline(time.Now().Add(wait))
	w.mu.Unlock()
	_, err := w.conn.Write(w.out)
	w.writes++
	if w.out = w.out[:0]; cap(w.out) > smallBuffer {
		w.out = nil
	}
	if err != nil {
		w.gone = true
		return w.die(errClientGone)
	}
	return nil
}

// arm sets the deadline of the next read, unless the server stops meanwhile.
func (w *wire) arm(deadline time.Time, idle bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cutOff || idle && w.stopping {
		return errStopping
	}
	w.idle = idle
	return w.raw.SetReadDeadline(deadline)
}

// stop ends the wire when it next waits for a command, now if it does. Any goroutine may call it.
func (w *wire) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	if w.idle {
		_ = w.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the wire wherever it is. Any goroutine may call it.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping, w.cutOff = true, true
	_ = w.raw.SetReadDeadline(time.Unix(1, 0))
	_ = w.raw.SetWriteDeadline(time.Now().Add(time.Second))
}

func (w *wire) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}

// fill reads once from the connection; replies that are held back leave first.
func (w *wire) fill(deadline time.Time, idle bool) error {
	if w.dead != nil {
		return w.dead
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.r > 0 {
		w.e = copy(w.buf, w.buf[w.r:w.e])
		w.r = 0
	}
	if err := w.arm(deadline, idle); err != nil {
		return w.die(err)
	}
	n, err := w.conn.Read(w.buf[w.e:])
	w.e += n
	switch {
	case n > 0 || err == nil:
		return nil // an error beside bytes comes again
	case !errors.Is(err, os.ErrDeadlineExceeded):
		// A half-closed connection can still hear us, a broken one cannot. io.EOF
		// itself never leaves here: in a body it means the true end.
		w.gone = err != io.EOF
		return w.die(errClientGone)
	case w.isStopping():
		return w.die(errStopping)
	}
	return w.die(errTimeout)
}

// early reports whether the client has sent something already. It never waits.
func (w *wire) early() bool {
	if w.e > w.r {
		return true
	}
	if w.conn != w.raw { // TLS may hold bytes that the socket has given away
		_ = w.raw.SetReadDeadline(time.Unix(1, 0))
		w.r = 0
		w.e, _ = w.conn.Read(w.buf)
	}
	return w.e > w.r || w.waiting()
}

// left reports whether the client has closed its side, also when what it sent before waits to be
// read. It may be called from another goroutine.
func (w *wire) left() bool {
	sc, ok := w.raw.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	open := false
	err = rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		open = err == nil && info.State == tcpEstablished
	})
	return err != nil || !open
}

const tcpEstablished = 1 // TCP_ESTABLISHED of the kernel

// waiting looks into the socket's buffer.
func (w *wire) waiting() bool {
	if w.peek == nil {
		sc, ok := w.raw.(syscall.Conn)
		if !ok {
			return false
		}
		rc, err := sc.SyscallConn()
		if err != nil {
			return false
		}
		w.sock, w.peek = rc, w.look
	}
	w.there = 0
	_ = w.sock.Control(w.peek)
	return w.there > 0
}

// look is what waiting does on the socket.
func (w *wire) look(fd uintptr) {
	w.there, _, _ = unix.Recvfrom(int(fd), w.peeked[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
}

// expelled reports whether it is us who end the session, and the client may be sending still.
func (w *wire) expelled() bool {
	return !w.gone && w.dead != nil && w.dead != errClientGone && w.dead != errQuit
}

// hangup sends what is held back and closes the connection. With input unread, closing
// would send a reset, which may overtake the last reply: so it reads on for a moment.
func (w *wire) hangup() {
	_ = w.flush()
	if w.large != nil {
		largePool.Put(w.large)
		w.large, w.buf = nil, nil
	}
	if half, ok := w.raw.(interface{ CloseWrite() error }); ok && w.expelled() {
		if t, ok := w.conn.(*tls.Conn); ok {
			_ = t.CloseWrite()
		}
		_ = half.CloseWrite()
		_ = w.raw.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, w.raw, lingerBytes)
		w.raw.Close()
		return
	}
	w.conn.Close()
}
