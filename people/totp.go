package people

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"image/png"
	"net/url"
	"strings"
	"time"

	"postern/audit"
	"postern/store"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

const (
	totpStep     = 30 * time.Second // RFC 6238 4.1
	recoveries   = 10               // codes for who has lost the device
	recoverySize = 10               // bytes of one: 16 letters
)

// A Secret is what a device has to learn for the codes of a second factor (TOTP, RFC 6238).
type Secret struct {
	Text string // to be typed
	key  *otp.Key
}

// PNG is the picture to be photographed (the otpauth URI as a QR code).
func (x *Secret) PNG() ([]byte, error) {
	img, err := x.key.Image(240, 240)
	if err != nil {
		return nil, fmt.Errorf("picture of the secret: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("picture of the secret: %w", err)
	}
	return b.Bytes(), nil
}

// NewTOTP gives the secret that the browser's session is to confirm; the same one until it does.
func (s *Store) NewTOTP(ctx context.Context, cookie string) (*Secret, error) {
	session, r, err := s.open(ctx, cookie)
	if err != nil {
		return nil, err
	}
	if r.totp != "" || session.Stage == Code {
		return nil, &InvalidError{"there is a second factor already"}
	}
	issuer := "Postern"
	if u, err := url.Parse(s.o.Origin); err == nil && u.Hostname() != "" {
		issuer = "Postern " + u.Hostname()
	}
	o := totp.GenerateOpts{Issuer: strings.ReplaceAll(issuer, ":", " "), AccountName: r.Login}
	if kept, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(session.totp); err == nil {
		o.Secret = kept
	}
	key, err := totp.Generate(o)
	if err != nil {
		return nil, fmt.Errorf("second factor: %w", err)
	}
	if session.totp == "" {
		err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE people_sessions SET totp = ? WHERE hash = ?", key.Secret(), hashSecret(cookie))
			return err
		})
	}
	return &Secret{Text: key.Secret(), key: key}, err
}

// ConfirmTOTP puts the second factor in force when the device gives the right code, and returns
// codes that each open once, should it be lost. Who is signed in already gives the password again.
// The browser gets another session, and it is the only one.
func (s *Store) ConfirmTOTP(ctx context.Context, cookie, password, code string, v Visitor) (*Grant, []string, error) {
	session, r, err := s.open(ctx, cookie)
	if err != nil {
		return nil, nil, err
	}
	if session.totp == "" || r.totp != "" || session.Stage == Code {
		return nil, nil, &InvalidError{"begin with the picture again"}
	}
	who := s.actor(r, ByPage, v.From)
	if session.Stage == Done {
		if err := s.confirm(ctx, r, password, v); err != nil {
			return nil, nil, s.note(ctx, who, "totp-add", r.Login, err)
		}
	}
	step, ok := matchCode(session.totp, code, s.now(), 0)
	if !ok {
		return nil, nil, &InvalidError{"that is not the code of now: is the device's clock right?"}
	}
	codes := newRecovery()
	err = s.noted(ctx, who, "totp-add", r.Login, func(tx *store.Tx, _ *audit.Line) error {
		n, err := tx.Exec("UPDATE people SET totp = ?, totp_step = ? WHERE id = ? AND totp = ''", session.totp, step, r.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return &InvalidError{"there is a second factor already"}
		}
		if err := keepRecovery(tx, r.ID, codes); err != nil {
			return err
		}
		return endSessions(tx, r.ID)
	})
	if err != nil {
		return nil, nil, err
	}
	g, err := s.begin(ctx, r, session.How, Done, v, cookie)
	if err == nil && session.Stage == Enrol {
		g, err = s.admit(ctx, g, r.Login, session.How+" and new second factor", v)
	}
	return g, codes, err
}

// Second ends a sign-in with a code of the device, or one of those for its loss.
func (s *Store) Second(ctx context.Context, cookie, code string, v Visitor) (*Grant, error) {
	session, r, err := s.open(ctx, cookie)
	if err != nil {
		return nil, err
	}
	if session.Stage != Code {
		return nil, ErrNobody
	}
	key := "code\x00" + r.ID
	if here := place(v.From); s.knows(ctx, r.ID, here) {
		key += "\x00" + here
	}
	if wait, ok := s.accounts.take(key, s.now()); !ok {
		return nil, &WaitError{wait}
	}
	how, err := s.takeCode(ctx, r, code)
	if err != nil {
		return nil, s.noteSignIn(ctx, r.Login, session.How+" and "+how, v, err)
	}
	s.accounts.give(key, s.now())
	g, err := s.begin(ctx, r, session.How, Done, v, cookie)
	if err != nil {
		return nil, err
	}
	return s.admit(ctx, g, r.Login, session.How+" and "+how, v)
}

