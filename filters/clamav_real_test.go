package filters

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"postern/testkit"
)

// eicar is the EICAR test file, in two halves so that this source is not found itself.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR` + `-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

func zipped(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func attached(name, cte string, data string) []byte {
	return []byte("From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: " + cte + "\r\n\r\n" + data + "\r\n--b--\r\n")
}

func b64(p []byte) string {
	s := base64.StdEncoding.EncodeToString(p)
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return out.String() + s
}

// EICAR plain, base64, in a zip, in a zip in a zip: found by a real clamd, over its unix and
// its TCP socket; clean mail is clean; a killed clamd is an error, and mail is scanned again
// after its restart.
func TestC15_RealClamd(t *testing.T) {
	av := testkit.StartClamd(t)
	zip1 := zipped(t, "eicar.com", []byte(eicar))
	found := map[string][]byte{
		"plain":          attached("eicar.com", "7bit", eicar),
		"base64":         attached("eicar.com", "base64", b64([]byte(eicar))),
		"zip":            attached("a.zip", "base64", b64(zip1)),
		"zip in a zip":   attached("b.zip", "base64", b64(zipped(t, "a.zip", zip1))),
		"marker in text": []byte("Subject: x\r\n\r\nPOSTERN-HARMLESS-SCANNER-TEST-MARKER-7f3a\r\n"),
	}
	for _, addr := range []string{av.Addr, av.TCP} {
		c := ClamAVConfig{Addresses: []string{addr}}
		for name, msg := range found {
			facts, err := ask(t, c, msg)
			if err != nil || !facts.Infected || !strings.Contains(facts.Signature, "Postern.Test") {
				t.Errorf("%s over %s: %+v, %v", name, addr, facts, err)
			}
		}
		if facts, err := ask(t, c, []byte("Subject: x\r\n\r\nnothing\r\n")); err != nil || facts.Infected {
			t.Errorf("clean mail over %s: %+v, %v", addr, facts, err)
		}
		if facts, err := ask(t, c, bytes.Repeat([]byte("0123456789abcdef"), 26<<16)); err != nil || !facts.TooBig {
			t.Errorf("26 MiB over a limit of 25: %+v, %v", facts, err)
		}
		if v, err := c.Version(context.Background()); err != nil || !strings.HasPrefix(v, "ClamAV ") {
			t.Errorf("version %q, %v", v, err)
		}
	}
	c := ClamAVConfig{Addresses: []string{av.Addr}}
	av.Kill()
	if facts, err := ask(t, c, found["plain"]); err == nil {
		t.Errorf("dead clamd: %+v", facts)
	}
	av.Start()
	if facts, err := ask(t, c, found["plain"]); err != nil || !facts.Infected {
		t.Errorf("after the restart: %+v, %v", facts, err)
	}
}

// C-01: where a message can be read in two ways, every reading is scanned, not only clamd's own.
func TestC01_EveryReadingIsScanned(t *testing.T) {
	av := testkit.StartClamd(t)
	body := b64(zipped(t, "eicar.com", []byte(eicar)))
	for name, msg := range map[string]string{
		"unknown encoding with a comment": "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64 (really)\r\n\r\n" + body,
		"two encodings":                   "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body,
	} {
		facts, err := ask(t, ClamAVConfig{Addresses: []string{av.Addr}}, []byte("From: a@a.example\r\nMIME-Version: 1.0\r\n"+msg+"\r\n"))
		if err != nil || !facts.Infected {
			t.Errorf("%s: %+v, %v", name, facts, err)
		}
	}
}

// A clamd that takes the largest message, but scans less of it than that, is found out.
func TestC13_CheckOfMaxFileSize(t *testing.T) {
	av := testkit.StartClamd(t, "MaxFileSize 25M", "MaxFileSize 2M")
	for size, whole := range map[int64]bool{1 << 20: true, 4 << 20: false} {
		got, err := ClamAVConfig{}.Check(t.Context(), av.Addr, size)
		if err != nil || !got.Takes || !got.Alerts || got.Whole != whole {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
	}
}

// What check says of a real clamd: whether it takes the largest message, and whether it speaks
// up about what it gave up on.
func TestC13_CheckOfARealClamd(t *testing.T) {
	const most = 25 << 20 // StreamMaxLength of the test configuration
	for name, tt := range map[string]struct {
		change []string
		alerts bool
	}{
		"alerts":  {nil, true},
		"default": {[]string{"AlertExceedsMax yes", "AlertExceedsMax no", "AlertEncryptedArchive yes", "AlertEncryptedArchive no"}, false},
	} {
		av := testkit.StartClamd(t, tt.change...)
		for addr, size := range map[string]int64{av.Addr: most, av.TCP: most + 1} {
			got, err := ClamAVConfig{}.Check(t.Context(), addr, size)
			if err != nil {
				t.Fatal(err)
			}
			if got.Takes != (size == most) || got.Alerts != tt.alerts || got.Locked != tt.alerts || !got.Finds || !strings.HasPrefix(got.Version, "ClamAV ") {
				t.Errorf("%s, %d bytes: %+v", name, size, got)
			}
		}
		av.Kill()
		if _, err := (ClamAVConfig{}).Check(t.Context(), av.Addr, most); err == nil {
			t.Error("a dead clamd is no error")
		}
	}
}
