package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/testkit"
)

var (
	powerCuts     = flag.Int("power.cuts", 3, "at how many moments TestD04_PowerCuts cuts the power, each in three ways")
	powerMessages = flag.Int("power.messages", 12, "how many messages TestD04_PowerCuts sends")
	powerSeed     = flag.Uint64("power.seed", 0, "seed of TestD04_PowerCuts; 0: another one each time")
)

// powerKinds is what is sent, in turn; the subjects are those of crashRules.
var powerKinds = []struct {
	subject, to, sender string
	held, discarded     bool
}{
	{"held", "a", "n", true, false},
	{"mixed", "ab", "n", true, false},
	{"clean", "a", "n", false, false},
	{"gone", "a", "n", false, true},
	{"mixed", "ab", "no4", false, false}, // refused after it was held
	{"half", "ab", "n", false, true},
}

func powerMessage(n int) []byte {
	r := rand.New(rand.NewPCG(9, uint64(n)))
	size := r.IntN(3_000)
	if n%10 == 9 {
		size = 150_000
	}
	return []byte(letter(fmt.Sprintf("crash-%d", n), powerKinds[n%len(powerKinds)].subject, randomText(r, size)))
}

// D-04: the power goes at any moment. The real program runs under a recorder of its system calls;
// its data folder is made again as it would be after a cut: what was not synced is gone, or torn.
// A gateway starts on that, and has all that was answered 250 by then.
func TestD04_PowerCuts(t *testing.T) {
	t.Parallel()
	s, trace := recordLoad(t)
	disk := newPowerDisk(s.data)
	steps := powerSteps(t, trace, disk)
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	luck := rand.New(rand.NewPCG(seed, 0))
	at := make([]int, *powerCuts)
	for i := range at {
		at[i] = luck.IntN(len(steps))
	}
	at[0] = len(steps) - 1
	slices.Sort(at)
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	answer := regexp.MustCompile(`(?m)^250 2\.0\.0 (OK \S+|Taken n[0-9]+)`)
	answered := 0
	for i, step := range steps {
		told = append(told, answer.FindAllString(step.said, -1)...)
		step.fn()
		for ; len(at) > 0 && at[0] == i; at = at[1:] {
			answered = max(answered, len(told))
			for way := range 3 {
				var how *rand.Rand
				if way > 0 {
					how = luck
				}
				afterCut(t, cfg, disk, how, told, fmt.Sprintf("seed %d, step %d of %d, way %d", seed, i, len(steps), way))
			}
		}
	}
	if want := *powerMessages * 5 / len(powerKinds); answered < want {
		t.Errorf("only %d answers were seen, want %d", answered, want)
	}
	if !t.Failed() {
		testkit.Figure(t, "%d power cuts (at %d of %d steps, each in 3 ways); %d messages answered 250, 0 lost", 3**powerCuts, *powerCuts, len(steps), answered)
	}
}

// recordLoad has a gateway begin on an empty folder, take mail and stop, under the recorder.
func recordLoad(t *testing.T) (s *site, trace string) {
	t.Helper()
	strace := testkit.Program(t, "strace", "strace")
	inside := newSink(t, func(step, sender string) string {
		switch {
		case step == "DOT" && strings.HasPrefix(sender, "no4"):
			return "451 4.2.2 Mailbox full"
		case step == "DOT":
			name, _, _ := strings.Cut(sender, "@")
			return "250 2.0.0 Taken " + name
		}
		return ""
	})
	s = newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/crash.yaml", crashRules)
	if err := os.Mkdir(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	trace = filepath.Join(s.dir, "trace")
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command(strace, append(straceRecord(trace), builtProgram(t), "serve", "-c", s.conf)...)
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.cancel = func() { _ = g.cmd.Process.Signal(syscall.SIGTERM) }
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	t.Cleanup(func() { g.kill(t) })
	g.ready(t)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			x, err := dial(g.addr)
			for n := int(next.Add(1)) - 1; err == nil && n < *powerMessages; n = int(next.Add(1)) - 1 {
				k := powerKinds[n%len(powerKinds)]
				var to []string
				for _, r := range k.to {
					to = append(to, string(r)+"@example.org")
				}
				_, _, err = x.mail(fmt.Sprintf("%s%d@friend.example", k.sender, n), to, powerMessage(n))
			}
			if err != nil {
				t.Error(err)
				return
			}
			x.conn.Close()
		})
	}
	wg.Wait()
	pid := g.cmd.Process.Pid
	if err := g.stop(t); err != nil {
		t.Fatalf("%v\n%s", err, g.log)
	}
	recorded(t, trace, pid)
	return s, trace
}

