package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
	"postern/rules"
	"postern/store"

	"github.com/oklog/ulid/v2"
)

// A judge is filters and rules without a gateway around them. It may judge several messages
// at once.
type judge struct {
	policy  *rules.Policy
	filters []filters.Filter
	needs   map[string]bool // nil: all
	refused *mail.Reply     // what the sender would be told at MAIL
	flips   bool            // what would have turned a verdict is looked for
	guess   bool            // the sender is to be taken from the message
	close   func()
}

// tryTime is the longest that one message may take. Each filter has a limit of its own below it.
const tryTime = 2 * time.Minute

func (c *tryCmd) judge(cfg *Config) (*judge, error) {
	data, err := c.knowledge(cfg)
	if err != nil {
		return nil, err
	}
	j, err := newJudge(cfg, c.Zone, data)
	if err != nil {
		if data != nil {
			err = errors.Join(err, data.close())
		}
		return nil, err
	}
	if data != nil {
		end := j.close
		j.close = func() { end(); _ = data.close() }
	}
	if c.Needed {
		j.needs = closure(j.policy.Needs(), j.filters)
	}
	return j, nil
}

// knowledge opens the data folder that is to be asked, as its owner; nil when there is none.
func (c *tryCmd) knowledge(cfg *Config) (data *stores, err error) {
	if c.Data == "" {
		return nil, nil
	}
	if why := noStore(c.Data); why != "" {
		return nil, fmt.Errorf("data folder %s: %s", c.Data, why)
	}
	asked := *cfg
	asked.Data = c.Data
	back, err := store.Lend(c.Data)
	if err != nil {
		return nil, err
	}
	data, err = openStores(context.Background(), &asked, slog.New(slog.DiscardHandler), false)
	return data, errors.Join(err, back())
}

// newJudge makes a judge with the rules and filters of a configuration; zone is a file in place
// of DNS, or "", and data is where lists are looked up, nil for none. Close it.
func newJudge(cfg *Config, zone string, data *stores) (*judge, error) {
	var resolver filters.Resolver
	end := func() {}
	if zone != "" {
		text, err := os.ReadFile(zone)
		if err != nil {
			return nil, err
		}
		if resolver, err = dnsfake.Parse(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", zone, err)
		}
	} else {
		r, err := newResolver(cfg)
		if err != nil {
			return nil, err
		}
		resolver, end = r, func() { _ = r.Close() }
	}
	world := outside{Resolver: resolver}
	if data != nil {
		world = data.asks(resolver)
	}
	fs := filterList(cfg, world)
	policy, err := compile(cfg, fs)
	if err != nil {
		end()
		return nil, err
	}
	return &judge{policy: policy, filters: fs, close: end}, nil
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

// judgeFile judges one message.
func (j *judge) judgeFile(env mail.Envelope, file string) (*tryResult, error) {
	text, err := readMessage(file)
	if err != nil {
		return nil, err
	}
	return j.judgeText(env, file, text)
}

// judgeText judges one message that was read.
func (j *judge) judgeText(env mail.Envelope, file string, text []byte) (*tryResult, error) {
	env.ID = ulid.Make().String()
	body := mail.BodyOf(text)
	defer body.Close()
	if j.guess {
		env.Sender = guessSender(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	msg := filters.NewScope(nil)
	scopes := []*filters.Scope{msg}
	defer func() { // no filter reads the body after its end
		cancel()
		for _, s := range scopes {
			s.Join()
		}
	}()
	msg.Start(ctx, j.choose(func(f filters.Filter) bool { return f.Stage != mail.Recipient && !(f.Lazy && j.needs != nil) }), filters.Input{Envelope: env, Body: body})
	res := &tryResult{File: file}
	for _, to := range env.Recipients {
		rcpt := filters.NewScope(msg)
		scopes = append(scopes, rcpt)
		in := filters.Input{Envelope: env, Recipient: to.Address, Body: body}
		rcpt.Start(ctx, j.choose(func(f filters.Filter) bool { return f.Stage == mail.Recipient }), in)
		v, err := j.decide(ctx, msg, rcpt, in)
		if err != nil {
			return nil, err
		}
		if j.refused != nil {
			v = rules.Verdict{Do: rules.Reject, Class: "malformed", Because: "its sender is refused before the message is sent: " + j.refused.Text, Reply: j.refused, Steps: v.Steps}
		}
		res.add(to.Address, v, env.ID)
	}
	for _, s := range scopes {
		s.Join()
		res.gathered(s.Results())
	}
	if j.flips && j.refused == nil {
		for i, rcpt := range scopes[1:] { // now that all is known
			res.Verdicts[i].Flip = j.policy.Flips(offAware{rcpt, j.filters}, maxFlips)
		}
	}
	res.off(j.filters)
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
