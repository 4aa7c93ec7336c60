package filters

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"postern/mail"
)

// A ClamAVCheck is what an administrator should know of one clamd.
type ClamAVCheck struct {
	Version string    // "ClamAV 1.4.6/27000/Sat Nov 21 …"
	Built   time.Time // of its signatures; zero when it does not say
	Takes   bool      // a message of the size asked for: StreamMaxLength is not below it
	Alerts  bool      // what goes over its limits is reported, not called clean (AlertExceedsMax)
	Locked  bool      // an encrypted archive is reported (AlertEncryptedArchive)
	Finds   bool      // it finds the EICAR test file: its signatures are loaded
	Whole   bool      // a message of the size asked for is scanned to its end (MaxFileSize, MaxScanSize); known only with Takes and Alerts
}

// Check asks the clamd at addr about itself: whether it takes a message of size bytes, and what
// it says of an archive that is nested deeper than it looks.
func (c ClamAVConfig) Check(ctx context.Context, addr string, size int64) (ClamAVCheck, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var out ClamAVCheck
	var err error
	c.Addresses = []string{addr}
	if out.Version, err = c.Version(ctx); err != nil {
		return out, err
	}
	if parts := strings.SplitN(out.Version, "/", 3); len(parts) == 3 {
		out.Built, _ = time.Parse("Mon Jan _2 15:04:05 2006", parts[2])
	}
	if out.Takes, err = takes(ctx, addr, size); err != nil {
		return out, fmt.Errorf("ask for StreamMaxLength: %w", err)
	}
	deep, err := nested(beyondRecursion)
	if err != nil {
		return out, err
	}
	facts, err := c.show(ctx, addr, deep)
	if err != nil {
		return out, fmt.Errorf("scan a deep archive: %w", err)
	}
	out.Alerts = facts.Heuristic == "limits"
	if facts, err = c.show(ctx, addr, lockedZip()); err != nil {
		return out, fmt.Errorf("scan an encrypted archive: %w", err)
	}
	out.Locked = facts.Heuristic == "encrypted"
	if facts, err = c.show(ctx, addr, []byte(eicarHead+eicarTail)); err != nil {
		return out, fmt.Errorf("scan the EICAR test file: %w", err)
	}
	out.Finds = facts.Infected
	if out.Takes && out.Alerts {
		if facts, err = c.show(ctx, addr, make([]byte, size)); err != nil {
			return out, fmt.Errorf("scan %d bytes: %w", size, err)
		}
		out.Whole = facts.Heuristic != "limits"
	}
	return out, nil
}

// show has the clamd at addr scan data.
func (c ClamAVConfig) show(ctx context.Context, addr string, data []byte) (ClamAVFacts, error) {
	body := mail.BodyOf(data)
	defer body.Close()
	return (&scanner{config: c}).scan(ctx, addr, body)
}

// The EICAR test file in two parts, so that no scanner takes this program for it.
const (
	eicarHead = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-`
	eicarTail = `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
)

// lockedZip is an archive with one file under a password that nobody knows: a header that says
// so, and noise (APPNOTE.TXT 4.4.4 and 6.1).
func lockedZip() []byte {
	const name, noise = "locked.txt", "0123456789abcdefghijklmnop"
	common := binary.LittleEndian.AppendUint16(nil, 20)                   // version needed
	common = append(common, 1, 0, 0, 0, 0, 0, 0x21, 0x5a)                 // encrypted, stored, a date
	common = binary.LittleEndian.AppendUint32(common, 0x1badcafe)         // CRC
	common = binary.LittleEndian.AppendUint32(common, uint32(len(noise))) // compressed
	common = binary.LittleEndian.AppendUint32(common, uint32(len(noise)-12))
	common = binary.LittleEndian.AppendUint16(common, uint16(len(name)))
	common = append(common, 0, 0) // no extra field
	out := append([]byte("PK\x03\x04"), common...)
	out = append(out, name+noise...)
	directory := len(out)
	out = append(out, "PK\x01\x02\x14\x00"...)
	out = append(append(out, common...), make([]byte, 14)...) // comment, disk, attributes, offset 0
	out = append(out, name...)
	size := len(out) - directory
	out = append(out, "PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"...)
	out = binary.LittleEndian.AppendUint32(out, uint32(size))
	out = binary.LittleEndian.AppendUint32(out, uint32(directory))
	return append(out, 0, 0)
}

// takes announces a chunk of size bytes: clamd refuses it at once when that is over
// StreamMaxLength, else it waits for the bytes, which never come.
func takes(ctx context.Context, addr string, size int64) (bool, error) {
	network, address, _ := strings.Cut(addr, ":")
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(silence)); err != nil {
		return false, err
	}
	ask := binary.BigEndian.AppendUint32([]byte("nINSTREAM\n"), uint32(min(size, math.MaxUint32)))
	if _, err := conn.Write(ask); err != nil {
		return false, err
	}
	said, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	switch {
	case bytes.Contains(said, []byte("size limit exceeded")):
		return false, nil
	case len(said) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
		return true, nil
	}
	return false, fmt.Errorf("not an answer to that: %.100q", said)
}

const (
	silence         = time.Second // for so long clamd says nothing when it waits for bytes
	beyondRecursion = 120         // MaxRecursion is 17 by default and 100 at most
)

// nested is a text inside so many archives.
func nested(depth int) ([]byte, error) {
	data, name := []byte("nothing\r\n"), "text.txt"
	for range depth {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(data)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("make a deep archive: %w", err)
		}
		data, name = b.Bytes(), "a.zip"
	}
	return data, nil
}
