package filters

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/ulikunitz/xz/lzma"
)

// A folder7z is a run of files that are packed as one stream.
type folder7z struct {
	coders []coder7z
	packed [2]uint64 // offset and bytes of its first packed stream
	sizes  []uint64  // what each coder gives
	size   uint64    // what all of it unpacks to
	files  []uint64  // sizes
	packs  int       // packed streams that it has
	summed bool      // there is a checksum of all of it
}

type coder7z struct {
	method  string
	props   []byte
	in, out uint64
}

// The methods that are unpacked here, and encryption.
const (
	method7zCopy    = "\x00"
	method7zLZMA    = "\x03\x01\x01"
	method7zLZMA2   = "\x21"
	method7zDeflate = "\x04\x01\x08"
	method7zBZip2   = "\x04\x02\x02"
	method7zAES     = "\x06\xf1\x07\x01"
)

func (f *folder7z) encrypted() bool {
	for _, c := range f.coders {
		if c.method == method7zAES {
			return true
		}
	}
	return false
}

// open7z unpacks a folder of one coder.
func (x *unpacking) open7z(f *folder7z) (io.Reader, error) {
	if len(f.coders) != 1 || f.packed[0] > uint64(x.b.Size()) || f.packed[1] > uint64(x.b.Size()) {
		return nil, errNotPossible
	}
	c := f.coders[0]
	src := io.NewSectionReader(x.b, 32+int64(f.packed[0]), int64(f.packed[1]))
	switch c.method {
	case method7zCopy:
		return src, nil
	case method7zDeflate:
		return flate.NewReader(src), nil
	case method7zBZip2:
		return bzip2.NewReader(src), nil
	}
	most, err := x.u.dictionary(x.depth)
	if err != nil {
		return nil, err
	}
	size := uint64(0)
	switch {
	case c.method == method7zLZMA && len(c.props) == 5:
		size = uint64(binary.LittleEndian.Uint32(c.props[1:]))
	case c.method == method7zLZMA2 && len(c.props) == 1 && c.props[0] < 40:
		size = uint64(2|c.props[0]&1) << (c.props[0]/2 + 11)
	default:
		return nil, errNotPossible
	}
	if size = max(min(size, f.size), lzma.MinDictCap); size > uint64(most) {
		return nil, errUnpackLimit
	}
	if c.method == method7zLZMA2 {
		return lzma.Reader2Config{DictCap: int(size)}.NewReader2(src)
	}
	head := binary.LittleEndian.AppendUint32([]byte{c.props[0]}, uint32(size))
	head = binary.LittleEndian.AppendUint64(head, f.size)
	return lzma.ReaderConfig{DictCap: int(size)}.NewReader(io.MultiReader(bytes.NewReader(head), src))
}

// A reader7z reads the numbers and lists of a header. It is bad once something was missing.
type reader7z struct {
	p    []byte
	bad  bool
	over bool // it is longer than anybody wants to read
}

func (r *reader7z) byte() byte {
	if len(r.p) == 0 {
		r.bad = true
		return 0
	}
	c := r.p[0]
	r.p = r.p[1:]
	return c
}

// number reads one of variable length: as many bytes follow as the first has leading ones.
func (r *reader7z) number() uint64 {
	first := r.byte()
	n := bits.LeadingZeros8(^first)
	var v uint64
	for i := range n {
		v |= uint64(r.byte()) << (8 * i)
	}
	if n < 7 {
		v |= uint64(first&(0x7f>>n)) << (8 * n)
	}
	return v
}

func (r *reader7z) take(n uint64) []byte {
	if n > uint64(len(r.p)) {
		r.bad = true
		n = uint64(len(r.p))
	}
	p := r.p[:n]
	r.p = r.p[n:]
	return p
}

func (r *reader7z) skip(n uint64) { r.take(n) }

func (r *reader7z) bits(to []bool) {
	var c byte
	for i := range to {
		if i%8 == 0 {
			if c = r.byte(); r.bad {
				return // lists that are not there cost nothing
			}
		}
		to[i] = c&(0x80>>(i%8)) != 0
	}
}

// digests passes over a list of n checksums and tells which are there.
func (r *reader7z) digests(n uint64) []bool {
	if n > uint64(len(r.p))*8 {
		r.bad = true
		return nil
	}
	defined := make([]bool, n)
	count := n
	if r.byte() == 0 {
		r.bits(defined)
		count = 0
		for _, d := range defined {
			if d {
				count++
			}
		}
	} else {
		for i := range defined {
			defined[i] = true
		}
	}
	r.skip(4 * count)
	return defined
}

// once notes that a list was there. None comes twice: a header of a few bytes would else cost any
// amount of memory and time.
func (r *reader7z) once(seen *uint64, kind byte) {
	if bit := uint64(1) << (kind & 63); *seen&bit == 0 {
		*seen |= bit
	} else {
		r.bad = true
	}
}

