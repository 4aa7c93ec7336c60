package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"postern/review"
)

// pathNumber reads a number of the path.
func pathNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, review.ErrNotFound
	}
	return n, nil
}

// keepAlive is how often a stream without news says that it is there.
const keepAlive = 20 * time.Second

// events streams newly held mail (server-sent events, HTML living standard 9.2) until the
// caller goes or is signed out, or for an hour: then the caller comes again.
func events(c *call) (any, error) {
	if !c.server.streams.enter(c.who.ID, mostStreams) {
		c.w.Header().Set("Retry-After", "60")
		return nil, &callError{http.StatusTooManyRequests, fmt.Sprintf("At most %d streams at a time: close one first.", mostStreams)}
	}
	defer c.server.streams.leave(c.who.ID)
	rows, err := c.desk.Arrivals(c.ctx, c.who)
	if err != nil {
		return nil, err
	}
	control := http.NewResponseController(c.w)
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	end := time.NewTimer(time.Hour)
	defer end.Stop()
	say := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(keepAlive))
		_, err := fmt.Fprint(c.w, text)
		return err == nil && control.Flush() == nil
	}
	for ok := say(": here\n\n"); ok; {
		select {
		case row, open := <-rows:
			if !open {
				return written{}, nil
			}
			data, err := json.Marshal(row)
			if err != nil {
				continue
			}
			ok = say("event: held\nid: " + row.ID + "\ndata: " + string(data) + "\n\n")
		case <-tick.C:
			ok = c.server.still(c.r) && say(": still here\n\n")
		case <-end.C:
			return written{}, nil
		case <-c.ctx.Done():
			return written{}, nil
		}
	}
	return written{}, nil
}

// mostStreams is how many streams one person may have open: windows of a browser, and programs.
const mostStreams = 10
