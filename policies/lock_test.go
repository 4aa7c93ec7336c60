package policies

import (
	"testing"
	"time"
)

// Who swaps at the same moment waits for the other, for a while.
func TestLockWaitsForAnother(t *testing.T) {
	dir := t.TempDir()
	first, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(3*lockPause, func() { first.Close() })
	second, err := lock(dir)
	if err != nil {
		t.Fatalf("it does not wait: %v", err)
	}
	defer second.Close()
	if third, err := lock(dir); err == nil {
		third.Close()
		t.Error("two hold it at once")
	}
}
