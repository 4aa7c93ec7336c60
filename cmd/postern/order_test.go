package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"postern/quarantine"
	"postern/testkit"
)

// mixedRules hold for b what a gets.
const mixedRules = `include: builtin
rules: [{name: for-b, when: 'rcpt.local == "b"', class: policy, do: quarantine, because: "held for b"}]
`

// attach watches, or disturbs, the system calls of a running gateway until detach.
func attach(t *testing.T, g *running, args ...string) (detach func()) {
	t.Helper()
	strace := testkit.Program(t, "strace", "strace")
	cmd := exec.Command(strace, append(args, "-f", "-y", "-s", "64", "-p", strconv.Itoa(g.cmd.Process.Pid))...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(said)
	first, _ := r.ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, r) }()
	detach = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the gateway
		_ = cmd.Wait()
	}
	if !strings.Contains(first, "attached") {
		detach()
		testkit.Missing(t, "strace may not attach here: "+first)
	}
	return detach
}

// D-01: what is held is on disk before anything is relayed, and that before the reply: the
// system calls of the real program, in their order.
func TestD01_OrderOfSystemCalls(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/mixed.yaml", mixedRules)
	g := s.start(t)
	x := mustDial(t, g.addr)
	trace := filepath.Join(t.TempDir(), "trace")
	detach := attach(t, g, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write,writev,sendto", "-o", trace)
	reply, _, err := x.mail("eve@friend.example", []string{"a@example.org", "b@example.org"}, []byte(letter("order", "order", "x\r\n")))
	if err != nil || !strings.HasPrefix(reply, "250") {
		t.Fatal(reply, err)
	}
	detach()
	calls := readTrace(t, trace)

	const relayed, answered = `^begin writev?\(\d+<(TCP|socket):.*"Received: from`, `^begin writev?\(\d+<(TCP|socket):.*"250 2\.0\.0 Taken`
	at := -1
	for _, want := range []struct{ what, call string }{
		{"the file is synced", `^end fsync\(\d+<.*/messages/.*tmp.*> *\) += 0`},
		{"it gets its name", `^end rename\w*\(.*tmp.*\) += 0`},
		{"its folder is synced", `^end fsync\(\d+<.*/messages/[^>]*>\) += 0`},
		{"the row is synced", `^end f(data)?sync\(\d+<.*/postern\.db-wal>\) += 0`},
		{"the message is relayed", relayed},
		{"the kept row is synced", `^end f(data)?sync\(\d+<.*/postern\.db-wal>\) += 0`},
		{"the client is answered", answered},
	} {
		next := slices.IndexFunc(calls[at+1:], regexp.MustCompile(want.call).MatchString)
		if next < 0 {
			t.Fatalf("no call in its place: %s\n%s", want.what, strings.Join(calls, "\n"))
		}
		at += 1 + next
		if first := slices.IndexFunc(calls, regexp.MustCompile(want.call).MatchString); (want.call == relayed || want.call == answered) && first != at {
			t.Errorf("too early: %s\n%s", want.what, strings.Join(calls, "\n"))
		}
	}
}

// readTrace gives beginnings and ends of system calls in their order.
func readTrace(t *testing.T, file string) (calls []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{} // by thread: a call that is not over
	resumed := regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	for _, line := range strings.Split(string(text), "\n") {
		thread, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		if start, unfinished := strings.CutSuffix(call, " <unfinished ...>"); unfinished {
			open[thread] = start
			calls = append(calls, "begin "+start)
		} else if r := resumed.FindString(call); r != "" {
			calls = append(calls, "end "+open[thread]+call[len(r):])
		} else if call != "" {
			calls = append(calls, "begin "+call, "end "+call)
		}
	}
	return calls
}

// D-05: a sync that failed is never repeated and believed: what needs the disk is put off until
// a restart, clean mail passes, and health says so.
func TestD05_FailedSync(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	g := s.start(t)
	n := 0
	want := func(body, reply string) {
		t.Helper()
		n++
		if got := sendMail(t, g.addr, letter("sync-"+strconv.Itoa(n), "sync", body), "a@example.org"); !strings.HasPrefix(got, reply) {
			t.Errorf("%q, want %s", got, reply)
		}
	}
	const held, clean = gtube + "\r\n", "x\r\n"
	want(held, "250 2.0.0 OK 0")
	detach := attach(t, g, "-e", "inject=fsync,fdatasync:error=EIO")
	want(held, "451 4.3.0 ")
	want(clean, "250 2.0.0 Taken")
	detach()
	want(held, "451 4.3.0 ")
	want(clean, "250 2.0.0 Taken")
	g.healthy(t, "store")
	_ = g.stop(t)
	g = s.start(t)
	want(held, "250 2.0.0 OK 0")
	g.healthy(t, "")
	if code, stdout, stderr := postern("held", "list", "--json", "-c", s.conf); code != exitDone || strings.Count(stdout, "\n") != 2 {
		t.Errorf("held: exit %d\n%s%s", code, stdout, stderr)
	}
}

// D-02: the held copy is durable, and unseen, while the other one is relayed; a refusal then
// leaves nothing, so the retry makes no second copy.
func TestD02_RetryMakesNoSecondCopy(t *testing.T) {
	t.Parallel()
	var dots atomic.Int32
	var look func()
	inside := newSink(t, func(step, _ string) string {
		if step != "DOT" {
			return ""
		}
		look()
		if dots.Add(1) == 1 {
			return "451 4.2.2 Mailbox full"
		}
		return ""
	})
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/mixed.yaml", mixedRules)
	g := s.serve(t)
	files := func() int {
		found, err := filepath.Glob(filepath.Join(s.data, "messages", "*", "*"))
		if err != nil {
			t.Error(err)
		}
		return len(found)
	}
	seen := func() int { return len(g.heldWith(t, "")) }
	look = func() {
		u, err := g.program.quarantine.Usage(t.Context())
		if err != nil || u.Items != 1 || seen() != 0 || files() != 1 {
			t.Errorf("while it is relayed: %+v, %v, %d to be seen, %d files", u, err, seen(), files())
		}
	}
	text := letter("retry", "retry", "x\r\n")
	if r := sendMail(t, g.addr, text, "a@example.org", "b@example.org"); !strings.HasPrefix(r, "451 4.2.2 Mailbox full") {
		t.Fatal(r)
	}
	if u, err := g.program.quarantine.Usage(t.Context()); err != nil || u.Items != 0 || files() != 0 {
		t.Errorf("after the refusal: %+v, %v, %d files", u, err, files())
	}
	if r := sendMail(t, g.addr, text, "a@example.org", "b@example.org"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}
	if got := inside.taken(); len(got) != 1 || len(got[0].Recipients) != 1 || got[0].Recipients[0] != "a@example.org" {
		t.Errorf("the internal server has %d messages", len(got))
	}
	if items := g.heldWith(t, "retry"); len(items) != 1 || items[0].State != quarantine.Kept || items[0].Copies[0].Recipient.Address.Local != "b" {
		t.Errorf("held: %+v", items)
	}
}
