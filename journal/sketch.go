package journal

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"postern/search"
	"postern/store"
)

// Words of entries are found without an index on the message's path: behind it, each run of some
// hundred entries gets a sketch, one bit for each four bytes in a row that stand in what is
// searched. Whoever looks for something skips the runs in whose sketch a part of it is missing,
// and asks SQLite about the others. A sketch costs some microseconds an entry, where an inverted
// index costs hundreds.

const (
	sketchEntries = 256
	sketchBytes   = 16_000 // of bits: with its row in two pages; a fifth of the bits is set
	sketchBits    = sketchBytes * 8
	sketchRuns    = 64 // drawn by one call
	sketchCommit  = 8  // of these by one commit
	gram          = 4

	// SketchAfter is how old entries are before they are drawn: those that come late are there.
	SketchAfter = 10 * time.Minute
)

// Marks before words that stand for columns, so that they are not found in texts.
const (
	markResult = "\x01"
	markClass  = "\x02"
	markRule   = "\x03"
)

// Sketch draws what is new and at least SketchAfter old, some thousand entries a call, and
// returns how many: call it again soon when there were some. It is for the one process that
// records. Without it searches find the same, but take longer.
func (s *Store) Sketch(ctx context.Context, now time.Time) (n int, err error) {
	if s.drawn.Load() == math.MaxInt64 {
		err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
			var last int64
			err := tx.Get("SELECT coalesce(max(last), 0) FROM sketches", nil, &last)
			s.drawn.Store(last)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("sketch journal: %w", err)
		}
	}
	before := now.Add(-SketchAfter).UnixMicro()
	for range sketchRuns / sketchCommit {
		runs, err := s.nextRuns(ctx, before)
		kept := 0
		if err == nil && len(runs) > 0 {
			kept, err = s.keepRuns(ctx, runs)
		}
		if err != nil {
			return n, fmt.Errorf("sketch journal: %w", err)
		}
		if n += kept * sketchEntries; kept < sketchCommit {
			break
		}
	}
	return n, nil
}

// nextRuns draws what one commit has.
func (s *Store) nextRuns(ctx context.Context, before int64) (runs []*sketch, err error) {
	for after := s.drawn.Load(); len(runs) < sketchCommit; {
		run, err := s.nextRun(ctx, after, before)
		if err != nil || run == nil {
			return runs, err
		}
		runs, after = append(runs, run), run.last
	}
	return runs, nil
}

// A sketch is what a run of entries may contain.
type sketch struct {
	first, last int64 // seq
	entries     int
	bits        []byte // nil: anything
}

// nextRun draws the next entries behind one; nil when there are not enough.
func (s *Store) nextRun(ctx context.Context, after, before int64) (*sketch, error) {
	rows, err := s.o.DB.Reader().QueryContext(ctx, `SELECT seq, words, replies, client, lower(message_id), result, lower(classes), lower(rules) FROM entries
		WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?`, after, before, sketchEntries)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	run := &sketch{first: after + 1, bits: make([]byte, sketchBytes)}
	anything := false
	for rows.Next() {
		var words, replies, client, id, result, classes, rules sql.RawBytes
		var seq int64
		if err := rows.Scan(&seq, &words, &replies, &client, &id, &result, &classes, &rules); err != nil {
			return nil, err
		}
		run.entries++
		run.last = seq
		anything = anything || len(words) > longWords || len(replies) > longReplies || len(rules) > longWords
		for _, text := range [][]byte{words, replies, client, id} {
			run.draw(text)
		}
		run.draw([]byte(markResult + string(result)))
		run.drawAll(markClass, string(classes))
		run.drawAll(markRule, string(rules))
	}
	if run.entries < sketchEntries {
		return nil, rows.Err()
	}
	if anything {
		run.bits = nil
	}
	return run, rows.Err()
}

func (k *sketch) draw(text []byte) {
	for i := 0; i+gram <= len(text); i++ {
		bit := hashOf(text[i:])
		k.bits[bit/8] |= 1 << (bit % 8)
	}
}

// drawAll draws each word by itself, behind its mark.
func (k *sketch) drawAll(mark, words string) {
	for _, w := range strings.Fields(words) {
		k.draw([]byte(mark + w))
	}
}

func hashOf(text []byte) uint32 {
	return uint32(uint64(binary.LittleEndian.Uint32(text)*2654435761) * sketchBits >> 32)
}

// may tells whether the run may contain a text.
func (k *sketch) may(text string) bool {
	if len(k.bits) != sketchBytes {
		return true
	}
	for i := 0; i+gram <= len(text); i++ {
		if bit := hashOf([]byte(text[i : i+gram])); k.bits[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// keepRuns keeps sketches, but for those into whose run entries came meanwhile, and what follows
// these: the next call draws them.
func (s *Store) keepRuns(ctx context.Context, runs []*sketch) (kept int, err error) {
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		kept = 0
		for _, run := range runs {
			var n int
			if err := tx.Get("SELECT count(*) FROM entries WHERE seq BETWEEN ? AND ?", []any{run.first, run.last}, &n); err != nil {
				return err
			}
			if n != run.entries {
				return nil
			}
			bits := run.bits
			if bits == nil {
				bits = []byte{}
			}
			s.drawn.Store(run.last) // before the commit: whoever writes behind it must know
			if _, err := tx.Exec("INSERT INTO sketches VALUES (?, ?, ?)", run.last, run.first, bits); err != nil {
				return err
			}
			kept++
		}
		return nil
	})
	return kept, err
}

// smudge removes the sketches of runs into which rows come.
func (s *Store) smudge(tx *store.Tx, rows []row) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range rows {
		first, last = min(first, rows[i].seq), max(last, rows[i].seq)
	}
	if first > s.drawn.Load() {
		return nil
	}
	_, err := tx.Exec("DELETE FROM sketches WHERE last >= ? AND first <= ?", first, last)
	return err
}

// needles are texts that an entry has to contain somewhere in what is drawn: of each list one.
func (q *Query) needles(c *search.Condition) (all [][]string) {
	add := func(list []string) {
		for _, n := range list {
			if len(n) < gram {
				return
			}
		}
		if len(list) > 0 {
			all = append(all, list)
		}
	}
	if q.Only != nil {
		add(q.Only)
	}
	for _, c := range c.Conjuncts() {
		add(q.needle(c))
	}
	return all
}

// needle gives texts one of which is drawn where c is true; none when that is not known.
func (q *Query) needle(c *search.Condition) (list []string) {
	if c.Op == search.Or {
		for _, p := range c.Parts {
			some := q.needle(p)
			if len(some) == 0 {
				return nil
			}
			list = append(list, some...)
		}
		return list
	}
	whole := c.Op == search.Equal || c.Op == search.In
	mark, lowered := "", true
	switch c.Field {
	case search.Anything, "reply", "subject", "from", "because", "rcpt", "sender", "client":
	case "rcpt.domain", "sender.domain":
		if whole {
			mark = "@"
		}
	case "message_id":
		lowered = false
	case "rule", "class":
		mark, lowered = map[string]string{"rule": markRule, "class": markClass}[c.Field], false
		if c.Op != search.Begins && !whole {
			return nil
		}
	case "result":
		if mark = markResult; q.Only != nil || !whole {
			return nil
		}
	default:
		return nil
	}
	for _, t := range c.Texts {
		if t == "" || !lowered && !ascii(t) { // SQLite's lower, with which it was drawn, knows ASCII only
			return nil
		}
		list = append(list, mark+t)
	}
	return list
}
