package digest

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
)

// Replies is the inbox of the gateway for answers to digests (gateway.Inbox).
type Replies struct{ d *Digests }

// Replies gives the inbox; nil when nobody releases by mail.
func (d *Digests) Replies() *Replies {
	if d.o.Key == nil || d.o.ReplyDomain == "" {
		return nil
	}
	return &Replies{d}
}

// Domain has its addresses.
func (r *Replies) Domain() string { return r.d.o.ReplyDomain }

// The answers to those who write. None tells what a message is that somebody else asks about.
func unknownReply() *mail.Reply {
	return &mail.Reply{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "No such address, or it is not good any more: use the pages of the quarantine"}
}

func strangerReply() *mail.Reply {
	return &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "This address answers only to whom it was sent, from the mailbox it was sent to"}
}

func refusedReply() *mail.Reply {
	return &mail.Reply{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "You may not release this message: ask who runs your mail"}
}

func laterReply() *mail.Reply {
	return &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "It could not be released now, try again later"}
}

func doneReply(words string) *mail.Reply {
	return &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: words}
}

// Knows reports whether an address is one of ours and still good. Only the key is needed for it.
func (r *Replies) Knows(to mail.Address) *mail.Reply {
	if t, ok := r.d.o.Key.read(to.Local); !ok || r.d.now().After(t.until) {
		return unknownReply()
	}
	return nil
}

// Take does what a mail to one of our addresses asks for, as the person to whom the copy was
// sent, with that person's rights of this moment. Automatic answers are swallowed: nobody wants
// anything by them, and nobody is to hear of them.
func (r *Replies) Take(ctx context.Context, to mail.Address, env mail.Envelope, h *mail.Header) (reply *mail.Reply, said string) {
	t, ok := r.d.o.Key.read(to.Local)
	if !ok || r.d.now().After(t.until) {
		return unknownReply(), "no such address"
	}
	count := func(result string) { r.d.o.Counted("reply", result) }
	if why := automatic(env.Sender, h); why != "" {
		count("ignored")
		return doneReply("Nothing was done: an automatic answer"), fmt.Sprintf("nothing was done with %s: an automatic answer (%s)", t.item, why)
	}
	it, err := r.d.o.Held.Get(ctx, t.item)
	switch {
	case errors.Is(err, quarantine.ErrNotFound), err == nil && t.copy >= len(it.Copies):
		count("refused")
		return unknownReply(), t.item + " is not in quarantine any more"
	case err != nil:
		count("failed")
		return laterReply(), t.item + ": " + err.Error()
	}
	c := &it.Copies[t.copy]
	if c.State == quarantine.Deleted {
		count("refused")
		return unknownReply(), fmt.Sprintf("%s for %s was deleted", t.item, c.Recipient.Address)
	}
	who, err := r.d.o.People.Owner(ctx, c.Recipient.Address, env.Client.Addr)
	if err != nil {
		count("failed")
		return laterReply(), t.item + ": " + err.Error()
	}
	if why := foreign(who, c, env.Sender, h); why != "" {
		count("refused")
		return strangerReply(), fmt.Sprintf("%s for %s: refused, since %s", t.item, c.Recipient.Address, why)
	}
	return r.act(ctx, who, it, c, r.d.now().Sub(written(h)) > tryFor)
}

// tryFor is how long the internal server tries again when a release fails; then its bounce tells
// the person why.
const tryFor = time.Hour

// written is when a mail says that it was written.
func written(h *mail.Header) time.Time {
	f := h.Get("Date")
	if f == nil {
		return time.Time{}
	}
	t, _ := netmail.ParseDate(f.Value()) // else the zero time: long ago
	return t
}

// act has the desk do what the person may, with all of the person's copies: one who has two
// addresses wants the message at both.
func (r *Replies) act(ctx context.Context, who *people.Actor, it *quarantine.Item, c *quarantine.Copy, late bool) (reply *mail.Reply, said string) {
	id := it.ID
	do := review.Release
	switch who.Right(c.Class) {
	case people.RightAsk:
		do = review.Ask
	case people.RightNone, people.RightSee: // the desk refuses it, and notes that somebody tried
	case people.RightRelease:
	}
	what := fmt.Sprintf("%s of %s for %s, asked for by mail: ", do, id, c.Recipient.Address)
	done, err := r.d.o.Desk.Do(ctx, who, review.Act{Do: do, IDs: []string{id}, To: ownCopies(who, it, c), Reason: "by an answer to the digest"})
	result, words := review.ResultFailed, ""
	switch {
	case errors.Is(err, review.ErrForbidden), errors.Is(err, review.ErrNotFound):
		result, words = review.ResultRefused, err.Error()
	case err != nil:
		words = err.Error()
	case len(done.Items) > 0:
		result, words = done.Items[0].Result, done.Items[0].Words
	}
	r.d.o.Counted("reply", result)
	switch result {
	case review.ResultDone, review.ResultAlready, review.ResultUnclear:
		if do != review.Release || result != review.ResultDone { // what was released comes by itself
			r.confirm(ctx, id, c, words)
		}
		return doneReply(words), what + words
	case review.ResultRefused:
		return refusedReply(), what + words
	}
	if late && err == nil {
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 3, 0}, Text: "It could not be released: " + words}, what + words
	}
	return laterReply(), what + words
}

