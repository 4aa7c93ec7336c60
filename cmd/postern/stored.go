package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/rules"
)

// A factReader turns what the journal keeps of facts into facts for rules. Of each filter it
// decodes only those that are asked for; the others stay zero. It may be used by several
// goroutines.
type factReader struct {
	plans map[string]*factPlan
}

// A factPlan says how to decode the facts of one filter.
type factPlan struct {
	name      string
	kind      reflect.Type
	fields    map[string]int  // of those asked for, by their name in JSON
	always    int             // how many of them are always written
	failed    int             // the field with the error; -1: none
	gone      map[string]bool // facts that the journal does not keep
	restored  bool            // one of those asked for is made of another
	said      bool            // the envelope tells them
	recipient bool            // each recipient has its own
	number    int
}

// newFactReader makes a reader of the facts that want lists by filter; nil: of all.
func newFactReader(fs []filters.Filter, want map[string][]string) *factReader {
	r := &factReader{plans: map[string]*factPlan{}}
	stages := map[string]filters.Filter{}
	for _, f := range fs {
		stages[f.Name] = f
	}
	vocabulary := filters.Vocabulary()
	for i, name := range slices.Sorted(maps.Keys(vocabulary)) {
		zero := vocabulary[name]
		p := &factPlan{name: name, kind: reflect.TypeOf(zero), fields: map[string]int{}, failed: -1, gone: abridgedFacts(zero),
			recipient: stages[name].Stage == mail.Recipient, number: i}
		asked := p.asked(zero, want)
		_, p.said = filters.Retell(name, &mail.Envelope{}, mail.Address{}, 0)
		for j := range p.kind.NumField() {
			f := p.kind.Field(j)
			inJSON, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			fact := f.Tag.Get("expr")
			if fact == "error" {
				p.failed = j
			}
			if fact == "error" || asked == nil || slices.Contains(asked, fact) {
				p.fields[inJSON] = j
				if !strings.Contains(option, "omit") {
					p.always++
				}
			}
		}
		r.plans[name] = p
	}
	return r
}

// restorable are facts of which some are made of others, and need not be kept.
type restorable interface{ Restored() map[string]string }

// asked lists the facts to be decoded: those wanted, and those that they are made of; nil: all.
func (p *factPlan) asked(zero any, want map[string][]string) []string {
	r, ok := zero.(restorable)
	if want == nil {
		p.restored = ok
		return nil
	}
	asked := append([]string{}, want[p.name]...)
	if !ok {
		return asked
	}
	for fact, source := range r.Restored() {
		if slices.Contains(asked, fact) {
			p.restored, asked = true, append(asked, source)
		}
	}
	return asked
}

// abridgedFacts lists the facts that Abridged leaves out: texts of which it makes nothing.
func abridgedFacts(zero any) map[string]bool {
	_, ok := zero.(interface{ Abridged() any })
	if !ok {
		return nil
	}
	full := reflect.New(reflect.TypeOf(zero)).Elem()
	for i := range full.NumField() {
		if f := full.Field(i); f.Kind() == reflect.String {
			f.SetString("x")
		}
	}
	brief := reflect.ValueOf(full.Interface().(interface{ Abridged() any }).Abridged())
	gone := map[string]bool{}
	for i := range full.NumField() {
		if !full.Field(i).IsZero() && brief.Field(i).IsZero() {
			gone[full.Type().Field(i).Tag.Get("expr")] = true
		}
	}
	return gone
}

// decode reads the facts of a filter into f.
func (p *factPlan) decode(text journal.Raw, f *storedFact) error {
	v := reflect.New(p.kind).Elem()
	found := 0
	for name, raw := range text.Members() {
		i, ok := p.fields[string(name)]
		if !ok {
			continue
		}
		if err := setFact(v.Field(i), raw); err != nil {
			return fmt.Errorf("%s.%s: %w", p.name, name, err)
		}
		found++
	}
	if p.restored {
		v.Addr().Interface().(interface{ Restore() }).Restore()
	}
	if p.failed >= 0 {
		if why := v.Field(p.failed).String(); why != "" {
			f.err = errors.New(why)
		}
	}
	if f.value, f.known = v.Interface(), true; found < p.always {
		f.lacks = p.absent(text)
	}
	return nil
}

// absent lists the facts that are always written and are not in text: an earlier version of
// Postern did not know them.
func (p *factPlan) absent(text journal.Raw) (out []string) {
	there := map[string]bool{}
	for name := range text.Members() {
		there[string(name)] = true
	}
	for name, i := range p.fields {
		if f := p.kind.Field(i); !there[name] && !strings.Contains(f.Tag.Get("json"), ",omit") {
			out = append(out, f.Tag.Get("expr"))
		}
	}
	return out
}

func setFact(v reflect.Value, raw journal.Raw) error {
	switch {
	case v.Kind() == reflect.String && raw[0] == '"':
		v.SetString(raw.Text())
		return nil
	case v.Kind() == reflect.Bool:
		v.SetBool(raw[0] == 't')
		return nil
	case v.CanInt() && len(raw) < 18:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		v.SetInt(n)
		return err
	}
	return json.Unmarshal(raw, v.Addr().Interface())
}

// storedFacts are the facts of one entry for one of its recipients. They serve one goroutine and
// one entry after the other.
type storedFacts struct {
	r       *factReader
	rec     *journal.Record
	rcpt    mail.Address
	found   []journal.Raw // what the entry has of each filter, by number
	indexed bool
	own     journal.Raw    // facts of this recipient alone
	again   map[string]any // facts that were gathered again
	said    []storedFact   // what filters said, by number
	early   bool           // the message never came, or not all of it
	memory  rules.Memory
	damaged error // facts that could not be decoded
}

