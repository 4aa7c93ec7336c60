package review

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// List is a page of held mail in the actor's sight, newest first.
func (d *Desk) List(ctx context.Context, who *people.Actor, f Find) (*Page, error) {
	if err := d.may(ctx, who, people.SeeMail, "list", ""); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	f.Limit = store.Page(f.Limit)
	items, next, err := d.pick(ctx, who, f)
	if err != nil {
		return nil, err
	}
	page := &Page{Next: next}
	if page.Rows, err = d.rows(ctx, who, items); err != nil {
		return nil, err
	}
	if page.Total, err = d.count(ctx, who, f); err != nil {
		return nil, err
	}
	if f.Cursor == "" { // they are the same on the pages behind
		page.Chips, err = d.chips(ctx, who, f)
	}
	return page, err
}

// A listed view is one that Find.View may name.
type listedView struct {
	name, label string
	chip        bool // it has one, with its count
	staff       bool // for those who look at mail for others
}

func views() []listedView {
	return []listedView{{"", "Waiting", false, false}, {"mine", "Mine", true, true}, {"unseen", "Not seen", true, false}, {"asked", "Release asked", true, false},
		{"expiring", "Expires within a day", true, false}, {"released", "Released", false, false}, {"spam", "Spam", false, false},
		{"deleted", "Deleted", false, false}, {"all", "All", false, false}}
}

// classes are those of held mail, as chips have them.
func classes() [][2]string {
	return [][2]string{{"spam", "Spam"}, {"spoof", "Spoof"}, {"virus", "Virus"}, {"attachment", "Attachment"},
		{"malformed", "Malformed"}, {"policy", "Policy"}, {"undelivered", "Undelivered"}}
}

// An InputError says what is wrong with what somebody wants. Its words are for who asked.
type InputError struct{ Text string }

func (e *InputError) Error() string { return e.Text }

func (f *Find) check() error {
	if !slices.ContainsFunc(views(), func(v listedView) bool { return v.name == f.View }) {
		return &InputError{fmt.Sprintf("there is no view %q", f.View)}
	}
	if f.State != "" && f.View == "" {
		f.View = "all"
	}
	if f.State == string(quarantine.Any) {
		f.State = ""
	}
	if f.State != "" && !slices.Contains([]quarantine.State{quarantine.Kept, quarantine.Spam, quarantine.Releasing, quarantine.Released, quarantine.Deleted}, quarantine.State(f.State)) {
		return &InputError{fmt.Sprintf("there is no state %q: kept, spam, releasing, released, deleted or any", f.State)}
	}
	if n, err := strconv.ParseInt(f.Cursor, 10, 64); f.Cursor != "" && (err != nil || n <= 0) {
		return &InputError{"that is no cursor: it is what the page before gave as next"}
	}
	for _, s := range []string{f.Query, f.Class, f.Rule, f.Recipient, f.Sender} {
		if len(s) > 2000 {
			return &InputError{"that is too long to look for"}
		}
	}
	return nil
}

const soon = 24 * time.Hour // what expires within it is expiring

// pick gives a page of items, only own copies left in each.
func (d *Desk) pick(ctx context.Context, who *people.Actor, f Find) (items []*quarantine.Item, next string, err error) {
	q, err := d.query(who, f)
	if err != nil {
		return nil, "", err
	}
	list, next, err := d.o.Quarantine.List(ctx, q)
	for _, it := range list {
		if own(who, it) {
			items = append(items, it)
		}
	}
	return items, next, err
}

// count tells how many items a Find picks, as far as it is counted.
func (d *Desk) count(ctx context.Context, who *people.Actor, f Find) (Count, error) {
	q, err := d.query(who, f)
	if err != nil {
		return Count{}, err
	}
	n, err := d.o.Quarantine.CountUpTo(ctx, q, 0, countWithin)
	return Count{n.N, n.More}, err
}

const countWithin = 50 * time.Millisecond

// chips count what would be left by each class, and in the views that wait for somebody.
func (d *Desk) chips(ctx context.Context, who *people.Actor, f Find) ([]Chip, error) {
	q, err := d.query(who, f)
	if err != nil {
		return nil, err
	}
	groups, err := d.o.Quarantine.Counts(ctx, q, "class")
	if err != nil {
		return nil, err
	}
	var out []Chip
	for _, c := range classes() {
		for _, g := range groups {
			if g.Value == c[0] && (g.N > 0 || g.More || f.Class == c[0]) {
				out = append(out, Chip{Name: "class:" + c[0], Label: c[1], On: f.Class == c[0], Count: Count{g.N, g.More}})
			}
		}
	}
	for _, v := range views() {
		if !v.chip || v.staff && !reviews(who) {
			continue
		}
		one := f
		one.View = v.name
		n, err := d.count(ctx, who, one)
		if err != nil {
			return nil, err
		}
		out = append(out, Chip{Name: "view:" + v.name, Label: v.label, On: f.View == v.name, Count: n})
	}
	return out, nil
}
