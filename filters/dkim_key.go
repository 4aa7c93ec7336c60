package filters

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
)

// Limits of a key record. 8,192 bits take 1,430 characters.
const (
	maxKeyText = 4096
	minRSABits = 1024 // RFC 8301 3.2
	maxRSABits = 8192
)

// A dkimKey is a parsed key record, or why it is none. It never changes.
type dkimKey struct {
	fault   dkimFault
	rsa     *rsaKey
	ed      ed25519.PublicKey
	bits    int
	testing bool // t=y
	strict  bool // t=s
}

// parseKey reads a key record (RFC 6376 3.6.1, RFC 8463 4).
func parseKey(txt string) *dkimKey {
	k := &dkimKey{}
	if len(txt) > maxKeyText {
		k.fault = dkimFault{dkimPolicy, "key record is too long"}
		return k
	}
	var room [16]dkimTag
	tags, fault := parseTags([]byte(txt), room[:0])
	if fault.found() {
		k.fault = permerror("key record: " + fault.reason)
		return k
	}
	if t := findTag(tags, "t"); t != nil {
		k.testing, k.strict = tagLists(t.value, "y"), tagLists(t.value, "s")
	}
	if k.fault = keyUse(tags); !k.fault.found() {
		k.fault = k.readKey(tags)
	}
	return k
}

// keyUse says whether the record is for signatures like ours: sha256, e-mail.
func keyUse(tags []dkimTag) dkimFault {
	for i := range tags {
		if string(tags[i].name) == "v" && (i > 0 || string(tags[i].value) != "DKIM1") {
			return permerror("key record of an unknown version")
		}
	}
	if t := findTag(tags, "h"); t != nil && !tagLists(t.value, "sha256") {
		return permerror("key is not for sha256")
	}
	if t := findTag(tags, "s"); t != nil && !tagLists(t.value, "*") && !tagLists(t.value, "email") {
		return permerror("key is not for e-mail")
	}
	return dkimFault{}
}

func (k *dkimKey) readKey(tags []dkimTag) dkimFault {
	p := findTag(tags, "p")
	if p == nil {
		return permerror("key record without a key")
	}
	if len(p.value) == 0 {
		return permerror("key is revoked")
	}
	data, ok := decodeTag64(stripBlanks(p.value))
	if !ok {
		return permerror("key is no base64")
	}
	switch tagValue(tags, "k", "rsa") {
	case "rsa":
		return k.readRSA(data)
	case "ed25519":
		if len(data) != ed25519.PublicKeySize {
			return permerror("key has the wrong size")
		}
		k.ed, k.bits = bytes.Clone(data), 8*ed25519.PublicKeySize
		return dkimFault{}
	}
	return permerror("unknown type of key")
}

// readRSA accepts SubjectPublicKeyInfo and RSAPublicKey (RFC 6376, erratum 3017).
func (k *dkimKey) readRSA(der []byte) dkimFault {
	key, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		spki, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return permerror("key cannot be read")
		}
		var ok bool
		if key, ok = spki.(*rsa.PublicKey); !ok {
			return permerror("key is not RSA")
		}
	}
	switch k.bits = key.N.BitLen(); {
	case k.bits < minRSABits:
		return permerror("key is too short")
	case k.bits > maxRSABits:
		return dkimFault{dkimPolicy, "key is too long"}
	}
	k.rsa = newRSAKey(key)
	return dkimFault{}
}
