package review

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"postern/journal"
	"postern/people"
)

// timeline is the message's way from connect to the last act of a person.
func (d *Desk) timeline(ctx context.Context, who *people.Actor, m *Message) ([]Event, error) {
	var out []Event
	if m.Entry != nil {
		out = way(m.Entry)
	} else {
		out = []Event{{At: m.Received, Kind: "session", What: "received"}}
	}
	acts, err := d.acts(ctx, who, m)
	if err != nil {
		return nil, err
	}
	out = append(out, acts...)
	slices.SortStableFunc(out, func(a, b Event) int { return a.At.Compare(b.At) })
	return out, nil
}

// way is what the gateway did.
func way(e *journal.Entry) []Event {
	c := e.Envelope.Client
	out := []Event{{At: e.Received, Kind: "session", What: fmt.Sprintf("mail from <%s>", e.Envelope.Sender), Who: c.Addr.String(),
		Why: fmt.Sprintf("said EHLO %s, %s", cmp.Or(c.Helo, "nothing"), cmp.Or(c.TLS, "in clear"))}}
	for _, r := range e.Envelope.Recipients {
		out = append(out, Event{At: e.Received, Kind: "session", What: fmt.Sprintf("for <%s>", r.Address)})
	}
	for _, f := range e.Filters {
		if f.State != journal.NotNeeded {
			out = append(out, Event{At: e.Received.Add(f.Began), Took: f.Took, Kind: "filter", What: f.Name, Why: join(f.State, f.Error)})
		}
	}
	decided := e.Received.Add(e.Took)
	for _, s := range e.Steps {
		at := e.Received.Add(s.At)
		switch s.What {
		case "started":
		case "decided":
			decided = at
		case "relay", "ambiguous", "held", "archive":
			out = append(out, Event{At: at, Kind: "delivery", What: s.What, Why: s.Why})
		default:
			out = append(out, Event{At: at, Kind: "session", What: s.What, Why: s.Why})
		}
	}
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		out = append(out, Event{At: decided, Kind: "verdict", What: fmt.Sprintf("%s for <%s>", cmp.Or(o.Verdict, o.Do), o.Recipient), Why: join(o.Rule, o.Because)})
		said := cmp.Or(o.Upstream, o.Reply)
		out = append(out, Event{At: e.Received.Add(e.Took), Kind: "delivery", Why: said, What: fmt.Sprintf("%s <%s>",
			cmp.Or(map[string]string{"deliver": "delivered to", "quarantine": "held for", "reject": "refused for", "defer": "deferred for", "discard": "discarded for"}[o.Do], o.Do), o.Recipient)})
	}
	return out
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
