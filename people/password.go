package people

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Hashing says how dear a guess is (argon2id, RFC 9106).
type Hashing struct {
	Memory uint32 // KiB
	Passes uint32
	AtOnce int // how many are computed at the same time; the others wait
}

// DefaultHashing takes about a tenth of a second and 32 MiB, two at a time: many sign-ins at once
// wait for each other and do not take the memory that mail needs.
func DefaultHashing() Hashing { return Hashing{Memory: 32 << 10, Passes: 3, AtOnce: 2} }

// Bounds of passwords, in characters and bytes.
const (
	MinPassword = 12
	maxPassword = 1024
)

const (
	saltSize, hashSize = 16, 32
	waitHash           = 5 * time.Second // for one's turn
)

// passwords computes hashes, some at a time.
type passwords struct {
	cost     Hashing
	turns    chan struct{}
	computed atomic.Int64
}

func newPasswords(cost Hashing) *passwords {
	return &passwords{cost: cost, turns: make(chan struct{}, max(cost.AtOnce, 1))}
}

// checkPassword says why a new password is none.
func checkPassword(password string) error {
	if !utf8.ValidString(password) || len(password) > maxPassword {
		return &InvalidError{fmt.Sprintf("a password is text of at most %d bytes", maxPassword)}
	}
	if n := utf8.RuneCountInString(norm.NFC.String(password)); n < MinPassword {
		return &InvalidError{fmt.Sprintf("a password has at least %d characters: a few words are easy to keep", MinPassword)}
	}
	return nil
}

// compute runs argon2id when it is its turn.
func (p *passwords) compute(ctx context.Context, password string, h *hashed) ([]byte, error) {
	timer := time.NewTimer(waitHash)
	defer timer.Stop()
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return nil, ErrBusy
	}
	defer func() { <-p.turns }()
	p.computed.Add(1)
	return argon2.IDKey([]byte(norm.NFC.String(password)), h.salt, h.passes, h.memory, h.threads, hashSize), nil
}

// hash gives a new password the form in which it is kept.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	h := p.blank()
	rand.Read(h.salt)
	sum, err := p.compute(ctx, password, h)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, b64.EncodeToString(h.salt), b64.EncodeToString(sum)), nil
}

func (p *passwords) blank() *hashed {
	return &hashed{memory: p.cost.Memory, passes: p.cost.Passes, threads: 1, salt: make([]byte, saltSize)}
}

// check compares a password with what is kept. Whatever is kept, also nothing and what nobody can
// read, one hash is computed, so that the time tells nothing.
func (p *passwords) check(ctx context.Context, password, kept string) (bool, error) {
	h, ok := parseHash(kept)
	if !ok {
		h = p.blank()
		h.sum = make([]byte, hashSize)
	}
	if len(password) > maxPassword {
		password, ok = "", false
	}
	sum, err := p.compute(ctx, password, h)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, h.sum) == 1 && ok, nil
}

// stale tells whether a hash was made cheaper than is asked for now.
func (p *passwords) stale(kept string) bool {
	h, ok := parseHash(kept)
	return ok && (h.memory != p.cost.Memory || h.passes != p.cost.Passes)
}

// hashed is a hash as it is kept: $argon2id$v=19$m=…,t=…,p=…$salt$sum (PHC string format).
type hashed struct {
	memory, passes uint32
	threads        uint8
	salt, sum      []byte
}

// parseHash reads what hash wrote, and nothing else: what is damaged lets nobody in, and makes
// nobody compute for minutes.
func parseHash(kept string) (*hashed, bool) {
	if len(kept) > 200 {
		return nil, false
	}
	parts := strings.Split(kept, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, false
	}
	m, t, p := uint32(0), uint32(0), uint8(0)
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) {
		return nil, false
	}
	if m < 8 || m > 256<<10 || t < 1 || t > 10 || p < 1 || p > 4 {
		return nil, false
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) != saltSize || len(sum) != hashSize || strings.ContainsAny(kept, "\r\n") { // base64 skips ends of lines
		return nil, false
	}
	return &hashed{m, t, p, salt, sum}, true
}
