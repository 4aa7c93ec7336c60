package people

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/mail"

	"github.com/go-jose/go-jose/v4"
)

// An issuer of OpenID Connect with real keys, that does what a test tells it.
type issuer struct {
	*httptest.Server
	key       *rsa.PrivateKey
	claims    map[string]any
	sign      func(payload []byte) string
	challenge string // of the last sign-in, as the browser brought it
	code      string
	asked     int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	x := &issuer{key: key}
	x.sign = func(payload []byte) string { return signed(t, jose.RS256, key, "one", payload) }
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": x.URL, "authorization_endpoint": x.URL + "/auth", "token_endpoint": x.URL + "/token", "jwks_uri": x.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		x.asked++
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		id, secret, _ := r.BasicAuth()
		if r.PostFormValue("code") != x.code || base64.RawURLEncoding.EncodeToString(sum[:]) != x.challenge || id != "postern" || secret != "s3cret" {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		payload, _ := json.Marshal(x.claims)
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": x.sign(payload)})
	})
	x.Server = httptest.NewServer(mux)
	t.Cleanup(x.Close)
	return x
}

func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, id string, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// visit is a browser that goes to the issuer and is about to come back.
func (x *issuer) visit(t *testing.T, b *bed, more map[string]any) (cookie, state string) {
	t.Helper()
	address, cookie, err := b.BeginOpenID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != "https://postern.example/sign-in/oidc/back" || q.Get("client_id") != "postern" || q.Get("response_type") != "code" || strings.Contains(address, cookie) {
		t.Fatal(address)
	}
	x.challenge, x.code = q.Get("code_challenge"), newSecret()
	x.claims = map[string]any{"iss": x.URL, "aud": "postern", "sub": "s-1", "exp": b.now().Add(time.Minute).Unix(), "iat": b.now().Unix(), "nonce": q.Get("nonce"),
		"email": "Ann@Example.org", "email_verified": true, "name": "Ann"}
	for k, v := range more {
		if x.claims[k] = v; v == nil {
			delete(x.claims, k)
		}
	}
	return cookie, q.Get("state")
}

func newOpenIDBed(t *testing.T, x *issuer, change func(*OpenID)) *bed {
	t.Helper()
	o := OpenID{Issuer: x.URL, ClientID: "postern", Secret: "s3cret", Create: true, GroupClaim: "groups"}
	if change != nil {
		change(&o)
	}
	b := newBed(t, func(p *Options) {
		p.OpenID, p.AdminTOTP = &o, true
		p.Internal = func(a mail.Address) bool { return a.Domain == "example.org" }
	})
	t.Cleanup(b.Close)
	return b
}

// W-04: only an ID token of our issuer, for us, for this sign-in, signed with its key, lets in.
func TestW04OpenID(t *testing.T) {
	x := newIssuer(t)
	good := x.sign
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: x.key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		claims map[string]any
		sign   func([]byte) string
		ok     bool
	}{
		"as it should be":         {ok: true},
		"verified as text":        {claims: map[string]any{"email_verified": "true", "sub": "s-1"}, ok: true},
		"two audiences, and ours": {claims: map[string]any{"aud": []string{"postern", "x"}, "azp": "postern"}, ok: true},
		"two audiences":           {claims: map[string]any{"aud": []string{"postern", "x"}}},
		"for another":             {claims: map[string]any{"aud": "x"}},
		"by another's request":    {claims: map[string]any{"azp": "x"}},
		"no audience":             {claims: map[string]any{"aud": nil}},
		"of another issuer":       {claims: map[string]any{"iss": "https://evil.example"}},
		"of another sign-in":      {claims: map[string]any{"nonce": newSecret()}},
		"without a nonce":         {claims: map[string]any{"nonce": nil}},
		"too old":                 {claims: map[string]any{"exp": time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC).Unix()}},
		"without an end":          {claims: map[string]any{"exp": nil}},
		"from the future":         {claims: map[string]any{"nbf": time.Date(2027, 11, 22, 11, 0, 0, 0, time.UTC).Unix()}},
		"of nobody":               {claims: map[string]any{"sub": ""}},
		"not verified":            {claims: map[string]any{"email_verified": false, "sub": "s-2"}},
		"verified in words":       {claims: map[string]any{"email_verified": "no", "sub": "s-2"}},
		"says nothing of it":      {claims: map[string]any{"email_verified": nil, "sub": "s-2"}},
		"another with the mail":   {claims: map[string]any{"sub": "s-2"}},
		"from outside":            {claims: map[string]any{"sub": "s-3", "email": "ann@elsewhere.example"}},
		"no address":              {claims: map[string]any{"sub": "s-3", "email": "<ann@example.org>"}},
		"another's key":           {sign: func(p []byte) string { return signed(t, jose.RS256, other, "one", p) }},
		"another kind of key":     {sign: func(p []byte) string { return signed(t, jose.ES256, ec, "one", p) }},
		"the public key as HMAC":  {sign: func(p []byte) string { return signed(t, jose.HS256, public, "one", p) }},
		"the secret as HMAC":      {sign: func(p []byte) string { return signed(t, jose.HS256, []byte(strings.Repeat("s3cret", 9)), "one", p) }},
		"none": {sign: func(p []byte) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(p) + "."
		}},
		"cut off": {sign: func(p []byte) string { s := good(p); return s[:len(s)-4] }},
		"changed": {sign: func(p []byte) string {
			parts := strings.Split(good(p), ".")
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString(append(p[:len(p)-1], `,"sub":"s-1"}`...)) + "." + parts[2]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newOpenIDBed(t, x, nil)
			if name == "another with the mail" {
				b.signInOpenID(t, x)
			}
			cookie, state := x.visit(t, b, c.claims)
			if c.sign != nil {
				x.sign = c.sign
			}
			g, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), "")
			x.sign = good
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSignIn) || c.ok && b.who(g.Cookie).Login != "ann@example.org" {
				t.Errorf("%v", err)
			}
		})
	}
}

