package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"postern/backup"
	"postern/store"
)

// backupCmd saves the data folder.
type backupCmd struct {
	storeFlags
	To   string `arg:"" help:"File to write, which must not be there yet; a folder, in which it gets a name with the time; - for standard output." placeholder:"FILE"`
	JSON bool   `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (backupCmd) Help() string {
	return "Example:\n  sudo postern backup /backup/\n  sudo postern backup - | ssh backup 'cat > postern.tar'\n\n" +
		"It saves held mail, journal, lists, accounts and keys as of one moment, while the gateway runs; rules and configuration " +
		"are files of yours. The file is a tar archive with a list of sums. It holds other people's mail, and the keys. " +
		"Exit code 1, though the file is written, when held mail is damaged on disk."
}

// Run saves.
func (c *backupCmd) Run(out output) (err error) {
	s := settings{Config: c.Config, Data: c.Data}
	cfg, err := s.read()
	if err != nil {
		return err
	}
	if why := noStore(cfg.Data); why != "" {
		return fmt.Errorf("data folder %s: %s: name the gateway's with -c FILE or --data DIR", cfg.Data, why)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if c.To == "-" {
		rep, err := c.write(ctx, cfg, out.out)
		if err != nil {
			return err
		}
		return c.tell(output{out.err, out.err}, "-", rep)
	}
	name := c.To
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		name = filepath.Join(name, "postern-"+time.Now().UTC().Format("20060102T150405Z")+".tar")
	}
	if inside(cfg.Data, name) {
		return &usageError{fmt.Sprintf("%s is in the data folder: a backup belongs elsewhere, best on another disk", name)}
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already: a backup is never written over another one", name)
	}
	// Of a name that nobody can have taken before: it would stay that one's to read.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part") // mode 0600
	if err != nil {
		return err
	}
	rep, err := c.write(ctx, cfg, f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := publish(f.Name(), name); err != nil {
		return err
	}
	return c.tell(out, name, rep)
}

// publish gives the written file its name, which another backup may have taken meanwhile.
func publish(part, name string) error {
	switch err := os.Link(part, name); {
	case errors.Is(err, fs.ErrExist):
		return errors.Join(fmt.Errorf("%s was written meanwhile by another backup, which stays as it is", name), os.Remove(part))
	case err != nil: // a file system without links
		if err := os.Rename(part, name); err != nil {
			return errors.Join(err, os.Remove(part))
		}
	default:
		if err := os.Remove(part); err != nil {
			return err
		}
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// inside tells whether a file would stand in a folder.
func inside(dir, name string) bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if name, err = filepath.Abs(name); err != nil {
		return false
	}
	return strings.HasPrefix(name, dir+string(filepath.Separator))
}

// write saves as the owner of the data folder, to a file that is open already.
func (c *backupCmd) write(ctx context.Context, cfg *Config, w io.Writer) (rep backup.Report, err error) {
	back, err := store.Lend(cfg.Data)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, back()) }()
	s, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return backup.Write(ctx, w, s.db, s.quarantine, backup.About{Made: time.Now().UTC().Truncate(time.Second), Version: version()})
}

func (c *backupCmd) tell(out output, name string, rep backup.Report) error {
	if c.JSON {
		if err := printObject(out.out, struct {
			File string `json:"file"`
			backup.Report
		}{name, rep}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out.out, "%s: %d held messages, %d MiB in all\n", name, rep.Messages, (rep.Bytes+1<<20-1)>>20)
		for _, name := range rep.LeftOut {
			fmt.Fprintf(out.out, "not in it: %s, which is over 1 MiB and none of Postern's\n", name)
		}
	}
	if len(rep.Damaged) > 0 {
		return fmt.Errorf("%d held messages are damaged on disk; the backup has them as they are: %s", len(rep.Damaged), strings.Join(rep.Damaged[:min(len(rep.Damaged), 5)], " "))
	}
	return nil
}

// restoreCmd brings a data folder back.
type restoreCmd struct {
	storeFlags
	From string `arg:"" help:"File that postern backup wrote; a folder, of which the newest is taken; - for standard input." placeholder:"FILE"`
	JSON bool   `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (restoreCmd) Help() string {
	return "Example:\n  sudo systemctl stop postern\n  sudo postern restore --data /var/lib/postern /backup/postern-20261122T020000Z.tar\n\n" +
		"The folder must be empty or missing. Everything is compared with the sums in the archive, the database is checked, and every " +
		"held message is read. Run as root, files belong to the owner of an empty folder."
}

// Run restores.
func (c *restoreCmd) Run(out output) error {
	s := settings{Config: c.Config, Data: c.Data}
	cfg, err := s.read()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	in, name, err := c.open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := store.AsOwner(cfg.Data); err != nil {
		return err
	}
	rep, err := backup.Read(ctx, in, cfg.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := restored(ctx, cfg, &rep); err != nil {
		return fmt.Errorf("restored to %s, but: %w", cfg.Data, err)
	}
	if c.JSON {
		err = printObject(out.out, struct {
			Data string `json:"data"`
			backup.Report
		}{cfg.Data, rep})
	} else {
		_, err = fmt.Fprintf(out.out, "%s: %d held messages, %d MiB in all, as of %s\n", cfg.Data, rep.Messages, (rep.Bytes+1<<20-1)>>20, rep.Made.Format(time.RFC3339))
	}
	if err == nil && len(rep.Damaged) > 0 {
		return fmt.Errorf("%d held messages were damaged when the backup was made: %s", len(rep.Damaged), strings.Join(rep.Damaged[:min(len(rep.Damaged), 5)], " "))
	}
	return err
}

// open opens the archive, before we become somebody else.
func (c *restoreCmd) open() (io.ReadCloser, string, error) {
	if c.From == "-" {
		return os.Stdin, "standard input", nil
	}
	name := c.From
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		found, err := fs.Glob(os.DirFS(name), "postern-*.tar")
		if err != nil || len(found) == 0 {
			return nil, name, fmt.Errorf("%s: no postern-*.tar in it", name)
		}
		name = filepath.Join(name, found[len(found)-1]) // sorted, and the names have the time
	}
	f, err := os.Open(name)
	return f, name, err
}

// restored looks through what was restored.
func restored(ctx context.Context, cfg *Config, rep *backup.Report) (err error) {
	s, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.db.Check(ctx); err != nil {
		return err
	}
	_, damaged, err := s.quarantine.VerifyAll(ctx)
	rep.Damaged = append(rep.Damaged, damaged.IDs...)
	return err
}
