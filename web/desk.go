// Package web is the window: pages for people, the API for programs, and signing in. It shows
// what the Desk gives and passes on what is wanted; who may see and do what is asked there.
package web

import (
	"context"
	"io"

	"postern/audit"
	"postern/lists"
	"postern/people"
	"postern/review"
)

// A Desk is what pages and API need of package review. Every method asks what the actor may, and
// notes acts in the log of acts.
type Desk interface {
	List(ctx context.Context, who *people.Actor, f review.Find) (*review.Page, error)
	Track(ctx context.Context, who *people.Actor, f review.Find) (*review.Page, error) // every message, from the journal
	Message(ctx context.Context, who *people.Actor, id string) (*review.Message, error)
	Content(ctx context.Context, who *people.Actor, id string, why string) (io.ReadCloser, error) // the bytes as received; why: page text html headers raw download

	Summary(ctx context.Context, who *people.Actor, a review.Act) (*review.Summary, error)
	Do(ctx context.Context, who *people.Actor, a review.Act) (*review.Done, error)
	Undo(ctx context.Context, who *people.Actor, id string) error
	WouldAllow(ctx context.Context, who *people.Actor, id string, a review.Allow) (*review.Effect, error)

	Entries(ctx context.Context, who *people.Actor, text string, expired bool) ([]*lists.Entry, error) // of the lists
	AddEntries(ctx context.Context, who *people.Actor, list []review.NewEntry) ([]*lists.Entry, error)
	RemoveEntries(ctx context.Context, who *people.Actor, names []review.EntryName) ([]*lists.Entry, error)

	Requests(ctx context.Context, who *people.Actor, state string, cursor string, limit int) (*review.Page, error)
	Views(ctx context.Context, who *people.Actor) ([]review.View, error)
	SaveView(ctx context.Context, who *people.Actor, v review.View) error
	DropView(ctx context.Context, who *people.Actor, name string) error

	Overview(ctx context.Context, who *people.Actor, days int) (*review.Overview, error)
	Rulebook(ctx context.Context, who *people.Actor) (*review.Rulebook, error)
	RuleHistory(ctx context.Context, who *people.Actor) ([]review.RuleVersion, error)
	RuleVersion(ctx context.Context, who *people.Actor, n int64) ([]review.RuleFile, error)
	DraftRule(ctx context.Context, who *people.Actor, id string) (*review.Draft, error)               // from a message
	TryRules(ctx context.Context, who *people.Actor, d review.Draft, days int) (*review.Trial, error) // days 0: no replay
	ApplyRules(ctx context.Context, who *people.Actor, d review.Draft) (*review.Trial, int64, error)
	RollBack(ctx context.Context, who *people.Actor, n int64, note string) (int64, error)
	PinTest(ctx context.Context, who *people.Actor, id, name string) (string, error) // the test as it was written

	Refuse(ctx context.Context, who *people.Actor, act, object string) error // notes what was not even asked for here, and is review.ErrForbidden
	Audit(ctx context.Context, who *people.Actor, before int64, limit int) ([]audit.Line, error)
	Arrivals(ctx context.Context, who *people.Actor) (<-chan review.Row, error) // newly held mail, until ctx ends; what comes too fast is left out
}
