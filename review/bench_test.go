package review_test

import (
	"fmt"
	"testing"

	"postern/review"
)

// BenchmarkList is a page of fifty rows with what the journal tells of each.
func BenchmarkList(b *testing.B) {
	bed := newBed(b)
	for i := range 1000 {
		bed.told(b, bed.hold(b, "spam", "ann@example.org", fmt.Sprintf("u%d@example.org", i)))
	}
	for name, c := range map[string]review.Find{"all": {}, "class": {Class: "spam"}, "words": {Query: "konto"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				page, err := bed.List(b.Context(), operator(), c)
				if err != nil || len(page.Rows) != 50 {
					b.Fatal(page, err)
				}
			}
		})
	}
	b.Run("user", func(b *testing.B) {
		for b.Loop() {
			page, err := bed.List(b.Context(), ann(), review.Find{})
			if err != nil || len(page.Rows) != 50 {
				b.Fatal(page, err)
			}
		}
	})
}
