package review

import "fmt"

// A QueryError is a question that makes no sense. Its words are for who asked.
type QueryError struct {
	Text    string `json:"text"`   // of the query
	Column  int    `json:"column"` // from 1 on, in characters; 0: not known
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
}

func (e *QueryError) Error() string {
	words := "the query: " + e.Problem
	if e.Column > 0 {
		words = fmt.Sprintf("the query, column %d: %s", e.Column, e.Problem)
	}
	if e.Hint != "" {
		words += "; " + e.Hint
	}
	return words
}
