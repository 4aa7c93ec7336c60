package filters

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A tnefList lists the attachments inside of winmail.dat (MS-OXTNEF): a sequence of attributes
// with level, id, length, data and checksum. Only those that carry names are kept, the rest is
// passed over.
type tnefList struct {
	memberList
	skip  int64
	head  []byte // level, id, length
	data  []byte // of an attribute that is kept
	want  int    // bytes of data and checksum
	id    uint32
	names []string // of the attachment that is open
	open  bool
	size  int64
	done  bool
}

// The attributes that matter.
const (
	tnefRendData = 0x00069002 // begins an attachment
	tnefTitle    = 0x00018010
	tnefData     = 0x0006800f
	tnefMAPI     = 0x00069005

	maxTNEFData = 256 << 10
)

func (t *tnefList) take(p []byte) {
	for len(p) > 0 && !t.done {
		switch {
		case t.skip > 0:
			n := min(t.skip, int64(len(p)))
			t.skip -= n
			p = p[n:]
		case t.want > 0:
			n := min(t.want, len(p))
			t.data = append(t.data, p[:n]...)
			t.want -= n
			p = p[n:]
			if t.want == 0 {
				t.attribute(t.data[:max(0, len(t.data)-2)])
				t.data = t.data[:0]
			}
		default:
			n := min(9-len(t.head), len(p))
			t.head = append(t.head, p[:n]...)
			p = p[n:]
			if len(t.head) == 9 {
				t.begin()
				t.head = t.head[:0]
			}
		}
	}
}

// begin reads the head of an attribute and decides whether to keep its data.
func (t *tnefList) begin() {
	t.id = binary.LittleEndian.Uint32(t.head[1:])
	length := int64(binary.LittleEndian.Uint32(t.head[5:]))
	if t.head[0] != 1 && t.head[0] != 2 {
		t.odd, t.done = true, true
		return
	}
	if t.id == tnefRendData {
		t.endFile()
		t.open = true
	}
	if t.id == tnefData {
		t.size = length
	}
	if keep := t.id == tnefTitle || t.id == tnefMAPI; keep {
		kept := min(length, maxTNEFData)
		t.want = int(kept) + 2
		if length > kept { // the names come first as a rule; what follows is the data
			t.want = int(kept)
		}
		return
	}
	t.skip = length + 2
}

func (t *tnefList) attribute(data []byte) {
	switch t.id {
	case tnefTitle:
		t.name(string(bytes.TrimRight(data, "\x00")))
	case tnefMAPI:
		t.properties(data)
	}
}

func (t *tnefList) name(s string) {
	s = validUTF8(s)
	if s != "" && len(s) <= maxNameBytes && !slices.Contains(t.names, s) && len(t.names) < maxNames {
		t.names = append(t.names, s)
	}
}

func (t *tnefList) endFile() {
	for _, n := range t.names {
		t.add(member{name: n, size: t.size})
	}
	t.names, t.size, t.open = nil, 0, false
}

func (t *tnefList) close() {
	if t.want > 0 && len(t.data) > 0 {
		t.odd = true
		t.attribute(t.data)
	}
	t.endFile()
}

// properties reads MAPI properties and takes the names (MS-OXTNEF 2.1.3.4).
func (t *tnefList) properties(p []byte) {
	u32 := func() int {
		if len(p) < 4 {
			p = nil
			return 0
		}
		v := binary.LittleEndian.Uint32(p)
		p = p[4:]
		return int(v)
	}
	drop := func(n int) {
		if n < 0 || n > len(p) {
			n = len(p)
		}
		p = p[n:]
	}
	for n := u32(); n > 0 && len(p) >= 4; n-- {
		tag := u32()
		kind, id := tag&0xffff, tag>>16
		if id >= 0x8000 { // a named property
			drop(16)
			if u32() == 0 {
				u32()
			} else {
				drop((u32() + 3) &^ 3)
			}
		}
		count := 1
		if multi := kind&0x1000 != 0; multi {
			kind &^= 0x1000
			count = u32()
		} else if kind == 0x1e || kind == 0x1f || kind == 0x0d || kind == 0x102 {
			count = u32()
		}
		for ; count > 0 && len(p) > 0; count-- {
			switch kind {
			case 0x1e, 0x1f, 0x0d, 0x102:
				size := u32()
				v := p[:max(0, min(size, len(p)))]
				if id == 0x3707 || id == 0x3704 || id == 0x3001 { // long name, short name, display name
					t.text(kind, v)
				}
				drop((size + 3) &^ 3)
			case 0x05, 0x06, 0x07, 0x14, 0x40:
				drop(8)
			case 0x48:
				drop(16)
			default:
				drop(4)
			}
		}
	}
}

func (t *tnefList) text(kind int, v []byte) {
	switch kind {
	case 0x1f:
		t.name(string(bytes.TrimRight([]byte(utf16ToUTF8("utf-16le", string(v))), "\x00")))
	case 0x1e:
		t.name(string(bytes.TrimRight(v, "\x00")))
	}
}
