package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"postern/quarantine"
	"postern/store"
)

// schemaRooms are the rooms that keep tables: folder and name.
var schemaRooms = []string{"audit", "digest", "greylist", "journal", "lists", "people", "policies", "quarantine", "recall", "review", "tally"}

// schemaSteps are the files of a room's migrations, in their order.
func schemaSteps(t *testing.T, room string) (names []string, files fs.FS) {
	t.Helper()
	files = os.DirFS(filepath.Join(moduleRoot, room, "schema"))
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v", room, err)
	}
	return names, files
}

// upTo are the first n steps.
func upTo(t *testing.T, room string, n int) fs.FS {
	t.Helper()
	names, files := schemaSteps(t, room)
	out := fstest.MapFS{}
	for _, name := range names[:n] {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: text}
	}
	return out
}

// schemaOf is all that a database has tables of.
func schemaOf(t *testing.T, db *store.DB) string {
	t.Helper()
	rows, err := db.Reader().QueryContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s+";\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "")
}

// The rows of a first form: a held message, one that was released, and somebody who may sign in.
var firstRows = map[string][]string{
	"quarantine": {
		`INSERT INTO items VALUES ('01K9ZT0A6X2V9S3M8Q4R5W7Y1B', 1700000000000000, 'kept', 'eve@friend.example', 'friend.example', 'Cheap pills', 'Eve <eve@friend.example>',
			%d, %d, '%s', 'v1', 1700000000000000, 4000000000000000, '', '', '{"id":"01K9ZT0A6X2V9S3M8Q4R5W7Y1B","client":{"addr":"192.0.2.1"},"sender":"eve@friend.example"}', 'cheap pills' || char(10) || 'eve <eve@friend.example>')`,
		`INSERT INTO copies VALUES ('01K9ZT0A6X2V9S3M8Q4R5W7Y1B', 0, 'a@example.org', 'example.org', '{"address":"a@example.org"}', 'spam', 'gtube', 'It is a test', 1.5, 'kept', 1700000000000000, '', '')`,
		`INSERT INTO items VALUES ('01K9ZT0A6X2V9S3M8Q4R5W7Y1C', 1700000000000000, 'released', 'eve@friend.example', 'friend.example', 'Invoice', '',
			3, 0, '', 'v1', 1700000000000000, 4000000000000000, 'root', '', '{"id":"01K9ZT0A6X2V9S3M8Q4R5W7Y1C","sender":"eve@friend.example"}', 'invoice' || char(10))`,
		`INSERT INTO copies VALUES ('01K9ZT0A6X2V9S3M8Q4R5W7Y1C', 0, 'b@example.org', 'example.org', '{"address":"b@example.org"}', 'policy', 'mine', 'why', 0, 'released', 1700000000000000, 'root', '')`,
		`UPDATE usage SET items = 2, bytes = %d`,
	},
	"people": {
		`INSERT INTO people VALUES ('p1', 'root', 'Root', 'admin', '[]', '', '', 0, '', 1700000000000000, 0)`,
	},
}

