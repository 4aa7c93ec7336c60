package filters

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A dnsServer is one recursive server and the sockets towards it. Several sockets are open
// at a time and each is replaced after a while, so that an attacker has ports to guess as
// well as ids (RFC 5452 9.2) and a query costs no new socket.
type dnsServer struct {
	addr    netip.AddrPort
	spoofed *atomic.Uint64

	mu     sync.Mutex
	socks  [dnsSockets]*dnsSocket
	closed bool
	wg     sync.WaitGroup

	silence  atomic.Int32 // questions in a row that it left unanswered
	downTill atomic.Int64 // unix seconds: asked last until then
	plainTil atomic.Int64 // unix seconds: no EDNS until then
}

const (
	dnsSockets  = 4
	socketUses  = 256
	socketAge   = time.Minute
	socketNoise = 32 // answers to nothing we asked, before a socket is given up
	dnsBuffer   = 4096
	downAfter   = 3
	downFor     = 10 // seconds
	plainFor    = 600
)

var errDNSClosed = errors.New("resolver is closed")

// A dnsReply is what a server sent, or why it did not.
type dnsReply struct {
	from *dnsServer
	msg  []byte
	err  error
}

// A dnsPending is a query under way.
type dnsPending struct {
	section []byte
	replies chan<- dnsReply // has room for it
}

// A dnsSocket is one connected UDP socket with the goroutine that reads it.
type dnsSocket struct {
	conn *net.UDPConn
	born time.Time

	mu      sync.Mutex
	pending map[uint16]dnsPending
	uses    int
	noise   int
	retired bool // closes when nothing is pending
}

// send sends a query; its reply comes to replies, which must have room. forget ends the wait.
func (s *dnsServer) send(q dnsQuestion, replies chan<- dnsReply) (forget func(), err error) {
	sock, err := s.socket()
	if err != nil {
		return nil, err
	}
	id, err := sock.register(dnsPending{q.section(nil), replies})
	if err != nil {
		return nil, err
	}
	forget = func() { _ = sock.forget(id) }
	if _, err := sock.conn.Write(q.pack(id, s.plainTil.Load() <= time.Now().Unix())); err != nil && sock.forget(id) {
		return nil, err // else the reader has seen the error too and told it
	}
	return forget, nil
}

// socket picks one at random, a new one where there is none or it has served its time.
func (s *dnsServer) socket() (*dnsSocket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errDNSClosed
	}
	slot := &s.socks[randomID()%dnsSockets]
	if *slot != nil && (*slot).use() {
		return *slot, nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		return nil, err
	}
	if *slot != nil {
		(*slot).retire()
	}
	*slot = &dnsSocket{conn: conn, born: time.Now(), pending: map[uint16]dnsPending{}, uses: 1}
	s.wg.Add(1)
	go s.read(*slot)
	return *slot, nil
}

func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint16(b[:])
}

// use reports whether the socket may serve once more.
func (s *dnsSocket) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	return !s.retired && s.uses <= socketUses && s.noise < socketNoise && time.Since(s.born) < socketAge
}

func (s *dnsSocket) register(p dnsPending) (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 16 {
		id := randomID()
		if _, taken := s.pending[id]; !taken {
			s.pending[id] = p
			return id, nil
		}
	}
	return 0, errors.New("too many queries under way")
}

// forget reports whether the query was still pending.
func (s *dnsSocket) forget(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.pending[id]
	delete(s.pending, id)
	s.closeIdle()
	return ok
}

func (s *dnsSocket) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.closeIdle()
}

// closeIdle is called with s.mu held.
func (s *dnsSocket) closeIdle() {
	if s.retired && len(s.pending) == 0 {
		s.conn.Close()
	}
}

// read hands each answer to who asked, until the socket is closed.
func (s *dnsServer) read(sock *dnsSocket) {
	defer s.wg.Done()
	buf := make([]byte, dnsBuffer)
	for {
		n, err := sock.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // refused: nobody listens there
			sock.fail(dnsReply{from: s, err: err})
			continue
		}
		if n < dnsHeader || n == len(buf) {
			continue
		}
		if !sock.deliver(s, buf[:n]) {
			s.spoofed.Add(1)
		}
	}
}

// deliver reports whether anybody waited for msg.
func (s *dnsSocket) deliver(from *dnsServer, msg []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := binary.BigEndian.Uint16(msg)
	p, ok := s.pending[id]
	if !ok || !answers(msg, id, p.section) {
		s.noise++
		return false
	}
	delete(s.pending, id)
	p.replies <- dnsReply{from: from, msg: append([]byte(nil), msg...)}
	s.closeIdle()
	return true
}

// fail tells all who wait, and gives the socket up.
func (s *dnsSocket) fail(r dnsReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.pending {
		p.replies <- r
		delete(s.pending, id)
	}
	s.retired = true
	s.closeIdle()
}

// heard notes that the server is alive, unheard that it kept silent.
func (s *dnsServer) heard() {
	s.silence.Store(0)
	s.downTill.Store(0)
}

func (s *dnsServer) unheard() {
	if s.silence.Add(1) >= downAfter {
		s.downTill.Store(time.Now().Unix() + downFor)
	}
}

func (s *dnsServer) down() bool { return s.downTill.Load() > time.Now().Unix() }

// tcp asks over a connection of its own (RFC 7766).
func (s *dnsServer) tcp(ctx context.Context, q dnsQuestion) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	id := randomID()
	query := q.pack(id, s.plainTil.Load() <= time.Now().Unix())
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return nil, err
	}
	if !answers(msg, id, q.section(nil)) {
		return nil, fmt.Errorf("answer over TCP to another question")
	}
	return msg, nil
}

// close closes all sockets and waits for their readers.
func (s *dnsServer) close() {
	s.mu.Lock()
	s.closed = true
	for _, sock := range s.socks {
		if sock != nil {
			sock.fail(dnsReply{from: s, err: errDNSClosed})
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}
