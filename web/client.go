package web

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// withClient finds out where a request comes from. X-Forwarded-For counts only from proxies that
// the configuration names, read from its end: what stands before the first unknown address was
// written by who knows whom (W-17). X-Forwarded-Proto never counts; web.origin says what browsers use.
func (s *Server) withClient(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), clientKey, s.findClient(r)))
}

func (s *Server) findClient(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.proxy(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at
}

func (s *Server) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// client is where a request comes from; the zero Addr when nobody knows.
func client(r *http.Request) netip.Addr {
	a, _ := r.Context().Value(clientKey).(netip.Addr)
	return a
}
