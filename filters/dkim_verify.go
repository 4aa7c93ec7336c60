package filters

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/mail"
)

const (
	defaultSignatures = 5
	maxListed         = 16 // signatures in the facts
	keyPatience       = 10 * time.Second
)

// A dkimVerifier verifies messages; it keeps nothing of them but parsed keys.
type dkimVerifier struct {
	most     int
	resolver Resolver
	keys     recordCache[dkimKey]
	scratch  sync.Pool
}

func newDKIMVerifier(c DKIMConfig, r Resolver) *dkimVerifier {
	v := &dkimVerifier{most: c.MaxSignatures, resolver: r}
	if v.most <= 0 {
		v.most = defaultSignatures
	}
	v.keys.parse = parseKey
	v.scratch.New = func() any { return &dkimScratch{header: sha256.New()} }
	return v
}

// verify reads the header, starts one check for each signature that may pass (key and header
// hash), hashes the body as it arrives, and puts both together. The error is that of a body
// that broke off, or of ctx.
func (v *dkimVerifier) verify(ctx context.Context, in *Input) (DKIMFacts, error) {
	h, err := in.Body.Header()
	if err != nil {
		return DKIMFacts{}, err
	}
	sigs := findSignatures(h, in.Received)
	if len(sigs) == 0 {
		return DKIMFacts{Result: dkimNone}, nil
	}
	if chosen := v.choose(h, sigs); len(chosen) > 0 {
		if err := v.verifyAll(ctx, in.Body, h, chosen); err != nil {
			return DKIMFacts{}, err
		}
	}
	return summary(sigs), nil
}

// verifyAll gives each of the signatures its result. Keys are looked up while the body arrives;
// when all of it is there already, one signature needs no goroutine.
func (v *dkimVerifier) verifyAll(ctx context.Context, body *mail.Body, h *mail.Header, sigs []*dkimSignature) error {
	if _, ok := ctx.(*instant); ok {
		return v.verifyNow(ctx, body, h, sigs)
	}
	lookups, cancel := context.WithTimeout(ctx, keyPatience)
	x := newHeaderIndex(h)
	here := 0
	if body.Complete() {
		here = 1
	}
	wait := v.start(lookups, x, sigs[here:])
	defer func() { cancel(); wait() }() // also when something below panics
	bodies, err := v.hashBody(ctx, body, h, sigs)
	if err != nil {
		cancel()
	} else if here == 1 {
		v.check(lookups, x, sigs[0])
	}
	if err := errors.Join(err, wait(), context.Cause(ctx)); err != nil {
		return err
	}
	for _, s := range sigs {
		s.conclude(bodies)
	}
	return nil
}

