package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/people"
	"postern/store"
)

const (
	mostViews = 50 // of one person
	mostName  = 60 // characters of a name
)

// siteViews are those that everybody has.
func siteViews() []View {
	var out []View
	for _, name := range []string{"mine", "unseen", "asked", "expiring", "released"} {
		out = append(out, View{Name: name, Find: Find{View: name}, Site: true})
	}
	return out
}

// Views are those of the site and the actor's own, by name.
func (d *Desk) Views(ctx context.Context, who *people.Actor) ([]View, error) {
	if err := d.may(ctx, who, people.SeeMail, "views", ""); err != nil {
		return nil, err
	}
	out := siteViews()
	if !reviews(who) {
		out = slices.DeleteFunc(out, func(v View) bool { return v.Name == "mine" })
	}
	err := d.each(ctx, "SELECT name, find FROM review_views WHERE person = ? ORDER BY name", []any{owner(who)}, func(rows *sql.Rows) error {
		var v View
		err := rows.Scan(&v.Name, jsonColumn{&v.Find})
		out = append(out, v)
		return err
	})
	return out, err
}

// owner is whose views they are: those of a person, also one without an id (on the command line).
func owner(who *people.Actor) string {
	if who.ID != "" {
		return who.ID
	}
	return "login " + who.Login
}

// SaveView keeps a Find under a name, in place of one of that name.
func (d *Desk) SaveView(ctx context.Context, who *people.Actor, v View) error {
	if err := d.may(ctx, who, people.SeeMail, "save-view", v.Name); err != nil {
		return err
	}
	v.Name = strings.TrimSpace(v.Name)
	switch {
	case v.Name == "" || utf8.RuneCountInString(v.Name) > mostName || !utf8.ValidString(v.Name) || strings.ContainsFunc(v.Name, unicode.IsControl):
		return &InputError{fmt.Sprintf("a view has a name of 1 to %d characters", mostName)}
	case slices.ContainsFunc(siteViews(), func(s View) bool { return s.Name == strings.ToLower(v.Name) }):
		return &InputError{fmt.Sprintf("%s is a view of the site: take another name", v.Name)}
	}
	if err := v.Find.check(); err != nil {
		return err
	}
	v.Find.Cursor = ""
	line := d.line(who, "save-view", v.Name, lineDone)
	line.After = jsonOf(v.Find)
	return d.noteWith(ctx, line, func(tx *store.Tx) error {
		var n int
		if err := tx.Get("SELECT count(*) FROM review_views WHERE person = ? AND name <> ?", []any{owner(who), v.Name}, &n); err != nil {
			return err
		}
		if n >= mostViews {
			return &InputError{fmt.Sprintf("there are %d views already: drop one first", n)}
		}
		_, err := tx.Exec("INSERT INTO review_views VALUES (?, ?, ?) ON CONFLICT (person, name) DO UPDATE SET find = excluded.find", owner(who), v.Name, string(jsonOf(v.Find)))
		return err
	})
}

// DropView forgets a view of the actor's own.
func (d *Desk) DropView(ctx context.Context, who *people.Actor, name string) error {
	if err := d.may(ctx, who, people.SeeMail, "drop-view", name); err != nil {
		return err
	}
	err := d.noteWith(ctx, d.line(who, "drop-view", name, lineDone), func(tx *store.Tx) error {
		n, err := tx.Exec("DELETE FROM review_views WHERE person = ? AND name = ?", owner(who), name)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return d.refuse(ctx, who, "drop-view", name, ErrNotFound)
	}
	return err
}
