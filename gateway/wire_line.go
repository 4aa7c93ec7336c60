package gateway

import (
	"bytes"
	"time"
)

// line returns the next command without its CRLF, valid until the next call. ok is false
// when the line was refused here, with an answer: then ask again. A line that its CRLF
// never followed is no command.
func (w *wire) line() (line []byte, ok bool, err error) {
	if w.dead != nil {
		return nil, false, w.dead
	}
	w.shrink()
	if len(w.out) > maxHeld {
		if err := w.flush(); err != nil {
			return nil, false, err
		}
	}
	now := time.Now()
	switch {
	case w.isStopping():
		return nil, false, w.farewell(errStopping)
	case now.After(w.until):
		return nil, false, w.farewell(errSessionEnd)
	}
	deadline := now.Add(w.lim.Command) // for the whole line, however slowly it comes
	if deadline.After(w.until) {
		deadline = w.until
	}
	for scanned, skipped := 0, 0; ; {
		if i := bytes.IndexByte(w.buf[w.r+scanned:w.e], '\n'); i >= 0 {
			line := w.buf[w.r : w.r+scanned+i+1]
			w.r += len(line)
			line, ok = w.checkLine(line, skipped > 0)
			return line, ok, w.dead
		}
		if w.e-w.r > w.lim.Line { // resynchronise at the next CRLF
			if skipped += w.e - w.r - 1; skipped > maxSkip {
				w.expel("500 5.5.2 Line too long", errProtocol)
				return nil, false, w.dead
			}
			w.buf[w.r] = w.buf[w.e-1] // it may be the CR
			w.e = w.r + 1
		}
		scanned = w.e - w.r
		if err := w.fill(deadline, true); err != nil {
			return nil, false, w.farewell(err)
		}
	}
}

// checkLine strips the CRLF from a line and refuses what is no command line.
func (w *wire) checkLine(line []byte, overlong bool) ([]byte, bool) {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		w.expel("500 5.5.2 Lines end in CRLF", errProtocol) // where the next one begins is in doubt
		return nil, false
	}
	if overlong || len(line) > w.lim.Line {
		w.refuse("500 5.5.2 Line too long")
		return nil, false
	}
	line = line[:len(line)-2]
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			w.refuse("501 5.5.2 Control character in command")
			return nil, false
		}
	}
	return line, true
}

// farewell says why the server hangs up, where it is the server that does.
func (w *wire) farewell(cause error) error {
	switch cause {
	case errStopping:
		w.say("421 4.3.2 " + w.host + " Shutting down, try again later")
	case errTimeout:
		w.say("421 4.4.2 " + w.host + " Timeout")
	case errSessionEnd:
		w.say("421 4.4.2 " + w.host + " Session too long")
	}
	return w.die(cause)
}

// grow changes to the large buffer, for a body.
func (w *wire) grow() {
	if w.large == nil {
		w.large = largePool.Get().(*[]byte)
		w.e = copy(*w.large, w.buf[w.r:w.e])
		w.r, w.buf = 0, *w.large
	}
}

// shrink goes back to the small buffer as soon as what is left fits into it.
func (w *wire) shrink() {
	if w.large != nil && w.e-w.r <= len(w.small)/2 {
		w.e = copy(w.small, w.buf[w.r:w.e])
		w.r, w.buf = 0, w.small
		largePool.Put(w.large)
		w.large = nil
	}
}
