package audit

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"postern/store"
)

// A Query picks lines; what is empty does not matter.
type Query struct {
	Before int64 // lines with a smaller N
	Who    string
	Act    string
	Object string
	Since  time.Time
	Until  time.Time // before this
	Limit  int       // 0: 50; at most 500
}

const columns = "n, at, who, by_way, origin, act, object, result, reason, note, before, after, hash"

// List gives a page of lines, newest first.
func (l *Log) List(ctx context.Context, q Query) ([]Line, error) {
	w := &store.Where{}
	if q.Before > 0 {
		w.Add("n < ?", q.Before)
	}
	w.Equal("who = ?", q.Who)
	w.Equal("act = ?", q.Act)
	w.Equal("object = ?", q.Object)
	w.Between("at", q.Since, q.Until)
	rows, err := l.o.DB.Reader().QueryContext(ctx, "SELECT "+columns+" FROM acts_log WHERE "+w.String()+" ORDER BY n DESC LIMIT ?",
		append(w.Args, store.Page(q.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("log of acts: %w", err)
	}
	defer rows.Close()
	var out []Line
	for rows.Next() {
		line, _, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("log of acts: %w", err)
	}
	return out, nil
}

func scan(rows *sql.Rows) (line Line, hash []byte, err error) {
	var at int64
	var before, after string
	err = rows.Scan(&line.N, &at, &line.Who, &line.By, &line.From, &line.Act, &line.Object, &line.Result, &line.Reason, &line.Note, &before, &after, &hash)
	if err != nil {
		return line, nil, fmt.Errorf("log of acts: %w", err)
	}
	line.At = time.UnixMicro(at).UTC()
	if before != "" {
		line.Before = json.RawMessage(before)
	}
	if after != "" {
		line.After = json.RawMessage(after)
	}
	return line, hash, nil
}

// Verify reads the whole log: ErrTampered names the first line that is not as it was written, or
// that is missing before another. It returns how many lines there are and the hash of the last
// one, in hex: compared with one noted earlier, it tells whether the end was cut off.
func (l *Log) Verify(ctx context.Context) (lines int64, head string, err error) {
	rows, err := l.o.DB.Reader().QueryContext(ctx, "SELECT "+columns+" FROM acts_log ORDER BY n")
	if err != nil {
		return 0, "", fmt.Errorf("log of acts: %w", err)
	}
	defer rows.Close()
	var last []byte
	for rows.Next() {
		line, hash, err := scan(rows)
		if err != nil {
			return lines, "", err
		}
		if line.N != lines+1 {
			return lines, "", fmt.Errorf("%w: line %d is missing", ErrTampered, lines+1)
		}
		if !bytes.Equal(hash, line.hash(last)) {
			return lines, "", fmt.Errorf("%w: line %d is not as it was written", ErrTampered, line.N)
		}
		lines, last = line.N, hash
	}
	if err := rows.Err(); err != nil {
		return lines, "", fmt.Errorf("log of acts: %w", err)
	}
	return lines, hex.EncodeToString(last), nil
}
