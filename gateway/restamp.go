package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"postern/mail"
	"postern/quarantine"
)

// Restamp makes the message of a held item as it is released: a fresh block on top, and taken
// off what is taken off a message that is relayed at once. raw is the message as received; the
// source closes it when it is an io.Closer.
func Restamp(cfg Config, it *quarantine.Item, raw io.Reader, now time.Time, danger string) (src Source, size int64, err error) {
	start := make([]byte, min(it.Size, maxRelayHeader))
	n, err := io.ReadFull(raw, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("read the held message: %w", err)
	}
	end := mail.HeaderEnd(start[:n], 0)
	if end < 0 {
		if end = n; it.Size > maxRelayHeader {
			return nil, 0, errHeaderTooBig
		}
	}
	b := append([]byte(nil), fmt.Sprintf("Received: by %s %s id %s;\r\n\t%s\r\n", cfg.Hostname, product, it.ID, now.Format(traceDate))...)
	b = appendField(b, "X-Postern-Id", it.ID)
	b = appendField(b, "X-Postern-Verdict", "released")
	if danger != "" {
		b = appendField(b, "X-Postern-Danger", danger)
	}
	if len(it.Copies) == 1 { // of several, each would learn of the others
		b = appendField(b, "X-Postern-Reason", it.Copies[0].Because)
	}
	head, skip := compose(mail.ParseHeader(start[:end:end], mail.HeaderLimits{}), b, &edits{}, cfg.removes)
	prefix := bytes.Join(head, nil)
	rest := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start[skip:n]), raw), io.NopCloser(nil)}
	if c, ok := raw.(io.Closer); ok {
		rest.Closer = c
	}
	return SourceOf(prefix, rest), int64(len(prefix)) + it.Size - skip, nil
}
