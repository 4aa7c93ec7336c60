package filters

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// A reader of 7z archives (7zFormat.txt of the LZMA SDK): names, sizes, what is encrypted, and the
// content of folders packed by one method. It is our own, since a header of a few bytes may ask for
// any amount of memory: here each number is checked against what is left of the header.

// Limits of a header.
const (
	max7zHeader = 4 << 20 // bytes
	max7zCoders = 4
)

// The properties in a header.
const (
	sz7End         = 0x00
	sz7Header      = 0x01
	sz7Archive     = 0x02
	sz7More        = 0x03
	sz7Main        = 0x04
	sz7Files       = 0x05
	sz7Pack        = 0x06
	sz7Unpack      = 0x07
	sz7Sub         = 0x08
	sz7Size        = 0x09
	sz7CRC         = 0x0a
	sz7Folder      = 0x0b
	sz7UnpackSize  = 0x0c
	sz7Count       = 0x0d
	sz7EmptyStream = 0x0e
	sz7EmptyFile   = 0x0f
	sz7Names       = 0x11
	sz7Encoded     = 0x17
)

var err7z = errors.New("filters: a broken 7z archive")

// sevenZip lists the files of an archive and looks at each.
func (x *unpacking) sevenZip() error {
	var start [32]byte
	if _, err := x.b.ReadAt(start[:], 0); err != nil {
		return err7z
	}
	if crc32.ChecksumIEEE(start[12:]) != binary.LittleEndian.Uint32(start[8:]) {
		return err7z
	}
	at, size := binary.LittleEndian.Uint64(start[12:]), binary.LittleEndian.Uint64(start[20:])
	if size == 0 {
		return nil // an empty archive
	}
	if at > uint64(x.b.Size()) || size > uint64(x.b.Size()) || at+size+32 > uint64(x.b.Size()) {
		return err7z
	}
	if size > max7zHeader {
		return errUnpackLimit
	}
	header := make([]byte, size)
	if _, err := x.b.ReadAt(header, 32+int64(at)); err != nil && err != io.EOF || crc32.ChecksumIEEE(header) != binary.LittleEndian.Uint32(start[28:]) {
		return err7z
	}
	for range 4 { // a header may be packed, and the header of that
		if header[0] != sz7Encoded {
			break
		}
		r := &reader7z{p: header[1:]}
		folders := r.streams()
		if err := r.broken(); err != nil || len(folders) != 1 {
			return cmp.Or(err, err7z)
		}
		if folders[0].encrypted() {
			x.list.encrypted = true // names, too
			return nil
		}
		var err error
		if header, err = x.header7z(&folders[0]); err != nil {
			return err
		}
	}
	return x.files7z(header)
}

// header7z unpacks a header.
func (x *unpacking) header7z(f *folder7z) ([]byte, error) {
	if f.size == 0 || f.size > max7zHeader {
		return nil, err7z
	}
	r, err := x.open7z(f)
	if err != nil {
		return nil, err
	}
	header := make([]byte, f.size)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	return header, nil
}

// files7z reads the list of files, and the folders in which they lie.
func (x *unpacking) files7z(header []byte) error {
	r := &reader7z{p: header}
	if r.byte() != sz7Header {
		return err7z
	}
	kind := r.byte()
	if kind == sz7Archive {
		for p := r.byte(); p != sz7End && !r.bad; p = r.byte() {
			r.skip(r.number())
		}
		kind = r.byte()
	}
	if kind == sz7More {
		r.streams()
		kind = r.byte()
	}
	var folders []folder7z
	if kind == sz7Main {
		folders = r.streams()
		kind = r.byte()
	}
	if err := r.broken(); err != nil || kind != sz7Files {
		return cmp.Or(err, err7z)
	}
	names, empty := r.files()
	if err := r.broken(); err != nil {
		return err
	}
	sum := uint64(0)
	for i := range folders {
		sum += min(folders[i].size, maxUnpacked+1)
	}
	if outOfProportion(sum, x.b.Size()) {
		return errUnpackLimit
	}
	return x.walk7z(names, empty, folders)
}

