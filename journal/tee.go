package journal

import "context"

// A Sink is told of each entry, once: the metrics before it is recorded, the log when it is.
// It must not keep or change the entry, and not wait.
type Sink func(e *Entry)

// A Recorder takes entries; *Store is one.
type Recorder interface {
	Record(ctx context.Context, e *Entry) error
	RecordDurably(ctx context.Context, e *Entry) error
}

// Tee tells sinks of each entry and then hands it to next.
func Tee(next Recorder, sinks ...Sink) Recorder { return &tee{next, sinks} }

type tee struct {
	next  Recorder
	sinks []Sink
}

func (t *tee) Record(ctx context.Context, e *Entry) error {
	t.tell(e)
	return t.next.Record(ctx, e)
}

func (t *tee) RecordDurably(ctx context.Context, e *Entry) error {
	t.tell(e)
	return t.next.RecordDurably(ctx, e)
}

func (t *tee) tell(e *Entry) {
	for _, sink := range t.sinks {
		sink(e)
	}
}
