package digest

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// mustTime is when an id was made.
func mustTime(t testing.TB, id string) time.Time {
	t.Helper()
	u, err := ulid.ParseStrict(id)
	if err != nil {
		t.Fatal(err)
	}
	return ulid.Time(u.Time())
}
