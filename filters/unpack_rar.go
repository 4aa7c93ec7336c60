package filters

import (
	"errors"
	"io"
	"slices"

	"github.com/nwaples/rardecode/v2"
)

// rar looks into archives within a RAR archive. The lister has the names of its files, so that
// nothing is decoded but what is called an archive.
func (x *unpacking) rar() error {
	inside := x.list.seen > len(x.list.members) // more than there is room to list
	for _, m := range x.list.members {
		inside = inside || calledArchive(m.name) && !m.encrypted
	}
	if !inside {
		return nil
	}
	most, err := x.u.dictionary(x.depth)
	if err != nil {
		return err
	}
	r, err := rardecode.NewReader(io.NewSectionReader(x.b, 0, x.b.Size()), rardecode.MaxDictionarySize(int64(most)))
	for err == nil {
		var h *rardecode.FileHeader
		if h, err = r.Next(); err != nil {
			break
		}
		if !x.u.alive() { // a dictionary is cleared for each file, looked at or not
			return errUnpackLimit
		}
		f := packedFile{member: member{name: validUTF8(h.Name), size: h.UnPackedSize, encrypted: h.Encrypted || h.HeaderEncrypted}, packed: h.PackedSize}
		if !calledArchive(f.name) || f.encrypted || h.IsDir {
			continue
		}
		f.open = func() (io.Reader, error) { return r, nil }
		err = x.file(f, x.listed(f.name))
	}
	switch {
	case err == io.EOF, errors.Is(err, rardecode.ErrArchiveEncrypted), errors.Is(err, rardecode.ErrArchivedFileEncrypted):
		return nil // the lister has told
	case errors.Is(err, rardecode.ErrDictionaryTooLarge):
		return errUnpackLimit
	}
	return err
}

// listed finds a name that the lister has.
func (x *unpacking) listed(name string) int {
	i := slices.IndexFunc(x.list.members, func(m member) bool { return m.name == name && m.inside == "" })
	if i < 0 {
		return unnamed
	}
	return i
}
