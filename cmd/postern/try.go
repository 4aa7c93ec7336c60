package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
	"postern/rules"

	"github.com/oklog/ulid/v2"
)

// tryCmd judges messages from files with the filters and rules of a live gateway.
type tryCmd struct {
	Files []string `arg:"" name:"file" help:"Messages (.eml); - is standard input."`
	IP    string   `name:"ip" default:"127.0.0.1" help:"Address of the sending client, for SPF." placeholder:"ADDRESS"`
	Helo  string   `default:"localhost" help:"What it says in EHLO." placeholder:"NAME"`
	From  *string  `help:"Envelope sender; \"\" or <> is the null sender (default: Return-Path, else From)." placeholder:"ADDRESS"`
	To    []string `help:"Envelope recipient (repeatable)." placeholder:"ADDRESS" sep:"none"`
	decisions
	Config string `short:"c" help:"Configuration file, for its dns, clamav and rules." placeholder:"FILE" type:"path"`
	Zone   string `help:"Zone file in place of DNS: text, or JSON." placeholder:"FILE" type:"path"`
	Needed bool   `help:"Gather only the facts that a live message would cost."`
	JSON   bool   `name:"json" help:"One JSON object a message."`
}

// Help is shown by --help.
func (tryCmd) Help() string {
	return "Example:\n  postern try --ip 203.0.113.7 --from eve@friend.example --to ana@example.org mail.eml\n\n" +
		"A file without any CRLF is read as if its lines ended in CRLF; one with both stays as it is."
}

// tryResult is what try --json prints for a message; its names are a contract.
type tryResult struct {
	File     string         `json:"file"`
	Verdicts []tryVerdict   `json:"verdicts"`
	Facts    map[string]any `json:"facts"`
	Steps    []rules.Step   `json:"steps"`
	Timings  []tryTiming    `json:"filters"`
	Error    string         `json:"error,omitempty"`
}

type tryVerdict struct {
	Recipient string `json:"recipient"`
	rules.Verdict
	Answer tryReply `json:"reply"`
	steps  []rules.Step
}

