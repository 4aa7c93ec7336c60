package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	items, next, err := d.pick(ctx, who, f, lookMost)
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
	page.Chips, err = d.chips(ctx, who, f)
	return page, err
}

// views are what Find.View may be, as chips have them.
func views() [][2]string {
	return [][2]string{{"", "Waiting"}, {"mine", "Mine"}, {"unseen", "Not seen"}, {"asked", "Release asked"},
		{"expiring", "Expires within a day"}, {"released", "Released"}, {"spam", "Spam"}, {"deleted", "Deleted"}, {"all", "All"}}
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
	if !slices.ContainsFunc(views(), func(v [2]string) bool { return v[0] == f.View }) {
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
	for _, s := range []string{f.Query, f.Class, f.Rule, f.Recipient, f.Sender, f.Cursor} {
		if len(s) > 2000 {
			return &InputError{"that is too long to look for"}
		}
	}
	return nil
}

const (
	lookMost  = 20_000 // items that one page looks at
	countMost = 5_000  // items that are counted
	soon      = 24 * time.Hour
)

// pick gives a page of items, only own copies left in each.
func (d *Desk) pick(ctx context.Context, who *people.Actor, f Find, most int) (items []*quarantine.Item, next string, err error) {
	q := f.held(whole(who))
	fits, err := d.fits(ctx, who, f)
	if err != nil {
		return nil, "", err
	}
	for looked := 0; looked < most; {
		list, more, err := d.o.Quarantine.List(ctx, q)
		if err != nil {
			return nil, "", err
		}
		for _, it := range list {
			at := quarantine.CursorAfter(it)
			if !own(who, it) || !fits(it) {
				continue
			}
			if items = append(items, it); f.Limit > 0 && len(items) == f.Limit {
				if more == "" && it == list[len(list)-1] {
					at = ""
				}
				return items, at, nil
			}
		}
		looked += len(list)
		if q.Cursor = more; more == "" {
			return items, "", nil
		}
	}
	return items, q.Cursor, nil
}

// held is the part of a Find that the quarantine looks for itself. What tells of copies is left
// to fits when the actor does not see all of them.
func (f *Find) held(all bool) quarantine.Query {
	q := quarantine.Query{Sender: f.Sender, Since: f.Since, Until: f.Until, Cursor: f.Cursor, Limit: 500, State: quarantine.Any}
	if all {
		q.Class, q.Rule, q.Recipient, q.Text = f.Class, f.Rule, f.Recipient, f.Query
		switch f.View {
		case "released", "deleted", "spam":
			q.State = quarantine.State(f.View)
		case "all":
		default:
			q.State = ""
		}
	}
	return q
}

// fits gives what tells whether an item with the actor's own copies belongs to a Find.
func (d *Desk) fits(ctx context.Context, who *people.Actor, f Find) (func(*quarantine.Item) bool, error) {
	var marked map[string]bool
	var err error
	switch f.View {
	case "mine", "unseen", "asked":
		if marked, err = d.marked(ctx, who, f.View); err != nil {
			return nil, err
		}
	}
	words := strings.Fields(strings.ToLower(f.Query))
	return func(it *quarantine.Item) bool {
		switch f.View {
		case "all":
		case "released", "deleted", "spam":
			if string(it.State) != f.View {
				return false
			}
		default:
			if it.State != quarantine.Kept && it.State != quarantine.Releasing {
				return false
			}
		}
		switch f.View {
		case "mine", "asked":
			if !marked[it.ID] {
				return false
			}
		case "unseen":
			if marked[it.ID] {
				return false
			}
		case "expiring":
			if it.Expires.After(d.now().Add(soon)) {
				return false
			}
		}
		return (f.State == "" || string(it.State) == f.State) && f.copy(it) && hasWords(it, words)
	}, nil
}

// copy reports whether a copy has class, rule and recipient of the Find.
func (f *Find) copy(it *quarantine.Item) bool {
	has := func(fits func(c *quarantine.Copy) bool) bool {
		return slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return fits(&c) })
	}
	return (f.Class == "" || has(func(c *quarantine.Copy) bool { return c.Class == f.Class })) &&
		(f.Rule == "" || has(func(c *quarantine.Copy) bool { return c.Rule == f.Rule })) &&
		(f.Recipient == "" || has(func(c *quarantine.Copy) bool {
			return addressed(lower(c.Recipient.Address), strings.ToLower(f.Recipient))
		}))
}

func addressed(address, want string) bool {
	switch {
	case strings.HasPrefix(want, "@"):
		return strings.HasSuffix(address, want)
	case strings.Contains(want, "@"):
		return address == want
	}
	return strings.Contains(address, want)
}

func hasWords(it *quarantine.Item, words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := []string{it.Subject, it.From, it.Envelope.Sender.String()}
	for i := range it.Copies {
		text = append(text, it.Copies[i].Recipient.Address.String(), it.Copies[i].Because)
	}
	all := strings.ToLower(strings.Join(text, "\n"))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(all, w) })
}

// count tells how many items a Find picks.
func (d *Desk) count(ctx context.Context, who *people.Actor, f Find) (Count, error) {
	f.Cursor, f.Limit = "", countMost
	items, next, err := d.pick(ctx, who, f, lookMost)
	return Count{N: len(items), More: next != ""}, err
}

// chips count what would be left by each class.
func (d *Desk) chips(ctx context.Context, who *people.Actor, f Find) ([]Chip, error) {
	on := f.Class
	f.Class, f.Cursor, f.Limit = "", "", countMost
	items, next, err := d.pick(ctx, who, f, lookMost)
	if err != nil {
		return nil, err
	}
	n := map[string]int{}
	for _, it := range items {
		for class := range classesOf(it) {
			n[class]++
		}
	}
	var out []Chip
	for _, c := range classes() {
		if n[c[0]] > 0 || on == c[0] {
			out = append(out, Chip{Name: "class:" + c[0], Label: c[1], On: on == c[0], Count: Count{n[c[0]], next != ""}})
		}
	}
	return out, nil
}

func classesOf(it *quarantine.Item) map[string]bool {
	out := map[string]bool{}
	for i := range it.Copies {
		out[it.Copies[i].Class] = true
	}
	return out
}
