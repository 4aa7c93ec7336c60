package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/filters/dnsfake"

	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"
)

// Scenario pages: one page, one behaviour. Each testdata/scenarios/*.txtar runs against the
// whole program in process, between a scripted client, internal server, clamd and DNS zone;
// README.md there explains the language. The statements of a dialogue are a table in
// scenario_dialogue_test.go, the neighbours' scripts stand in scenario_internal_test.go and
// scenario_clamd_test.go, what must come out in scenario_outcome_test.go.
//
//	go test ./cmd/postern -run TestScenarios/s01            one page
//	go test ./cmd/postern -run TestScenarios/s01 -update    and write down what came out

const scenarioDir = "../../testdata/scenarios"

func TestScenarios(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("page", func(t *testing.T) {
		for _, p := range readPages(t) {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				p.run(t)
			})
		}
	})
	goleak.VerifyNone(t, before)
}

// A page is one file of testdata/scenarios.
type page struct {
	name, path string
	rows       []string // what it proves: the line "rows:" of its comment
	archive    *txtar.Archive
	files      map[string][]byte
}

func readPages(t *testing.T) []*page {
	t.Helper()
	paths, err := filepath.Glob(scenarioDir + "/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scenario pages", err)
	}
	var pages []*page
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p := &page{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, archive: a, files: map[string][]byte{}}
		for line := range strings.Lines(string(a.Comment)) {
			if rows, ok := strings.CutPrefix(line, "rows:"); ok {
				p.rows = strings.Fields(rows)
			}
		}
		for _, f := range a.Files {
			if _, twice := p.files[f.Name]; twice {
				t.Errorf("%s: two files %q", p.name, f.Name)
			}
			p.files[f.Name] = f.Data
		}
		pages = append(pages, p)
	}
	return pages
}

// A scene is one page while it runs.
type scene struct {
	*page
	*testing.T
	dir     string
	key     ed25519.PrivateKey
	inside  map[string]*internalServer // by name: internal, internal2 …
	record  *recorder
	clamd   *scriptedClamd
	dns     *dnsfake.Server
	program *program
	log     *logBuffer
	addr    string
	stop    context.CancelFunc
	served  chan error
	conns   map[string]*client
	at      *client           // the connection that statements speak on
	sent    map[string][]byte // by name, as they went out: CRLF, not dot-stuffed
}

func (p *page) run(t *testing.T) {
	s := &scene{page: p, T: t, dir: t.TempDir(), inside: map[string]*internalServer{}, record: &recorder{},
		log: &logBuffer{}, conns: map[string]*client{}, sent: map[string][]byte{}, served: make(chan error, 1)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the program:\n%s", s.log)
		}
	})
	s.neighbours()
	s.start()
	s.play()
	s.hangUp()
	s.halt()
	s.compare()
}

