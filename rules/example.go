package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// example is a condition that reads the fact of a field: the one in its tag `example`, else one
// by its type. An element of a list stands in any(…).
func example(name string, f reflect.StructField) string {
	lists := strings.Split(name, "[]")
	own := lists[0]
	if len(lists) > 1 {
		own = lists[len(lists)-1]
	}
	cond := f.Tag.Get("example")
	if cond == "" {
		cond = byType(own, f)
	}
	for i := len(lists) - 2; i >= 0; i-- {
		cond = fmt.Sprintf("any(%s, %s)", lists[i], cond)
	}
	return cond
}

// byType gives a condition for a fact of the name, which begins with a dot in a list.
func byType(name string, f reflect.StructField) string {
	enum := strings.Fields(f.Tag.Get("enum"))
	word := `"x"`
	if len(enum) > 0 {
		word = fmt.Sprintf("%q", telling(enum))
	}
	switch t := f.Type; t.Kind() {
	case reflect.Bool:
		return name
	case reflect.String:
		if len(enum) > 0 {
			return fmt.Sprintf("%s == %s", name, word)
		}
		return name + ` != ""`
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return fmt.Sprintf("%s in %s", word, name)
		}
		return fmt.Sprintf("len(%s) > 0", name)
	case reflect.Map:
		if t.Elem().Kind() == reflect.Slice {
			return fmt.Sprintf(`len(%s["received"]) > 9`, name)
		}
		return fmt.Sprintf(`%s["x-spam"] != ""`, name)
	case reflect.Struct:
		if t == timeType {
			return name + ` > date("2026-12-01")`
		}
		field := t.Field(t.NumField() - 1)
		return byType(name+"."+field.Tag.Get("expr"), field)
	}
	return name + " > 0"
}

// telling is the value that a rule is most often about.
func telling(enum []string) string {
	for _, word := range []string{"fail", "reject"} {
		if slices.Contains(enum, word) {
			return word
		}
	}
	return enum[0]
}
