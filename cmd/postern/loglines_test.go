package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/journal"
)

// syncBuffer counts writes.
type syncBuffer struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.text.Write(p)
}

func (b *syncBuffer) state() (lines, writes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), "\n"), b.writes
}

// Lines of messages are written together, soon; any other line at once and behind those before.
func TestLogLinesOfMessagesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out syncBuffer
		log, flush := servingLog(&Config{}, &out)
		for range 10 {
			log.With("k", "v").Info(journal.MessageLine)
		}
		if lines, writes := out.state(); writes != 0 {
			t.Errorf("%d lines in %d writes at once", lines, writes)
		}
		time.Sleep(2 * lineWait)
		if lines, writes := out.state(); lines != 10 || writes != 1 {
			t.Errorf("%d lines in %d writes after a moment", lines, writes)
		}
		log.Info(journal.MessageLine)
		log.WithGroup("g").Warn("the disk is full")
		if lines, writes := out.state(); lines != 12 || writes != 2 || !strings.HasSuffix(out.text.String(), "full\"\n") {
			t.Errorf("%d lines in %d writes: %s", lines, writes, out.text.String())
		}
		for range 1000 {
			log.Info(journal.MessageLine, "text", strings.Repeat("x", 200))
		}
		if lines, _ := out.state(); lines < 12+800 {
			t.Errorf("%d lines: more waits than may", lines)
		}
		flush()
		if lines, _ := out.state(); lines != 1012 {
			t.Errorf("%d lines at the end", lines)
		}
	})
}
