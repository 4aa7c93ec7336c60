package review

import (
	"context"

	"postern/lists"
	"postern/mail"
)

// A Sight tells whether mail to a recipient may be looked at; nil: all mail.
type Sight func(to mail.Address) bool

// A RuleRoom is the rules of the running gateway, and what they say of past mail. It asks nobody
// what they may: the Desk does, and says whose mail may be looked at. In what it gives, rows have
// an id and nothing else. What cannot be done for a reason that people should know is an InputError.
type RuleRoom interface {
	// Explain tells why copies of a message in sight have their verdicts, the first 50 of them; those
	// that no rule was asked about are left out. journal.ErrNotFound when there is no such message.
	Explain(ctx context.Context, id string, in Sight) ([]Explained, error)

	// Rulebook is the rules in force, with what they did in the last days to mail for these
	// domains; nil: to all mail.
	Rulebook(ctx context.Context, days int, domains []string) (*Rulebook, error)
	History(ctx context.Context) ([]RuleVersion, error)             // newest first
	Version(ctx context.Context, n int64) ([]RuleFile, error)       // ErrNotFound
	Draft(ctx context.Context, id string, in Sight) (*Draft, error) // a rule made of a message
	Try(ctx context.Context, d *Draft, days int, in Sight) (*Trial, error)
	Apply(ctx context.Context, d *Draft, who string) (*Trial, int64, error) // 0: it was not applied, and Trial says why
	RollBack(ctx context.Context, n int64, note, who string) (int64, error)
	Pin(ctx context.Context, id, name, who string, in Sight) (test string, err error)

	// WouldAllow tells what an entry of the lists would have let in. spam tells of which messages
	// people said that they are spam; nil: nobody knows.
	WouldAllow(ctx context.Context, e *lists.Entry, days int, in Sight, spam func(id string) bool) (*Effect, error)

	// Overview gives the numbers of the last days over mail for these domains; nil: over all
	// mail. What the Desk itself knows (requests, what was called spam) is left open.
	Overview(ctx context.Context, days int, domains []string) (*Overview, error)
}
