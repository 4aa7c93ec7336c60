package review

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"postern/audit"
	"postern/journal"
	"postern/lists"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// A Sender sends held messages to the internal servers.
type Sender interface {
	// Send sends the message, stamped anew, and tells what became of each recipient's copy, in the
	// order of to. danger is "" or says, for a mark in the header, why the message is dangerous.
	Send(ctx context.Context, it *quarantine.Item, to []mail.RcptTo, body *mail.Body, danger string) []Sent
}

// Sent is what became of one copy that was sent.
type Sent struct {
	Fate  Fate
	Reply string // what the internal server said, or why it could not be asked
}

// A Fate of a copy.
type Fate string

// The fates.
const (
	Delivered Fate = "delivered" // the internal server took it
	Turned    Fate = "refused"   // it said no, for now or for good
	Unsent    Fate = "unsent"    // it could not be asked; nothing was sent
	Unclear   Fate = "unclear"   // sent, but the answer is lost: perhaps delivered
)

// A Scanner looks for viruses.
type Scanner interface {
	// Scan looks at a whole message. An error is no answer.
	Scan(ctx context.Context, env *mail.Envelope, body *mail.Body) (Scanned, error)
}

// Scanned is what a scanner says; the zero value: it is clean.
type Scanned struct {
	Found  string // name of what is in it
	Unsure string // why the scanner could not look at all of it: it is encrypted, or too large
}

// Options of New.
type Options struct {
	DB         *store.DB // all stores stay the caller's to close
	Quarantine *quarantine.Store
	Journal    *journal.Store
	Lists      *lists.Store
	Audit      *audit.Log
	Sender     Sender
	Scanner    Scanner        // nil: there is none
	Domains    mail.DomainSet // those that mail is taken for
	Rules      RuleRoom       // nil: there is none
	Reasons    Reasons
	SpoolDir   string // for messages on their way to be released

	// Fresh gives the person as it is now, for acts that are carried out later; an error when the
	// account is gone. nil: as it was.
	Fresh func(ctx context.Context, who *people.Actor) (*people.Actor, error)

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// Reasons say where the site wants to know why.
type Reasons struct {
	Verbs   map[Verb]bool   // for these acts
	Classes map[string]bool // for releases of these classes
}

// A Desk is where people look at mail and act on it. All methods may be called from any goroutine,
// and several processes may have one on the same data.
type Desk struct {
	o     Options
	locks locks
	wake  chan struct{} // an act waits
	news  arrivals

	under sync.RWMutex // held for reading while a message is acted on
	life  context.Context
	end   context.CancelFunc // of life: some time after Run was told to end
}

//go:embed schema
var schema embed.FS

// New makes a desk and brings its tables up to date. There is nothing to close, but acts that wait
// are carried out by Run only.
func New(ctx context.Context, o Options) (*Desk, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "review", steps); err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	d := &Desk{o: o, locks: locks{busy: map[string]*lock{}}, wake: make(chan struct{}, 1)}
	d.life, d.end = context.WithCancel(context.WithoutCancel(ctx))
	return d, nil
}

func (d *Desk) now() time.Time { return d.o.Clock().UTC().Truncate(time.Microsecond) }

// locks let one goroutine at a time act on a message.
type locks struct {
	mu   sync.Mutex
	busy map[string]*lock
}

type lock struct {
	held chan struct{} // has room while nobody has it
	want int
}

// lock waits for its turn; nil when ctx ended first.
func (l *locks) lock(ctx context.Context, id string) (unlock func()) {
	l.mu.Lock()
	k := l.busy[id]
	if k == nil {
		k = &lock{held: make(chan struct{}, 1)}
		l.busy[id] = k
	}
	k.want++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.want--; k.want == 0 {
			delete(l.busy, id)
		}
	}
	select {
	case k.held <- struct{}{}:
		return func() { <-k.held; leave() }
	case <-ctx.Done():
		leave()
		return nil
	}
}
