package main

import (
	"cmp"
	"net/url"
	"strconv"
	"time"

	"postern/quarantine"
	"postern/review"
)

// ask lists over the API. Its rows have every field of an item.
func (c *heldListCmd) ask(r *remote) (items []*quarantine.Item, next string, err error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("query", cmp.Or(c.Query, c.Text))
	set("state", c.State)
	set("class", c.Class)
	set("rule", c.Rule)
	set("recipient", c.Recipient)
	set("sender", c.Sender)
	set("cursor", c.Cursor)
	if c.Since > 0 {
		q.Set("since", time.Now().Add(-time.Duration(c.Since)).UTC().Format(time.RFC3339))
	}
	if c.Limit > 0 {
		q.Set("limit", strconv.Itoa(c.Limit))
	}
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
