// Command bench compares three ways of a mail to a sink, interleaved in one run: direct,
// through a bare pass-through made of go-smtp's server and client, and through Postern with
// all its checks. Each is its own process, as are the sink and the DNS server; what counts is
// the CPU time that the gateway's process takes for 1,000 messages, user and system. It also
// measures memory and latency. docs/performance.md says how to read it.
//
//	go run ./bench              the whole comparison, about two minutes
//	go run ./bench -quick       fewer rounds, for a look
//	go run ./bench -profile DIR CPU and heap profiles of the Postern process under load
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	rounds  int
	small   int // messages of 4 KB a round
	mix     int // messages of the mix a round
	quick   bool
	profile string
	only    string
	postern string
}

func main() {
	if len(os.Args) > 1 && playsRole(os.Args[1]) {
		if err := play(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of each comparison; every second one in reversed order")
	flag.IntVar(&o.small, "small", 3000, "messages of 4 KB in a round")
	flag.IntVar(&o.mix, "mix", 600, "messages of the mix in a round")
	flag.BoolVar(&o.quick, "quick", false, "three rounds of a third, no memory, no latency")
	flag.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of the Postern process to this folder instead")
	flag.StringVar(&o.only, "only", "", "only this part: small, mix, latency, idle, big")
	flag.StringVar(&o.postern, "postern", "", "compare with this Postern binary, too (an earlier build, say)")
	flag.Parse()
	if o.quick {
		o.rounds, o.small, o.mix = 3, o.small/3, o.mix/3
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Printf("\ntook %v\n", time.Since(began).Round(time.Second))
}

// run makes the stage, checks that every gateway does its work, and measures.
func run(ctx context.Context, o *options) error {
	s, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	if o.profile != "" {
		return s.profile(o)
	}
	gws, err := s.gateways(o)
	if err != nil {
		return err
	}
	for _, g := range gws {
		if err := s.verify(g); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	fmt.Println("Bodies arrive intact; Postern stamps spf=pass, dkim=pass, dmarc=pass.")
	wants := func(part string) bool {
		return o.only == part || o.only == "" && (!o.quick || part == "small" || part == "mix")
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"small", func() error { return s.compare(gws, cell{"4 KB, rsa-2048", s.corpus.small, 20, 10, o.small}, o.rounds) }},
		{"mix", func() error { return s.compare(gws, cell{"mix, mean 130 KB", s.corpus.mix, 20, 10, o.mix}, o.rounds) }},
		{"latency", func() error { return s.latency(gws, o.rounds) }},
		{"idle", func() error { return s.idle(1000) }},
		{"big", func() error { return s.big(4, 3) }},
	} {
		if wants(part.name) {
			if err := part.run(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}
