package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/filters/dnsfake"
)

// What the tests with real parts stand on: a configuration on disk, the whole gateway in this
// process or as a child, its log to wait for, and a client that says what it is told.

// builtFile is the program, built once for all tests; TestMain removes it.
var builtFile = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-bin-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // tests also run it as others
		return "", err
	}
	builtDir = dir
	file := filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-o", file, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as it is released
	if out, err := build.CombinedOutput(); err != nil {
		return file, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
})

var builtDir string

func TestMain(m *testing.M) {
	if os.Getenv(faultsEnv) != "" {
		underFaults(os.Args[1:])
	}
	code := m.Run()
	if builtDir != "" {
		os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// builtProgram gives the path of the compiled program.
func builtProgram(t testing.TB) string {
	t.Helper()
	file, err := builtFile()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A watchedLog keeps a JSON log and lets tests wait for what it says.
type watchedLog struct {
	mu      sync.Mutex
	rest    []byte
	text    bytes.Buffer
	records []map[string]any
	changed chan struct{}
}

func newWatchedLog() *watchedLog { return &watchedLog{changed: make(chan struct{})} }

func (w *watchedLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			break
		}
		w.rest = rest
		r := map[string]any{}
		if json.Unmarshal(line, &r) == nil {
			w.records = append(w.records, r)
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return len(p), nil
}

func (w *watchedLog) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait gives the n-th record (from 1) whose fields begin so: key, value, key, value …
func (w *watchedLog) wait(ctx context.Context, n int, fields ...string) (map[string]any, error) {
	for {
		w.mu.Lock()
		seen := 0
		for _, r := range w.records {
			if says(r, fields) {
				if seen++; seen == n {
					w.mu.Unlock()
					return r, nil
				}
			}
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("the log does not say %q: %w\n%s", fields, context.Cause(ctx), w)
		}
	}
}

func says(r map[string]any, fields []string) bool {
	for i := 0; i < len(fields); i += 2 {
		if s, _ := r[fields[i]].(string); !strings.HasPrefix(s, fields[i+1]) {
			return false
		}
	}
	return true
}

func (w *watchedLog) must(t testing.TB, n int, fields ...string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := w.wait(ctx, n, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A site is a configuration file with its data folder.
type site struct {
	dir, conf, data string
	upstream        string
	dns             *dnsfake.Server
}

// siteZone is what the senders of these tests publish: all of them send from loopback.
const siteZone = `
friend.example.   TXT "v=spf1 ip4:127.0.0.0/8 -all"
friend.example.   MX 10 mail.friend.example.
mail.friend.example. A 127.0.0.1
bank.example.     TXT "v=spf1 -all"
_dmarc.bank.example. TXT "v=DMARC1; p=reject"
`

// bigZone is a name whose answer is too large for UDP, with what matters at its end.
func bigZone() string {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "big.example. TXT \"%03d %s\"\n", i, strings.Repeat("x", 100))
	}
	return b.String() + "big.example. TXT \"v=spf1 ip4:127.0.0.0/8 -all\"\n"
}

// newSite writes a configuration for an internal server. more is further YAML; rule files go
// into the folder rules, which the configuration has to name.
func newSite(t testing.TB, upstream, more string) *site {
	t.Helper()
	dns, err := dnsfake.Serve(dnsfake.MustParse(siteZone+bigZone()), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	dir := t.TempDir()
	s := &site{dir: dir, conf: filepath.Join(dir, "postern.yaml"), data: filepath.Join(dir, "data"), upstream: upstream, dns: dns}
	s.configure(t, more)
	return s
}

func (s *site) configure(t testing.TB, more string) {
	t.Helper()
	if !strings.Contains(more, "web:") {
		more = "web: {listen: \"\"}\n" + more
	}
	s.write(t, "postern.yaml", fmt.Sprintf(`hostname: mx.example.org
domains: [example.org]
listen: ["127.0.0.1:0"]
admin: "127.0.0.1:0"
data: data
upstream: {servers: [%q], tls: none}
dns: {servers: [%q]}
limits: {rate_per_address: 1000000, connections_per_address: 500, errors: 1000}
grace: 10s
log: {format: json}
%s`, s.upstream, s.dns.Addr, more))
}

// reconfigure puts something else in the place of a piece of the configuration.
func (s *site) reconfigure(t testing.TB, before, after string) {
	t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), before, after, 1)
	if changed == string(text) {
		t.Fatalf("the configuration does not have %q", before)
	}
	s.write(t, "postern.yaml", changed)
}

func (s *site) write(t testing.TB, name, text string) {
	t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A running gateway.
type running struct {
	addr, admin string
	log         *watchedLog
	program     *program // nil for a child
	cmd         *exec.Cmd
	ended       chan struct{} // closed at the end, after err was set
	err         error
	cancel      context.CancelFunc
}

// serve runs the gateway in this process until stop or the test's end.
func (s *site) serve(t testing.TB) *running {
	t.Helper()
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	if g.program, err = build(ctx, cfg, newLog(cfg, g.log)); err != nil {
		t.Fatal(err)
	}
	ls, err := listen(cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.err = g.program.serve(ctx, ls)
		g.program.close()
	}()
	t.Cleanup(func() { g.stop(t) })
	g.ready(t)
	return g
}

// start runs the gateway as a child process and waits until it takes mail.
func (s *site) start(t testing.TB) *running {
	t.Helper()
	g := s.spawn(t)
	t.Cleanup(func() { g.kill(t) })
	g.ready(t)
	return g
}

// spawn starts the gateway as a child process.
func (s *site) spawn(t testing.TB) *running {
	t.Helper()
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command(builtProgram(t), "serve", "-c", s.conf)
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	g.cancel = func() { _ = g.cmd.Process.Signal(syscall.SIGTERM) }
	return g
}

// kill ends a child at once.
func (g *running) kill(t testing.TB) {
	t.Helper()
	_ = g.cmd.Process.Kill() // it may have ended by itself
	<-g.ended
}

func (g *running) ready(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 30*time.Second, errors.New("no start within 30 s"))
	defer cancel()
	go func() {
		select {
		case <-g.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	admin, err := g.log.wait(ctx, 1, "msg", "health and metrics", "admin", "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.log.wait(ctx, 1, "msg", "taking mail")
	if err != nil {
		t.Fatal(err)
	}
	g.admin = admin["admin"].(string)
	g.addr = r["listen"].(string)
}

// stop ends it gracefully and gives what it ended with.
func (g *running) stop(t testing.TB) error {
	t.Helper()
	g.cancel()
	select {
	case <-g.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the gateway does not stop\n%s", g.log)
	}
	if g.err != nil && g.program != nil {
		t.Errorf("serve: %v", g.err)
	}
	return g.err
}

// postern runs a command line in this process.
func postern(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}
