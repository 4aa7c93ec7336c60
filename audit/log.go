package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"postern/store"
)

// ErrTampered says that a line is not as it was written, or that one is missing.
var ErrTampered = errors.New("the log of acts was tampered with")

// Options of Open.
type Options struct {
	DB    *store.DB        // stays the caller's to close
	Clock func() time.Time // nil: time.Now
	// Log gets each line with its hash as well: what is kept elsewhere tells when somebody cut off
	// the end of the log, or wrote all of it anew. nil: none.
	Log *slog.Logger
}

// A Log keeps the lines. All methods may be called from any goroutine, and by several processes
// on one database.
type Log struct {
	o       Options
	refused refusals
}

//go:embed schema
var schema embed.FS

// Open opens the log and brings its table up to date. There is nothing to close.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "audit", steps); err != nil {
		return nil, err
	}
	return &Log{o: o}, nil
}

// Bounds of what one line keeps, in bytes.
const (
	maxWord = 320
	maxText = 2000
	maxJSON = 64 << 10
)

// Note adds a line; N and At are set by the log. It is on disk when Note returns nil.
func (l *Log) Note(ctx context.Context, line Line) error {
	return l.NoteWith(ctx, line, func(*store.Tx) error { return nil })
}

// NoteWith adds a line in the same transaction as what do writes: both are on disk, or neither.
// The error of do is passed on as it is.
func (l *Log) NoteWith(ctx context.Context, line Line, do func(*store.Tx) error) error {
	return l.NoteAfter(ctx, func(tx *store.Tx) (*Line, error) { return &line, do(tx) })
}

// NoteAfter is NoteWith for a line that is known only when do has run; nil is no line.
func (l *Log) NoteAfter(ctx context.Context, do func(*store.Tx) (*Line, error)) error {
	var line *Line
	var hash []byte
	err := l.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
		if line, err = do(tx); err != nil || line == nil {
			return err
		}
		one := *line
		line = &one
		line.At = l.o.Clock().UTC().Truncate(time.Microsecond)
		hash, err = line.add(tx)
		return err
	})
	if err != nil || line == nil {
		return err
	}
	l.o.Log.Info("act", "n", line.N, "who", line.Who, "by", line.By, "from", line.From, "act", line.Act, "object", line.Object,
		"result", line.Result, "hash", hex.EncodeToString(hash))
	return nil
}

func (line *Line) add(tx *store.Tx) (hash []byte, err error) {
	line.bound()
	var last int64
	var before []byte
	err = tx.Get("SELECT n, hash FROM acts_log ORDER BY n DESC LIMIT 1", nil, &last, &before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("log of acts: %w", err)
	}
	line.N = last + 1
	hash = line.hash(before)
	_, err = tx.Exec("INSERT INTO acts_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", line.N, line.At.UnixMicro(), line.Who, line.By, line.From,
		line.Act, line.Object, line.Result, line.Reason, line.Note, string(line.Before), string(line.After), hash)
	if err != nil {
		return nil, fmt.Errorf("log of acts: %w", err)
	}
	return hash, nil
}

// bound makes everything fit for its column: words come from people and from mail.
func (line *Line) bound() {
	for _, s := range []*string{&line.Who, &line.By, &line.From, &line.Act, &line.Object, &line.Result} {
		*s = store.Clean(*s, maxWord)
	}
	for _, s := range []*string{&line.Reason, &line.Note} {
		*s = store.Clean(*s, maxText)
	}
	for _, j := range []*json.RawMessage{&line.Before, &line.After} {
		if len(*j) > 0 && (len(*j) > maxJSON || !json.Valid(*j)) {
			*j, _ = json.Marshal(map[string]int{"left_out_bytes": len(*j)})
		}
	}
}

// hash chains the line to the one before. Every field has its length before it, so that nothing
// can be moved from one field to the next.
func (line *Line) hash(before []byte) []byte {
	h := sha256.New()
	field := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	field(before)
	field(binary.BigEndian.AppendUint64(nil, uint64(line.N)))
	field(binary.BigEndian.AppendUint64(nil, uint64(line.At.UnixMicro())))
	for _, s := range []string{line.Who, line.By, line.From, line.Act, line.Object, line.Result, line.Reason, line.Note} {
		field([]byte(s))
	}
	field(line.Before)
	field(line.After)
	return h.Sum(nil)
}