// streams reads which folders there are, and where.
func (r *reader7z) streams() []folder7z {
	var folders []folder7z
	var packs []uint64
	at, seen := uint64(0), uint64(0)
	for kind := r.byte(); kind != sz7End && !r.bad; kind = r.byte() {
		if r.once(&seen, kind); r.bad {
			return nil
		}
		switch kind {
		case sz7Pack:
			at = r.number()
			packs = r.packs()
		case sz7Unpack:
			folders = r.folders()
		case sz7Sub:
			r.substreams(folders)
		default:
			r.bad = true
		}
	}
	next := 0
	for i := range folders {
		f := &folders[i]
		if len(f.files) == 0 && f.packs > 0 && f.files == nil {
			f.files = []uint64{f.size}
		}
		for j := range f.packs {
			if next == len(packs) {
				r.bad = true
				return nil
			}
			if j == 0 {
				f.packed = [2]uint64{at, packs[next]}
			}
			at += packs[next]
			next++
		}
	}
	return folders
}

// packs reads the sizes of the packed streams.
func (r *reader7z) packs() []uint64 {
	n := r.number()
	if n > uint64(len(r.p)) {
		r.bad = true
		return nil
	}
	sizes := make([]uint64, n)
	seen := uint64(0)
	for kind := r.byte(); kind != sz7End && !r.bad; kind = r.byte() {
		if r.once(&seen, kind); r.bad {
			return nil
		}
		switch kind {
		case sz7Size:
			for i := range sizes {
				sizes[i] = r.number()
			}
		case sz7CRC:
			r.digests(n)
		default:
			r.bad = true
		}
	}
	return sizes
}

// folders reads how each is packed.
func (r *reader7z) folders() []folder7z {
	if r.byte() != sz7Folder {
		r.bad = true
		return nil
	}
	n := r.number()
	if r.over = n > maxMemberSeen; n > uint64(len(r.p)) || r.over || r.byte() != 0 {
		r.bad = true
		return nil
	}
	folders := make([]folder7z, n)
	for i := range folders {
		r.folder(&folders[i])
	}
	if r.byte() != sz7UnpackSize {
		r.bad = true
	}
	for i := range folders {
		f := &folders[i]
		for range f.coders {
			f.sizes = append(f.sizes, r.number())
		}
		if len(f.sizes) > 0 {
			f.size = f.sizes[len(f.sizes)-1]
		}
		if len(f.coders) == 1 {
			f.size = f.sizes[0]
		}
	}
	for kind := r.byte(); kind != sz7End && !r.bad; kind = r.byte() {
		if kind != sz7CRC {
			r.bad = true
			return nil
		}
		for i, d := range r.digests(uint64(len(folders))) {
			folders[i].summed = d
		}
	}
	return folders
}

func (r *reader7z) folder(f *folder7z) {
	n := r.number()
	if n == 0 || n > max7zCoders {
		r.bad = true
		return
	}
	in, out := uint64(0), uint64(0)
	for range n {
		flags := r.byte()
		c := coder7z{method: string(r.take(uint64(flags & 0xf))), in: 1, out: 1}
		if flags&0x10 != 0 {
			c.in, c.out = r.number(), r.number()
		}
		if flags&0x20 != 0 {
			c.props = r.take(r.number())
		}
		if flags&0x80 != 0 || c.in > 8 || c.out != 1 {
			r.bad = true
			return
		}
		in, out = in+c.in, out+c.out
		f.coders = append(f.coders, c)
	}
	for range out - 1 {
		r.number()
		r.number()
	}
	if in < out-1 {
		r.bad = true
		return
	}
	f.packs = int(in - (out - 1))
	if f.packs > 1 {
		for range f.packs {
			r.number()
		}
	}
}

// substreams reads how the files divide their folders.
func (r *reader7z) substreams(folders []folder7z) {
	counts := make([]uint64, len(folders))
	total := uint64(0)
	kind := r.byte()
	for i := range counts {
		counts[i] = 1
		if kind == sz7Count {
			counts[i] = r.number()
		}
		if total += counts[i]; counts[i] > maxMemberSeen || total > maxMemberSeen {
			r.bad, r.over = true, true
			return
		}
	}
	if kind == sz7Count {
		kind = r.byte()
	}
	for i := range folders {
		f := &folders[i]
		f.files = []uint64{}
		left := f.size
		for j := range counts[i] {
			size := left
			if j+1 < counts[i] {
				if size = 0; kind == sz7Size {
					size = r.number()
				}
			}
			if r.bad || size > left {
				r.bad = true
				return
			}
			left -= size
			f.files = append(f.files, size)
		}
	}
	if kind == sz7Size {
		kind = r.byte()
	}
	for ; kind != sz7End && !r.bad; kind = r.byte() {
		if kind != sz7CRC {
			r.bad = true
			return
		}
		n := uint64(0)
		for i, c := range counts {
			if c != 1 || !folders[i].summed {
				n += c
			}
		}
		r.digests(n)
	}
}
