// Package search is what people look for in stored mail: a condition over named fields, as a
// tree. The language in which it is written stands in rules; quarantine and journal say how
// their fields stand in SQL. It knows no mail and no database.
package search

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Type is what a field holds.
type Type uint8

// The types.
const (
	Text Type = iota // in lower case: people do not mind case when they look for something
	Number
	Time
	Bool
)

// String is the type in the words of the documentation.
func (t Type) String() string { return [...]string{"text", "a number", "a time", "true or false"}[t] }

// A Field is what can be asked about a message.
type Field struct {
	Type    Type
	Is      string   // the field that this is another name of; "" when it is one itself
	Doc     string   // what it tells
	Example string   // a condition that reads it
	Values  []string // all that it can be; empty: anything
}

// Anything is the field that plain words look in: subject, From, sender, recipients and
// sentences of a message, a line each.
const Anything = "text"

// An Op is what a Condition does.
type Op string

// The operations. The first three join Parts, the others look at a Field.
const (
	And     Op = "and" // of no parts: true
	Or      Op = "or"  // of no parts: false
	Not     Op = "not" // of one part
	Is      Op = "is"  // of a Bool
	Equal   Op = "=="
	Less    Op = "<"
	AtMost  Op = "<="
	More    Op = ">"
	AtLeast Op = ">="
	In      Op = "in" // one of Texts
	Has     Op = "contains"
	Begins  Op = "startsWith"
	Ends    Op = "endsWith"
)

// A Condition is a tree that is true or false of a message. It must not be changed.
type Condition struct {
	Op     Op
	Parts  []*Condition
	Field  string
	Type   Type
	Texts  []string // In has some, the other operations on text one; see Key
	Number float64
	Time   time.Time
}

// All is true where each part is; nil parts do not matter.
func All(parts ...*Condition) *Condition { return join(And, parts) }

// Any is true where one part is; nil parts do not matter.
func Any(parts ...*Condition) *Condition { return join(Or, parts) }

func join(op Op, parts []*Condition) *Condition {
	c := &Condition{Op: op}
	for _, p := range parts {
		if p != nil {
			c.Parts = append(c.Parts, p)
		}
	}
	if len(c.Parts) == 1 {
		return c.Parts[0]
	}
	return c
}

// No is true where c is not.
func No(c *Condition) *Condition { return &Condition{Op: Not, Parts: []*Condition{c}} }

// True asks for a Bool.
func True(field string) *Condition { return &Condition{Op: Is, Field: field, Type: Bool} }

// OfText compares a field of text; In with any number of texts, all others with one.
func OfText(field string, op Op, texts ...string) *Condition {
	c := &Condition{Op: op, Field: field, Type: Text, Texts: make([]string, len(texts))}
	for i, t := range texts {
		c.Texts[i] = Key(t)
	}
	return c
}

// OfNumber compares a number.
func OfNumber(field string, op Op, n float64) *Condition {
	return &Condition{Op: op, Field: field, Type: Number, Number: n}
}

// OfTime compares a time.
func OfTime(field string, op Op, t time.Time) *Condition {
	return &Condition{Op: op, Field: field, Type: Time, Time: t}
}

// Key is text as it is compared: in lower case, valid UTF-8, without NUL.
func Key(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.ToValidUTF8(s, "\uFFFD")), "\x00", "\uFFFD")
}

// Match tells whether c is true. Value gives what a field holds: a string (see Key), a float64,
// a time.Time or a bool. A nil condition is true.
func (c *Condition) Match(value func(field string) any) bool {
	if c == nil {
		return true
	}
	switch c.Op {
	case And:
		for _, p := range c.Parts {
			if !p.Match(value) {
				return false
			}
		}
		return true
	case Or:
		for _, p := range c.Parts {
			if p.Match(value) {
				return true
			}
		}
		return false
	case Not:
		return !c.Parts[0].Match(value)
	}
	switch v := value(c.Field).(type) {
	case bool:
		return v
	case string:
		return c.matchText(v)
	case float64:
		return c.ordered(compare(v, c.Number))
	case time.Time:
		return c.ordered(compare(float64(v.UnixMicro()), float64(c.Time.UnixMicro())))
	}
	return false
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *Condition) ordered(n int) bool {
	switch c.Op {
	case Equal:
		return n == 0
	case Less:
		return n < 0
	case AtMost:
		return n <= 0
	case More:
		return n > 0
	case AtLeast:
		return n >= 0
	}
	return false
}

func (c *Condition) matchText(s string) bool {
	for _, t := range c.Texts {
		switch {
		case c.Op == Has && strings.Contains(s, t),
			c.Op == Begins && strings.HasPrefix(s, t),
			c.Op == Ends && strings.HasSuffix(s, t),
			(c.Op == Equal || c.Op == In) && s == t:
			return true
		}
	}
	return false
}

// Conjuncts gives the conditions all of which must be true for c to be.
func (c *Condition) Conjuncts() []*Condition {
	if c == nil {
		return nil
	}
	if c.Op != And {
		return []*Condition{c}
	}
	var out []*Condition
	for _, p := range c.Parts {
		out = append(out, p.Conjuncts()...)
	}
	return out
}

// Reads tells whether c looks at one of fields.
func (c *Condition) Reads(fields ...string) bool {
	if c == nil {
		return false
	}
	for _, p := range c.Parts {
		if p.Reads(fields...) {
			return true
		}
	}
	for _, f := range fields {
		if c.Field != "" && c.Field == f {
			return true
		}
	}
	return false
}

// String writes c out, for tests and logs.
func (c *Condition) String() string {
	switch {
	case c == nil:
		return "nil"
	case c.Op == Not:
		return "not(" + c.Parts[0].String() + ")"
	case c.Op == And || c.Op == Or:
		parts := make([]string, len(c.Parts))
		for i, p := range c.Parts {
			parts[i] = p.String()
		}
		if len(parts) == 0 {
			return string(c.Op)
		}
		return "(" + strings.Join(parts, " "+string(c.Op)+" ") + ")"
	case c.Type == Bool:
		return c.Field
	case c.Type == Number:
		return c.Field + " " + string(c.Op) + " " + strconv.FormatFloat(c.Number, 'f', -1, 64)
	case c.Type == Time:
		return fmt.Sprintf("%s %s %s", c.Field, c.Op, c.Time.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s %s %q", c.Field, c.Op, c.Texts)
}