// takeCode takes a code, each once: of two that come at the same time one is refused.
func (s *Store) takeCode(ctx context.Context, r *record, code string) (how string, err error) {
	step, ok := matchCode(r.totp, code, s.now(), r.step)
	how = "code"
	if !ok {
		how = "recovery code"
	}
	return how, s.o.DB.Write(ctx, func(tx *store.Tx) error {
		var n int64
		var err error
		if ok {
			n, err = tx.Exec("UPDATE people SET totp_step = ? WHERE id = ? AND totp_step < ? AND totp = ?", step, r.ID, step, r.totp)
		} else if hash := hashRecovery(code); hash != nil {
			n, err = tx.Exec("DELETE FROM people_recovery WHERE person = ? AND hash = ?", r.ID, hash)
		}
		if err == nil && n == 0 {
			return ErrSignIn
		}
		return err
	})
}

// matchCode finds the time step, of now and its two neighbours, whose code this is; one at or
// before last was taken already (RFC 6238 5.2).
func matchCode(secret, code string, now time.Time, last int64) (step int64, ok bool) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(code)
	if len(code) != 6 || secret == "" {
		return 0, false
	}
	for _, d := range []time.Duration{-totpStep, 0, totpStep} {
		at := now.Add(d)
		want, err := totp.GenerateCode(secret, at)
		if err != nil {
			return 0, false
		}
		if n := at.Unix() / int64(totpStep/time.Second); subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && n > last {
			step, ok = n, true
		}
	}
	return step, ok
}

func newRecovery() (codes []string) {
	for range recoveries {
		var b [recoverySize]byte
		rand.Read(b[:])
		text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
		codes = append(codes, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
	}
	return codes
}

func hashRecovery(code string) []byte {
	code = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
	b, err := base32.StdEncoding.DecodeString(code)
	if err != nil || len(b) != recoverySize {
		return nil
	}
	h := sha256.Sum256(b)
	return h[:]
}

func keepRecovery(tx *store.Tx, person string, codes []string) error {
	if _, err := tx.Exec("DELETE FROM people_recovery WHERE person = ?", person); err != nil {
		return err
	}
	for _, c := range codes {
		if _, err := tx.Exec("INSERT INTO people_recovery VALUES (?, ?)", person, hashRecovery(c)); err != nil {
			return err
		}
	}
	return nil
}

// DropTOTP takes the second factor of a person away and ends all sessions. For one's own the
// password is needed, and an administrator who must have one cannot.
func (s *Store) DropTOTP(ctx context.Context, who *Actor, person, password string) error {
	login := s.loginOf(ctx, person)
	if err := s.mayDropTOTP(ctx, who, person, password); err != nil {
		return s.note(ctx, who, "totp-remove", login, err)
	}
	return s.noted(ctx, who, "totp-remove", login, func(tx *store.Tx, _ *audit.Line) error {
		if _, err := tx.Exec("UPDATE people SET totp = '' WHERE id = ?", person); err != nil { // totp_step stays: codes of before are spent
			return err
		}
		if _, err := tx.Exec("DELETE FROM people_recovery WHERE person = ?", person); err != nil {
			return err
		}
		return endSessions(tx, person)
	})
}

func (s *Store) mayDropTOTP(ctx context.Context, who *Actor, person, password string) error {
	own := person == who.ID
	if !own && !who.May(ManagePeople) || who.By == ByToken {
		return ErrForbidden
	}
	r, err := s.find(ctx, "id = ?", person)
	if err != nil {
		return err
	}
	if own && r.Role == Admin && s.o.AdminTOTP {
		return &InvalidError{"administrators need a second factor; another administrator can take it away, so that a new device is set up"}
	}
	if !own {
		return nil
	}
	return s.confirm(ctx, r, password, Visitor{From: who.From})
}
