package digest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Key signs the addresses by which held mail is released. Who has it can make them.
type Key struct{ secret []byte }

// keySize is in bytes.
const keySize = 32

// KeyFile is the key's name in the data folder.
const KeyFile = "digest.key"

// OpenKey reads the key of a data folder, and makes one there the first time.
func OpenKey(dir string) (*Key, error) {
	k, err := readKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(dir); err == nil {
			k, err = readKey(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of the digests: %w", err)
	}
	return k, nil
}

func readKey(dir string) (*Key, error) {
	file := filepath.Join(dir, KeyFile)
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %o): remove it and a new one is made, which makes earlier addresses void", file, info.Mode().Perm())
	}
	secret := make([]byte, keySize+1)
	n, _ := f.Read(secret)
	if n != keySize || bytes.Equal(secret[:n], make([]byte, keySize)) {
		return nil, fmt.Errorf("%s is damaged: remove it and a new one is made, which makes earlier addresses void", file)
	}
	return &Key{secret[:n]}, nil
}

// makeKey writes a new key; when somebody else was quicker, theirs stays.
func makeKey(dir string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	f, err := os.CreateTemp(dir, KeyFile+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, KeyFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
