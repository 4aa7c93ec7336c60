package review_test

import (
	"fmt"
	"testing"

	"postern/people"
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

// BenchmarkBulk deletes everything that matches; an operation is one message of two thousand.
func BenchmarkBulk(b *testing.B) {
	bed := newBed(b)
	who := operator()
	who.By = people.ByCommand // carried out before Do returns
	for n := 0; n < b.N; n += 2000 {
		b.StopTimer()
		bed.holdMany(b, min(2000, b.N-n), "ann@example.org")
		b.StartTimer()
		done, err := bed.Do(b.Context(), who, review.Act{Do: review.Delete, Find: &review.Find{}})
		if err != nil || done.Tally.Done != min(2000, b.N-n) {
			b.Fatal(done, err)
		}
	}
}
