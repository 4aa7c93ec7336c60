package main

import (
	"cmp"

	"postern/quarantine"
	"postern/review"
)

// ask lists over the API. Its rows have every field of an item.
func (c *heldListCmd) ask(r *remote) (items []*quarantine.Item, next string, err error) {
	q := asked(map[string]string{"query": cmp.Or(c.Query, c.Text), "state": c.State, "class": c.Class, "rule": c.Rule,
		"recipient": c.Recipient, "sender": c.Sender, "cursor": c.Cursor}, c.Since, c.Limit)
	var page struct {
		Rows []*quarantine.Item `json:"rows"`
		Next string             `json:"next"`
	}
	err = r.call("GET", "/held", q, nil, &page)
	return page.Rows, page.Next, err
}

// act does something over the API, as doAs does it here.
func (r *remote) act(act review.Act) (said string, err error) {
	var done review.Done
	if err := r.call("POST", "/acts", nil, act, &done); err != nil {
		return "", err
	}
	return actSaid(&done)
}
