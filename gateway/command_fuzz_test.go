package gateway

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"postern/mail"
)

// What is taken of a MAIL or RCPT line is what a line written from it says again, and a
// refusal is one 5xx reply of ours.
func FuzzMailAndRcpt(f *testing.F) {
	for _, s := range []string{"FROM:<a@b.test> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2B", `TO:<"a>b"@c.test> NOTIFY=NEVER ORCPT=rfc822;a+40b`, "FROM:<>", "TO:<Postmaster>",
		`FROM:<"\">@x.test>`, "TO:<a@b.test> NOTIFY=DELAY,SUCCESS", "FROM: <a@b.test>  SIZE=00000000000000000009", `TO:<"v@ext> NOTIFY=NEVER "@own.test>`, "FROM:<\xc3\xa9@b.test> SMTPUTF8"} {
		f.Add(s)
	}
	ext := offered{mail.Extensions{EightBitMIME: true, UTF8: true, DSN: true}, true}
	postmaster := mail.Address{Local: "postmaster", Domain: "own.test"}
	f.Fuzz(func(t *testing.T, arg string) {
		from, o, refusal := parseMail(arg, ext, 1000)
		if refusal == "" {
			line := "FROM:<" + from.String() + ">"
			for _, p := range []struct{ name, value string }{{"BODY", string(o.Body)}, {"RET", o.Ret}, {"ENVID", o.EnvID}} {
				if p.value != "" {
					line += " " + p.name + "=" + p.value
				}
			}
			if o.UTF8 {
				line += " SMTPUTF8"
			}
			o.Size = 0
			from2, o2, refusal := parseMail(line, ext, 1000)
			if refusal != "" || from2 != from || o2 != o {
				t.Fatalf("%q is %q %+v; %q is %q %+v %s", arg, from, o, line, from2, o2, refusal)
			}
		} else {
			checkRefusal(t, arg, refusal)
		}
		to, refusal := parseRcpt(arg, ext, true, postmaster)
		if refusal != "" {
			checkRefusal(t, arg, refusal)
			return
		}
		line := "TO:<" + to.Address.String() + ">"
		if to.Notify != "" {
			line += " NOTIFY=" + to.Notify
		}
		if to.ORcpt != "" {
			line += " ORCPT=" + to.ORcpt
		}
		to2, refusal := parseRcpt(line, ext, true, postmaster)
		if refusal != "" || to2 != to || to.Address.IsNull() || strings.ContainsAny(to.Address.Local, "@%!") {
			t.Fatalf("%q is %+v; %q is %+v %s", arg, to, line, to2, refusal)
		}
	})
}

func checkRefusal(t *testing.T, arg, refusal string) {
	t.Helper()
	if len(refusal) > maxReply || refusal[0] != '5' || refusal[3] != ' ' || !isASCII(refusal) || strings.ContainsAny(refusal, "\r\n") {
		t.Fatalf("%q: bad reply %q", arg, refusal)
	}
}

// A PROXY header of which we take the address, in any fragments, is one that the usual library
// takes too, with the same address and the same bytes left over. (We take fewer; of LOCAL and
// UNKNOWN we ignore the rest, as the specification has it, and the library does not.)
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.9 127.0.0.1 4242 25\r\nEHLO x\r\n"), []byte{1, 5})
	f.Add([]byte("PROXY TCP6 2001:db8::9 ::1 4242 25\r\n"), []byte{})
	f.Add([]byte("PROXY UNKNOWN a b\r\nx"), []byte{7})
	f.Add([]byte(v2ipv4()+"QUIT\r\n"), []byte{3})
	f.Add([]byte(v2header(0, 0, []byte("abc"))), []byte{0})
	f.Fuzz(func(t *testing.T, in, sizes []byte) {
		lim := DefaultLimits()
		c := &scriptedConn{in: bytes.Clone(in), sizes: bytes.Clone(sizes)}
		w := newWire(c, "gw.test", &lim)
		got, err := w.proxyHeader()
		if err != nil || !got.IsValid() {
			return
		}
		rest := append(bytes.Clone(w.buf[w.r:w.e]), c.in...)
		r := bufio.NewReader(bytes.NewReader(in))
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Fatalf("%q: we take %v, the library says %v", in, got, err)
		}
		left := make([]byte, len(in)+1)
		n, _ := r.Read(left)
		if !bytes.Equal(rest, left[:n]) {
			t.Fatalf("%q: left %q, the library leaves %q", in, rest, left[:n])
		}
		a, ok := h.SourceAddr.(*net.TCPAddr)
		if !ok {
			t.Fatalf("%q: %v, the library has %v", in, got, h.SourceAddr)
		}
		if want := a.AddrPort(); netip.AddrPortFrom(want.Addr().Unmap(), want.Port()) != got {
			t.Fatalf("%q: %v, the library has %v", in, got, want)
		}
	})
}
