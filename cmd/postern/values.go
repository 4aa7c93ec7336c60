package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Duration is a time span in the configuration: 90s, 5m, 12h, 30d.
type Duration time.Duration

// UnmarshalYAML reads one.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	v, err := parseDuration(n.GetToken().Value)
	if err != nil {
		return &valueError{n, err.Error()}
	}
	*d = Duration(v)
	return nil
}

// UnmarshalText reads one from a flag.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := parseDuration(string(text))
	*d = Duration(v)
	return err
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	if v, err := time.ParseDuration(s); err == nil && v >= 0 {
		return v, nil
	}
	return 0, fmt.Errorf("%q is no time span: write 90s, 5m, 12h or 30d", s)
}

// Size is a number of bytes in the configuration: 500, 64KiB, 50MiB, 10GiB.
type Size int64

// UnmarshalYAML reads one.
func (z *Size) UnmarshalYAML(n ast.Node) error {
	v, err := parseSize(n.GetToken().Value)
	if err != nil {
		return &valueError{n, err.Error()}
	}
	*z = Size(v)
	return nil
}

func parseSize(s string) (int64, error) {
	num, shift := strings.TrimSpace(s), 0
	for _, u := range []struct {
		unit  string
		shift int
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}} {
		if rest, ok := strings.CutSuffix(num, u.unit); ok {
			num, shift = strings.TrimSpace(rest), u.shift
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size: write 500, 64KiB, 50MiB or 10GiB", s)
	}
	return n << shift, nil
}

// A valueError is a bad value at a place; the decoder passes it on as it is.
type valueError struct {
	node ast.Node
	msg  string
}

func (e *valueError) Error() string { return e.msg }

// plainYAML puts what the decoder says about a value into words for who wrote it.
func plainYAML(msg string) string {
	switch {
	case strings.HasSuffix(msg, "where sequence is expected"):
		return "this has to be a list: [one, another]"
	case strings.HasSuffix(msg, "where mapping is expected"):
		return "this has settings of its own, each on a line below it as name: value"
	case strings.HasSuffix(msg, "of type int"):
		return "this has to be a whole number"
	case strings.HasSuffix(msg, "of type bool"):
		return "this is true or false"
	case strings.HasPrefix(msg, "found character '\t'"):
		return "indent with blanks, YAML takes no tabs"
	}
	return msg
}

// settingNames lists every key that the configuration file knows.
func settingNames() []string {
	var names []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
			walk(t.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Config]())
	return names
}

// nearest returns the candidate within an edit distance of a third of the word, or "".
func nearest(word string, candidates []string) string {
	best, at := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(word, c); d < at {
			best, at = c, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = 1 + min(prev, row[j], row[j+1])
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
