package journal

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/klauspost/compress/s2"
)

// A Record is one entry on a scan. All of it is valid until the function that was given it
// returns.
type Record struct {
	ID       string
	Policy   string // version of the rules
	Subject  Raw
	Received Raw
	Envelope Raw
	Size     Raw
	Result   Raw
	Outcomes Raw
	Filters  Raw // how each fared
	Facts    Raw // all that was gathered for the message, by filter

	detail []byte
}

// Entry decodes the whole of it, but for the walks that are kept apart.
func (r *Record) Entry() (*Entry, error) { return decode(r.detail) }

// A RecordOutcome is what a scan tells of one recipient's copy.
type RecordOutcome struct {
	Recipient Raw
	Do        Raw // what was done
	Verdict   Raw // what the rules said, when that differs
	Rule      Raw
	Because   Raw
	Score     Raw
	Held      Raw
	Effects   Raw // what was done to it, each as text
	Shadow    Raw
	Facts     Raw // those that were gathered for this recipient alone
	Walk      Raw // the walk or its name, for Walk; empty when the rules were not asked
}

// Each gives what became of each recipient's copy, in their order.
func (r *Record) Each() iter.Seq[*RecordOutcome] {
	return func(yield func(*RecordOutcome) bool) {
		var o RecordOutcome
		for item := range r.Outcomes.Items() {
			o = RecordOutcome{}
			for name, v := range item.Members() {
				o.set(name, v)
			}
			if !yield(&o) {
				return
			}
		}
	}
}

func (o *RecordOutcome) set(name []byte, v Raw) {
	switch string(name) {
	case "recipient":
		o.Recipient = v
	case "do":
		o.Do = v
	case "verdict":
		o.Verdict = v
	case "rule":
		o.Rule = v
	case "because":
		o.Because = v
	case "score":
		o.Score = v
	case "held":
		o.Held = v
	case "effects":
		o.Effects = v
	case "shadow":
		o.Shadow = v
	case "facts":
		o.Facts = v
	case "walk", "rules":
		o.Walk = v
	}
}

func (r *Record) set(name []byte, v Raw) {
	switch string(name) {
	case "id":
		r.ID = v.Text()
	case "policy":
		r.Policy = v.Text()
	case "subject":
		r.Subject = v
	case "received":
		r.Received = v
	case "envelope":
		r.Envelope = v
	case "size":
		r.Size = v
	case "result":
		r.Result = v
	case "outcomes":
		r.Outcomes = v
	case "filters":
		r.Filters = v
	case "facts":
		r.Facts = v
	}
}

// Bounds of what a scan holds at once.
const (
	pageRows  = 500
	pageBytes = 8 << 20
)

// Scan gives all entries in [since, until) to each, oldest first; zero times are no bounds. It
// reads them page by page, so that it holds little and nobody who writes has to wait. What is
// added meanwhile may or may not be seen. It ends with the first error of each, or of ctx.
func (s *Store) Scan(ctx context.Context, since, until time.Time, each func(*Record) error) error {
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("scan journal: %w", err)
	}
	p := page{next: math.MinInt64, end: math.MaxInt64}
	if !since.IsZero() {
		p.next = since.UnixMicro()
	}
	if !until.IsZero() {
		p.end = until.UnixMicro()
	}
	u := unpacker{db: s.o.DB.Reader()}
	var plain []byte
	for more := true; more; {
		var err error
		if more, err = p.read(ctx, s.o.DB.Reader()); err != nil {
			return fmt.Errorf("scan journal: %w", err)
		}
		for i := range p.spots {
			var r Record
			if r.detail, err = u.detail(ctx, &p.spots[i]); err == nil {
				plain, err = r.open(plain)
			}
			if err != nil {
				return fmt.Errorf("scan journal: entry %d: %w", p.spots[i].seq, err)
			}
			if err := each(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

// open unpacks the detail, into space when that suffices, and finds its parts.
func (r *Record) open(space []byte) ([]byte, error) {
	text := r.detail
	if len(text) > 0 && text[0] == compressed {
		n, err := s2.DecodedLen(text[1:])
		if err != nil || n > maxDetail {
			return space, fmt.Errorf("a detail of %d bytes: %w", n, cmp.Or(err, errTooLong))
		}
		if text, err = s2.Decode(space[:cap(space)], text[1:]); err != nil {
			return space, err
		}
		space = text
	}
	for name, v := range Raw(text).openMembers("facts") { // they come last, and are most of it
		r.set(name, v)
	}
	if r.Outcomes == nil {
		for name, v := range Raw(text).Members() {
			r.set(name, v)
		}
	}
	if cap(space) > maxKept {
		space = nil
	}
	return space, nil
}

// A page is some entries in a row.
type page struct {
	next, end int64 // seq
	spots     []spot
}

// read reads the next page and reports whether there may be more behind it.
func (p *page) read(ctx context.Context, db *sql.DB) (more bool, err error) {
	p.spots = p.spots[:0]
	rows, err := db.QueryContext(ctx, "SELECT "+spotColumns+" FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?", p.next, p.end, pageRows)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	held := 0
	for held < pageBytes && rows.Next() {
		var at spot
		if err := at.scan(rows); err != nil {
			return false, err
		}
		held += len(at.detail)
		p.spots, p.next = append(p.spots, at), at.seq+1
	}
	return len(p.spots) == pageRows || held >= pageBytes, rows.Err()
}

// Walk reads the walk of an outcome: []rules.Step as JSON; nil when it was pruned.
func (s *Store) Walk(ctx context.Context, o *RecordOutcome) (json.RawMessage, error) {
	if len(o.Walk) > 0 && o.Walk[0] == '"' {
		return s.walk(ctx, o.Walk.Text())
	}
	return json.RawMessage(o.Walk), nil
}
