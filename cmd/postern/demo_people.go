package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"postern/mail"
	"postern/people"
)

// demoPeople makes who may look at the demo's mail: an administrator and one of the recipients,
// with a password made up for this run.
func (d *demo) demoPeople(ctx context.Context) (password string, err error) {
	password = strings.ToLower(rand.Text()[:16])
	root := &people.Actor{Person: people.Person{ID: "local", Login: whoami(), Role: people.Admin}, By: people.ByCommand}
	for _, p := range []people.Person{{Login: "demo", Name: "Demo", Role: people.Admin},
		{Login: "ana@example.org", Name: "Ana", Role: people.User, Addresses: []mail.Address{{Local: "ana", Domain: "example.org"}}}} {
		_, err := d.program.people.Add(ctx, root, p, password)
		if errors.Is(err, people.ErrTaken) { // --data of an earlier demo
			var old *people.Person
			if old, err = d.program.people.Get(ctx, root, p.Login); err == nil {
				err = d.program.people.SetPassword(ctx, root, old.ID, "", password)
			}
		}
		if err != nil {
			return "", err
		}
	}
	return password, nil
}
