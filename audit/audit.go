// Package audit is the log of what people did: one line an act, each chained to the line before
// it by a hash, so that a line that is changed or taken out later is found.
package audit

import (
	"encoding/json"
	"time"
)

// A Line tells of one act, done or refused.
type Line struct {
	N      int64           `json:"n"` // from 1 on, without gaps; set by the log
	At     time.Time       `json:"at"`
	Who    string          `json:"who"` // login; "" when nobody was signed in
	By     string          `json:"by"`  // page token command mail
	From   string          `json:"from,omitempty"`
	Act    string          `json:"act"`    // release delete allow sign-in read …
	Object string          `json:"object"` // id of the message, person, rule set …
	Result string          `json:"result"` // done refused failed
	Reason string          `json:"reason,omitempty"`
	Note   string          `json:"note,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}
