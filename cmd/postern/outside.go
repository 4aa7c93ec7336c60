package main

import (
	"postern/filters"
	"postern/lists"
)

// outside is what filters ask beyond the message: DNS, and what the data folder knows.
type outside struct {
	filters.Resolver
	lists   filters.Lists    // nil: nothing is listed
	history filters.History  // nil: nobody has written before
	greys   filters.Greylist // nil: nobody waits
}

// asks is what the filters of a running gateway ask.
func (s *stores) asks(r filters.Resolver) outside {
	return outside{Resolver: r, lists: listIndex{s.lists}, history: s.journal, greys: s.greys}
}

// listIndex is the lists as filters ask them.
type listIndex struct{ *lists.Store }

func (l listIndex) Empty() bool  { return l.Index().Len() == 0 }
func (l listIndex) Varies() bool { return l.Index().Scoped() }

func (l listIndex) Ask(q *filters.ListsQuestion) (filters.ListsFacts, bool) {
	a := l.Index().Ask(&lists.Question{At: q.At, Client: q.Client, Sender: q.Sender, Recipient: q.Recipient,
		Header: q.Header, Authors: q.Authors, Single: q.Single, ListID: q.ListID,
		Proven: func(kind lists.Kind, domain string) bool {
			if kind == lists.ListID {
				return q.Signed(domain)
			}
			return q.Author()
		}})
	return listsFacts(&a), a.Final
}

// listsFacts is an answer of the lists as rules see it.
func listsFacts(a *lists.Answer) filters.ListsFacts {
	f := filters.ListsFacts{Denied: a.Denied, Allowed: a.Allowed}
	if e := a.Entry; e != nil {
		f.Entry, f.Scope, f.Note = e.Value, e.ScopeWords(), e.Note
		f.Proven = a.Allowed && !e.Unauthenticated
	}
	if e := a.Unproven; e != nil {
		f.Unproven = e.Value
	}
	return f
}
