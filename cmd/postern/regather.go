package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/mail"
)

// maxAgain is the largest message that is gathered again.
const maxAgain = 256 << 20

// regather gives a function that runs filters again on a message that is still in quarantine:
// those whose facts are missing, and those that these read. It gives nil where there is nothing
// to run them on.
func (a *archive) regather(j *judge) func(context.Context, *journal.Record, *journal.RecordOutcome, []string) map[string]any {
	return func(ctx context.Context, rec *journal.Record, o *journal.RecordOutcome, missing []string) map[string]any {
		id := rec.ID
		if held := o.Held.Text(); held != "" {
			id = held
		}
		text, err := a.quarantine.Content(ctx, id)
		if err != nil {
			return nil
		}
		defer text.Close()
		message, err := io.ReadAll(io.LimitReader(text, maxAgain))
		if err != nil {
			return nil
		}
		var in filters.Input
		if json.Unmarshal(rec.Envelope, &in.Envelope) != nil || in.Recipient.UnmarshalText([]byte(o.Recipient.Text())) != nil {
			return nil
		}
		var names []string
		for _, m := range missing {
			name, _, _ := strings.Cut(m, ".")
			names = append(names, name)
		}
		return j.gather(ctx, in, message, names)
	}
}

// gather runs the named filters, and what they read, on a message, and gives the facts of those
// named.
func (j *judge) gather(ctx context.Context, in filters.Input, message []byte, names []string) map[string]any {
	body := mail.BodyOf(message)
	defer body.Close()
	in.Body = body
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	msg := filters.NewScope(nil)
	rcpt := filters.NewScope(msg)
	defer func() {
		cancel()
		rcpt.Join()
		msg.Join()
	}()
	want := closure(names, j.filters)
	msg.Start(ctx, j.choose(func(f filters.Filter) bool { return want[f.Name] && f.Stage != mail.Recipient }), in)
	rcpt.Start(ctx, j.choose(func(f filters.Filter) bool { return want[f.Name] && f.Stage == mail.Recipient }), in)
	out := map[string]any{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if rcpt.Wait(ctx, name) != nil {
			continue
		}
		if facts, _, known := rcpt.Lookup(name); known {
			out[name] = facts
		}
	}
	return out
}
