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
// anew for each of them, which is a third of its work; here they are kept with the key. All that
// is computed with is public, so the time that it takes may tell of it.
type rsaKey struct {
	pub *rsa.PublicKey
	mu  *big.Int // B^2k / N, with B a machine word and k the words of N; nil: crypto/rsa is to verify
}

// usualExponent is that of nearly all keys; others are left to crypto/rsa.
const usualExponent = 65537

func newRSAKey(pub *rsa.PublicKey) *rsaKey {
	k := &rsaKey{pub: pub}
	if pub.E == usualExponent && pub.N.Sign() > 0 && pub.N.Bit(0) == 1 {
		mu := new(big.Int).Lsh(big.NewInt(1), 2*bits.UintSize*uint(len(pub.N.Bits())))
		k.mu = mu.Quo(mu, pub.N)
	}
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
	s, x, square, q, t big.Int
	got, want          []byte
}

var rsaPool = sync.Pool{New: func() any { return new(rsaScratch) }}

// power puts s^65537 mod N into x.
func (k *rsaKey) power(w *rsaScratch) {
	w.x.Set(&w.s)
	for range 16 {
		w.square.Mul(&w.x, &w.x)
		k.reduce(w)
	}
	w.square.Mul(&w.x, &w.s)
	k.reduce(w)
}

// reduce puts square mod N into x, by Barrett's way (Handbook of Applied Cryptography, 14.42):
// the quotient is guessed by a product with mu, two too small at most. Whatever is guessed, x is
// congruent to square, since multiples of N are all that is taken from it.
func (k *rsaKey) reduce(w *rsaScratch) {
	n := len(k.pub.N.Bits())
	var guess []big.Word
	if high := w.square.Bits(); len(high) >= n {
		guess = w.t.Mul(w.q.SetBits(high[n-1:]), k.mu).Bits()
	}
	if len(guess) > n+1 {
		w.x.Mul(w.q.SetBits(guess[n+1:]), k.pub.N)
		w.x.Sub(&w.square, &w.x)
	} else {
		w.x.Set(&w.square)
	}
	for w.x.Cmp(k.pub.N) >= 0 {
		w.x.Sub(&w.x, k.pub.N)
	}
}
