package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"postern/journal"
	"postern/mail"
	"postern/review"
)

// ask searches over the API. Its rows say who, to whom and why; each entry is asked for by itself.
func (c *logSearchCmd) ask(r *remote) (entries []*journal.Entry, next string, err error) {
	query, err := c.query()
	if err != nil {
		return nil, "", err
	}
	q := asked(map[string]string{"query": query, "result": c.Result, "class": c.Class, "rule": c.Rule,
		"recipient": c.Recipient, "sender": c.Sender, "cursor": c.Cursor}, c.Since, c.Limit)
	var page review.Page
	if err := r.call("GET", "/log", q, nil, &page); err != nil {
		return nil, "", err
	}
	for _, row := range page.Rows {
		e, err := r.entry(row.ID)
		if err != nil {
			return nil, "", err
		}
		entries = append(entries, e)
	}
	return entries, page.Next, nil
}

// query puts into words what the API has no parameter for.
func (c *logSearchCmd) query() (string, error) {
	var terms []string
	for _, t := range []struct{ field, how, value string }{{"subject", "contains", c.Subject}, {"client", "==", c.Client}, {"reply", "contains", c.Reply}} {
		if t.value != "" {
			terms = append(terms, fmt.Sprintf("%s %s %q", t.field, t.how, t.value))
		}
	}
	var alone []string
	for _, s := range []string{c.Query, c.Text, c.ID, c.MessageID} {
		if s != "" {
			alone = append(alone, s)
		}
	}
	if len(alone) > 1 || len(alone) == 1 && terms != nil {
		return "", &usageError{"with --server: --query, --text, --id and --message-id stand alone, without --subject, --client and --reply"}
	}
	return strings.Join(append(alone, terms...), " and "), nil
}

// entry asks for one entry of the journal.
func (r *remote) entry(id string) (*journal.Entry, error) {
	var m struct {
		Entry  *journal.Entry `json:"entry"`
		Answer *review.Answer `json:"answer"`
	}
	if err := r.call("GET", "/log/"+url.PathEscape(id), nil, nil, &m); err != nil {
		return nil, err
	}
	if m.Entry == nil {
		return nil, fmt.Errorf("the journal has no entry %s any more", clip(id, 60))
	}
	if a := m.Answer; a != nil {
		m.Entry.Reply = mail.Reply{Code: a.Code, Text: a.Text}
		for i, n := range strings.SplitN(a.Enhanced, ".", 3) {
			m.Entry.Reply.Enhanced[i], _ = strconv.Atoi(n)
		}
	}
	return m.Entry, nil
}
