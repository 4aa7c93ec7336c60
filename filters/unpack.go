package filters

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/gabriel-vasile/mimetype"

	"postern/mail"
)

// Limits of looking into archives (C-06), of one message. Beyond them the message is over its
// limits: what was not looked at never passes for clean.
const (
	maxNested     = 5       // archives within one another, the outermost unnamed
	maxRatio      = 200     // unpacked bytes for a packed one
	unpackSlack   = 1 << 20 // that may be unpacked of anything
	maxUnpacked   = 1 << 30 // bytes
	maxUnpackTime = 30 * time.Second
	flatBomb      = 100 << 20 // declared bytes from which on the ratio counts for what is not unpacked

	maxDictionary = 64 << 20 // bytes of memory that one decoder may take
	peekBytes     = 512      // that tell what a file in an archive is
)

// An unpacker looks into archives within archives. It keeps them in the message's spool, under no
// name, and extracts nothing else.
type unpacker struct {
	ctx      context.Context
	body     *mail.Body // nil: archives are not looked into
	open     []*mail.Body
	unpacked int64
	until    time.Time
	err      error // of the spool: ours, not the message's
	slot     bool  // one of unpackSlots is taken
}

var (
	errUnpackLimit = errors.New("filters: an archive is over its limits")
	errNotPossible = errors.New("filters: an archive that cannot be read here")
)

// unpackSlots bounds the memory of dictionaries: so many messages may have some at a time.
var unpackSlots = make(chan struct{}, 4)

// dictionary waits until the message may take memory for dictionaries, and says how much for an
// archive at a depth.
func (u *unpacker) dictionary(depth int) (int, error) {
	if !u.slot {
		t := time.NewTimer(time.Until(u.until))
		defer t.Stop()
		select {
		case unpackSlots <- struct{}{}:
			u.slot = true
		case <-t.C:
			return 0, errUnpackLimit
		case <-u.ctx.Done():
			return 0, errUnpackLimit
		}
	}
	return maxDictionary >> (depth - 1), nil
}

// keep begins to keep an archive.
func (u *unpacker) keep() *mail.Body {
	b := u.body.Beside()
	u.open = append(u.open, b)
	return b
}

// write adds to a kept archive.
func (u *unpacker) write(b *mail.Body, p []byte) {
	if _, err := b.Write(p); err != nil && u.err == nil {
		u.err = err
	}
}

func (u *unpacker) closeAll() {
	if u.slot {
		<-unpackSlots
	}
	for _, b := range u.open {
		b.Close()
	}
	u.open = nil
}

// top looks into an attachment that has arrived. list has what its lister saw go by.
func (u *unpacker) top(b *mail.Body, list archive, name string) {
	b.Finish(nil)
	defer b.Close()
	if u.err != nil {
		return
	}
	if u.until.IsZero() {
		u.until = time.Now().Add(maxUnpackTime)
	}
	u.descend(b, list, name, 1)
}

// descend looks into one archive. Whatever it is built to do to a reader, it is over its limits
// then.
func (u *unpacker) descend(b *mail.Body, a archive, name string, depth int) {
	l := a.list()
	defer func() {
		if recover() != nil {
			l.over = true
		}
	}()
	if l.over || !u.alive() {
		l.over = true
		return
	}
	x := &unpacking{u: u, b: b, list: l, name: name, depth: depth}
	head := make([]byte, peekBytes)
	n, _ := b.ReadAt(head, 0)
	var err error
	switch head = head[:n]; container(head) {
	case "zip":
		err = x.zip(a)
	case "rar":
		err = x.rar()
	case "7z":
		err = x.sevenZip()
	case "gzip", "bzip2", "xz":
		err = x.stream(head)
	case "tar":
		err = x.tar(u.limited(io.NewSectionReader(b, 0, b.Size()), b.Size()))
	default:
		z, ok := a.(*zipList)
		switch {
		case ok && z.central > 0:
			err = x.zip(a) // behind something else
		case isTar(head):
			err = x.tar(u.limited(io.NewSectionReader(b, 0, b.Size()), b.Size()))
		} // else it is only called an archive
	}
	switch {
	case err == nil:
	case errors.Is(err, errUnpackLimit):
		l.over = true
	default:
		l.odd = true
	}
}

func (u *unpacker) alive() bool {
	return u.err == nil && u.ctx.Err() == nil && time.Now().Before(u.until) && u.unpacked < maxUnpacked
}

// An unpacking is one archive being looked into.
type unpacking struct {
	u     *unpacker
	b     *mail.Body
	list  *memberList
	name  string
	depth int
	seen  int
}

const (
	unlisted = -1
	unnamed  = -2
)

// A packedFile is a file in an archive: how many bytes of the archive it takes, and its content,
// when that can be had.
type packedFile struct {
	member
	packed int64
	open   func() (io.Reader, error)
}

