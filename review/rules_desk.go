package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/journal"
	"postern/mail"
	"postern/people"
)

// rulesOf is the rules, when there are some and the actor may.
func (d *Desk) rulesOf(ctx context.Context, who *people.Actor, p people.Permission, act, object string) (RuleRoom, error) {
	if err := d.may(ctx, who, p, act, object); err != nil {
		return nil, err
	}
	if d.o.Rules == nil {
		return nil, &InputError{"no gateway runs here, so there are no rules to be seen"}
	}
	return d.o.Rules, nil
}

// sightOf is whose mail the actor sees.
func sightOf(who *people.Actor) Sight {
	if whole(who) {
		return nil
	}
	return func(to mail.Address) bool { return who.Sees(to) }
}

// domainsOf are the domains of recipients that the actor sees; nil: all.
func domainsOf(who *people.Actor) []string {
	only, all := who.Sight()
	if all {
		return nil
	}
	out := []string{}
	for _, s := range only {
		if domain, ok := strings.CutPrefix(s, "@"); ok {
			out = append(out, domain)
		}
	}
	return out
}

// Rulebook is the rules in force, and what they did to mail in the actor's sight in 30 days.
func (d *Desk) Rulebook(ctx context.Context, who *people.Actor) (*Rulebook, error) {
	r, err := d.rulesOf(ctx, who, people.ReadRules, "rules", "")
	if err != nil {
		return nil, err
	}
	return r.Rulebook(ctx, usualDays, domainsOf(who))
}

// usualDays is how far back numbers and allowances look.
const usualDays = 30

// RuleHistory lists the sets of rules that were in force, newest first.
func (d *Desk) RuleHistory(ctx context.Context, who *people.Actor) ([]RuleVersion, error) {
	r, err := d.rulesOf(ctx, who, people.ReadRules, "rules", "")
	if err != nil {
		return nil, err
	}
	return r.History(ctx)
}

// RuleVersion gives the files of one of them.
func (d *Desk) RuleVersion(ctx context.Context, who *people.Actor, n int64) ([]RuleFile, error) {
	r, err := d.rulesOf(ctx, who, people.ReadRules, "rules", fmt.Sprint(n))
	if err != nil {
		return nil, err
	}
	return r.Version(ctx, n)
}

// DraftRule makes a rule of a message in the actor's sight. It is in force nowhere.
func (d *Desk) DraftRule(ctx context.Context, who *people.Actor, id string) (*Draft, error) {
	r, err := d.rulesOf(ctx, who, people.DraftRules, "draft-rule", id)
	if err != nil {
		return nil, err
	}
	draft, err := r.Draft(ctx, id, sightOf(who))
	if errors.Is(err, ErrNotFound) {
		err = d.refuse(ctx, who, "draft-rule", id, ErrNotFound)
	}
	return draft, err
}

