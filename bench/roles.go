package main

import (
	"fmt"
	"net"
	"os"

	"postern/filters/dnsfake"
)

// The parts beside Postern run as processes of their own: this program, told its role. Each
// says where it listens in its first line of output.
const (
	roleSink = "role-sink"
	rolePass = "role-pass"
	roleDNS  = "role-dns"
)

func playsRole(arg string) bool { return arg == roleSink || arg == rolePass || arg == roleDNS }

func play(role string, args []string) error {
	if role == roleDNS {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		zone, err := dnsfake.Parse(string(text))
		if err != nil {
			return err
		}
		s, err := dnsfake.Serve(zone, "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(s.Addr)
		select {} // until it is killed
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	if role == roleSink {
		return serveSink(l)
	}
	return servePass(l, args[0])
}