// signInOpenID comes back from the issuer as Ann.
func (b *bed) signInOpenID(t *testing.T, x *issuer) *Grant {
	t.Helper()
	cookie, state := x.visit(t, b, nil)
	g, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// State and PKCE: what comes back counts in the browser that went, and asks the issuer nothing else.
func TestOpenIDIsBoundToTheBrowser(t *testing.T) {
	x := newIssuer(t)
	b := newOpenIDBed(t, x, nil)
	cookie, state := x.visit(t, b, nil)
	for name, c := range map[string][3]string{
		"no cookie":         {"", state, x.code},
		"another's cookie":  {newSecret(), state, x.code},
		"no state":          {cookie, "", x.code},
		"another's state":   {cookie, derive(newSecret(), "state"), x.code},
		"the nonce instead": {cookie, derive(cookie, "nonce"), x.code},
		"no code":           {cookie, state, ""},
	} {
		if _, err := b.EndOpenID(t.Context(), c[0], c[1], c[2], at("192.0.2.1"), ""); !errors.Is(err, ErrSignIn) || x.asked > 0 {
			t.Errorf("%s: %v, the issuer was asked %d times", name, err, x.asked)
		}
	}
	cookie2, state2 := cookie, state
	cookie, state = x.visit(t, b, nil) // another browser begins; the code belongs to it
	if _, err := b.EndOpenID(t.Context(), cookie2, state2, x.code, at("192.0.2.1"), ""); !errors.Is(err, ErrSignIn) {
		t.Errorf("a code of another browser: %v", err)
	}
	if _, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), ""); err != nil {
		t.Error(err)
	}
}

// Groups give roles, and take them away; without a group the account's own role holds.
func TestOpenIDRoles(t *testing.T) {
	x := newIssuer(t)
	b := newOpenIDBed(t, x, func(o *OpenID) {
		o.Create, o.LinkStaff, o.Roles = false, true, map[string]Role{"mail-admins": Admin, "desk": Operator}
	})
	cookie, state := x.visit(t, b, nil)
	if _, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), ""); !errors.Is(err, ErrSignIn) {
		t.Fatalf("somebody was made: %v", err)
	}
	b.person(Person{Login: "ann", Role: Auditor, Addresses: addresses("ann@example.org")}, "")
	for i, c := range []struct {
		groups any
		want   Role
	}{{nil, Auditor}, {[]string{"x"}, Auditor}, {[]string{"desk", "mail-admins"}, Admin}, {"desk", Operator}, {[]string{}, Auditor}, {map[string]int{"desk": 1}, Auditor}} {
		b.pass(time.Hour)
		cookie, state := x.visit(t, b, map[string]any{"groups": c.groups})
		g, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), "")
		if err != nil || g.Stage != Done || b.who(g.Cookie).Role != c.want {
			t.Errorf("%d: %+v %v", i, g, err)
		}
	}
}

