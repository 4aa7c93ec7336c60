package filters

import "bytes"

// A lockedDoc tells of a PDF or Office document whether it is encrypted, while it goes by. It lists
// no files.
type lockedDoc struct {
	memberList
	marks [][]byte
	carry []byte
}

// What stands only in an encrypted one: the Encrypt entry of a PDF trailer (ISO 32000-1 7.6.1), and
// the stream that holds an encrypted Office document, in UTF-16 (MS-OFFCRYPTO 2.3.4.4).
var (
	pdfMarks = [][]byte{[]byte("/Encrypt")}
	oleMarks = [][]byte{[]byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00")}
)

// longestMark is as much of a block as may begin one.
const longestMark = 32

func (d *lockedDoc) take(p []byte) {
	if d.encrypted {
		return
	}
	d.carry = append(d.carry, p[:min(len(p), longestMark)]...)
	for _, m := range d.marks {
		d.encrypted = d.encrypted || d.has(d.carry, m) || d.has(p, m)
	}
	if len(p) >= longestMark {
		d.carry = append(d.carry[:0], p[len(p)-longestMark:]...)
	} else if n := len(d.carry) - longestMark; n > 0 {
		d.carry = append(d.carry[:0], d.carry[n:]...)
	}
}

// has finds the mark where no longer word begins with it: /EncryptMetadata says nothing.
func (d *lockedDoc) has(p, mark []byte) bool {
	for {
		i := bytes.Index(p, mark)
		if i < 0 || i+len(mark) == len(p) {
			return false
		}
		if p = p[i+len(mark):]; !isLetter(p[0]) {
			return true
		}
	}
}

func (d *lockedDoc) close() {}
