//go:build race

package policy

import "testing"

// The race detector makes everything ten times slower, so that floods are cut short under it.
const raceDetector = true

// alone leaves a test out of the short half of make test: it has one goroutine, in which nothing races, and takes seconds here. The
// other half has it, and make race.
func alone(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
}
