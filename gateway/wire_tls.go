package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// startTLS says 220, drops what the client sent in clear behind STARTTLS, and shakes hands
// (RFC 3207 4.2; CVE-2011-0411).
func (w *wire) startTLS(cfg *tls.Config) (*tls.ConnectionState, error) {
	w.say("220 2.0.0 Ready to start TLS")
	if err := w.flush(); err != nil {
		return nil, err
	}
	w.r, w.e = 0, 0
	return w.shake(w.raw, cfg)
}

var errNoTLS = errors.New("no certificate is configured")

// implicitTLS shakes hands at once. What came behind a PROXY header belongs to that.
func (w *wire) implicitTLS(cfg *tls.Config) (*tls.ConnectionState, error) {
	if cfg == nil {
		return nil, w.die(errNoTLS)
	}
	read := bytes.NewReader(bytes.Clone(w.buf[w.r:w.e]))
	w.r, w.e = 0, 0
	return w.shake(&reread{w.raw, read}, cfg)
}

// A reread connection yields first what had been read from it.
type reread struct {
	net.Conn
	read *bytes.Reader
}

func (c *reread) Read(p []byte) (int, error) {
	if c.read.Len() > 0 {
		return c.read.Read(p)
	}
	return c.Conn.Read(p)
}

func (w *wire) shake(c net.Conn, cfg *tls.Config) (*tls.ConnectionState, error) {
	deadline := time.Now().Add(w.lim.Handshake)
	if err := w.arm(deadline, false); err != nil {
		return nil, w.die(err)
	}
	_ = w.raw.SetWriteDeadline(deadline)
	t := tls.Server(c, cfg)
	if err := t.Handshake(); err != nil {
		w.gone = true // what it would read now is not SMTP to it
		return nil, w.die(err)
	}
	w.conn = t
	state := t.ConnectionState()
	return &state, nil
}
