package people

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"postern/mail"
	"postern/store"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("there is no such person")
	ErrForbidden = errors.New("not allowed")
	ErrTaken     = errors.New("the login is taken")
	ErrLastAdmin = errors.New("somebody has to be administrator of everything: make another one first")
	ErrSignIn    = errors.New("login or password is wrong") // and whatever else is wrong: nobody learns which
	ErrNobody    = errors.New("nobody is signed in")
	ErrBusy      = errors.New("too many sign-ins at once: try again in a moment")
)

// An InvalidError says what is wrong with something that a person typed.
type InvalidError struct{ Why string }

func (e *InvalidError) Error() string { return e.Why }

// A Mailer sends a mail to somebody inside. Send returns an error when the internal server does
// not take the recipient.
type Mailer interface {
	Send(ctx context.Context, to mail.Address, subject, text string) error
}

// Options of Open. Only DB has to be given.
type Options struct {
	DB         *store.DB        // stays the caller's to close
	Clock      func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: none
	Audit      Audit            // nil: acts are not noted
	Origin     string           // as browsers see the pages, for links in mails and at the set-up
	Rights     Rights           // of users; nil: DefaultRights
	Subaddress bool             // user+anything@ is mail to user@
	AdminTOTP  bool             // administrators need a second factor
	MailSignIn bool             // users sign in by a link that is mailed to them
	Internal   func(mail.Address) bool
	Mailer     Mailer  // for the links; nil: none are sent
	OpenID     *OpenID // nil: none
	Hashing    Hashing // the zero value: DefaultHashing
}

// A Store knows the people. All methods may be called from any goroutine.
type Store struct {
	o         Options
	passwords *passwords
	clients   *limiter // guesses by where they come from
	accounts  *limiter // and by whom they are about
	asks      *limiter // for links, by address
	asksBy    *limiter // and by where they come from
	openID    *openID
	sending   chan struct{}
	sends     sync.WaitGroup
}

//go:embed schema
var schema embed.FS

// Open brings the tables up to date. Close the store.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rights == nil {
		o.Rights = DefaultRights()
	}
	if o.Hashing == (Hashing{}) {
		o.Hashing = DefaultHashing()
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "people", steps); err != nil {
		return nil, err
	}
	return &Store{o: o, passwords: newPasswords(o.Hashing), clients: newLimiter(5, time.Minute),
		accounts: newLimiter(7, 20*time.Second), asks: newLimiter(3, 20*time.Minute), asksBy: newLimiter(10, 2*time.Minute),
		openID: newOpenID(o.OpenID), sending: make(chan struct{}, sendMost)}, nil
}

// now is the time as it is kept.
func (s *Store) now() time.Time { return s.o.Clock().UTC().Truncate(time.Microsecond) }
