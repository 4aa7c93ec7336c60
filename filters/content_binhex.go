package filters

const binhexAlphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

var binhexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Bad
	}
	for i := 0; i < len(binhexAlphabet); i++ {
		t[binhexAlphabet[i]] = byte(i)
	}
	return t
}()

// A binhexDecoder reads BinHex 4.0 (RFC 1741): six bits a character, run lengths behind 0x90,
// a header with the name, then the data fork.
type binhexDecoder struct {
	started bool
	acc     uint32
	bits    int
	rle     bool // the last byte was 0x90
	last    byte
	head    []byte // name length, name, and the 21 bytes behind it
	left    int64  // bytes of the data fork still to come
	out     []byte
	read    int // bytes of lines
	made    int // bytes of the data fork
	over    bool
}

// line decodes one line; name is set when it becomes known, done at the end of the file.
func (d *binhexDecoder) line(line []byte) (name string, done bool) {
	d.read += len(line)
	if d.over = d.over || d.made > maxDecodedTimes*d.read+maxDecodedMore; d.over {
		return "", true
	}
	for _, c := range line {
		if c == ':' {
			if d.started {
				return name, true
			}
			d.started = true
			continue
		}
		v := binhexValue[c]
		if !d.started || v == b64Bad {
			continue
		}
		d.acc = d.acc<<6 | uint32(v)
		if d.bits += 6; d.bits < 8 {
			continue
		}
		d.bits -= 8
		if n := d.expand(byte(d.acc >> d.bits)); n != "" {
			name = n
		}
	}
	return name, false
}

// flush gives what was decoded since the last call.
func (d *binhexDecoder) flush() []byte {
	p := d.out
	d.out = d.out[:0]
	return p
}

// expand undoes the run lengths.
func (d *binhexDecoder) expand(b byte) (name string) {
	if !d.rle {
		if b == 0x90 {
			d.rle = true
			return ""
		}
		d.last = b
		return d.put(b, 1)
	}
	d.rle = false
	if b == 0 {
		d.last = 0x90
		return d.put(0x90, 1)
	}
	return d.put(d.last, int(b)-1)
}

func (d *binhexDecoder) put(b byte, n int) (name string) {
	// Length, name, version, type, creator, flags, the lengths of the forks, checksum.
	for ; n > 0 && (len(d.head) == 0 || len(d.head) < int(d.head[0])+22); n-- {
		d.head = append(d.head, b)
		if want := int(d.head[0]) + 22; len(d.head) == want {
			h := d.head[want-10:]
			d.left = int64(h[0])<<24 | int64(h[1])<<16 | int64(h[2])<<8 | int64(h[3])
			name = string(d.head[1 : 1+int(d.head[0])])
		}
	}
	n = int(min(int64(max(n, 0)), d.left))
	d.left -= int64(n)
	d.made += n
	for range n {
		d.out = append(d.out, b)
	}
	return name
}