// recorded waits until the recorder, which nobody is the parent of, has written all. It writes
// process ids in a column of five.
func recorded(t *testing.T, trace string, pid int) {
	t.Helper()
	last := fmt.Appendf(nil, "\n%-5d +++ exited with", pid)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); pause(t.Context(), 20*time.Millisecond) {
		f, err := os.Open(trace)
		if err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		tail := make([]byte, 8<<10)
		n, _ := f.ReadAt(tail, max(0, st.Size()-int64(len(tail))))
		f.Close()
		if bytes.Contains(tail[:n], last) {
			return
		}
	}
	t.Fatal("the recorder does not end")
}

// afterCut makes the folder as it is after a cut, and starts on it.
func afterCut(t *testing.T, like *Config, d *powerDisk, how *rand.Rand, told []string, name string) {
	t.Helper()
	cfg := *like
	cfg.Data = t.TempDir()
	defer os.RemoveAll(cfg.Data)
	files, dirs := d.cut(how)
	slices.Sort(dirs)
	for _, dir := range dirs {
		if err := os.MkdirAll(filepath.Join(cfg.Data, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(cfg.Data, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := build(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Errorf("%s: no start: %v", name, err)
		return
	}
	defer p.close()
	r, err := p.quarantine.Sweep(t.Context(), 0)
	if err != nil || r.Missing.Count > 0 {
		t.Errorf("%s: sweep: %+v, %v", name, r, err)
	}
	if err := p.db.CheckAll(t.Context()); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	ids, held := heldAfter(t, p, name)
	discarded := discardedAfter(t, p, ids)
	for _, said := range told {
		what := strings.Fields(said)[2:]
		n, _ := strconv.Atoi(strings.TrimPrefix(what[1], "n"))
		switch k := powerKinds[n%len(powerKinds)]; {
		case what[0] == "OK" && !ids[what[1]]:
			t.Errorf("%s: LOST: %s was answered 250 and is neither held nor in the journal", name, what[1])
		case what[0] == "Taken" && (k.held && !held[n] || k.discarded && !discarded[n] && !held[n]):
			t.Errorf("%s: LOST: message %d was answered 250, its other copy is neither held nor in the journal", name, n)
		}
	}
}

// discardedAfter reads the journal: numbers of messages with discarded copies; their ids are added.
func discardedAfter(t *testing.T, p *program, ids map[string]bool) map[int]bool {
	t.Helper()
	numbers := map[int]bool{}
	for _, rule := range []string{"gone", "half-gone"} {
		entries, _, err := p.journal.Search(t.Context(), journal.Query{Rule: rule, Limit: 500})
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			ids[e.ID] = true
			numbers[numberOf([]byte("\r\nMessage-ID: "+e.MessageID))] = true
		}
	}
	return numbers
}

// heldAfter reads all that is held: ids, and the numbers of messages.
func heldAfter(t *testing.T, p *program, name string) (ids map[string]bool, numbers map[int]bool) {
	t.Helper()
	ids, numbers = map[string]bool{}, map[int]bool{}
	items, _, err := p.quarantine.List(t.Context(), quarantine.Query{State: quarantine.Any, Limit: 500})
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, it := range items {
		r, err := p.quarantine.Content(t.Context(), it.ID)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := io.ReadAll(r)
		r.Close()
		n := numberOf(text)
		if err != nil || n < 0 || !bytes.Equal(text, powerMessage(n)) {
			t.Errorf("%s: %s is not what was sent: %d bytes, %v", name, it.ID, len(text), err)
		}
		ids[it.ID], numbers[n] = true, true
	}
	return ids, numbers
}