// verifyNow is verifyAll for keys that are remembered: one thing after the other, and nothing
// before it is sure that all of them are.
func (v *dkimVerifier) verifyNow(ctx context.Context, body *mail.Body, h *mail.Header, sigs []*dkimSignature) error {
	for _, s := range sigs {
		s.key, s.checked = v.key(ctx, s.keyName)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	x := newHeaderIndex(h)
	for _, s := range sigs {
		v.checkWith(x, s)
	}
	bodies, err := v.hashBody(ctx, body, h, sigs)
	if err = cmp.Or(err, context.Cause(ctx)); err != nil {
		return err
	}
	for _, s := range sigs {
		s.conclude(bodies)
	}
	return nil
}

func findSignatures(h *mail.Header, now time.Time) []*dkimSignature {
	var sigs []*dkimSignature
	for i := range h.Fields {
		if h.Fields[i].Is("DKIM-Signature") {
			s := parseSignature(&h.Fields[i], now)
			s.field = i
			sigs = append(sigs, &s)
		}
	}
	return sigs
}

// choose gives the signatures to verify; the others are settled.
func (v *dkimVerifier) choose(h *mail.Header, sigs []*dkimSignature) []*dkimSignature {
	fault := unfit(h)
	var chosen []*dkimSignature
	for _, s := range sigs {
		switch {
		case !s.open():
		case fault.found():
			s.settle(fault)
		default:
			chosen = append(chosen, s)
		}
	}
	if len(chosen) <= v.most {
		return chosen
	}
	alignedFirst(h, chosen)
	for _, s := range chosen[v.most:] {
		s.settle(dkimFault{dkimPolicy, "too many signatures"})
	}
	return chosen[:v.most]
}

// alignedFirst brings the signatures forward whose domain is, contains or is within that of
// an author: those that DMARC may count.
func alignedFirst(h *mail.Header, sigs []*dkimSignature) {
	authors := h.Authors().List
	foreign := func(s *dkimSignature) int {
		for _, a := range authors {
			if d := s.facts.Domain; a.Domain == d || strings.HasSuffix(a.Domain, "."+d) || strings.HasSuffix(d, "."+a.Domain) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(sigs, func(a, b *dkimSignature) int { return foreign(a) - foreign(b) })
}

// start checks each signature in a goroutine of its own. wait returns when all are done; its
// error is that of one that panicked.
func (v *dkimVerifier) start(ctx context.Context, x headerIndex, sigs []*dkimSignature) (wait func() error) {
	if len(sigs) == 0 {
		return func() error { return nil }
	}
	var wg sync.WaitGroup
	errs := make([]error, len(sigs))
	for i, s := range sigs {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("dkim: panic: %v\n%s", p, debug.Stack())
				}
			}()
			v.check(ctx, x, s)
		})
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

// check does all for one signature that needs no body.
func (v *dkimVerifier) check(ctx context.Context, x headerIndex, s *dkimSignature) {
	s.key, s.checked = v.key(ctx, s.keyName)
	v.checkWith(x, s)
}

// checkWith is what check does once the key is looked up.
func (v *dkimVerifier) checkWith(x headerIndex, s *dkimSignature) {
	s.facts.Oversigned, s.facts.Extra = x.coverage(s.facts.Signed)
	if !s.checked.found() {
		s.checked = v.verifyHeader(x, s)
	}
}

// verifyHeader verifies the header with the key (RFC 6376 6.1.2, 6.1.3).
func (v *dkimVerifier) verifyHeader(x headerIndex, s *dkimSignature) dkimFault {
	key := s.key
	s.facts.KeyBits, s.facts.Testing = key.bits, key.testing
	if key.fault.found() {
		return key.fault
	}
	if key.strict && s.idDomain != s.facts.Domain {
		return dkimFault{dkimFail, "the key allows no subdomain in i="}
	}
	w := v.scratch.Get().(*dkimScratch)
	defer v.scratch.Put(w)
	sum := x.hash(s, w)
	var ok bool
	switch {
	case key.rsa != nil && s.facts.Algorithm == "rsa-sha256":
		ok = key.rsa.verifies(sum, s.sig)
	case key.ed != nil && s.facts.Algorithm == "ed25519-sha256": // RFC 8463 3: signs the hash
		ok = ed25519.Verify(key.ed, sum, s.sig)
	default:
		return permerror("key is of another type than the signature")
	}
	if !ok {
		return dkimFault{dkimFail, "signature did not verify"}
	}
	return dkimFault{}
}

// key looks a key up.
func (v *dkimVerifier) key(ctx context.Context, name string) (*dkimKey, dkimFault) {
	txts, err := v.resolver.TXT(ctx, name)
	switch {
	case err != nil && isNotFound(err), err == nil && len(txts) == 0:
		return nil, permerror("no key")
	case err != nil:
		return nil, dkimFault{dkimTemperror, "key cannot be looked up now"}
	case len(txts) > 1: // RFC 6376 3.6.2.2: undefined; whoever can add a record must not choose
		return nil, permerror("more than one key record")
	}
	return v.keys.get(txts[0]), dkimFault{}
}

func isNotFound(err error) bool {
	var dns *DNSError
	return errors.As(err, &dns) && dns.NotFound
}

// hashBody reads the body to its end and hashes it once in each form that a signature wants.
func (v *dkimVerifier) hashBody(ctx context.Context, body *mail.Body, h *mail.Header, sigs []*dkimSignature) (sums [2][]byte, err error) {
	w := v.scratch.Get().(*dkimScratch)
	defer v.scratch.Put(w)
	var forms [2]bodyHash
	for _, s := range sigs {
		forms[s.form()] = w.body(s.form())
	}
	r := body.Open()
	defer r.Close()
	for skip := len(h.Raw); ; {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return sums, err
		}
		n := min(skip, len(p))
		skip -= n
		for _, f := range forms {
			if f != nil && n < len(p) {
				f.write(p[n:])
			}
		}
	}
	for i, f := range forms {
		if f != nil {
			sums[i] = f.sum()
		}
	}
	return sums, nil
}

// form is the place of the signature's body hash.
func (s *dkimSignature) form() int {
	if s.relaxedBody {
		return 1
	}
	return 0
}