// D-20: from every earlier form of every room the tables become those of a new database, and what
// stood in them is found. The earlier forms are kept in testdata, so that nobody changes a step that
// somebody has taken already.
func TestD20_FromEveryEarlierSchema(t *testing.T) {
	t.Parallel()
	message := []byte(letter("old", "Cheap pills", "of an older Postern\r\n"))
	fresh := migrated(t, t.TempDir(), nil)
	for _, room := range schemaRooms {
		names, _ := schemaSteps(t, room)
		for version := 1; version <= len(names); version++ {
			t.Run(fmt.Sprintf("%s-%d", room, version), func(t *testing.T) {
				dir := t.TempDir()
				db, err := store.Open(t.Context(), dir, store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				for v := 1; v <= version; v++ {
					if err := db.Migrate(t.Context(), room, upTo(t, room, v)); err != nil {
						t.Fatal(err)
					}
					if v == 1 && version < len(names) {
						firstForm(t, db, dir, room, message)
					}
				}
				golden(t, filepath.Join(moduleRoot, "testdata", "schemas", fmt.Sprintf("%s-%d.sql", room, version)), schemaOf(t, db))
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				if version == len(names) {
					return
				}
				now := migrated(t, dir, func(st *stores) { asBefore(t, st, room, message) })
				if now != fresh {
					t.Errorf("its tables differ from those of a new database:\n%s\nwant\n%s", now, fresh)
				}
			})
		}
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: a new step needs its form noted: go test ./cmd/postern -run TestD20 -update", err)
	}
	if text != string(want) {
		t.Errorf("a step that was taken already makes other tables now: add a step instead\n%s\nwant\n%s", text, want)
	}
}

// firstForm writes the rows of a first form.
func firstForm(t *testing.T, db *store.DB, dir, room string, message []byte) {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := enc.EncodeAll(message, nil)
	if room == "quarantine" {
		file := filepath.Join(dir, store.Messages, "B", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B.eml.zst")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, packed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		for _, row := range firstRows[room] {
			switch strings.Count(row, "%") {
			case 3:
				row = fmt.Sprintf(row, len(message), len(packed), fmt.Sprintf("%x", sha256.Sum256(message)))
			case 1:
				row = fmt.Sprintf(row, len(packed))
			}
			if _, err := tx.Exec(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asBefore looks for what firstForm wrote.
func asBefore(t *testing.T, st *stores, room string, message []byte) {
	t.Helper()
	switch room {
	case "quarantine":
		for _, q := range []quarantine.Query{{Text: "pills"}, {Recipient: "a@example.org"}, {Rule: "gtube"}, {Class: "spam"}} {
			items, _, err := st.quarantine.List(t.Context(), q)
			if err != nil || len(items) != 1 || items[0].Subject != "Cheap pills" || items[0].Copies[0].Because != "It is a test" {
				t.Fatalf("%+v: %+v, %v", q, items, err)
			}
		}
		r, err := st.quarantine.Content(t.Context(), "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, message) {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		if err := st.quarantine.Delete(t.Context(), "01K9ZT0A6X2V9S3M8Q4R5W7Y1B", "root"); err != nil {
			t.Error(err)
		}
	case "people":
		var login, base string
		if err := st.db.Reader().QueryRow("SELECT login, base_role FROM people").Scan(&login, &base); err != nil || login != "root" || base != "" {
			t.Errorf("%q, %q, %v", login, base, err)
		}
	}
}

// migrated opens a data folder as the daemon does, and gives its tables.
func migrated(t *testing.T, dir string, look func(*stores)) string {
	t.Helper()
	s := newSite(t, "127.0.0.1:9", "")
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data = dir
	p, err := build(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if look != nil {
		look(p.stores)
	}
	if err := p.db.CheckAll(t.Context()); err != nil {
		t.Error(err)
	}
	return schemaOf(t, p.db)
}

// D-20: data of a newer Postern is refused with a clear sentence, and not touched.
func TestD20_NewerDataIsRefused(t *testing.T) {
	t.Parallel()
	now := t.TempDir()
	migrated(t, now, nil)
	whole, err := os.ReadFile(filepath.Join(now, store.File))
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range schemaRooms {
		t.Run(room, func(t *testing.T) {
			s := newSite(t, "127.0.0.1:9", "")
			s.write(t, filepath.Join("data", store.File), string(whole))
			newer(t, s.data, room)
			before, err := os.ReadFile(filepath.Join(s.data, store.File))
			if err != nil {
				t.Fatal(err)
			}
			code, _, stderr := postern("serve", "-c", s.conf)
			if code != exitFailed || !strings.Contains(stderr, "the data was written by a newer postern") || !strings.Contains(stderr, "tables of "+room) {
				t.Errorf("exit %d, %s", code, stderr)
			}
			theDaemons := room == "digest" || room == "review" || room == "tally" // commands do not open them
			if code, stdout, _ := postern("check", "--data", s.data); !theDaemons && (code != exitFailed || !strings.Contains(stdout, "newer postern")) {
				t.Errorf("check: exit %d, %s", code, stdout)
			}
			if after, err := os.ReadFile(filepath.Join(s.data, store.File)); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the database was changed: %v", err)
			}
		})
	}
}

// newer makes the tables of a room those of a later version.
func newer(t *testing.T, dir, room string) {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Exec("UPDATE rooms SET version = version + 1 WHERE room = ?", room)
		if err == nil && n != 1 {
			err = fmt.Errorf("no such room")
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
