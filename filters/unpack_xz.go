package filters

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const (
	magicXZ  = "\xfd7zXZ\x00"
	headerXZ = 12                // bytes before the first block
	spentXZ  = 4 * maxDictionary // bytes of memory that all blocks take, one after another: 32 blocks of xz -6
	blockXZ  = 256 << 10         // bytes that each takes at least
)

// An xzReader reads the blocks of an .xz file, and of those behind it (the format's specification 1.2,
// sections 2 and 3): nothing but LZMA2 in them, and dictionaries that we have memory for. What stands
// where neither a block nor a file can begin ends it, as it does for readers that warn of that.
type xzReader struct {
	x      *unpacking
	src    *io.SectionReader // all of it
	at     int64             // of what comes next
	check  int64             // bytes behind a block
	block  *lzma.Reader2
	spent  uint64
	stream int // blocks of this file
}

func (x *unpacking) xz() (io.Reader, error) {
	r := &xzReader{x: x, src: io.NewSectionReader(x.b, 0, x.b.Size())}
	r.begin()
	return r, nil
}

func (r *xzReader) Read(p []byte) (int, error) {
	for {
		if r.block == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.block.Read(p)
		if err != io.EOF {
			return n, err
		}
		if !r.block.EOS() {
			return n, io.ErrUnexpectedEOF
		}
		r.at = padded(r.tell()) + r.check
		if r.block = nil; n > 0 {
			return n, nil
		}
	}
}

// tell is how far it was read.
func (r *xzReader) tell() int64 {
	at, _ := r.src.Seek(0, io.SeekCurrent)
	return at
}

func padded(n int64) int64 { return (n + 3) &^ 3 }

// begin reads the header of a file.
func (r *xzReader) begin() bool {
	var head [headerXZ]byte
	if _, err := r.src.ReadAt(head[:], r.at); err != nil || string(head[:len(magicXZ)]) != magicXZ {
		return false
	}
	sizes := [...]int64{0, 4, 8, 16, 32, 64} // of checks, three kinds each but for none
	r.check = sizes[(head[7]&0xf+2)/3]
	r.at += headerXZ
	r.stream = 0
	return true
}

// next begins the next block; io.EOF when there is none.
func (r *xzReader) next() error {
	for {
		if !r.x.u.alive() {
			return errUnpackLimit
		}
		var head [1024]byte
		n, err := r.src.ReadAt(head[:], r.at)
		switch {
		case n < 8:
			return err
		case head[0] != 0:
			return r.open(head[:n])
		case !r.skipIndex():
			return io.EOF
		}
	}
}

// open begins the block with this header (section 3.1).
func (r *xzReader) open(head []byte) error {
	size := 4 * (int(head[0]) + 1)
	if size > len(head) {
		return io.ErrUnexpectedEOF
	}
	h := bytes.NewReader(head[2:size])
	for _, present := range [...]byte{0x40, 0x80} { // packed and unpacked size
		if head[1]&present != 0 {
			if _, err := binary.ReadUvarint(h); err != nil {
				return errNotPossible
			}
		}
	}
	var filter [3]byte // LZMA2, one byte of properties: the size of the dictionary
	if _, err := io.ReadFull(h, filter[:]); err != nil || head[1]&0x3f != 0 || filter[0] != 0x21 || filter[1] != 1 || filter[2] >= 40 {
		return errNotPossible
	}
	most, err := r.x.u.dictionary(r.x.depth)
	if err != nil {
		return err
	}
	dict := uint64(2|filter[2]&1) << (filter[2]/2 + 11)
	if r.spent += max(dict, blockXZ); dict > uint64(most) || r.spent > spentXZ {
		return errUnpackLimit
	}
	if _, err := r.src.Seek(r.at+int64(size), io.SeekStart); err != nil {
		return err
	}
	r.stream++
	r.block, err = lzma.Reader2Config{DictCap: max(int(dict), lzma.MinDictCap)}.NewReader2(r.src)
	return err
}

// skipIndex passes over the end of a file (sections 2.1.2 and 4) and begins the next one.
func (r *xzReader) skipIndex() bool {
	if _, err := r.src.Seek(r.at+1, io.SeekStart); err != nil {
		return false
	}
	in := lzma.ByteReader(r.src)
	if n, err := binary.ReadUvarint(in); err != nil || n != uint64(r.stream) {
		return false
	}
	for range 2 * r.stream {
		if _, err := binary.ReadUvarint(in); err != nil {
			return false
		}
	}
	r.at = padded(r.tell()) + 4 + 12 // its sum, the footer
	var word [4]byte
	for { // zeros may stand between files
		if n, _ := r.src.ReadAt(word[:], r.at); n < len(word) {
			return false
		}
		if word != [4]byte{} {
			return r.begin()
		}
		r.at += 4
	}
}
