package filters

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// What is no signature for crypto/rsa is none for us, and the other way round: bits flipped,
// lengths wrong, s + N, and whatever whoever has the key could have signed in its place.
func TestRSAAgreesWithTheLibrary(t *testing.T) {
	for _, size := range []int{1024, 1031, 1088, 2047, 2048, 3072} {
		key, err := rsa.GenerateKey(rand.Reader, size)
		if err != nil {
			t.Fatal(err)
		}
		k := newRSAKey(&key.PublicKey)
		if k.mu == nil {
			t.Fatalf("%d bits: left to crypto/rsa", size)
		}
		sum := sha256.Sum256([]byte("what is signed"))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		agree := func(what string, sum, sig []byte, want bool) {
			t.Helper()
			got, lib := k.verify(sum, sig), rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum, sig) == nil
			if got != want || lib != want {
				t.Errorf("%d bits, %s: %v, by crypto/rsa %v, want %v", size, what, got, lib, want)
			}
		}
		agree("as it is", sum[:], sig, true)
		agree("as it is, again", sum[:], sig, true)
		for _, bit := range []int{0, 1, 64, 500, size - 9} {
			bad := slices.Clone(sig)
			bad[len(bad)-1-bit/8] ^= 1 << (bit % 8)
			agree(fmt.Sprintf("bit %d of the signature", bit), sum[:], bad, false)
		}
		other := sha256.Sum256(nil)
		agree("another hash", other[:], sig, false)
		agree("short", sum[:], sig[1:], false)
		agree("long", sum[:], append([]byte{0}, sig...), false)
		agree("empty", sum[:], nil, false)
		agree("short hash", sum[:31], sig, false)
		agree("plus N", sum[:], plus(sig, key.N), false)
		for _, c := range []byte{0, 1, 0xff} {
			agree("all the same", sum[:], bytes.Repeat([]byte{c}, len(sig)), false)
		}
		good := append(append(append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, len(sig)-54)...), 0), sha256Info+string(sum[:])...)
		agree("signed by hand", sum[:], signRaw(key, good), true)
		for at := range good {
			if at < 4 || at > len(good)-53 {
				bad := slices.Clone(good)
				bad[at] ^= 0x10
				agree(fmt.Sprintf("byte %d of what is signed", at), sum[:], signRaw(key, bad), false)
			}
		}
		loose := append([]byte("\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00"+sha256Info+string(sum[:])), make([]byte, len(sig)-62)...)
		agree("little padding and more behind", sum[:], signRaw(key, loose), false)
	}
}

func signRaw(key *rsa.PrivateKey, em []byte) []byte {
	x := new(big.Int).SetBytes(em)
	return x.Exp(x, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// plus adds n when the sum still fits.
func plus(sig []byte, n *big.Int) []byte {
	x := new(big.Int).SetBytes(sig)
	if x.Add(x, n).BitLen() > 8*len(sig) {
		return bytes.Repeat([]byte{0xff}, len(sig))
	}
	return x.FillBytes(make([]byte, len(sig)))
}

// An exponent or a modulus that is not usual is left to crypto/rsa.
func TestRSAUnusualKeys(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	even := new(big.Int).SetBit(key.N, 0, 0)
	for _, pub := range []*rsa.PublicKey{{N: key.N, E: 3}, {N: key.N, E: 1}, {N: even, E: 65537}, {N: big.NewInt(0), E: 65537}} {
		if k := newRSAKey(pub); k.mu != nil || k.verify(make([]byte, 32), make([]byte, 256)) {
			t.Errorf("e = %d: not left to crypto/rsa, or zeros pass", pub.E)
		}
	}
}

// The power is that of math/big for any modulus, also those at which a guess is worst.
func FuzzRSAPower(f *testing.F) {
	ones := bytes.Repeat([]byte{0xff}, 128)
	f.Add(ones, ones[:127])
	f.Add(append([]byte{1}, make([]byte, 128)...), ones)
	f.Add(append([]byte{0x80}, ones...), ones)
	f.Add(append(append([]byte{0x80}, make([]byte, 120)...), 1), ones)
	f.Add([]byte{3}, []byte{2})
	f.Add(ones[:8], ones[:8])
	f.Add(append([]byte{1}, ones[:8]...), ones[:8])
	f.Fuzz(func(t *testing.T, n, s []byte) {
		if len(n) > 1024 || len(s) > 1024 {
			return
		}
		pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: usualExponent}
		k := newRSAKey(pub)
		if k.mu == nil || pub.N.BitLen() < 2 {
			return
		}
		w := rsaPool.Get().(*rsaScratch)
		defer rsaPool.Put(w)
		w.s.SetBytes(s).Mod(&w.s, pub.N)
		k.power(w)
		if want := new(big.Int).Exp(&w.s, big.NewInt(usualExponent), pub.N); w.x.Cmp(want) != 0 {
			t.Errorf("%x^65537 mod %x = %x, want %x", &w.s, pub.N, &w.x, want)
		}
	})
}
