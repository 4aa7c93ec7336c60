package testkit

import "testing"

// Figure logs what a long run found, in one short line without a bar. make assurance puts it into
// docs/assurance.md, beside the name of the test.
func Figure(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf("assurance: "+format, args...)
}