// TryRules tells what a draft would do: with OnlyErrors in place of days only what is wrong with
// it, with 0 also what its tests say, else also what would have become of past mail in the
// actor's sight. Nothing is changed.
func (d *Desk) TryRules(ctx context.Context, who *people.Actor, draft Draft, days int) (*Trial, error) {
	r, err := d.rulesOf(ctx, who, people.DraftRules, "try-rules", "")
	if err != nil {
		return nil, err
	}
	t, err := r.Try(ctx, &draft, days, sightOf(who))
	if err != nil || t.Replay == nil {
		return t, err
	}
	for i := range t.Replay.Changes {
		if err := d.fill(ctx, who, &t.Replay.Changes[i].Rows); err != nil {
			return nil, err
		}
	}
	for i := range t.Replay.Matches {
		if err := d.fill(ctx, who, &t.Replay.Matches[i].Rows); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// fill makes rows of those that have an id alone; what is gone or out of sight is left out.
func (d *Desk) fill(ctx context.Context, who *people.Actor, rows *[]Row) error {
	out := []Row{}
	for _, r := range *rows {
		e, err := d.o.Journal.Get(ctx, r.ID)
		switch {
		case errors.Is(err, journal.ErrNotFound):
		case err != nil:
			return err
		case ownEntry(who, e):
			out = append(out, trackRow(e))
		}
	}
	*rows = out
	return nil
}

// ApplyRules puts a draft in force. The number is that in the history; 0: it was not applied, and
// the trial tells why.
func (d *Desk) ApplyRules(ctx context.Context, who *people.Actor, draft Draft) (*Trial, int64, error) {
	r, err := d.rulesOf(ctx, who, people.ApplyRules, "apply-rules", "")
	if err != nil {
		return nil, 0, err
	}
	if len(draft.Note) > mostReason {
		return nil, 0, &InputError{fmt.Sprintf("a note has at most %d bytes", mostReason)}
	}
	t, n, err := r.Apply(ctx, &draft, who.Login)
	line := d.line(who, "apply-rules", fmt.Sprint(n), lineDone)
	line.Note, line.Before = draft.Note, jsonOf(map[string]string{"version": draft.Base})
	files := []string{}
	for _, f := range draft.Files {
		files = append(files, f.Name)
	}
	switch {
	case err != nil:
		line.Object, line.Result, line.Note = "", lineFailed, err.Error()
	case n == 0:
		line.Object, line.Result, line.Note = "", lineRefused, t.refusal()
	default:
		line.After = jsonOf(map[string]any{"version": t.Version, "files": files, "forced": t.Failed > 0})
	}
	return t, n, errors.Join(err, d.note(ctx, line))
}

// refusal says why a draft must not be applied.
func (t *Trial) refusal() string {
	if len(t.Problems) > 0 {
		return t.Problems[0].Error()
	}
	return fmt.Sprintf("%d of %d tests fail", t.Failed, len(t.Tests))
}

// RollBack puts an earlier set of rules in force again, as a new version.
func (d *Desk) RollBack(ctx context.Context, who *people.Actor, n int64, note string) (int64, error) {
	r, err := d.rulesOf(ctx, who, people.ApplyRules, "roll-back", fmt.Sprint(n))
	if err != nil {
		return 0, err
	}
	if len(note) > mostReason {
		return 0, &InputError{fmt.Sprintf("a note has at most %d bytes", mostReason)}
	}
	is, err := r.RollBack(ctx, n, note, who.Login)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("the history has no version %d: %w", n, ErrNotFound)
	}
	line := d.line(who, "roll-back", fmt.Sprint(n), lineDone)
	line.Note = note
	if err != nil {
		line.Result, line.Note = lineFailed, err.Error()
	} else {
		line.After = jsonOf(map[string]int64{"n": is})
	}
	return is, errors.Join(err, d.note(ctx, line))
}

// PinTest writes a test beside the rules that has the facts of a message in the actor's sight,
// without names of people, and what was decided. It gives the test, also when it cannot be
// written.
func (d *Desk) PinTest(ctx context.Context, who *people.Actor, id, name string) (string, error) {
	r, err := d.rulesOf(ctx, who, people.ApplyRules, "pin-test", id)
	if err != nil {
		return "", err
	}
	text, err := r.Pin(ctx, id, name, who.Login, sightOf(who))
	line := d.line(who, "pin-test", id, lineDone)
	line.Note = name
	if err != nil {
		line.Result, line.Note = lineFailed, err.Error()
	}
	return text, errors.Join(err, d.note(ctx, line))
}

// WouldAllow tells what an entry of the lists, given with the release of a message, would have let
// in over the last 30 days.
func (d *Desk) WouldAllow(ctx context.Context, who *people.Actor, id string, a Allow) (*Effect, error) {
	r, err := d.rulesOf(ctx, who, people.AllowSender, "would-allow", id)
	if err != nil {
		return nil, err
	}
	it, err := d.item(ctx, who, id)
	if errors.Is(err, ErrNotFound) {
		err = d.refuse(ctx, who, "would-allow", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	e, err := d.entry(who, it, &a)
	if err != nil {
		return nil, err
	}
	spam, err := d.spamSince(ctx, who, d.now().AddDate(0, 0, -usualDays-1))
	if err != nil {
		return nil, err
	}
	f, err := r.WouldAllow(ctx, e, usualDays, sightOf(who), func(id string) bool { return spam[id] })
	if err != nil {
		return nil, err
	}
	return f, d.fill(ctx, who, &f.Rows)
}

// Overview is the numbers of the last days over mail in the actor's sight.
func (d *Desk) Overview(ctx context.Context, who *people.Actor, days int) (*Overview, error) {
	r, err := d.rulesOf(ctx, who, people.ReadOverview, "overview", "")
	if err != nil {
		return nil, err
	}
	o, err := r.Overview(ctx, days, domainsOf(who))
	if err != nil {
		return nil, err
	}
	o.Asked, o.Oldest, err = d.waiting(ctx, who)
	return o, err
}

// explain tells reviewers why copies in their sight have their verdicts. Users are not told how
// the rules work.
func (d *Desk) explain(ctx context.Context, who *people.Actor, id string) ([]Explained, error) {
	if d.o.Rules == nil || !who.May(people.ReadRules) {
		return nil, nil
	}
	list, err := d.o.Rules.Explain(ctx, id, sightOf(who))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	return slices.Clip(list), err
}

// waiting counts the requests in the actor's sight that are open, and tells since when the oldest is.
func (d *Desk) waiting(ctx context.Context, who *people.Actor) (n int, oldest time.Time, err error) {
	where, args := "state = ?", []any{asked}
	if only, all := who.Sight(); !all {
		in, more := within("rcpt", only)
		where, args = where+" AND "+in, append(args, more...)
	}
	err = d.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*), coalesce(min(at), 0) FROM review_requests WHERE "+where, args...).Scan(&n, (*micro)(&oldest))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count requests: %w", err)
	}
	return n, oldest, nil
}

// spamSince lists the messages of which somebody has said that a copy in the actor's sight is spam.
func (d *Desk) spamSince(ctx context.Context, who *people.Actor, since time.Time) (map[string]bool, error) {
	where, args := "at >= ?", []any{since.UnixMicro()}
	if only, all := who.Sight(); !all {
		in, more := within("rcpt", only)
		where, args = where+" AND "+in, append(args, more...)
	}
	out := map[string]bool{}
	err := d.each(ctx, "SELECT DISTINCT item FROM review_spam WHERE "+where, args, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		id, _, _ = strings.Cut(id, "-") // of the transaction, as the journal has it
		out[id] = true
		return err
	})
	return out, err
}
