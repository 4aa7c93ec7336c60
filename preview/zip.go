package preview

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"math"
)

// Zip writes a zip archive with one file, encrypted with AES-256 under the password, to w. name is
// that of the file inside, made safe by FileName. So nothing on a reviewer's machine opens or
// scans away what somebody wants to look at. The format is WinZip's AE-2 (APPNOTE 7.2 and "AES
// Encryption Information" by WinZip), which 7-Zip, WinZip, macOS archivers and libarchive read.
// The content is not compressed; at most 4 GiB.
func Zip(w io.Writer, name string, content io.Reader, password string) error {
	if password == "" {
		return errors.New("preview: a zip archive needs a password")
	}
	z := zipWriter{w: w, name: FileName(name)}
	e, err := newZipCipher(password)
	if err != nil {
		return err
	}
	z.header(zipLocal)
	if z.write(e.salt, e.check); z.err != nil {
		return z.err
	}
	size, err := e.copy(&z, content)
	if err != nil {
		return err
	}
	z.write(e.mac.Sum(nil)[:zipMAC])
	packed := size + int64(len(e.salt)+len(e.check)+zipMAC)
	if packed > math.MaxUint32 {
		return errors.New("preview: the file is too large for a zip archive")
	}
	z.sizes = [2]uint32{uint32(packed), uint32(size)}
	z.write(le(uint32(0x08074b50)), le(uint32(0)), le(z.sizes[0]), le(z.sizes[1])) // data descriptor: AE-2 has no CRC
	start := z.at
	z.header(zipCentral)
	z.write([]byte("PK\x05\x06"), make([]byte, 4), le(uint16(1)), le(uint16(1)), le(uint32(z.at-start)), le(uint32(start)), le(uint16(0)))
	return z.err
}

// Password gives a new one for Zip, of 128 random bits, in letters that nobody confuses.
func Password() string { return rand.Text() }

const (
	zipLocal   = "PK\x03\x04"
	zipCentral = "PK\x01\x02"

	zipSalt, zipKey, zipCheck, zipMAC = 16, 32, 2, 10 // bytes, of AES-256

	zipVersion    = 51     // needed for AES
	zipFlags      = 0x0809 // encrypted, sizes behind the data, names in UTF-8
	zipMethodAES  = 99
	zipDate       = 1<<5 | 1 // 1980-01-01: the day tells nothing
	zipIterations = 1000
)

// A zipWriter counts what it writes and keeps the first error.
type zipWriter struct {
	w     io.Writer
	name  string
	at    int64
	sizes [2]uint32 // packed and not
	err   error
}

func (z *zipWriter) write(parts ...[]byte) {
	for _, p := range parts {
		if z.err == nil {
			var n int
			n, z.err = z.w.Write(p)
			z.at += int64(n)
		}
	}
}

func (z *zipWriter) Write(p []byte) (int, error) {
	z.write(p)
	return len(p), z.err
}

// header writes the local or the central header (APPNOTE 4.3.7, 4.3.12). The sizes are 0 in the first.
func (z *zipWriter) header(kind string) {
	aes := []byte{0x01, 0x99, 7, 0, 2, 0, 'A', 'E', 3, 0, 0} // extra field: AE-2, 256 bits, stored
	z.write([]byte(kind))
	if kind == zipCentral {
		z.write(le(uint16(zipVersion)))
	}
	z.write(le(uint16(zipVersion)), le(uint16(zipFlags)), le(uint16(zipMethodAES)), le(uint16(0)), le(uint16(zipDate)),
		le(uint32(0)), le(z.sizes[0]), le(z.sizes[1]), le(uint16(len(z.name))), le(uint16(len(aes))))
	if kind == zipCentral {
		z.write(make([]byte, 14)) // no comment, first disk, no attributes, local header at 0
	}
	z.write([]byte(z.name), aes)
}

func le[T uint16 | uint32](v T) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, v)
	return b.Bytes()
}

// A zipCipher encrypts as WinZip does: AES in counter mode, the counter in little endian from 1,
// then HMAC-SHA1 over what was encrypted.
type zipCipher struct {
	salt, check []byte
	block       cipher.Block
	mac         hash.Hash
	counter     uint64
	pad         [aes.BlockSize]byte
	used        int
}

func newZipCipher(password string) (*zipCipher, error) {
	e := &zipCipher{salt: make([]byte, zipSalt), used: aes.BlockSize}
	if _, err := rand.Read(e.salt); err != nil {
		return nil, err
	}
	keys, err := pbkdf2.Key(sha1.New, password, e.salt, zipIterations, 2*zipKey+zipCheck)
	if err != nil {
		return nil, err
	}
	if e.block, err = aes.NewCipher(keys[:zipKey]); err != nil {
		return nil, err
	}
	e.mac = hmac.New(sha1.New, keys[zipKey:2*zipKey])
	e.check = keys[2*zipKey:]
	return e, nil
}

// copy encrypts content and writes it to w.
func (e *zipCipher) copy(w io.Writer, content io.Reader) (int64, error) {
	buf := make([]byte, 32<<10)
	var size int64
	for {
		n, err := content.Read(buf)
		size += int64(n)
		e.encrypt(buf[:n])
		e.mac.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil {
			return size, werr
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

func (e *zipCipher) encrypt(p []byte) {
	for i := range p {
		if e.used == aes.BlockSize {
			var count [aes.BlockSize]byte
			e.counter++
			binary.LittleEndian.PutUint64(count[:], e.counter)
			e.block.Encrypt(e.pad[:], count[:])
			e.used = 0
		}
		p[i] ^= e.pad[e.used]
		e.used++
	}
}
