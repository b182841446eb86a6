//go:build race

package policy

// The race detector makes everything ten times slower, so that floods are cut short under it.
const raceDetector = true
