package people

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// secretSize is that of session ids, tokens and links: 256 bits, so that their plain SHA-256 is
// safe at rest.
const secretSize = 32

// newSecret makes a secret as text, 43 characters fit for cookies and links.
func newSecret() string {
	var b [secretSize]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashSecret is what is kept of a secret; nil when it has not the form of one, so that nothing is
// looked up that nobody gave out.
func hashSecret(text string) []byte {
	if len(text) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != secretSize {
		return nil
	}
	h := sha256.Sum256(b)
	return h[:]
}

// TokenPrefix begins every token of the API, so that scanners of sources find leaked ones.
const TokenPrefix = "postern_"

// hashToken is hashSecret for a token with its prefix.
func hashToken(text string) []byte {
	rest, ok := strings.CutPrefix(text, TokenPrefix)
	if !ok {
		return nil
	}
	return hashSecret(rest)
}