// An issuer that does not answer, or is another than it says, lets nobody in and hangs nobody up.
func TestOpenIDIssuerFails(t *testing.T) {
	x := newIssuer(t)
	for name, change := range map[string]func(*OpenID){
		"another name": func(o *OpenID) { o.Issuer = strings.Replace(x.URL, "127.0.0.1", "localhost", 1) },
		"link-local":   func(o *OpenID) { o.Issuer = "http://169.254.169.254" },
		"nobody":       func(o *OpenID) { o.Issuer = "http://127.0.0.1:1" },
	} {
		b := newOpenIDBed(t, x, change)
		if _, _, err := b.BeginOpenID(t.Context()); err == nil {
			t.Errorf("%s: it was believed", name)
		}
	}
}

// Whoever gets hold of a verified address becomes no more than a user by it: accounts of the staff
// are found by the subject that an administrator linked, by a group that gives as much, or where the
// site says so.
func TestW04_OpenIDTakesNoStaffAccount(t *testing.T) {
	x := newIssuer(t)
	roles := map[string]Role{"mail-admins": Admin, "desk": Operator, "all": User}
	for name, c := range map[string]struct {
		role   Role
		change func(*OpenID)
		groups any
		link   string
		ok     bool
	}{
		"a user":                           {role: User, ok: true},
		"an administrator":                 {role: Admin},
		"an operator":                      {role: Operator},
		"an auditor":                       {role: Auditor},
		"linked":                           {role: Admin, link: "s-1", ok: true},
		"linked to somebody else":          {role: Admin, link: "s-9"},
		"the site says so":                 {role: Admin, change: func(o *OpenID) { o.LinkStaff = true }, ok: true},
		"a group gives as much":            {role: Admin, change: func(o *OpenID) { o.Roles = roles }, groups: "mail-admins", ok: true},
		"a group gives more":               {role: Auditor, change: func(o *OpenID) { o.Roles = roles }, groups: "desk", ok: true},
		"a group gives less":               {role: Admin, change: func(o *OpenID) { o.Roles = roles }, groups: "desk"},
		"a group that is for users":        {role: Auditor, change: func(o *OpenID) { o.Roles = roles }, groups: "all"},
		"a group, but roles are not given": {role: Admin, groups: "mail-admins"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newOpenIDBed(t, x, c.change)
			p := b.person(Person{Login: "ann", Role: c.role, Addresses: addresses("ann@example.org")}, goodPassword)
			if c.link != "" {
				if err := b.LinkOpenID(t.Context(), boss(), p.ID, c.link); err != nil {
					t.Fatal(err)
				}
			}
			cookie, state := x.visit(t, b, map[string]any{"groups": c.groups})
			g, err := b.EndOpenID(t.Context(), cookie, state, x.code, at("192.0.2.1"), "")
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSignIn) || c.ok && b.who(g.Cookie).Login != "ann" {
				t.Fatal(err)
			}
			if l, _ := b.notes.last(); l.Act != "sign-in" || (l.Result == "done") != c.ok {
				t.Errorf("%+v", l)
			}
			if r, err := b.find(t.Context(), "id = ?", p.ID); err != nil || !c.ok && r.Role != c.role {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// Nobody is linked twice, and only administrators link.
func TestLinkOpenID(t *testing.T) {
	b := newOpenIDBed(t, newIssuer(t), nil)
	ann, ben := b.person(Person{Login: "ann", Role: Admin}, goodPassword), b.person(Person{Login: "ben", Role: Admin}, goodPassword)
	g := b.signIn("ann")
	must := func(ok bool, err error) {
		t.Helper()
		if (err == nil) != ok {
			t.Error(err)
		}
	}
	must(false, b.LinkOpenID(t.Context(), &Actor{Person: Person{ID: "x", Login: "x", Role: Operator}}, ann.ID, "s-1"))
	must(true, b.LinkOpenID(t.Context(), boss(), ann.ID, "s-1"))
	if l, _ := b.notes.last(); l.Act != "person-link" || l.Object != "ann" || string(l.After) != `{"subject":"s-1"}` {
		t.Errorf("%+v", l)
	}
	if b.who(g.Cookie) != nil {
		t.Error("the session goes on")
	}
	must(false, b.LinkOpenID(t.Context(), boss(), ben.ID, "s-1"))
	must(true, b.LinkOpenID(t.Context(), boss(), ann.ID, "s-2"))
	must(true, b.LinkOpenID(t.Context(), boss(), ben.ID, "s-1"))
	must(true, b.LinkOpenID(t.Context(), boss(), ann.ID, ""))
	must(false, b.LinkOpenID(t.Context(), boss(), ann.ID, "a\nb"))
	must(false, b.LinkOpenID(t.Context(), boss(), "nobody", "s-1"))
}
