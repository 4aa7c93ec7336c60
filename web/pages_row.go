package web

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"postern/mail"
	"postern/quarantine"
	"postern/review"
)

// A rowView is a row of a list in the words of the page.
type rowView struct {
	review.Row
	Log bool // of every message, not only held ones
	now time.Time
}

func (s *Server) rowViews(rows []review.Row, log bool) []rowView {
	out := make([]rowView, len(rows))
	for i, r := range rows {
		out[i] = rowView{r, log, s.now()}
	}
	return out
}

// Expiring tells mail that is soon gone.
func (r rowView) Expiring() bool {
	return r.Waits() && !r.Log && !r.Expires.IsZero() && r.Expires.Sub(r.now) < soonGone
}

// Name is who it claims to be from.
func (r rowView) Name() string {
	switch {
	case r.FromName != "":
		return r.FromName
	case r.FromAddress != "":
		return r.FromAddress
	case r.Sender != "":
		return r.Sender
	}
	return "nobody"
}

// Envelope is the domain that really sent it, or the null sender.
func (r rowView) Envelope() string {
	if r.Sender == "" {
		return "no sender"
	}
	return r.Sender[strings.LastIndexByte(r.Sender, '@')+1:]
}

// Title is the subject, or that there is none.
func (r rowView) Title() string {
	if strings.TrimSpace(r.Subject) == "" {
		return "(no subject)"
	}
	return r.Subject
}

// LongTitle tells a subject that the head of the page does not hold.
func (r rowView) LongTitle() bool { return utf8.RuneCountInString(r.Title()) > 120 }

// To is the first recipient.
func (r rowView) To() string {
	if to := r.recipients(); len(to) > 0 {
		return to[0].Address.String()
	}
	return ""
}

// Others says how many recipients there are besides To.
func (r rowView) Others() int { return max(0, len(r.recipients())-1) }

// recipients are those of the copies, or of mail of which none was held.
func (r rowView) recipients() []mail.RcptTo {
	if len(r.Copies) == 0 {
		return r.Row.Envelope.Recipients
	}
	to := make([]mail.RcptTo, len(r.Copies))
	for i := range r.Copies {
		to[i] = r.Copies[i].Recipient
	}
	return to
}

// Can tells what the person who looks may do with it now.
func (r rowView) Can(verb string) bool { return slices.Contains(r.May, review.Verb(verb)) }

// Verbs are those for the keys of the list.
func (r rowView) Verbs() string { return verbsLine(r.May) }

func verbsLine(verbs []review.Verb) string {
	words := make([]string, len(verbs))
	for i, v := range verbs {
		words[i] = string(v)
	}
	return strings.Join(words, " ")
}

// Why tells whether the site wants a reason for an act with it.
func (r rowView) Why(verb string) bool { return slices.Contains(r.Reasons, review.Verb(verb)) }

// Whys are the verbs for which it does, for the keys.
func (r rowView) Whys() string { return verbsLine(r.Reasons) }

// Waits tells mail that somebody still has to decide about.
func (r rowView) Waits() bool { return r.State == quarantine.Kept && r.Pending == nil }

// New tells mail that nobody has looked at.
func (r rowView) New() bool { return r.Waits() && r.Seen == nil && !r.Log }

// Status is what stands at the end of the row: what became of it, or who is at it.
func (r rowView) Status() string {
	switch {
	case r.Pending != nil:
		return said(r.Pending.Do) + " by " + r.Pending.By + ", can be undone"
	case r.Log && r.Result != "":
		return resultName(r.Result)
	case r.State == quarantine.Released:
		return "released" + byWhom(r.Copies, quarantine.Released)
	case r.State == quarantine.Deleted:
		return "deleted" + byWhom(r.Copies, quarantine.Deleted)
	case r.State == quarantine.Spam:
		return "called spam" + byWhom(r.Copies, quarantine.Spam)
	case r.State == quarantine.Releasing:
		return "perhaps delivered"
	case r.Asked != nil && r.Asked.State == "asked":
		return "asked for by " + r.Asked.By
	case r.Assigned != "":
		return r.Assigned + " has it"
	case r.Seen != nil:
		return "seen by " + r.Seen.By
	case r.State == quarantine.Kept:
		return "new"
	}
	return ""
}

// Tone is how the status is drawn.
func (r rowView) Tone() string {
	switch {
	case r.Pending != nil || r.State == quarantine.Releasing:
		return "warn"
	case r.Log:
		return r.Result
	case r.Asked != nil && r.Asked.State == "asked":
		return "asked"
	}
	if r.New() {
		return "new"
	}
	return string(r.State)
}

// soonGone is how long before its end a message is marked.
const soonGone = 3 * 24 * time.Hour

func byWhom(copies []quarantine.Copy, state quarantine.State) string {
	for _, c := range copies {
		if c.State == state && c.By != "" {
			return " by " + c.By
		}
	}
	return ""
}

// Types are the types of what is attached, the more telling part of each: "pdf, zip".
func (r rowView) Types() string {
	var out []string
	for _, t := range r.Attachments {
		short := shortType(t)
		if !slices.Contains(out, short) {
			out = append(out, short)
		}
	}
	if len(out) > 3 {
		return strings.Join(out[:3], ", ") + fmt.Sprintf(" +%d", len(out)-3)
	}
	return strings.Join(out, ", ")
}

// shortType says a media type in a word.
func shortType(t string) string {
	t = cut(strings.ToLower(t), 80)
	switch {
	case strings.Contains(t, "word"):
		return "Word"
	case strings.Contains(t, "spreadsheet"), strings.Contains(t, "excel"):
		return "Excel"
	case strings.Contains(t, "presentation"), strings.Contains(t, "powerpoint"):
		return "slides"
	case strings.HasSuffix(t, "octet-stream"):
		return "file"
	case strings.HasPrefix(t, "message/"):
		return "message"
	}
	short := strings.TrimSuffix(strings.TrimPrefix(t[strings.LastIndexByte(t, '/')+1:], "x-"), "-compressed")
	return cut(short, 14)
}
