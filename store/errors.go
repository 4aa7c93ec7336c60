package store

import (
	"errors"
	"fmt"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// wrap puts ErrFull or ErrCorrupt on an error that means it.
func wrap(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrCorrupt):
		return err
	case NoRoom(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
			return fmt.Errorf("%w: %w", ErrFull, err)
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return err
}

// judge wraps an error and stops the store when what the disk holds is in doubt: a failed
// fsync must never be repeated and believed, since the kernel may have dropped the pages.
func (db *DB) judge(err error) error {
	err = wrap(err)
	var e *sqlite.Error
	inDoubt := errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_IOERR_FSYNC || e.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC)
	if inDoubt || errors.Is(err, ErrCorrupt) {
		db.fail(err)
		return db.Err()
	}
	return err
}

// NoRoom reports whether err says that the disk or a quota is full, or that the file
// system is mounted read-only.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}
