package filters

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A queue is full when one more would wait for more than half of its time: told by how long scans
// take, and by how long nothing has moved, when the scanner hangs.
func TestS35_TheQueueKnowsWhenItIsFull(t *testing.T) {
	scans := func(q *queue, n int, each time.Duration) (done chan struct{}) {
		done = make(chan struct{}, n)
		for range n {
			go func() {
				defer func() { done <- struct{}{} }()
				ctx, cancel := context.WithTimeout(context.Background(), q.timeout)
				defer cancel()
				began, err := q.enter(ctx)
				if err != nil {
					return
				}
				time.Sleep(each)
				q.leave(began)
			}()
		}
		synctest.Wait()
		return done
	}
	for name, c := range map[string]struct {
		usual   time.Duration // scans before took so long
		waiting int           // scans that wait, while all scanners are busy
		after   time.Duration
		full    bool
	}{
		"nobody waits":           {usual: 20 * time.Second},
		"a few":                  {usual: time.Second, waiting: 10},
		"too many":               {usual: time.Second, waiting: 130, full: true},
		"slow scans":             {usual: 10 * time.Second, waiting: 13, full: true},
		"it has just hung":       {usual: time.Millisecond, waiting: 10, after: time.Second},
		"it hangs":               {usual: time.Millisecond, waiting: 10, after: 20 * time.Second, full: true},
		"it hangs, nobody waits": {usual: time.Millisecond, after: 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &queue{slots: make(chan struct{}, 4), timeout: time.Minute}
				for range 60 {
					<-scans(q, 1, c.usual)
				}
				done := scans(q, 4+c.waiting, 55*time.Second)
				time.Sleep(c.after)
				if got := q.full(); got != c.full {
					t.Errorf("full: %v, want %v", got, c.full)
				}
				for range 4 + c.waiting {
					<-done
				}
				if q.full() || q.waiting != 0 {
					t.Errorf("full for ever: %d wait", q.waiting)
				}
			})
		})
	}
}
