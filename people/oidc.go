package people

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/mail"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OpenID says whose accounts let people in besides our own (OpenID Connect Core 1.0, with the code
// flow and PKCE).
type OpenID struct {
	Issuer     string
	ClientID   string
	Secret     string // "" for a public client
	LinkStaff  bool   // accounts above users are found by a verified address, too; else only those that are linked
	Create     bool   // whoever it knows, with a verified address inside, becomes a user
	GroupClaim string
	Roles      map[string]Role // by group
}

// callback is where the issuer sends browsers back to.
const callback = "/sign-in/oidc/back"

// An openID is the issuer as it described itself.
type openID struct {
	o        OpenID
	client   *http.Client
	asking   sync.Mutex
	provider atomic.Pointer[oidc.Provider]
}

const (
	issuerAnswer = 10 * time.Second
	maxAnswer    = 1 << 20
)

func newOpenID(o *OpenID) *openID {
	if o == nil {
		return nil
	}
	dialer := &net.Dialer{Timeout: issuerAnswer, Control: notLinkLocal}
	return &openID{o: *o, client: &http.Client{Timeout: issuerAnswer, Transport: bounded{&http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: issuerAnswer,
		Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// notLinkLocal keeps us from addresses where clouds tell machines their secrets, whatever a name
// points to (C-32).
func notLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if a.Addr().Unmap().IsLinkLocalUnicast() {
		return errors.New("link-local addresses are not asked")
	}
	return nil
}

// bounded cuts off answers that do not end.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// known asks the issuer to describe itself, until it did once; one asks at a time.
func (x *openID) known(ctx context.Context) (*oidc.Provider, error) {
	if p := x.provider.Load(); p != nil {
		return p, nil
	}
	if !x.asking.TryLock() {
		return nil, ErrBusy
	}
	defer x.asking.Unlock()
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, x.client), x.o.Issuer) // it compares the issuer's own name
	if err != nil {
		return nil, fmt.Errorf("the issuer of OpenID Connect: %w", err)
	}
	x.provider.Store(p)
	return p, nil
}

func (s *Store) oauth(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: s.openID.o.ClientID, ClientSecret: s.openID.o.Secret, Endpoint: p.Endpoint(), RedirectURL: s.o.Origin + callback,
		Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}
}

// derive makes state, nonce and PKCE verifier of one sign-in from the cookie of its browser, so
// that nothing has to be kept here, and an answer meant for one browser is worth nothing in another.
func derive(cookie, what string) string {
	h := sha256.Sum256([]byte("openid " + what + "\n" + cookie))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// BeginOpenID gives the address at the issuer to which the browser is sent, and its cookie.
func (s *Store) BeginOpenID(ctx context.Context) (address, cookie string, err error) {
	if s.openID == nil {
		return "", "", ErrForbidden
	}
	p, err := s.openID.known(ctx)
	if err != nil {
		return "", "", err
	}
	cookie = newSecret()
	return s.oauth(p).AuthCodeURL(derive(cookie, "state"), oidc.Nonce(derive(cookie, "nonce")), oauth2.S256ChallengeOption(derive(cookie, "verifier"))), cookie, nil
}

// EndOpenID signs in the browser that comes back from the issuer. Whatever does not hold is
// ErrSignIn; the log says what it was.
func (s *Store) EndOpenID(ctx context.Context, cookie, state, code string, v Visitor, old string) (*Grant, error) {
	if s.openID == nil {
		return nil, ErrForbidden
	}
	if hashSecret(cookie) == nil || subtle.ConstantTimeCompare([]byte(state), []byte(derive(cookie, "state"))) != 1 || code == "" {
		return nil, ErrSignIn // not begun here: nothing to note
	}
	if wait, ok := s.clients.take(place(v.From), s.now()); !ok {
		return nil, &WaitError{wait}
	}
	c, err := s.claims(ctx, cookie, code)
	var r *record
	if err == nil {
		r, err = s.personOf(ctx, c, v)
	}
	if err != nil {
		s.o.Log.Warn("people: a sign-in by OpenID Connect does not hold", "client", v.From.String(), "error", err)
		return nil, s.noteSignIn(ctx, c.Email, "openid", v, ErrSignIn)
	}
	s.clients.give(place(v.From), s.now())
	stage := Done // the issuer asked for what it wants to be sure
	if r.totp != "" {
		stage = Code
	}
	g, err := s.begin(ctx, r, "openid", stage, v, old)
	if err != nil || g.Stage != Done {
		return g, err
	}
	return s.admit(ctx, g, r.Login, "openid", v)
}

// claims are what the issuer says about a person.
type claims struct {
	Subject  string `json:"sub"`
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // true, or "true" from some
	Name     string `json:"name"`
	Party    string `json:"azp"`
	groups   []string
}

// claims exchanges the code for an ID token and checks it: signature by the issuer's keys, issuer,
// audience, time and nonce (OpenID Connect Core 3.1.3.7).
func (s *Store) claims(ctx context.Context, cookie, code string) (claims, error) {
	var c claims
	p, err := s.openID.known(ctx)
	if err != nil {
		return c, err
	}
	ctx = oidc.ClientContext(ctx, s.openID.client)
	token, err := s.oauth(p).Exchange(ctx, code, oauth2.VerifierOption(derive(cookie, "verifier")))
	if err != nil {
		return c, fmt.Errorf("exchange of the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return c, errors.New("there is no ID token")
	}
	id, err := p.Verifier(&oidc.Config{ClientID: s.openID.o.ClientID, Now: s.now,
		SupportedSigningAlgs: []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}}).Verify(ctx, raw)
	if err != nil {
		return c, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(derive(cookie, "nonce"))) != 1 {
		return c, errors.New("the ID token is of another sign-in")
	}
	var all map[string]json.RawMessage
	if err := errors.Join(id.Claims(&c), id.Claims(&all)); err != nil {
		return c, fmt.Errorf("claims: %w", err)
	}
	if c.Party != "" && c.Party != s.openID.o.ClientID || len(id.Audience) > 1 && c.Party == "" {
		return c, errors.New("the ID token is for another program as well")
	}
	if len(c.Subject) == 0 || len(c.Subject) > 255 {
		return c, errors.New("the ID token names nobody")
	}
	c.groups = groupsOf(all[s.openID.o.GroupClaim])
	return c, nil
}

// groupsOf reads a list of names, or one.
func groupsOf(raw json.RawMessage) (groups []string) {
	var one string
	if json.Unmarshal(raw, &groups) == nil {
		return groups
	}
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	return nil
}

// address is the person's, if the issuer has verified it.
func (c *claims) address() (mail.Address, error) {
	if c.Verified != true && c.Verified != "true" {
		return mail.Address{}, errors.New("the address is not verified")
	}
	return mail.ParseAddress(strings.ToLower(c.Email), true)
}

// role is the highest that the groups give; "" when they give none.
func (x *openID) role(groups []string) Role {
	for _, r := range Roles() {
		for g, role := range x.o.Roles {
			if role == r && slices.Contains(groups, g) {
				return r
			}
		}
	}
	return ""
}