func (r *reader7z) broken() error {
	switch {
	case r.over:
		return errUnpackLimit
	case r.bad:
		return err7z
	}
	return nil
}

// walk7z goes through the files, folder by folder.
func (x *unpacking) walk7z(names []string, empty []bool, folders []folder7z) error {
	next := 0
	without := func() error { // the files without content that come next
		for ; next < len(names) && empty[next]; next++ {
			if err := x.file(packedFile{member: member{name: names[next]}}, unlisted); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range folders {
		o := opened7z{x: x, f: &folders[i]}
		var at []string
		for range folders[i].files {
			if err := without(); err != nil {
				return err
			}
			if next == len(names) {
				return err7z
			}
			at = append(at, names[next])
			next++
		}
		if err := o.walk(at); err != nil {
			return err
		}
	}
	if err := without(); err != nil || next == len(names) {
		return err
	}
	return err7z
}

// An opened7z is a folder being unpacked, as far as that is of use: its files lie one behind the
// other, and only the beginning of each, and archives, are looked at.
type opened7z struct {
	x       *unpacking
	f       *folder7z
	content io.Reader
	failed  error
	passed  uint64 // bytes
}

func (o *opened7z) walk(names []string) error {
	last := -1 // of those that must be reached
	for i, n := range names {
		if calledArchive(n) {
			last = i
		}
	}
	locked := o.f.encrypted()
	for i, n := range names {
		size := o.f.files[i]
		p := packedFile{member: member{name: n, size: int64(min(size, 1<<50)), encrypted: locked}, packed: int64(o.f.packed[1])}
		var rest io.Reader
		if !locked && (i <= last || o.passed <= unpackSlack) {
			if rest = o.next(p.size); rest != nil {
				p.open = func() (io.Reader, error) { return rest, nil }
			} else if errors.Is(o.failed, errUnpackLimit) {
				return o.failed
			} else if i <= last {
				o.x.list.odd = true // nobody here can look into it
			}
		}
		if err := o.x.file(p, unlisted); err != nil {
			return err
		}
		if o.passed += size; rest != nil && (i < last || o.passed <= unpackSlack) {
			if _, err := io.Copy(io.Discard, rest); errors.Is(err, errUnpackLimit) {
				return err
			} else if err != nil {
				o.failed, o.x.list.odd = err, true
			}
		}
	}
	return nil
}

// next gives the next size bytes; nil when they cannot be had.
func (o *opened7z) next(size int64) io.Reader {
	if o.content == nil && o.failed == nil {
		if r, err := o.x.open7z(o.f); err != nil {
			o.failed = err
		} else {
			o.content = o.x.u.limited(r, int64(o.f.packed[1]))
		}
	}
	if o.failed != nil {
		return nil
	}
	return io.LimitReader(o.content, size)
}

// files reads the names, and which files have no content.
func (r *reader7z) files() (names []string, empty []bool) {
	n := r.number()
	if r.over = r.over || n > maxMemberSeen; r.over {
		return nil, nil
	}
	empty = make([]bool, n)
	seen := uint64(0)
	for p := r.byte(); p != sz7End && !r.bad; p = r.byte() {
		if p == sz7Names || p == sz7EmptyStream {
			r.once(&seen, p)
		}
		body := &reader7z{p: r.take(r.number())}
		switch p {
		case sz7Names:
			body.byte() // not elsewhere
			for len(names) < int(n) && len(body.p) >= 2 {
				names = append(names, body.name())
			}
		case sz7EmptyStream:
			body.bits(empty)
		}
	}
	for len(names) < int(n) {
		names = append(names, "")
	}
	return names, empty
}

// name reads one, in UTF-16 up to its NUL.
func (r *reader7z) name() string {
	var u []uint16
	for len(r.p) >= 2 {
		c := binary.LittleEndian.Uint16(r.p)
		r.p = r.p[2:]
		if c == 0 {
			break
		}
		if len(u) < maxNameBytes {
			u = append(u, c)
		}
	}
	return string(bytes.ToValidUTF8([]byte(string(utf16.Decode(u))), []byte("_")))
}
