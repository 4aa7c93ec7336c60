package filters

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"

	"filippo.io/bigmod"
)

// An rsaKey verifies signatures by one key. crypto/rsa makes the constants of the modulus anew
// for each signature, which is a third of the work; here they are kept with the key. The
// arithmetic is that of crypto/rsa, published as a module by the same author. It never changes.
type rsaKey struct {
	public  *rsa.PublicKey
	modulus *bigmod.Modulus // nil: crypto/rsa says what is wrong with the key
	padding []byte          // of a signed SHA-256 hash
}

// digestInfo stands before a SHA-256 hash (RFC 8017 9.2, note 1).
var digestInfo = [...]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

func newRSAKey(public *rsa.PublicKey) *rsaKey {
	k := &rsaKey{public: public}
	size := public.Size()
	if public.N.Bit(0) == 0 || public.E&1 == 0 || public.E < 3 || public.E > 1<<31-1 || public.N.BitLen() < minRSABits {
		return k
	}
	modulus, err := bigmod.NewModulus(public.N.Bytes())
	if err != nil {
		return k
	}
	k.modulus = modulus
	filler := size - 3 - len(digestInfo) - sha256.Size
	k.padding = append(append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, filler)...), 0)
	k.padding = append(k.padding, digestInfo[:]...)
	return k
}

// verifies reports whether sig is a signature of a SHA-256 hash (RFC 8017 8.2.2): what was
// signed must be what would be signed now, byte for byte.
func (k *rsaKey) verifies(hash, sig []byte) bool {
	if k.modulus == nil {
		return rsa.VerifyPKCS1v15(k.public, crypto.SHA256, hash, sig) == nil
	}
	if len(sig) != len(k.padding)+sha256.Size || len(hash) != sha256.Size {
		return false
	}
	s, err := bigmod.NewNat().SetBytes(sig, k.modulus)
	if err != nil { // not less than the modulus
		return false
	}
	signed := bigmod.NewNat().ExpShortVarTime(s, uint(k.public.E), k.modulus).Bytes(k.modulus)
	return bytes.Equal(signed[:len(k.padding)], k.padding) && bytes.Equal(signed[len(k.padding):], hash)
}
