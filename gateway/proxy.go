package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	maxProxyV1   = 107  // with CRLF, as the specification has it
	maxProxyTail = 2048 // of version 2: addresses and TLVs
)

var (
	proxyV2     = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errBadProxy = errors.New("bad PROXY header")
)

// proxyHeader reads the PROXY header, version 1 or 2, that a listed peer has to send first,
// and nothing behind it. The address is not valid when the header has none (LOCAL, UNKNOWN:
// a health check of the proxy itself).
func (w *wire) proxyHeader() (netip.AddrPort, error) {
	deadline := time.Now().Add(w.lim.Handshake)
	if err := w.want(len(proxyV2), deadline); err != nil {
		return netip.AddrPort{}, err
	}
	if bytes.HasPrefix(w.buf[:w.e], proxyV2) {
		return w.proxy2(deadline)
	}
	return w.proxy1(deadline)
}

// want waits until n bytes are there.
func (w *wire) want(n int, deadline time.Time) error {
	for w.e-w.r < n {
		if err := w.fill(deadline, true); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) proxy1(deadline time.Time) (netip.AddrPort, error) {
	end := -1
	for {
		if !bytes.HasPrefix(w.buf[w.r:w.e], []byte("PROXY ")) {
			return netip.AddrPort{}, errBadProxy
		}
		head := w.buf[w.r:min(w.e, w.r+maxProxyV1)]
		if end = bytes.Index(head, crlf); end >= 0 {
			break
		}
		if len(head) == maxProxyV1 {
			return netip.AddrPort{}, errBadProxy
		}
		if err := w.want(w.e-w.r+1, deadline); err != nil {
			return netip.AddrPort{}, err
		}
	}
	words := strings.Split(string(w.buf[w.r:w.r+end]), " ")
	w.r += end + 2
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.AddrPort{}, errBadProxy
	}
	from, err := netip.ParseAddr(words[2])
	to, err2 := netip.ParseAddr(words[3])
	port, err3 := proxyPort(words[4])
	_, err4 := proxyPort(words[5])
	if errors.Join(err, err2, err3, err4) != nil || from.Zone() != "" ||
		from.Is4() != (words[1] == "TCP4") || to.Is4() != from.Is4() {
		return netip.AddrPort{}, errBadProxy
	}
	return netip.AddrPortFrom(from.Unmap(), port), nil
}

// proxyPort reads a port, which has no leading zeros.
func proxyPort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && strconv.FormatUint(n, 10) != s {
		err = errBadProxy
	}
	return uint16(n), err
}

func (w *wire) proxy2(deadline time.Time) (netip.AddrPort, error) {
	if err := w.want(16, deadline); err != nil {
		return netip.AddrPort{}, err
	}
	command, family := w.buf[w.r+12], w.buf[w.r+13]
	n := int(binary.BigEndian.Uint16(w.buf[w.r+14:]))
	if command>>4 != 2 || n > maxProxyTail {
		return netip.AddrPort{}, errBadProxy
	}
	if err := w.want(16+n, deadline); err != nil {
		return netip.AddrPort{}, err
	}
	p := w.buf[w.r+16 : w.r+16+n]
	w.r += 16 + n
	switch {
	case command&15 == 0: // LOCAL
		return netip.AddrPort{}, nil
	case command&15 != 1:
	case family == 0x11 && n >= 12: // TCP over IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p)), binary.BigEndian.Uint16(p[8:])), nil
	case family == 0x21 && n >= 36: // TCP over IPv6
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p)).Unmap(), binary.BigEndian.Uint16(p[32:])), nil
	}
	return netip.AddrPort{}, errBadProxy
}
