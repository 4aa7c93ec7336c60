package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"postern/mail"
)

// plain is an Entry without what is written apart.
type plain Entry

// stored is the detail.
type stored struct {
	*plain
	Reply    storedReply     `json:"reply"`
	Outcomes []storedOutcome `json:"outcomes,omitempty"`
}

type storedReply struct {
	Code     int    `json:"code"`
	Enhanced [3]int `json:"enhanced"`
	Text     string `json:"text"`
}

type storedOutcome struct {
	Outcome
	Walk string `json:"walk,omitempty"` // name of what stands in walks
}

// decode reads an entry back.
func decode(detail []byte) (*Entry, error) {
	detail, err := unpack(detail)
	if err != nil {
		return nil, err
	}
	var st stored
	st.plain = &plain{}
	if err := json.Unmarshal(detail, &st); err != nil {
		return nil, err
	}
	e := Entry(*st.plain)
	for _, o := range st.Outcomes {
		o.walk = o.Walk
		e.Outcomes = append(e.Outcomes, o.Outcome)
	}
	e.Reply = mail.Reply{Code: st.Reply.Code, Enhanced: st.Reply.Enhanced, Text: st.Reply.Text}
	return &e, nil
}

// unpack is the inverse of pack.
func unpack(detail []byte) ([]byte, error) {
	if len(detail) == 0 || detail[0] != compressed {
		return detail, nil
	}
	if n, err := s2.DecodedLen(detail[1:]); err != nil || n > maxDetail {
		return nil, fmt.Errorf("a detail of %d bytes: %w", n, cmp.Or(err, errTooLong))
	}
	return s2.Decode(nil, detail[1:])
}

// maxDetail bounds what is read back, in bytes.
const maxDetail = 64 << 20

var errTooLong = errors.New("too long")
