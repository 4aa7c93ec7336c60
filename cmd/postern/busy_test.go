package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/testkit"
)

var (
	busyMessages = flag.Int("busy.messages", 150, "how many messages TestS35_SlowScanner offers at once")
	busyScan     = flag.Duration("busy.scan", 200*time.Millisecond, "how long its scans take")
)

// S-35: scans take long and far more mail is offered than they can keep up with. Each message is
// answered 250 or 451 within the limits, most of the latter before their data; what was answered
// 250 is with the internal server, once, and nothing else is.
func TestS35_SlowScanner(t *testing.T) {
	t.Parallel()
	clamd, err := startScriptedClamd(fmt.Sprintf("slow %v OK", *busyScan))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clamd.close)
	timeout := 10 * *busyScan
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, fmt.Sprintf("rules: rules\nclamav: {addresses: [\"unix:%s\"], concurrent: 4, timeout: %v, max_size: 25MiB}\n", clamd.path, timeout))
	s.write(t, "rules/10.yaml", "rules:\n  - {name: virus, when: clamav.infected, do: quarantine, class: virus, because: virus}\n")
	s.reconfigure(t, "connections_per_address: 500", fmt.Sprintf("connections_per_address: %d, connections: %d", *busyMessages, 2**busyMessages))
	g := s.serve(t)
	var mu sync.Mutex
	count, took, accepted := map[string]int{}, []time.Duration{}, map[string]bool{}
	var clients sync.WaitGroup
	for n := range *busyMessages {
		clients.Go(func() {
			time.Sleep(time.Duration(n) * 3 * timeout / 2 / time.Duration(*busyMessages)) // so that some come when it is full
			x, err := dial(g.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer x.conn.Close()
			_ = x.conn.SetDeadline(time.Now().Add(4 * time.Minute))
			began := time.Now()
			id := fmt.Sprintf("busy-%d", n)
			reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(id, "busy", "x\r\n")))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			count[reply[:min(len(reply), 9)]]++
			accepted[id] = strings.HasPrefix(reply, "250 ")
		})
	}
	clients.Wait()
	got := map[string]int{}
	for _, m := range inside.taken() {
		_, rest, _ := strings.Cut(string(m.Data), "Message-ID: <")
		id, _, _ := strings.Cut(rest, "@")
		got[id]++
	}
	for id, yes := range accepted {
		if n := got[id]; yes && n != 1 || !yes && n != 0 {
			t.Errorf("%s: accepted %v, delivered %d times", id, yes, n)
		}
	}
	shed, ok, later := count["451 4.3.2"], count["250 2.0.0"], count["451 4.3.0"]
	slices.Sort(took)
	if ok == 0 || shed == 0 || ok+shed+later != *busyMessages || len(took) == 0 || took[len(took)-1] > 2*timeout+30*time.Second {
		t.Errorf("%v, the slowest took %v", count, took[len(took)-1])
	}
	testkit.Figure(t, "%d messages, scans of %v by 4 at once: %d accepted and delivered once, %d put off before their data, %d after it; the slowest answer %.1f s",
		*busyMessages, *busyScan, ok, shed, later, took[len(took)-1].Seconds())
}
