package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
)

// demoCmd is the newcomer's first minute.
type demoCmd struct {
	Once  bool   `help:"End after the sample mails."`
	Clamd string `help:"clamd to scan with (default: the one of this host, when it runs)." placeholder:"ADDRESS"`
	Data  string `help:"Keep held mail and journal in this folder (default: a temporary one)." placeholder:"DIR"`
}

// Help is shown by --help.
func (demoCmd) Help() string {
	return "Example:\n  postern demo --once\n\nNothing leaves this host: sender, internal server and DNS are samples on the loopback address."
}

// Run shows it.
func (c *demoCmd) Run(out output) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	d, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer d.stop()
	fmt.Fprintf(out.out, "Postern demo: the real gateway on %s, in front of a sample mail server on %s.\n", d.addr, d.inside.addr)
	if d.cfg.ClamAV.Addresses == nil {
		fmt.Fprintln(out.out, "No ClamAV here (no clamd answered), so nothing is scanned for viruses: the EICAR test passes.")
	} else {
		fmt.Fprintf(out.out, "ClamAV scans: %s.\n", d.clamd)
	}
	fmt.Fprintln(out.out)
	fmt.Fprintf(out.out, demoRow, "WHAT CAME", "FOR", "WHAT BECAME OF IT, AND WHY")
	for _, m := range demoMails() {
		if err := d.row(ctx, out.out, &m); err != nil {
			return fmt.Errorf("%s: %w", m.What, err)
		}
	}
	d.mu.Lock()
	taken := d.taken
	d.mu.Unlock()
	fmt.Fprintf(out.out, "\nThe sample mail server got %d messages; what is held waits in the quarantine.\n", taken)
	if c.Once {
		if c.Data != "" {
			fmt.Fprintf(out.out, "Look at it: postern held list --data %s; postern log search --data %s\n", c.Data, c.Data)
		}
		return nil
	}
	password, err := d.demoPeople(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, `
Look at what is held: %[5]s
  sign in as demo (administrator) or ana@example.org (one of the recipients), password %[6]s

The gateway goes on until you press Ctrl-C. In another terminal (go build ./cmd/postern makes the program):
  postern held list --data %[1]s
  postern held release --data %[1]s --upstream %[2]s --domain example.org ID
  postern log show --data %[1]s ID
  curl http://%[3]s/health
  swaks --server %[4]s --from you@club.example --to ana@example.org
`, d.cfg.Data, d.inside.addr, d.cfg.Admin, d.addr, d.cfg.Web.Origin, password)
	<-ctx.Done()
	return nil
}

// demoSender is where the sample mails come from: with a PROXY header, so that their senders
// have addresses of their own. Mail from elsewhere comes without.
const demoSender = "127.0.0.3"

// A demo is everything on loopback.
type demo struct {
	cfg     *Config
	addr    string
	clamd   string
	inside  *sampleServer
	dns     *dnsfake.Server
	program *program
	key     ed25519.PrivateKey
	serve   chan error
	cancel  context.CancelFunc
	temp    string
	last    string // id of the newest journal entry seen

	mu    sync.Mutex
	taken int
}

func (c *demoCmd) start(ctx context.Context) (d *demo, err error) {
	d = &demo{serve: make(chan error, 1), cancel: func() {}}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	dir := c.Data
	if dir == "" {
		if d.temp, err = os.MkdirTemp("", "postern-demo-"); err != nil {
			return d, err
		}
		dir = filepath.Join(d.temp, "data")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return d, err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return d, err
	}
	d.key = key
	zone, err := dnsfake.Parse(demoZone(public))
	if err != nil {
		return d, err
	}
	if d.dns, err = dnsfake.Serve(zone, "127.0.0.1:0"); err != nil {
		return d, err
	}
	d.inside, err = startSample("", demoAnswer, func(sampleMail) { d.mu.Lock(); d.taken++; d.mu.Unlock() })
	if err != nil {
		return d, err
	}
	if d.cfg, err = c.config(dir, d); err != nil {
		return d, err
	}
	listeners, err := listen([]string{"127.0.0.1:0"})
	if err != nil {
		return d, err
	}
	d.addr = listeners[0].Addr().String()
	if d.program, err = build(ctx, d.cfg, slog.New(slog.DiscardHandler)); err != nil {
		return d, err
	}
	d.program.upstream.Probe(ctx)
	ctx, d.cancel = context.WithCancel(ctx)
	go func() { d.serve <- d.program.serve(ctx, listeners) }()
	return d, nil
}

// config is what the demo's gateway runs with: the rules beside the data, for people to read.
func (c *demoCmd) config(dir string, d *demo) (*Config, error) {
	cfg := defaultConfig()
	cfg.Hostname, cfg.Domains, cfg.Data = "mx.example.org", []string{"example.org"}, dir
	cfg.Upstream.Servers, cfg.Upstream.TLS = []string{d.inside.addr}, "none"
	cfg.DNS.Servers = []string{d.dns.Addr}
	cfg.Proxies = []string{demoSender}
	cfg.Rules = filepath.Join(dir, "rules")
	cfg.Web.AdminTOTP = "optional"
	cfg.Grace = Duration(2 * time.Second)
	if err := os.MkdirAll(cfg.Rules, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(cfg.Rules, "demo.yaml"), []byte(demoRules), 0o600); err != nil {
		return nil, err
	}
	for _, addr := range []*string{&cfg.Admin, &cfg.Web.Listen} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		l.Close()
	}
	candidates := []string{"unix:/run/clamav/clamd.ctl", "unix:/var/run/clamav/clamd.sock", "tcp:127.0.0.1:3310"}
	if c.Clamd != "" {
		candidates = []string{c.Clamd}
	}
	for _, addr := range candidates {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		v, err := filters.ClamAVConfig{Addresses: []string{addr}}.Version(ctx)
		cancel()
		if err == nil {
			cfg.ClamAV.Addresses, d.clamd = []string{addr}, v
			break
		}
		if c.Clamd != "" {
			return nil, fmt.Errorf("clamd %s: %w", addr, err)
		}
	}
	return cfg, cfg.validate()
}

func (d *demo) stop() {
	d.cancel()
	if d.program != nil {
		if d.addr != "" {
			<-d.serve
		}
		d.program.close()
	}
	if d.inside != nil {
		d.inside.Close()
	}
	if d.dns != nil {
		_ = d.dns.Close()
	}
	if d.temp != "" {
		_ = os.RemoveAll(d.temp)
	}
}

// demoAnswer makes the sample server know its own users.
func demoAnswer(step, arg string) string {
	if step == "RCPT" && !strings.HasPrefix(arg, "ana@") && !strings.HasPrefix(arg, "ben@") && !strings.HasPrefix(arg, "postmaster@") {
		return "550 5.1.1 <" + arg + ">: no such user here"
	}
	return ""
}
