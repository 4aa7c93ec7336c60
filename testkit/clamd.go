package testkit

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clamd is a private clamd with the signatures of testdata/clamav: EICAR at the start of a
// file, and a harmless marker anywhere.
type Clamd struct {
	Addr string // unix:PATH
	TCP  string // tcp:HOST:PORT
	t    testing.TB
	bin  string
	conf string
	sock string
	cmd  *exec.Cmd
}

// StartClamd starts one and waits until it answers; it is stopped at the end of the test.
// change is pairs of a text in its configuration and what stands there instead.
func StartClamd(t testing.TB, change ...string) *Clamd {
	t.Helper()
	bin := Program(t, "clamd", "clamav-daemon")
	dir, err := os.MkdirTemp("", "clamd") // a short path: it holds a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(Root(t), "testdata", "clamav")
	conf, err := os.ReadFile(filepath.Join(data, "clamd.conf.in"))
	if err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	text := strings.NewReplacer(append(change, "@RUN@", dir, "@DB@", data, "@PORT@", fmt.Sprint(port))...).Replace(string(conf))
	c := &Clamd{t: t, bin: bin, conf: filepath.Join(dir, "clamd.conf"), sock: filepath.Join(dir, "clamd.sock"),
		Addr: "unix:" + filepath.Join(dir, "clamd.sock"), TCP: fmt.Sprintf("tcp:127.0.0.1:%d", port)}
	if err := os.WriteFile(c.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(c.Kill)
	return c
}

// Start starts clamd (again) and waits until it answers PING.
func (c *Clamd) Start() {
	c.t.Helper()
	var log bytes.Buffer
	c.cmd = exec.Command(c.bin, "--config-file="+c.conf)
	c.cmd.Stdout, c.cmd.Stderr = &log, &log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for range 300 {
		if c.ping() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.Kill()
	c.t.Fatalf("clamd does not answer:\n%s", log.String())
}

func (c *Clamd) ping() bool {
	conn, err := net.Dial("unix", c.sock)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte("zPING\x00"))
	b := make([]byte, 5)
	n, _ := conn.Read(b)
	return strings.HasPrefix(string(b[:n]), "PONG")
}

// Kill ends clamd at once.
func (c *Clamd) Kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

// FreePort returns a TCP port of the loopback address that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
