package filters

import (
	"context"
	"math"
	"net/netip"
	"time"

	"postern/mail"
)

// GreylistFacts tell whether mail of a stranger should be put off until it comes back.
type GreylistFacts struct {
	Error   string    `expr:"error" json:"error,omitempty" doc:"Why the list could not be asked; then nothing waits."`
	Waiting bool      `expr:"waiting" json:"waiting" doc:"A stranger to this recipient, who has not come back after the delay: put it off with 451." example:"greylist.waiting"`
	Why     string    `expr:"why" json:"why,omitempty" doc:"Why it waits or not: new, early (came back too soon), back (came back in time, or did so before), proven (DMARC passes), known (wrote to this recipient before, see history), trusted (a relay of our own)." enum:"new early back proven known trusted"`
	First   time.Time `expr:"first" json:"first,omitzero" doc:"The first try, where it was asked."`
	Minutes int       `expr:"minutes" json:"minutes" doc:"How long it has to wait still." example:"greylist.minutes > 5"`
}

// Greylist remembers who wrote to whom.
type Greylist interface {
	// Meet notes a try and tells how long it has to wait, 0 when not at all; first is its first try.
	Meet(ctx context.Context, who, sender, recipient string, at time.Time) (wait time.Duration, first time.Time, err error)
}

// greylist is asked with the data, since only then it is known whether the sender is proven: who is,
// and who has written to the recipient before, never waits.
func greylist(g Greylist) Filter {
	return Filter{Name: "greylist", Cost: Database, Doc: "Is this a stranger who should come back later? Only asked, and only noted, where a rule names it.",
		Stage: mail.Recipient, Later: true, Quick: true, OnFail: Unknown, Timeout: historyTimeout, After: []string{"spf", "dmarc", "history"}, Facts: GreylistFacts{},
		Gather: func(ctx context.Context, in *Input) (any, error) {
			switch {
			case g == nil:
				return GreylistFacts{}, nil
			case in.Body == nil:
				return nil, ErrLater
			case in.Client.Trusted:
				return GreylistFacts{Why: "trusted"}, nil
			}
			// What gives no answer proves nothing, and is no ground to let mail wait for ever.
			if v, err := in.Fact(ctx, "dmarc"); err == nil && v.(DMARCFacts).Result == "pass" {
				return GreylistFacts{Why: "proven"}, nil
			}
			if v, err := in.Fact(ctx, "history"); err == nil && v.(HistoryFacts).Known {
				return GreylistFacts{Why: "known"}, nil
			}
			if !mayWait(ctx) { // for the database
				return nil, errWaits
			}
			wait, first, err := g.Meet(ctx, stranger(ctx, in), in.Sender.String(), in.Recipient.String(), in.Received)
			if err != nil {
				return nil, err
			}
			f := GreylistFacts{Waiting: wait > 0, Why: "back", First: first.UTC(), Minutes: int(math.Ceil(wait.Minutes()))}
			if f.Waiting {
				f.Why = "early"
				if first.Equal(in.Received) {
					f.Why = "new"
				}
			}
			return f, nil
		}}
}

// stranger is who comes back: the domain that SPF proves, since large senders try again from
// another address, else the client's network.
func stranger(ctx context.Context, in *Input) string {
	if v, err := in.Fact(ctx, "spf"); err == nil {
		if s := v.(SPFFacts); s.Result == "pass" && !s.Permissive && !s.NullSender {
			return s.Domain
		}
	}
	a := in.Client.Addr.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked().String()
}