type storedFact struct {
	asked, known bool
	value        any
	err          error
	lacks        []string // facts that were not there
}

func newStoredFacts(r *factReader) *storedFacts {
	return &storedFacts{r: r, said: make([]storedFact, len(r.plans)), found: make([]journal.Raw, len(r.plans))}
}

// entry takes up an entry.
func (s *storedFacts) entry(rec *journal.Record) {
	s.rec, s.again, s.memory, s.damaged = rec, nil, rules.Memory{}, nil
	s.early = len(rec.Size) == 0 || rec.Size[0] == '0' || rec.Result.Text() == "abandoned"
	clear(s.said)
	s.indexed = false
}

// recipient takes up one of its recipients.
func (s *storedFacts) recipient(o *journal.RecordOutcome) error {
	s.own = o.Facts
	for _, p := range s.r.plans {
		if p.recipient {
			s.said[p.number] = storedFact{}
			delete(s.again, p.name)
		}
	}
	return s.rcpt.UnmarshalText([]byte(o.Recipient.Text()))
}

// Lookup gives facts as they were. What nobody gathered is not known.
func (s *storedFacts) Lookup(name string) (any, error, bool) {
	p := s.r.plans[name]
	if p == nil {
		return nil, filters.ErrOff, true
	}
	if v, ok := s.again[name]; ok {
		return v, failure(v), true
	}
	f := s.stored(p)
	return f.value, f.err, f.known
}

// stored reads the facts of a filter once: for the message, or for the recipient.
func (s *storedFacts) stored(p *factPlan) *storedFact {
	f := &s.said[p.number]
	if f.asked {
		return f
	}
	f.asked = true
	if p.said {
		f.value, f.err, f.known = s.retell(p)
		return f
	}
	var text journal.Raw
	if p.recipient { // or found out once for all, when nothing tells recipients apart
		text = member(s.own, p.name)
	}
	if text == nil {
		text = s.messages(p)
	}
	if text != nil {
		if err := p.decode(text, f); err != nil {
			s.damaged = err
			*f = storedFact{asked: true}
		}
	}
	return f
}

// messages finds what the entry has of a filter for the message.
func (s *storedFacts) messages(p *factPlan) journal.Raw {
	if !s.indexed {
		s.indexed = true
		clear(s.found)
		for name, raw := range s.rec.Facts.Members() {
			if p := s.r.plans[string(name)]; p != nil {
				s.found[p.number] = raw
			}
		}
	}
	return s.found[p.number]
}

func member(facts journal.Raw, name string) journal.Raw {
	for n, raw := range facts.Members() {
		if string(n) == name {
			return raw
		}
	}
	return nil
}

// retell gives the facts that only repeat the envelope.
func (s *storedFacts) retell(p *factPlan) (any, error, bool) {
	var env mail.Envelope
	for name, raw := range s.rec.Envelope.Members() {
		var err error
		switch string(name) {
		case "id":
			env.ID = raw.Text()
		case "received":
			env.Received, err = time.Parse(time.RFC3339Nano, raw.Text())
		case "client":
			if p.name == "client" {
				err = readClient(raw, &env.Client)
			}
		case "sender":
			if p.name == "sender" {
				err = env.Sender.UnmarshalText([]byte(raw.Text()))
			}
		case "recipients":
			for range raw.Items() {
				env.Recipients = append(env.Recipients, mail.RcptTo{})
			}
		}
		if err != nil {
			s.damaged = fmt.Errorf("envelope: %s: %w", name, err)
			return nil, nil, false
		}
	}
	size, _ := strconv.ParseInt(string(s.rec.Size), 10, 64)
	facts, ok := filters.Retell(p.name, &env, s.rcpt, size)
	return facts, nil, ok
}

// readClient decodes a client, several times as fast as encoding/json would.
func readClient(text journal.Raw, c *mail.Client) (err error) {
	for name, raw := range text.Members() {
		switch string(name) {
		case "addr":
			if a := raw.Text(); a != "" {
				c.Addr, err = netip.ParseAddr(a)
			}
		case "helo":
			c.Helo = raw.Text()
		case "esmtp":
			c.ESMTP = raw[0] == 't'
		case "tls":
			c.TLS = raw.Text()
		case "trusted":
			c.Trusted = raw[0] == 't'
		}
	}
	return err
}

// Partial reports that the journal does not keep every fact.
func (s *storedFacts) Partial() bool { return true }

// Lacks tells which ones.
func (s *storedFacts) Lacks(filter, fact string) bool {
	if _, ok := s.again[filter]; ok {
		return false
	}
	if filter == "message" {
		return s.early && !filters.KnownAtOnce(fact)
	}
	p := s.r.plans[filter]
	return p != nil && (p.gone[fact] || slices.Contains(s.stored(p).lacks, fact))
}

// failure is the error that facts tell of, as the scope that gathered them had it.
func failure(facts any) error {
	if f := reflect.ValueOf(facts).FieldByName("Error"); f.IsValid() && f.String() != "" {
		return errors.New(f.String())
	}
	return nil
}

// sharedFacts are storedFacts of an entry with several recipients.
type sharedFacts struct{ *storedFacts }

// Memory is the same for all recipients of the entry.
func (s sharedFacts) Memory() *rules.Memory { return &s.memory }

// Own reports whether each recipient has its own facts of the filter.
func (s sharedFacts) Own(name string) bool { p := s.r.plans[name]; return p != nil && p.recipient }
