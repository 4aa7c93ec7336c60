package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The compiled program as a child: signals, locks, health.

// A sink is an internal server in this process that remembers what it took.
type sink struct {
	*sampleServer
	mu  sync.Mutex
	all []sampleMail
}

func newSink(t testing.TB, answer func(step, arg string) string) *sink {
	t.Helper()
	s := &sink{}
	var err error
	s.sampleServer, err = startSample("", answer, func(m sampleMail) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *sink) taken() []sampleMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sampleMail(nil), s.all...)
}

// get fetches a page of the admin address.
func (g *running) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	r, err := http.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// healthy wants /health to say so, or to name what is not.
func (g *running) healthy(t testing.TB, failed string) {
	t.Helper()
	if g.admin == "" {
		t.Fatal("no admin address")
	}
	status, body := g.get(t, "/health")
	state := map[string]any{}
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if failed == "" && (status != 200 || state["status"] != "ok") || failed != "" && (status != 503 || state["status"] != "degraded" || state[failed] != "failed") {
		t.Errorf("health: %d %s, want failed: %q", status, body, failed)
	}
}

// holding is a rule file that holds what has this subject.
func holding(subject string) string {
	return fmt.Sprintf("rules:\n  - name: hold-%s\n    when: content.subject == %q\n    class: policy\n    do: quarantine\n    because: \"its subject is %s\"\n", subject, subject, subject)
}

func TestReloadRules(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holding("one"))
	g := s.start(t)
	fate := func(x *speaker, subject string) string {
		t.Helper()
		reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(subject, subject, "x\r\n")))
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
	want := func(x *speaker, one, two string) {
		t.Helper()
		if a, b := fate(x, "one"), fate(x, "two"); a != one || b != two {
			t.Errorf("one is %s, two is %s; want %s, %s", a, b, one, two)
		}
	}
	hup := func() {
		t.Helper()
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	old := mustDial(t, g.addr)
	want(old, "held", "delivered")

	s.write(t, "rules/10.yaml", holding("two"))
	hup()
	g.log.must(t, 2, "msg", "policy in force")
	want(mustDial(t, g.addr), "delivered", "held")
	want(old, "held", "delivered") // a connection keeps the policy that it began with

	s.write(t, "rules/10.yaml", strings.ReplaceAll(holding("one"), "content.subject", "content.subjet"))
	hup()
	said := g.log.must(t, 1, "msg", "reload: the old policy stays in force")
	if text := fmt.Sprint(said["error"]); !strings.Contains(text, "10.yaml:3") || !strings.Contains(text, "subject") {
		t.Errorf("the log should say where and what: %v", text)
	}
	want(mustDial(t, g.addr), "delivered", "held")
	g.healthy(t, "rules")
	if code, _, stderr := postern("check", "--offline", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, "10.yaml:3") {
		t.Errorf("check: exit %d, %s", code, stderr)
	}
	if _, text := g.get(t, "/metrics"); !strings.Contains(text, `postern_reloads_total{outcome="failed"} 1`) || !strings.Contains(text, "postern_healthy 0") {
		t.Error("the metrics do not tell of the failed reload")
	}

	s.write(t, "rules/10.yaml", holding("one"))
	hup()
	g.log.must(t, 3, "msg", "policy in force")
	want(mustDial(t, g.addr), "held", "delivered")
	g.healthy(t, "")
}

