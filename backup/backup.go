// Package backup writes the data of a gateway to one file, while the gateway runs, and reads it
// back into an empty folder. The file is a tar archive, so that it can be looked into without us:
//
//	postern-backup.json   what it is, and of when
//	digest.key …          small files of the data folder
//	messages/X/ID.eml.zst held messages
//	postern.db            the database as it was at one moment; rows and messages fit together
//	SHA256SUMS            of all before, as sha256sum -c reads it; the last entry: without it
//	                      the archive is not whole
package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"postern/quarantine"
	"postern/store"
)

const (
	aboutFile = "postern-backup.json"
	sumsFile  = "SHA256SUMS"
	lostFound = "lost+found" // the file system's own
	format    = 1
	copies    = "backup-" // copies of the database, in the spool folder
	maxSmall  = 1 << 20   // bytes of other files that are saved
	spare     = 128 << 20 // bytes that must stay free beside the copy of the database
)

// About is what an archive says of itself.
type About struct {
	Format  int       `json:"format"`
	Made    time.Time `json:"made"`
	Version string    `json:"version"` // of the program
}

// Report is what was saved, or restored.
type Report struct {
	About
	Messages int      `json:"messages"`
	Bytes    int64    `json:"bytes"`              // of all files
	Gone     int      `json:"gone"`               // messages that were removed while the backup was made, and are not in it
	Damaged  []string `json:"damaged"`            // ids of messages whose bytes are not those that were received
	LeftOut  []string `json:"left_out,omitempty"` // other files that are over 1 MiB, and not in it
}

// Write saves the data folder of db as it is now; the gateway may run meanwhile. A copy of the
// database is made in the spool folder first, and needs room there.
func Write(ctx context.Context, w io.Writer, db *store.DB, q *quarantine.Store, a About) (Report, error) {
	a.Format = format
	r := Report{About: a, Damaged: []string{}}
	spool := filepath.Join(db.Dir(), store.Spool)
	sweep(spool)
	if err := room(ctx, db, q); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(spool, copies)
	if err != nil {
		return r, fmt.Errorf("back up: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := db.Backup(ctx, filepath.Join(dir, store.File)); err != nil {
		return r, err
	}
	sums, err := os.Create(filepath.Join(dir, sumsFile))
	if err != nil {
		return r, fmt.Errorf("back up: %w", err)
	}
	defer sums.Close()
	out := &writer{tar: tar.NewWriter(w), sums: sums, made: a.Made}
	if err := out.all(ctx, db.Dir(), dir, q, &r); err != nil {
		return r, fmt.Errorf("back up: %w", err)
	}
	r.Bytes = out.bytes
	return r, nil
}

// sweep removes copies that a backup left behind which was broken off.
func sweep(spool string) {
	left, _ := filepath.Glob(filepath.Join(spool, copies+"*"))
	for _, dir := range left {
		if st, err := os.Stat(dir); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.RemoveAll(dir)
		}
	}
}

// room refuses to fill the disk on which mail is taken.
func room(ctx context.Context, db *store.DB, q *quarantine.Store) error {
	u, err := q.Usage(ctx)
	if err != nil {
		return err
	}
	st, err := os.Stat(filepath.Join(db.Dir(), store.File))
	if err != nil {
		return err
	}
	if need := st.Size() + spare; u.Free < need {
		return fmt.Errorf("back up: %w: a copy of the database is made in the data folder first, for which %d MiB have to be free there, and %d are",
			store.ErrFull, need>>20, u.Free>>20)
	}
	return nil
}

// A writer adds files to the archive.
type writer struct {
	tar   *tar.Writer
	sums  *os.File
	made  time.Time
	bytes int64
}

// all writes the archive: the data folder's small files, messages, and the database out of dir.
func (w *writer) all(ctx context.Context, data, dir string, q *quarantine.Store, r *Report) error {
	about, err := json.Marshal(r.About)
	if err != nil {
		return err
	}
	if err := w.add(aboutFile, append(about, '\n')); err != nil {
		return err
	}
	if err := w.small(data, r); err != nil {
		return err
	}
	copied, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return err
	}
	saved, err := q.Save(ctx, copied, w.add)
	if err == nil {
		err = copied.Check(ctx)
	}
	if cerr := copied.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	r.Messages, r.Gone, r.Damaged = saved.Messages, saved.Gone, append(r.Damaged, saved.Damaged.IDs...)
	if err := w.file(store.File, filepath.Join(dir, store.File)); err != nil {
		return err
	}
	if err := w.plain(sumsFile, w.sums); err != nil {
		return err
	}
	return w.tar.Close()
}

// small adds the other files of the data folder: keys, certificates. None of ours is large.
func (w *writer) small(data string, r *Report) error {
	root, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == store.Messages || name == store.Spool || name == lostFound):
			return fs.SkipDir
		case !d.Type().IsRegular() || !extra(name):
			return nil
		}
		text, err := upTo(root, name, maxSmall)
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case len(text) > maxSmall:
			r.LeftOut = append(r.LeftOut, name)
			return nil
		}
		return w.add(name, text)
	})
}

// upTo reads a file, and one byte more than most when there is more.
func upTo(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// extra tells whether a name is that of a file beside database and messages that is worth saving.
func extra(name string) bool {
	if strings.HasPrefix(name, store.File) || name == "setup-link" || strings.HasSuffix(name, ".lock") || strings.Count(name, "/") > 6 {
		return false
	}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if part == "" || strings.HasPrefix(part, ".") {
			return false
		}
	}
	return parts[0] != store.Messages && parts[0] != store.Spool && parts[0] != lostFound && fs.ValidPath(name) && !strings.ContainsAny(name, "\n\\") && path.Clean(name) == name && name != aboutFile && name != sumsFile
}

func (w *writer) add(name string, text []byte) error {
	return w.stream(name, int64(len(text)), bytes.NewReader(text))
}

func (w *writer) file(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return w.stream(name, st.Size(), f)
}

// stream adds a file, and its sum to the list.
func (w *writer) stream(name string, size int64, r io.Reader) error {
	sum := sha256.New()
	if err := w.head(name, size); err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(w.tar, sum), r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.bytes += n
	_, err = w.sums.WriteString(sumLine(sum.Sum(nil), name))
	return err
}

func sumLine(sum []byte, name string) string { return fmt.Sprintf("%x  %s\n", sum, name) }

// plain adds the list itself.
func (w *writer) plain(name string, f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := w.head(name, size); err != nil {
		return err
	}
	_, err = io.Copy(w.tar, f)
	return err
}

func (w *writer) head(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.made})
}
