package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A stage is what stands around the gateways: a folder, the corpus, the sink and DNS, each in
// a process of its own.
type stage struct {
	ctx    context.Context
	dir    string
	binary string // Postern's
	corpus *corpus
	dns    string
	sink   string
	sinks  *process
	seen   *bufio.Reader // what the sink tells
	all    []*process
}

// A gateway is one way to the sink.
type gateway struct {
	name  string
	addr  string
	proxy bool
	proc  *process // the sink's for the direct way
}

func newStage(ctx context.Context, o *options) (s *stage, err error) {
	s = &stage{ctx: ctx}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return s, err
	}
	s.binary = filepath.Join(s.dir, "postern")
	if err = build(ctx, s, o.profile != ""); err != nil {
		return s, err
	}
	if s.corpus, err = newCorpus(); err != nil {
		return s, err
	}
	zone := filepath.Join(s.dir, "zone")
	if err = os.WriteFile(zone, []byte(s.corpus.zone), 0o600); err != nil {
		return s, err
	}
	if s.dns, _, _, err = s.role(roleDNS, zone); err != nil {
		return s, err
	}
	s.sink, s.sinks, s.seen, err = s.role(roleSink)
	return s, err
}

// close ends all processes and removes the folder.
func (s *stage) close() {
	for _, p := range s.all {
		p.stop()
	}
	_ = os.RemoveAll(s.dir)
}

// role starts this program in a role and reads where it listens.
func (s *stage) role(role string, args ...string) (addr string, p *process, out *bufio.Reader, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, nil, err
	}
	cmd := exec.Command(self, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, nil, err
	}
	if p, err = start(cmd); err != nil {
		return "", nil, nil, err
	}
	s.all = append(s.all, p)
	out = bufio.NewReader(pipe)
	line, err := out.ReadString('\n')
	return strings.TrimSpace(line), p, out, err
}

// gateways starts each of them.
func (s *stage) gateways(o *options) ([]*gateway, error) {
	pass, proc, _, err := s.role(rolePass, s.sink)
	if err != nil {
		return nil, err
	}
	gws := []*gateway{{name: "direct", addr: s.sink, proc: s.sinks}, {name: "pass-through", addr: pass, proc: proc}}
	own, err := s.postern("postern", s.binary)
	if err != nil {
		return nil, err
	}
	gws = append(gws, own)
	if o.postern != "" {
		other, err := s.postern("postern, other", o.postern)
		if err != nil {
			return nil, err
		}
		gws = append(gws, other)
	}
	return gws, nil
}

// configuration is Postern's: the built-in policy, limits that do not hold up one sender on
// one machine, all else as it is by default.
const configuration = `hostname: gateway.test
listen: ["%s"]
domains: [inside.test]
upstream: {servers: ["%s"], max_idle: %d}
data: %s
proxies: ["127.0.0.1"]
dns: {servers: ["%s"]}
limits: {connections: 2000, connections_per_address: 2000, rate_per_address: 1000000}
admin: ""
`

// postern starts a Postern, with a data folder of its own.
func (s *stage) postern(name, binary string) (*gateway, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "data-")
	if err != nil {
		return nil, err
	}
	file := dir + ".yaml"
	text := fmt.Sprintf(configuration, addr, s.sink, maxIdle, dir, s.dns)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "serve", "-c", file)
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	s.all = append(s.all, p)
	g := &gateway{name: name, addr: addr, proxy: true, proc: p}
	if err := s.ready(g); err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return g, nil
}

// ready waits until the gateway has greeted.
func (s *stage) ready(g *gateway) (err error) {
	for range 600 {
		var c *client
		if c, err = dial(s.ctx, g.addr, g.proxy, s.corpus.small[0]); err == nil {
			return c.Close()
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// build builds Postern; for profiles with one more file, which the tree does not have.
func build(ctx context.Context, s *stage, profile bool) error {
	args := []string{"build", "-o", s.binary}
	if profile {
		overlay, err := profiler(s.dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/postern")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build ./cmd/postern (from the module's root): %w", err)
	}
	return nil
}

// passed is how a result of Postern looks like.
var passed = regexp.MustCompile(`(?s)Authentication-Results: gateway\.test.*spf=pass.*dkim=pass.*dmarc=pass`)

// verify sends one mail of each kind to a recipient whose mail the sink describes, and compares.
func (s *stage) verify(g *gateway) error {
	for _, list := range [][]*message{s.corpus.small, s.corpus.mix, s.corpus.big} {
		for _, m := range []*message{list[0], list[len(list)-1]} {
			one := *m
			one.to = "probe-" + m.to
			l := load{addr: g.addr, proxy: g.proxy, messages: []*message{&one}, sessions: 1, each: 1, total: 1}
			if _, err := l.send(s.ctx); err != nil {
				return err
			}
			line, err := s.seen.ReadBytes('\n')
			if err != nil && err != io.EOF {
				return err
			}
			var got probed
			if err := json.Unmarshal(line, &got); err != nil {
				return err
			}
			_, body, _ := strings.Cut(string(m.raw), "\r\n\r\n")
			if sum := sha256.Sum256([]byte(body)); got.Body != hex.EncodeToString(sum[:]) {
				return fmt.Errorf("a body of %d bytes arrived as another of %d", len(body), got.Size)
			}
			if g.proxy && !passed.MatchString(got.Header) {
				return fmt.Errorf("no spf, dkim and dmarc pass in\n%s", got.Header)
			}
		}
	}
	return nil
}
