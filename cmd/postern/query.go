package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/rules"
	"postern/search"
)

// parseQuery reads --query; what is wrong with it is wrong usage.
func parseQuery(text string, fields map[string]search.Field) (*search.Condition, error) {
	c, err := rules.ParseSearch(text, fields, time.Now())
	if err != nil {
		return nil, &usageError{"--query: " + err.Error()}
	}
	return c, nil
}

// queryHelp lists what a query may look at.
func queryHelp(fields map[string]search.Field) string {
	var names []string
	for name, f := range fields {
		if f.Is == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("A query is words, or compares (==, !=, <, >, in, contains, startsWith, endsWith; and, or, not; text in any case):\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %-14s %s\n", name, fields[name].Example)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
