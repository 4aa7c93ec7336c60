package filters

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"strings"
)

// stream looks at the one file that gzip, bzip2 or xz packs.
func (x *unpacking) stream(head []byte) error {
	section := io.NewSectionReader(x.b, 0, x.b.Size())
	open := func() (io.Reader, error) { return bzip2.NewReader(section), nil }
	switch head[0] {
	case 0x1f:
		open = func() (io.Reader, error) { return gzip.NewReader(section) }
	case magicXZ[0]:
		open = x.xz
	}
	f := packedFile{packed: x.b.Size(), open: open, member: member{name: unpackedName(x.name), size: -1}}
	if len(x.list.members) == 0 { // the header has no name
		return x.file(f, unlisted)
	}
	f.name = x.list.members[0].name
	return x.file(f, 0)
}

// unpackedName is what a file is called once it is unpacked.
func unpackedName(name string) string {
	name = savedName(name)
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return "content"
	}
	switch strings.ToLower(name[i+1:]) {
	case "tgz", "tbz", "tbz2", "txz":
		return name[:i] + ".tar"
	}
	return name[:i]
}

// tar lists the files of an archive and looks at each.
func (x *unpacking) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, tar.ErrInsecurePath):
		case err != nil:
			return err
		}
		f := packedFile{member: member{name: validUTF8(h.Name[:min(len(h.Name), maxNameBytes)]), size: h.Size}, packed: min(h.Size, x.b.Size()), // less, if it is sparse
			open: func() (io.Reader, error) { return t, nil }}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo: // names only
			f.open = nil
		} // what else there is, known or not, becomes a file where it is unpacked (POSIX.1, ustar)
		if len(h.Name) > maxNameBytes {
			x.list.over = true
		}
		if err := x.file(f, unlisted); err != nil {
			return err
		}
	}
}

// isTar reports whether what was unpacked is a tar archive of a kind without a mark: its first block
// has the checksum that it should have (POSIX.1-1988).
func isTar(head []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return len(head) >= 512 && err == nil
}