type tryReply struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type tryTiming struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

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
	env, err := c.envelope()
	if err != nil {
		return err
	}
	judge, err := c.judge(cfg)
	if err != nil {
		return err
	}
	defer judge.close()
	failed := false
	for _, file := range c.Files {
		res, err := c.one(judge, env, file)
		if err != nil {
			failed = true
			fmt.Fprintf(out.err, "postern: %s: %v\n", file, err)
			res = &tryResult{File: file, Error: err.Error(), Verdicts: []tryVerdict{}, Facts: map[string]any{}, Steps: []rules.Step{}}
		}
		if c.JSON {
			if err := json.NewEncoder(out.out).Encode(res); err != nil {
				return err
			}
		} else if err == nil {
			res.print(out.out)
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

func (c *tryCmd) envelope() (mail.Envelope, error) {
	env := mail.Envelope{Received: time.Now()}
	addr, err := netip.ParseAddr(c.IP)
	if err != nil {
		return env, &usageError{fmt.Sprintf("--ip %q is no IP address", c.IP)}
	}
	env.Client = mail.Client{Addr: addr.Unmap(), Helo: c.Helo, ESMTP: true}
	if len(c.To) == 0 {
		c.To = []string{"postmaster@example.org"}
	}
	for _, to := range c.To {
		a, err := mail.ParseAddress(strings.Trim(to, "<>"), true)
		if err != nil {
			return env, &usageError{fmt.Sprintf("--to %q: %v", to, err)}
		}
		env.Recipients = append(env.Recipients, mail.RcptTo{Address: a})
	}
	if c.From != nil && strings.Trim(*c.From, "<>") != "" {
		if env.Sender, err = mail.ParseAddress(strings.Trim(*c.From, "<>"), true); err != nil {
			return env, &usageError{fmt.Sprintf("--from %q: %v", *c.From, err)}
		}
	}
	return env, nil
}

// A judge is filters and rules without a gateway around them.
type judge struct {
	policy  *rules.Policy
	filters []filters.Filter
	needs   map[string]bool // nil: all
	close   func()
}

func (c *tryCmd) judge(cfg *Config) (*judge, error) {
	var resolver filters.Resolver
	end := func() {}
	if c.Zone != "" {
		text, err := os.ReadFile(c.Zone)
		if err != nil {
			return nil, err
		}
		if resolver, err = dnsfake.Parse(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Zone, err)
		}
	} else {
		r, err := newResolver(cfg)
		if err != nil {
			return nil, err
		}
		resolver, end = r, func() { _ = r.Close() }
	}
	fs := filterList(cfg, resolver)
	policy, err := compile(cfg, fs)
	if err != nil {
		end()
		return nil, err
	}
	j := &judge{policy: policy, filters: fs, close: end}
	if c.Needed {
		j.needs = closure(policy.Needs(), fs)
	}
	return j, nil
}

// closure is what the named filters read, and they themselves.
func closure(names []string, fs []filters.Filter) map[string]bool {
	all := map[string]bool{}
	var add func(string)
	add = func(name string) {
		if all[name] {
			return
		}
		all[name] = true
		for _, f := range fs {
			if f.Name == name {
				for _, dep := range f.After {
					add(dep)
				}
			}
		}
	}
	for _, n := range names {
		add(n)
	}
	return all
}

// one judges one message.
func (c *tryCmd) one(j *judge, env mail.Envelope, file string) (*tryResult, error) {
	text, err := readMessage(file)
	if err != nil {
		return nil, err
	}
	env.ID = ulid.Make().String()
	body := mail.BodyOf(text)
	defer body.Close()
	if c.From == nil {
		env.Sender = guessSender(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	msg := filters.NewScope(nil)
	msg.Start(ctx, j.choose(func(f filters.Filter) bool { return f.Stage != mail.Recipient && !(f.Lazy && c.Needed) }), filters.Input{Envelope: env, Body: body})
	res := &tryResult{File: file, Facts: map[string]any{}}
	scopes := []*filters.Scope{msg}
	for _, to := range env.Recipients {
		rcpt := filters.NewScope(msg)
		scopes = append(scopes, rcpt)
		in := filters.Input{Envelope: env, Recipient: to.Address, Body: body}
		rcpt.Start(ctx, j.choose(func(f filters.Filter) bool { return f.Stage == mail.Recipient }), in)
		v, err := j.decide(ctx, msg, rcpt, in)
		if err != nil {
			return nil, err
		}
		res.Verdicts = append(res.Verdicts, tryVerdict{Recipient: to.Address.String(), Verdict: v, Answer: answerOf(v, env.ID), steps: v.Steps})
	}
	for _, s := range scopes {
		s.Join()
		for _, r := range s.Results() {
			if _, there := res.Facts[r.Name]; !there {
				res.Facts[r.Name] = r.Facts
				res.Timings = append(res.Timings, tryTiming{r.Name, float64(r.Took.Microseconds()) / 1000})
			}
		}
	}
	if len(res.Verdicts) > 0 {
		res.Steps = res.Verdicts[0].steps
	}
	return res, nil
}

func (j *judge) choose(want func(filters.Filter) bool) []filters.Filter {
	var fs []filters.Filter
	for _, f := range j.filters {
		if want(f) && (j.needs == nil || j.needs[f.Name]) {
			fs = append(fs, f)
		}
	}
	return fs
}

// decide walks the rules until they have all they ask for.
func (j *judge) decide(ctx context.Context, msg, rcpt *filters.Scope, in filters.Input) (rules.Verdict, error) {
	for {
		v, waiting := j.policy.Decide(offAware{rcpt, j.filters})
		if waiting == nil {
			return v, nil
		}
		for _, name := range waiting {
			if !rcpt.Started(name) { // a lazy one, with --needed
				want := closure([]string{name}, j.filters)
				msg.Start(ctx, j.choose(func(f filters.Filter) bool { return want[f.Name] && f.Stage != mail.Recipient }), in)
			}
			if err := rcpt.Wait(ctx, name); err != nil {
				return v, fmt.Errorf("waiting for %s: %w", name, err)
			}
		}
	}
}

// offAware is a scope in which filters that are not configured have that for an answer.
type offAware struct {
	scope   *filters.Scope
	filters []filters.Filter
}

func (o offAware) Lookup(name string) (any, error, bool) {
	for i := range o.filters {
		if o.filters[i].Name == name {
			return o.scope.Lookup(name)
		}
	}
	return nil, filters.ErrOff, true
}

// answerOf is the reply that a message with this one verdict would get.
func answerOf(v rules.Verdict, id string) tryReply {
	r := v.Reply
	if r == nil {
		switch v.Do {
		case rules.Reject:
			r = &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: v.Because}
		case rules.Defer:
			r = &mail.Reply{Code: 451, Enhanced: [3]int{4, 7, 0}, Text: v.Because}
		default:
			r = &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "Accepted, id " + id}
		}
	}
	return tryReply{Code: r.Code, Enhanced: r.EnhancedString(), Text: r.Text}
}

// readMessage reads a file; one without any CRLF gets them.
func readMessage(file string) ([]byte, error) {
	const most = 256 << 20
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, errors.New("more than 256 MiB")
	}
	if !bytes.Contains(text, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	return text, nil
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
	if f := h.Get("From"); f != nil {
		if list, _ := mail.ParseAuthors(f.Value()); len(list) == 1 {
			a, _ := mail.ParseAddress(list[0].Address, true)
			return a
		}
	}
	return mail.Address{}
}

// print shows a result to a person: the verdict first, then why.
func (r *tryResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.File)
	for _, v := range r.Verdicts {
		where := "no rule decided"
		if v.Rule != "" {
			where = "rule " + v.Rule
			if v.File != "" {
				where += fmt.Sprintf(" (%s:%d)", v.File, v.Line)
			}
		}
		fmt.Fprintf(w, "  %s: %s, %s: %s\n    answer: %d %s %s\n", v.Recipient, v.Do, where, v.Because, v.Answer.Code, v.Answer.Enhanced, v.Answer.Text)
		for _, e := range v.Effects {
			fmt.Fprintf(w, "    effect: %s(%q)\n", e.Name, e.Args)
		}
		printSteps(w, "    ", v.steps)
	}
	fmt.Fprintln(w, "  facts:")
	took := map[string]float64{}
	for _, t := range r.Timings {
		took[t.Name] = t.MS
	}
	names := make([]string, 0, len(r.Facts))
	for name := range r.Facts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := json.Marshal(r.Facts[name])
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(w, "    %s (%.1f ms): %s\n", name, took[name], text)
	}
}

// printSteps shows the walk: each rule looked at and what it said.
func printSteps(w io.Writer, indent string, steps []rules.Step) {
	for _, s := range steps {
		said := s.Result.String()
		if s.Matched {
			said = "matched"
			if s.Score != 0 {
				said += fmt.Sprintf(", score %+g", s.Score)
			}
		}
		if s.Shadow {
			said += " (shadow: without effect)"
		}
		if s.Why != "" {
			said += ": " + s.Why
		}
		fmt.Fprintf(w, "%s%-28s %s\n", indent, s.Rule, said)
		for _, l := range s.Leaves {
			fmt.Fprintf(w, "%s  %-7s %s\n", indent, l.Result, l.Text)
		}
	}
}
