package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A breaker in the whole program: a rule that suddenly holds far more than it used to only tags
// from then on, which header, log, health, metrics and list say; a restart does not forget it; a
// reset, or calm, ends it. One of a class that may not fall back goes on.
func TestBreaker(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\ntrusted_relays: [127.0.0.1]\nbreaker: {factor: 2, least: 10, window: 10m}\n")
	s.write(t, "rules/10.yaml", `rules:
  - {name: wild, when: 'content.subject == "wild"', class: spam, do: quarantine, because: it is wild}
  - {name: forged, when: 'content.subject == "forged"', class: spoof, do: quarantine, because: forged}
  - {name: guarded, when: 'content.subject == "guarded"', class: spam, breaker: alarm, do: quarantine, because: guarded}
`)
	b := startQuiet(t, s)
	b.send(t, "wild", 19)
	b.tick(t, 0)
	b.send(t, "wild", 8) // some domains may count as one
	b.tick(t, 0)
	b.log.must(t, 1, "msg", "breaker opened: the rule only tags from now on", "rule", "wild")
	if got := b.fate(t, "wild"); got != "delivered" {
		t.Errorf("with the breaker open: %s", got)
	}
	mails := inside.taken()
	if data := string(mails[len(mails)-1].Data); !strings.Contains(data, "\r\nX-Postern-Breaker: wild\r\n") || strings.Contains(data, "it is wild") {
		t.Errorf("not tagged: %s", data)
	}
	if state, degraded := b.p.health(); !degraded || state["breaker"] != "failed" || fmt.Sprint(state["breakers"]) != "[wild]" {
		t.Errorf("health: %v", state)
	}
	if got := b.metric(t, `postern_breaker_open{rule="wild"}`); got != "1" {
		t.Errorf("metric: %q", got)
	}

	b.send(t, "forged", 25)
	b.send(t, "guarded", 25)
	b.tick(t, 0)
	for _, rule := range []string{"forged", "guarded"} {
		b.log.must(t, 1, "msg", "a rule decides far more than it used to", "rule", rule)
		if got := b.fate(t, rule); got != "held" {
			t.Errorf("%s: %s", rule, got)
		}
	}
	if state, _ := b.p.health(); fmt.Sprint(state["alarms"]) != "[forged guarded]" {
		t.Errorf("health: %v", state)
	}

	b.stop()
	b = startQuiet(t, s)
	if got := b.fate(t, "wild"); got != "delivered" {
		t.Errorf("after a restart: %s", got)
	}
	var said sync.WaitGroup
	said.Go(func() {
		if code, stdout, stderr := postern("rules", "breaker", "reset", "wild", "-c", s.conf); code != exitDone || !strings.Contains(stdout, "is closed") {
			t.Errorf("reset: exit %d, %s%s", code, stdout, stderr)
		}
	})
	b.obey(t, "reset")
	said.Wait()
	if got := b.fate(t, "wild"); got != "held" {
		t.Errorf("after the reset: %s", got)
	}
	if _, degraded := b.p.health(); degraded {
		t.Error("health is still degraded")
	}
	said.Go(func() {
		if code, _, stderr := postern("rules", "breaker", "reset", "wild", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, `no breaker of a rule "wild" is open`) {
			t.Errorf("second reset: exit %d, %s", code, stderr)
		}
	})
	b.obey(t, "reset")
	said.Wait()

	b.send(t, "wild", 60)
	b.tick(t, 0)
	b.log.must(t, 1, "msg", "breaker opened", "rule", "wild")
	for range 4 { // the window it opened in, and three calm ones
		b.tick(t, 10*time.Minute)
	}
	b.log.must(t, 2, "msg", "breaker closed", "rule", "wild")
	if got := b.fate(t, "wild"); got != "held" {
		t.Errorf("after calm: %s", got)
	}
}

// A quiet gateway has a clock that the test moves, and looks for orders when it is told to.
type quiet struct {
	p    *program
	addr string
	log  *watchedLog
	now  time.Time
	sent int
	stop func()
}

func startQuiet(t *testing.T, s *site) *quiet {
	t.Helper()
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	b := &quiet{log: newWatchedLog()}
	ctx, cancel := context.WithCancel(context.Background())
	if b.p, err = build(ctx, cfg, newLog(cfg, b.log)); err != nil {
		t.Fatal(err)
	}
	b.now = time.Now()
	b.p.observe()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- b.p.gateway.Serve(ctx, l) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.p.close()
	})
	t.Cleanup(b.stop)
	return b
}

// fate sends one message, from another domain each time, and tells what became of it.
func (b *quiet) fate(t *testing.T, subject string) string {
	t.Helper()
	b.sent++
	x := mustDial(t, b.addr)
	defer x.conn.Close()
	id := fmt.Sprintf("%d.%d", b.sent, time.Now().UnixNano())
	reply, _, err := x.mail(fmt.Sprintf("eve@d%d.example", b.sent), []string{"a@example.org"}, []byte(letter(id, subject, "x\r\n")))
	switch {
	case err != nil:
		t.Fatal(err)
	case strings.HasPrefix(reply, "250 2.0.0 Taken"):
		return "delivered"
	case strings.HasPrefix(reply, "250 2.0.0 OK 0"):
		return "held"
	}
	return reply
}

func (b *quiet) send(t *testing.T, subject string, n int) {
	t.Helper()
	for range n {
		if got := b.fate(t, subject); got != "held" {
			t.Fatalf("%s: %s", subject, got)
		}
	}
}

// tick lets time pass.
func (b *quiet) tick(t *testing.T, d time.Duration) {
	t.Helper()
	if b.sent > 0 {
		b.log.must(t, b.sent, "msg", "message")
	}
	b.now = b.now.Add(d)
	b.p.tickBreakers(t.Context(), b.now)
}

// obey waits for an order and carries it out.
func (b *quiet) obey(t *testing.T, what string) {
	t.Helper()
	for t.Context().Err() == nil {
		list, err := b.p.policies.Orders(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 && list[0].What == what {
			b.p.orders(t.Context(), time.Now())
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *quiet) metric(t *testing.T, name string) string {
	t.Helper()
	families, err := b.p.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge() != nil && len(m.GetLabel()) == 1 && fmt.Sprintf("%s{%s=%q}", f.GetName(), m.GetLabel()[0].GetName(), m.GetLabel()[0].GetValue()) == name {
				return fmt.Sprint(m.GetGauge().GetValue())
			}
		}
	}
	return ""
}
