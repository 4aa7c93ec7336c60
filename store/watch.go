package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A watch knows the database's files as they were when it was opened. What is written to a file that
// was deleted, or put aside for another one, is gone with the process: SQLite does not notice.
type watch struct{ file, log fs.FileInfo }

// names of the files that are watched; the log grows and shrinks, and stays the same file.
func (db *DB) names() (file, log string) {
	file = filepath.Join(db.dir, File)
	return file, file + "-wal"
}

// look notes which files are open.
func (db *DB) look() (err error) {
	file, log := db.names()
	if db.watch.file, err = os.Stat(file); err != nil {
		return err
	}
	if db.watch.log, err = os.Stat(log); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was read yet: it is noted at the first Watch
	}
	return err
}

// Watch looks whether the database and its log are still the files that were opened, which takes
// microseconds: ask once a minute or so, from one goroutine, on an Exclusive DB. When one is not, nothing is written any more, and Watch
// says what to do. An error that tells nothing of that stops nothing.
func (db *DB) Watch() error {
	if err := db.Err(); err != nil {
		return nil // known
	}
	file, log := db.names()
	for _, f := range []struct {
		name string
		was  fs.FileInfo
	}{{file, db.watch.file}, {log, db.watch.log}} {
		now, err := os.Stat(f.name)
		switch {
		case f.was == nil && err == nil:
			db.watch.log = now
		case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(f.was, now):
			db.fail(fmt.Errorf("%w: %s was deleted or replaced while it was in use: stop Postern as usual, never by kill -9, since its end saves what it can; then run postern check", ErrCorrupt, f.name))
			return db.Err()
		case err != nil:
			return fmt.Errorf("look at the database: %w", err)
		}
	}
	return nil
}
