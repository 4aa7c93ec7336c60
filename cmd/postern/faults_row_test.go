package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/testkit"
)

var (
	faultStep  = flag.Int("fault.step", 0, "TestP05_EveryCallFailsOnce lets every n-th call fail; 1: each; 0: the first of each kind")
	faultKinds = flag.Int("fault.errors", 1, "with how many errors each: 1 EIO, 2 also ENOSPC")
)

// A faultMail is one message of the batch, and what has to become of it when it is answered 250.
type faultMail struct {
	id, subject, to string
	always          bool // it needs no disk: 250 whatever fails
	reply           string
}

func faultBatch() []*faultMail {
	return []*faultMail{{subject: "held", to: "a"}, {subject: "mixed", to: "ab"}, {subject: "gone", to: "a"}, {subject: "clean", to: "a", always: true},
		{subject: "half", to: "ab"}, {subject: "big", to: "a"}}
}

func (m *faultMail) text() string {
	if m.subject == "big" { // spooled to a file
		return letter(m.id, "held", strings.Repeat(strings.Repeat("x", 70)+"\r\n", 17_000))
	}
	return letter(m.id, m.subject, "x\r\n")
}

// P-05, D-05, D-06: every call that touches the data folder fails once, whichever thread makes it:
// opens, writes, reads, syncs, renames of message files, spool and database. No reply is 250 with a
// loss, mail that needs no disk is delivered, what was refused is not kept; only a failed sync, or
// what may be damage, stops the store, until a restart.
func TestP05_EveryCallFailsOnce(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/crash.yaml", crashRules)
	g, disk := s.startUnderFaults(t)
	n, sent := 0, []*faultMail{}
	send := func(all ...*faultMail) []*faultMail {
		for _, m := range all {
			m.id = fmt.Sprintf("crash-%d", n)
			n++
			var to []string
			for _, r := range m.to {
				to = append(to, string(r)+"@example.org")
			}
			m.reply = sendMail(t, g.addr, m.text(), to...)
		}
		pause(t.Context(), 120*time.Millisecond) // the journal writes behind us
		sent = append(sent, all...)
		return all
	}
	send(faultBatch()...) // what it does the first time
	disk.arm(0, "", 0)
	send(faultBatch()...)
	_, calls, kinds := disk.disarm()
	for _, want := range []string{"open message.tmp", "write message.tmp", "fsync message.tmp", "rename message.tmp", "fsync messages/X", "write postern.db-wal", "fsync postern.db-wal"} {
		if kinds[want] == 0 {
			t.Errorf("no call of the kind %q is seen: %v", want, kinds)
		}
	}
	hits, stops := map[string]int{}, 0
	faults := faultsOf(calls, kinds)
	for _, f := range faults {
		disk.arm(f.at, f.kind, f.with)
		batch := send(faultBatch()...)
		hit, _, _ := disk.disarm()
		name := fmt.Sprintf("%v at call %d (%s)", f.with, f.at, hit)
		hits[hit]++
		for _, m := range batch {
			if said := m.reply[:3]; said != "250" && (said != "451" && said != "452" || m.always) {
				t.Errorf("%s: %s: %s", name, m.subject, m.reply)
			}
		}
		after := send(&faultMail{subject: "held", to: "a"}, &faultMail{subject: "clean", to: "a"})
		stopped := !strings.HasPrefix(after[0].reply, "250")
		if !strings.HasPrefix(after[1].reply, "250") {
			t.Errorf("%s: clean mail afterwards: %s", name, after[1].reply)
		}
		if strings.HasPrefix(hit, "fsync") && f.with == syscall.EIO && !stopped {
			t.Errorf("%s: a failed sync was believed", name)
		}
		if stopped {
			if hit == "" || f.with == syscall.ENOSPC && !strings.HasPrefix(hit, "fsync postern.db") { // what a sync left of the database is in doubt, whatever it says
				t.Errorf("%s: it does not go on: %s", name, after[0].reply)
			}
			stops++
			g.healthy(t, "store")
			_ = g.stop(t)
			g, disk = s.startUnderFaults(t)
			if again := send(&faultMail{subject: "held", to: "a"}); !strings.HasPrefix(again[0].reply, "250") {
				t.Errorf("%s: after a restart: %s", name, again[0].reply)
			}
		}
	}
	if err := g.stop(t); err != nil {
		t.Errorf("%v\n%s", err, g.log)
	}
	auditFaults(t, s, inside, sent)
	t.Logf("failed: %v", hits)
	testkit.Figure(t, "%d calls failed once each, of %d kinds; %d messages, none lost; %d restarts after a failed sync or what may be damage", len(faults), len(hits), len(sent), stops)
}

// A fault is a call that is to fail.
type fault struct {
	at   int
	kind string
	with syscall.Errno
}

func faultsOf(calls int, kinds map[string]int) (all []fault) {
	for _, with := range []syscall.Errno{syscall.EIO, syscall.ENOSPC}[:*faultKinds] {
		if *faultStep == 0 {
			for kind := range kinds {
				all = append(all, fault{1, kind, with})
			}
			continue
		}
		for at := 1; at <= calls; at += *faultStep {
			all = append(all, fault{at, "", with})
		}
	}
	return all
}

// auditFaults compares replies with what there is.
func auditFaults(t *testing.T, s *site, inside *sink, sent []*faultMail) {
	t.Helper()
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if r, err := p.quarantine.Sweep(t.Context(), 0); err != nil || r.Missing.Count > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := p.db.CheckAll(t.Context()); err != nil {
		t.Error(err)
	}
	delivered, held, gone := map[int]int{}, map[int]int{}, map[int]int{}
	for _, m := range inside.taken() {
		delivered[numberOf(m.Data)]++
	}
	for cursor := ""; ; {
		items, next, err := p.quarantine.List(t.Context(), quarantine.Query{State: quarantine.Any, Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			r, err := p.quarantine.Content(t.Context(), it.ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Error(err)
			}
			held[numberOf(text)]++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for _, rule := range []string{"gone", "half-gone"} {
		for cursor := ""; ; {
			entries, next, err := p.journal.Search(t.Context(), journal.Query{Rule: rule, Limit: 500, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				gone[numberOf([]byte("\r\nMessage-ID: "+e.MessageID))]++
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	for _, m := range sent {
		n := numberOf([]byte(m.text()))
		want := map[string]bool{
			"held": held[n] == 1, "big": held[n] == 1, "mixed": held[n] == 1 && delivered[n] == 1, "clean": delivered[n] == 1,
			"gone": held[n] > 0 || gone[n] > 0, "half": delivered[n] == 1 && (held[n] > 0 || gone[n] > 0),
		}
		said250 := strings.HasPrefix(m.reply, "250")
		if said250 && !want[m.subject] {
			t.Errorf("LOST: %d (%s) was answered %q: %d delivered, %d held, %d discarded", n, m.subject, m.reply, delivered[n], held[n], gone[n])
		}
		if !said250 && held[n]+delivered[n] > 0 {
			t.Errorf("%d (%s) was answered %q and is there: %d delivered, %d held", n, m.subject, m.reply, delivered[n], held[n])
		}
	}
}
