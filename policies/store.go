package policies

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"postern/store"
)

// ErrNotFound is a version, or an order, that is not there.
var ErrNotFound = errors.New("no such version")

// How a version came to be.
const (
	Applied  = "apply"
	Rollback = "rollback"
	Reloaded = "reload" // files that somebody changed by hand, and SIGHUP
	Started  = "start"  // the same, found at a start
)

// A Version is a set of rules that was in force, or was put in its place to be.
type Version struct {
	N      int64     `json:"n"`
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	How    string    `json:"how"`
	Note   string    `json:"note,omitempty"`
	Policy string    `json:"policy"` // as journal entries name it
	Rules  int       `json:"rules"`
	Print  string    `json:"print"` // of the rule files: Files.Print
	Forced bool      `json:"forced,omitempty"`
	Files  Files     `json:"-"`
}

// A Store remembers versions, the orders of commands to the gateway, and the states of breakers.
// Its methods may be called from any goroutine.
type Store struct{ db *store.DB }

//go:embed schema
var schema embed.FS

// keepVersions is how many versions are kept.
const keepVersions = 1000

// maxPacked bounds what is read back.
const maxPacked = 2 * maxTotal

// Open brings the tables up to date. The database stays the caller's to close.
func Open(ctx context.Context, db *store.DB) (*Store, error) {
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "policies", steps); err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Record adds a version and gives its number.
func (s *Store) Record(ctx context.Context, v *Version) (n int64, err error) {
	packed, err := pack(v.Files)
	if err != nil {
		return 0, fmt.Errorf("record version: %w", err)
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("INSERT INTO versions (at, who, how, note, policy, rules, print, forced, files) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			v.At.UnixMicro(), v.Who, v.How, v.Note, v.Policy, v.Rules, v.Print, v.Forced, packed); err != nil {
			return err
		}
		if err := tx.Get("SELECT max(n) FROM versions", nil, &n); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM versions WHERE n <= ?", n-keepVersions)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("record version: %w", err)
	}
	return n, nil
}

func pack(files Files) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(files), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) (files Files, err error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return files, json.NewDecoder(io.LimitReader(z, maxPacked)).Decode(&files)
}

const columns = "n, at, who, how, note, policy, rules, print, forced"

// Versions lists the latest versions, newest first, without their files.
func (s *Store) Versions(ctx context.Context, most int) ([]*Version, error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT "+columns+" FROM versions ORDER BY n DESC LIMIT ?", most)
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	defer rows.Close()
	var out []*Version
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list versions: %w", err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	return out, nil
}

func scan(row func(...any) error, more ...any) (*Version, error) {
	v, at := &Version{}, int64(0)
	err := row(append([]any{&v.N, &at, &v.Who, &v.How, &v.Note, &v.Policy, &v.Rules, &v.Print, &v.Forced}, more...)...)
	v.At = time.UnixMicro(at)
	return v, err
}

// Version gives one version with its files; the latest when n is 0.
func (s *Store) Version(ctx context.Context, n int64) (*Version, error) {
	query := "SELECT " + columns + ", files FROM versions WHERE n = ?"
	if n == 0 {
		query = "SELECT " + columns + ", files FROM versions WHERE n > ? ORDER BY n DESC LIMIT 1"
	}
	var packed []byte
	v, err := scan(s.db.Reader().QueryRowContext(ctx, query, n).Scan, &packed)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err == nil {
		v.Files, err = unpack(packed)
	}
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", n, err)
	}
	return v, nil
}

// InForce gives the latest version that journal entries name so, with its files; ErrNotFound when
// the history has none.
func (s *Store) InForce(ctx context.Context, policy string) (*Version, error) {
	var n int64
	err := s.db.Reader().QueryRowContext(ctx, "SELECT coalesce(max(n), 0) FROM versions WHERE policy = ?", policy).Scan(&n)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("rules %s: %w", policy, err)
	}
	return s.Version(ctx, n)
}

// Known tells whether rule files with this print are a version already, and whether one of
// those was taken by force.
func (s *Store) Known(ctx context.Context, print string) (known, forced bool, err error) {
	var n, most int64
	err = s.db.Reader().QueryRowContext(ctx, "SELECT count(*), coalesce(max(forced), 0) FROM versions WHERE print = ?", print).Scan(&n, &most)
	if err != nil {
		return false, false, fmt.Errorf("look up rules: %w", err)
	}
	return n > 0, most > 0, nil
}
