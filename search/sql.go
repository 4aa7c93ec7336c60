package search

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// A Column is how a field stands in SQL. What is in SQL is text of the program, never of a
// person or a message; values are its Args.
type Column struct {
	SQL  string                                     // an expression, never NULL; of a Bool: a condition
	Args []any                                      // for its question marks
	Has  func(part string) (sql string, args []any) // says that a text has a part, where that is not for one expression; then the field can be searched for parts only
}

// SQL gives the condition for a statement, all values as parameters. What has no column, or
// cannot be asked of it, is an error that people can read. A nil condition is TRUE.
func (c *Condition) SQL(columns map[string]Column) (string, []any, error) {
	w := &writer{columns: columns}
	w.write(c)
	return w.text.String(), w.args, w.err
}

type writer struct {
	columns map[string]Column
	text    strings.Builder
	args    []any
	err     error
}

func (w *writer) add(sql string, args ...any) {
	w.text.WriteString(sql)
	w.args = append(w.args, args...)
}

func (w *writer) write(c *Condition) {
	switch {
	case c == nil:
		w.add("TRUE")
	case c.Op == And:
		w.join(c.Parts, " AND ", "TRUE")
	case c.Op == Or:
		w.join(c.Parts, " OR ", "FALSE")
	case c.Op == Not:
		w.add("NOT ")
		w.join(c.Parts[:1], "", "")
	default:
		w.leaf(c)
	}
}

func (w *writer) join(parts []*Condition, between, none string) {
	if len(parts) == 0 {
		w.add(none)
		return
	}
	w.add("(")
	for i, p := range parts {
		if i > 0 {
			w.add(between)
		}
		w.write(p)
	}
	w.add(")")
}

func (w *writer) leaf(c *Condition) {
	col, ok := w.columns[c.Field]
	switch {
	case !ok:
		w.fail(fmt.Errorf("%s cannot be searched here", c.Field))
	case c.Type == Bool:
		w.add("("+col.SQL+")", col.Args...)
	case c.Type == Number:
		w.ordered(c, col, number(c.Number))
	case c.Type == Time:
		w.ordered(c, col, c.Time.UnixMicro())
	default:
		w.ofText(c, col)
	}
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.add("FALSE")
}

// number keeps whole numbers whole.
func number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f)
	}
	return f
}

func (w *writer) ordered(c *Condition, col Column, value any) {
	op := string(c.Op)
	switch c.Op {
	case Equal:
		op = "="
	case Less, AtMost, More, AtLeast:
	default:
		w.fail(fmt.Errorf("%s is %v: compare it", c.Field, c.Type))
		return
	}
	w.add(col.SQL, col.Args...)
	w.add(" "+op+" ?", value)
}

func (w *writer) ofText(c *Condition, col Column) {
	if len(c.Texts) == 0 {
		w.add("FALSE")
		return
	}
	part := c.Texts[0]
	if col.Has != nil {
		if c.Op != Has {
			w.fail(fmt.Errorf("%s is no single text: search it with contains", c.Field))
			return
		}
		sql, args := col.Has(part)
		w.add("("+sql+")", args...)
		return
	}
	n := utf8.RuneCountInString(part)
	switch {
	case n == 0 && (c.Op == Has || c.Op == Begins || c.Op == Ends):
		w.add("TRUE")
	case c.Op == Has:
		w.add("instr("+col.SQL, col.Args...)
		w.add(", ?) > 0", part)
	case c.Op == Begins:
		w.add("substr("+col.SQL, col.Args...)
		w.add(", 1, ?) = ?", n, part)
	case c.Op == Ends:
		w.add("substr("+col.SQL, col.Args...)
		w.add(", ?) = ?", -n, part)
	case c.Op == Equal || c.Op == In && len(c.Texts) == 1:
		w.add(col.SQL+" = ?", append(col.Args[:len(col.Args):len(col.Args)], part)...)
	case c.Op == In:
		w.add(col.SQL+" IN (?"+strings.Repeat(", ?", len(c.Texts)-1)+")", col.Args...)
		for _, t := range c.Texts {
			w.args = append(w.args, t)
		}
	default:
		w.fail(fmt.Errorf("%s is %v: it has no %s", c.Field, c.Type, c.Op))
	}
}
