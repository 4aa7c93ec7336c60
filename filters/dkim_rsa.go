package filters

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"math/big"
	"math/bits"
	"sync"
)

// An rsaKey verifies signatures of one RSA key. crypto/rsa finds the constants of the modulus
// anew for each of them; here they are kept with the key, and more of them pay. All that is
// computed with is public, so the time that it takes may tell of it.
type rsaKey struct {
	pub   *rsa.PublicKey
	folds []rsaFold
	most  int      // words of what is left to divide
	mu    *big.Int // B^most / N, with B a machine word; nil: crypto/rsa is to verify
}

// An rsaFold makes a number shorter: what stands from a word on is replaced by its product with
// rest, which is congruent to it.
type rsaFold struct {
	at   int
	rest *big.Int // B^at mod N
}

const (
	usualExponent = 65537 // that of nearly all keys; others are left to crypto/rsa
	rsaFolds      = 2
)

func newRSAKey(pub *rsa.PublicKey) *rsaKey {
	k := &rsaKey{pub: pub}
	if pub.E != usualExponent || pub.N.Sign() <= 0 || pub.N.Bit(0) == 0 {
		return k
	}
	power := func(words int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(words)*bits.UintSize) }
	n := len(pub.N.Bits())
	at := 2 * n
	for range rsaFolds { // each takes away half of what is beyond n words, but for a few bits
		at = (at + n + 1) / 2
		rest := power(at)
		k.folds = append(k.folds, rsaFold{at, rest.Mod(rest, pub.N)})
	}
	k.most = at + 1
	k.mu = power(k.most)
	k.mu.Quo(k.mu, pub.N)
	return k
}

// sha256Info is what stands before a SHA-256 hash in a signature (RFC 8017 9.2, note 1).
const sha256Info = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// verify reports whether sig is a signature of the SHA-256 hash sum (RFC 8017 8.2.2).
func (k *rsaKey) verify(sum, sig []byte) bool {
	if k.mu == nil {
		return rsa.VerifyPKCS1v15(k.pub, crypto.SHA256, sum, sig) == nil
	}
	size := k.pub.Size()
	if len(sig) != size || len(sum) != 32 || size < len(sha256Info)+len(sum)+11 {
		return false
	}
	w := rsaPool.Get().(*rsaScratch)
	defer rsaPool.Put(w)
	if w.s.SetBytes(sig).Cmp(k.pub.N) >= 0 {
		return false
	}
	k.power(w)
	w.got, w.want = append(w.got[:0], make([]byte, size)...), append(w.want[:0], 0, 1)
	for len(w.want) < size-len(sha256Info)-len(sum)-1 {
		w.want = append(w.want, 0xff)
	}
	w.want = append(w.want, 0)
	w.want = append(w.want, sha256Info...)
	w.want = append(w.want, sum...)
	return bytes.Equal(w.x.FillBytes(w.got), w.want)
}

// An rsaScratch is room for one verification.
type rsaScratch struct {
	s, x, square, part, t big.Int
	folded                [rsaFolds]big.Int
	got, want             []byte
}

var rsaPool = sync.Pool{New: func() any { return new(rsaScratch) }}

// power puts s^65537 mod N into x.
func (k *rsaKey) power(w *rsaScratch) {
	w.x.Set(&w.s)
	for range 16 {
		w.square.Mul(&w.x, w.part.SetBits(w.x.Bits())) // as if they were two: what math/big has for squares is slower
		k.reduce(w)
	}
	w.square.Mul(&w.x, &w.s)
	k.reduce(w)
}

// reduce puts square mod N into x. First it is folded to about n words, n those of N; then the
// quotient is guessed by a product with mu, two too small at most (Barrett's way, Handbook of
// Applied Cryptography, 14.42). Whatever were guessed, x would be congruent to square and below N.
func (k *rsaKey) reduce(w *rsaScratch) {
	y := &w.square
	for i, f := range k.folds {
		if all := y.Bits(); len(all) > f.at {
			w.t.Mul(w.part.SetBits(all[f.at:]), f.rest)
			y = w.folded[i].Add(&w.t, w.part.SetBits(all[:f.at]))
		}
	}
	n := len(k.pub.N.Bits())
	var guess []big.Word
	if all := y.Bits(); len(all) >= n {
		guess = w.t.Mul(w.part.SetBits(all[n-1:]), k.mu).Bits()
	}
	if low := k.most - n + 1; len(guess) > low {
		w.x.Mul(w.part.SetBits(guess[low:]), k.pub.N)
		w.x.Sub(y, &w.x)
	} else {
		w.x.Set(y)
	}
	for w.x.Cmp(k.pub.N) >= 0 {
		w.x.Sub(&w.x, k.pub.N)
	}
}
