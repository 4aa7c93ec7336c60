package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// tryCmd judges messages from files with the filters and rules of a live gateway.
type tryCmd struct {
	Files []string `arg:"" name:"file" help:"Messages (.eml); - is standard input."`
	IP    string   `name:"ip" default:"127.0.0.1" help:"Address of the sending client, for SPF." placeholder:"ADDRESS"`
	Helo  string   `default:"localhost" help:"What it says in EHLO." placeholder:"NAME"`
	From  *string  `help:"Envelope sender; \"\" or <> is the null sender (default: Return-Path, else From)." placeholder:"ADDRESS"`
	To    []string `help:"Envelope recipient (repeatable)." placeholder:"ADDRESS" sep:"none"`
	decisions
	Config string `short:"c" help:"Configuration file, for its dns, clamav, trusted_relays and rules." placeholder:"FILE" type:"path"`
	Data   string `help:"Data folder of the gateway, to ask its lists and its journal (default: nothing is listed, nobody has written before)." placeholder:"DIR"`
	Zone   string `help:"Zone file in place of DNS: text, or JSON." placeholder:"FILE" type:"path"`
	Needed bool   `help:"Gather only the facts that a live message would cost."`
	JSON   bool   `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (tryCmd) Help() string {
	return "Example:\n  postern try --ip 203.0.113.7 --from eve@friend.example --to ana@example.org mail.eml\n\n" +
		"A file without any CRLF is read as if its lines ended in CRLF; one with both stays as it is.\n" +
		"Several files are judged side by side and shown in their order. The exit code is 1 when one could not be read."
}

// tryAtOnce is how many messages are judged side by side: their time is mostly spent waiting
// for DNS and clamd.
const tryAtOnce = 8

// Run judges each file.
func (c *tryCmd) Run(out output) error {
	cfg := defaultConfig()
	if c.Config != "" {
		var err error
		if cfg, err = loadConfig(c.Config); err != nil {
			return err
		}
	}
	c.decisions.apply(cfg)
	env, refused, err := c.envelope(cfg)
	if err != nil {
		return err
	}
	j, err := c.judge(cfg)
	if err != nil {
		return err
	}
	defer j.close()
	j.refused, j.guess, j.flips = refused, c.From == nil, true

	type outcome struct {
		res *tryResult
		err error
	}
	under := make(chan chan outcome, tryAtOnce-1)
	go func() {
		defer close(under)
		for _, file := range c.Files {
			done := make(chan outcome, 1)
			under <- done
			go func() {
				res, err := j.judgeFile(env, file)
				done <- outcome{res, err}
			}()
		}
	}()
	failed, i := false, 0
	for done := range under {
		o := <-done
		if o.err != nil {
			failed = true
			fmt.Fprintf(out.err, "postern: %s: %v\n", c.Files[i], o.err)
			o.res = &tryResult{File: c.Files[i], Error: o.err.Error()}
		}
		if c.JSON {
			o.err = printObject(out.out, o.res)
			failed = failed || o.err != nil
		} else if o.err == nil {
			o.res.print(out.out)
		}
		i++
	}
	if failed {
		return errQuiet
	}
	return nil
}

// envelope makes the envelope of the flags. A sender that no gateway would accept is judged
// all the same; refused is then what it would be told.
func (c *tryCmd) envelope(cfg *Config) (env mail.Envelope, refused *mail.Reply, err error) {
	addr, err := netip.ParseAddr(c.IP)
	if err != nil || addr.Zone() != "" {
		return env, nil, &usageError{fmt.Sprintf("--ip %q is no IP address", c.IP)}
	}
	addr = addr.Unmap()
	trusted, err := prefixes(cfg.TrustedRelays)
	if err != nil {
		return env, nil, fmt.Errorf("trusted_relays: %w", err)
	}
	env = mail.Envelope{Received: time.Now(), Client: mail.Client{Addr: addr, Helo: c.Helo, ESMTP: true,
		Trusted: slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })}}
	if len(c.To) == 0 {
		c.To = []string{"postmaster@example.org"}
	}
	for _, to := range c.To {
		a, err := mail.ParseAddress(bare(to), true)
		if err != nil {
			return env, nil, &usageError{fmt.Sprintf("--to %q: %v", to, err)}
		}
		env.Recipients = append(env.Recipients, mail.RcptTo{Address: a})
	}
	if c.From == nil || bare(*c.From) == "" {
		return env, nil, nil
	}
	if env.Sender, err = mail.ParseAddress(bare(*c.From), true); err != nil {
		env.Sender = looseSender(bare(*c.From))
		refused = &mail.Reply{Code: 553, Enhanced: [3]int{5, 1, 7}, Text: "Bad sender address syntax"}
	}
	return env, refused, nil
}

// bare takes one pair of angle brackets off.
func bare(s string) string {
	if inner, ok := strings.CutPrefix(s, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return s
}

// looseSender reads what is no address as SPF implementations do: the domain is behind the
// last @, or all of it.
func looseSender(s string) mail.Address {
	i := strings.LastIndexByte(s, '@')
	return mail.Address{Local: s[:max(i, 0)], Domain: strings.ToLower(s[i+1:])}
}

// readMessage reads a file; one without any CRLF gets them.
func readMessage(file string) ([]byte, error) {
	const most = 256 << 20
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(filepath.Clean(file))
		if err != nil {
			return nil, cause(err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(text) > most {
		return nil, errors.New("more than 256 MiB")
	}
	return withCRLF(text), nil
}

// withCRLF gives a text without any CRLF those.
func withCRLF(text []byte) []byte {
	if bytes.Contains(text, []byte("\r\n")) {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}

// cause leaves the path out, which is told anyway.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// guessSender takes Return-Path, else the one address of From.
func guessSender(body *mail.Body) mail.Address {
	h, err := body.Header()
	if err != nil {
		return mail.Address{}
	}
	if f := h.Get("Return-Path"); f != nil {
		a, _ := mail.ParseAddress(strings.Trim(f.Value(), "<> "), true)
		return a
	}
	if author, ok := h.Authors().One(); ok {
		a, _ := mail.ParseAddress(author.Address, true)
		return a
	}
	return mail.Address{}
}
