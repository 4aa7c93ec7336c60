package filters

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What is read without the library is read as by the library, and what it refuses is refused.
func TestFixedDateIsThatOfTheLibrary(t *testing.T) {
	const layout = "02 Jan 2006 15:04:05 -0700"
	same := func(v string) bool {
		got, ok := fixedDate(v)
		want, err := time.Parse(layout, v)
		if ok && (err != nil || !got.Equal(want) || got.Format(time.RFC3339) != want.Format(time.RFC3339)) {
			t.Errorf("%q: %v, by the library %v, %v", v, got, want, err)
		}
		return ok
	}
	r := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 20000 {
		zone := time.FixedZone("", 60*(r.IntN(24*60*2)-24*60))
		v := time.Date(1900+r.IntN(300), time.Month(1+r.IntN(12)), 1+r.IntN(31), r.IntN(24), r.IntN(60), r.IntN(60), 0, zone).Format(layout)
		if same(v) {
			read++
		}
		b := []byte(v)
		b[r.IntN(len(b))] = "0123456789 :+-JanFebx"[r.IntN(21)]
		same(string(b))
	}
	if read < 19000 {
		t.Errorf("only %d of 20000 were read", read)
	}
	for _, v := range []string{"31 Feb 2023 22:13:20 +0000", "00 Jan 2023 22:13:20 +0000", "29 Feb 2023 00:00:00 +0000", "10 anF 2023 22:13:20 +0000", "10 Jan 2023 24:00:00 +0000",
		"10 Jan 2023 23:59:60 +0000", "10 Jan 1899 23:59:59 +0000", "10 Jan 2023 23:59:59 00000", "10 Jan 2023 23-59-59 +0000", "", "29 Feb 2024"} {
		if same(v) {
			t.Errorf("%q was read", v)
		}
	}
}
