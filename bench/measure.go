package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A cell is one workload.
type cell struct {
	name           string
	messages       []*message
	sessions, each int
	total          int
}

// A figure is what was measured for one gateway, a value a round.
type figure struct{ cpu, rate, p50, p99 []float64 }

// compare measures a cell: each round all gateways one after another, every second round in
// reversed order, after one round that does not count.
func (s *stage) compare(gws []*gateway, c cell, rounds int) error {
	figures := make([]figure, len(gws))
	for round := -1; round < rounds; round++ {
		for k := range gws {
			if round%2 == 1 {
				k = len(gws) - 1 - k
			}
			l := load{addr: gws[k].addr, proxy: gws[k].proxy, messages: c.messages, sessions: c.sessions, each: c.each, total: c.total}
			if round < 0 {
				l.total = min(l.total, max(200, 10*l.each))
			}
			before, err := gws[k].proc.cpu()
			if err != nil {
				return err
			}
			out, err := l.send(s.ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", gws[k].name, err)
			}
			settle(gws[k].proc)
			after, err := gws[k].proc.cpu()
			if err != nil {
				return err
			}
			if round >= 0 {
				figures[k].add(out, after-before)
			}
		}
	}
	c.print(gws, figures, rounds)
	return nil
}

// settle waits until a gateway has nothing to do any more: a journal that is written behind
// the answers belongs to their price.
func settle(p *process) {
	last, _ := p.cpu()
	for range 40 {
		time.Sleep(50 * time.Millisecond)
		now, _ := p.cpu()
		if now-last < 500*time.Microsecond {
			return
		}
		last = now
	}
}

func (f *figure) add(out *sent, cpu time.Duration) {
	n := float64(out.messages)
	f.cpu = append(f.cpu, cpu.Seconds()*1000/n)
	f.rate = append(f.rate, n/out.took.Seconds())
	slices.Sort(out.times)
	at := func(share float64) float64 {
		return out.times[min(len(out.times)-1, int(share*n))].Seconds() * 1000
	}
	f.p50, f.p99 = append(f.p50, at(0.5)), append(f.p99, at(0.99))
}

func (c cell) print(gws []*gateway, figures []figure, rounds int) {
	fmt.Printf("\n%s: %d sessions, %d messages each, %d messages, %d rounds, median (min-max)\n\n", c.name, c.sessions, c.each, c.total, rounds)
	fmt.Println("| | CPU-s / 1000 | of the pass-through | msg/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
	for k, g := range gws {
		f := &figures[k]
		name, ratio := g.name, spread(quotients(f.cpu, figures[1].cpu), "%.2f")
		if k == 0 {
			name, ratio = "direct (the sink's CPU)", ""
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", name, spread(f.cpu, "%.3f"), ratio, spread(f.rate, "%.0f"), spread(f.p50, "%.1f"), spread(f.p99, "%.1f"))
	}
	if len(gws) > 3 {
		fmt.Printf("\npostern against the other build, round by round: %s\n", spread(quotients(figures[2].cpu, figures[3].cpu), "%.3f"))
	}
}

// quotients divides round by round: what disturbs a round disturbs both.
func quotients(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// spread gives median, least and most.
func spread(values []float64, format string) string {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return ""
	}
	median := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return fmt.Sprintf(format+" ("+format+"-"+format+")", median, v[0], v[len(v)-1])
}

// latency measures one message at a time.
func (s *stage) latency(gws []*gateway, rounds int) error {
	for _, each := range []int{1, 10} {
		c := cell{"latency, 4 KB, one session at a time", s.corpus.small, 1, each, 300}
		if err := s.compare(gws, c, rounds); err != nil {
			return err
		}
	}
	return nil
}

// idle measures what n sessions cost that have said EHLO and nothing more, on a fresh process: in
// one that has worked they would hide in what is not yet collected.
func (s *stage) idle(n int) error {
	g, err := s.postern("postern", s.binary)
	if err != nil {
		return err
	}
	before, err := g.proc.memory("VmRSS")
	if err != nil {
		return err
	}
	for i := range n {
		c, err := dial(s.ctx, g.addr, g.proxy, s.corpus.small[i%nDomains])
		if err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		defer c.Close()
	}
	after, err := g.proc.memory("VmRSS")
	if err != nil {
		return err
	}
	fmt.Printf("\n%d idle sessions: %.1f MiB more than the %.1f MiB before\n", n, after-before, before)
	return nil
}

// big measures the peak memory of sessions that send the big messages at once, times of them each.
func (s *stage) big(sessions, times int) error {
	g, err := s.postern("postern", s.binary)
	if err != nil {
		return err
	}
	base, err := g.proc.memory("VmRSS")
	if err != nil {
		return err
	}
	cpu, err := g.proc.cpu()
	if err != nil {
		return err
	}
	l := load{addr: g.addr, proxy: g.proxy, messages: s.corpus.big, sessions: sessions, each: times, total: sessions * times}
	out, err := l.send(s.ctx)
	if err != nil {
		return err
	}
	peak, err := g.proc.memory("VmHWM")
	if err != nil {
		return err
	}
	now, err := g.proc.cpu()
	if err != nil {
		return err
	}
	mb := 0.0
	for i := range l.total {
		mb += float64(len(l.message(i).raw)) / 1e6
	}
	fmt.Printf("\n%d sessions with 20 MB each, %d in all: peak RSS %.1f MiB (%.1f before), %.0f ms CPU a message, %.0f MB/s\n",
		sessions, l.total, peak, base, math.Round((now-cpu).Seconds()*1000/float64(l.total)), mb/out.took.Seconds())
	return nil
}
