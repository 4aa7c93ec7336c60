package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"postern/journal"
)

// lineWait is how long the line of a message waits for others to be written with it, lineBytes
// how much may wait.
const (
	lineWait  = 50 * time.Millisecond
	lineBytes = 32 << 10
)

// servingLog is newLog for a program that sees many messages: their lines are written some at a
// time, any other line at once, with those before it. Call flush at the end.
func servingLog(cfg *Config, w io.Writer) (log *slog.Logger, flush func()) {
	lines := &logLines{out: w}
	lines.timer = time.AfterFunc(time.Hour, lines.flush)
	lines.timer.Stop()
	return slog.New(promptHandler{newLog(cfg, lines).Handler(), lines}), lines.flush
}

// logLines holds lines back.
type logLines struct {
	out io.Writer

	mu    sync.Mutex
	held  []byte
	timer *time.Timer
}

// Write takes one line.
func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		l.timer.Reset(lineWait)
	}
	if l.held = append(l.held, p...); len(l.held) > lineBytes {
		l.write()
	}
	return len(p), nil
}

func (l *logLines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

// write has no one to tell when the log cannot be written.
func (l *logLines) write() {
	if len(l.held) > 0 {
		_, _ = l.out.Write(l.held)
		l.held = l.held[:0]
	}
	l.timer.Stop()
}

// promptHandler has all lines written at once but those of messages.
type promptHandler struct {
	slog.Handler
	lines *logLines
}

// Handle writes a line.
func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Message != journal.MessageLine {
		h.lines.flush()
	}
	return err
}

// WithAttrs and WithGroup keep that.
func (h promptHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup: see WithAttrs.
func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.lines}
}