// W-16: a new certificate is taken on SIGHUP; a garbage one leaves the old in force.
func TestW16_ReloadCertificate(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "tls: {certificate: cert.pem, key: key.pem}\n")
	file := func(name string) string { return filepath.Join(s.dir, name) }
	renew := func() {
		t.Helper()
		if err := selfSigned("mx.example.org", file("cert.pem"), file("key.pem")); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	g := s.start(t)
	served := func() string {
		t.Helper()
		x := mustDial(t, g.addr)
		x.must(t, "STARTTLS", "220")
		c := tls.Client(x.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := served()
	s.write(t, "cert.pem", "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n")
	_ = g.cmd.Process.Signal(syscall.SIGHUP)
	g.log.must(t, 1, "msg", "reload: the old certificate stays in force")
	if now := served(); now != first {
		t.Errorf("served %s after garbage, want the old %s", now, first)
	}
	g.healthy(t, "certificate")
	renew()
	_ = g.cmd.Process.Signal(syscall.SIGHUP)
	g.log.must(t, 1, "msg", "certificate in force")
	if now := served(); now == first {
		t.Error("the new certificate is not served")
	}
	g.healthy(t, "")
	old := mustDial(t, g.addr)
	old.must(t, "STARTTLS", "220")
	c := tls.Client(old.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := c.Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// D-15: SIGTERM. What is past its final dot ends well, who idles is told, the rest is cut at
// the end of the grace time; exit 0.
func TestD15_GracefulStop(t *testing.T) {
	t.Parallel()
	release, dotted := make(chan struct{}), make(chan struct{}, 1)
	inside := newSink(t, func(step, _ string) string {
		if step == "DOT" {
			dotted <- struct{}{}
			<-release
		}
		return ""
	})
	s := newSite(t, inside.addr, "")
	s.replace(t, "grace: 10s", "grace: 3s")
	g := s.start(t)

	idle := mustDial(t, g.addr)
	halfway := mustDial(t, g.addr)
	halfway.must(t, "MAIL FROM:<eve@friend.example>", "250")
	halfway.must(t, "RCPT TO:<a@example.org>", "250")
	halfway.must(t, "DATA", "354")
	if _, err := halfway.conn.Write([]byte("Subject: half\r\n\r\nnever more")); err != nil {
		t.Fatal(err)
	}
	past := mustDial(t, g.addr)
	text := letter("past", "past", "x\r\n")
	answer := make(chan string, 1)
	go func() {
		reply, _, err := past.mail("eve@friend.example", []string{"a@example.org"}, []byte(text))
		answer <- fmt.Sprint(reply, err)
	}()
	<-dotted

	if code, _, stderr := s.child(t, "serve", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, "another postern runs on this data directory") {
		t.Errorf("a second daemon: exit %d, %s", code, stderr)
	}
	began := time.Now()
	g.cancel()
	if said, err := idle.reply(); err != nil || !strings.HasPrefix(said, "421 4.3.2") {
		t.Errorf("idle: %q, %v", said, err)
	}
	if c, err := net.Dial("tcp", g.addr); err == nil {
		c.Close()
		t.Error("a new connection is taken while stopping")
	}
	close(release)
	if a := <-answer; !strings.HasPrefix(a, "250 2.0.0 Taken") {
		t.Errorf("past the dot: %s", a)
	}
	if said, err := halfway.reply(); err == nil && said[0] == '2' {
		t.Errorf("half a message: %q", said)
	}
	select {
	case <-g.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("still running\n%s", g.log)
	}
	if g.err != nil || time.Since(began) < 2*time.Second {
		t.Errorf("ended with %v after %v", g.err, time.Since(began))
	}
	if got := inside.taken(); len(got) != 1 || !strings.HasSuffix(string(got[0].Data), text) {
		t.Errorf("the internal server has %d messages", len(got))
	}
	if code, stdout, _ := postern("log", "search", "--json", "-c", s.conf); code != exitDone || strings.Count(stdout, "\n") != 2 ||
		!strings.Contains(stdout, `"result":"delivered"`) || !strings.Contains(stdout, `"result":"abandoned"`) {
		t.Errorf("journal after the stop: exit %d\n%s", code, stdout)
	}
}

// child runs a command line as a process of its own.
func (s *site) child(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(builtProgram(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// replace changes the configuration file.
func (s *site) replace(t testing.TB, old, new string) {
	t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("no %q in the configuration", old)
	}
	s.write(t, "postern.yaml", strings.Replace(string(text), old, new, 1))
}

// The text that Prometheus reads (its exposition format, version 0.0.4).
func TestMetrics(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	g := newSite(t, inside.addr, "").start(t)
	for range 3 {
		sendMail(t, g.addr, letter("m", "m", "x\r\n"), "a@example.org")
	}
	sendMail(t, g.addr, letter("g", "g", gtube+"\r\n"), "a@example.org")
	g.log.must(t, 4, "msg", "message")
	status, text := g.get(t, "/metrics")
	comment := regexp.MustCompile(`^# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+$`)
	label := `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"`
	sample := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{` + label + `(?:,` + label + `)*\})? (NaN|[+-]?Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)$`)
	values := map[string]string{}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		m := sample.FindStringSubmatch(line)
		if m == nil && !comment.MatchString(line) {
			t.Errorf("not a sample: %q", line)
		} else if m != nil {
			values[m[1]+m[2]] = m[3]
		}
	}
	for name, want := range map[string]string{
		`postern_messages_total{result="delivered"}`:              "3",
		`postern_messages_total{result="held"}`:                   "1",
		`postern_verdicts_total{do="quarantine",rule="gtube"}`:    "1",
		`postern_filter_seconds_count{filter="spf",state="done"}`: "4",
		`postern_transaction_seconds_count`:                       "4",
		`postern_healthy`:                                         "1",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %s", name, values[name], want)
		}
	}
	if status != 200 || values["postern_quarantine_bytes"] == "0" || values["postern_quarantine_bytes"] == "" {
		t.Errorf("status %d, quarantine bytes %q", status, values["postern_quarantine_bytes"])
	}
}

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := postern("demo", "--once")
	if code != exitDone || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for _, row := range []string{
		`(?m)^WHAT CAME +FOR +WHAT BECAME OF IT, AND WHY$`,
		`(?m)^a clean mail, signed +ana@example\.org +delivered\n +no rule objected$`,
		`(?m)^forged: bank\.example, p=reject +ana@example\.org +refused 550\n +it claims to come from bank\.example`,
		`(?m)^forged: shop\.example, p=quarantine +ana@example\.org +held \(spoof\)\n +it `,
		`(?m)^two From fields +ana@example\.org +held \(malformed\)\n +the message `,
		`(?m)^invoice\.pdf\.exe attached +ana@example\.org +held \(attachment\)\n +it `,
		`(?m)^the GTUBE spam test +ana@example\.org +held \(spam\)\n +it `,
		`(?m)^one mail, two fates +ana@example\.org +delivered\n.*\n +ben@example\.org +held \(policy\)\n +invoices `,
		`(?m)^an unknown recipient +nobody@example\.org +refused 550\n +the internal server refused it: 550 5\.1\.1 `,
		`(?m)^an SMTP smuggling attempt +ana@example\.org +refused 550\n +Bare CR or LF`,
	} {
		if !regexp.MustCompile(row).MatchString(stdout) {
			t.Errorf("the table lacks %s\n%s", row, stdout)
		}
	}
}

// Without a clamd the rules that name it are skipped: the log and /health say so, and it is no fault.
func TestWithoutClamdThatIsTold(t *testing.T) {
	t.Parallel()
	g := newSite(t, newSink(t, nil).addr, "").serve(t)
	g.healthy(t, "")
	if _, body := g.get(t, "/health"); !strings.Contains(body, `"off":["clamav"]`) {
		t.Errorf("health: %s", body)
	}
	if log := g.log.String(); !strings.Contains(log, "rules name filters that are not configured") {
		t.Errorf("the log does not say it:\n%s", log)
	}
}
