package main

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
)

// A powerDisk is what a folder holds by a record of system calls: what programs see, and what is
// certain to be there after a power cut, which is only what was synced. A new name counts as
// synced only once its folder was (POSIX asks no more of a file system).
type powerDisk struct {
	root    string
	now     map[string]*powerFile // by name below root
	durable map[string]*powerFile
	names   []nameChange // not yet synced, in their order
	open    map[string]*powerHandle
	synced  int // calls
}

type powerFile struct {
	dir     bool
	size    int64
	durable []byte
	pending []dataChange
	settled int // changes that were applied to durable
}

// A dataChange writes data at a place, or, without any, makes the file so long.
type dataChange struct {
	at   int64
	data []byte
}

// A nameChange takes a name away, gives one, or both at once.
type nameChange struct {
	n        int // its number
	from, to string
	file     *powerFile
}

type powerHandle struct {
	name string // when it was opened
	file *powerFile
	at   int64
	app  bool
}

func newPowerDisk(root string) *powerDisk {
	top := &powerFile{dir: true}
	return &powerDisk{root: root, now: map[string]*powerFile{".": top}, durable: map[string]*powerFile{".": top}, open: map[string]*powerHandle{}}
}

// place gives a name below root; false for what is elsewhere, or need not survive anything.
func (d *powerDisk) place(name string) (string, bool) {
	if name == d.root {
		return ".", true
	}
	name, ours := strings.CutPrefix(name, d.root+"/")
	return name, ours && !strings.HasPrefix(name, "spool") && !strings.HasSuffix(name, "-shm") && name != "postern.lock"
}

func (d *powerDisk) rename(from, to string, f *powerFile) {
	if from != "" {
		delete(d.now, from)
	}
	if to != "" {
		d.now[to] = f
	}
	d.synced++
	d.names = append(d.names, nameChange{d.synced, from, to, f})
}

// opened notes a descriptor. A file that is new is there at once, though not for sure.
func (d *powerDisk) opened(fd, name, flags string) {
	f := d.now[name]
	if f == nil && strings.Contains(flags, "O_CREAT") {
		f = &powerFile{}
		d.rename("", name, f)
	}
	if f == nil {
		return
	}
	if strings.Contains(flags, "O_TRUNC") {
		f.change(dataChange{})
	}
	d.open[fd] = &powerHandle{name: name, file: f, app: strings.Contains(flags, "O_APPEND")}
}

func (f *powerFile) change(c dataChange) {
	f.pending = append(f.pending, c)
	if c.data == nil {
		f.size = c.at
	} else {
		f.size = max(f.size, c.at+int64(len(c.data)))
	}
}

// write writes at a place, or, when that is negative, where the descriptor stands.
func (h *powerHandle) write(at int64, data []byte) {
	if at < 0 {
		if at = h.at; h.app {
			at = h.file.size
		}
		h.at = at + int64(len(data))
	}
	if len(data) > 0 {
		h.file.change(dataChange{at, data})
	}
}

// syncing notes what a sync that begins now makes sure of; the function it returns is called when
// it has succeeded.
func (d *powerDisk) syncing(h *powerHandle) (done func()) {
	if h.file.dir {
		upTo := d.synced
		return func() { d.syncDir(h.name, upTo) }
	}
	upTo := h.file.settled + len(h.file.pending)
	return func() {
		f := h.file
		for n := upTo - f.settled; n > 0; n-- {
			f.durable = apply(f.durable, f.pending[0])
			f.pending = f.pending[1:]
			f.settled++
		}
	}
}

func (d *powerDisk) syncDir(dir string, upTo int) {
	var left []nameChange
	for _, c := range d.names {
		if c.n > upTo || (c.from == "" || filepath.Dir(c.from) != dir) && (c.to == "" || filepath.Dir(c.to) != dir) {
			left = append(left, c)
			continue
		}
		c.apply(d.durable)
	}
	d.names = left
}

func (c nameChange) apply(names map[string]*powerFile) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.file
	}
}

func apply(b []byte, c dataChange) []byte {
	end := c.at + int64(len(c.data))
	if c.data == nil {
		b = b[:min(int64(len(b)), c.at)]
	}
	for int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.at:], c.data)
	return b
}

// cut gives the files after a power cut: with luck nil nothing that was not synced; else some of
// it, in any order, writes torn at the sectors of a disk. Names come in their order.
func (d *powerDisk) cut(luck *rand.Rand) (files map[string][]byte, dirs []string) {
	names := map[string]*powerFile{}
	for n, f := range d.durable {
		names[n] = f
	}
	if luck != nil && len(d.names) > 0 {
		for _, c := range d.names[:luck.IntN(len(d.names)+1)] {
			c.apply(names)
		}
	}
	files = map[string][]byte{}
	for name, f := range names {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			if names[dir] == nil {
				f = nil // its folder was never on disk
				break
			}
		}
		switch {
		case f == nil:
		case f.dir:
			dirs = append(dirs, name)
		case luck == nil || len(f.pending) == 0:
			files[name] = f.durable
		default:
			files[name] = f.torn(luck)
		}
	}
	return files, dirs
}

const sector = 512

func (f *powerFile) torn(luck *rand.Rand) []byte {
	b := append([]byte(nil), f.durable...)
	whole, none := luck.IntN(3) == 0, luck.IntN(3) == 0
	for _, c := range f.pending {
		switch {
		case whole:
			b = apply(b, c)
		case none:
		case c.data == nil:
			if luck.IntN(2) == 0 {
				b = apply(b, c)
			}
		default:
			for at := int64(0); at < int64(len(c.data)); {
				end := min(int64(len(c.data)), (c.at+at)/sector*sector+sector-c.at)
				if luck.IntN(2) == 0 {
					b = apply(b, dataChange{c.at + at, c.data[at:end]})
				}
				at = end
			}
		}
	}
	return b
}