// mostCopies bounds to how many addresses of one person a message is released by one mail.
const mostCopies = 100

// ownCopies are the recipients of a copy and of those others of the same person with which the
// person may do the same.
func ownCopies(who *people.Actor, it *quarantine.Item, c *quarantine.Copy) []mail.Address {
	to := []mail.Address{c.Recipient.Address}
	for i := range it.Copies {
		other := &it.Copies[i]
		locked := other.Class == "virus" || other.Class == "malformed"
		if other != c && len(to) < mostCopies && other.State != quarantine.Deleted && who.Sees(other.Recipient.Address) &&
			who.Right(other.Class) == who.Right(c.Class) && (!locked || other.Class == c.Class) {
			to = append(to, other.Recipient.Address)
		}
	}
	return to
}

// Bounds of confirmations.
const (
	confirmEvery = time.Hour // for one copy
	confirmMost  = 10_000    // copies that are remembered
)

// confirmed remembers whom the last confirmation went to.
type confirmed struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due reports whether it is time for a confirmation again, and notes it.
func (c *confirmed) due(key string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.last[key]; ok && now.Sub(last) < confirmEvery && !now.Before(last) {
		return false
	}
	if c.last == nil || len(c.last) >= confirmMost {
		c.last = map[string]time.Time{}
	}
	c.last[key] = now
	return true
}

// confirm tells the person what became of it, in the null sender's name: nothing answers to that.
// Who sends the same mail again and again hears of it once in a while.
func (r *Replies) confirm(ctx context.Context, id string, c *quarantine.Copy, words string) {
	if !r.d.confirmed.due(id+" "+c.Recipient.Address.String(), r.d.now()) {
		return
	}
	err := r.d.o.Mailer.Post(ctx, &mail.Letter{To: c.Recipient.Address, Subject: "Your mail to the quarantine",
		Text: "You asked for a message that is held for you. What became of it:\n\n  " + plain(words, 500) + "\n"})
	if err != nil {
		r.d.o.Log.Warn("the answer to a mail for the quarantine could not be sent", "to", c.Recipient.Address.String(), "error", err)
	}
}

// foreign says why a mail is not from the person whose copy it is; "" when it is. The internal
// server stands for the sender of the envelope; the From field must not say somebody else.
func foreign(who *people.Actor, c *quarantine.Copy, sender mail.Address, h *mail.Header) string {
	own := func(a string) bool {
		return strings.EqualFold(a, c.Recipient.Address.String()) ||
			slices.ContainsFunc(who.Addresses, func(x mail.Address) bool { return strings.EqualFold(a, x.String()) })
	}
	author, ok := h.Authors().One()
	switch {
	case !own(sender.String()):
		return "its envelope is from " + sender.String()
	case !ok:
		return "its From field does not name one person"
	case !own(author.Address):
		return "its From field says " + author.Address
	}
	return ""
}

// automatic says by which sign a mail is known to come from a machine (RFC 3834, and what was
// usual before it); "" when none is there.
func automatic(sender mail.Address, h *mail.Header) string {
	if sender.IsNull() {
		return "from the null sender"
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		value := strings.ToLower(strings.TrimSpace(f.Value()))
		switch {
		case f.Is("Auto-Submitted") && !isNo(value):
			return "Auto-Submitted"
		case f.Is("Precedence") && slices.Contains([]string{"bulk", "junk", "list", "auto_reply"}, value):
			return "Precedence"
		case f.Is("Content-Type") && strings.HasPrefix(value, "multipart/report"):
			return "a report"
		}
		for _, name := range []string{"X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply", "X-Auto-Reply-From", "X-Mail-Autoreply", "X-Vacation",
			"X-Failed-Recipients", "List-Id", "List-Unsubscribe", "Resent-From"} {
			if f.Is(name) {
				return name
			}
		}
	}
	return ""
}

// isNo reports whether a value of Auto-Submitted says that a person wrote it.
func isNo(value string) bool {
	word, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(word) == "no"
}
