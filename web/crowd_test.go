package web

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"postern/people"
	"postern/review"
)

// waitDesk holds back what stands in messages until it is told.
type waitDesk struct {
	Desk
	asked chan struct{}
	goOn  chan struct{}
}

func (d *waitDesk) Message(context.Context, *people.Actor, string) (*review.Message, error) {
	return &review.Message{}, nil
}

func (d *waitDesk) Content(context.Context, *people.Actor, string, string) (io.ReadCloser, error) {
	d.asked <- struct{}{}
	<-d.goOn
	return io.NopCloser(strings.NewReader("Subject: x\r\n\r\nhello\r\n")), nil
}

// W-11: what is read at once is bounded, for one person and for all; it passes.
func TestW11_ReadingIsBounded(t *testing.T) {
	d := &waitDesk{asked: make(chan struct{}, 100), goOn: make(chan struct{})}
	s := New(Config{Desk: d, Log: quiet()})
	read := func(ctx context.Context, person string) int {
		who := as(people.Operator)
		who.ID = person
		w := httptest.NewRecorder()
		s.route(w, withRequestID(withActor(httptest.NewRequestWithContext(ctx, "GET", apiRoot+"/held/A/content", nil), who)))
		return w.Code
	}
	var wg sync.WaitGroup
	for range mostReadingOne {
		wg.Go(func() {
			if code := read(t.Context(), "ann"); code != 200 {
				t.Errorf("%d", code)
			}
		})
	}
	for range mostReadingOne {
		<-d.asked
	}
	if code := read(t.Context(), "ann"); code != 429 {
		t.Errorf("one more: %d", code)
	}
	for i := range mostReading - mostReadingOne {
		person := string(rune('b' + i))
		wg.Go(func() {
			if code := read(t.Context(), person); code != 200 {
				t.Errorf("%s: %d", person, code)
			}
		})
		<-d.asked
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.reading(ctx, &people.Actor{Person: people.Person{ID: "late"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("all have room: %v", err)
	}
	close(d.goOn)
	wg.Wait()
	if code := read(t.Context(), "ann"); code != 200 || len(s.readers.in) != 0 || len(s.room) != 0 {
		t.Errorf("%d, %v are still reading", code, s.readers.in)
	}
}
