package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"

	"postern/mail"
)

// A dialogue is an SMTP connection of ours (RFC 5321), one command at a time. close it.
type dialogue struct {
	conn   net.Conn
	text   *textproto.Conn
	stop   func() bool
	banner string // without its code
	name   string // as it calls itself
	offers []string
	ehlo   string // the whole reply
	tls    *tls.ConnectionState
	helo   string
	end    time.Time // of the dialogue; zero for none
	broken bool      // nothing more can be said
}

// A reply is what a server says.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, mail.Printable(r.text, 200)) }

// maxSaid bounds what a server may say in one dialogue.
const maxSaid = 1 << 20

// A boundedConn reads so much and no more.
type boundedConn struct {
	net.Conn
	r io.Reader
}

func (c *boundedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func bounded(c net.Conn) *textproto.Conn {
	return textproto.NewConn(&boundedConn{c, io.LimitReader(c, maxSaid)})
}

// refusedError is a greeting that is none.
type refusedError struct{ reply }

func (e *refusedError) Error() string { return "it says " + e.reply.String() }

// A door is where to knock, and how.
type door struct {
	addr, helo string
	proxied    bool   // a PROXY header comes first, which says that it is nobody's connection but ours
	implicit   string // TLS from the first byte on, for this name; "" for none
}

// local is a PROXY header (version 2) of a connection without a client behind it.
const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

// meet connects, reads the greeting and says EHLO. ctx ends the dialogue at any time.
func (o door) meet(ctx context.Context) (*dialogue, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", o.addr)
	if err != nil {
		return nil, err
	}
	d := &dialogue{conn: conn, text: bounded(conn), helo: o.helo}
	d.end, _ = ctx.Deadline()
	_ = conn.SetDeadline(d.end)
	d.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if err := d.greet(ctx, o); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// greet goes on to the reply to EHLO.
func (d *dialogue) greet(ctx context.Context, o door) error {
	if o.proxied {
		if err := d.write(local); err != nil {
			return err
		}
	}
	if o.implicit != "" {
		if err := d.encrypt(ctx, o.implicit); err != nil {
			return err
		}
	}
	first, err := d.read()
	if err != nil {
		return err
	}
	if first.code != 220 {
		return &refusedError{first}
	}
	d.banner = first.text
	d.name, _, _ = strings.Cut(first.text, " ")
	return d.hello()
}

// hello says EHLO and notes what is offered.
func (d *dialogue) hello() error {
	r, err := d.say("EHLO %s", d.helo)
	if err == nil && r.code != 250 {
		r, err = d.say("HELO %s", d.helo)
	}
	if err != nil {
		return err
	}
	if r.code != 250 {
		return &refusedError{r}
	}
	d.ehlo = r.text
	lines := strings.Split(r.text, "\n")
	if name, _, _ := strings.Cut(lines[0], " "); name != "" {
		d.name = name
	}
	d.name = mail.Printable(d.name, 255)
	d.offers = lines[1:]
	return nil
}

// offered reports whether an extension is.
func (d *dialogue) offered(word string) bool {
	for _, line := range d.offers {
		if first, _, _ := strings.Cut(line, " "); strings.EqualFold(first, word) {
			return true
		}
	}
	return false
}

// startTLS encrypts the connection without judging the certificate: that is for who asks.
func (d *dialogue) startTLS(ctx context.Context, name string) error {
	r, err := d.say("STARTTLS")
	if err != nil {
		return err
	}
	if r.code != 220 {
		return &refusedError{r}
	}
	if err := d.encrypt(ctx, name); err != nil {
		return err
	}
	return d.hello()
}

// encrypt puts TLS over the connection.
func (d *dialogue) encrypt(ctx context.Context, name string) error {
	// #nosec G402 -- looks at whatever certificate is there; nothing secret is sent
	t := tls.Client(d.conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10})
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	state := t.ConnectionState()
	d.tls, d.text = &state, bounded(t)
	return nil
}

// say says a command and reads its reply.
func (d *dialogue) say(format string, args ...any) (reply, error) {
	if err := d.text.PrintfLine(format, args...); err != nil {
		return reply{}, err
	}
	return d.read()
}

func (d *dialogue) read() (reply, error) {
	code, text, err := d.text.ReadResponse(0)
	return reply{code, text}, err
}

// close says goodbye without waiting for an answer.
func (d *dialogue) close() {
	if d.stop() {
		_ = d.conn.SetDeadline(time.Now().Add(time.Second))
	}
	_ = d.text.PrintfLine("QUIT")
	_ = d.text.Close()
	_ = d.conn.Close()
}

// A kind is the program that a server runs, as far as it tells.
type kind struct {
	name  string // "" when it does not tell
	guide string
}

// kindOf reads greeting and EHLO reply.
func (d *dialogue) kindOf() kind {
	said := strings.ToLower(d.banner + "\n" + d.ehlo)
	for _, k := range []struct{ word, name, anchor string }{
		{"protection.outlook.com", "Exchange Online", "#microsoft-365"},
		{"microsoft esmtp mail service", "Exchange", "#exchange-server"},
		{"x-exps", "Exchange", "#exchange-server"},
		{"mx.google.com", "Google Workspace", "#google-workspace"},
		{"gsmtp", "Google Workspace", "#google-workspace"},
		{"postfix", "Postfix", "#postfix"},
		{"opensmtpd", "OpenSMTPD", "#your-mail-server"},
		{"exim", "Exim", "#your-mail-server"},
	} {
		if strings.Contains(said, k.word) {
			return kind{k.name, guide + k.anchor}
		}
	}
	return kind{"", guideServer}
}
