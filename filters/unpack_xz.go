package filters

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const (
	magicXZ  = "\xfd7zXZ\x00"
	headerXZ = 12 // bytes before the first block
)

// xz reads the first block of an .xz file (the format's specification 1.2, section 3): nothing but LZMA2 in
// it, and a dictionary that we have memory for. A small file has no second block.
func (x *unpacking) xz() (io.Reader, error) {
	var head [1024]byte
	n, err := x.b.ReadAt(head[:], headerXZ)
	if n < 8 {
		return nil, err
	}
	size := 4 * (int(head[0]) + 1)
	if head[0] == 0 || size > n {
		return nil, errNotPossible
	}
	r := bytes.NewReader(head[2:size])
	for _, present := range [...]byte{0x40, 0x80} { // packed and unpacked size
		if head[1]&present != 0 {
			if _, err := binary.ReadUvarint(r); err != nil {
				return nil, errNotPossible
			}
		}
	}
	var filter [3]byte // LZMA2, one byte of properties: the size of the dictionary
	if _, err := io.ReadFull(r, filter[:]); err != nil || head[1]&0x3f != 0 || filter[0] != 0x21 || filter[1] != 1 || filter[2] >= 40 {
		return nil, errNotPossible
	}
	most, err := x.u.dictionary(x.depth)
	if err != nil {
		return nil, err
	}
	dict := uint64(2|filter[2]&1) << (filter[2]/2 + 11)
	if dict > uint64(most) {
		return nil, errUnpackLimit
	}
	at := int64(headerXZ + size)
	return lzma.Reader2Config{DictCap: max(int(dict), lzma.MinDictCap)}.NewReader2(io.NewSectionReader(x.b, at, x.b.Size()-at))
}
