package web

import (
	"context"
	"time"

	"postern/lists"
	"postern/people"
	"postern/review"
)

func (d *fakeDesk) Entries(context.Context, *people.Actor, string, bool) ([]*lists.Entry, error) {
	return []*lists.Entry{
		{Kind: lists.Address, Value: "ann@partner.example", Allow: true, Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Note: "new project", By: "olga"},
		{Kind: lists.Network, Value: "192.0.2.0/24", Scope: "@example.org", By: "root"},
	}, nil
}

func (d *fakeDesk) AddEntries(_ context.Context, who *people.Actor, list []review.NewEntry) (made []*lists.Entry, err error) {
	for _, n := range list {
		e, err := lists.ParseEntry(n.Entry)
		if err != nil {
			return nil, &review.InputError{Text: err.Error()}
		}
		e.Allow, e.Scope, e.Note, e.By = n.Action == "allow", n.For, n.Note, who.Login
		made = append(made, &e)
	}
	return made, nil
}

func (d *fakeDesk) RemoveEntries(_ context.Context, _ *people.Actor, names []review.EntryName) ([]*lists.Entry, error) {
	return make([]*lists.Entry, len(names)), nil
}
