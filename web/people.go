package web

import (
	"context"
	"net/netip"
	"time"

	"postern/people"
)

// People is what signing in and the pages about people need of package people; people.Store is
// one. What changes something asks who may, and notes it in the log of acts.
type People interface {
	Session(ctx context.Context, cookie string, from netip.Addr) (*people.Actor, *people.Session, error)
	Look(ctx context.Context, cookie string, from netip.Addr) (*people.Actor, error)
	TokenActor(ctx context.Context, token string, from netip.Addr) (*people.Actor, error)

	SignIn(ctx context.Context, login, password string, v people.Visitor, old string) (*people.Grant, error)
	Second(ctx context.Context, cookie, code string, v people.Visitor) (*people.Grant, error)
	NewTOTP(ctx context.Context, cookie string) (*people.Secret, error)
	ConfirmTOTP(ctx context.Context, cookie, password, code string, v people.Visitor) (*people.Grant, []string, error)
	DropTOTP(ctx context.Context, who *people.Actor, person, password string) error
	Ways() people.Ways
	AskLink(ctx context.Context, address string, v people.Visitor) (string, error)
	LinkHere(ctx context.Context, token, cookie string) error
	UseLink(ctx context.Context, token, code, cookie string, v people.Visitor, old string) (*people.Grant, error)
	BeginOpenID(ctx context.Context) (address, cookie string, err error)
	EndOpenID(ctx context.Context, cookie, state, code string, v people.Visitor, old string) (*people.Grant, error)
	SetUpHolds(ctx context.Context, token string) error
	SetUp(ctx context.Context, token, login, name, password string, v people.Visitor, old string) (*people.Grant, error)
	SignOut(ctx context.Context, cookie string, from netip.Addr) error
	SetPassword(ctx context.Context, who *people.Actor, person, old, password string) error
	Sessions(ctx context.Context, who *people.Actor, person, cookie string) ([]*people.Session, error)
	EndSession(ctx context.Context, who *people.Actor, person, id string) error

	List(ctx context.Context, who *people.Actor) ([]*people.Person, error)
	Get(ctx context.Context, who *people.Actor, id string) (*people.Person, error)
	Add(ctx context.Context, who *people.Actor, p people.Person, password string) (*people.Person, error)
	Change(ctx context.Context, who *people.Actor, p people.Person) (*people.Person, error)
	Remove(ctx context.Context, who *people.Actor, id string) error

	Tokens(ctx context.Context, who *people.Actor, person string) ([]*people.Token, error)
	AddToken(ctx context.Context, who *people.Actor, person, name string, scopes []people.Permission, life time.Duration) (*people.Token, string, error)
	RemoveToken(ctx context.Context, who *people.Actor, id string) error
}
