package filters

import (
	"context"
	"time"

	"postern/mail"
)

// HistoryFacts tell whether the envelope sender has written to this recipient before.
type HistoryFacts struct {
	Error string    `expr:"error" json:"error,omitempty" doc:"Why the journal could not be asked."`
	Known bool      `expr:"known" json:"known" doc:"A message from this envelope sender was delivered to this recipient before, and it was proven then: by SPF, or by DMARC for the sender's domain." example:"not history.known"`
	Count int       `expr:"count" json:"count" doc:"How many such messages, at most 100, among the last 2,000 of the sender, as far back as the journal is kept." example:"history.count < 3"`
	First time.Time `expr:"first" json:"first,omitzero" doc:"When the oldest of those came; the year 1 when there is none."`
	Last  time.Time `expr:"last" json:"last,omitzero" doc:"When the newest of those came; the year 1 when there is none." example:"history.last > date(\"2026-12-01\")"`
}

// History is what is known of mail that came before.
type History interface {
	// Delivered counts messages from one address to another, delivered before a moment, in which
	// it was proven who sent them.
	Delivered(ctx context.Context, from, to mail.Address, before time.Time) (count int, first, last time.Time, err error)
}

// historyTimeout bounds one look into the journal.
const historyTimeout = 5 * time.Second

// history asks the journal, when a rule needs it.
func history(h History) Filter {
	return Filter{Name: "history", Cost: Database, Doc: "Has this sender written to this recipient before?",
		Stage: mail.Recipient, Lazy: true, Facts: HistoryFacts{}, OnFail: Unknown, Timeout: historyTimeout,
		Gather: func(ctx context.Context, in *Input) (any, error) {
			if h == nil {
				return HistoryFacts{}, nil
			}
			n, first, last, err := h.Delivered(ctx, in.Sender, in.Recipient, in.Received)
			return HistoryFacts{Known: n > 0, Count: n, First: first, Last: last}, err
		}}
}
