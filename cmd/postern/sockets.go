package main

import (
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// sockets are those that systemd opened for us (sd_listen_fds(3)), by what they are for: smtp,
// admin, web. It keeps them open while we restart, so that nobody is refused meanwhile.
type sockets map[string][]net.Listener

// inherited takes what systemd hands over; nothing when it does not.
func inherited() (sockets, error) {
	s := sockets{}
	for _, f := range activation.Files(true) {
		what, err := purpose(f.Name())
		if err == nil {
			var l net.Listener
			if l, err = net.FileListener(f); err == nil {
				s[what] = append(s[what], l)
			}
		}
		f.Close()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("socket %q of systemd: %w", f.Name(), err)
		}
	}
	return s, nil
}

// purpose tells what a socket is for by its name: FileDescriptorName= in the unit, or without one
// the name of the unit.
func purpose(name string) (string, error) {
	switch name = strings.TrimPrefix(strings.TrimSuffix(name, ".socket"), "postern-"); {
	case name == "smtp" || name == "postern" || name == "unknown" || strings.HasPrefix(name, "LISTEN_FD_"):
		return "smtp", nil
	case name == "admin" || name == "web":
		return name, nil
	}
	return "", fmt.Errorf("nobody knows what it is for: FileDescriptorName= is smtp, admin or web")
}

// take gives the sockets for something away; whoever has them closes them.
func (s sockets) take(what string) []net.Listener {
	ls := s[what]
	delete(s, what)
	return ls
}

// one gives a listener for pages or health: systemd's, or one on an address.
func (s sockets) one(what, addr string, log *slog.Logger) (net.Listener, error) {
	ls := s.take(what)
	if len(ls) == 0 {
		return net.Listen("tcp", addr)
	}
	if len(ls) > 1 {
		log.Warn("systemd opened more than one socket of this name: the first is used", "name", what)
		closeAll(ls[1:])
	}
	return ls[0], nil
}

// close closes what nobody took: pages that the configuration has switched off, for one.
func (s sockets) close() {
	for _, ls := range s {
		closeAll(ls)
	}
}