// neighbours starts all that stands around the gateway.
func (s *scene) neighbours() {
	_, key, err := ed25519.GenerateKey(nil)
	s.must(err)
	s.key = key
	zone, err := dnsfake.Parse(strings.ReplaceAll(string(s.files["zone"]), "$DKIM", base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	s.must(err)
	s.dns, err = dnsfake.Serve(zone, "127.0.0.1:0")
	s.must(err)
	s.Cleanup(func() { _ = s.dns.Close() })
	s.internalServer("internal")
	for name := range s.files {
		if strings.HasPrefix(name, "internal") {
			s.internalServer(name)
		}
	}
	if script, ok := s.files["clamd"]; ok {
		s.clamd, err = startScriptedClamd(strings.TrimSpace(string(script)))
		s.must(err)
		s.Cleanup(s.clamd.close)
	}
}

func (s *scene) internalServer(name string) {
	if s.inside[name] == nil {
		in, err := startInternal(name, string(s.files[name]), s.record)
		s.must(err)
		s.inside[name] = in
		s.Cleanup(in.stop)
	}
}

// start builds the program from the page's configuration over defaults for tests.
func (s *scene) start() {
	cfg := defaultConfig()
	cfg.Hostname, cfg.Domains, cfg.Admin, cfg.Grace = "mx.example.org", []string{"example.org"}, "", Duration(time.Second)
	cfg.Web.Listen = ""
	cfg.Upstream.TLS, cfg.Proxies = "none", []string{proxyAddr}
	cfg.DNS.Servers, cfg.DNS.Timeout = []string{s.dns.Addr}, Duration(time.Second)
	text := string(s.files["config"])
	for name, in := range s.inside {
		text = strings.ReplaceAll(text, "$"+strings.ToUpper(name)+"$", in.addr)
	}
	s.must(cfg.parse(filepath.Join(s.dir, "postern.yaml"), []byte(text)))
	cfg.Data = filepath.Join(s.dir, "data")
	if cfg.Upstream.Servers == nil {
		cfg.Upstream.Servers = []string{s.inside["internal"].addr}
	}
	if s.clamd != nil && cfg.ClamAV.Addresses == nil {
		cfg.ClamAV.Addresses = []string{"unix:" + s.clamd.path}
	}
	for name, data := range s.files {
		if strings.HasPrefix(name, "rules/") {
			cfg.Rules = filepath.Join(s.dir, "rules")
			s.write(name, data)
		}
	}
	s.must(cfg.validate())
	listeners, err := listen([]string{"127.0.0.1:0"})
	s.must(err)
	s.addr = listeners[0].Addr().String()
	s.program, err = build(s.Context(), cfg, slog.New(slog.NewTextHandler(s.log, nil)))
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.served <- s.program.serve(ctx, listeners) }()
	for _, in := range s.inside { // each has been asked once what it offers: from here on it follows its script
		s.must(in.begin())
	}
}

func (s *scene) write(name string, data []byte) {
	path := filepath.Join(s.dir, name)
	s.must(os.MkdirAll(filepath.Dir(path), 0o700))
	s.must(os.WriteFile(path, data, 0o600))
}

func (s *scene) must(err error) {
	if err != nil {
		s.Helper()
		s.Fatal(err)
	}
}

// play runs the dialogue.
func (s *scene) play() {
	defer func() {
		if s.Failed() { // also after Fatal: nothing may be left behind
			s.hangUp()
			s.halt()
		}
	}()
	n := 0
	for line := range strings.Lines(string(s.files["dialogue"])) {
		n++
		line = strings.TrimRight(line, "\n")
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := s.say(line); err != nil {
			s.Fatalf("dialogue, line %d: %s\n%v", n, line, err)
		}
	}
	if n == 0 {
		s.Fatal("no dialogue")
	}
}

// hangUp closes the client's connections; a reply that the page does not mention is an error.
func (s *scene) hangUp() {
	for name, c := range s.conns {
		if rest := c.rest(); rest != "" && !s.Failed() {
			s.Errorf("connection %q: a reply that the page does not tell: %q", name, rest)
		}
	}
	s.conns = map[string]*client{}
}

// halt stops the program and waits for it.
func (s *scene) halt() {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	select {
	case err := <-s.served:
		if err != nil {
			s.Error("serve:", err)
		}
	case <-time.After(15 * time.Second):
		s.Error("the program does not stop")
		return
	}
	s.Cleanup(s.program.close)
}

// eml gives a file of the page as it stands on the wire: CRLF, the test strings put in.
func (s *scene) eml(name string) ([]byte, error) {
	data, ok := s.files[name]
	if !ok {
		return nil, fmt.Errorf("there is no file %q", name)
	}
	data = bytes.ReplaceAll(data, []byte("$GTUBE"), []byte(gtube))
	data = bytes.ReplaceAll(data, []byte("$EICAR"), []byte(eicar))
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), nil
}

// signed gives a message the DKIM signature of a domain, whose key stands in the zone as $DKIM.
func (s *scene) signed(text []byte, domain string) ([]byte, error) {
	m := demoMail{Sign: domain, Raw: string(text)}
	out, err := m.signed(s.key)
	return []byte(out), err
}

// A logBuffer takes the program's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A recorder holds what all internal servers took, in the order in which they took it.
type recorder struct {
	mu      sync.Mutex
	mails   []internalMail
	arrived int
}

func (r *recorder) take(m internalMail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, m)
}

// arrival numbers the messages in the order in which they came.
func (r *recorder) arrival() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived++
	return r.arrived
}

func (r *recorder) taken() []internalMail {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(slices.Values(r.mails), func(a, b internalMail) int { return a.place - b.place })
}

// glob reports whether s is pattern, in which * stands for anything.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	last := len(parts) - 1
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1:last] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[last])
}
