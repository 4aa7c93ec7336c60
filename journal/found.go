package journal

import (
	stdjson "encoding/json"
	"errors"
	"fmt"

	"github.com/segmentio/encoding/json"
)

// All is the number of no recipient: facts of the message.
const All = -1

// Found is facts as a filter gave them. They must not be changed any more.
type Found struct {
	Name  string // of the filter
	Rcpt  int    // which outcome they are for, or All
	Facts any
}

// abridged is facts of which the journal keeps less than rules see: what people wrote to each
// other is not kept beyond the message.
type abridged interface{ Abridged() any }

// weighty is facts that may be large: about how many bytes they are.
type weighty interface{ Weight() int }

// usualFacts is the bytes that the facts of a small message take, usualWeight those of one filter.
const (
	usualFacts  = 4 << 10
	usualWeight = 512
)

// Encode puts what was found into Facts, as JSON. Store does it when it writes the entry: many
// at a time cost less than each by itself. What cannot be encoded is left out, and told.
func (e *Entry) Encode() error {
	if len(e.Found) == 0 {
		return nil
	}
	_, err := e.encode(make([]byte, 0, usualFacts))
	return err
}

// encode is Encode, with the JSON behind text, which it gives grown.
func (e *Entry) encode(text []byte) ([]byte, error) {
	var errs []error
	for _, f := range e.Found {
		facts := f.Facts
		if brief, ok := facts.(abridged); ok {
			facts = brief.Abridged()
		}
		from := len(text)
		grown, err := json.Append(text, facts, 0)
		if err != nil {
			errs = append(errs, fmt.Errorf("facts of %s: %w", f.Name, err))
			continue
		}
		text = grown
		into := &e.Facts
		if f.Rcpt != All {
			into = &e.Outcomes[f.Rcpt].Facts
		}
		if *into == nil {
			*into = make(map[string]stdjson.RawMessage, len(e.Found))
		}
		(*into)[f.Name] = text[from:len(text):len(text)]
	}
	e.Found = nil
	return text, errors.Join(errs...)
}
