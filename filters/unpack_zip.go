package filters

import (
	"archive/zip"
	"cmp"
	"errors"
	"io"
	"slices"
)

// emptyPacked is more than any method makes of no bytes at all.
const emptyPacked = 64

// zip looks at the files that the central directory lists. The lister has their names, and those
// that only local headers tell.
func (x *unpacking) zip(a archive) error {
	if z, ok := a.(*zipList); ok && z.central > maxMemberSeen {
		return errUnpackLimit // before memory is taken for each
	}
	r, err := zip.NewReader(x.b, x.b.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	if len(r.File) > maxMemberSeen || bomb(r.File, x.b.Size()) {
		return errUnpackLimit
	}
	if overlap(r.File) {
		x.list.conflict = true
	}
	listed, own := make(map[string]int, len(x.list.members)), make(map[string]bool, len(r.File))
	for i, m := range x.list.members {
		listed[m.name] = i
	}
	for _, f := range r.File {
		p := packedFile{member: member{name: zipName([]byte(f.Name)), size: int64(min(f.UncompressedSize64, 1<<50)), encrypted: f.Flags&1 != 0},
			packed: int64(min(f.CompressedSize64, uint64(x.b.Size())))}
		p.open = func() (io.Reader, error) { return f.Open() } // of folders too: some have content
		if f.UncompressedSize64 == 0 && f.CompressedSize64 > emptyPacked && !p.encrypted {
			x.list.odd = true // its local header may tell another size
		}
		own[p.name] = true
		at, ok := listed[p.name]
		if !ok {
			at = unnamed // by the lister, which reads more than there is room to list
		}
		if err := x.file(p, at); err != nil {
			return err
		}
	}
	x.list.twice(own)
	return nil
}

// twice takes out what the lister saw in an archive that is stored within as it is, and that is
// listed with that archive now.
func (l *memberList) twice(own map[string]bool) {
	inside := map[string]bool{}
	for _, m := range l.members {
		if m.inside != "" {
			inside[m.name] = true
		}
	}
	if len(inside) == 0 {
		return
	}
	before := len(l.members)
	l.members = slices.DeleteFunc(l.members, func(m member) bool { return m.inside == "" && !own[m.name] && inside[m.name] })
	l.seen -= before - len(l.members)
}

// bomb reports files that are out of all proportion to the archive by what it says itself.
func bomb(files []*zip.File, size int64) bool {
	var sum uint64
	for _, f := range files {
		sum += min(f.UncompressedSize64, maxUnpacked+1)
	}
	return outOfProportion(sum, size)
}

// outOfProportion compares what an archive says it unpacks to with its size.
func outOfProportion(sum uint64, size int64) bool {
	return sum > maxUnpacked || sum > flatBomb && sum > uint64(size)*maxRatio
}

// overlap reports files that lie over one another: no program writes that, and each byte of such
// an archive is unpacked many times.
func overlap(files []*zip.File) bool {
	type span struct{ from, to int64 }
	var spans []span
	for _, f := range files {
		if from, err := f.DataOffset(); err == nil && f.CompressedSize64 > 0 && f.CompressedSize64 < 1<<50 {
			spans = append(spans, span{from, from + int64(f.CompressedSize64)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return true
		}
	}
	return false
}
