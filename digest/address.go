package digest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// A ticket is what an address says: whoever has one copy of one held message may release it, for
// some time.
type ticket struct {
	item  string // id in quarantine
	copy  int    // which of its copies
	until time.Time
}

// An address is "release-" and these bytes in base32, 64 octets in all, which is what RFC 5321
// 4.5.3.1.1 allows:
//
//	16  the ULID of the transaction, which begins with its time
//	 2  which of its messages in quarantine (4 bits), which copy of that (12 bits)
//	 1  days from then on that the address is good for
//	16  HMAC-SHA-256 of all this, cut to 128 bits
//
// Nothing is looked up to see that an address is ours, and nothing but the key makes one.
const (
	prefix     = "release-"
	saidSize   = 16 + 2 + 1
	macSize    = 16
	maxGroup   = 1<<4 - 1
	maxCopy    = 1<<12 - 1
	maxDays    = 1<<8 - 1
	macPurpose = "postern: release one held copy\x00"
)

const day = 24 * time.Hour

func letters() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// local makes the local part of an address; false when there is none for such a copy: it has a
// strange id, is one of very many, or the address would be void tomorrow.
func (k *Key) local(t ticket) (string, bool) {
	name, tail, more := strings.Cut(t.item, "-")
	group := 1
	if more {
		n, err := strconv.Atoi(tail)
		if err != nil || n < 2 || n > maxGroup || strconv.Itoa(n) != tail {
			return "", false
		}
		group = n
	}
	id, err := ulid.ParseStrict(name)
	if err != nil || id.String() != name || t.copy < 0 || t.copy > maxCopy {
		return "", false
	}
	days := int64(t.until.Sub(ulid.Time(id.Time())) / day)
	if days < 1 {
		return "", false
	}
	b := make([]byte, 0, saidSize+macSize)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(group<<12|t.copy))
	b = append(b, byte(min(days, maxDays)))
	return prefix + letters().EncodeToString(append(b, k.mac(b)...)), true
}

// read reads a local part; false when it is not one that this key made. Whether it is still good
// is up to the caller.
func (k *Key) read(local string) (t ticket, ok bool) {
	text, ok := strings.CutPrefix(strings.ToLower(local), prefix)
	if !ok || len(text) != letters().EncodedLen(saidSize+macSize) {
		return t, false
	}
	b, err := letters().DecodeString(text)
	if err != nil || len(b) != saidSize+macSize || !hmac.Equal(k.mac(b[:saidSize]), b[saidSize:]) {
		return t, false
	}
	id := ulid.ULID(b[:16])
	which := binary.BigEndian.Uint16(b[16:])
	t = ticket{item: id.String(), copy: int(which & maxCopy), until: ulid.Time(id.Time()).Add(time.Duration(b[18]) * day)}
	if group := which >> 12; group > 1 {
		t.item += "-" + strconv.Itoa(int(group))
	}
	return t, true
}

func (k *Key) mac(said []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(macPurpose))
	h.Write(said)
	return h.Sum(nil)[:macSize]
}
