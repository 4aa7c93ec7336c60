package filters

import (
	"net"
	"testing"
	"time"
	"unicode"
)

// C-10: Whatever bytes a scanner answers with: one answer alone is clean.
func FuzzClamAnswer(f *testing.F) {
	for _, s := range []string{"stream: OK\n", "stream: OK", "stream: OK\n\n", "stream: Eicar FOUND\n", "stream: A: B FOUND\x00", "INSTREAM size limit exceeded. ERROR\n", "", "1: stream: OK\n", "stream: \x1b[2J FOUND\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		server := fakeClamd(t, "tcp", func(c net.Conn, _ []byte) { _, _ = c.Write(said) })
		facts, err := ask(t, ClamAVConfig{Addresses: []string{server}, Timeout: 5 * time.Second}, []byte("Subject: x\r\n\r\nx\r\n"))
		if clean := err == nil && !facts.Infected && !facts.TooBig; clean != (string(said) == "stream: OK\n") {
			t.Errorf("%q: clean is %v (%+v)", said, clean, facts)
		}
		for _, text := range []string{facts.Signature, facts.Error} {
			for _, r := range text {
				if unicode.IsControl(r) {
					t.Errorf("%q: %q holds a control", said, text)
				}
			}
			if len(text) > 1000 {
				t.Errorf("%q: %d bytes of text", said[:50], len(text))
			}
		}
	})
}
