package filters

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
)

// signRaw signs what need not be properly padded.
func signRaw(k *rsa.PrivateKey, em []byte) []byte {
	m := new(big.Int).Mod(new(big.Int).SetBytes(em), k.N)
	return m.Exp(m, k.D, k.N).FillBytes(make([]byte, k.Size()))
}

// crypto/rsa is the oracle: for good signatures, for each way of padding them wrongly, and for
// keys that are none.
func TestRSAIsThatOfCryptoRSA(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	good, bad := 0, 0
	compare := func(what string, k *rsaKey, hash, sig []byte) {
		t.Helper()
		want := rsa.VerifyPKCS1v15(k.public, crypto.SHA256, hash, sig) == nil
		if got := k.verifies(hash, sig); got != want {
			t.Errorf("%d bits, %s: %v, crypto/rsa says %v", k.public.N.BitLen(), what, got, want)
		}
		if want {
			good++
		} else {
			bad++
		}
	}
	for _, bits := range []int{1024, 1025, 1031, 1032, 1536, 2048, 3072} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		k := newRSAKey(&private.PublicKey)
		if k.modulus == nil {
			t.Fatalf("%d bits: the modulus is not kept", bits)
		}
		for i := range 20 {
			sum := sha256.Sum256(fmt.Append(nil, i))
			hash := sum[:]
			sig, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, hash)
			if err != nil {
				t.Fatal(err)
			}
			compare("good", k, hash, sig)
			flipped := bytes.Clone(sig)
			flipped[r.IntN(len(sig))] ^= 1 << r.IntN(8)
			compare("a bit flipped", k, hash, flipped)
			compare("another hash", k, bytes.Repeat([]byte{byte(i)}, 32), sig)
			compare("a short hash", k, hash[:31], sig)
			compare("a long hash", k, append(bytes.Clone(hash), 0), sig)
			compare("too short", k, hash, sig[1:])
			compare("too long", k, hash, append([]byte{0}, sig...))
			compare("the modulus", k, hash, k.public.N.Bytes())
			above := new(big.Int).Add(new(big.Int).SetBytes(sig), k.public.N)
			if above.BitLen() <= 8*len(sig) {
				compare("more than the modulus", k, hash, above.FillBytes(make([]byte, len(sig))))
			}
			em := append(bytes.Clone(k.padding), hash...)
			compare("signed by hand", k, hash, signRaw(private, em))
			for j := range em {
				wrong := bytes.Clone(em)
				wrong[j] ^= 1 << r.IntN(8)
				if i == 0 || j < 3 {
					compare(fmt.Sprint("wrong at ", j), k, hash, signRaw(private, wrong))
				}
			}
			short := append(append(bytes.Clone(em[:len(em)/2]), 0), digestInfo[:]...) // Bleichenbacher 2006: the hash stands too early
			short = append(append(short, hash...), make([]byte, len(em))...)[:len(em)]
			compare("hash too early", k, hash, signRaw(private, short))
			noNull := append(bytes.Repeat([]byte{0xff}, len(em)), 0, 0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20)
			noNull = append(noNull, hash...)
			noNull = noNull[len(noNull)-len(em):]
			noNull[0], noNull[1] = 0, 1
			compare("no NULL in the algorithm", k, hash, signRaw(private, noNull))
		}
		compare("zeros", k, make([]byte, 32), make([]byte, k.public.Size()))
	}
	if good != 2*20*7 || bad < 1000 {
		t.Errorf("%d good and %d bad signatures", good, bad)
	}
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	for _, public := range []*rsa.PublicKey{{N: n, E: 65537}, {N: new(big.Int).Add(n, big.NewInt(1)), E: 65536}, {N: new(big.Int).Add(n, big.NewInt(1)), E: 1}, {N: new(big.Int).Add(n, big.NewInt(1)), E: -3}} {
		k := newRSAKey(public)
		compare("no key", k, make([]byte, 32), make([]byte, 128))
		compare("no key", k, make([]byte, 32), append(make([]byte, 127), 1))
	}
}

func BenchmarkRSA(b *testing.B) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	hash := sha256.Sum256(nil)
	sig, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, hash[:])
	if err != nil {
		b.Fatal(err)
	}
	k := newRSAKey(&private.PublicKey)
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			k.verifies(hash[:], sig)
		}
	})
	b.Run("crypto", func(b *testing.B) {
		for b.Loop() {
			_ = rsa.VerifyPKCS1v15(k.public, crypto.SHA256, hash[:], sig)
		}
	})
}
