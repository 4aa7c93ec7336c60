package main

import (
	"net"

	"postern/gateway"
)

// doorAt is what is special about a socket that systemd opened: what is said of the address of
// listen with its host and port, else of all with its port, whatever is strictest. Sockets come in
// no order that could be relied on.
func (c *Config) doorAt(l net.Listener) (d gateway.Door) {
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return d
	}
	for _, address := range c.Listen {
		named, err := net.ResolveTCPAddr("tcp", address)
		if err != nil || named.Port != at.Port {
			continue
		}
		one := c.TLS.door(address)
		if named.IP != nil && named.IP.Equal(at.IP) {
			return one
		}
		d.RequireTLS = d.RequireTLS || one.RequireTLS
		d.ImplicitTLS = d.ImplicitTLS || one.ImplicitTLS
	}
	return d
}