// file looks at one file: what it is by its first bytes, and what is in it when it is an archive.
// listed is where it stands in the list; or unlisted; or unnamed, when the list has no room for it.
func (x *unpacking) file(f packedFile, listed int) error {
	if x.seen++; x.seen > maxMemberSeen || !x.u.alive() {
		return errUnpackLimit
	}
	var r io.Reader
	head := make([]byte, peekBytes)
	n := 0
	if f.open != nil && !f.encrypted && f.size != 0 {
		raw, err := f.open()
		if c, ok := raw.(io.Closer); ok {
			defer c.Close() // its buffers are used again
		}
		if err == nil {
			r = x.u.limited(raw, f.packed)
			n, err = io.ReadFull(r, head)
		}
		if errors.Is(err, errUnpackLimit) {
			return err
		}
		if n == 0 && err != nil {
			x.list.odd, r = true, nil
		}
	}
	if head = head[:n]; n > 0 {
		f.real = sniff(head)
	}
	if listed >= 0 {
		m := &x.list.members[listed]
		m.real, m.size = f.real, max(m.size, f.size)
	} else if listed == unlisted {
		x.list.add(f.member)
	}
	if r == nil || container(head) == "" && !calledArchive(f.name) {
		return nil
	}
	return x.nested(f, io.MultiReader(bytes.NewReader(head), r), head)
}

// nested keeps an archive that was found inside, and looks into it.
func (x *unpacking) nested(f packedFile, r io.Reader, head []byte) error {
	if x.depth >= maxNested {
		return errUnpackLimit
	}
	e := entity{}
	e.names.flaws = &defects{}
	e.names.add(f.name, false)
	inner := newArchive(head, &e)
	if inner == nil {
		inner = &plainList{}
	}
	b := x.u.keep()
	defer b.Close()
	_, err := io.Copy(keeping{x.u, b, inner}, r)
	b.Finish(nil)
	inner.close()
	if x.u.err != nil {
		return x.u.err
	}
	if err == nil {
		x.u.descend(b, inner, f.name, x.depth+1)
	} else if !errors.Is(err, errUnpackLimit) {
		inner.list().odd = true
		err = nil
	}
	x.list.merge(f.name, inner.list())
	return err
}

// keeping writes to a kept archive and to its lister.
type keeping struct {
	u *unpacker
	b *mail.Body
	a archive
}

func (k keeping) Write(p []byte) (int, error) {
	k.u.write(k.b, p)
	k.a.take(p)
	return len(p), k.u.err
}

// limited bounds what is unpacked of something that takes packed bytes.
func (u *unpacker) limited(r io.Reader, packed int64) io.Reader {
	return &limitedUnpack{u: u, r: r, left: min(packed, maxUnpacked/maxRatio)*maxRatio + unpackSlack}
}

type limitedUnpack struct {
	u    *unpacker
	r    io.Reader
	left int64
}

func (l *limitedUnpack) Read(p []byte) (int, error) {
	if l.left <= 0 || !l.u.alive() {
		return 0, errUnpackLimit
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.u.unpacked += int64(n)
	return n, err
}

// A plainList is for archives whose names no lister reads as they go by.
type plainList struct{ memberList }

func (*plainList) take([]byte) {}
func (*plainList) close()      {}

// merge lists what is in an archive within.
func (l *memberList) merge(name string, inner *memberList) {
	for _, m := range inner.members {
		if m.level++; m.inside == "" {
			m.inside = name
		} else {
			m.inside = name + "/" + m.inside
		}
		if len(m.inside) > maxNameBytes {
			m.inside = clipUTF8(m.inside, maxNameBytes)
		}
		if len(l.members) < maxMembers {
			l.members = append(l.members, m)
		}
	}
	if l.seen += inner.seen; l.seen > maxMemberSeen {
		l.over = true
	}
	for _, e := range inner.exts {
		l.extension(e)
	}
	l.encrypted = l.encrypted || inner.encrypted
	l.conflict = l.conflict || inner.conflict
	l.odd = l.odd || inner.odd
	l.over = l.over || inner.over
}

// container names the kind of archive that begins with head and that is looked into; "" for what is
// none.
func container(head []byte) string {
	for _, m := range containerMagics {
		if len(head) >= m.at+len(m.magic) && string(head[m.at:m.at+len(m.magic)]) == m.magic {
			return m.kind
		}
	}
	return ""
}

var containerMagics = [...]struct {
	magic string
	at    int
	kind  string
}{
	{zipLocal, 0, "zip"}, {zipEnd, 0, "zip"}, {"PK00PK", 0, "zip"}, {"PK\x07\x08", 0, "zip"}, {"Rar!\x1a\x07", 0, "rar"}, {"7z\xbc\xaf\x27\x1c", 0, "7z"},
	{"\x1f\x8b\x08", 0, "gzip"}, {"BZh", 0, "bzip2"}, {magicXZ, 0, "xz"}, {"ustar", 257, "tar"},
}

// calledArchive reports a name of something that is looked into.
func calledArchive(names ...string) bool {
	return slices.ContainsFunc(extensions(names), func(e string) bool {
		return slices.Contains([]string{"zip", "jar", "rar", "7z", "tar", "gz", "tgz", "bz2", "tbz", "tbz2", "xz", "txz"}, e)
	})
}

func sniff(head []byte) string {
	m, _, _ := bytes.Cut([]byte(mimetype.Detect(head).String()), []byte(";"))
	return string(m)
}
