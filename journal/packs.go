package journal

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// Details of entries that are written together are much alike: packed together they take a third
// of the space, and the rows that are searched stay small.
const (
	packMost  = 16        // entries in a pack: who reads one of them unpacks all
	packLeast = 4         // fewer are not worth a row of their own
	packBytes = 256 << 10 // of details in a pack
	packOne   = 64 << 10  // bytes of a detail from which it stands alone
)

// A pack is details as they are written.
type pack struct {
	last    int64 // seq of the last of its entries
	details []byte
}

// packer puts details into packs; it is for one goroutine.
type packer struct {
	text   []byte // length and text of each
	packed []byte
	rows   []*row // whose they are
}

// add takes a detail, and puts it into its row or into a pack by the next seal at the latest.
func (p *packer) add(r *row, detail []byte) {
	if len(detail) > packOne {
		r.detail = p.alone(detail)
		return
	}
	if len(p.rows) == packMost || len(p.text)+len(detail) > packBytes {
		p.seal()
	}
	p.text = append(binary.AppendUvarint(p.text, uint64(len(detail))), detail...)
	p.rows = append(p.rows, r)
}

// seal ends the pack.
func (p *packer) seal() {
	if len(p.rows) < packLeast {
		for rest, i := p.text, 0; i < len(p.rows); i++ {
			var detail []byte
			detail, rest, _ = cutDetail(rest) // its own work
			p.rows[i].detail = p.alone(detail)
		}
	} else {
		p.packed = s2.Encode(p.packed[:cap(p.packed)], p.text)
		whole := &pack{details: bytes.Clone(p.packed), last: p.rows[0].seq}
		for i, r := range p.rows {
			r.detail, r.pack, r.place = []byte{}, whole, i+1
			whole.last = max(whole.last, r.seq)
		}
	}
	clear(p.rows)
	p.rows, p.text = p.rows[:0], p.text[:0]
}

// unpack takes the detail of a row out of its pack: it is written by itself.
func (r *row) unpack(p *packer) error {
	if r.pack == nil {
		return nil
	}
	text, err := s2.Decode(nil, r.pack.details)
	if err != nil {
		return err
	}
	detail, err := placed(text, r.place)
	r.detail, r.pack, r.place = p.alone(detail), nil, 0
	return err
}

// alone copies a detail, compressed when it is long. S2 takes a fifth of the time of the fastest
// zstd and leaves a third more, which is what a line a message is worth.
func (p *packer) alone(detail []byte) []byte {
	if len(detail) < compressAt {
		return bytes.Clone(detail)
	}
	p.packed = s2.Encode(p.packed[:cap(p.packed)], detail)
	out := make([]byte, 1, 1+len(p.packed))
	out[0] = compressed
	out = append(out, p.packed...)
	if cap(p.packed) > maxKept {
		p.packed = nil
	}
	return out
}

// placed gives the detail at a place of a pack.
func placed(text []byte, place int) (detail []byte, err error) {
	for i := 0; i < place && err == nil; i++ {
		detail, text, err = cutDetail(text)
	}
	return detail, err
}

// cutDetail gives the first detail of a pack and what follows it.
func cutDetail(text []byte) (detail, rest []byte, err error) {
	n, size := binary.Uvarint(text)
	if size <= 0 || n > uint64(len(text)-size) {
		return nil, nil, errCut
	}
	text = text[size:]
	return text[:n:n], text[n:], nil
}

var errCut = errors.New("a pack ends too early")

// A spot is where a detail stands.
type spot struct {
	seq    int64
	detail []byte // when place is 0
	pack   int64
	place  int
}

// spotColumns are what a spot is read from.
const spotColumns = "seq, detail, pack, place"

func (s *spot) scan(rows *sql.Rows) error { return rows.Scan(&s.seq, &s.detail, &s.pack, &s.place) }

// spots runs a query for spotColumns. Details are read when its rows are closed: whoever holds one
// connection must not wait for another.
func (s *Store) spots(ctx context.Context, query string, args ...any) (list []spot, err error) {
	rows, err := s.o.DB.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var at spot
		if err := at.scan(rows); err != nil {
			return nil, err
		}
		list = append(list, at)
	}
	return list, rows.Err()
}

// unpacker reads details; it remembers the packs that it read last, since neighbours stand in
// one. It is for one goroutine.
type unpacker struct {
	db   *sql.DB
	kept [keptPacks]keptPack
	next int
}

// keptPacks: entries of one moment may have come with several commits.
const keptPacks = 4

type keptPack struct {
	last int64
	text []byte
}

// detail gives the detail of a spot, as it is or in S2 form. It is valid until keptPacks others
// were read.
func (u *unpacker) detail(ctx context.Context, s *spot) ([]byte, error) {
	if s.place == 0 {
		return s.detail, nil
	}
	text, err := u.pack(ctx, s.pack)
	var detail []byte
	if err == nil {
		detail, err = placed(text, s.place)
	}
	if err != nil {
		return nil, fmt.Errorf("pack %d: %w", s.pack, err)
	}
	return detail, nil
}

// entry decodes the entry of a spot, but for the walks that are kept apart.
func (u *unpacker) entry(ctx context.Context, s *spot) (*Entry, error) {
	detail, err := u.detail(ctx, s)
	if err != nil {
		return nil, err
	}
	return decode(detail)
}

func (u *unpacker) pack(ctx context.Context, last int64) ([]byte, error) {
	for i := range u.kept {
		if k := &u.kept[i]; k.last == last && len(k.text) > 0 {
			return k.text, nil
		}
	}
	var packed []byte
	if err := u.db.QueryRowContext(ctx, "SELECT details FROM packs WHERE last = ?", last).Scan(&packed); err != nil {
		return nil, err
	}
	n, err := s2.DecodedLen(packed)
	if err != nil || n > maxDetail {
		return nil, fmt.Errorf("details of %d bytes: %w", n, cmp.Or(err, errTooLong))
	}
	k := &u.kept[u.next]
	u.next = (u.next + 1) % keptPacks
	space := k.text
	k.text = nil
	text, err := s2.Decode(space[:cap(space)], packed)
	if err != nil {
		return nil, err
	}
	k.last, k.text = last, text
	return text, nil
}
